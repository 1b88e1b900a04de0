//! A running hub is told anew.
//!
//! Settings are looked up where they are used, so that nearly all of them hold from the next use
//! on, for connections that are open too. What they leave to do is done by its owner: bounds that
//! something remembers, and memory that is more than there may be. It goes in portions.

use std::sync::Arc;

use crate::hub::{Effect, Hub};
use crate::settings::ShardSettings;

impl Hub {
    /// Takes other settings, and hands the shell those of its own.
    pub(super) fn configure(&mut self, settings: Arc<ShardSettings>) {
        let hub = &settings.hub;
        assert!(
            hub.may_follow(&self.context.settings),
            "what is known of subscribers rests on them"
        );
        self.home.configure(hub);
        self.delivery.configure(hub);
        self.context.settings = Arc::clone(hub);
        self.context.effects.push_back(Effect::Configure(settings));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::home::history::SHED_PER_TURN;
    use crate::hub::{Now, Site};
    use crate::mesh::{Envelope, Homes, Outbound};
    use crate::metrics::ShardMetrics;
    use crate::model::{
        ChannelName, Command, HistoryFilter, Namespace, Namespaces, Outcome, Position, Publication,
        ShardId, Ticket,
    };
    use crate::settings::{Budget, HubSettings};

    fn settings(history_size: usize, bytes: usize) -> Arc<HubSettings> {
        let rules = Namespace { history_size, ..Namespace::default() };
        let namespaces = Namespaces::new(rules.clone(), rules, Default::default()).into();
        let history = Budget::new(bytes, 1).into();
        HubSettings { namespaces, history, ..HubSettings::unlimited() }.into()
    }

    fn shard() -> Hub {
        let site = Site::new(ShardId(0), Homes::new(1, 1));
        Hub::new(site, settings(usize::MAX, usize::MAX), Arc::new(ShardMetrics::default()))
    }

    fn configure(hub: &mut Hub, settings: Arc<HubSettings>) {
        hub.handle(Envelope::Configure(ShardSettings::unlimited(settings).into()));
        assert!(matches!(hub.poll_effect(), Some(Effect::Configure(_))));
    }

    fn name() -> ChannelName {
        ChannelName::parse(b"news").unwrap()
    }

    fn publish(hub: &mut Hub, size: usize) {
        let publication = Arc::new(Publication::new(true, &vec![b'1'; size], 0));
        let command = Box::new(Command::Publish { channel: name(), publication, key: None });
        hub.handle(Envelope::Command { command, ticket: None });
    }

    fn position(hub: &mut Hub) -> Position {
        let filter = HistoryFilter { limit: None, since: None, reverse: false };
        let command = Box::new(Command::History { channel: name(), filter });
        hub.handle(Envelope::Command { command, ticket: Some(Ticket { asker: 0, number: 1 }) });
        let Some(Effect::Tell(_, Outbound::Answer(answer))) = hub.poll_effect() else { panic!() };
        let Some(Outcome::History(_, position)) = answer.outcome.map(|it| *it) else { panic!() };
        position
    }

    #[test]
    fn a_stream_that_missed_something_is_another_one() {
        for remembered in [0, 3] {
            let mut hub = shard();
            (0..remembered).for_each(|_| publish(&mut hub, 9));
            let before = position(&mut hub);
            assert_eq!(before.offset, remembered);
            configure(&mut hub, settings(0, usize::MAX));
            publish(&mut hub, 9);
            configure(&mut hub, settings(9, usize::MAX));
            assert_ne!(position(&mut hub).epoch, before.epoch);
            publish(&mut hub, 9);
            let after = position(&mut hub);
            assert_eq!(after.offset, 1);
            assert_ne!(after.epoch, before.epoch);
        }
    }

    #[test]
    fn history_over_a_new_budget_goes_in_portions() {
        let mut hub = shard();
        (0..2000).for_each(|_| publish(&mut hub, 1000));
        let before = hub.home.history_bytes();
        configure(&mut hub, settings(usize::MAX, 100_000));
        assert_eq!(hub.home.history_bytes(), before);
        let mut turns = 0;
        while hub.is_behind() {
            let held = hub.home.history_bytes();
            hub.advance(Now::default());
            assert!(held - hub.home.history_bytes() <= 2 * SHED_PER_TURN, "a portion");
            turns += 1;
        }
        assert!(turns >= 2000 * 1000 / SHED_PER_TURN / 2, "{turns}");
        assert!(hub.home.history_bytes() <= 100_000);
        configure(&mut hub, settings(usize::MAX, 200_000));
        hub.advance(Now::default());
        (0..2000).for_each(|_| publish(&mut hub, 1000));
        assert!(
            (190_000..=200_000).contains(&hub.home.history_bytes()),
            "there is more room at once"
        );
    }
}
