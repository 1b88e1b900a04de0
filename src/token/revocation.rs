//! Revocations: users and devices whose tokens of a certain second and before are refused.
//!
//! Closing connections is not enough to shut somebody out, because the token is still good. So a
//! revocation is remembered for as long as such tokens may live. The table is bounded: when it is
//! full the oldest revocation is forgotten, and counted.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::limits::REVOCATIONS_MAX;

/// At most so many are dropped at a time: others wait meanwhile.
const SWEPT_MAX: usize = 1024;

/// A user, or one device of a user. No device is all devices.
type Subject = (Arc<str>, Option<Arc<str>>);

/// Who was revoked when.
#[derive(Debug, Default)]
pub struct Revocations {
    seconds: HashMap<Subject, u64>,
    /// The same, oldest first.
    order: BTreeSet<(u64, Subject)>,
    /// How many seconds a revocation is remembered.
    memory: u64,
    forgotten: u64,
}

impl Revocations {
    /// An empty table that remembers a revocation for so many seconds: at least the lifetime of a
    /// token.
    #[must_use]
    pub fn new(memory: u64) -> Self {
        Self { memory, ..Self::default() }
    }

    /// Revokes all tokens of a user, or those used by one device, that were issued until `now`.
    pub fn revoke(&mut self, user: &str, device: Option<&str>, now: u64) {
        self.sweep(now);
        let subject: Subject = (user.into(), device.map(Into::into));
        if let Some(earlier) = self.seconds.get(&subject).copied() {
            // A clock that was set back must not bring older tokens back.
            let second = earlier.max(now);
            self.order.remove(&(earlier, subject.clone()));
            self.order.insert((second, subject.clone()));
            self.seconds.insert(subject, second);
            return;
        }
        if self.seconds.len() >= REVOCATIONS_MAX
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.seconds.remove(&oldest);
            self.forgotten += 1;
        }
        self.order.insert((now, subject.clone()));
        self.seconds.insert(subject, now);
    }

    /// Whether a token that was issued at this second is refused. One that does not say when it
    /// was issued is, as long as the revocation is remembered.
    #[must_use]
    pub fn covers(&self, user: &str, device: Option<&str>, issued_at: Option<u64>) -> bool {
        let covers = |device: Option<&str>| {
            let subject: Subject = (user.into(), device.map(Into::into));
            let second = self.seconds.get(&subject).copied();
            second.is_some_and(|second| issued_at.is_none_or(|issued_at| issued_at <= second))
        };
        !self.seconds.is_empty() && (covers(None) || device.is_some_and(|name| covers(Some(name))))
    }

    /// Drops what is older than the table remembers, some of it at a time. What is left refuses
    /// tokens that have ended by themselves.
    pub fn sweep(&mut self, now: u64) {
        for _ in 0..SWEPT_MAX {
            let is_over = |(second, _): &(u64, Subject)| second.saturating_add(self.memory) < now;
            if !self.order.first().is_some_and(is_over) {
                break;
            }
            if let Some((_, subject)) = self.order.pop_first() {
                self.seconds.remove(&subject);
            }
        }
    }

    /// How many revocations are remembered.
    #[must_use]
    pub fn count(&self) -> usize {
        self.seconds.len()
    }

    /// How many were forgotten before their time because the table was full.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tokens_of_that_second_and_before_are_refused() {
        let mut table = Revocations::new(100);
        table.revoke("42", None, 10);
        table.revoke("7", Some("phone"), 10);
        assert!(table.covers("42", None, Some(10)) && table.covers("42", Some("x"), Some(9)));
        assert!(!table.covers("42", None, Some(11)));
        assert!(table.covers("42", None, None));
        assert!(table.covers("7", Some("phone"), Some(10)) && !table.covers("7", None, Some(10)));
        assert!(!table.covers("7", Some("laptop"), None) && !table.covers("1", None, None));
    }

    #[test]
    fn a_clock_that_was_set_back_brings_nothing_back() {
        let mut table = Revocations::new(100);
        table.revoke("42", None, 10);
        table.revoke("42", None, 5);
        assert!(table.covers("42", None, Some(10)));
        assert_eq!((table.count(), table.order.len()), (1, 1));
    }

    #[test]
    fn revocations_are_remembered_for_their_time() {
        let mut table = Revocations::new(100);
        table.revoke("42", None, 10);
        table.sweep(110);
        assert_eq!(table.count(), 1);
        table.sweep(111);
        assert_eq!((table.count(), table.order.len(), table.forgotten()), (0, 0, 0));
    }

    #[test]
    fn a_full_table_forgets_the_oldest_and_counts_it() {
        let mut table = Revocations::new(u64::MAX);
        for number in 0..=REVOCATIONS_MAX as u64 {
            table.revoke(&number.to_string(), None, number);
        }
        assert_eq!((table.count(), table.forgotten()), (REVOCATIONS_MAX, 1));
        assert!(!table.covers("0", None, Some(0)) && table.covers("1", None, Some(1)));
    }

    proptest! {
        #[test]
        fn the_table_is_what_a_list_would_be(
            steps in prop::collection::vec((0u8..4, prop::option::of(0u8..2), 0u64..50), 0..40),
            (user, device, issued_at) in (0u8..4, prop::option::of(0u8..2), 0u64..60),
        ) {
            let mut table = Revocations::new(1000);
            let device_name = |device: Option<u8>| device.map(|number| number.to_string());
            for (user, device, now) in &steps {
                table.revoke(&user.to_string(), device_name(*device).as_deref(), *now);
            }
            let expected = steps.iter().any(|(known, known_device, second)| {
                *known == user
                    && (known_device.is_none() || *known_device == device)
                    && issued_at <= *second
            });
            let device = device_name(device);
            let found = table.covers(&user.to_string(), device.as_deref(), Some(issued_at));
            prop_assert_eq!(found, expected);
            prop_assert_eq!(table.seconds.len(), table.order.len());
        }
    }
}
