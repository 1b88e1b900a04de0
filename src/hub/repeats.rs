//! Idempotent publishing: the keys of recent publications, and what became of those.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::model::{ChannelName, Position};
use crate::wheel::Tick;

/// What a key takes beside its text: its place in the table and in the order.
const OVERHEAD_BYTES: usize = 160;

/// At most so many keys are forgotten in one turn; the rest comes with the next turns.
const FORGOTTEN_PER_TURN: usize = 256;

/// A publisher's key in a channel.
type Key = Arc<(ChannelName, Box<str>)>;

/// What is known of publications that had a key, for a window of time and within a bound.
#[derive(Debug)]
pub(super) struct Repeats {
    /// When each came, and where its publication went.
    first: HashMap<Key, (Tick, Option<Position>), ahash::RandomState>,
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
        &self,
        channel: &ChannelName,
        key: &str,
        now: Tick,
    ) -> Option<Option<Position>> {
        let key = (channel.clone(), Box::from(key));
        let (since, position) = self.first.get(&key)?;
        since.plus(self.window).is_after(now).then_some(*position)
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
        self.first.insert(Arc::clone(&key), (now, position));
        self.order.push_back((now, key));
        let mut forgotten = 0;
        while self.order.len() > self.keys_max || self.bytes > self.bytes_max {
            forgotten += u64::from(!self.is_behind(now));
            self.forget_oldest();
        }
        forgotten
    }

    /// Whether some are older than the window.
    pub(super) fn is_behind(&self, now: Tick) -> bool {
        self.order.front().is_some_and(|(since, _)| !since.plus(self.window).is_after(now))
    }

    /// Forgets some of those that are older than the window.
    pub(super) fn expire(&mut self, now: Tick) {
        for _ in 0..FORGOTTEN_PER_TURN {
            if !self.is_behind(now) {
                break;
            }
            self.forget_oldest();
        }
        if self.order.is_empty() && self.order.capacity() > 0 {
            (self.order, self.first) = (VecDeque::new(), HashMap::default());
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((since, key)) = self.order.pop_front() {
            // It may have come again when it was too old, before it was forgotten.
            if self.first.get(&key).is_some_and(|(last, _)| *last == since) {
                self.first.remove(&key);
            }
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
    use crate::model::Epoch;

    #[test]
    fn keys_are_known_for_a_window_and_within_a_bound() {
        let mut repeats = Repeats::new(10, 2, usize::MAX);
        let (a, b) = (ChannelName::parse(b"a").unwrap(), ChannelName::parse(b"b").unwrap());
        let position = Some(Position { offset: 7, epoch: Epoch(1) });
        assert_eq!(repeats.find(&a, "k", Tick(0)), None);
        assert_eq!(repeats.note(&a, "k".into(), position, Tick(0)), 0);
        assert_eq!(repeats.find(&a, "k", Tick(9)), Some(position));
        assert_eq!(repeats.find(&b, "k", Tick(9)), None);
        assert_eq!((repeats.find(&a, "k", Tick(10)), repeats.len()), (None, 1));
        repeats.expire(Tick(10));
        assert_eq!(repeats.len(), 0);
        assert_eq!(repeats.note(&a, "1".into(), None, Tick(10)), 0);
        assert_eq!(repeats.note(&a, "2".into(), None, Tick(10)), 0);
        assert_eq!(repeats.note(&a, "3".into(), None, Tick(10)), 1);
        assert_eq!(repeats.find(&a, "1", Tick(11)), None);
        assert_eq!(repeats.find(&a, "3", Tick(11)), Some(None));
    }

    #[test]
    fn many_keys_are_forgotten_in_portions_and_are_unknown_before() {
        let a = ChannelName::parse(b"a").unwrap();
        let count = 10 * FORGOTTEN_PER_TURN;
        let mut repeats = Repeats::new(10, usize::MAX, usize::MAX);
        for key in 0..count {
            repeats.note(&a, key.to_string().into(), None, Tick(0));
        }
        let last = (count - 1).to_string();
        assert_eq!(repeats.find(&a, &last, Tick(10)), None);
        // It comes again before it is forgotten, and is known for another window.
        repeats.note(&a, last.as_str().into(), None, Tick(10));
        for turn in 1..=10 {
            assert!(repeats.is_behind(Tick(10)));
            repeats.expire(Tick(10));
            assert_eq!(repeats.len(), count + 1 - turn * FORGOTTEN_PER_TURN);
        }
        assert!(!repeats.is_behind(Tick(10)));
        assert_eq!(repeats.find(&a, &last, Tick(19)), Some(None));
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
