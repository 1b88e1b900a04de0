//! The edge as a whole: opens every address, starts every thread, and ends them in order.
//!
//! Whatever can fail because of the host or the configuration fails here, before anybody is
//! served, with an error that says what to do. Once `run` serves, it ends for three reasons: a
//! signal (drain, then success), a second signal (at once), or a thread that could not go on.

mod capacity;
mod end;
mod settings;
mod signals;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::thread::{self, Builder, JoinHandle};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::api::{self, Control, Facts, Timing};
use crate::config::Config;
use crate::edge::capacity::Capacity;
use crate::edge::end::{Threads, Word, tell};
use crate::hub::Site;
use crate::ingest::{self, Ingest};
use crate::keys;
use crate::log::Logger;
use crate::mesh::{self, Asker, AskerPort, ShardPort};
use crate::metrics::{IngestMetrics, ShardMetrics};
use crate::model::NodeId;
use crate::shard::{self, Drain, Start};
use crate::sys::{Clock, host, socket};

/// Why the edge could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({option}): {source}; {}", listen_remedy(source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The option that sets it.
        option: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A ZeroMQ endpoint cannot be opened.
    #[error(transparent)]
    Ingest(#[from] ingest::Error),
    /// The keys of tokens cannot be had.
    #[error(transparent)]
    Keys(#[from] keys::Error),
    /// The rings of all shards are more than may be locked.
    #[error(
        "the rings of {shards} shards take {full} bytes of locked memory, {least} at least, but \
         the limit is {limit}, and all processes of a user share it: set LimitMEMLOCK={full} in \
         the unit, --ulimit memlock={full}:{full} in a container or ulimit -l {} in a shell, or \
         lower shards.count",
        full.div_ceil(1024)
    )]
    LockedMemory {
        /// How many shards there are.
        shards: usize,
        /// What their smallest rings take.
        least: u64,
        /// What their rings should take.
        full: u64,
        /// What the limit is.
        limit: u64,
    },
    /// Not even a few callers would find descriptors.
    #[error(
        "{shards} shards and {endpoints} ZeroMQ endpoints need {needed} descriptors, but the limit \
         is {limit}: set LimitNOFILE={needed} or more in the unit, --ulimit \
         nofile={needed}:{needed} in a container or ulimit -n {needed} in a shell; `tidegate \
         doctor` says how many clients need"
    )]
    Descriptors {
        /// How many shards there are.
        shards: usize,
        /// How many ZeroMQ endpoints there are.
        endpoints: usize,
        /// The least number.
        needed: u64,
        /// What the limit is.
        limit: u64,
    },
    /// A thread could not be started, or its ring not be set up.
    #[error("cannot start a {thread} thread: {source}")]
    Thread {
        /// What the thread is for.
        thread: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A thread ended although nobody asked it to.
    #[error("a {thread} thread could not go on: {reason}")]
    Died {
        /// What the thread is for.
        thread: &'static str,
        /// What it said.
        reason: String,
    },
}

/// Where a running edge is reached.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// The door for clients.
    pub public: SocketAddr,
    /// The door for operators.
    pub internal: SocketAddr,
    /// The ZeroMQ endpoints, in the order of the configuration.
    pub ingest: Vec<String>,
    /// How many connections there is room for.
    pub room: usize,
}

/// Connections to the internal address that the kernel holds ready: beyond it a probe would be
/// passed over and come again after a second. `net.core.somaxconn` is an upper bound too.
const INTERNAL_BACKLOG: u32 = 4096;

/// How often, and after what pauses, an address that is taken is tried again: for half a second.
const RELEASE_TRIES: u32 = 25;
const RELEASE_PAUSE: Duration = Duration::from_millis(20);

