//! What is always true between the tables of a hub.
//!
//! Every table is kept by many functions, and what one of them forgets shows late, if at all: in a
//! subscriber whom nobody serves, or in memory that is never given back. So simulations audit their
//! hubs after each step, and a debug build audits itself as often as that costs it little.
//!
//! It holds between the calls of a shell, but for those between [`Hub::poll_batch`] and
//! [`Hub::finish_batch`].

/// Ends an audit with what is not as it must be.
macro_rules! hold {
    ($is_so:expr, $($what:tt)+) => {
        if !$is_so {
            return Err(format!($($what)+));
        }
    };
}

mod delivery;
mod home;
mod session;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use crate::hub::Hub;
use crate::hub::delivery::connection::{Connection, Phase, Subscription};
use crate::hub::rows::Id;

/// Whether all is as it must be, or what is not.
type Verdict = Result<(), String>;

impl Hub {
    /// Whether the tables agree with each other, or where they do not.
    pub fn audit(&self) -> Result<(), String> {
        hold!(self.context.local.is_empty(), "a shard has not heard what it told itself");
        hold!(
            self.delivery.queues.overruns.is_empty(),
            "nobody has ended what has more waiting than may"
        );
        self.audit_connections()?;
        let subscriptions = self.audit_rings()?;
        self.audit_delivery()?;
        self.audit_sessions(&subscriptions)?;
        self.audit_homes()
    }

    /// In debug builds audits once in as many turns as there are rows to be looked at, so that a
    /// turn pays for one row and no more.
    pub(super) fn audit_at_times(&mut self) {
        if !cfg!(debug_assertions) {
            return;
        }
        self.turns_unaudited += 1;
        let rows = self.delivery.connections.len()
            + self.delivery.subscriptions.len()
            + self.home.records.rows.len();
        if self.turns_unaudited > rows {
            self.turns_unaudited = 0;
            self.audit().unwrap_or_else(|fault| panic!("an audit fails: {fault}"));
        }
    }

    /// The phases agree with the tables beside the rows.
    fn audit_connections(&self) -> Verdict {
        let mut count = 0;
        for row in self.delivery.connections.ids() {
            let connection = &self.delivery.connections[row];
            let Connection { phase, outbox, subscription_count, .. } = *connection;
            count += usize::from(phase != Phase::Free);
            let is_clean = outbox == Id::NONE && subscription_count == 0;
            hold!(phase != Phase::Free || is_clean, "connection {row:?} is free and holds rows");
            let is_opening = self.openings.contains_key(&row);
            hold!(is_opening == (phase == Phase::Joining), "connection {row:?} waits to open");
            let is_managed =
                connection.variant.is_managed() && matches!(phase, Phase::Open | Phase::Closing);
            let has_state = self.managed.contains_key(&row);
            hold!(has_state == is_managed, "connection {row:?} is managed, or it is not");
            let is_leaver = self.leavers.has(row);
            hold!(is_leaver || phase != Phase::Gone, "connection {row:?} is gone for good");
            let may_leave = matches!(phase, Phase::Closing | Phase::Gone);
            hold!(!is_leaver || may_leave, "connection {row:?} leaves, and has not ended");
        }
        hold!(count == self.delivery.connections.len(), "{count} connections are not free");
        let beside = self.devices.keys().chain(self.metas.keys()).chain(self.raw_expiries.keys());
        for &row in beside {
            let phase = self.delivery.connections.get(row).map(|connection| connection.phase);
            let is_there = phase.is_some_and(|it| !matches!(it, Phase::Free | Phase::Gone));
            hold!(is_there, "something is kept of connection {row:?}, which is gone");
        }
        Ok(())
    }

    /// Every subscription is in the ring of its connection and at its place in the channel. Returns
    /// all of them.
    fn audit_rings(&self) -> Result<HashSet<Id<Subscription>>, String> {
        let mut all = HashSet::new();
        for row in self.delivery.connections.ids() {
            let connection = &self.delivery.connections[row];
            let mut at = connection.subscriptions;
            for _ in 0..connection.subscription_count {
                hold!(all.insert(at), "subscription {at:?} is in two rings");
                let Some(&Subscription { channel, member, next }) =
                    self.delivery.subscriptions.get(at)
                else {
                    return Err(format!("connection {row:?} has no subscription {at:?}"));
                };
                let part = self.delivery.channels.rows.get(channel);
                let place = part.and_then(|part| part.members.get(member as usize));
                let is_known =
                    place.is_some_and(|it| (it.connection, it.subscription) == (row, at));
                hold!(is_known, "channel {channel:?} has another member than subscription {at:?}");
                let is_alike = part.is_some_and(|it| it.variant() == connection.variant);
                hold!(is_alike, "connection {row:?} is in a part of another variant");
                at = next;
            }
            hold!(at == connection.subscriptions, "the ring of connection {row:?} does not close");
        }
        hold!(
            all.len() == self.delivery.subscriptions.len(),
            "{} subscriptions are in rings",
            all.len()
        );
        let gauge = self.context.metrics.subscriptions.value();
        hold!(gauge == all.len() as i64, "{gauge} subscriptions are counted, {} there", all.len());
        Ok(all)
    }
}
