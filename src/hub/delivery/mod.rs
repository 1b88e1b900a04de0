//! Who is owed what: the shard's parts of channels with their logs, cursors, rounds and outboxes.
//!
//! Between a subscriber's cursor and the head of its channel's log lies exactly what it is still
//! owed, and the sources of bytes for a socket change only between frames.

pub(super) mod backlog;
pub(super) mod batch;
pub(super) mod channel;
pub(super) mod connection;
mod everyone;
mod flush;
mod gather;
pub(super) mod hoard;
pub(super) mod limit;
mod log;
pub(super) mod outbox;
mod publish;
pub(super) mod ring;
mod stay;
mod tally;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::hub::Site;
use crate::hub::context::Context;
use crate::hub::delivery::channel::Channel;
use crate::hub::delivery::connection::{Connection, Phase, Subscription};
use crate::hub::delivery::hoard::Hoards;
use crate::hub::delivery::limit::Overrun;
use crate::hub::delivery::outbox::Outbox;
use crate::hub::delivery::ring::Indexes;
use crate::hub::named::NamedRows;
use crate::hub::rows::{Id, Rows};
use crate::model::{ChannelName, ClientId, Variant};
use crate::settings::{Allowance, HubSettings};

/// All that a shard owes to its connections.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) connections: Rows<Connection>,
    pub(super) subscriptions: Rows<Subscription>,
    pub(super) indexes: Indexes,
    pub(super) channels: NamedRows<Channel>,
    pub(super) outboxes: Rows<Outbox>,
    hoards: Hoards,
    /// What logs and outboxes may hold together.
    slow: Allowance,
    pub(super) queues: Queues,
    pub(super) tally: Tally,
}

/// Everything that waits to be done.
#[derive(Debug, Default)]
pub(super) struct Queues {
    /// Channels with a round to do, and in which of their row's stays. One that has ended is passed
    /// by.
    pub(super) dirty: VecDeque<(Id<Channel>, u32)>,
    /// Connections that are writable and lack something of their own.
    pub(super) catching_up: VecDeque<Id<Connection>>,
    /// Where more waits than may.
    pub(super) overruns: VecDeque<Overrun>,
}

/// Numbers of the shard as a whole.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The next generation of a connection's row or of a stay in a channel.
    pub(super) generation: u32,
    pub(super) batch: u16,
    /// How many logs are so long that no more publications are taken.
    pub(super) congested: u32,
    /// How many open connections of each wire variant take part in broadcasts to everybody.
    pub(super) everyone: [u32; Variant::ALL.len()],
    pub(super) log_bytes: usize,
    pub(super) outbox_bytes: usize,
}

impl Tally {
    /// Whether a broadcast to everybody reaches anybody.
    pub(super) fn has_anybody(&self) -> bool {
        self.everyone.iter().any(|&connections| connections > 0)
    }
}

/// The first rows of channels stand for every open connection, one for each wire variant. Their
/// members are the rows of the connections themselves, and they exist only while their log does.
pub(super) const EVERYONE: u32 = Variant::ALL.len() as u32;

/// The row of the channel that stands for every open connection of a wire variant.
pub(super) fn everyone_in(variant: Variant) -> Id<Channel> {
    Id::new(variant as u32)
}

/// Whether a channel's row is one of those.
pub(super) fn is_everyone(row: Id<Channel>) -> bool {
    row.number() < EVERYONE
}

impl Delivery {
    /// Owes nothing to anybody, and has room for so many connections.
    pub(super) fn new(settings: &HubSettings, expected: usize) -> Self {
        let mut channels = NamedRows::with_capacity(expected);
        for variant in Variant::ALL {
            let everyone = channels.insert(Channel::new(ChannelName::everyone(), 0, variant as u8));
            assert!(everyone == everyone_in(variant), "the first rows of an empty table");
        }
        Self {
            connections: Rows::with_capacity(expected),
            subscriptions: Rows::with_capacity(expected),
            indexes: Indexes::default(),
            channels,
            outboxes: Rows::default(),
            hoards: Hoards::default(),
            slow: Allowance::new(Arc::clone(&settings.slow)),
            queues: Queues::default(),
            tally: Tally::default(),
        }
    }

    /// Other settings are about to hold.
    pub(super) fn configure(&mut self, settings: &HubSettings) {
        self.slow.configure(&settings.slow);
    }

    /// Gives back what others may borrow.
    pub(super) fn give_back(&mut self) {
        self.slow.give_back(self.held());
    }

    /// The row of a connection that still exists.
    pub(super) fn row_of(&self, context: &Context, client: ClientId) -> Option<Id<Connection>> {
        let row = Id::new(client.row);
        let connection = self.connections.get(row)?;
        let is_there = !matches!(connection.phase, Phase::Free | Phase::Gone)
            && connection.generation == client.generation
            && client.shard == context.site.shard
            && client.node == context.site.node;
        is_there.then_some(row)
    }

    /// The identity of a row's connection. A free row has generation zero, which none has.
    pub(super) fn identity(&self, context: &Context, row: Id<Connection>) -> ClientId {
        let generation = self.connections.get(row).map_or(0, |connection| connection.generation);
        let Site { node, shard, .. } = context.site;
        ClientId { node, shard, row: row.number(), generation }
    }

    /// The next generation of a row or of a stay.
    pub(super) fn next_generation(&mut self) -> u32 {
        self.tally.generation = self.tally.generation.wrapping_add(1).max(1);
        self.tally.generation
    }

    /// Whether nothing is owed, and nobody is there.
    pub(super) fn is_empty(&self) -> bool {
        let is_idle = |variant| {
            let everyone = &self.channels.rows[everyone_in(variant)];
            everyone.round.is_none() && everyone.members.is_empty()
        };
        self.connections.is_empty()
            && self.subscriptions.is_empty()
            && self.indexes.is_empty()
            && self.channels.rows.len() == EVERYONE as usize
            && Variant::ALL.into_iter().all(is_idle)
            && self.outboxes.is_empty()
            && self.queues.dirty.is_empty()
            && self.queues.catching_up.is_empty()
            && self.queues.overruns.is_empty()
            && self.tally.congested == 0
            && !self.tally.has_anybody()
    }
}
