//! The I/O shell of the data plane: one pinned thread with its ring, its listener and its hub.
//!
//! `monoio` runs the thread: the shard is a future of its executor, which has the timer and what
//! else is no connection. The connections themselves are rows, not tasks; their accepts, readiness
//! and sends go through a ring of the shard's own (see [`crate::sys::ring`]), because a task for
//! each would cost 27 times the memory. That ring is also what an idle shard sleeps in, because
//! what wakes it is there. The shard never blocks but in one file (`sleep`, which says why the two
//! rings do not miss each other), does a bounded amount of each kind of work per turn (`turn`), and
//! owns everything that it touches except links and publications. What it has of the world outside
//! is passed in ([`Net`]), so that a simulation runs the whole of it.
//!
//! `accept`, `door` and `visitor` take a connection in, `report` says why one stays out, `read`
//! hears it, `half` keeps what is not whole yet, `managed` understands those that speak the client
//! protocol, `verify` looks at tokens that cost much, `write` serves it, `life` times it and ends
//! it, `drain` ends them all.

mod accept;
mod answers;
mod audit;
mod configure;
mod door;
mod drain;
mod half;
mod life;
mod managed;
mod net;
mod read;
mod report;
mod sleep;
mod socket;
mod turn;
mod verify;
mod visitor;
mod write;

pub use drain::Drain;
pub use net::Net;
pub use sleep::run;
pub use turn::Turn;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use crate::hub::{Batch, Hub, Site};
use crate::mesh::{Envelope, ShardPort};
use crate::metrics::ShardMetrics;
use crate::model::ShardId;
use crate::settings::{Allowance, ShardSettings};
use crate::shard::accept::Admission;
use crate::shard::answers::{Answers, Failures};
use crate::shard::half::{Commands, Halves};
use crate::shard::socket::Socket;
use crate::sys::{Complaints, ring};
use crate::token::Authority;
use crate::wheel::{Tick, Wheel};

/// Everything a shard's thread is started with.
#[derive(Debug)]
pub struct Start {
    /// Its settings.
    pub settings: Arc<ShardSettings>,
    /// Where its hub stands.
    pub site: Site,
    /// The size of its data ring.
    pub ring: ring::Size,
    /// The core it is pinned to.
    pub core: Option<usize>,
    /// Its links.
    pub port: ShardPort,
    /// The metrics of all shards; its own are those that it writes to.
    pub metrics: Vec<Arc<ShardMetrics>>,
    /// The signal to end.
    pub drain: Arc<Drain>,
    /// What verifies tokens.
    pub authority: Arc<Authority>,
}

/// One shard.
pub struct Shard<N: Net> {
    settings: Arc<ShardSettings>,
    port: ShardPort,
    metrics: Arc<ShardMetrics>,
    /// The metrics of all shards: how many connections the process has.
    all_metrics: Vec<Arc<ShardMetrics>>,
    authority: Arc<Authority>,
    /// Lines about clients that are refused.
    complaints: Complaints,
    net: N,
    hub: Hub,
    wheel: Wheel,
    sockets: Vec<Socket>,
    halves: Halves,
    work: Work,
    admission: Admission,
    draining: drain::Progress,
}

/// What waits to be done, and memory that is used again and again.
struct Work {
    /// The time at which the turn began: nanoseconds, the tick, and the Unix second.
    now_nanos: u64,
    now: Tick,
    unix: u64,
    /// Sockets that are to be read although the kernel will not say so again.
    ready: VecDeque<(u32, u32)>,
    /// Connections that are not read until they have taken more of what waits for them, or their
    /// commands have had their turn.
    paused: HashSet<u32, ahash::RandomState>,
    /// Connections with a token that costs much, each of them once.
    unverified: VecDeque<verify::Waiting>,
    /// Connections whose closing handshake is over once their outbox is sent.
    farewells: Vec<(u32, u32)>,
    /// The link that the next turn begins with, and what was taken of each that has to wait.
    first_queue: usize,
    held: Vec<Option<Envelope>>,
    /// Envelopes for a shard whose link was full, in order.
    parked: VecDeque<(ShardId, Envelope)>,
    /// Answers on their way to each asker, by place.
    answers: Vec<Answers>,
    /// Failures that the ingest thread has still to be told of.
    failures: Failures,
    batch: Batch,
    /// What one read brings; shared by all connections.
    input: Vec<u8>,
    /// Replies to one read.
    replies: Vec<u8>,
    /// When this stage of a turn has no more time for what clients ask.
    clients_until: u64,
    /// Whether it had some when the clock was looked at last.
    is_time_left: bool,
    /// How long the command was that was heard last.
    command_bytes: usize,
    /// What is left of a message that is being heard.
    unheard: Option<Commands>,
    /// Timers may be due that the last turn did not run.
    are_timers_left: bool,
    /// Links that have something new and whose receiver must be woken: a shard, or an asker.
    is_touched: Vec<bool>,
    is_asker_touched: Vec<bool>,
}

/// The shell's tables have room for at most so many rows from the start, as the hub's have.
const EXPECTED_ROWS_MAX: usize = 1 << 22;

/// Rows that are kept when the last connection is gone.
const KEPT_ROWS: usize = 4096;

/// Lines about clients that are refused: five in two seconds, on average, of all shards together.
fn complaints(shards: usize) -> Complaints {
    Complaints::in_seconds(2 * shards as u64)
}

/// How much one read can bring.
const INPUT_BYTES: usize = 64 * 1024;

impl<N: Net> Shard<N> {
    /// A shard without connections, which listens.
    pub fn new(start: Start, mut net: N) -> Self {
        let Start { settings, site, port, metrics, drain, authority, .. } = start;
        net.watch_bell();
        net.tick_after(sleep::TICK_NANOS);
        net.accept();
        let shards = port.shards.len();
        let expected = settings.connections_max.min(EXPECTED_ROWS_MAX);
        let own_metrics = Arc::clone(&metrics[port.shard.index()]);
        let now_nanos = net.now_nanos();
        let work = Work {
            now_nanos,
            now: tick_of(now_nanos),
            unix: net.unix_seconds(),
            ready: VecDeque::new(),
            paused: HashSet::default(),
            unverified: VecDeque::new(),
            farewells: Vec::new(),
            first_queue: 0,
            held: (0..port.inbox.queue_count()).map(|_| None).collect(),
            parked: VecDeque::new(),
            answers: port.askers.iter().map(|_| Answers::default()).collect(),
            failures: Failures::default(),
            batch: Batch::default(),
            input: vec![0; INPUT_BYTES],
            replies: Vec::new(),
            clients_until: 0,
            is_time_left: false,
            command_bytes: 0,
            unheard: None,
            are_timers_left: false,
            is_touched: vec![false; shards],
            is_asker_touched: vec![false; port.askers.len()],
        };
        Self {
            hub: Hub::new(site, Arc::clone(&settings.hub), Arc::clone(&own_metrics)),
            wheel: Wheel::with_capacity(work.now, expected),
            sockets: Vec::with_capacity(expected),
            halves: Halves::new(Allowance::new(Arc::clone(&settings.halves))),
            admission: Admission::new(&settings, complaints(shards)),
            draining: drain::Progress::new(drain),
            settings,
            port,
            metrics: own_metrics,
            all_metrics: metrics,
            authority,
            complaints: complaints(shards),
            net,
            work,
        }
    }
}

fn tick_of(nanos: u64) -> Tick {
    Tick::from_millis(nanos / 1_000_000)
}
