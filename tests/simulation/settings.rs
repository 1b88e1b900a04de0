//! Hubs that run are told anew: bounds close in on those who are there, and nobody else notices.

use std::sync::Arc;

use tidegate::hub::Effect;
use tidegate::mesh::Envelope;
use tidegate::model::{ChannelName, Command, Target};
use tidegate::settings::{Budget, HubSettings, ShardSettings};

use crate::bounds::MEMORY;
use crate::regression::Edge;
use crate::world::{Shard, World};

impl World {
    /// Somebody who asks tells all shards to serve by other settings.
    pub(crate) fn configure(&mut self) {
        let random = &mut self.random;
        let shards = self.shards.len();
        let settings = Arc::new(HubSettings {
            sessions_per_user_max: 1 + random.below(6),
            evict_oldest: random.chance(60),
            lag_bytes_max: random.pick(&[1_000, 20_000, 10_000_000]),
            outbox_bytes_max: random.pick(&[500, 5_000, 100_000, 10_000_000]),
            slow: Budget::new(random.pick(&MEMORY), shards).into(),
            ..HubSettings::clone(&self.settings)
        });
        self.settings = Arc::clone(&settings);
        let settings = Arc::new(ShardSettings::unlimited(settings));
        for shard in 0..self.shards.len() {
            let asker = self.shards.len();
            self.network.send(asker, shard, Envelope::Configure(Arc::clone(&settings)));
        }
        self.model.coverage.note("other settings");
    }
}

impl Shard {
    /// What it holds may have come by the settings that it had.
    pub(crate) fn configure(&mut self, settings: &ShardSettings) {
        self.settings = Arc::clone(&settings.hub);
        let (lenient, new) = (&mut self.lenient, &self.settings);
        lenient.lag_bytes_max = lenient.lag_bytes_max.max(new.lag_bytes_max);
        lenient.outbox_bytes_max = lenient.outbox_bytes_max.max(new.outbox_bytes_max);
        let sessions = &mut lenient.sessions_per_user_max;
        *sessions = new.sessions_per_user_max.max(*sessions);
    }
}

impl Edge {
    fn configure(&mut self, change: impl FnOnce(&mut HubSettings)) {
        change(&mut self.settings);
        let settings = ShardSettings::unlimited(Arc::new(self.settings.clone()));
        self.hub.handle(Envelope::Configure(settings.into()));
    }
}

#[test]
fn who_lags_too_far_for_a_new_limit_is_closed_and_others_lose_nothing() {
    let mut edge = Edge::new(1, |_| {});
    let news = edge.channel("news", 0);
    let (slow, fast) = (edge.open(None, &[&news]), edge.open(None, &[&news]));
    let taken = |row| if row == slow { 0 } else { u32::MAX };
    edge.publish(&news, 40_000);
    assert_eq!(edge.flush(taken), [fast]);
    edge.configure(|settings| settings.lag_bytes_max = 1_000);
    let effects = edge.effects();
    assert!(matches!(effects[..], [Effect::Blocked(_), Effect::Configure(_)]), "{effects:?}");
    edge.publish(&news, 40_000);
    assert!(edge.is_closing());
    assert_eq!(edge.flush(taken), [fast]);
    assert_eq!(edge.metrics.log_bytes.value(), 0);
}

#[test]
fn memory_over_a_new_budget_is_taken_at_once() {
    let mut edge = Edge::new(1, |_| {});
    let news = edge.channel("news", 0);
    edge.open(None, &[&news]);
    edge.publish(&news, 50_000);
    edge.flush(|_| 0);
    edge.configure(|settings| settings.slow = Budget::new(20_000, 1).into());
    assert!(edge.is_closing());
    assert_eq!(edge.metrics.log_bytes.value(), 0);
}

#[test]
fn a_user_with_more_sessions_than_there_may_be_keeps_the_newest() {
    let mut edge = Edge::new(1, |settings| {
        (settings.sessions_per_user_max, settings.evict_oldest) = (5, true);
    });
    let user = ChannelName::personal("7").unwrap();
    let rows: Vec<u32> = (0..5).map(|_| edge.open(Some(&user), &[])).collect();
    edge.configure(|settings| settings.sessions_per_user_max = 2);
    assert!(!edge.is_closing(), "nobody is closed before somebody comes");
    let row = edge.hub.attach(0);
    let session = tidegate::hub::Session { personal: Some(user), ..Default::default() };
    edge.hub.enter(row, session);
    let closed: Vec<u32> = edge.effects().iter().filter_map(closed).collect();
    assert_eq!(closed, rows[..4], "the oldest four");
}

fn closed(effect: &Effect) -> Option<u32> {
    match effect {
        Effect::Closing(row, ..) => Some(*row),
        _ => None,
    }
}

#[test]
fn an_outbox_may_become_smaller_and_larger() {
    let mut edge = Edge::new(1, |settings| settings.outbox_bytes_max = 50);
    let (first, second) = (edge.channel("a", 0), edge.channel("b", 0));
    for (outbox_bytes_max, is_closed) in [(500, false), (50, true)] {
        let row = edge.open(None, &[&first, &second]);
        edge.configure(|settings| settings.outbox_bytes_max = outbox_bytes_max);
        edge.publish(&first, 100);
        let target = Target::Client(edge.hub.client_id(row));
        let channels = vec![first.clone(), second.clone()];
        edge.command(Command::Unsubscribe { target, channels }, None);
        assert_eq!(edge.is_closing(), is_closed, "{outbox_bytes_max}");
    }
}
