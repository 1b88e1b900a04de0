//! Publications of clients wait like those of backends while the home of their channel has more
//! than enough to do, and commands of any kind while their connection has had its share of a turn,
//! or all of them have had theirs.
//!
//! What a command costs differs a thousandfold, so the share of all is one of time, and time is the
//! shell's. It allows a few commands, looks at its clock when they have begun, and allows some more
//! or none ([`Hub::allow`]). Who is late waits in a queue, and goes on when there is time again.
//!
//! Those of backends wait on their links. A client's waits in its connection, with all commands
//! behind it, and while commands wait the connection is not read. So TCP slows the client down, and
//! what publishers want to say does not gather in the edge. Whether other shards are crowded is the
//! shell's to know; they say so, and it sees it by its links.

use std::collections::{HashSet, VecDeque};

use crate::hub::Hub;
use crate::hub::delivery::connection::Connection;
use crate::hub::managed::Asked;
use crate::hub::rows::Id;
use crate::model::{ClientId, ShardId};

/// At most so many connections are looked at in one turn.
const RESUMED_MAX: usize = 64;

/// Most commands of one connection that are begun in one turn. A frame may bring thousands.
const SHARE: u8 = 64;

/// A command that may take long counts for so many.
const COSTLY: u8 = 32;

/// Who is crowded, and who waits for that to end.
#[derive(Debug)]
pub(super) struct Crowds {
    /// Whether each shard takes no publications of clients that are elsewhere.
    shards: Box<[bool]>,
    /// Connections whose next command is a publication that waits, each once.
    pub(super) waiting: VecDeque<ClientId>,
    /// Connections that have had their share, each once.
    pub(super) later: VecDeque<ClientId>,
    /// Who is in either.
    pub(super) known: HashSet<ClientId, ahash::RandomState>,
    /// Counts turns, over and over.
    turn: u8,
    /// How many commands may begin before the shell allows more.
    allowed: u32,
}

impl Crowds {
    /// Nobody is crowded.
    pub(super) fn new(shards: u8) -> Self {
        let shards = vec![false; usize::from(shards)].into();
        Self {
            shards,
            waiting: VecDeque::new(),
            later: VecDeque::new(),
            known: HashSet::default(),
            turn: 0,
            allowed: u32::MAX,
        }
    }
}

impl Hub {
    /// A shard, perhaps this one, has more envelopes to take or to pass on than it should, or no
    /// longer.
    pub fn note_crowded(&mut self, shard: ShardId, is_crowded: bool) {
        self.crowds.shards[shard.index()] = is_crowded;
    }

    /// Whether publications of clients wait for a crowded shard.
    pub fn has_waiting_publishers(&self) -> bool {
        !self.crowds.waiting.is_empty()
    }

    /// Goes on with connections whose publications waited, each in its turn.
    pub fn resume_publishers(&mut self) {
        for _ in 0..self.crowds.waiting.len().min(RESUMED_MAX) {
            let client = self.crowds.waiting.pop_front().expect("counted above");
            self.crowds.known.remove(&client);
            if let Some(row) = self.row_of(client) {
                self.unpark(row);
            }
        }
        self.run_local();
    }

    /// So many commands may begin from here on, until this is said again. Until it is said for
    /// the first time there is no limit.
    pub fn allow(&mut self, commands: u32) {
        self.crowds.allowed = commands;
    }

    /// Whether as many commands have begun as the shell has allowed.
    pub fn is_late(&self) -> bool {
        self.crowds.allowed == 0
    }

    /// Counts what was done for a client as so many commands.
    pub fn note_work(&mut self, commands: u32) {
        self.crowds.allowed = self.crowds.allowed.saturating_sub(commands);
    }

    /// How many connections have a command that waits for time.
    pub fn latecomers(&self) -> usize {
        self.crowds.later.len()
    }

    /// Whether connections have commands left for another turn.
    pub fn has_latecomers(&self) -> bool {
        !self.crowds.later.is_empty()
    }

    /// Another turn begins: every connection may begin as many commands as its share.
    pub(super) fn begin_turn(&mut self) {
        self.crowds.turn = self.crowds.turn.wrapping_add(1);
    }

    /// The one goes on who has waited for time longest.
    pub fn resume_latecomer(&mut self) {
        let Some(client) = self.crowds.later.pop_front() else { return };
        self.crowds.known.remove(&client);
        if let Some(row) = self.row_of(client) {
            self.unpark(row);
        }
        self.run_local();
    }

    /// Whether there is no time in this turn for another command of a connection.
    pub fn has_had_share(&self, row: u32) -> bool {
        self.has_spent_share(Id::new(row))
    }

    pub(super) fn has_spent_share(&self, row: Id<Connection>) -> bool {
        if self.is_late() {
            return true;
        }
        let served = self.managed.get(&row).map(|managed| managed.served);
        served.is_some_and(|(turn, count)| turn == self.crowds.turn && count >= SHARE)
    }

    /// A command of a connection begins.
    pub(super) fn count_begun(&mut self, row: Id<Connection>, asked: &Asked) {
        let weight = if asked.may_take_long() { COSTLY } else { 1 };
        self.note_work(u32::from(weight));
        let turn = self.crowds.turn;
        if let Some(managed) = self.managed.get_mut(&row) {
            let count = if managed.served.0 == turn { managed.served.1 } else { 0 };
            managed.served = (turn, count.saturating_add(weight));
        }
    }

    /// Whether a command is a publication whose home is crowded.
    pub(super) fn is_crowded_for(&self, asked: &Asked) -> bool {
        let Asked::Publish(_, channel, _) = asked else { return false };
        let home = self.context.site.homes.of(channel);
        self.crowds.shards[home.index()] || home == self.context.site.shard && self.is_congested()
    }

    /// If the next command of a connection waits for a crowded shard or another turn, so does the
    /// connection.
    pub(super) fn await_room(&mut self, row: Id<Connection>) {
        let Some(managed) = self.managed.get(&row) else { return };
        let waits = managed.parked.front().is_some_and(|asked| self.is_crowded_for(asked));
        let client = self.identity(row);
        let is_late = self.has_spent_share(row);
        if !(waits || is_late) || !self.crowds.known.insert(client) {
            return;
        }
        if is_late {
            self.crowds.later.push_back(client);
        } else {
            self.crowds.waiting.push_back(client);
        }
    }
}
