//! The documents as a book: README is short, every page stands in the index, and every link leads
//! somewhere.
//!
//! A relative link needs a file, and its anchor a heading there, spelled as GitHub spells it. What
//! stands in code is no link.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::source::{Finding, assert_clean, documents, in_file};

const README: &str = "README.md";
const README_LINES_MAX: usize = 200;
const INDEX: &str = "docs/README.md";

/// README and all pages below `docs`: what those read who use the edge.
pub(crate) fn pages() -> Vec<(String, String)> {
    let mut pages = documents();
    pages.retain(|(path, _)| path == README || path.starts_with("docs/"));
    assert!(pages.len() > 20, "the book has pages: {}", pages.len());
    pages
}

pub(crate) fn assert_readme_short() {
    let (_, text) = documents().into_iter().find(|(path, _)| path == README).expect("a README");
    let lines = text.lines().count();
    assert!(
        lines <= README_LINES_MAX,
        "README.md has {lines} lines, at most {README_LINES_MAX}: move something to docs/"
    );
}

pub(crate) fn assert_index_complete() {
    let pages = pages();
    let listed = linked(&pages, INDEX);
    let mut findings = Vec::new();
    for (path, _) in pages.iter().filter(|(path, _)| path != README && path != INDEX) {
        if !listed.contains(path) {
            findings.push(in_file(INDEX, 1, format!("list the page {path}, and what it has")));
        }
    }
    if !linked(&pages, README).contains(INDEX) {
        findings.push(in_file(README, 1, format!("lead to {INDEX}")));
    }
    assert_clean(findings);
}

/// The files that a page leads to.
fn linked(pages: &[(String, String)], from: &str) -> BTreeSet<String> {
    let text = pages.iter().find(|(path, _)| path == from).map_or("", |(_, text)| text);
    let targets = links(text).into_iter().filter_map(|link| Target::of(from, &link.to));
    targets.map(|target| target.path).collect()
}

pub(crate) fn assert_links_resolve() {
    let exists = |path: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists();
    assert_clean(broken_links(&documents(), exists));
}

/// Links that lead to no file, or to no heading of a document.
fn broken_links(documents: &[(String, String)], exists: impl Fn(&str) -> bool) -> Vec<Finding> {
    let anchors: BTreeMap<&str, BTreeSet<String>> =
        documents.iter().map(|(path, text)| (path.as_str(), anchors(text))).collect();
    let mut findings = Vec::new();
    for (path, text) in documents {
        for link in links(text) {
            let Some(target) = Target::of(path, &link.to) else { continue };
            let has_anchor = |anchor: &String| {
                anchors.get(target.path.as_str()).is_some_and(|known| known.contains(anchor))
            };
            if !exists(&target.path) {
                let what = format!("`{}` leads to no file: there is no {}", link.to, target.path);
                findings.push(in_file(path, link.line, what));
            } else if target.anchor.as_ref().is_some_and(|anchor| !has_anchor(anchor)) {
                let what = format!("`{}` leads to no heading of {}", link.to, target.path);
                findings.push(in_file(path, link.line, what));
            }
        }
    }
    findings
}

struct Link {
    line: usize,
    to: String,
}

/// Where a relative link leads.
struct Target {
    /// From the root of the repository on.
    path: String,
    anchor: Option<String>,
}

impl Target {
    /// None for an address elsewhere.
    fn of(from: &str, to: &str) -> Option<Self> {
        if to.contains("://") || to.starts_with("mailto:") {
            return None;
        }
        let (path, anchor) = match to.split_once('#') {
            Some((path, anchor)) => (path, Some(anchor.to_owned())),
            None => (to, None),
        };
        if path.is_empty() {
            return Some(Self { path: from.to_owned(), anchor });
        }
        let mut names: Vec<&str> = from.split('/').collect();
        names.pop();
        for name in path.trim_end_matches('/').split('/') {
            match name {
                "." => {}
                // Above the root there is nothing: the name stays and is not found.
                ".." if !names.is_empty() => drop(names.pop()),
                name => names.push(name),
            }
        }
        Some(Self { path: names.join("/"), anchor })
    }
}

/// The lines outside of fenced blocks, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        (!is_code && !is_fence).then_some((index + 1, line))
    })
}

fn links(text: &str) -> Vec<Link> {
    let mut links = Vec::new();
    for (line, prose) in prose(text) {
        for rest in without_code(prose).split("](").skip(1) {
            let to = rest.split([')', ' ']).next().unwrap_or_default();
            links.push(Link { line, to: to.to_owned() });
        }
    }
    links
}

/// The line without what stands between backticks.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// What GitHub makes of the headings of a document.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for (_, line) in prose(text).filter(|(_, line)| line.starts_with('#')) {
        let anchor = anchor_of(line.trim_start_matches('#').trim());
        let repeated = (1..).map(|count| format!("{anchor}-{count}"));
        let free = std::iter::once(anchor.clone()).chain(repeated).find(|a| !anchors.contains(a));
        anchors.extend(free);
    }
    anchors
}

fn anchor_of(heading: &str) -> String {
    let mut anchor = String::new();
    for letter in heading.chars() {
        match letter {
            ' ' => anchor.push('-'),
            '-' | '_' => anchor.push(letter),
            letter if letter.is_alphanumeric() => anchor.extend(letter.to_lowercase()),
            _ => {}
        }
    }
    anchor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_become_anchors() {
        let text = "# From `--dev` to it\n## 2. A, b\n```sh\n# no\n```\n## Again\n### Again";
        let expected = ["2-a-b", "again", "again-1", "from---dev-to-it"].map(str::to_owned);
        assert_eq!(anchors(text), BTreeSet::from(expected));
    }

    #[test]
    fn a_link_needs_a_file_and_a_heading() {
        let page = "# A b\n[x](../c.md) [`y`](#a-b), [z](../c.md#d)\n`[no](no)` [w](https://x/y)\n\
                    ```\n[no](no)\n```\n[s](../src/)";
        let documents = [("docs/a.md", page), ("c.md", "## D\n")]
            .map(|(path, text)| (path.to_owned(), text.to_owned()));
        let exists = |path: &str| ["docs/a.md", "c.md", "src"].contains(&path);
        assert_eq!(broken_links(&documents, exists).len(), 0);

        let wrong = "[file](d.md)\n[heading](c.md#e)\n[own](#d)\n[above](../c.md)";
        let documents = [("b.md", wrong), ("c.md", "## D\n")]
            .map(|(path, text)| (path.to_owned(), text.to_owned()));
        let exists = |path: &str| ["b.md", "c.md"].contains(&path);
        let lines: Vec<_> = broken_links(&documents, exists).iter().map(|f| f.line).collect();
        assert_eq!(lines, [1, 2, 3, 4]);
    }
}
