//! Publications of clients wait like those of backends while the home of their channel has more
//! than enough to do.
//!
//! Those of backends wait on their links. A client's waits in its connection, with all commands
//! behind it, and while commands wait the connection is not read. So TCP slows the client down, and
//! what publishers want to say does not gather in the edge. Whether other shards are crowded is the
//! shell's to know; they say so, and it sees it by its links.

use std::collections::{HashSet, VecDeque};

use crate::hub::Hub;
use crate::hub::managed::Asked;
use crate::protocol::{ClientId, ShardId};

/// At most so many connections are looked at in one turn.
const RESUMED_MAX: usize = 64;

/// Who is crowded, and who waits for that to end.
#[derive(Debug)]
pub(super) struct Crowds {
    /// Whether each shard takes no publications of clients that are elsewhere.
    shards: Box<[bool]>,
    /// Connections whose next command is a publication that waits, each once.
    waiting: VecDeque<ClientId>,
    known: HashSet<ClientId, ahash::RandomState>,
}

impl Crowds {
    /// Nobody is crowded.
    pub(super) fn new(shards: u8) -> Self {
        let shards = vec![false; usize::from(shards)].into();
        Self { shards, waiting: VecDeque::new(), known: HashSet::default() }
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

    /// Whether a command is a publication whose home is crowded.
    pub(super) fn is_crowded_for(&self, asked: &Asked) -> bool {
        let Asked::Publish(_, channel, _) = asked else { return false };
        let home = self.settings.homes.of(channel);
        self.crowds.shards[home.index()] || home == self.settings.shard && self.is_congested()
    }

    /// If the next command of a connection waits for a crowded shard, so does the connection.
    pub(super) fn await_room(&mut self, row: u32) {
        let Some(managed) = self.managed.get(&row) else { return };
        let waits = managed.parked.front().is_some_and(|asked| self.is_crowded_for(asked));
        let client = self.client_id(row);
        if waits && self.crowds.known.insert(client) {
            self.crowds.waiting.push_back(client);
        }
    }
}
