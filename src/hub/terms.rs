//! What was agreed upon the subscriptions of managed connections.

use crate::hub::Hub;
use crate::hub::delivery::channel::Channel;
use crate::hub::delivery::connection::Connection;
use crate::hub::managed::Terms;
use crate::hub::rows::Id;

impl Hub {
    /// What was agreed upon a managed connection's subscription to the channel of a row.
    pub(super) fn terms_in(&self, row: Id<Connection>, channel: Id<Channel>) -> Option<&Terms> {
        let place = self.place_of_terms(row, channel)?;
        self.managed.get(&row)?.terms.get(place)
    }

    /// The same, to be changed.
    pub(super) fn terms_in_mut(
        &mut self,
        row: Id<Connection>,
        channel: Id<Channel>,
    ) -> Option<&mut Terms> {
        let place = self.place_of_terms(row, channel)?;
        self.managed.get_mut(&row)?.terms.get_mut(place)
    }

    fn place_of_terms(&self, row: Id<Connection>, channel: Id<Channel>) -> Option<usize> {
        match self.delivery.indexed(row, channel) {
            Some(found) => found.map(|place| place.note as usize),
            None => self.managed.get(&row)?.terms.iter().position(|terms| terms.channel == channel),
        }
    }

    /// Notes what was agreed upon a subscription.
    pub(super) fn add_terms(&mut self, row: Id<Connection>, terms: Terms) {
        let Some(managed) = self.managed.get_mut(&row) else { return };
        let at = managed.terms.len() as u32;
        self.delivery.set_note(row, terms.channel, at);
        managed.note_end(terms.expires_at);
        managed.terms.push(terms);
    }

    /// What was agreed upon a subscription ends with it.
    pub(super) fn forget_terms(&mut self, row: Id<Connection>, channel: Id<Channel>) {
        let Some(at) = self.place_of_terms(row, channel) else { return };
        let Some(managed) = self.managed.get_mut(&row) else { return };
        if at >= managed.terms.len() {
            return;
        }
        managed.terms.swap_remove(at);
        if let Some(moved) = managed.terms.get(at) {
            self.delivery.set_note(row, moved.channel, at as u32);
        }
    }

    /// An index that is new knows of no terms yet.
    pub(super) fn note_terms(&mut self, row: Id<Connection>) {
        let Some(managed) = self.managed.get(&row) else { return };
        if self.delivery.has_new_index(row) {
            for (terms, at) in managed.terms.iter().zip(0..) {
                self.delivery.set_note(row, terms.channel, at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::hub::delivery::connection::Subscription;
    use crate::hub::rows::Id;
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
        let count = usize::from(hub.delivery.connections[row].subscription_count);
        assert_eq!(
            (count, hub.delivery.subscriptions_of(row).count()),
            (wanted.len(), wanted.len())
        );
        assert_eq!(hub.managed[&row].terms.len(), wanted.len());
        assert_eq!(hub.delivery.indexes.tables.contains_key(&row), hub.delivery.has_many(row));
        for channel in 0..CHANNELS {
            let found = hub.delivery.subscription_of(row, &name(channel));
            assert_eq!(found.is_some(), wanted.contains(&channel), "channel {channel}");
            let Some(at) = found else { continue };
            let Subscription { channel: part, member, .. } = hub.delivery.subscriptions[at];
            let member = &hub.delivery.channels.rows[part].members[member as usize];
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
        assert!(wanted.iter().any(|wanted| wanted.len() > 8));
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
