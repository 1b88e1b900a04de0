//! tidegate: an io_uring WebSocket push edge for Linux. This file is the map of the house.
//!
//! Backends publish over ZeroMQ, clients listen over WebSocket, and what lies between is here. How
//! to *use* it (doors, formats, options, metrics) stands in `README.md` and `docs`; this map is for
//! reading and changing the code.
//!
//! # Threads, and who owns what
//!
//! ```text
//!           +----------------+  links, one per pair  +------------------------------+
//! backends  | ingest thread  |  of threads           | shard 0, pinned to a core    |
//! = ZeroMQ >| every ZeroMQ   |======================>|  listener, connections,      |
//!           | socket, CURVE  |<== answers, events ===|  wheel, data ring, hub:      |<= clients,
//!           +----------------+                       |  channels, logs, outboxes    |   WebSocket
//!           +----------------+                       +------------------------------+
//! operators | control plane  |====== commands ======>            ^ links v
//! = HTTP ==>| tokio, axum,   |<===== answers ========+------------------------------+
//!           | reads counters |                       | shard 1, and so on           |<= clients
//!           +----------------+                       +------------------------------+
//! the main thread starts all and waits for an end; a thread for signals begins the drain, and one
//! for the log is the only one that standard error can hold up; the control plane answers probes
//! and short publications on one thread, and what else the API is asked on another
//! ```
//!
//! - A **shard** owns its connections, its part of every channel, its timers and its counters.
//!   Nobody else touches them, so the data plane has no locks. The kernel spreads connections over
//!   the shards' listeners (`SO_REUSEPORT`).
//! - Every channel has one **home** shard ([`mesh::Homes`]): it knows which shards have subscribers
//!   and gives a channel one order. A user's sessions are kept at the home of the user's personal
//!   channel `#user`.
//! - A **link** ([`mesh::Link`]) is a FIFO queue from one thread to one other, bounded in messages,
//!   in bytes of publications, and in channels that commands list, so that what waits on it is
//!   milliseconds of work. All links into a thread share a [`mesh::Bell`], which costs a system
//!   call only if the thread sleeps.
//! - A shard's thread belongs to a monoio executor, whose one task is the shard. With nothing to do
//!   it sleeps in the **data ring** ([`sys::ring`]), where its sockets, its tick and its bell are:
//!   one system call per wake-up. While it waits for room on a link it waits in the executor
//!   (`shard/sleep.rs`).
//! - What is shared: publications and settings (immutable, behind an `Arc`), links, counters (one
//!   writer each), what is left of memory budgets ([`settings::Budget`], touched by a shard that
//!   needs more than its share),
//!   the keys and revocations of tokens ([`token::Authority`], looked up once for each token), and
//!   the two flags of the drain. Nothing else. A frame that several shards need is encoded by the
//!   first of them, for which the others wait ([`model::Push`]).
//!
//! # Layers
//!
//! A module names only modules of lower layers; `tests/tidy/layers.rs` has the few pairs inside
//! one layer, each with its reason, and fails for any other.
//!
//! ```text
//!  main                         the allocator, and nothing else
//!  cli                          the command line
//!  edge                         opens addresses, starts threads, ends them in order
//!  api  ingest  load  keys      doors for operators and backends; clients for benches; key sets
//!  shard                        the I/O shell: the only module with monoio
//!  mesh    hub                  links; the state of a shard
//!  settings                     what shards are told of how to serve
//!  protocol  ws  http  wheel    bytes and state machines
//!  doctor                       reads the host; knows nothing of the edge's inside
//!  log                          lines on their way to standard error
//!  config                       options
//!  token                        what clients' tokens say
//!  model                        the words of the domain, in no form in which they travel
//!  metrics  limits  sys         counters, constants, the data ring and other syscalls
//! ```
//!
//! `hub`, `protocol`, `model`, `ws`, `http` and `wheel` do no I/O, read no clock and hold no lock:
//! time is an argument and bytes go in and out. So they can be fuzzed, simulated and tested to the
//! end. `token` is like them but for the locks of [`token::Authority`], which threads share.
//!
//! Some of these modules are crates of their own, below `crates/`: `load` and `doctor`, which are
//! no part of the server, and what they share with it, `ws`, `limits` and `sys`. Here they have the
//! names of modules, and for layers they count as such.
//!
//! # Where to find what
//!
//! - [`cli`]: `tidegate serve`, `check-config`, `default-config`, `gentoken`, `checktoken`,
//!   `doctor`, `publish`, `bench`, their help.
//! - [`edge`]: the table of contents of a run; the order in which things start and end.
//! - [`api`]: the HTTP API of backends, `/metrics`, `/health`, `/info` and the try page on the
//!   internal address.
//! - [`ingest`]: all ZeroMQ sockets and their peers, CURVE, gaps in publishers' counters, answers,
//!   events.
//! - [`keys`]: the keys of tokens in a running edge; key sets read and fetched again and again.
//! - [`shard`]: accepting, reading, sending, timing and closing connections; the public doors. Its
//!   network and its clock are passed in ([`shard::Net`]).
//! - [`mesh`]: links, homes and what travels between threads ([`mesh::Envelope`]).
//! - [`hub`]: who is subscribed to what and owed what. `hub/home` is what a channel's home knows,
//!   `hub/delivery` logs, cursors and outboxes; neither names the other. Around them are the life
//!   of connections, their commands, and glue.
//! - [`model`]: channels and their rules, clients, publications and pushes, commands and what they
//!   bring, events.
//! - [`protocol`]: the forms of all these: the native message format, the HTTP API's and the
//!   Centrifuge protocol's, and error codes.
//! - [`ws`]: RFC 6455: frames, masks, fragments, UTF-8, close codes.
//! - [`http`]: request heads, URIs, the opening handshake, and answers to what is not a WebSocket.
//! - [`wheel`]: one deadline for each connection, in constant time.
//! - [`settings`]: what options come to for a shard; replaced as a whole while it runs
//!   ([`mesh::Envelope::Configure`]).
//! - [`config`]: every option once, with its type, default, limits and text, and whether shards
//!   that run can take another value; all its sources.
//! - [`token`]: JSON Web Tokens of clients: keys, signatures, claims, revocations.
//! - [`doctor`]: is this host fit for so many connections, and what to set; see `tuning/`.
//! - [`log`]: log lines on their way to standard error, which may be slow, full or gone.
//! - [`metrics`]: every metric once; counting is a plain addition.
//! - [`limits`]: bounds that no two deployments would set differently.
//! - [`sys`]: the data ring ([`sys::ring`]), clock, eventfd, sockets, what the host can do.
//!   `unsafe` is here and nowhere else.
//! - [`load`]: many WebSocket clients in one thread that verify every message, for benches.
//!
//! # How a message travels: the hot path in six stops
//!
//! Search the code for `HOT PATH`; each stop is marked once.
//!
//! 1. *Receive* (`ingest/turn.rs`). The ingest thread takes up to 64 messages from a socket, in
//!    parts that are used again for the next message.
//! 2. *Decode* ([`protocol::decode_parts`]). Topic, payload and meta become a
//!    [`model::Command`]. The payload is copied once, behind the header of the one WebSocket
//!    frame that every subscriber will share ([`model::Publication`]).
//! 3. *Route* (`mesh/requester.rs`). The command goes onto the link to the channel's home; shards
//!    are woken once for the batch. A broadcast to many channels goes in parts. If the link is
//!    full, in messages, bytes or channels, nothing more is read from any socket.
//! 4. *Publish* (`hub/publish.rs`). The home gives it its place (`hub/home/publish.rs`) and passes
//!    a reference to each shard that has subscribers. No subscriber, no work.
//! 5. *Broadcast* (`hub/delivery/publish.rs`). A shard appends the frame to the channel's log
//!    (`hub/delivery/log.rs`) and marks the channel dirty. That is all, however many subscribers
//!    there are.
//! 6. *Flush* (`shard/write.rs`). A round walks the subscribers of dirty channels and sends each
//!    one contiguous slice of the log, from its cursor to the head, up to [`hub::BATCH_MAX`] sends
//!    in one system call. What is published meanwhile gathers for the next round, so sends grow
//!    larger under load instead of more numerous.
//!
//! A socket that is full leaves its cursor where it is: the connection *lags*
//! (`hub/delivery/backlog.rs`). The log keeps what lagging cursors need, within
//! `slow.lag_bytes_max`; past it, or past `slow.age_max`, the connection is closed with code 3008.
//! Bytes for one connection alone (replies, pongs, close frames) wait in its outbox, which exists
//! only while it is not empty. When all logs and outboxes are over what the shard may have of
//! `slow.memory_max` ([`settings::Budget`]), those who hold most go (`hub/delivery/hoard.rs`).
//!
//! The other direction: `shard/read.rs` reads what is readable into one buffer per shard,
//! [`ws::Inbound`] takes frames apart in place, and a complete message of a raw client becomes a
//! [`model::Event`] on the link to the ingest thread; one of the client protocol brings commands
//! (`shard/managed.rs`). While three quarters of that link are
//! full, clients are not read, and TCP slows them down.
//!
//! A connection begins in `shard/accept.rs` and `shard/door.rs`. The answer to the opening
//! handshake of a raw client is sent only when the home of every channel has confirmed the shard
//! ([`mesh::Envelope::Join`] and [`mesh::Envelope::Joined`]): *open means subscribed*. Clients of
//! the client protocol are answered at once, and each subscription by a reply of its own.
//!
//! # Invariants
//!
//! - **Links are FIFO.** What came before `Joined` on a link is older than the subscription, what
//!   comes after it is newer. No merging, no deduplication, no race.
//! - **One order per channel.** Only the home passes publications of a channel on, and every log
//!   and every socket keeps the order.
//! - **Cursors tell the truth.** Between a subscriber's cursor and the head of the log lies exactly
//!   what it is still owed; a frame that some open cursor needs is never dropped: the connection is
//!   closed first.
//! - **Sources change between frames only.** After part of a frame, nothing but its rest is sent.
//! - **Everything a peer can make grow is bounded**, by an option or in [`limits`], and the bound
//!   is checked before memory is taken.
//! - **The kernel holds no bytes of ours** after a batch was submitted: a send completes inside the
//!   call or is refused.
//! - **A row's generation** stands in every identity and completion, so that nothing late reaches
//!   the row's next occupant.
//! - **Shards end together**: one that has drained goes on serving as a home until all have.
//!
//! # Tests
//!
//! Unit tests stand at the end of each file, or beside it in `tests.rs`. Below `tests/`:
//!
//! - `behaviour`: a real server from outside, one file for each promise of the documents;
//! - `simulation`: several hubs under seeded faults with a virtual clock, checked to the byte, and
//!   whole shards with a network and a clock of its own ([`shard::Net`]);
//! - `recovery`: clients of the client protocol that come back to hubs under seeded faults;
//! - `loom`: bell and links under every order that the memory model allows;
//! - `api`: the HTTP API from outside;
//! - `centrifuge`: the client protocol against bytes of the official packages;
//! - `property`: frames, masks, UTF-8 and handshakes under arbitrary bytes and cuts;
//! - `conformance` and `clients`: Autobahn's cases; real clients in Python, Node and a browser;
//! - `systemd`: the installed unit under a real systemd;
//! - `tidy`: the rules of this map and of the style, and that the documents agree with the code.
//!
//! `fuzz/` has the same parsers under a fuzzer, `benches/` what they cost, and
//! `examples/flash-sale` is a whole application, which the tests run.

pub mod api;
pub mod cli;
pub mod config;
pub mod edge;
pub mod http;
pub mod hub;
pub mod ingest;
pub mod keys;
pub mod log;
pub mod mesh;
pub mod metrics;
pub mod model;
pub mod protocol;
pub mod settings;
pub mod shard;
pub mod token;
pub mod wheel;

pub use tidegate_doctor as doctor;
pub use tidegate_limits as limits;
pub use tidegate_load as load;
pub use tidegate_sys as sys;
pub use tidegate_ws as ws;
