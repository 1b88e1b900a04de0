//! What clients have seen, and how the tallies of several processes add up.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest latency that is told apart from longer ones: a minute.
const LATENCY_NANOS_MAX: u64 = 60_000_000_000;

/// A tenth of a second.
const TENTH_NANOS: u64 = 100_000_000;

/// How many different reasons of closes and failures are counted apart.
const REASONS_MAX: usize = 16;

/// Nanoseconds, in a histogram of three digits.
#[derive(Clone, Debug)]
pub struct Latency(pub Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        let histogram = Histogram::new_with_max(LATENCY_NANOS_MAX, 3);
        Self(histogram.expect("three digits and a minute are within the crate's bounds"))
    }
}

impl Latency {
    /// Counts one.
    pub fn record(&mut self, nanos: u64) {
        self.0.saturating_record(nanos);
    }

    fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all histograms have the same bounds");
    }
}

impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let recorded = self.0.iter_recorded();
        serializer.collect_seq(
            recorded.map(|at| (at.value_iterated_to(), at.count_since_last_iteration())),
        )
    }
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut latency = Self::default();
        for (nanos, count) in Vec::<(u64, u64)>::deserialize(deserializer)? {
            latency.0.saturating_record_n(nanos, count);
        }
        Ok(latency)
    }
}

/// What happened, over all connections.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Connections that were opened, handshake included.
    pub opened: u64,
    /// Openings that failed.
    pub failed: u64,
    /// Connections that the server closed, or the network.
    pub closed: u64,
    /// Connections that were closed with a whole closing handshake that began here.
    pub closed_by_us: u64,
    /// Messages that the clients have sent.
    pub sent: u64,
    /// Messages that arrived, each counted once.
    pub received: u64,
    /// Messages that were left out: a later one came, and they have not come since.
    pub lost: u64,
    /// Messages that came after a later one.
    pub reordered: u64,
    /// Messages that came again.
    pub repeated: u64,
    /// Messages that were damaged, or came to who should not have them.
    pub damaged: u64,
    /// Subscriptions that the server ended so that they be made again.
    pub resubscribed: u64,
    /// Subscriptions that came back and were told that nothing is missing.
    pub recovered: u64,
    /// Subscriptions that came back and were told otherwise.
    pub not_recovered: u64,
    /// Messages among `received` that came with the answer to a subscription.
    pub through_recovery: u64,
    /// Messages that the latter have missed. They are not among `lost`.
    pub skipped: u64,
    /// From publishing, or from sending, to receipt.
    pub latency: Latency,
    /// The same of messages to one user, while nothing else is published.
    pub unicast_quiet: Latency,
    /// The same while something is.
    pub unicast_busy: Latency,
    /// From `connect` to the end of the opening handshake, or until everything is subscribed.
    pub handshake: Latency,
    /// For each message by its number: how long the last of its receivers waited. Empty unless
    /// asked for.
    pub last_receivers: Vec<u64>,
    /// When the latest message arrived, in nanoseconds of the clock that processes share.
    pub last_nanos: u64,
    /// When the latest connection was opened.
    pub last_opened_nanos: u64,
    /// Pings that came, by tenths of a second of the clock that processes share.
    pub pings: BTreeMap<u64, u64>,
    /// How the closed connections were closed.
    pub closes: BTreeMap<String, u64>,
    /// Why openings failed.
    pub failures: BTreeMap<String, u64>,
}

