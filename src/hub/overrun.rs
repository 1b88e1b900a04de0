//! Who has more waiting than it may: noted while bytes are added, ended when that is done.
//!
//! What adds bytes never closes a connection, so nobody finds that what it was working on is gone
//! under its hands. It leaves a note here, and whoever began the work sees to the notes when it has
//! come to an end: [`Hub::settle_overruns`].

use crate::hub::channel::Channel;
use crate::hub::connection::{Connection, Member};
use crate::hub::rows::Id;
use crate::hub::{Cause, Hub};
use crate::ws::close::CloseCode;

/// Where more waits than may. It is looked at again before anybody is closed for it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Overrun {
    /// In a connection's outbox.
    Outbox(Id<Connection>),
    /// In a channel's log, for members that lag.
    Log(Id<Channel>),
}

impl Hub {
    /// Closes those whose outbox is too long, and cuts off those that lag too far.
    pub(super) fn settle_overruns(&mut self) {
        while let Some(overrun) = self.queues.overruns.pop_front() {
            match overrun {
                Overrun::Outbox(row) if self.is_overfull(row) => {
                    let reason = "slow: too much is waiting";
                    self.begin_close(row, CloseCode::SLOW, reason, Cause::Slow);
                }
                Overrun::Outbox(_) => {}
                Overrun::Log(row) => self.cut_off_lost(row),
            }
        }
    }

    /// Notes if a connection's outbox has become longer than it may be.
    pub(super) fn limit_outbox(&mut self, row: Id<Connection>) {
        if self.is_overfull(row) {
            self.queues.overruns.push_back(Overrun::Outbox(row));
        }
    }

    fn is_overfull(&self, row: Id<Connection>) -> bool {
        let outbox = self.connections.get(row).and_then(|it| self.outboxes.get(it.outbox));
        outbox.is_some_and(|outbox| {
            let bytes_max = self.context.settings.outbox_bytes_max.saturating_add(outbox.reserved);
            outbox.waiting().len() > bytes_max
        })
    }

    /// Drops what no round needs any more of a log, and what exceeds the limit for connections that
    /// lag. If somebody is still owed some of that, nothing is dropped, and a note is left: they
    /// are cut off first, so that nobody misses a frame unawares.
    pub(super) fn limit_log(&mut self, row: Id<Channel>) {
        let channel = &self.channels.rows[row];
        let Some(round) = &channel.round else { return };
        let tail = round.log.tail_for(self.lag_bytes_max(round.lagging));
        if tail <= round.log.tail() {
            return;
        }
        if round.lagging > 0 && channel.members.iter().any(|member| is_lost(member, tail)) {
            self.queues.overruns.push_back(Overrun::Log(row));
        } else {
            self.trim_log(row);
        }
    }

    /// How many bytes are kept for so many that lag.
    fn lag_bytes_max(&self, lagging: u32) -> usize {
        if lagging == 0 { 0 } else { self.context.settings.lag_bytes_max }
    }

    fn cut_off_lost(&mut self, row: Id<Channel>) {
        let Some(channel) = self.channels.rows.get(row) else { return };
        let Some(round) = &channel.round else { return };
        let tail = round.log.tail_for(self.lag_bytes_max(round.lagging));
        let lost = channel.members.iter().filter(|member| is_lost(member, tail));
        for connection in lost.map(|member| member.connection).collect::<Vec<_>>() {
            self.cut_off(connection, row, Cause::Slow);
        }
        self.trim_log(row);
    }

    fn trim_log(&mut self, row: Id<Channel>) {
        // The last of those that were cut off may have been its last member.
        let round = self.channels.rows.get(row).and_then(|channel| channel.round.as_ref());
        let Some(round) = round else { return };
        let (before, tail) =
            (round.log.bytes(), round.log.tail_for(self.lag_bytes_max(round.lagging)));
        let round = self.channels.rows[row].round.as_mut().expect("just seen");
        round.log.trim(tail);
        let after = round.log.bytes();
        self.note_log_bytes(before, after);
        self.rank_log(row);
    }
}

/// Whether the log will not reach back to where a member is.
fn is_lost(member: &Member, tail: u64) -> bool {
    member.cursor.lags() && member.cursor.position() < tail
}
