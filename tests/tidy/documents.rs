//! The documents, CHANGELOG and `Cargo.toml` say what the code says.
//!
//! Every metric that a page mentions exists, every error code and snippet is shown, and the map in
//! `lib.rs` has every module. Tables that are copied row by row are in `tables`, links in `book`.

use std::collections::BTreeSet;
use std::fs;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::Visit;

use crate::PROGRAM;
use crate::book::pages;
use crate::source::{Finding, Source, assert_clean, files, in_file, read, sources};
use crate::tables::METRICS_PAGE;

const METRIC_PREFIX: &str = "tidegate_";

/// What the OpenMetrics encoder appends to the registered name of a metric, by its kind.
const METRIC_SUFFIXES: &[&str] = &["_total", "_bucket", "_sum", "_count", "_info"];

const ERROR_CODES_PAGE: &str = "docs/reference/codes.md";
const ERROR_CODES_HEADING: &str = "## Error codes";

const SNIPPETS: &str = "tests/clients/snippets";

/// What runs the snippets; hidden files beside it are its copies of them.
const SNIPPETS_RUNNER: &str = "run.py";

const CHANGE_SECTIONS: &[&str] = &["### Performance", "### Features", "### Fixes"];

pub(crate) fn assert_metrics_documented() {
    let mut registered = BTreeSet::new();
    let mut mentioned = BTreeSet::new();
    for source in sources(PROGRAM) {
        string_metrics(&source.tokens, &mut mentioned);
        if source.module() == "metrics" {
            string_metrics(&source.tokens, &mut registered);
        }
    }
    assert!(!registered.is_empty(), "src/metrics names no `{METRIC_PREFIX}…` metric");
    let documented: BTreeSet<String> = metrics_in(&read(METRICS_PAGE)).into_iter().collect();
    let mut findings = Vec::new();
    for metric in registered.iter().filter(|metric| !is_documented(metric, &documented)) {
        findings.push(in_file(METRICS_PAGE, 1, format!("describe the metric `{metric}`")));
    }
    for (path, text) in pages() {
        for (index, line) in text.lines().enumerate() {
            let metrics = metrics_in(line);
            for metric in metrics.iter().filter(|metric| !is_registered(metric, &mentioned)) {
                let what = format!("no metric `{metric}` in src: correct its name or delete it");
                findings.push(in_file(&path, index + 1, what));
            }
        }
    }
    assert_clean(findings);
}

pub(crate) fn assert_error_codes_documented() {
    let sources = sources(&["src/protocol", "src/ingest"]);
    let codes: BTreeSet<String> = sources.iter().flat_map(error_codes).collect();
    assert!(codes.contains("missing_topic") && codes.contains("timeout"), "codes are found");
    let documented = first_cells(&read(ERROR_CODES_PAGE), ERROR_CODES_HEADING);
    let mut findings = Vec::new();
    for code in codes.difference(&documented) {
        findings.push(in_file(ERROR_CODES_PAGE, 1, format!("describe the error code `{code}`")));
    }
    for code in documented.difference(&codes) {
        let what = format!("no error code `{code}` in src: correct its name or delete it");
        findings.push(in_file(ERROR_CODES_PAGE, 1, what));
    }
    assert_clean(findings);
}

/// The snippets that are run by the tests of clients are the ones that a page shows.
pub(crate) fn assert_snippets_shown() {
    let pages = pages();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(SNIPPETS);
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut findings = Vec::new();
    for entry in entries {
        let entry = entry.expect("the folder can be read");
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_snippet = name != SNIPPETS_RUNNER && !name.starts_with('.');
        let path = format!("{SNIPPETS}/{name}");
        if !is_snippet || !entry.path().is_file() {
            continue;
        }
        let text = read(&path);
        if !pages.iter().any(|(_, page)| page.contains(text.trim())) {
            findings.push(in_file(&path, 1, "no page shows this text: make them the same"));
        }
    }
    assert_clean(findings);
}

