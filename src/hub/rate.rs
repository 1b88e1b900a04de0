//! How much a client may ask in a second: one connection, and all connections of a user on this
//! shard.
//!
//! Users are counted by each shard for itself: to count them at their home a command would have to
//! wait for an answer from there.
//!
//! Seconds begin together for everybody, so the counts of users are simply forgotten when one ends.
//! They are known by a hash that peers cannot steer, so that a hundred thousand of them are
//! forgotten at once.

use std::collections::HashMap;

use crate::hub::Hub;
use crate::hub::context::SECOND;
use crate::hub::rows::Id;
use crate::model::ClientError;
use crate::settings::Rates;

/// What was asked in the present second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    second: u32,
    commands: u32,
    publishes: u32,
}

/// What users have asked in the present second.
#[derive(Debug, Default)]
pub(super) struct UserRates {
    second: u32,
    spent: HashMap<u64, Spent, ahash::RandomState>,
}

impl Spent {
    /// Counts a command, which publishes so much; false if that is one too many. One that begins
    /// within the limit is never too large.
    fn spend(&mut self, second: u32, published: u32, commands: u32, publishes: u32) -> bool {
        if self.second != second {
            *self = Self { second, ..Self::default() };
        }
        let is_left = |spent: u32, limit: u32| limit == 0 || spent < limit;
        let is_allowed = is_left(self.commands, commands)
            && (published == 0 || is_left(self.publishes, publishes));
        if is_allowed {
            self.commands += 1;
            self.publishes = self.publishes.saturating_add(published);
        }
        is_allowed
    }
}

impl Hub {
    /// Whether a client may send one command more in this second, which is counted. The shell asks
    /// before it does anything for the command: to verify a token costs much more than to send it.
    pub fn spend(&mut self, row: u32, published: u32) -> Result<(), ClientError> {
        let rates = self.context.settings.rates;
        if rates == Rates::default() {
            return Ok(());
        }
        let second = self.context.now.tick.0 / SECOND;
        if self.user_rates.second != second {
            self.user_rates = UserRates { second, ..UserRates::default() };
        }
        let Some(managed) = self.managed.get_mut(&Id::new(row)) else { return Ok(()) };
        let Rates { commands, publishes, user_commands, user_publishes } = rates;
        let mut is_allowed = managed.spent.spend(second, published, commands, publishes);
        if let Some(info) = managed.info.as_ref().filter(|info| !info.user.is_empty())
            && user_commands + user_publishes > 0
        {
            let user = self.user_rates.spent.hasher().hash_one(&*info.user);
            let spent = self.user_rates.spent.entry(user).or_default();
            is_allowed &= spent.spend(second, published, user_commands, user_publishes);
        }
        if is_allowed {
            return Ok(());
        }
        self.context.metrics.commands_over_rate.increment();
        Err(ClientError::TooManyRequests)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_so_many_commands() {
        let mut spent = Spent::default();
        assert!(spent.spend(1, 1, 2, 1));
        assert!(!spent.spend(1, 1, 2, 1), "one publication");
        assert!(spent.spend(1, 0, 2, 1));
        assert!(!spent.spend(1, 0, 2, 1), "two commands");
        assert!(spent.spend(2, 1, 2, 1), "the next second");
        assert!(spent.spend(3, 16, 0, 10), "large, and the first");
        assert!(!spent.spend(3, 1, 0, 10), "it counted for many");
        assert!((0..1000).all(|_| spent.spend(4, 1, 0, 0)), "no limit");
    }
}
