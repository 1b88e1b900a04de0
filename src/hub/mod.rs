//! The state of one shard: connections, channels, who is owed what.
//!
//! The hub is deterministic and touches nothing outside: no sockets, no clock, no locks. Its shell
//! (`shard`, or a simulation) feeds it envelopes and socket events, carries out its [`Effect`]s,
//! and moves the bytes of its [`Batch`]es. Call order of the shell, over and over:
//! `handle`/`attach`/`enter`/`push`/…, then `poll_effect` until `None`, then `poll_batch`, send
//! each entry's `bytes`, note what was `sent`, and `finish_batch`.
//!
//! Two roles live here. As the *home* of a channel the shard knows which shards have subscribers
//! (`home`); as a *member* it has the subscribers, the log and a cursor for each (`channel`,
//! `log`). The invariant of delivery: between a subscriber's cursor and the head of its channel's
//! log lies exactly what it is still owed, and sources of bytes for a socket change only between
//! frames.

mod backlog;
mod batch;
mod channel;
mod connection;
mod effect;
mod flush;
mod gather;
mod home;
mod log;
mod named;
mod outbox;
mod publish;
mod rows;
mod session;
mod subscribe;

pub use backlog::Age;
pub use batch::{BATCH_MAX, Batch, Entry};
pub use effect::{Cause, Effect};
pub use rows::{NONE, Rows};
pub use session::Session;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::hub::channel::Channel;
use crate::hub::connection::{Connection, Subscription};
use crate::hub::home::Home;
use crate::hub::named::NamedRows;
use crate::hub::outbox::Outbox;
use crate::mesh::{Envelope, Homes, Outbound};
use crate::metrics::ShardMetrics;
use crate::protocol::{Answer, ChannelName, ClientId, CommandError, ShardId, Ticket};

/// What the hub is told once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This shard.
    pub shard: ShardId,
    /// Where channels are at home.
    pub homes: Homes,
    /// How many sessions a user may have.
    pub sessions_per_user_max: usize,
    /// Whether one session more takes the place of the oldest, or is refused.
    pub evict_oldest: bool,
    /// How many bytes of one channel a connection may lag behind.
    pub lag_bytes_max: usize,
    /// How many personal bytes may wait for one connection.
    pub outbox_bytes_max: usize,
    /// How many connections there may be: what tables have room for from the start.
    pub connections_max: usize,
    /// How many bytes all logs and outboxes may hold before lagging connections are closed
    /// whatever their own limit says.
    pub memory_max: usize,
}

/// The state of one shard.
#[derive(Debug)]
pub struct Hub {
    settings: Settings,
    metrics: Arc<ShardMetrics>,
    connections: Rows<Connection>,
    subscriptions: Rows<Subscription>,
    channels: NamedRows<Channel>,
    homes: NamedRows<Home>,
    outboxes: Rows<Outbox>,
    joinings: Rows<Joining>,
    /// The channels that their home has still to confirm, and who waits for that.
    waiting: HashMap<u32, Vec<u32>>,
    devices: HashMap<u32, Box<str>>,
    queues: Queues,
    tally: Tally,
}

/// Everything that waits to be done.
#[derive(Debug, Default)]
struct Queues {
    /// Envelopes from this shard to itself.
    local: VecDeque<Envelope>,
    effects: VecDeque<Effect>,
    /// Channels with a round to do.
    dirty: VecDeque<u32>,
    /// Connections that are writable and lack something of their own.
    catching_up: VecDeque<u32>,
}

/// Numbers of the shard as a whole.
#[derive(Debug, Default)]
struct Tally {
    /// The next generation of a connection's row or of a stay in a channel.
    generation: u32,
    batch: u16,
    /// How many logs are so long that no more publications are taken.
    congested: u32,
    /// How many open connections take part in broadcasts to everybody.
    everyone: u32,
    log_bytes: usize,
    outbox_bytes: usize,
    events: u64,
}

/// Somebody waits until homes have answered.
#[derive(Debug, Default)]
struct Joining {
    remaining: u32,
    /// Whether the answer about the session is among what remains.
    awaits_entry: bool,
    then: Then,
}

/// What to do when all homes have answered.
#[derive(Debug, Default)]
enum Then {
    /// Whoever waited is gone.
    #[default]
    Nothing,
    /// Open the connection.
    Open(u32),
    /// Tell the asker of a command.
    Answer(Ticket),
}

/// The row of the channel that stands for every open connection. Its members are the rows of the
/// connections themselves, and they exist only while its log does.
const EVERYONE: u32 = 0;

/// Tables have room for at most so many rows from the start; beyond that they grow.
const EXPECTED_ROWS_MAX: usize = 1 << 22;

/// With more channels than this still to be served, a shard takes no more publications: each holds
/// a log of its own.
const DIRTY_MAX: usize = 4096;

impl Hub {
    /// An empty shard.
    pub fn new(settings: Settings, metrics: Arc<ShardMetrics>) -> Self {
        let expected = settings.connections_max.min(EXPECTED_ROWS_MAX);
        let mut channels = NamedRows::with_capacity(expected);
        let everyone = channels.insert(Channel::new(ChannelName::everyone(), 0));
        assert!(everyone == EVERYONE, "the first row of an empty table");
        Self {
            settings,
            metrics,
            connections: Rows::with_capacity(expected),
            subscriptions: Rows::with_capacity(expected),
            channels,
            homes: NamedRows::with_capacity(expected),
            outboxes: Rows::default(),
            joinings: Rows::default(),
            waiting: HashMap::new(),
            devices: HashMap::new(),
            queues: Queues::default(),
            tally: Tally::default(),
        }
    }

