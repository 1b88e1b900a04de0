//! Who has more waiting than it may: noted while bytes are added, ended when that is done.
//!
//! What adds bytes never closes a connection, so nobody finds that what it was working on is gone
//! under its hands. It leaves a note here, and whoever began the work sees to the notes when it has
//! come to an end: [`Hub::settle_overruns`].

use crate::hub::delivery::channel::Channel;
use crate::hub::delivery::limit::Overrun;
use crate::hub::rows::Id;
use crate::hub::{Cause, Hub};
use crate::ws::close::CloseCode;

impl Hub {
    /// Closes those whose outbox is too long, and cuts off those that lag too far.
    pub(super) fn settle_overruns(&mut self) {
        while let Some(overrun) = self.delivery.queues.overruns.pop_front() {
            match overrun {
                Overrun::Outbox(row) if self.delivery.is_overfull(&self.context, row) => {
                    let reason = "slow: too much is waiting";
                    self.begin_close(row, CloseCode::SLOW, reason, Cause::Slow);
                }
                Overrun::Outbox(_) => {}
                Overrun::Log(row) => self.cut_off_lost(row),
            }
        }
    }

    fn cut_off_lost(&mut self, row: Id<Channel>) {
        for connection in self.delivery.lost_in(&self.context, row) {
            self.cut_off(connection, row, Cause::Slow);
        }
        self.delivery.trim_log(&self.context, row);
    }
}
