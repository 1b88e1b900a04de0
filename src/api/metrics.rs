//! Renders the tables of `metrics` in the OpenMetrics text format, or in its predecessor, the text
//! format 0.0.4, which everybody reads.
//!
//! A collector reads the single-writer counters on each scrape, so nothing is registered twice and
//! nothing on the hot path knows about exposition. OpenMetrics wants all samples of a family in one
//! block, while families span shards and even tables; they are gathered by name first.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::http::header::{ACCEPT, HeaderMap};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use tokio::task::yield_now;
use tokio::time::Instant;

use crate::api::process;
use crate::metrics::{
    ApiMetrics, FAN_OUT_BOUNDS_NANOS, Histogram, HttpMetrics, IngestMetrics, LogMetrics, Metric,
    ShardMetrics, TokenMetrics, Value,
};

const NANOS_PER_SECOND: f64 = 1e9;

/// A registry that exposes the tables of all threads and facts about the process.
pub(super) fn registry(
    version: &'static str,
    shards: Vec<Arc<ShardMetrics>>,
    (ingest, tokens): (Arc<IngestMetrics>, Arc<TokenMetrics>),
    (api, http): (Arc<ApiMetrics>, Arc<HttpMetrics>),
    log: Arc<LogMetrics>,
) -> Registry {
    let mut registry = Registry::default();
    let tables = Tables { shards, ingest, tokens, api, http, log };
    registry.register_collector(Box::new(tables));
    registry.register_collector(Box::new(Process { version }));
    registry
}

/// The metrics as they were rendered last. Those who ask at the same time share a rendering, so
/// that many scrapes at once cost no more than one.
#[derive(Debug, Default)]
pub(super) struct Page(Mutex<Option<Rendered>>);

/// One rendering.
#[derive(Debug)]
struct Rendered {
    begun: Instant,
    open: Bytes,
    text: Bytes,
}

impl Page {
    /// The metrics as they are now.
    pub(super) async fn get(
        &self,
        registry: &Registry,
        format: Format,
    ) -> Result<Bytes, fmt::Error> {
        let asked = Instant::now();
        // Whoever else asks in this round of the runtime has done so when the first goes on.
        yield_now().await;
        let mut page = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rendered = match page.take() {
            Some(rendered) if rendered.begun > asked => rendered,
            _ => Rendered::new(registry)?,
        };
        let rendered = page.insert(rendered);
        Ok(match format {
            Format::Text => rendered.text.clone(),
            Format::OpenMetrics => rendered.open.clone(),
        })
    }
}

impl Rendered {
    fn new(registry: &Registry) -> Result<Self, fmt::Error> {
        let begun = Instant::now();
        let mut open = String::new();
        encode(&mut open, registry)?;
        let text = text_format(&open).into();
        Ok(Self { begun, open: open.into(), text })
    }
}

/// A format of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// The text format 0.0.4.
    Text,
    /// OpenMetrics, for those who ask for it.
    OpenMetrics,
}

impl Format {
    /// What the `Accept` header of a request asks for.
    pub(super) fn wanted(headers: &HeaderMap) -> Self {
        let (mut open, mut text) = (0.0, 0.0);
        let lines = headers.get_all(ACCEPT).into_iter().filter_map(|line| line.to_str().ok());
        for range in lines.flat_map(|line| line.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
            let best = match kind.as_str() {
                "application/openmetrics-text" => &mut open,
                "text/plain" => &mut text,
                _ => continue,
            };
            *best = f32::max(*best, quality.unwrap_or(1.0));
        }
        if open > 0.0 && open >= text { Self::OpenMetrics } else { Self::Text }
    }

    /// What the answer says that it is.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The text format 0.0.4 of metrics in OpenMetrics. Samples are the same in both; a family has the
/// name of its samples, and there is no type of its own for facts.
fn text_format(open: &str) -> String {
    let mut text = String::with_capacity(open.len());
    let mut help = "";
    for line in open.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, "untyped"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                _ => ("", kind),
            };
            let written =
                writeln!(text, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}");
            written.expect("a string takes everything");
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[derive(Debug)]
struct Tables {
    shards: Vec<Arc<ShardMetrics>>,
    ingest: Arc<IngestMetrics>,
    api: Arc<ApiMetrics>,
    tokens: Arc<TokenMetrics>,
    http: Arc<HttpMetrics>,
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
        let (ingest, tokens, log) =
            (self.ingest.metrics(), self.tokens.metrics(), self.log.metrics());
        let single = [ingest, tokens, self.api.metrics(), self.http.metrics(), log];
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

#[cfg(test)]
mod tests {
    use axum::http::header::HeaderValue;

    use super::*;

    #[test]
    fn open_metrics_are_for_those_who_ask_for_them() {
        use Format::{OpenMetrics, Text};
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,\
            text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        let classic = "text/plain;version=0.0.4;q=0.5,application/openmetrics-text;q=0.3";
        for (accept, format) in [
            (prometheus, OpenMetrics),
            ("application/openmetrics-text", OpenMetrics),
            ("Application/OpenMetrics-Text; version=1.0.0", OpenMetrics),
            (classic, Text),
            ("application/openmetrics-text;q=0", Text),
            ("text/plain", Text),
            ("*/*", Text),
            ("text/html, */*;q=0.8", Text),
            ("", Text),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(Format::wanted(&headers), format, "{accept}");
        }
        assert_eq!(Format::wanted(&HeaderMap::new()), Text);
    }

    #[test]
    fn families_of_the_text_format_have_the_names_of_their_samples() {
        let open = "# HELP a Things.\n# TYPE a counter\na_total{b=\"c\"} 1\n\
            # HELP d More.\n# TYPE d gauge\nd 2\n\
            # HELP e Version.\n# TYPE e info\ne_info{v=\"1\"} 1\n# EOF\n";
        let text = "# HELP a_total Things.\n# TYPE a_total counter\na_total{b=\"c\"} 1\n\
            # HELP d More.\n# TYPE d gauge\nd 2\n\
            # HELP e_info Version.\n# TYPE e_info gauge\ne_info{v=\"1\"} 1\n";
        assert_eq!(text_format(open), text);
    }
}
