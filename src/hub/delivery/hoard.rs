//! Whoever hoards pays: what happens when logs and outboxes together are over their budget.
//!
//! Those who hold most are closed first, and of those who hold about the same who has done so for
//! longest. What one connection holds is its outbox, and its share of each log that it lags in. So
//! a connection that holds little is closed only when nobody is left who holds more, whatever it
//! asks for at that moment and however others behave. Ranks are powers of two, so that finding the
//! first takes no search.
//!
//! It is done when the hub has carried out what it was called for, and never in the middle of it.

use crate::hub::delivery::channel::Channel;
use crate::hub::delivery::connection::{BLOCKED, Connection, Phase};
use crate::hub::delivery::outbox::Outbox;
use crate::hub::rows::Id;
use crate::hub::{Cause, Hub, Ranks, SIZES, size_rank};
use crate::limits::CONNECTION_SHARE_BYTES;
use crate::ws::close::CloseCode;

/// Who holds how much.
#[derive(Debug, Default)]
pub(in crate::hub) struct Hoards {
    /// Outboxes that are large, or that wait for a full socket, by their bytes.
    outboxes: Ranks<Outbox, SIZES>,
    /// Channels with members that lag, by the bytes of the log for each of these.
    logs: Ranks<Channel, SIZES>,
}

impl Hub {
    /// Whether logs and outboxes hold more than they may.
    pub(in crate::hub) fn is_over_budget(&mut self) -> bool {
        !self.slow.covers(self.tally.log_bytes + self.tally.outbox_bytes)
    }

    /// Takes memory from one of those who hold most. Returns whether there was any to take.
    pub(in crate::hub) fn reclaim(&mut self) -> bool {
        let outbox = self.hoards.outboxes.first();
        let is_more = |log: &(u8, Id<Channel>)| outbox.is_none_or(|outbox| log.0 > outbox.0);
        if let Some((_, channel)) = self.hoards.logs.first().filter(is_more) {
            self.shed_log(channel);
        } else if let Some((_, outbox)) = outbox {
            self.shed_outbox(self.outboxes[outbox].connection);
        } else {
            return false;
        }
        true
    }

    /// The size of an outbox, or the state of its socket, has changed.
    pub(in crate::hub) fn rank_outbox(&mut self, place: Id<Outbox>) {
        let outbox = &self.outboxes[place];
        let bytes = outbox.waiting().len();
        let counts =
            bytes >= CONNECTION_SHARE_BYTES || self.connections[outbox.connection].is(BLOCKED);
        let rank = size_rank(bytes).filter(|_| counts);
        self.hoards.outboxes.set(&mut self.outboxes, place, rank);
    }

    /// Takes an outbox away, with all that is in it.
    pub(in crate::hub) fn remove_outbox(&mut self, place: Id<Outbox>) -> Outbox {
        self.hoards.outboxes.remove(&mut self.outboxes, place);
        let outbox = self.outboxes.remove(place);
        self.note_outbox_bytes(outbox.waiting().len(), 0);
        outbox
    }

    /// The size of a log, or the number of those that lag, has changed.
    pub(in crate::hub) fn rank_log(&mut self, channel: Id<Channel>) {
        let Some(round) = &self.channels.rows[channel].round else { return };
        let each = round.log.bytes().checked_div(round.lagging as usize);
        self.hoards.logs.set(&mut self.channels.rows, channel, each.and_then(size_rank));
    }

    /// A log is about to go.
    pub(in crate::hub) fn unrank_log(&mut self, channel: Id<Channel>) {
        self.hoards.logs.remove(&mut self.channels.rows, channel);
    }

    /// Ends a connection and keeps of what waits for it only the rest of a frame that its socket
    /// has in part, and of that no more than a share: without it nothing can be sent any more, not
    /// even the reason, and the stream ends in the middle of the frame. So does that of one that is
    /// closing already, of which nothing is kept.
    fn shed_outbox(&mut self, row: Id<Connection>) {
        let is_open = self.connections[row].phase == Phase::Open;
        let outbox = &mut self.outboxes[self.connections[row].outbox];
        let before = outbox.waiting().len();
        let is_whole = outbox.shed(if is_open { CONNECTION_SHARE_BYTES } else { 0 });
        let after = outbox.waiting().len();
        let rest = outbox.unfinished.map_or(0, |(_, rest)| rest as usize);
        let is_in_frame = rest > CONNECTION_SHARE_BYTES;
        if is_in_frame {
            self.abandon_partial_frame(row);
        }
        self.context.metrics.outbox_bytes_dropped.add((before - after) as u64);
        self.note_outbox_bytes(before, after);
        self.rank_outbox(self.connections[row].outbox);
        self.note_audible(row, before, after);
        if is_open && is_whole && !is_in_frame {
            let reason = "slow: others need the memory";
            self.begin_close(row, CloseCode::SLOW, reason, Cause::Hoarding);
        } else if is_open {
            self.end(row, CloseCode::SLOW, Cause::Hoarding);
        }
    }

    /// Cuts off those who lag more than a share in a log. If that brings nothing, which means that
    /// everybody holds as little, all that lag in it.
    fn shed_log(&mut self, channel: Id<Channel>) {
        let before = self.tally.log_bytes + self.tally.outbox_bytes;
        for keep in [CONNECTION_SHARE_BYTES, 0] {
            self.cut_off_beyond(channel, keep);
            self.trim_unneeded(channel);
            if self.tally.log_bytes + self.tally.outbox_bytes < before {
                return;
            }
        }
        // What it holds is for the present pass.
        if self.channels.rows.get(channel).is_some_and(|channel| channel.round.is_some()) {
            self.unrank_log(channel);
        }
    }

    fn cut_off_beyond(&mut self, channel: Id<Channel>, keep: usize) {
        let Some(members) = self.channels.rows.get(channel).map(|channel| &channel.members) else {
            return;
        };
        let head = self.channels.rows[channel].head;
        let is_far = |position: u64| head.saturating_sub(position) > keep as u64;
        let far = members
            .iter()
            .filter(|member| member.cursor.lags() && is_far(member.cursor.position()))
            .map(|member| member.connection);
        for row in far.collect::<Vec<_>>() {
            let rest = self.unfinished_in(row, channel).unwrap_or(0);
            if rest as usize > CONNECTION_SHARE_BYTES {
                self.shed_outbox(row);
            } else {
                self.cut_off(row, channel, Cause::Hoarding);
            }
        }
    }

    /// Drops what nobody needs any more of a log, as far as the one who lags most.
    fn trim_unneeded(&mut self, channel: Id<Channel>) {
        let Some(members) = self.channels.rows.get(channel).map(|channel| &channel.members) else {
            return;
        };
        let lagging = members.iter().filter(|member| member.cursor.lags());
        let least = lagging.map(|member| member.cursor.position()).min();
        let Some(round) = &mut self.channels.rows[channel].round else { return };
        let before = round.log.bytes();
        round.log.trim_to(least.unwrap_or(u64::MAX));
        let after = round.log.bytes();
        self.note_log_bytes(before, after);
        self.rank_log(channel);
    }
}
