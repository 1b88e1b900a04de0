//! All findings of a host, for people as a table and for machines as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::finding::grouped;
use crate::{Finding, Verdict};

/// Columns of the lines below a finding; a terminal of 100 columns shows them whole.
const WIDTH: usize = 98;

/// Where the lines below a finding begin.
const INDENT: usize = 9;

/// Everything the doctor found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The planned number of connections.
    pub connections: u64,
    /// The planned number of shards.
    pub shards: u64,
    /// One finding for each setting.
    pub findings: Vec<Finding>,
}

impl Report {
    /// True exactly when nothing stands against the plan.
    #[must_use]
    pub fn is_fit(&self) -> bool {
        self.count(Verdict::Fail) == 0
    }

    /// A table for people: one line for each setting, and what to do below those that need it.
    #[must_use]
    pub fn text(&self) -> String {
        let (connections, shards) = (grouped(self.connections), self.shards);
        let mut text = format!("Plan: {connections} connections, {shards} shards\n\n");
        let name_width = self.findings.iter().map(|finding| name(finding).len()).max();
        let name_width = name_width.unwrap_or(0);
        for finding in &self.findings {
            let row = format!(
                "{:<7}  {:name_width$}  {}",
                word(finding.verdict),
                name(finding),
                finding.value
            );
            let needs = format!("  (needed: {})", finding.needed);
            if row.len() + needs.len() <= WIDTH {
                let _ = writeln!(text, "{row}{needs}");
            } else {
                let _ = writeln!(text, "{row}");
                detail(&mut text, "needed:", &finding.needed);
            }
            if finding.verdict != Verdict::Ok {
                detail(&mut text, "breaks:", &finding.breaks);
                detail(&mut text, "set:   ", &finding.remedy);
            }
        }
        text.push('\n');
        text.push_str(&self.summary());
        text
    }

    /// The same for machines.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "connections": self.connections,
            "shards": self.shards,
            "fit": self.is_fit(),
            "findings": self.findings,
        })
    }

    fn summary(&self) -> String {
        let (connections, checked) = (grouped(self.connections), self.findings.len());
        let [fail, warn, unknown] =
            [Verdict::Fail, Verdict::Warn, Verdict::Unknown].map(|verdict| self.count(verdict));
        let fit = match (fail, unknown) {
            (0, 0) => "Fit",
            (0, _) => "Fit, as far as is known,",
            _ => "Not fit",
        };
        format!(
            "{fit} for {connections} connections: {checked} checked, {fail} fail, {warn} warn, \
             {unknown} unknown.\n"
        )
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|finding| finding.verdict == verdict).count()
    }
}

/// Setting and subject.
fn name(finding: &Finding) -> String {
    match &finding.subject {
        Some(subject) => format!("{} {subject}", finding.setting),
        None => finding.setting.to_owned(),
    }
}

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::Warn => "WARN",
        Verdict::Fail => "FAIL",
        Verdict::Unknown => "unknown",
    }
}

/// A labelled line below a finding, broken between words where it is too long.
fn detail(text: &mut String, label: &str, content: &str) {
    if content.is_empty() {
        return;
    }
    let _ = write!(text, "{:INDENT$}{label}", "");
    let margin = INDENT + label.len();
    let mut column = margin;
    for word in content.split(' ') {
        let width = word.chars().count();
        if column > margin && column + 1 + width > WIDTH {
            let _ = write!(text, "\n{:margin$}", "");
            column = margin;
        }
        let _ = write!(text, " {word}");
        column += 1 + width;
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdict: Verdict) -> Report {
        let fine = Finding::new("a", "1").is("1", Verdict::Ok).breaks("never shown");
        let other =
            Finding::new("long name", "long ".repeat(14).trim_end()).of("eth0").is("3", verdict);
        let other = other.breaks("word ".repeat(40).trim_end()).remedy("sysctl -w a=1");
        Report { connections: 20_000, shards: 2, findings: vec![fine, other] }
    }

    #[test]
    fn the_table_is_aligned_and_explains_what_is_not_ok() {
        let text = report(Verdict::Fail).text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "Plan: 20,000 connections, 2 shards");
        assert_eq!(lines[2], "ok       a               1  (needed: 1)");
        assert_eq!(lines[3], "FAIL     long name eth0  3");
        assert!(lines[4].starts_with("         needed: long long"), "{}", lines[4]);
        assert!(lines[5].starts_with("         breaks: word word"), "{}", lines[5]);
        assert!(lines[6].starts_with("                 word"), "{}", lines[6]);
        assert!(lines.iter().all(|line| line.len() <= WIDTH + 1), "{text}");
        assert!(!text.contains("never shown"));
        let last = "Not fit for 20,000 connections: 2 checked, 1 fail, 0 warn, 0 unknown.";
        assert_eq!(lines.last(), Some(&last));
    }

    #[test]
    fn only_failures_make_a_host_unfit() {
        assert!(report(Verdict::Warn).is_fit());
        assert!(report(Verdict::Unknown).is_fit());
        assert!(!report(Verdict::Fail).is_fit());
        assert!(report(Verdict::Warn).text().contains("\nFit for 20,000"));
        assert!(report(Verdict::Unknown).text().contains("\nFit, as far as is known, for"));
    }

    #[test]
    fn machines_get_the_same() {
        let json = report(Verdict::Fail).json();
        assert_eq!(json["fit"], false);
        assert_eq!(json["connections"], 20_000);
        assert_eq!(json["findings"][0]["verdict"], "ok");
        assert!(json["findings"][0].get("subject").is_none());
        assert_eq!(json["findings"][1]["subject"], "eth0");
        assert_eq!(json["findings"][1]["remedy"], "sysctl -w a=1");
    }
}
