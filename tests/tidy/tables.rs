//! Tables of the reference that are made from the program: commands, options and metrics.
//!
//! Nobody keeps them by hand. Commands and flags come from their `--help`, options from what
//! `tidegate default-config` prints, metrics from the tables that count. A row that is wrong or
//! missing is a finding that shows the right row, to be copied; a row of something that does not
//! exist is one too.

use std::process::Command;

use tidegate::metrics::{
    ApiMetrics, HttpMetrics, IngestMetrics, LogMetrics, Metric, ShardMetrics, TokenMetrics, Value,
};

use crate::book::pages;
use crate::source::{Finding, assert_clean, in_file, read};

pub(crate) const METRICS_PAGE: &str = "docs/reference/metrics.md";

const COMMANDS: Table = Table { page: "docs/reference/commands.md", heading: "# Commands" };
const OPTIONS: Table = Table { page: "docs/reference/options.md", heading: "## All options" };
const METRICS: Table = Table { page: METRICS_PAGE, heading: "## All metrics" };

/// Where a table stands: below this heading, up to the next `## `.
struct Table {
    page: &'static str,
    heading: &'static str,
}

/// What the program prints.
fn printed(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(arguments)
        .output()
        .expect("the binary was built for this test");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn assert_commands() {
    let helps: [&[&str]; 3] = [&["--help"], &["serve", "--help"], &["check-config", "--help"]];
    let mut rows: Vec<(String, String)> = Vec::new();
    for row in helps.iter().flat_map(|arguments| help_rows(&printed(arguments))) {
        // What each command says of itself in the same words stands once.
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    assert!(rows.len() > 15, "`tidegate --help` lists commands and flags: {rows:?}");
    assert_clean(COMMANDS.differences(&read(COMMANDS.page), &rows));
}

pub(crate) fn assert_options() {
    let rows = option_rows(&printed(&["default-config"]));
    assert!(!rows.is_empty(), "`tidegate default-config` prints no options");
    assert_clean(OPTIONS.differences(&read(OPTIONS.page), &rows));
}

/// An option that a page names in code exists.
pub(crate) fn assert_named_options() {
    let rows = option_rows(&printed(&["default-config"]));
    let names: Vec<&str> = rows.iter().map(|(name, _)| name.as_str()).collect();
    let mut findings = Vec::new();
    for (path, text) in pages() {
        for (index, line) in text.lines().enumerate() {
            for name in unknown_options(line, &names) {
                let what = format!("no option `{name}`: correct its name or delete it");
                findings.push(in_file(&path, index + 1, what));
            }
        }
    }
    assert_clean(findings);
}

pub(crate) fn assert_metrics() {
    let (shard, ingest) = (ShardMetrics::default(), IngestMetrics::default());
    let (tokens, api) = (TokenMetrics::default(), ApiMetrics::default());
    let (http, log) = (HttpMetrics::default(), LogMetrics::default());
    let own_label = Some("shard");
    let metrics = shard.metrics().into_iter().map(|metric| (metric, own_label));
    let single = [ingest.metrics(), tokens.metrics(), api.metrics(), http.metrics(), log.metrics()];
    let metrics = metrics.chain(single.into_iter().flatten().map(|metric| (metric, None)));
    let rows = metric_rows(&metrics.collect::<Vec<_>>());
    assert_clean(METRICS.differences(&read(METRICS.page), &rows));
}

impl Table {
    /// What the table lacks, and what it has too much. Rows are known by their name.
    fn differences(&self, text: &str, rows: &[(String, String)]) -> Vec<Finding> {
        let is_heading = |line: &str| line.trim_end() == self.heading;
        let start = text.lines().position(is_heading).map_or(0, |line| line + 1);
        let table: Vec<(usize, &str)> = text
            .lines()
            .enumerate()
            .skip(start)
            .take_while(|(_, line)| !line.starts_with("## "))
            .filter(|(_, line)| line.starts_with("| `"))
            .collect();
        let mut findings = Vec::new();
        for (_, row) in rows {
            if !table.iter().any(|(_, line)| line == row) {
                let what = format!("the table below `{}` lacks this row:\n{row}", self.heading);
                findings.push(in_file(self.page, start, what));
            }
        }
        for (index, line) in table {
            let name = line.trim_start_matches("| `").split('`').next().unwrap_or_default();
            if !rows.iter().any(|(known, _)| known == name) {
                let what = format!("the program has no `{name}`: delete the row");
                findings.push(in_file(self.page, index + 1, what));
            }
        }
        findings
    }
}

/// Name and row of each command and flag in a help text, but for those of the help itself.
fn help_rows(help: &str) -> Vec<(String, String)> {
    let mut items: Vec<(String, String)> = Vec::new();
    for line in help.lines().skip_while(|line| !line.ends_with("ns:") && !line.ends_with("ds:")) {
        let (indent, text) = (line.len() - line.trim_start().len(), line.trim());
        let is_item = (2..=6).contains(&indent) && !text.starts_with('[');
        let (name, about) = text.split_once("  ").unwrap_or((text, ""));
        match items.last_mut() {
            _ if indent == 0 => {}
            _ if is_item => items.push((name.to_owned(), about.trim().to_owned())),
            Some((_, about)) => {
                about.push(' ');
                about.push_str(text);
            }
            None => {}
        }
    }
    let is_own =
        |name: &str| name != "help" && !name.starts_with("-h,") && !name.starts_with("-V,");
    let items = items.into_iter().filter(|(name, _)| is_own(name));
    items
        .map(|(name, about)| {
            // Variables have a place of their own on the page of options.
            let about = about.split(" [env:").next().unwrap_or_default().trim();
            let row = format!("| `{name}` | {about}. |");
            (name, row)
        })
        .collect()
}

/// Name and row of each option in a commented TOML file. A key that is commented out is an option
/// too. Of several tables in a list, and of sections with the same options, only the first is
/// documented.
fn option_rows(config: &str) -> Vec<(String, String)> {
    let (mut section, mut about) = (String::new(), Vec::new());
    let (mut takes, mut change) = ("", "");
    let mut rows: Vec<(String, String)> = Vec::new();
    for line in config.lines() {
        let line = line.trim_start_matches(['#', ' ']).trim_end();
        if line.starts_with('[') && line.ends_with(']') {
            section = line.trim_matches(['[', ']']).to_owned();
            about.clear();
        } else if let Some(form) = line.strip_prefix("Takes ") {
            takes = form;
        } else if let Some(word) = line.strip_prefix("Change: ") {
            change = word.trim_end_matches('.');
        } else if let Some(key) = key_of(line) {
            let name = format!("{section}.{key}");
            let is_known = |(known, _): &(String, String)| match takes {
                // Without documentation it is the same as that of an earlier section.
                "" => known.ends_with(&format!(".{key}")),
                _ => *known == name,
            };
            if !rows.iter().any(is_known) {
                let row = option_row(&name, &about.join(" "), (takes, change));
                rows.push((name, row));
            }
            (about, takes) = (Vec::new(), "");
        } else if line.is_empty() {
            about.clear();
        } else {
            about.push(line);
        }
    }
    rows
}

/// What stands between backticks and has the form and the section of an option, but is none.
fn unknown_options<'a>(line: &'a str, names: &[&str]) -> Vec<&'a str> {
    let section_of = |name: &str| name.split('.').next().map(str::to_owned);
    let is_of_form = |name: &str| {
        name.contains('.') && name.chars().all(|c| c.is_ascii_lowercase() || "._".contains(c))
    };
    let is_known = |name: &str| {
        let is_below = |known: &str| known.strip_prefix(name).is_some_and(|r| r.starts_with('.'));
        names.iter().any(|known| *known == name || is_below(known))
    };
    let spans = line.split('`').skip(1).step_by(2);
    let words = spans.filter_map(|span| span.split([' ', '=']).next());
    words
        .filter(|name| is_of_form(name) && !is_known(name))
        .filter(|name| names.iter().any(|known| section_of(known) == section_of(name)))
        .collect()
}

