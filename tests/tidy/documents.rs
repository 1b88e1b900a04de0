//! README, CHANGELOG and `Cargo.toml` say what the code says.
//!
//! Options come from the binary itself (`tidegate default-config`), metrics from the strings in
//! the code, so that neither list is kept a second time.

use std::collections::BTreeSet;
use std::process::Command;

use proc_macro2::{TokenStream, TokenTree};

use crate::source::{Finding, assert_clean, read, sources};

const METRIC_PREFIX: &str = "tidegate_";

/// What the OpenMetrics encoder appends to the registered name of a counter or histogram.
const METRIC_SUFFIXES: &[&str] = &["_total", "_bucket", "_sum", "_count"];

const CHANGE_SECTIONS: &[&str] = &["### Performance", "### Features", "### Fixes"];

pub(crate) fn assert_options_documented() {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .arg("default-config")
        .output()
        .expect("the binary was built for this test");
    let options = options_of(&String::from_utf8_lossy(&output.stdout));
    assert!(!options.is_empty(), "`tidegate default-config` prints no options");
    let readme = read("README.md");
    let missing = options.iter().filter(|option| !is_in_table(&readme, option));
    assert_clean(
        missing
            .map(|(section, key)| {
                let what = format!("the options table lacks a row for `{section}.{key}`");
                in_file("README.md", 1, what)
            })
            .collect(),
    );
}

pub(crate) fn assert_metrics_documented() {
    let readme = read("README.md");
    let mut registered = BTreeSet::new();
    let mut mentioned = BTreeSet::new();
    for source in sources(&["src"]) {
        string_metrics(&source.tokens, &mut mentioned);
        if source.module() == "metrics" {
            string_metrics(&source.tokens, &mut registered);
        }
    }
    assert!(!registered.is_empty(), "src/metrics names no `{METRIC_PREFIX}…` metric");
    let documented: BTreeSet<String> = metrics_in(&readme).into_iter().collect();
    let mut findings = Vec::new();
    for metric in registered.iter().filter(|metric| !is_documented(metric, &documented)) {
        findings.push(in_file("README.md", 1, format!("describe the metric `{metric}`")));
    }
    for (index, line) in readme.lines().enumerate() {
        for metric in metrics_in(line).iter().filter(|metric| !is_registered(metric, &mentioned)) {
            let what = format!("no metric `{metric}` in src: correct its name or delete it");
            findings.push(in_file("README.md", index + 1, what));
        }
    }
    assert_clean(findings);
}

pub(crate) fn assert_changelog() {
    assert_clean(changelog_findings(&read("CHANGELOG.md")));
}

pub(crate) fn assert_dependency_reasons() {
    assert_clean(dependencies_without_reason(&read("Cargo.toml")));
}

fn in_file(path: &str, line: usize, what: impl Into<String>) -> Finding {
    Finding { path: path.to_owned(), line, what: what.into() }
}

/// Sections and keys of a commented TOML file. A key that is commented out is an option too: its
/// default is that it is absent.
fn options_of(config: &str) -> Vec<(String, String)> {
    let mut section = String::new();
    let mut options = Vec::new();
    for line in config.lines() {
        let line = line.trim_start_matches(['#', ' ']).trim_end();
        if line.starts_with('[') && line.ends_with(']') {
            section = line.trim_matches(['[', ']']).to_owned();
        } else if let Some((key, _)) = line.split_once(" =") {
            let is_key = |letter: char| letter.is_ascii_lowercase() || letter == '_';
            let is_option = !key.is_empty() && key.chars().all(is_key);
            let option = (section.clone(), key.to_owned());
            if is_option && !options.contains(&option) {
                options.push(option);
            }
        }
    }
    options
}

fn is_in_table(readme: &str, (section, key): &(String, String)) -> bool {
    let names = [format!("`{section}.{key}`"), format!("`{key}`")];
    let mut rows = readme.lines().filter(|line| line.starts_with('|'));
    rows.any(|row| names.iter().any(|name| row.contains(name)))
}

