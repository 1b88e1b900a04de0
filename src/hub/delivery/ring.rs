//! Which subscriptions a connection has.
//!
//! They are a ring of rows, the user's personal channel first. Of a few, one is found by walking
//! the ring. A connection with more than [`FEW`] has an index by channel beside it: whatever it
//! asks about one channel costs the same, however many others it has.
//!
//! A ring needs no links backwards: a row leaves it by taking over what its successor is, whose own
//! row is freed instead.

use std::collections::HashMap;

use hashbrown::HashTable;

use crate::hub::delivery::Delivery;
use crate::hub::delivery::channel::Channel;
use crate::hub::delivery::connection::{Connection, Subscription};
use crate::hub::rows::{Id, Rows};

/// So many are found faster by looking at each.
const FEW: u16 = 8;

/// The indexes of all connections that have one.
#[derive(Debug, Default)]
pub(in crate::hub) struct Indexes {
    pub(in crate::hub) tables: HashMap<Id<Connection>, HashTable<Place>, ahash::RandomState>,
    hasher: ahash::RandomState,
}

/// Where the subscription to a channel is: the channel stands in its row.
#[derive(Clone, Copy, Debug)]
pub(in crate::hub) struct Place {
    subscription: Id<Subscription>,
    /// Where those who subscribed keep what they know of it, once they have said so.
    pub(in crate::hub) note: u32,
}

/// Where a subscription is, if there is one.
pub(in crate::hub) type Found = Option<Place>;

/// A subscription that has another row than before.
pub(in crate::hub) type Moved = (Id<Subscription>, Id<Subscription>);

impl Indexes {
    /// Whether no connection has an index.
    pub(in crate::hub) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    fn find(
        &self,
        table: &HashTable<Place>,
        channel: Id<Channel>,
        rows: &Rows<Subscription>,
    ) -> Found {
        let is_it = |place: &Place| rows[place.subscription].channel == channel;
        table.find(self.hasher.hash_one(channel), is_it).copied()
    }

    /// Changes a place, if the connection has an index.
    fn change(
        &mut self,
        row: Id<Connection>,
        channel: Id<Channel>,
        rows: &Rows<Subscription>,
        change: impl FnOnce(&mut Place),
    ) {
        let hash = self.hasher.hash_one(channel);
        let is_it = |place: &Place| rows[place.subscription].channel == channel;
        let table = self.tables.get_mut(&row);
        if let Some(place) = table.and_then(|table| table.find_mut(hash, is_it)) {
            change(place);
        }
    }

    /// Adds a subscription, if the connection has an index.
    fn add(
        &mut self,
        row: Id<Connection>,
        subscription: Id<Subscription>,
        rows: &Rows<Subscription>,
    ) {
        let Some(table) = self.tables.get_mut(&row) else { return };
        let hash_of = |row: Id<Subscription>| self.hasher.hash_one(rows[row].channel);
        let place = Place { subscription, note: u32::MAX };
        table.insert_unique(hash_of(subscription), place, |place| hash_of(place.subscription));
    }

    /// Takes a subscription out, if the connection has an index.
    fn remove(
        &mut self,
        row: Id<Connection>,
        subscription: Id<Subscription>,
        rows: &Rows<Subscription>,
    ) {
        let hash = self.hasher.hash_one(rows[subscription].channel);
        let is_it = |place: &Place| place.subscription == subscription;
        let table = self.tables.get_mut(&row);
        if let Some(Ok(entry)) = table.map(|table| table.find_entry(hash, is_it)) {
            entry.remove();
        }
    }
}

impl Delivery {
    /// A connection's subscription to the channel of a row.
    pub(in crate::hub) fn subscription_in(
        &self,
        row: Id<Connection>,
        channel: Id<Channel>,
    ) -> Option<Id<Subscription>> {
        match self.indexed(row, channel) {
            Some(found) => found.map(|place| place.subscription),
            None => {
                self.subscriptions_of(row).find(|&at| self.subscriptions[at].channel == channel)
            }
        }
    }

    /// Whether a connection has so many subscriptions that they have an index.
    pub(in crate::hub) fn has_many(&self, row: Id<Connection>) -> bool {
        self.connections[row].subscription_count > FEW
    }