/// The key of a line `key = value`.
fn key_of(line: &str) -> Option<&str> {
    let (key, _) = line.split_once(" =")?;
    let is_key = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    (!key.is_empty() && key.chars().all(is_key)).then_some(key)
}

fn option_row(name: &str, about: &str, (takes, change): (&str, &str)) -> String {
    let takes = takes.trim_end_matches('.');
    let (form, default) = takes.rsplit_once("; ").unwrap_or((takes, ""));
    let default = match default.strip_prefix("default ") {
        Some(value) => format!("`{value}`"),
        None => default.to_owned(),
    };
    format!("| `{name}` | {default} | {form} | {change} | {about} |")
}

/// A metric, and the label that its table adds to every sample.
type Labelled<'a> = (Metric<'a>, Option<&'static str>);

/// Name and row of each family. One of several tables is described by the first.
fn metric_rows(metrics: &[Labelled<'_>]) -> Vec<(String, String)> {
    let mut families: Vec<(&Labelled<'_>, Vec<&str>)> = Vec::new();
    for labelled in metrics {
        let known = families.iter().position(|(first, _)| first.0.name == labelled.0.name);
        let place = known.unwrap_or(families.len());
        if known.is_none() {
            families.push((labelled, Vec::new()));
        }
        families[place].1.extend(labelled.0.label.map(|(_, value)| value));
    }
    families
        .iter()
        .map(|((metric, own_label), values)| metric_row(metric, *own_label, values))
        .collect()
}

fn metric_row(metric: &Metric<'_>, own_label: Option<&str>, values: &[&str]) -> (String, String) {
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
    use tidegate::metrics::Counter;

    #[test]
    fn options_become_rows() {
        let config = "# Prose = not lower case.\n\n# All of it.\n[websocket]\n\
                      # Longest message,\n# in bytes.\n\
                      # Takes a size; default \"64KiB\".\n# Change: live.\nbytes_max = \"64KiB\"\n\
                      # An origin.\n# Takes text; not set by default.\n# Change: restart.\n\
                      # origin = \"\"\n\
                      [[ingest.endpoints]]\n# Kind.\n# Takes a kind; must be set.\n\
                      # Change: restart.\nkind = \"sub\"\n\n[[ingest.endpoints]]\nkind = \"pull\"\n\
                      # As above.\n[personal]\nkind = \"x\"";
        let rows: Vec<String> = option_rows(config).into_iter().map(|(_, row)| row).collect();
        let expected = [
            "| `websocket.bytes_max` | `\"64KiB\"` | a size | live | Longest message, in bytes. |",
            "| `websocket.origin` | not set by default | text | restart | An origin. |",
            "| `ingest.endpoints.kind` | must be set | a kind | restart | Kind. |",
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn an_option_that_does_not_exist_is_found() {
        let names = ["log.level", "ingest.endpoints.kind"];
        let line = "`log.level`, log.x, `ingest.endpoints`, `log.level=off`, `a.b`, `log.*`, `log`";
        assert!(unknown_options(line, &names).is_empty());
        let line = "`log.levels = 1` and `ingest.endpoint`, `log.level`";
        assert_eq!(unknown_options(line, &names), ["log.levels", "ingest.endpoint"]);
    }

    #[test]
    fn help_becomes_rows() {
        let help = "About it.\n\nUsage: x <COMMAND>\n\nCommands:\n  serve  Run it\n  help   Us\n\n\
                    Options:\n      --config <FILE>  A file [env:\n                       X=]\n\
                    \x20     --dev            All\n                       open\n  -h, --help  Us";
        let rows: Vec<String> = help_rows(help).into_iter().map(|(_, row)| row).collect();
        let expected =
            ["| `serve` | Run it. |", "| `--config <FILE>` | A file. |", "| `--dev` | All open. |"];
        assert_eq!(rows, expected);
    }

    #[test]
    fn families_become_rows() {
        let (a, b) = (Counter::default(), Counter::default());
        let metric = |value, label| Metric { name: "x", help: "H.", label, value };
        let metrics = [
            (metric(Value::Counter(&a), Some(("why", "slow"))), Some("shard")),
            (metric(Value::Counter(&b), Some(("why", "gone"))), None),
        ];
        let row = "| `x_total` | counter | `why` (slow, gone), `shard` | H. |";
        assert_eq!(metric_rows(&metrics), [("x_total".to_owned(), row.to_owned())]);
    }

    #[test]
    fn rows_are_compared_below_their_heading_only() {
        let rows = [("a".to_owned(), "| `a` | 1 |".to_owned())];
        let table = Table { page: "t.md", heading: "## T" };
        let count = |text: &str| table.differences(text, &rows).len();
        assert_eq!(count("| `b` |\n## T\n| `a` | 1 |\n## U\n| `c` |"), 0);
        assert_eq!(count("## T\n| `a` | 2 |\n| `b` | 1 |"), 2);
        assert_eq!(count("## U\n| `x` |"), 1);
    }
}
