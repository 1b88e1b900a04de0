//! The figures of a run, and what is wrong with them. Durations are nanoseconds.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::cost::{KernelCost, ServerCost};
use crate::tally::Tally;
use tidegate_doctor::Finding;

/// A distribution in six figures.
#[derive(Clone, Debug, Serialize)]
pub struct Quantiles {
    /// How many were counted.
    pub count: u64,
    /// Half took at most so long.
    pub p50_ns: u64,
    /// Nine of ten.
    pub p90_ns: u64,
    /// All but one in a hundred.
    pub p99_ns: u64,
    /// All but one in a thousand.
    pub p999_ns: u64,
    /// The slowest.
    pub max_ns: u64,
}

impl Quantiles {
    /// Of a histogram that is not empty.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| histogram.value_at_quantile(quantile);
        (!histogram.is_empty()).then(|| Self {
            count: histogram.len(),
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            max_ns: histogram.max(),
        })
    }
}

/// How the connections were opened.
#[derive(Clone, Debug, Serialize)]
pub struct Opening {
    /// How many; in `churn` those of the run itself too, in `storm` and `recover` those that are
    /// back.
    pub opened: u64,
    /// How many could not be opened.
    pub failed: u64,
    /// How long it took; in `storm` and `recover` until all were back, with what they had missed.
    pub seconds: f64,
    /// Openings per second.
    pub per_second: f64,
    /// From `connect` to the end of the handshake, or until everything is subscribed.
    pub handshake: Option<Quantiles>,
    /// Why openings failed.
    pub failures: BTreeMap<String, u64>,
}

/// What became of messages.
#[derive(Clone, Debug, Serialize)]
pub struct Delivery {
    /// Messages that were published, or sent by clients.
    pub published: u64,
    /// Messages that should arrive, over all connections.
    pub expected: u64,
    /// Messages that arrived, each counted once on each connection.
    pub received: u64,
    /// Messages that did not.
    pub lost: u64,
    /// Messages that arrived again.
    pub duplicated: u64,
    /// Messages that arrived after a later one.
    pub reordered: u64,
    /// Messages that were damaged, or came to who should not have them.
    pub damaged: u64,
    /// Messages that arrived per second.
    pub per_second: f64,
    /// How far the publisher fell behind its schedule at most.
    pub publisher_late_ns: u64,
    /// From publishing, or sending, to receipt.
    pub latency: Option<Quantiles>,
    /// From publishing to the receipt by the last of all receivers.
    pub last_receiver: Option<Quantiles>,
    /// In `mixed`: from publishing to one user to the receipt, while nothing else happens.
    pub unicast_quiet: Option<Quantiles>,
    /// In `mixed`: the same while broadcasts are under way.
    pub unicast_busy: Option<Quantiles>,
}

/// The clients that did not read.
#[derive(Clone, Debug, Serialize)]
pub struct SlowShare {
    /// How many.
    pub connections: u64,
    /// How many are open still.
    pub still_open: u64,
    /// Messages that they found when they read again.
    pub received: u64,
    /// Messages that were missing in between, which never may be.
    pub gaps: u64,
    /// How often a subscription was ended so that it be made again.
    pub resubscribed: u64,
    /// How many of those were told that nothing is missing.
    pub recovered: u64,
}

/// What became of subscriptions that came back after a cut, and of their messages.
#[derive(Clone, Debug, Serialize)]
pub struct Recovery {
    /// How many came back, each counted as often as it did.
    pub subscriptions: u64,
    /// How many were told that nothing is missing.
    pub recovered: u64,
    /// That part of all.
    pub share: f64,
    /// Messages that came with the answer to the subscription.
    pub through_recovery: u64,
    /// Messages that came by themselves, before the cut or after it.
    pub live: u64,
    /// Messages that those have missed who were told that something is missing.
    pub skipped: u64,
    /// CPU time of the servers per second until all were back: 1 is a core.
    pub cpu_cores: Option<f64>,
    /// CPU time of the servers in that time for each connection.
    pub cpu_per_connection_ns: Option<f64>,
}

