//! Idempotent publishing: the keys of recent publications, and what became of those.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::hub::context::SECOND;
use crate::model::{ChannelName, Position};
use crate::settings::HubSettings;
use crate::wheel::Tick;

/// What a key takes beside its text: its place in the table and in the order.
const OVERHEAD_BYTES: usize = 160;

/// At most so many keys are forgotten in one turn; the rest comes with the next turns.
const FORGOTTEN_PER_TURN: usize = 256;

/// The keys of publications may take one part in so many of the share of memory for history that
/// this shard is sure of: streams make room for others, and keys do not.
const KEYS_PART: usize = 2;

/// A publisher's key in a channel.
type Key = Arc<(ChannelName, Box<str>)>;

/// What is known of publications that had a key, for a window of time and within a bound.
#[derive(Debug)]
pub(in crate::hub) struct Repeats {
    /// When each came, and where its publication went.
    first: HashMap<Key, (Tick, Option<Position>), ahash::RandomState>,
    /// The keys in the order in which they came.
    order: VecDeque<(Tick, Key)>,
    bytes: usize,
    bounds: Bounds,
}

/// For how long keys are known, and how many.
#[derive(Clone, Copy, Debug)]
pub(in crate::hub) struct Bounds {
    /// Ticks for which a key is known.
    pub(super) window: u32,
    pub(super) keys_max: usize,
    pub(in crate::hub) bytes_max: usize,
}

impl Bounds {
    /// The bounds that settings say.
    pub(in crate::hub) fn of(settings: &HubSettings) -> Self {
        Self {
            window: settings.idempotency_window.saturating_mul(SECOND),
            keys_max: settings.idempotency_keys_max,
            bytes_max: settings.history.share() / KEYS_PART,
        }
    }
}

impl Repeats {
    /// Remembers nothing yet.
    pub(in crate::hub) fn new(bounds: Bounds) -> Self {
        let (first, order) = (HashMap::default(), VecDeque::new());
        Self { first, order, bytes: 0, bounds }
    }

    /// Has other bounds from here on. What is over them is forgotten in portions.
    pub(in crate::hub) fn configure(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Where the publication with this key went, if it came before.
    pub(in crate::hub) fn find(
        &self,
        channel: &ChannelName,
        key: &str,
        now: Tick,
    ) -> Option<Option<Position>> {
        let key = (channel.clone(), Box::from(key));
        let (since, position) = self.first.get(&key)?;
        since.plus(self.bounds.window).is_after(now).then_some(*position)
    }

    /// Notes where a publication went. Returns how many older keys were forgotten too early.
    pub(in crate::hub) fn note(
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
        self.forget_while(now, Self::is_over)
    }

    /// Whether some are older than the window, or more than there may be.
    pub(in crate::hub) fn is_behind(&self, now: Tick) -> bool {
        self.is_over() || self.is_oldest_due(now)
    }

    fn is_over(&self) -> bool {
        self.order.len() > self.bounds.keys_max || self.bytes > self.bounds.bytes_max
    }

    fn is_oldest_due(&self, now: Tick) -> bool {
        self.order.front().is_some_and(|(since, _)| !since.plus(self.bounds.window).is_after(now))
    }

    /// Forgets some of those that are older than the window, or more than there may be. Returns
    /// how many were forgotten too early.
    pub(in crate::hub) fn expire(&mut self, now: Tick) -> u64 {
        let early = self.forget_while(now, |repeats| repeats.is_behind(now));
        if self.order.is_empty() && self.order.capacity() > 0 {
            (self.order, self.first) = (VecDeque::new(), HashMap::default());
        }
        early
    }

    fn forget_while(&mut self, now: Tick, has_more: impl Fn(&Self) -> bool) -> u64 {
        let mut early = 0;
        for _ in 0..FORGOTTEN_PER_TURN {
            if !has_more(self) {
                break;
            }
            early += u64::from(!self.is_oldest_due(now));
            self.forget_oldest();
        }
        early
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
    pub(in crate::hub) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many keys are remembered.
    pub(in crate::hub) fn len(&self) -> usize {
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

    fn remembering(window: u32, keys_max: usize, bytes_max: usize) -> Repeats {
        Repeats::new(Bounds { window, keys_max, bytes_max })
    }

    #[test]
    fn keys_are_known_for_a_window_and_within_a_bound() {
        let mut repeats = remembering(10, 2, usize::MAX);
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
        let mut repeats = remembering(10, usize::MAX, usize::MAX);
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
        let mut repeats = remembering(10, 100, 3 * OVERHEAD_BYTES);
        for (key, forgotten) in [("1", 0), ("2", 0), ("3", 1), ("4", 1)] {
            assert_eq!(repeats.note(&a, key.into(), None, Tick(0)), forgotten, "{key}");
        }
        assert_eq!(repeats.note(&a, "x".repeat(2 * OVERHEAD_BYTES).into(), None, Tick(0)), 3);
        assert_eq!(repeats.bytes(), 0);
    }

    #[test]
    fn what_other_bounds_leave_no_room_for_is_forgotten_in_portions() {
        let a = ChannelName::parse(b"a").unwrap();
        let count = 2 * FORGOTTEN_PER_TURN + 1;
        let mut repeats = remembering(10, usize::MAX, usize::MAX);
        for key in 0..count {
            repeats.note(&a, key.to_string().into(), None, Tick(0));
        }
        repeats.configure(Bounds { window: 10, keys_max: 2, bytes_max: usize::MAX });
        let portions = [1, 2, 3].map(|_| repeats.expire(Tick(1)));
        let most = FORGOTTEN_PER_TURN as u64;
        assert_eq!(portions, [most, most - 1, 0], "each was forgotten too early");
        assert!(!repeats.is_behind(Tick(1)));
        assert_eq!(repeats.find(&a, &(count - 1).to_string(), Tick(1)), Some(None));
        repeats.configure(Bounds { window: 1, keys_max: 2, bytes_max: usize::MAX });
        assert_eq!(repeats.find(&a, &(count - 1).to_string(), Tick(1)), None);
    }
}
