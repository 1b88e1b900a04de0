//! Whoever hoards pays: what happens when logs and outboxes together are over their budget.
//!
//! Those who hold most are closed first, and of those who hold about the same who has done so for
//! longest. What one connection holds is its outbox, and its share of each log that it lags in. So
//! a connection that holds little is closed only when nobody is left who holds more, whatever it
//! asks for at that moment and however others behave. Ranks are powers of two, so that finding the
//! first takes no search.
//!
//! It is done when the hub has carried out what it was called for, and never in the middle of it.

use crate::hub::context::Context;
use crate::hub::delivery::Delivery;
use crate::hub::delivery::channel::Channel;
use crate::hub::delivery::connection::{BLOCKED, Connection, Phase};
use crate::hub::delivery::outbox::Outbox;
use crate::hub::rows::Id;
use crate::hub::{Ranks, SIZES, size_rank};
use crate::limits::CONNECTION_SHARE_BYTES;

/// Somebody who holds more than others.
pub(in crate::hub) enum Hoard {
    /// Those who lag in a channel.
    Log(Id<Channel>),
    /// A connection, in its outbox.
    Outbox(Id<Connection>),
}

/// Who holds how much.
#[derive(Debug, Default)]
pub(in crate::hub) struct Hoards {
    /// Outboxes that are large, or that wait for a full socket, by their bytes.
    outboxes: Ranks<Outbox, SIZES>,
    /// Channels with members that lag, by the bytes of the log for each of these.
    logs: Ranks<Channel, SIZES>,
}

impl Delivery {
    /// Whether logs and outboxes hold more than they may.
    pub(in crate::hub) fn is_over_budget(&mut self) -> bool {
        !self.slow.covers(self.held())
    }

    /// Who holds most.
    pub(in crate::hub) fn first_hoard(&self) -> Option<Hoard> {
        let outbox = self.hoards.outboxes.first();
        let is_more = |log: &(u8, Id<Channel>)| outbox.is_none_or(|outbox| log.0 > outbox.0);
        if let Some((_, channel)) = self.hoards.logs.first().filter(is_more) {
            return Some(Hoard::Log(channel));
        }
        outbox.map(|(_, outbox)| Hoard::Outbox(self.outboxes[outbox].connection))
    }

    /// The size of an outbox, or the state of its socket, has changed.
    pub(super) fn rank_outbox(&mut self, place: Id<Outbox>) {
        let outbox = &self.outboxes[place];
        let bytes = outbox.waiting().len();
        let counts =
            bytes >= CONNECTION_SHARE_BYTES || self.connections[outbox.connection].is(BLOCKED);
        let rank = size_rank(bytes).filter(|_| counts);
        self.hoards.outboxes.set(&mut self.outboxes, place, rank);
    }

    /// Takes an outbox away, with all that is in it.
    pub(in crate::hub) fn remove_outbox(&mut self, context: &Context, place: Id<Outbox>) -> Outbox {
        self.hoards.outboxes.remove(&mut self.outboxes, place);
        let outbox = self.outboxes.remove(place);
        self.note_outbox_bytes(context, outbox.waiting().len(), 0);
        outbox
    }

    /// The size of a log, or the number of those that lag, has changed.
    pub(super) fn rank_log(&mut self, channel: Id<Channel>) {
        let Some(round) = &self.channels.rows[channel].round else { return };
        let each = round.log.bytes().checked_div(round.lagging as usize);
        self.hoards.logs.set(&mut self.channels.rows, channel, each.and_then(size_rank));
    }

    /// A log is about to go.
    pub(in crate::hub) fn unrank_log(&mut self, channel: Id<Channel>) {
        self.hoards.logs.remove(&mut self.channels.rows, channel);
    }

    /// Keeps of what waits for a connection only the rest of a frame that its socket has in part,
    /// and of that no more than a share, or nothing if the connection is closing. Returns whether a
    /// frame may follow.
    pub(in crate::hub) fn shed(&mut self, context: &mut Context, row: Id<Connection>) -> bool {
        let is_open = self.connections[row].phase == Phase::Open;
        let outbox = &mut self.outboxes[self.connections[row].outbox];
        let before = outbox.waiting().len();
        let is_whole = outbox.shed(if is_open { CONNECTION_SHARE_BYTES } else { 0 });
        let after = outbox.waiting().len();
        let rest = outbox.unfinished.map_or(0, |(_, rest)| rest as usize);
        let is_in_frame = rest > CONNECTION_SHARE_BYTES;
        if is_in_frame {
            self.abandon_partial_frame(context, row);
        }
        context.metrics.outbox_bytes_dropped.add((before - after) as u64);
        self.note_outbox_bytes(context, before, after);
        self.rank_outbox(self.connections[row].outbox);
        self.note_audible(context, row, before, after);
        is_whole && !is_in_frame
    }

    /// Who lags further in a channel than so many bytes.
    pub(in crate::hub) fn lagging_beyond(
        &self,
        channel: Id<Channel>,
        bytes: usize,
    ) -> Vec<Id<Connection>> {
        let Some(channel) = self.channels.rows.get(channel) else { return Vec::new() };
        let is_far = |position: u64| channel.head.saturating_sub(position) > bytes as u64;
        let far = channel.members.iter().filter(|member| {
            let cursor = member.cursor;
            cursor.lags() && is_far(cursor.position())
        });
        far.map(|member| member.connection).collect()
    }

    /// What all logs and outboxes hold.
    pub(in crate::hub) fn held(&self) -> usize {
        self.tally.log_bytes + self.tally.outbox_bytes
    }

    /// Drops what nobody needs any more of a log, as far as the one who lags most.
    pub(in crate::hub) fn trim_unneeded(&mut self, context: &Context, channel: Id<Channel>) {
        let Some(members) = self.channels.rows.get(channel).map(|channel| &channel.members) else {
            return;
        };
        let lagging = members.iter().filter(|member| member.cursor.lags());
        let least = lagging.map(|member| member.cursor.position()).min();
        let Some(round) = &mut self.channels.rows[channel].round else { return };
        let before = round.log.bytes();
        round.log.trim_to(least.unwrap_or(u64::MAX));
        let after = round.log.bytes();
        self.note_log_bytes(context, before, after);
        self.rank_log(channel);
    }
}