/// Pings that clients have received.
#[derive(Clone, Debug, Serialize)]
pub struct Pings {
    /// All of them.
    pub count: u64,
    /// In a tenth of a second: the fewest.
    pub min: u64,
    /// In a tenth of a second: the median.
    pub median: u64,
    /// In a tenth of a second: the most, but for one in a hundred.
    pub p99: u64,
    /// In a tenth of a second: the most.
    pub max: u64,
    /// Tenth of a second after tenth of a second.
    pub per_100_ms: Vec<u64>,
}

impl Pings {
    /// From whole tenths of a second; none if there are none.
    #[must_use]
    pub fn of(per_100_ms: Vec<u64>) -> Option<Self> {
        let mut sorted = per_100_ms.clone();
        sorted.sort_unstable();
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let (median, p99) = (sorted[sorted.len() / 2], sorted[sorted.len() * 99 / 100]);
        Some(Self { count: sorted.iter().sum(), min, median, p99, max, per_100_ms })
    }
}

/// The figures of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Its name.
    pub scenario: &'static str,
    /// What connections spoke.
    pub protocol: &'static str,
    /// How many connections it was to have.
    pub connections: u32,
    /// How many channels they shared.
    pub channels: u32,
    /// How many of those each connection was in.
    pub channels_each: u32,
    /// Processes that held them.
    pub processes: u32,
    /// Whether there were several because of the limit of descriptors, and not because of a wish.
    pub processes_were_needed: bool,
    /// Servers that were started.
    pub servers_started: usize,
    /// How long it ran after opening.
    pub seconds: f64,
    /// How the connections were opened.
    pub opening: Opening,
    /// What became of messages, if there were any.
    pub delivery: Option<Delivery>,
    /// How they came back, in `recover`.
    pub recovery: Option<Recovery>,
    /// The clients that did not read, if there were any.
    pub slow: Option<SlowShare>,
    /// Connections that were closed with a whole closing handshake of ours.
    pub closed_by_us: u64,
    /// How the server, or the network, closed connections.
    pub closes: BTreeMap<String, u64>,
    /// Pings while connections were held, in `idle`.
    pub pings: Option<Pings>,
    /// What the servers have used, if it is known.
    pub server: Option<ServerCost>,
    /// What the kernel holds for connections; none in `churn`, which holds none.
    pub kernel: Option<KernelCost>,
    /// What the host lacks for so many connections, if anything.
    pub host: Vec<Finding>,
    /// What is wrong; empty exactly when the run was flawless.
    pub problems: Vec<String>,
    /// All latencies: of messages, or of handshakes if there were none.
    #[serde(skip)]
    pub latencies: Histogram<u64>,
}

impl Recovery {
    pub(super) fn of(tally: &Tally) -> Self {
        let subscriptions = tally.recovered + tally.not_recovered;
        Self {
            subscriptions,
            recovered: tally.recovered,
            share: tally.recovered as f64 / subscriptions.max(1) as f64,
            through_recovery: tally.through_recovery,
            live: tally.received - tally.through_recovery,
            skipped: tally.skipped,
            cpu_cores: None,
            cpu_per_connection_ns: None,
        }
    }
}

impl Delivery {
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        let counts = [
            (self.lost, "lost"),
            (self.duplicated, "delivered twice"),
            (self.reordered, "delivered after a later one"),
            (self.damaged, "damaged"),
        ];
        let wrong = counts.into_iter().filter(|(count, _)| *count > 0);
        wrong.map(|(count, what)| format!("{count} messages were {what}"))
    }

    /// Of clients that should have received `expected`.
    pub(super) fn of(tally: &Tally, expected: u64, published: u64, seconds: f64) -> Self {
        let mut last = crate::tally::Latency::default();
        tally.last_receivers.iter().for_each(|&nanos| last.record(nanos));
        Self {
            published,
            expected,
            received: tally.received,
            lost: expected.saturating_sub(tally.received + tally.skipped),
            duplicated: tally.repeated,
            reordered: tally.reordered,
            damaged: tally.damaged,
            per_second: tally.received as f64 / seconds.max(1e-9),
            publisher_late_ns: 0,
            latency: Quantiles::of(&tally.latency.0),
            last_receiver: Quantiles::of(&last.0),
            unicast_quiet: Quantiles::of(&tally.unicast_quiet.0),
            unicast_busy: Quantiles::of(&tally.unicast_busy.0),
        }
    }
}