    /// Takes an envelope from a link.
    pub fn handle(&mut self, envelope: Envelope) {
        self.handle_one(envelope);
        self.run_local();
    }

    /// The next thing to do outside.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.queues.effects.pop_front()
    }

    /// Whether some log is so long that the shell should leave further envelopes on their links
    /// until rounds have caught up: this is how a busy shard slows its publishers down.
    pub fn is_congested(&self) -> bool {
        self.tally.congested > 0 || self.queues.dirty.len() > DIRTY_MAX
    }

    /// Whether [`Hub::poll_batch`] would find something to send.
    pub fn has_work(&self) -> bool {
        !self.queues.dirty.is_empty() || !self.queues.catching_up.is_empty()
    }

    /// Whether nothing is left of any connection, channel or command.
    pub fn is_empty(&self) -> bool {
        let everyone = &self.channels.rows[EVERYONE];
        self.connections.is_empty()
            && self.subscriptions.is_empty()
            && self.channels.rows.len() == 1
            && everyone.round.is_none()
            && everyone.members.is_empty()
            && self.homes.rows.is_empty()
            && self.outboxes.is_empty()
            && self.joinings.is_empty()
            && self.waiting.is_empty()
            && self.devices.is_empty()
            && self.queues.local.is_empty()
            && self.queues.effects.is_empty()
            && !self.has_work()
            && !self.is_congested()
            && self.tally.everyone == 0
    }

    fn handle_one(&mut self, envelope: Envelope) {
        match envelope {
            Envelope::Command { command, ticket } => self.handle_command(*command, ticket),
            Envelope::Deliver { handle, publication, ticket } => {
                let sessions = self.deliver(handle, &publication);
                self.answer(ticket, false, 0, Ok(sessions));
            }
            Envelope::Join { channel, shard, handle } => self.handle_join(channel, shard, handle),
            Envelope::Joined { handle } => self.handle_joined(handle),
            Envelope::Leave { channel, shard, handle } => {
                self.at_home(&channel, |home| home.leave(shard, handle));
            }
            Envelope::Enter { personal, client } => self.handle_enter(personal, client),
            Envelope::Entered { client, refusal } => self.handle_entered(client, refusal),
            Envelope::Exit { personal, client } => {
                self.at_home(&personal, |home| home.exit(client));
            }
            Envelope::Apply { client, command, ticket } => self.apply(client, &command, ticket),
            Envelope::Evict { client } => self.evict(client),
        }
    }

    /// Sends an envelope to a shard, which may be this one.
    fn post(&mut self, shard: ShardId, envelope: Envelope) {
        if shard == self.settings.shard {
            self.queues.local.push_back(envelope);
        } else {
            self.queues.effects.push_back(Effect::Send(shard, envelope));
        }
    }

    fn run_local(&mut self) {
        while let Some(envelope) = self.queues.local.pop_front() {
            self.handle_one(envelope);
        }
    }

    /// Changes the home side of a channel, which is forgotten when nobody is left there.
    fn at_home(&mut self, channel: &ChannelName, change: impl FnOnce(&mut Home)) {
        if let Some(row) = self.homes.find(channel) {
            change(&mut self.homes.rows[row]);
            if self.homes.rows[row].is_empty() {
                self.homes.remove(row);
            }
        }
    }

    /// Answers a part of a command, if anybody waits for it.
    fn answer(
        &mut self,
        ticket: Option<Ticket>,
        is_first: bool,
        awaiting: u32,
        result: Result<u32, CommandError>,
    ) {
        if let Some(Ticket { asker, number }) = ticket {
            let (sessions, error) = match result {
                Ok(sessions) => (sessions, None),
                Err(error) => (0, Some(error)),
            };
            let answer = Answer { number, is_first, awaiting, sessions, error, outcome: None };
            self.queues.effects.push_back(Effect::Tell(asker, Outbound::Answer(answer)));
        }
    }

    /// The row of a connection that still exists.
    fn row_of(&self, client: ClientId) -> Option<u32> {
        let connection = self.connections.get(client.row)?;
        let is_there = connection.phase != connection::Phase::Free
            && connection.generation == client.generation
            && client.shard == self.settings.shard;
        is_there.then_some(client.row)
    }

    /// The identity of a row's connection. A free row has generation zero, which none has.
    pub fn client_id(&self, row: u32) -> ClientId {
        let generation = self.connections.get(row).map_or(0, |connection| connection.generation);
        ClientId { shard: self.settings.shard, row, generation }
    }

    /// How many connections there are, from the moment they are attached.
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    fn next_generation(&mut self) -> u32 {
        self.tally.generation = self.tally.generation.wrapping_add(1).max(1);
        self.tally.generation
    }

    fn note_log_bytes(&mut self, before: usize, after: usize) {
        self.tally.log_bytes = self.tally.log_bytes + after - before;
        self.metrics.log_bytes.set(self.tally.log_bytes as i64);
    }

    fn note_outbox_bytes(&mut self, before: usize, after: usize) {
        self.tally.outbox_bytes = self.tally.outbox_bytes + after - before;
        self.metrics.outbox_bytes.set(self.tally.outbox_bytes as i64);
    }
}
