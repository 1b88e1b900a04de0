//! The figures of a run, and what is wrong with them. Durations are nanoseconds.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::tally::Tally;

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
    /// How many; in `churn` and `storm` those of the run itself too.
    pub opened: u64,
    /// How many could not be opened.
    pub failed: u64,
    /// How long it took; in `storm` until all were back.
    pub seconds: f64,
    /// Openings per second.
    pub per_second: f64,
    /// From `connect` to the end of the handshake.
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
    /// Messages that were damaged.
    pub damaged: u64,
    /// Messages that arrived per second.
    pub per_second: f64,
    /// How far the publisher fell behind its schedule at most.
    pub publisher_late_ns: u64,
    /// From publishing, or sending, to receipt.
    pub latency: Option<Quantiles>,
    /// From publishing to the receipt by the last of all receivers.
    pub last_receiver: Option<Quantiles>,
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
}

/// What the server has used.
#[derive(Clone, Debug, Serialize)]
pub struct ServerCost {
    /// Resident memory before the connections were opened.
    pub resident_before_bytes: u64,
    /// Resident memory with all of them open.
    pub resident_open_bytes: u64,
    /// The difference for each connection; none in `churn`, which holds none at that moment.
    pub resident_per_connection_bytes: Option<f64>,
    /// CPU time per second of opening: 1 is a core.
    pub cpu_opening_cores: f64,
    /// CPU time per second of the run.
    pub cpu_run_cores: f64,
    /// CPU time from the first message until the last has arrived, for each that did.
    pub cpu_per_delivery_ns: Option<f64>,
}

/// The figures of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Its name.
    pub scenario: &'static str,
    /// How many connections it was to have.
    pub connections: u32,
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
    /// The clients that did not read, if there were any.
    pub slow: Option<SlowShare>,
    /// Connections that were closed with a whole closing handshake of ours.
    pub closed_by_us: u64,
    /// How the server, or the network, closed connections.
    pub closes: BTreeMap<String, u64>,
    /// What the server has used, if it is known.
    pub server: Option<ServerCost>,
    /// What is wrong; empty exactly when the run was flawless.
    pub problems: Vec<String>,
    /// All latencies: of messages, or of handshakes if there were none.
    #[serde(skip)]
    pub latencies: Histogram<u64>,
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
        let mut last = super::tally::Latency::default();
        tally.last_receivers.iter().for_each(|&nanos| last.record(nanos));
        Self {
            published,
            expected,
            received: tally.received,
            lost: expected.saturating_sub(tally.received),
            duplicated: tally.repeated,
            reordered: tally.reordered,
            damaged: tally.damaged,
            per_second: tally.received as f64 / seconds.max(1e-9),
            publisher_late_ns: 0,
            latency: Quantiles::of(&tally.latency.0),
            last_receiver: Quantiles::of(&last.0),
        }
    }
}
