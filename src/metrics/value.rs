//! Counters, gauges and histograms with a single writer.
//!
//! `load` and `store` instead of `fetch_add`: with one writer nothing can be lost in between, and
//! no bus lock is paid for on the hot path.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it. Only the owning thread may call this.
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// The number now; any thread may read it.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Adds to it, or takes away. Only the owning thread may call this.
    pub fn add(&self, difference: i64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(difference), Ordering::Relaxed);
    }

    /// Sets it. Only the owning thread may call this.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The number now; any thread may read it.
    pub fn value(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the buckets of [`Histogram`]: 100 microseconds to 30 seconds.
pub const FAN_OUT_BOUNDS_NANOS: [u64; 16] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    10_000_000_000,
    30_000_000_000,
];

/// Durations by fixed buckets; the last bucket has no bound.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; FAN_OUT_BOUNDS_NANOS.len() + 1],
    sum_nanos: Counter,
}

impl Histogram {
    /// Counts one duration. Only the owning thread may call this.
    pub fn record(&self, nanos: u64) {
        let bucket = FAN_OUT_BOUNDS_NANOS.partition_point(|&bound| bound < nanos);
        self.buckets[bucket].increment();
        self.sum_nanos.add(nanos);
    }

    /// How many durations fell into each bucket (not cumulative).
    pub fn buckets(&self) -> [u64; FAN_OUT_BOUNDS_NANOS.len() + 1] {
        std::array::from_fn(|bucket| self.buckets[bucket].value())
    }

    /// All durations added up.
    pub fn sum_nanos(&self) -> u64 {
        self.sum_nanos.value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_their_buckets() {
        let histogram = Histogram::default();
        for nanos in [1, 100_000, 100_001, u64::MAX / 2] {
            histogram.record(nanos);
        }
        let buckets = histogram.buckets();
        assert_eq!((buckets[0], buckets[1], buckets[16]), (2, 1, 1));
    }
}