/// The map in `lib.rs` leads to every module and to every crate that is one.
pub(crate) fn assert_map_complete() {
    let map = read("src/lib.rs");
    let root = Source::new("src/lib.rs", &map);
    let modules = root.syntax().items.into_iter().filter_map(|item| match item {
        syn::Item::Mod(module) => Some(module.ident.to_string()),
        syn::Item::Use(item) => match item.tree {
            syn::UseTree::Rename(ours) => Some(ours.rename.to_string()),
            _ => None,
        },
        _ => None,
    });
    let missing = modules.filter(|module| !map.contains(&format!("//! - [`{module}`]")));
    let what = |module| format!("the map lacks a line `- [`{module}`]: what it is`");
    assert_clean(missing.map(|module| in_file("src/lib.rs", 1, what(module))).collect());
}

pub(crate) fn assert_changelog() {
    assert_clean(changelog_findings(&read("CHANGELOG.md")));
}

pub(crate) fn assert_dependency_reasons() {
    let crates = files(&["crates"]).into_iter().filter(|path| path.ends_with("/Cargo.toml"));
    let manifests = crates.chain(["Cargo.toml".to_owned()]);
    let findings = manifests.flat_map(|path| dependencies_without_reason(&path, &read(&path)));
    assert_clean(findings.collect());
}

/// What `code` methods return, and what begins a constant pair of code and text.
fn error_codes(source: &Source) -> Vec<String> {
    let mut codes = Vec::new();
    for item in source.syntax().items {
        match item {
            syn::Item::Impl(block) => {
                for item in block.items {
                    if let syn::ImplItem::Fn(method) = item
                        && method.sig.ident == "code"
                    {
                        Strings(&mut codes).visit_block(&method.block);
                    }
                }
            }
            syn::Item::Const(constant) => {
                if let syn::Expr::Tuple(pair) = *constant.expr
                    && let Some(syn::Expr::Lit(code)) = pair.elems.first()
                    && let syn::Lit::Str(code) = &code.lit
                {
                    codes.push(code.value());
                }
            }
            _ => {}
        }
    }
    codes
}

/// Gathers string literals.
struct Strings<'a>(&'a mut Vec<String>);

impl Visit<'_> for Strings<'_> {
    fn visit_lit_str(&mut self, literal: &syn::LitStr) {
        self.0.push(literal.value());
    }
}

/// The words in backticks that begin the rows of the table below a heading.
fn first_cells(page: &str, heading: &str) -> BTreeSet<String> {
    let below = page.split_once(heading).map_or("", |(_, below)| below);
    below
        .lines()
        .take_while(|line| !line.starts_with('#'))
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned()))
        .collect()
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

/// The list of versions of the workspace needs none: a reason belongs to a package.
fn dependencies_without_reason(path: &str, manifest: &str) -> Vec<Finding> {
    let mut in_dependencies = false;
    let mut findings = Vec::new();
    for (index, line) in manifest.lines().enumerate() {
        if line.starts_with('[') {
            let section = line.trim_end();
            in_dependencies =
                section.ends_with("dependencies]") && section != "[workspace.dependencies]";
        } else if in_dependencies && !line.starts_with('#') && line.contains('=') {
            let reason = line.split_once(" #").map_or("", |(_, reason)| reason.trim());
            if reason.is_empty() {
                let what = "say at the end of the line, after `#`, what the dependency is for";
                findings.push(in_file(path, index + 1, what));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn error_codes_are_found_where_they_are_made() {
        let text = "impl E { fn code(&self) -> &str { match self { A => \"a\", B(_) => \"b\" } }\n\
                    fn text(&self) -> &str { \"no\" } }\n\
                    const T: (&str, &str) = (\"t\", \"Text.\");";
        assert_eq!(error_codes(&Source::new("src/protocol/e.rs", text)), ["a", "b", "t"]);
        let page = "| `x` |\n### Codes\n\n| Code |\n| `a` | 1 `z` |\n## Next\n| `y` |";
        assert_eq!(first_cells(page, "### Codes"), BTreeSet::from(["a".to_owned()]));
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
                        [target.x.dev-dependencies]\nc = { version = \"1\" } #\n\
                        [lints]\nd = \"1\"\n\
                        [workspace.dependencies]\ne = \"1\"\n[dependencies]\ne.workspace = true";
        let found = dependencies_without_reason("Cargo.toml", manifest);
        let lines: Vec<_> = found.iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [6, 8, 14]);
    }
}
