//! All metrics, once: name, help, label and kind stand beside the field that counts.
//!
//! Each thread counts into a struct of its own and nobody else writes to it, so counting is a
//! plain addition without a lock prefix; the control plane reads all structs on scrape. Names are
//! `tidegate_<noun>_<unit>[_total]`, units are base units, and labels only take values from small
//! fixed sets, never channels or users.

mod table;
mod value;

pub use table::{ApiMetrics, HttpMetrics, IngestMetrics, LogMetrics, ShardMetrics, TokenMetrics};
pub use value::{Counter, FAN_OUT_BOUNDS_NANOS, Gauge, Histogram};

/// What the field of a metric is, borrowed for a scrape.
#[derive(Debug)]
pub enum Value<'a> {
    /// Only grows.
    Counter(&'a Counter),
    /// Goes up and down.
    Gauge(&'a Gauge),
    /// Durations in seconds.
    Histogram(&'a Histogram),
}

/// One line of the table: a field, and how it is exposed. Lines of the same name form a family.
#[derive(Debug)]
pub struct Metric<'a> {
    /// Name of the family, with the unit and, for counters, without `_total`.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// A label with a fixed value, where the family has one.
    pub label: Option<(&'static str, &'static str)>,
    /// The number itself.
    pub value: Value<'a>,
}
