//! Idempotent publishing: the keys of recent publications, and what became of those.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::protocol::{ChannelName, Position};
use crate::wheel::Tick;

/// What a key takes beside its text: its place in the table and in the order.
const OVERHEAD_BYTES: usize = 160;

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
    bytes: usize,
    bytes_max: usize,
}

impl Repeats {
    /// Remembers at most `keys_max` keys of `bytes_max` bytes, for `window` ticks each.
    pub(super) fn new(window: u32, keys_max: usize, bytes_max: usize) -> Self {
        let (first, order) = (HashMap::default(), VecDeque::new());
        Self { first, order, window, keys_max, bytes: 0, bytes_max }
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

    /// Notes where a publication went. Returns how many older keys were forgotten too early.
    pub(super) fn note(
        &mut self,
        channel: &ChannelName,
        key: Box<str>,
        position: Option<Position>,
        now: Tick,
    ) -> u64 {
        let key = Arc::new((channel.clone(), key));
        self.bytes += cost(&key);
        self.first.insert(Arc::clone(&key), position);
        self.order.push_back((now, key));
        let mut forgotten = 0;
        while self.order.len() > self.keys_max || self.bytes > self.bytes_max {
            self.forget_oldest();
            forgotten += 1;
        }
        forgotten
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
            self.bytes -= cost(&key);
        }
    }

    /// How much memory the keys take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many keys are remembered.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }
}

fn cost((channel, key): &(ChannelName, Box<str>)) -> usize {
    OVERHEAD_BYTES + channel.as_str().len() + key.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Epoch;

    #[test]
    fn keys_are_known_for_a_window_and_within_a_bound() {
        let mut repeats = Repeats::new(10, 2, usize::MAX);
        let (a, b) = (ChannelName::parse(b"a").unwrap(), ChannelName::parse(b"b").unwrap());
        let position = Some(Position { offset: 7, epoch: Epoch(1) });
        assert_eq!(repeats.find(&a, "k", Tick(0)), None);
        assert_eq!(repeats.note(&a, "k".into(), position, Tick(0)), 0);
        assert_eq!(repeats.find(&a, "k", Tick(9)), Some(position));
        assert_eq!(repeats.find(&b, "k", Tick(9)), None);
        assert_eq!((repeats.find(&a, "k", Tick(10)), repeats.len()), (None, 0));
        assert_eq!(repeats.note(&a, "1".into(), None, Tick(10)), 0);
        assert_eq!(repeats.note(&a, "2".into(), None, Tick(10)), 0);
        assert_eq!(repeats.note(&a, "3".into(), None, Tick(10)), 1);
        assert_eq!(repeats.find(&a, "1", Tick(11)), None);
        assert_eq!(repeats.find(&a, "3", Tick(11)), Some(None));
    }

    #[test]
    fn keys_are_known_within_so_many_bytes() {
        let a = ChannelName::parse(b"a").unwrap();
        let mut repeats = Repeats::new(10, 100, 3 * OVERHEAD_BYTES);
        for (key, forgotten) in [("1", 0), ("2", 0), ("3", 1), ("4", 1)] {
            assert_eq!(repeats.note(&a, key.into(), None, Tick(0)), forgotten, "{key}");
        }
        assert_eq!(repeats.note(&a, "x".repeat(2 * OVERHEAD_BYTES).into(), None, Tick(0)), 3);
        assert_eq!(repeats.bytes(), 0);
    }
}
