//! Tables of README that are made from the program: options and metrics.
//!
//! Nobody keeps them by hand. Options come from what `tidegate default-config` prints, metrics
//! from the tables that count. A row that is wrong or missing is a finding that shows the right
//! row, to be copied; a row of something that does not exist is one too.

use std::collections::BTreeMap;
use std::process::Command;

use tidegate::metrics::{IngestMetrics, Metric, ShardMetrics, Value};

use crate::source::{Finding, assert_clean, in_file, read};

pub(crate) fn assert_options() {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .arg("default-config")
        .output()
        .expect("the binary was built for this test");
    let rows = option_rows(&String::from_utf8_lossy(&output.stdout));
    assert!(!rows.is_empty(), "`tidegate default-config` prints no options");
    assert_clean(differences(&read("README.md"), "## Options", &rows));
}

pub(crate) fn assert_metrics() {
    let (shard, ingest) = (ShardMetrics::default(), IngestMetrics::default());
    let mut rows = metric_rows(&shard.metrics(), Some("shard"));
    for (name, row) in metric_rows(&ingest.metrics(), None) {
        // A family of both tables is described with the first, whose labels are more.
        if !rows.iter().any(|(known, _)| *known == name) {
            rows.push((name, row));
        }
    }
    assert_clean(differences(&read("README.md"), "## Metrics", &rows));
}

/// What a table below a heading lacks, and what it has too much. Rows are known by their name.
fn differences(readme: &str, heading: &str, rows: &[(String, String)]) -> Vec<Finding> {
    let is_heading = |line: &&str| line.trim_end() == heading;
    let start = readme.lines().position(|line| is_heading(&line)).map_or(0, |line| line + 1);
    let table: Vec<(usize, &str)> = readme
        .lines()
        .enumerate()
        .skip(start)
        .take_while(|(_, line)| !line.starts_with("## "))
        .filter(|(_, line)| line.starts_with("| `"))
        .collect();
    let mut findings = Vec::new();
    for (_, row) in rows {
        if !table.iter().any(|(_, line)| line == row) {
            let what = format!("the table below `{heading}` lacks this row:\n{row}");
            findings.push(in_file("README.md", start, what));
        }
    }
    for (index, line) in table {
        let name = line.trim_start_matches("| `").split('`').next().unwrap_or_default();
        if !rows.iter().any(|(known, _)| known == name) {
            let what = format!("the program has no `{name}`: delete the row");
            findings.push(in_file("README.md", index + 1, what));
        }
    }
    findings
}

/// Name and row of each option in a commented TOML file. A key that is commented out is an option
/// too. Of several tables in a list only the first is documented.
fn option_rows(config: &str) -> Vec<(String, String)> {
    let (mut section, mut about, mut takes) = (String::new(), Vec::new(), "");
    let mut rows: Vec<(String, String)> = Vec::new();
    for line in config.lines() {
        let line = line.trim_start_matches(['#', ' ']).trim_end();
        if line.starts_with('[') && line.ends_with(']') {
            section = line.trim_matches(['[', ']']).to_owned();
            about.clear();
        } else if let Some(form) = line.strip_prefix("Takes ") {
            takes = form;
        } else if let Some(key) = key_of(line) {
            let name = format!("{section}.{key}");
            if !rows.iter().any(|(known, _)| *known == name) {
                let row = option_row(&name, &about.join(" "), takes);
                rows.push((name, row));
            }
            about.clear();
        } else if line.is_empty() {
            about.clear();
        } else {
            about.push(line);
        }
    }
    rows
}

/// The key of a line `key = value`.
fn key_of(line: &str) -> Option<&str> {
    let (key, _) = line.split_once(" =")?;
    let is_key = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    (!key.is_empty() && key.chars().all(is_key)).then_some(key)
}

fn option_row(name: &str, about: &str, takes: &str) -> String {
    let takes = takes.trim_end_matches('.');
    let (form, default) = takes.rsplit_once("; ").unwrap_or((takes, ""));
    let default = match default.strip_prefix("default ") {
        Some(value) => format!("`{value}`"),
        None => default.to_owned(),
    };
    format!("| `{name}` | {default} | {form} | {about} |")
}

/// Name and row of each family.
fn metric_rows(metrics: &[Metric<'_>], own_label: Option<&str>) -> Vec<(String, String)> {
    let mut order = Vec::new();
    let mut families: BTreeMap<&str, (&Metric<'_>, Vec<&str>)> = BTreeMap::new();
    for metric in metrics {
        let family = families.entry(metric.name).or_insert_with(|| {
            order.push(metric.name);
            (metric, Vec::new())
        });
        family.1.extend(metric.label.map(|(_, value)| value));
    }
    order.into_iter().map(|name| metric_row(&families[name], own_label)).collect()
}

fn metric_row(
    (metric, values): &(&Metric<'_>, Vec<&str>),
    own_label: Option<&str>,
) -> (String, String) {
    let (kind, suffix) = match metric.value {
        Value::Counter(_) => ("counter", "_total"),
        Value::Gauge(_) => ("gauge", ""),
        Value::Histogram(_) => ("histogram", ""),
    };
    let label = metric.label.map(|(label, _)| format!("`{label}` ({})", values.join(", ")));
    let own_label = own_label.map(|label| format!("`{label}`"));
    let labels: Vec<String> = label.into_iter().chain(own_label).collect();
    let name = format!("{}{suffix}", metric.name);
    let row = format!("| `{name}` | {kind} | {} | {} |", labels.join(", "), metric.help);
    (name, row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_rows() {
        let config = "# Prose = not lower case.\n\n# All of it.\n[websocket]\n\
                      # Longest message,\n# in bytes.\n\
                      # Takes a size; default \"64KiB\".\nmessage_bytes_max = \"64KiB\"\n\
                      # An origin.\n# Takes text; not set by default.\n# origin = \"\"\n\
                      [[ingest.endpoints]]\n# Kind.\n# Takes a kind; must be set.\n\
                      kind = \"sub\"\n\n[[ingest.endpoints]]\nkind = \"pull\"";
        let rows: Vec<String> = option_rows(config).into_iter().map(|(_, row)| row).collect();
        let expected = [
            "| `websocket.message_bytes_max` | `\"64KiB\"` | a size | Longest message, in bytes. |",
            "| `websocket.origin` | not set by default | text | An origin. |",
            "| `ingest.endpoints.kind` | must be set | a kind | Kind. |",
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn rows_are_compared_below_their_heading_only() {
        let rows = [("a".to_owned(), "| `a` | 1 |".to_owned())];
        assert_eq!(
            differences("| `b` |\n## T\n| `a` | 1 |\n## U\n| `c` |", "## T", &rows).len(),
            0
        );
        assert_eq!(differences("## T\n| `a` | 2 |\n| `b` | 1 |", "## T", &rows).len(), 2);
        assert_eq!(differences("## U\n| `x` |", "## T", &rows).len(), 1);
    }
}
