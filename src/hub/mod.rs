//! The state of one shard: connections, channels, who is owed what.
//!
//! The hub is deterministic and touches nothing outside: no sockets, no clock, no locks. Its shell
//! (`shard`, or a simulation) feeds it envelopes and socket events, carries out its [`Effect`]s,
//! and moves the bytes of its [`Batch`]es. Call order of the shell, over and over:
//! `handle`/`attach`/`enter`/`push`/…, then `poll_effect` until `None`, then `poll_batch`, send
//! each entry's `bytes`, note what was `sent`, and `finish_batch`.
//!
//! Two roles live here, each a machine with its own state. As the *home* of a channel the shard
//! knows which shards have subscribers (`home`); as a *member* it has the subscribers, the log and
//! a cursor for each (`delivery`). They are strangers: they return what is to be done, and what
//! they have to say goes into the mailbox of the `context`. The hub carries out envelopes with
//! them, and has besides the life of connections and what clients and backends ask of them.
//! Whoever is found to have too much waiting is closed when that is done, and never in between
//! (`overrun`, `reclaim`). What must be true between the tables says `audit`.

mod admission;
mod answer;
mod attend;
mod audit;
mod conditions;
mod configure;
mod connect;
mod context;
mod crowd;
mod delivery;
mod effect;
mod face;
mod home;
mod info;
mod inquire;
mod joining;
mod leave;
mod managed;
mod named;
mod overrun;
mod publish;
mod ranks;
mod rate;
mod reclaim;
mod requests;
mod rows;
mod session;
mod site;
mod subscribe;
mod terms;

pub use conditions::Wishes;
pub use delivery::backlog::Age;
pub use delivery::batch::{BATCH_MAX, Batch, Entry};
pub use effect::{Cause, Effect};
pub use managed::{Asked, Grant, Renewal, Subscribe};
pub use ranks::{Place, Ranked, Ranks, SIZES, size_rank};
pub use rows::{Id, Rows};
pub use session::Session;
pub use site::Site;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::hub::context::Context;
use crate::hub::crowd::Crowds;
use crate::hub::delivery::Delivery;
use crate::hub::delivery::channel::Channel;
use crate::hub::delivery::connection::{Connection, Subscription};
use crate::hub::home::Home;
use crate::hub::joining::{Joining, Then};
use crate::hub::leave::Leavers;
use crate::hub::managed::{Managed, Question};
use crate::mesh::Envelope;
use crate::metrics::ShardMetrics;
use crate::model::{ClientId, ClientInfo};
use crate::settings::HubSettings;
use crate::wheel::Tick;

/// The time, as the shell says it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// On the monotonic clock, in nanoseconds.
    pub nanos: u64,
    /// On the monotonic clock, in ticks of the wheel.
    pub tick: Tick,
    /// Seconds of Unix time.
    pub unix: u64,
}

/// The state of one shard.
#[derive(Debug)]
pub struct Hub {
    context: Context,
    home: Home,
    delivery: Delivery,
    crowds: Crowds,
    leavers: Leavers,
    joinings: Rows<Joining>,
    /// The channels that their home has still to confirm, and who waits for that.
    waiting: HashMap<Id<Channel>, Vec<Id<Joining>>>,
    /// Raw connections that open, and what each waits for.
    openings: HashMap<Id<Connection>, Id<Joining>, ahash::RandomState>,
    devices: HashMap<Id<Connection>, Box<str>>,
    /// What tokens say about connections for backends alone, as JSON.
    metas: HashMap<Id<Connection>, Arc<str>>,
    /// The Unix seconds at which raw connections expire, of those that do.
    raw_expiries: HashMap<Id<Connection>, u64>,
    /// What is kept of managed connections beside their rows.
    managed: HashMap<Id<Connection>, Box<Managed>, ahash::RandomState>,
    /// Subscriptions that are on a roll although their namespace keeps none.
    enrolled: HashSet<Id<Subscription>, ahash::RandomState>,
    /// Who clients are to others in subscriptions that say more of them than the connection does.
    infos: HashMap<Id<Subscription>, Arc<ClientInfo>, ahash::RandomState>,
    /// What homes were asked on behalf of connections.
    questions: Rows<Question>,
    user_rates: rate::UserRates,
    /// How many turns ago a debug build audited itself.
    turns_unaudited: usize,
}

/// Tables have room for at most so many rows from the start; beyond that they grow.
const EXPECTED_ROWS_MAX: usize = 1 << 22;