/// Runs an edge until it has drained. `ready` is called once everything listens.
pub fn run(config: &Config, logger: &Logger, ready: impl FnOnce(&Addresses)) -> Result<(), Error> {
    let Capacity { shards: shard_count, cores } = Capacity::new(config);
    capacity::check_descriptors(config, shard_count)?;
    let signals = signals::take().map_err(|source| Error::Thread { thread: "signal", source })?;
    let clock = Clock::start();
    let ring_size = capacity::ring_size(shard_count)?;
    let (shard_ports, mut asker_ports) =
        mesh::build(shard_count as u8, config.links.capacity, rand_seed())
            .map_err(|source| Error::Thread { thread: "shard", source })?;
    let shard_metrics: Vec<_> =
        (0..shard_count).map(|_| Arc::new(ShardMetrics::default())).collect();
    let ingest_metrics = Arc::new(IngestMetrics::default());

    let keeper = keys::open(&config.token, keys::Timing::default())?;
    let listeners = public_listeners(config, shard_count)?;
    let internal_listener = internal_listener(config)?;
    let mut port = |asker| AskerPort::take(&mut asker_ports, asker);
    let ingest = bind_ingest(config, port(Asker::Ingest), Arc::clone(&ingest_metrics), clock)?;
    let addresses = addresses(config, &listeners[0], &internal_listener, &ingest);

    let (words, heard) = channel();
    let drain = Arc::new(Drain::new(shard_count, tell(words.clone(), || Word::ClientsLeft)));
    let (settings, seed) = (settings::of_shards(config, shard_count, &addresses), rand_seed());
    let mut shards = Vec::with_capacity(shard_count);
    for (port, listener) in shard_ports.into_iter().zip(listeners) {
        let start = Start {
            settings: Arc::clone(&settings),
            site: site(config, &port, seed),
            ring: ring_size,
            core: cores.get(port.shard.index() % cores.len().max(1)).copied(),
            metrics: shard_metrics.clone(),
            port,
            drain: Arc::clone(&drain),
            authority: keeper.authority(),
        };
        shards.push(start_shard(start, (listener, clock), shard_count, words.clone())?);
    }
    let stop_ingest = ingest.stop_handle();
    let finished = tell(words.clone(), || Word::IngestFinished);
    let ingest = spawn("ingest", words.clone(), move || {
        ingest.run(finished).map_err(|error| error.to_string())
    })?;
    let control = Control {
        facts: facts(config, &addresses),
        shards: shard_metrics,
        ingest: ingest_metrics,
        access: settings::access(&config.api),
        body_bytes_max: config.api.message_bytes_max,
        keeper,
        port: port(Asker::Control),
        api_port: port(Asker::Api),
        log: logger.metrics(),
        drain: Arc::clone(&drain),
        clock,
        timing: Timing::default(),
    };
    let (stop_api, api_stopped) = tokio::sync::oneshot::channel();
    let control = spawn("control", words, move || {
        api::serve(internal_listener, control, api_stopped).map_err(|error| error.to_string())
    })?;
    signals::watch(signals, (Arc::clone(&drain), config.drain.delay), logger.clone())
        .map_err(|source| Error::Thread { thread: "signal", source })?;
    log_start(&addresses, shard_count);
    ready(&addresses);

    let threads = Threads { shards, ingest, control };
    end::wait(&heard, threads, (&drain, &stop_ingest, stop_api))
}

/// What this host and this user lack of what a configuration asks for, as far as it shows without
/// opening anything.
pub fn examine(config: &Config) -> Vec<Error> {
    let results = endpoints(config).into_iter().map(|endpoint| ingest::examine(&endpoint));
    results.filter_map(|result| result.err().map(Error::from)).collect()
}

fn endpoints(config: &Config) -> Vec<ingest::Endpoint> {
    let event_bytes_max = config.websocket.message_bytes_max;
    let peers_max = settings::peers_max(config);
    let endpoints = config.ingest.endpoints.iter();
    endpoints.map(|endpoint| settings::endpoint(endpoint, peers_max, event_bytes_max)).collect()
}

fn bind_ingest(
    config: &Config,
    port: AskerPort,
    metrics: Arc<IngestMetrics>,
    clock: Clock,
) -> Result<Ingest, ingest::Error> {
    Ingest::bind(&endpoints(config), port, metrics, Box::new(move || clock.now_nanos()))
}

fn facts(config: &Config, addresses: &Addresses) -> Facts {
    Facts {
        version: env!("CARGO_PKG_VERSION"),
        name: host::name(),
        uid: format!("{:016x}", rand_seed()),
        public: addresses.public,
        guards_host: addresses.internal.ip().is_loopback() && !config.internal.allow_remote,
        dev: config.dev,
    }
}

