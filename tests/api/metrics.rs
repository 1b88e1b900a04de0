//! Promise: `/metrics` shows every line of every table, in well-formed families of the text format,
//! or of OpenMetrics for those who ask for it.

use std::collections::HashSet;

use tidegate::metrics::{FAN_OUT_BOUNDS_NANOS, Metric, Value};

use crate::edge::{Edge, Response};

#[test]
fn metrics_show_every_line_of_the_tables() {
    let edge = Edge::start(false);
    let mut expected = Vec::new();
    let mut value = 0;
    for (shard, table) in edge.shards.iter().enumerate() {
        expect_lines(&table.metrics(), Some(shard), &mut value, &mut expected);
    }
    expect_lines(&edge.ingest.metrics(), None, &mut value, &mut expected);
    expect_lines(&edge.tokens.metrics(), None, &mut value, &mut expected);
    let response = open_metrics(&edge);
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(response.header("content-type"), Some(content_type));
    let text = edge.get("/metrics");
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!((text.status, text.header("content-type")), (200, Some(content_type)));
    for line in &expected {
        for body in [&response.body, &text.body] {
            let count = body.lines().filter(|other| other == line).count();
            assert_eq!(count, 1, "{line} in\n{body}");
        }
    }
    let example = r#"tidegate_handshakes_total{result="accepted",shard="0"} "#;
    assert!(response.body.contains(example), "{}", response.body);
    assert!(response.body.contains("\ntidegate_build_info{version=\"1.2.3\"} 1\n"));
    assert!(response.body.ends_with("\n# EOF\n"));
}

/// The metrics as a scraper gets them that asks for OpenMetrics, as Prometheus does.
fn open_metrics(edge: &Edge) -> Response {
    let accept = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5";
    let response = edge.request("GET", "/metrics", &[("Accept", accept)], "");
    assert_eq!(response.status, 200);
    response
}

/// Gives each metric a value of its own and notes the lines that must show it.
fn expect_lines(
    table: &[Metric<'_>],
    shard: Option<usize>,
    next: &mut u64,
    lines: &mut Vec<String>,
) {
    for metric in table {
        *next += 1;
        let own = metric.label.map(|(name, value)| format!("{name}=\"{value}\""));
        let shard = shard.map(|shard| format!("shard=\"{shard}\""));
        let labels: Vec<_> = own.into_iter().chain(shard).collect();
        let labels = labels.join(",");
        let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let name = metric.name;
        match metric.value {
            Value::Counter(counter) => {
                counter.add(*next);
                lines.push(format!("{name}_total{braced} {next}"));
            }
            Value::Gauge(gauge) => {
                gauge.set(-(*next as i64));
                lines.push(format!("{name}{braced} -{next}"));
            }
            Value::Histogram(histogram) => {
                histogram.record(FAN_OUT_BOUNDS_NANOS[0]);
                histogram.record(FAN_OUT_BOUNDS_NANOS[2]);
                histogram.record(60_000_000_000);
                lines.push(format!("{name}_sum{braced} 60.0006"));
                lines.push(format!("{name}_count{braced} 3"));
                for (bound, count) in
                    [("0.0001", 1), ("0.00025", 1), ("0.0005", 2), ("30.0", 2), ("+Inf", 3)]
                {
                    let label = format!("le=\"{bound}\",{labels}");
                    lines.push(format!("{name}_bucket{{{label}}} {count}"));
                }
            }
        }
    }
}

#[test]
fn metrics_are_well_formed_families() {
    let edge = Edge::start(false);
    assert_families(&open_metrics(&edge).body, ("_total", "_info"));
    assert_families(&edge.get("/metrics").body, ("", ""));
}

/// Families are whole, documented, and named like their samples but for the ending of counters and
/// facts.
fn assert_families(body: &str, (counter, info): (&str, &str)) {
    let mut family = ("", "");
    let mut seen = HashSet::new();
    for line in body.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(help.ends_with('.') && !help.ends_with(".."), "{line}");
            assert!(seen.insert(name), "the family is torn: {name}");
            family = (name, "");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, family.0);
            family.1 = kind;
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let name = sample.split('{').next().unwrap();
            let suffix = name.strip_prefix(family.0).unwrap_or_else(|| panic!("{line}"));
            let suffixes: &[&str] = match family.1 {
                "counter" => &[counter],
                "gauge" => &[""],
                "info" => &[info],
                "histogram" => &["_sum", "_count", "_bucket"],
                kind => panic!("unknown type {kind}"),
            };
            assert!(suffixes.contains(&suffix), "{line}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
    for name in [
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
    ] {
        assert!(seen.contains(name), "{name} is missing");
    }
    assert!(seen.iter().any(|name| name.starts_with("process_cpu_seconds")), "{seen:?}");
}
