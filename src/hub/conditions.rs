//! What holds for one subscription: what its namespace says, unless a token or a backend overrides
//! it for this one.
//!
//! Subscriptions without overrides pay nothing for those that have some. A roll remembers the few
//! that stand on it otherwise than its namespace says, and managed subscribers that hear of joins
//! and leaves otherwise have a part of the channel of their own, with a log of its own, as there is
//! one for each wire variant.

use crate::hub::Hub;
use crate::hub::managed::Subscription;
use crate::mesh::Standing;
use crate::model::{Namespace, Overrides};

/// What a client asks for when it subscribes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// To know its position.
    pub positioned: bool,
    /// To recover after a disconnect, or now.
    pub recoverable: bool,
    /// To hear of joins and leaves.
    pub join_leave: bool,
}

/// What holds for a subscription at its own shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Conditions {
    pub(super) standing: Standing,
    /// It hears of joins and leaves although its namespace is silent about them, or the reverse.
    pub(super) hears_otherwise: bool,
    /// The client is told where the stream stands.
    pub(super) is_positioned: bool,
    /// The client may recover what it misses.
    pub(super) is_recoverable: bool,
}

impl Conditions {
    pub(super) fn new(rules: &Namespace, overrides: Overrides, wishes: Wishes) -> Self {
        // What is not forced upon a client it gets if it asks for it.
        let decide = |forced: Option<bool>, is_usual: bool, is_wished: bool| match forced {
            None => is_usual,
            Some(is_forced) => is_forced || is_usual && is_wished,
        };
        let is_told = decide(overrides.force_push_join_leave, rules.join_leave, wishes.join_leave);
        let may_recover = decide(overrides.force_recovery, rules.recovery, wishes.recoverable);
        let is_recoverable = rules.has_history() && may_recover;
        let wants_position = decide(overrides.force_positioning, true, wishes.positioned);
        Self {
            standing: Standing::new(rules, overrides),
            hears_otherwise: is_told != rules.join_leave,
            is_positioned: is_recoverable || rules.has_history() && wants_position,
            is_recoverable,
        }
    }
}

impl Hub {
    /// What holds for a subscription, whose channel is of a namespace that exists.
    pub(super) fn conditions_of(&self, subscription: &Subscription) -> Conditions {
        let rules = self.context.settings.namespaces.of(&subscription.channel);
        let rules = rules.expect("it was looked at before");
        Conditions::new(rules, subscription.grant.overrides, subscription.wishes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(rules: &Namespace, overrides: Overrides, wishes: Wishes) -> Conditions {
        Conditions::new(rules, overrides, wishes)
    }

    #[test]
    fn without_overrides_the_namespace_decides() {
        let history = Namespace { history_size: 9, ..Namespace::default() };
        let loud = Namespace { join_leave: true, recovery: false, ..history };
        let all = Wishes { positioned: true, recoverable: true, join_leave: true };
        for wishes in [Wishes::default(), all] {
            let none = conditions(&Namespace::default(), Overrides::default(), wishes);
            assert!(!none.is_positioned && !none.is_recoverable && !none.hears_otherwise);
            assert!(!none.standing.is_announced && !none.standing.is_hidden);
            let some = conditions(&history, Overrides::default(), wishes);
            assert!(some.is_positioned && some.is_recoverable && !some.hears_otherwise);
            let some = conditions(&loud, Overrides::default(), wishes);
            assert!(some.is_positioned && !some.is_recoverable && !some.hears_otherwise);
            assert!(some.standing.is_announced);
        }
    }

    #[test]
    fn what_is_not_forced_is_there_for_those_who_ask() {
        let rules = Namespace { history_size: 9, join_leave: true, ..Namespace::default() };
        let no = Some(false);
        let overrides = Overrides {
            force_recovery: no,
            force_positioning: no,
            force_push_join_leave: no,
            ..Overrides::default()
        };
        let silent = conditions(&rules, overrides, Wishes::default());
        assert!(!silent.is_positioned && !silent.is_recoverable && silent.hears_otherwise);
        let all = Wishes { positioned: true, recoverable: true, join_leave: true };
        let asks = conditions(&rules, overrides, all);
        assert!(asks.is_positioned && asks.is_recoverable && !asks.hears_otherwise);
        let recovers = Wishes { recoverable: true, ..Wishes::default() };
        let asks = conditions(&rules, overrides, recovers);
        assert!(asks.is_positioned, "there is no recovery without a position");
    }

    #[test]
    fn what_is_forced_needs_a_stream_all_the_same() {
        let yes = Some(true);
        let overrides = Overrides {
            force_recovery: yes,
            force_positioning: yes,
            force_push_join_leave: yes,
            ..Overrides::default()
        };
        let none = conditions(&Namespace::default(), overrides, Wishes::default());
        assert!(!none.is_positioned && !none.is_recoverable && none.hears_otherwise);
        let rules = Namespace { history_size: 9, recovery: false, ..Namespace::default() };
        let some = conditions(&rules, overrides, Wishes::default());
        assert!(some.is_positioned && some.is_recoverable);
    }
}