/// Metric names in a text. A name that ends in `_` is a prefix of a family, not a metric.
fn metrics_in(text: &str) -> Vec<String> {
    text.split(|letter: char| {
        !(letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
    })
    .filter(|word| word.starts_with(METRIC_PREFIX) && !word.ends_with('_'))
    .map(str::to_owned)
    .collect()
}

fn string_metrics(tokens: &TokenStream, metrics: &mut BTreeSet<String>) {
    let mut is_documentation = false;
    for token in tokens.clone() {
        match token {
            TokenTree::Group(group) => string_metrics(&group.stream(), metrics),
            TokenTree::Literal(literal) if !is_documentation => {
                metrics.extend(metrics_in(&literal.to_string()));
            }
            TokenTree::Ident(name) => is_documentation = name == "doc",
            TokenTree::Literal(_) | TokenTree::Punct(_) => {}
        }
    }
}

fn is_documented(metric: &str, documented: &BTreeSet<String>) -> bool {
    documented.contains(metric)
        || METRIC_SUFFIXES.iter().any(|suffix| documented.contains(&format!("{metric}{suffix}")))
}

fn is_registered(metric: &str, registered: &BTreeSet<String>) -> bool {
    let base = METRIC_SUFFIXES.iter().find_map(|suffix| metric.strip_suffix(suffix));
    registered.contains(metric) || base.is_some_and(|base| registered.contains(base))
}

fn changelog_findings(changelog: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut releases = changelog.lines().enumerate().filter(|(_, line)| line.starts_with("## "));
    if releases.next().is_none() {
        findings.push(in_file("CHANGELOG.md", 1, "give each release a heading `## `"));
    }
    let sections = changelog.lines().enumerate().filter(|(_, line)| line.starts_with("### "));
    let mut section_count = 0;
    for (index, line) in sections {
        section_count += 1;
        if !CHANGE_SECTIONS.contains(&line.trim_end()) {
            let what = format!("`{line}` is none of {}", CHANGE_SECTIONS.join(", "));
            findings.push(in_file("CHANGELOG.md", index + 1, what));
        }
    }
    if section_count == 0 {
        let what = format!("sort changes under {}", CHANGE_SECTIONS.join(", "));
        findings.push(in_file("CHANGELOG.md", 1, what));
    }
    findings
}

fn dependencies_without_reason(manifest: &str) -> Vec<Finding> {
    let mut in_dependencies = false;
    let mut findings = Vec::new();
    for (index, line) in manifest.lines().enumerate() {
        if line.starts_with('[') {
            in_dependencies = line.trim_end().ends_with("dependencies]");
        } else if in_dependencies && !line.starts_with('#') && line.contains('=') {
            let reason = line.split_once(" #").map_or("", |(_, reason)| reason.trim());
            if reason.is_empty() {
                let what = "say at the end of the line, after `#`, what the dependency is for";
                findings.push(in_file("Cargo.toml", index + 1, what));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_with_their_sections() {
        let config = "# Prose = not lower case.\n[websocket]\n# The largest message.\n\
                      message_bytes_max = 65536\n# origin = \"x\"\n\
                      [[ingest.endpoint]]\nkind = \"sub\"";
        let expected = [
            ("websocket", "message_bytes_max"),
            ("websocket", "origin"),
            ("ingest.endpoint", "kind"),
        ];
        let expected = expected.map(|(section, key)| (section.to_owned(), key.to_owned()));
        assert_eq!(options_of(config), expected);
        let readme = "`kind`\n| `websocket.origin` | … |\n| `message_bytes_max` | … |";
        let found = expected.map(|option| is_in_table(readme, &option));
        assert_eq!(found, [true, true, false], "only rows of a table count");
    }

    #[test]
    fn metrics_match_with_and_without_the_suffix_of_a_counter() {
        let text = "/// tidegate_doc\n\
                    fn f() { g(\"tidegate_frames\", \"x tidegate_bytes\", \"tidegate_\") }";
        let mut metrics = BTreeSet::new();
        string_metrics(&text.parse().unwrap(), &mut metrics);
        let expected = ["tidegate_bytes", "tidegate_frames"].map(str::to_owned);
        assert_eq!(metrics, BTreeSet::from(expected));
        let documented = BTreeSet::from(["tidegate_frames_total".to_owned()]);
        assert!(is_documented("tidegate_frames", &documented));
        assert!(!is_documented("tidegate_bytes", &documented));
        assert!(is_registered("tidegate_frames_total", &metrics));
        assert!(!is_registered("tidegate_frame_total", &metrics));
        assert!(metrics_in("`tidegate_link_*`").is_empty());
    }

    #[test]
    fn a_changelog_needs_releases_and_known_sections() {
        assert_eq!(changelog_findings("# Changelog\n\n## 0.1.0\n\n### Features\n- x").len(), 0);
        assert_eq!(changelog_findings("## 0.1.0\n### Misc\n").len(), 1);
        assert_eq!(changelog_findings("# Changelog\n").len(), 2);
    }

    #[test]
    fn a_dependency_without_reason_is_found() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\n# Group.\na = \"1\" # why\n\
                        b = \"1\"\n\
                        [target.x.dev-dependencies]\nc = { version = \"1\" } #\n[lints]\nd = \"1\"";
        let lines: Vec<_> =
            dependencies_without_reason(manifest).iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [6, 8]);
    }
}
