//! What the runs met: a promise that was never put to the test is not proved by passing.

use std::collections::BTreeMap;

/// How often each situation occurred.
#[derive(Debug, Default)]
pub(crate) struct Coverage(BTreeMap<String, u64>);

/// What a couple of hundred seeds of the hubs must meet.
pub(crate) const SITUATIONS: [&str; 20] = [
    "closing: Command",
    "closing: Evicted",
    "closing: Hoarding",
    "closing: Peer",
    "closing: Slow",
    "close frame: slow: too far behind",
    "close frame: slow: too much is waiting",
    "close frame: slow: others need the memory",
    "close frame: slow: too old",
    "refused session",
    "congested shard",
    "full batch",
    "short write",
    "short write in a large frame",
    "publication for a stay that has ended",
    "publication not for everybody",
    "unknown client",
    "confirmation by another shard",
    "parked envelope",
    "other settings",
];

impl Coverage {
    /// Something occurred.
    pub(crate) fn note(&mut self, situation: impl Into<String>) {
        *self.0.entry(situation.into()).or_default() += 1;
    }

    /// Adds what another run met.
    pub(crate) fn add(&mut self, other: &Self) {
        for (situation, count) in &other.0 {
            *self.0.entry(situation.clone()).or_default() += count;
        }
    }

    /// Everything that should have occurred did, and more than once.
    pub(crate) fn check(&self, situations: &[&str]) {
        for &situation in situations {
            assert!(self.0.get(situation).is_some_and(|&count| count > 1), "never: {situation}");
        }
    }
}
