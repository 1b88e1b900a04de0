//! Renders the tables of `metrics` in the OpenMetrics text format.
//!
//! A collector reads the single-writer counters on each scrape, so nothing is registered twice and
//! nothing on the hot path knows about exposition. OpenMetrics wants all samples of a family in one
//! block, while families span shards and even tables; they are gathered by name first.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::api::process;
use crate::metrics::{
    ApiMetrics, FAN_OUT_BOUNDS_NANOS, Histogram, IngestMetrics, LogMetrics, Metric, ShardMetrics,
    TokenMetrics, Value,
};

const NANOS_PER_SECOND: f64 = 1e9;

/// A registry that exposes the tables of all threads and facts about the process.
pub(super) fn registry(
    version: &'static str,
    shards: Vec<Arc<ShardMetrics>>,
    (ingest, tokens): (Arc<IngestMetrics>, Arc<TokenMetrics>),
    (api, log): (Arc<ApiMetrics>, Arc<LogMetrics>),
) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Tables { shards, ingest, tokens, api, log }));
    registry.register_collector(Box::new(Process { version }));
    registry
}

#[derive(Debug)]
struct Tables {
    shards: Vec<Arc<ShardMetrics>>,
    ingest: Arc<IngestMetrics>,
    api: Arc<ApiMetrics>,
    tokens: Arc<TokenMetrics>,
    log: Arc<LogMetrics>,
}

/// Label names and values of one sample.
type Labels = Vec<(&'static str, String)>;

/// All samples of one name.
struct Family<'a> {
    name: &'static str,
    help: &'static str,
    samples: Vec<(Labels, Value<'a>)>,
}

impl Collector for Tables {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in self.families() {
            let kind = match family.samples[0].1 {
                Value::Counter(_) => MetricType::Counter,
                Value::Gauge(_) => MetricType::Gauge,
                Value::Histogram(_) => MetricType::Histogram,
            };
            let mut encoder = encoder.encode_descriptor(family.name, family.help, None, kind)?;
            for (labels, value) in &family.samples {
                if labels.is_empty() {
                    encode_value(&mut encoder, value)?;
                } else {
                    encode_value(&mut encoder.encode_family(labels)?, value)?;
                }
            }
        }
        Ok(())
    }
}

impl Tables {
    /// Every family once, in the order of the tables.
    fn families(&self) -> Vec<Family<'_>> {
        let shards = self.shards.iter().enumerate().flat_map(|(shard, table)| {
            table.metrics().into_iter().map(move |metric| (Some(shard), metric))
        });
        let (tokens, log) = (self.tokens.metrics(), self.log.metrics());
        let single = [self.ingest.metrics(), tokens, self.api.metrics(), log];
        let single = single.into_iter().flatten().map(|metric| (None, metric));
        let mut families: Vec<Family<'_>> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (shard, Metric { name, help, label, value }) in shards.chain(single) {
            let place = *places.entry(name).or_insert(families.len());
            if place == families.len() {
                families.push(Family { name, help, samples: Vec::new() });
            }
            let own = label.map(|(name, value)| (name, value.to_owned()));
            let labels = own.into_iter().chain(shard.map(|shard| ("shard", shard.to_string())));
            families[place].samples.push((labels.collect(), value));
        }
        families
    }
}

fn encode_value(encoder: &mut MetricEncoder<'_>, value: &Value<'_>) -> fmt::Result {
    match value {
        Value::Counter(counter) => {
            encoder.encode_counter::<NoLabelSet, _, u64>(&counter.value(), None)
        }
        Value::Gauge(gauge) => encoder.encode_gauge(&gauge.value()),
        Value::Histogram(histogram) => encode_histogram(encoder, histogram),
    }
}

fn encode_histogram(encoder: &mut MetricEncoder<'_>, histogram: &Histogram) -> fmt::Result {
    let counts = histogram.buckets();
    let bounds = FAN_OUT_BOUNDS_NANOS.iter().map(|&nanos| nanos as f64 / NANOS_PER_SECOND);
    // The encoder adds the buckets up, as `le` means.
    let buckets: Vec<(f64, u64)> = bounds.chain([f64::INFINITY]).zip(counts).collect();
    let sum = histogram.sum_nanos() as f64 / NANOS_PER_SECOND;
    encoder.encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)
}

#[derive(Debug)]
struct Process {
    version: &'static str,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "The running version of tidegate.";
        encoder
            .encode_descriptor("tidegate_build", help, None, MetricType::Info)?
            .encode_info(&[("version", self.version)])?;
        // A figure that this kernel does not tell is left out rather than shown as zero.
        let gauges = [
            (
                "process_resident_memory_bytes",
                "Memory of the process that is in RAM.",
                process::resident_bytes(),
            ),
            ("process_open_fds", "Open file descriptors.", process::open_fds()),
            ("process_max_fds", "Most file descriptors that may be open.", process::max_fds()),
            (
                "process_start_time_seconds",
                "When the process began, in seconds since 1970.",
                process::start_time_seconds(),
            ),
        ];
        for (name, help, value) in gauges {
            if let Some(value) = value {
                encoder
                    .encode_descriptor(name, help, None, MetricType::Gauge)?
                    .encode_gauge(&value)?;
            }
        }
        if let Some(seconds) = process::cpu_seconds() {
            let help = "Processor time that the process used, user and system.";
            encoder
                .encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?
                .encode_counter::<NoLabelSet, _, u64>(&seconds, None)?;
        }
        Ok(())
    }
}