impl Hub {
    /// An empty shard.
    pub fn new(site: Site, settings: Arc<HubSettings>, metrics: Arc<ShardMetrics>) -> Self {
        let expected = settings.connections_max.min(EXPECTED_ROWS_MAX);
        let delivery = Delivery::new(&settings, expected);
        let home = Home::new(&site, &settings, expected);
        let crowds = Crowds::new(site.homes.shards());
        Self {
            context: Context::new(site, settings, metrics),
            home,
            delivery,
            crowds,
            leavers: Leavers::default(),
            joinings: Rows::default(),
            waiting: HashMap::new(),
            openings: HashMap::default(),
            devices: HashMap::new(),
            metas: HashMap::new(),
            raw_expiries: HashMap::new(),
            managed: HashMap::default(),
            enrolled: HashSet::default(),
            infos: HashMap::default(),
            questions: Rows::default(),
            user_rates: rate::UserRates::default(),
            turns_unaudited: 0,
        }
    }

    /// Time goes on: publications and keys that are too old are forgotten.
    pub fn advance(&mut self, now: Now) {
        let is_new_tick = now.tick != self.context.now.tick;
        self.context.now = now;
        self.begin_turn();
        self.audit_at_times();
        self.home.advance(&self.context, is_new_tick);
        if is_new_tick {
            self.delivery.give_back();
        }
    }

    /// Whether something is too old that [`Hub::advance`] has still to forget.
    pub fn is_behind(&self) -> bool {
        self.home.is_behind(&self.context)
    }

    /// Takes an envelope from a link.
    pub fn handle(&mut self, envelope: Envelope) {
        self.handle_one(envelope);
        self.run_local();
    }

    /// The next thing to do outside.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.context.effects.pop_front()
    }

    /// Whether nothing is left of any connection, channel or command.
    pub fn is_empty(&self) -> bool {
        self.delivery.is_empty()
            && self.home.is_empty()
            && self.managed.is_empty()
            && self.enrolled.is_empty()
            && self.infos.is_empty()
            && self.questions.is_empty()
            && self.joinings.is_empty()
            && self.waiting.is_empty()
            && self.openings.is_empty()
            && self.devices.is_empty()
            && self.metas.is_empty()
            && self.raw_expiries.is_empty()
            && self.context.local.is_empty()
            && self.context.effects.is_empty()
            && !self.has_waiting_publishers()
            && !self.has_latecomers()
            && !self.has_leavers()
    }

    fn handle_one(&mut self, envelope: Envelope) {
        match envelope {
            Envelope::Command { command, ticket } => self.handle_command(*command, ticket),
            Envelope::Deliver { handle, push, ticket } => {
                let sessions = self.deliver(handle, &push);
                self.context.answer(ticket, false, 0, Ok(sessions));
            }
            Envelope::Join { channel, shard, handle } => {
                self.home.handle_join(&mut self.context, channel, shard, handle);
            }
            Envelope::Joined { handle } => self.handle_joined(handle),
            Envelope::Leave { channel, shard, handle } => {
                self.home.handle_leave(&self.context, &channel, shard, handle);
            }
            Envelope::Attend(attend) => self.home.handle_attend(&mut self.context, *attend),
            Envelope::Attended(attended) => self.handle_attended(*attended),
            Envelope::Depart { channel, client } => {
                self.home.handle_depart(&mut self.context, &channel, client);
            }
            Envelope::Inform { channel, info } => self.home.inform(&channel, info),
            Envelope::Answered(answer) => self.handle_answered(*answer),
            Envelope::Enter(enter) => self.home.handle_enter(&mut self.context, *enter),
            Envelope::Entered { client, refusal } => self.handle_entered(client, refusal),
            Envelope::Exit { personal, client } => {
                self.home.handle_exit(&mut self.context, &personal, client);
            }
            Envelope::Apply { client, command, ticket } => self.apply(client, command, ticket),
            Envelope::Evict { client } => self.evict(client),
            Envelope::Configure(settings) => self.configure(settings),
        }
    }

    fn run_local(&mut self) {
        loop {
            self.settle_overruns();
            if let Some(envelope) = self.context.local.pop_front() {
                self.handle_one(envelope);
            } else if !self.delivery.is_over_budget() || !self.reclaim() {
                return;
            }
        }
    }

    /// The row of a connection that still exists.
    fn row_of(&self, client: ClientId) -> Option<Id<Connection>> {
        self.delivery.row_of(&self.context, client)
    }

    /// The identity of a row's connection. A free row has generation zero, which none has.
    pub fn client_id(&self, row: u32) -> ClientId {
        self.identity(Id::new(row))
    }

    fn identity(&self, row: Id<Connection>) -> ClientId {
        self.delivery.identity(&self.context, row)
    }

    /// How many connections there are, from the moment they are attached.
    pub fn connection_count(&self) -> usize {
        self.delivery.connections.len()
    }
}