    /// What the index of a connection says, if it has one.
    pub(in crate::hub) fn indexed(
        &self,
        row: Id<Connection>,
        channel: Id<Channel>,
    ) -> Option<Found> {
        if !self.has_many(row) {
            return None;
        }
        let table = self.indexes.tables.get(&row)?;
        Some(self.indexes.find(table, channel, &self.subscriptions))
    }

    /// A connection's subscriptions, the personal channel first.
    pub(in crate::hub) fn subscriptions_of(
        &self,
        row: Id<Connection>,
    ) -> impl Iterator<Item = Id<Subscription>> {
        let first = self.connections[row].subscriptions;
        std::iter::successors((first != Id::NONE).then_some(first), move |&at| {
            Some(self.next_of(row, at)).filter(|&next| next != Id::NONE)
        })
    }

    /// The subscription that comes after another one of a connection.
    pub(in crate::hub) fn next_of(
        &self,
        row: Id<Connection>,
        subscription: Id<Subscription>,
    ) -> Id<Subscription> {
        let next = self.subscriptions[subscription].next;
        if next == self.connections[row].subscriptions { Id::NONE } else { next }
    }

    /// Adds a subscription to those of a connection.
    pub(in crate::hub) fn link(
        &mut self,
        row: Id<Connection>,
        subscription: Id<Subscription>,
        channel: Id<Channel>,
        member: u32,
    ) {
        let connection = &mut self.connections[row];
        let next = if connection.subscriptions == Id::NONE {
            connection.subscriptions = subscription;
            subscription
        } else {
            let first = &mut self.subscriptions[connection.subscriptions];
            std::mem::replace(&mut first.next, subscription)
        };
        self.subscriptions[subscription] = Subscription { channel, member, next };
        connection.subscription_count += 1;
        if connection.subscription_count == FEW + 1 {
            self.make_index(row);
        } else {
            self.indexes.add(row, subscription, &self.subscriptions);
        }
    }

    /// Takes a subscription from those of a connection. Returns which other one has its row now.
    pub(super) fn unlink(
        &mut self,
        row: Id<Connection>,
        subscription: Id<Subscription>,
    ) -> Option<Moved> {
        let rows = &mut self.subscriptions;
        self.indexes.remove(row, subscription, rows);
        let connection = &mut self.connections[row];
        connection.subscription_count -= 1;
        let next = rows[subscription].next;
        let moved = (next != subscription).then_some((next, subscription));
        if next == subscription {
            connection.subscriptions = Id::NONE;
        } else {
            let Subscription { channel, member, .. } = rows[next];
            self.indexes.change(row, channel, rows, |place| place.subscription = subscription);
            rows[subscription] = rows[next];
            self.channels.rows[channel].members[member as usize].subscription = subscription;
            if connection.subscriptions == next {
                connection.subscriptions = subscription;
            }
        }
        rows.remove(next);
        if connection.subscription_count == FEW {
            self.drop_index(row);
        }
        moved
    }

    fn make_index(&mut self, row: Id<Connection>) {
        let table = HashTable::with_capacity(2 * usize::from(FEW));
        self.indexes.tables.insert(row, table);
        let mut next = self.connections[row].subscriptions;
        while next != Id::NONE {
            self.indexes.add(row, next, &self.subscriptions);
            next = self.next_of(row, next);
        }
    }

    /// Whether the subscription that came last has made an index necessary, in which nothing is
    /// noted yet.
    pub(in crate::hub) fn has_new_index(&self, row: Id<Connection>) -> bool {
        self.connections[row].subscription_count == FEW + 1
    }

    /// Notes where something about a subscription is kept, if the connection has an index.
    pub(in crate::hub) fn set_note(&mut self, row: Id<Connection>, channel: Id<Channel>, at: u32) {
        self.indexes.change(row, channel, &self.subscriptions, |place| place.note = at);
    }

    /// Whoever leaves all channels needs none of them found.
    pub(in crate::hub) fn drop_index(&mut self, row: Id<Connection>) {
        self.indexes.tables.remove(&row);
        if self.indexes.tables.is_empty() {
            self.indexes.tables = HashMap::default();
        }
    }
}
