//! Counters of publishers (`src` and `seq`): what is missing, what came twice, who began anew.
//!
//! A publisher numbers its messages from 0 or 1. A number above the next one means that those in
//! between are missing. A number of 0 or 1, or one that lies 65,536 or more behind, means that the
//! publisher began anew. Any other number that is not above the last was seen before: a duplicate
//! (still delivered; and a message that was late, not lost, counts as missing and then as one of
//! these). The first message of a publisher is never a gap, because the edge may have come later.
//! Where several edges share a PULL socket's publisher each sees only its share of the numbers.

use hashbrown::HashMap;

use crate::metrics::IngestMetrics;

/// Most publishers that are remembered.
pub(super) const SOURCES_MAX: usize = 65_536;

/// How far behind a number must lie to be a new beginning.
const RESTART_DISTANCE: u64 = 65_536;

/// The last number of each publisher.
///
/// Two generations stand in for a list in order of use: a publisher moves to the young one when
/// it is heard, and when that is half of everything, the old one is forgotten.
#[derive(Default)]
pub(super) struct Sources {
    young: HashMap<Box<str>, u64>,
    old: HashMap<Box<str>, u64>,
}

impl Sources {
    /// Notes one message.
    pub(super) fn observe(&mut self, source: Box<str>, sequence: u64, metrics: &IngestMetrics) {
        if let Some(last) = self.young.get_mut(&source) {
            *last = compare(*last, sequence, metrics);
            return;
        }
        let last = match self.old.remove(&source) {
            Some(last) => compare(last, sequence, metrics),
            None => sequence,
        };
        if self.young.len() >= SOURCES_MAX / 2 {
            metrics.sources_forgotten.add(self.old.len() as u64);
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(source, last);
    }
}

/// Counts what a number says; gives the last number from here on.
fn compare(last: u64, sequence: u64, metrics: &IngestMetrics) -> u64 {
    if sequence > last {
        metrics.gaps.add(sequence - last - 1);
        return sequence;
    }
    let begins_anew = sequence < last && (sequence <= 1 || last - sequence >= RESTART_DISTANCE);
    if begins_anew {
        metrics.restarts.increment();
        return sequence;
    }
    metrics.duplicates.increment();
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(numbers: &[u64]) -> (u64, u64, u64) {
        let metrics = IngestMetrics::default();
        let mut sources = Sources::default();
        for &number in numbers {
            sources.observe("shop".into(), number, &metrics);
        }
        (metrics.gaps.value(), metrics.duplicates.value(), metrics.restarts.value())
    }

    #[test]
    fn gaps_duplicates_and_restarts() {
        assert_eq!(counts(&[1, 2, 3]), (0, 0, 0));
        assert_eq!(counts(&[7, 8]), (0, 0, 0));
        assert_eq!(counts(&[1, 2, 6]), (3, 0, 0));
        assert_eq!(counts(&[5, 5, 6, 5, 7]), (0, 2, 0));
        assert_eq!(counts(&[1, 1, 0, 0]), (0, 2, 1));
        assert_eq!(counts(&[5, 1, 2]), (0, 0, 1));
        assert_eq!(counts(&[0, u64::MAX, 0]), (u64::MAX - 1, 0, 1));
        assert_eq!(counts(&[100_000, 100_000 - RESTART_DISTANCE + 1]), (0, 1, 0));
        assert_eq!(counts(&[100_000, 100_000 - RESTART_DISTANCE, 34_465]), (0, 0, 1));
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