fn site(config: &Config, port: &ShardPort, epoch_seed: u64) -> Site {
    let (node, homes) = (NodeId(config.cluster.node), port.homes.clone());
    Site { node, shard: port.shard, homes, epoch_seed }
}

fn log_start(addresses: &Addresses, shards: usize) {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        shards,
        public = %addresses.public,
        internal = %addresses.internal,
        "serving"
    );
}

fn start_shard(
    start: Start,
    (listener, clock): (TcpListener, Clock),
    count: usize,
    words: Sender<Word>,
) -> Result<JoinHandle<()>, Error> {
    let (started, word) = sync_channel(1);
    let thread = spawn("shard", words, move || {
        shard::run(start, listener, clock, &started).map_err(|error| error.to_string())
    })?;
    let word = word.recv().unwrap_or_else(|_| Err(io::Error::other("it ended at once")));
    word.map_err(|source| match source.raw_os_error() {
        Some(libc::ENOMEM) => capacity::no_locked_memory(count),
        _ => Error::Thread { thread: "shard", source },
    })?;
    Ok(thread)
}

fn spawn(
    name: &'static str,
    words: Sender<Word>,
    body: impl FnOnce() -> Result<(), String> + Send + 'static,
) -> Result<JoinHandle<()>, Error> {
    Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
            let result = result.unwrap_or_else(|_| Err("it panicked, which is a bug".to_owned()));
            // Nobody listens any more when the edge is on its way out.
            let _ = words.send(Word::Ended(name, result));
        })
        .map_err(|source| Error::Thread { thread: name, source })
}

/// One listener for each shard on the same address: the kernel spreads connections over them.
fn public_listeners(config: &Config, count: usize) -> Result<Vec<TcpListener>, Error> {
    let (address, backlog) = (config.public.address, config.public.backlog);
    let failed = |source| listen_error(address, "public.address", source);
    let first = first_listener(address, backlog).map_err(failed)?;
    // Nobody else listens here, or listening would have failed. Whoever begins like this from now
    // on fails, whichever options he sets, and only then may the other shards join.
    SockRef::from(&first).set_reuse_port(true).map_err(failed)?;
    // Port 0 means any; the other shards take the one that the first was given.
    let address = address_of(&first, address);
    let mut listeners = vec![first];
    for _ in 1..count {
        listeners.push(listener(address, backlog, true).map_err(failed)?);
    }
    Ok(listeners)
}

/// The kernel may close what the rings of a killed process held a moment after its end was told, so
/// that an edge that is started again at once finds its address still taken.
fn first_listener(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    for _ in 0..RELEASE_TRIES {
        match listener(address, backlog, false) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => thread::sleep(RELEASE_PAUSE),
            result => return result,
        }
    }
    listener(address, backlog, false)
}

fn listener(address: SocketAddr, backlog: u32, is_shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(is_shared)?;
    // Accepted sockets inherit this.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

fn internal_listener(config: &Config) -> Result<TcpListener, Error> {
    let address = config.internal.address;
    listener(address, INTERNAL_BACKLOG, false)
        .map_err(|source| listen_error(address, "internal.address", source))
}

fn addresses(
    config: &Config,
    public: &TcpListener,
    internal: &TcpListener,
    ingest: &Ingest,
) -> Addresses {
    Addresses {
        public: address_of(public, config.public.address),
        internal: address_of(internal, config.internal.address),
        ingest: ingest.addresses().to_vec(),
        room: settings::connections_max(config),
    }
}

fn address_of(listener: &TcpListener, configured: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(configured)
}

/// What to do about an address that cannot be listened on.
fn listen_remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EADDRINUSE) => {
            "end the process that has it (`ss -ltnp` names it) or set another address"
        }
        Some(libc::EADDRNOTAVAIL) => {
            "no interface of this machine has it: set one that `ip address` shows, or 0.0.0.0 or \
             [::] for all"
        }
        _ => socket::listen_remedy(error).unwrap_or("set another address"),
    }
}

fn listen_error(address: SocketAddr, option: &'static str, source: io::Error) -> Error {
    Error::Listen { address, option, source }
}

/// A seed that peers cannot know and that no earlier run had: for the hash that gives channels
/// their homes, and for the epochs of streams.
fn rand_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}
