//! Which subscriptions a connection has, and what was agreed upon each.
//!
//! They are a ring of rows, the user's personal channel first. Of a few, one is found by walking
//! the ring. A connection with more than [`FEW`] has an index by channel beside it: whatever it
//! asks about one channel costs the same, however many others it has.
//!
//! A ring needs no links backwards: a row leaves it by taking over what its successor is, whose own
//! row is freed instead.

use std::collections::HashMap;

use hashbrown::HashTable;

use crate::hub::Hub;
use crate::hub::delivery::channel::Channel;
use crate::hub::delivery::connection::{Connection, Subscription};
use crate::hub::managed::Terms;
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
    /// The place of what was agreed upon it; only in managed connections.
    terms: u32,
}

/// Where a subscription is, if there is one.
type Found = Option<Place>;

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
        let place = Place { subscription, terms: u32::MAX };
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

impl Hub {
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
    fn indexed(&self, row: Id<Connection>, channel: Id<Channel>) -> Option<Found> {
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

    /// Takes a subscription from those of a connection.
    pub(in crate::hub) fn unlink(&mut self, row: Id<Connection>, subscription: Id<Subscription>) {
        let rows = &mut self.subscriptions;
        self.indexes.remove(row, subscription, rows);
        let connection = &mut self.connections[row];
        connection.subscription_count -= 1;
        let next = rows[subscription].next;
        if next == subscription {
            connection.subscriptions = Id::NONE;
        } else {
            let Subscription { channel, member, .. } = rows[next];
            self.indexes.change(row, channel, rows, |place| place.subscription = subscription);
            rows[subscription] = rows[next];
            self.channels.rows[channel].members[member as usize].subscription = subscription;
            // What stands beside the row moves along.
            if self.enrolled.remove(&next) {
                self.enrolled.insert(subscription);
            }
            if let Some(info) = self.infos.remove(&next) {
                self.infos.insert(subscription, info);
            }
            if connection.subscriptions == next {
                connection.subscriptions = subscription;
            }
        }
        rows.remove(next);
        if connection.subscription_count == FEW {
            self.drop_index(row);
        }
    }

    fn make_index(&mut self, row: Id<Connection>) {
        let table = HashTable::with_capacity(2 * usize::from(FEW));
        self.indexes.tables.insert(row, table);
        let mut next = self.connections[row].subscriptions;
        while next != Id::NONE {
            self.indexes.add(row, next, &self.subscriptions);
            next = self.next_of(row, next);
        }
        let terms = self.managed.get(&row).map_or(&[][..], |managed| &managed.terms);
        for (terms, at) in terms.iter().zip(0..) {
            self.indexes.change(row, terms.channel, &self.subscriptions, |place| place.terms = at);
        }
    }

    /// Whoever leaves all channels needs none of them found.
    pub(in crate::hub) fn drop_index(&mut self, row: Id<Connection>) {
        self.indexes.tables.remove(&row);
        if self.indexes.tables.is_empty() {
            self.indexes.tables = HashMap::default();
        }
    }

    /// What was agreed upon a managed connection's subscription to the channel of a row.
    pub(in crate::hub) fn terms_in(
        &self,
        row: Id<Connection>,
        channel: Id<Channel>,
    ) -> Option<&Terms> {
        let place = self.place_of_terms(row, channel)?;
        self.managed.get(&row)?.terms.get(place)
    }

    /// The same, to be changed.
    pub(in crate::hub) fn terms_in_mut(
        &mut self,
        row: Id<Connection>,
        channel: Id<Channel>,
    ) -> Option<&mut Terms> {
        let place = self.place_of_terms(row, channel)?;
        self.managed.get_mut(&row)?.terms.get_mut(place)
    }

    fn place_of_terms(&self, row: Id<Connection>, channel: Id<Channel>) -> Option<usize> {
        match self.indexed(row, channel) {
            Some(found) => found.map(|place| place.terms as usize),
            None => self.managed.get(&row)?.terms.iter().position(|terms| terms.channel == channel),
        }
    }

    /// Notes what was agreed upon a subscription.
    pub(in crate::hub) fn add_terms(&mut self, row: Id<Connection>, terms: Terms) {
        let Some(managed) = self.managed.get_mut(&row) else { return };
        let at = managed.terms.len() as u32;
        self.indexes.change(row, terms.channel, &self.subscriptions, |place| place.terms = at);
        managed.note_end(terms.expires_at);
        managed.terms.push(terms);
    }

    /// What was agreed upon a subscription ends with it.
    pub(in crate::hub) fn forget_terms(&mut self, row: Id<Connection>, channel: Id<Channel>) {
        let Some(at) = self.place_of_terms(row, channel) else { return };
        let Some(managed) = self.managed.get_mut(&row) else { return };
        if at >= managed.terms.len() {
            return;
        }
        managed.terms.swap_remove(at);
        if let Some(moved) = managed.terms.get(at) {
            let rows = &self.subscriptions;
            self.indexes.change(row, moved.channel, rows, |place| place.terms = at as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::hub::{Asked, Grant, Site, Subscribe, Wishes};
    use crate::mesh::Homes;
    use crate::metrics::ShardMetrics;
    use crate::model::{ChannelName, PositionClaim, ShardId, Variant};
    use crate::settings::HubSettings;

    fn name(channel: u32) -> ChannelName {
        ChannelName::parse(format!("c{channel}").as_bytes()).unwrap()
    }

    /// Every channel is found exactly while the connection is subscribed to it, with its own terms.
    fn check(hub: &Hub, row: u32, wanted: &BTreeSet<u32>) {
        let row = Id::new(row);
        let count = usize::from(hub.connections[row].subscription_count);
        assert_eq!((count, hub.subscriptions_of(row).count()), (wanted.len(), wanted.len()));
        assert_eq!(hub.managed[&row].terms.len(), wanted.len());
        assert_eq!(hub.indexes.tables.contains_key(&row), count > usize::from(FEW));
        for channel in 0..CHANNELS {
            let found = hub.subscription_of(row, &name(channel));
            assert_eq!(found.is_some(), wanted.contains(&channel), "channel {channel}");
            let Some(at) = found else { continue };
            let Subscription { channel: part, member, .. } = hub.subscriptions[at];
            let member = &hub.channels.rows[part].members[member as usize];
            assert_eq!((member.connection, member.subscription), (row, at));
            assert_eq!(hub.terms_in(row, part).map(|terms| terms.channel), Some(part));
        }
    }

    const CHANNELS: u32 = 24;

    #[test]
    fn subscriptions_are_found_however_they_came_and_went() {
        let site = Site::new(ShardId(0), Homes::new(1, 7));
        let settings = HubSettings::unlimited().into();
        let mut hub = Hub::new(site, settings, Arc::new(ShardMetrics::default()));
        let rows: Vec<u32> = (0..3).map(|_| hub.attach(0)).collect();
        let mut wanted = vec![BTreeSet::new(); rows.len()];
        for &row in &rows {
            hub.open_managed(row, Variant::Json);
            let grant = Grant { is_insecure: true, ..Grant::default() };
            hub.ask(row, Asked::Connect(1, Box::new(grant)));
        }
        let mut random = 7_u32;
        for step in 0..3000 {
            hub.begin_turn();
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (place, channel) = ((random >> 8) as usize % rows.len(), (random >> 16) % CHANNELS);
            let row = rows[place];
            // Now many come, now many go.
            if wanted[place].remove(&channel) {
                hub.ask(row, Asked::Unsubscribe(2, name(channel)));
            } else if step / 500 % 2 == 0 || step > 2900 {
                wanted[place].insert(channel);
                let subscribe = Subscribe {
                    channel: name(channel),
                    position: PositionClaim::default(),
                    wishes: Wishes::default(),
                    rejects_unrecovered: false,
                    grant: None,
                };
                hub.ask(row, Asked::Subscribe(2, Box::new(subscribe)));
            }
            check(&hub, row, &wanted[place]);
        }
        assert!(wanted.iter().any(|wanted| wanted.len() > usize::from(FEW)));
        for row in rows {
            hub.detach(row, 1006);
        }
        while hub.poll_effect().is_some() {}
        while hub.has_work() {
            let mut batch = crate::hub::Batch::default();
            hub.poll_batch(&mut batch);
            hub.finish_batch(&mut batch, 0);
        }
        assert!(hub.is_empty());
    }
}
