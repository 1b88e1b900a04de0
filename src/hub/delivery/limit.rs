//! How long an outbox and a log may be: who is over it is noted, and ended by others.

use crate::hub::context::Context;
use crate::hub::delivery::Delivery;
use crate::hub::delivery::channel::Channel;
use crate::hub::delivery::connection::{Connection, Member};
use crate::hub::rows::Id;

/// Where more waits than may. It is looked at again before anybody is closed for it.
#[derive(Clone, Copy, Debug)]
pub(in crate::hub) enum Overrun {
    /// In a connection's outbox.
    Outbox(Id<Connection>),
    /// In a channel's log, for members that lag.
    Log(Id<Channel>),
}

impl Delivery {
    /// Notes if a connection's outbox has become longer than it may be.
    pub(super) fn limit_outbox(&mut self, context: &Context, row: Id<Connection>) {
        if self.is_overfull(context, row) {
            self.queues.overruns.push_back(Overrun::Outbox(row));
        }
    }

    pub(in crate::hub) fn is_overfull(&self, context: &Context, row: Id<Connection>) -> bool {
        let outbox = self.connections.get(row).and_then(|it| self.outboxes.get(it.outbox));
        outbox.is_some_and(|outbox| {
            let bytes_max = context.settings.outbox_bytes_max.saturating_add(outbox.reserved);
            outbox.waiting().len() > bytes_max
        })
    }

    /// Drops what no round needs any more of a log, and what exceeds the limit for connections that
    /// lag. If somebody is still owed some of that, nothing is dropped, and a note is left: they
    /// are cut off first, so that nobody misses a frame unawares.
    pub(super) fn limit_log(&mut self, context: &Context, row: Id<Channel>) {
        let channel = &self.channels.rows[row];
        let Some(round) = &channel.round else { return };
        let tail = round.log.tail_for(self.lag_bytes_max(context, round.lagging));
        if tail <= round.log.tail() {
            return;
        }
        if round.lagging > 0 && channel.members.iter().any(|member| is_lost(member, tail)) {
            self.queues.overruns.push_back(Overrun::Log(row));
        } else {
            self.trim_log(context, row);
        }
    }

    /// How many bytes are kept for so many that lag.
    fn lag_bytes_max(&self, context: &Context, lagging: u32) -> usize {
        if lagging == 0 { 0 } else { context.settings.lag_bytes_max }
    }

    /// Who lags so far in a channel that the log would not reach back to them.
    pub(in crate::hub) fn lost_in(
        &self,
        context: &Context,
        row: Id<Channel>,
    ) -> Vec<Id<Connection>> {
        let channel = self.channels.rows.get(row);
        let Some((channel, round)) = channel.and_then(|it| Some((it, it.round.as_ref()?))) else {
            return Vec::new();
        };
        let tail = round.log.tail_for(self.lag_bytes_max(context, round.lagging));
        let lost = channel.members.iter().filter(|member| is_lost(member, tail));
        lost.map(|member| member.connection).collect()
    }

    pub(in crate::hub) fn trim_log(&mut self, context: &Context, row: Id<Channel>) {
        // The last of those that were cut off may have been its last member.
        let round = self.channels.rows.get(row).and_then(|channel| channel.round.as_ref());
        let Some(round) = round else { return };
        let (before, tail) =
            (round.log.bytes(), round.log.tail_for(self.lag_bytes_max(context, round.lagging)));
        let round = self.channels.rows[row].round.as_mut().expect("just seen");
        round.log.trim(tail);
        let after = round.log.bytes();
        self.note_log_bytes(context, before, after);
        self.rank_log(row);
    }
}

/// Whether the log will not reach back to where a member is.
fn is_lost(member: &Member, tail: u64) -> bool {
    member.cursor.lags() && member.cursor.position() < tail
}
