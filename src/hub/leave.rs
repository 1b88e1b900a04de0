//! Leaving all channels, when a connection ends.
//!
//! One with few channels leaves them at once. One with many is done with: nothing is sent to it,
//! nobody hears of it, and its row is kept until it has left the last of them, a portion each time
//! that the shell has time for one ([`Hub::leave_some`]). Until then it stands in its channels like
//! a member that lacks nothing.

use std::collections::{HashMap, VecDeque};

use smallvec::SmallVec;

use crate::hub::delivery::connection::{Connection, HAS_USER, Phase};
use crate::hub::rows::Id;
use crate::hub::{Cause, Hub};
use crate::mesh::Envelope;

/// Connections that have ended and have channels left to leave.
#[derive(Debug, Default)]
pub(super) struct Leavers {
    pub(super) queue: VecDeque<Id<Connection>>,
    pub(super) causes: HashMap<Id<Connection>, Cause, ahash::RandomState>,
}

impl Leavers {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether the connection of a row is one of them.
    pub(super) fn has(&self, row: Id<Connection>) -> bool {
        self.causes.contains_key(&row)
    }
}

impl Hub {
    /// Whether connections that have ended have channels left to leave.
    pub fn has_leavers(&self) -> bool {
        !self.leavers.is_empty()
    }

    /// One of them leaves some of its channels.
    pub fn leave_some(&mut self) {
        let Some(row) = self.leavers.queue.pop_front() else { return };
        let cause = self.leavers.causes[&row];
        if self.leave_portion(row, cause) {
            self.leavers.causes.remove(&row);
            if self.delivery.connections[row].phase == Phase::Gone {
                self.delivery.connections.remove(row);
            }
        } else {
            self.leavers.queue.push_back(row);
        }
        self.run_local();
    }

    /// A connection ends: it leaves its user and its channels.
    pub(super) fn drop_subscriptions(&mut self, row: Id<Connection>, cause: Cause) {
        if self.leavers.has(row) {
            return;
        }
        if let Some(personal) = self.personal_of(row) {
            let client = self.identity(row);
            let home = self.context.site.homes.of(&personal);
            self.context.post(home, Envelope::Exit { personal, client });
        }
        self.delivery.connections[row].set(HAS_USER, false);
        if let Some(managed) = self.managed.get_mut(&row) {
            managed.terms = SmallVec::new();
        }
        let count = usize::from(self.delivery.connections[row].subscription_count);
        if count <= self.context.settings.leave_max {
            // Whoever leaves all channels needs none of them found.
            self.delivery.drop_index(row);
        }
        self.leave_unfinished(row, cause);
        if !self.leave_portion(row, cause) {
            self.leavers.causes.insert(row, cause);
            self.leavers.queue.push_back(row);
        }
    }

    /// What its outbox knows of a channel ends with the outbox: that one comes first.
    fn leave_unfinished(&mut self, row: Id<Connection>, cause: Cause) {
        let place = self.delivery.connections[row].outbox;
        if place == Id::NONE {
            return;
        }
        self.delivery.outboxes[place].lagging.clear();
        if let Some((channel, _)) = self.delivery.outboxes[place].unfinished
            && let Some(subscription) = self.delivery.subscription_in(row, channel)
        {
            self.remove_subscription(row, subscription, cause);
        }
    }

    /// Returns whether no channel is left.
    fn leave_portion(&mut self, row: Id<Connection>, cause: Cause) -> bool {
        for _ in 0..self.context.settings.leave_max {
            let first = self.delivery.connections[row].subscriptions;
            if first == Id::NONE {
                break;
            }
            self.remove_subscription(row, first, cause);
        }
        self.delivery.connections[row].subscriptions == Id::NONE
    }
}