impl Tally {
    /// Whether nothing that came was wrong. That nothing is missing at the end shows only in
    /// `received`.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let wrong = [
            self.lost,
            self.reordered,
            self.repeated,
            self.damaged,
            self.closed,
            self.resubscribed,
            self.not_recovered,
        ];
        wrong.iter().all(|&count| count == 0)
    }

    /// Adds what another process has seen.
    pub fn add(&mut self, other: &Self) {
        self.opened += other.opened;
        self.failed += other.failed;
        self.closed += other.closed;
        self.closed_by_us += other.closed_by_us;
        self.sent += other.sent;
        self.received += other.received;
        self.lost += other.lost;
        self.reordered += other.reordered;
        self.repeated += other.repeated;
        self.damaged += other.damaged;
        self.resubscribed += other.resubscribed;
        self.recovered += other.recovered;
        self.not_recovered += other.not_recovered;
        self.through_recovery += other.through_recovery;
        self.skipped += other.skipped;
        self.latency.add(&other.latency);
        self.unicast_quiet.add(&other.unicast_quiet);
        self.unicast_busy.add(&other.unicast_busy);
        self.handshake.add(&other.handshake);
        for (number, &nanos) in other.last_receivers.iter().enumerate() {
            self.note_receiver(number, nanos);
        }
        self.last_nanos = self.last_nanos.max(other.last_nanos);
        self.last_opened_nanos = self.last_opened_nanos.max(other.last_opened_nanos);
        for (&tenth, &count) in &other.pings {
            *self.pings.entry(tenth).or_default() += count;
        }
        for (reasons, others) in
            [(&mut self.closes, &other.closes), (&mut self.failures, &other.failures)]
        {
            others.iter().for_each(|(reason, count)| count_reason(reasons, reason, *count));
        }
    }

    /// A ping came.
    pub(super) fn note_ping(&mut self, now: u64) {
        *self.pings.entry(now / TENTH_NANOS).or_default() += 1;
    }

    /// Pings of the whole tenths of a second between two times.
    pub(super) fn pings_between(&self, begin: u64, end: u64) -> Vec<u64> {
        let tenths = begin.div_ceil(TENTH_NANOS)..end / TENTH_NANOS;
        tenths.map(|tenth| self.pings.get(&tenth).copied().unwrap_or(0)).collect()
    }

    /// A receiver of message `number` waited so long.
    pub(super) fn note_receiver(&mut self, number: usize, nanos: u64) {
        if self.last_receivers.len() <= number {
            self.last_receivers.resize(number + 1, 0);
        }
        self.last_receivers[number] = self.last_receivers[number].max(nanos);
    }

    /// The server, or the network, ended a connection.
    pub(super) fn note_close(&mut self, reason: &str) {
        self.closed += 1;
        count_reason(&mut self.closes, reason, 1);
    }

    /// A connection could not be opened.
    pub(super) fn note_failure(&mut self, reason: &str) {
        self.failed += 1;
        count_reason(&mut self.failures, reason, 1);
    }
}

/// Reasons come from the server, so their number is bounded.
fn count_reason(reasons: &mut BTreeMap<String, u64>, reason: &str, count: u64) {
    let is_known = reasons.contains_key(reason) || reasons.len() < REASONS_MAX;
    let reason = if is_known { reason } else { "other reasons" };
    *reasons.entry(reason.to_owned()).or_default() += count;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_travel_and_add_up() {
        let mut one = Tally { received: 3, last_nanos: 9, ..Tally::default() };
        one.latency.record(1_000_000);
        one.note_receiver(1, 50);
        one.note_close("3008 slow");
        one.note_ping(250_000_000);
        let text = serde_json::to_string(&one).unwrap();
        let mut sum: Tally = serde_json::from_str(&text).unwrap();
        one.note_receiver(0, 70);
        sum.add(&one);
        assert_eq!((sum.received, sum.closed, sum.last_nanos), (6, 2, 9));
        assert_eq!((sum.last_receivers.as_slice(), sum.closes["3008 slow"]), (&[70, 50][..], 2));
        assert_eq!((sum.latency.0.len(), sum.is_clean()), (2, false));
        assert_eq!(sum.pings_between(50_000_000, 450_000_000), [0, 2, 0]);
    }

    #[test]
    fn reasons_are_bounded() {
        let mut tally = Tally::default();
        (0..100).for_each(|number| tally.note_failure(&number.to_string()));
        assert_eq!((tally.failures.len(), tally.failures["other reasons"]), (17, 84));
    }
}
