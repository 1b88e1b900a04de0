//! Counters of publishers (`src` and `seq`): what is missing, what came twice, who began anew.
//!
//! A publisher numbers its messages from 0 or 1. A number above the next one means that those in
//! between are missing. A number that was seen before means that its message came twice: the
//! second is dropped. Which of the last 64 numbers were seen is known one by one, so a message that
//! was overtaken by a few others is not taken for a duplicate; what lies further behind is.
//!
//! A publisher that starts anew must not be silenced for what it said in an earlier life. So a
//! number of 0 or 1, or one that lies 65,536 or more behind, is always a new beginning and never a
//! duplicate; the price is that a message sent twice with the number 1 comes twice. A publisher
//! that goes on from somewhere below is heard again when it passes its former number.
//!
//! The first message of a publisher is never a gap, because the edge may have come later. Where
//! several edges share a PULL socket's publisher each sees only its share of the numbers.

use hashbrown::HashMap;

use crate::metrics::IngestMetrics;

/// Most publishers that are remembered.
pub(super) const SOURCES_MAX: usize = 65_536;

/// How far behind a number must lie to be a new beginning.
const RESTART_DISTANCE: u64 = 65_536;

/// The counter of each publisher.
///
/// Two generations stand in for a list in order of use: a publisher moves to the young one when
/// it is heard, and when that is half of everything, the old one is forgotten.
#[derive(Default)]
pub(super) struct Sources {
    young: HashMap<Box<str>, Counter>,
    old: HashMap<Box<str>, Counter>,
}

impl Sources {
    /// Notes one message; false exactly when it is a duplicate.
    pub(super) fn observe(
        &mut self,
        source: Box<str>,
        sequence: u64,
        metrics: &IngestMetrics,
    ) -> bool {
        if let Some(counter) = self.young.get_mut(&source) {
            return counter.observe(sequence, metrics);
        }
        let (mut counter, mut is_new) = (Counter::beginning_at(sequence), true);
        if let Some(old) = self.old.remove(&source) {
            counter = old;
            is_new = counter.observe(sequence, metrics);
        }
        if self.young.len() >= SOURCES_MAX / 2 {
            metrics.sources_forgotten.add(self.old.len() as u64);
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(source, counter);
        is_new
    }
}

/// The numbers of one publisher.
#[derive(Clone, Copy)]
struct Counter {
    /// The highest number since the publisher began.
    last: u64,
    /// Bit `n` is set exactly when the number `last - n` was seen.
    seen: u64,
}

impl Counter {
    fn beginning_at(sequence: u64) -> Self {
        Self { last: sequence, seen: 1 }
    }

    /// Notes a number and counts what it says; false exactly when it is a duplicate.
    fn observe(&mut self, sequence: u64, metrics: &IngestMetrics) -> bool {
        if sequence > self.last {
            let step = sequence - self.last;
            metrics.gaps.add(step - 1);
            self.seen = shifted(self.seen, step) | 1;
            self.last = sequence;
            return true;
        }
        let behind = self.last - sequence;
        if sequence <= 1 || behind >= RESTART_DISTANCE {
            metrics.restarts.increment();
            *self = Self::beginning_at(sequence);
            return true;
        }
        let bit = shifted(1, behind);
        if bit != 0 && self.seen & bit == 0 {
            metrics.late.increment();
            self.seen |= bit;
            return true;
        }
        metrics.duplicates.increment();
        false
    }
}

/// Bits moved up by any distance.
fn shifted(bits: u64, distance: u64) -> u64 {
    u32::try_from(distance).ok().and_then(|distance| bits.checked_shl(distance)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of the numbers were delivered, and gaps, late ones, duplicates and restarts.
    fn observe(numbers: &[u64]) -> (Vec<u64>, [u64; 4]) {
        let metrics = IngestMetrics::default();
        let mut sources = Sources::default();
        let mut delivered = numbers.to_vec();
        delivered.retain(|&number| sources.observe("shop".into(), number, &metrics));
        let counters = [&metrics.gaps, &metrics.late, &metrics.duplicates, &metrics.restarts];
        (delivered, counters.map(|counter| counter.value()))
    }

    fn counts(numbers: &[u64]) -> [u64; 4] {
        observe(numbers).1
    }

    #[test]
    fn gaps_duplicates_and_restarts() {
        assert_eq!(counts(&[1, 2, 3]), [0, 0, 0, 0]);
        assert_eq!(counts(&[7, 8]), [0, 0, 0, 0]);
        assert_eq!(counts(&[1, 2, 6]), [3, 0, 0, 0]);
        assert_eq!(counts(&[5, 5, 6, 5, 7]), [0, 0, 2, 0]);
        assert_eq!(counts(&[5, 1, 2]), [0, 0, 0, 1]);
        assert_eq!(counts(&[0, u64::MAX, 0]), [u64::MAX - 1, 0, 0, 1]);
        assert_eq!(counts(&[100_000, 100_000 - RESTART_DISTANCE + 1]), [0, 0, 1, 0]);
        assert_eq!(counts(&[100_000, 100_000 - RESTART_DISTANCE, 34_465]), [0, 0, 0, 1]);
    }

    #[test]
    fn only_what_was_seen_is_dropped() {
        // Overtaken, and then sent again.
        assert_eq!(observe(&[2, 5, 3, 4, 3, 5]), (vec![2, 5, 3, 4], [2, 2, 2, 0]));
        // The first number that the edge saw says nothing of those before it.
        assert_eq!(observe(&[9, 8, 8]).0, [9, 8]);
        // The 64th number back is known one by one, the 65th is not.
        assert_eq!(observe(&[100, 200, 137, 136]).0, [100, 200, 137]);
        assert_eq!(observe(&[u64::MAX, u64::MAX - 1, u64::MAX]).0, [u64::MAX, u64::MAX - 1]);
    }

    #[test]
    fn a_publisher_that_starts_anew_is_heard() {
        // One message for each start.
        assert_eq!(observe(&[1, 1, 1]), (vec![1, 1, 1], [0, 0, 0, 2]));
        assert_eq!(observe(&[0, 0, 1, 0]).0, [0, 0, 1, 0]);
        // Ended in the middle; the numbers of its earlier life do not count.
        assert_eq!(observe(&[1, 2, 3, 4, 1, 2, 3, 4, 4]).0, [1, 2, 3, 4, 1, 2, 3, 4]);
        // Somewhere below: heard again when it passes its former number.
        assert_eq!(observe(&[500, 400, 401, 500, 501]).0, [500, 501]);
    }

    #[test]
    fn the_least_recent_publishers_are_forgotten() {
        let metrics = IngestMetrics::default();
        let mut sources = Sources::default();
        for number in 0..3 * SOURCES_MAX as u64 {
            sources.observe("often".into(), number, &metrics);
            sources.observe(format!("once {number}").into(), 9, &metrics);
            assert!(sources.young.len() + sources.old.len() <= SOURCES_MAX);
        }
        assert_eq!((metrics.gaps.value(), metrics.restarts.value()), (0, 0));
        assert!(metrics.sources_forgotten.value() >= SOURCES_MAX as u64);
    }
}
