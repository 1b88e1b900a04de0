//! Idempotent publishing: the keys of recent publications, and what became of those.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::protocol::{ChannelName, Position};
use crate::wheel::Tick;

/// A publisher's key in a channel.
type Key = Arc<(ChannelName, Box<str>)>;

/// What is known of publications that had a key, for a window of time and within a bound.
#[derive(Debug)]
pub(super) struct Repeats {
    first: HashMap<Key, Option<Position>, ahash::RandomState>,
    /// The keys in the order in which they came.
    order: VecDeque<(Tick, Key)>,
    window: u32,
    keys_max: usize,
}

impl Repeats {
    /// Remembers at most `keys_max` keys, for `window` ticks each.
    pub(super) fn new(window: u32, keys_max: usize) -> Self {
        Self { first: HashMap::default(), order: VecDeque::new(), window, keys_max }
    }

    /// Where the publication with this key went, if it came before.
    pub(super) fn find(
        &mut self,
        channel: &ChannelName,
        key: &str,
        now: Tick,
    ) -> Option<Option<Position>> {
        self.expire(now);
        let key = (channel.clone(), Box::from(key));
        self.first.get(&key).copied()
    }

    /// Notes where a publication went. Returns whether an older key was forgotten too early.
    pub(super) fn note(
        &mut self,
        channel: &ChannelName,
        key: Box<str>,
        position: Option<Position>,
        now: Tick,
    ) -> bool {
        let key = Arc::new((channel.clone(), key));
        self.first.insert(Arc::clone(&key), position);
        self.order.push_back((now, key));
        let is_full = self.order.len() > self.keys_max;
        if is_full {
            self.forget_oldest();
        }
        is_full
    }

    /// Forgets what is older than the window.
    pub(super) fn expire(&mut self, now: Tick) {
        while let Some((since, _)) = self.order.front()
            && !since.plus(self.window).is_after(now)
        {
            self.forget_oldest();
        }
        if self.order.is_empty() && self.order.capacity() > 0 {
            (self.order, self.first) = (VecDeque::new(), HashMap::default());
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.order.pop_front() {
            self.first.remove(&key);
        }
    }

    /// How many keys are remembered.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Epoch;

    #[test]
    fn keys_are_known_for_a_window_and_within_a_bound() {
        let mut repeats = Repeats::new(10, 2);
        let (a, b) = (ChannelName::parse(b"a").unwrap(), ChannelName::parse(b"b").unwrap());
        let position = Some(Position { offset: 7, epoch: Epoch(1) });
        assert_eq!(repeats.find(&a, "k", Tick(0)), None);
        assert!(!repeats.note(&a, "k".into(), position, Tick(0)));
        assert_eq!(repeats.find(&a, "k", Tick(9)), Some(position));
        assert_eq!(repeats.find(&b, "k", Tick(9)), None);
        assert_eq!((repeats.find(&a, "k", Tick(10)), repeats.len()), (None, 0));
        assert!(!repeats.note(&a, "1".into(), None, Tick(10)));
        assert!(!repeats.note(&a, "2".into(), None, Tick(10)));
        assert!(repeats.note(&a, "3".into(), None, Tick(10)));
        assert_eq!(repeats.find(&a, "1", Tick(11)), None);
        assert_eq!(repeats.find(&a, "3", Tick(11)), Some(None));
    }
}
