//! Those who hoard pay: what becomes of connections when memory is taken from them.

use crate::hub::delivery::channel::Channel;
use crate::hub::delivery::connection::{Connection, Phase};
use crate::hub::delivery::hoard::Hoard;
use crate::hub::rows::Id;
use crate::hub::{Cause, Hub};
use crate::limits::CONNECTION_SHARE_BYTES;
use crate::ws::close::CloseCode;

impl Hub {
    /// Takes memory from one of those who hold most. Returns whether there was any to take.
    pub(super) fn reclaim(&mut self) -> bool {
        match self.delivery.first_hoard() {
            Some(Hoard::Log(channel)) => self.shed_log(channel),
            Some(Hoard::Outbox(row)) => self.shed_outbox(row),
            None => return false,
        }
        true
    }

    /// Ends a connection and keeps of what waits for it only the rest of a frame that its socket
    /// has in part, and of that no more than a share: without it nothing can be sent any more, not
    /// even the reason, and the stream ends in the middle of the frame. So does that of one that is
    /// closing already, of which nothing is kept.
    fn shed_outbox(&mut self, row: Id<Connection>) {
        let is_open = self.delivery.connections[row].phase == Phase::Open;
        let may_follow = self.delivery.shed(&mut self.context, row);
        if is_open && may_follow {
            let reason = "slow: others need the memory";
            self.begin_close(row, CloseCode::SLOW, reason, Cause::Hoarding);
        } else if is_open {
            self.end(row, CloseCode::SLOW, Cause::Hoarding);
        }
    }

    /// Cuts off those who lag more than a share in a log. If that brings nothing, which means that
    /// everybody holds as little, all that lag in it.
    fn shed_log(&mut self, channel: Id<Channel>) {
        let before = self.delivery.held();
        for keep in [CONNECTION_SHARE_BYTES, 0] {
            for row in self.delivery.lagging_beyond(channel, keep) {
                let rest = self.delivery.unfinished_in(row, channel).unwrap_or(0);
                if rest as usize > CONNECTION_SHARE_BYTES {
                    self.shed_outbox(row);
                } else {
                    self.cut_off(row, channel, Cause::Hoarding);
                }
            }
            self.delivery.trim_unneeded(&self.context, channel);
            if self.delivery.held() < before {
                return;
            }
        }
        // What it holds is for the present pass.
        let part = self.delivery.channels.rows.get(channel);
        if part.is_some_and(|part| part.round.is_some()) {
            self.delivery.unrank_log(channel);
        }
    }
}
