//! A source file as the checks see it: text, tokens and comments; and how findings are reported.
//!
//! Names are looked up in the token stream rather than in the syntax tree because tokens also show
//! what stands inside macro calls, and never show what stands inside strings and comments.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// One offence against a rule, with the remedy in its text.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) what: String,
}

/// A finding in a file that is not Rust.
pub(crate) fn in_file(path: &str, line: usize, what: impl Into<String>) -> Finding {
    Finding { path: path.to_owned(), line, what: what.into() }
}

/// Fails with all findings at once, one `file:line` per line.
pub(crate) fn assert_clean(findings: Vec<Finding>) {
    let mut report = String::new();
    for Finding { path, line, what } in &findings {
        write!(report, "\n{path}:{line}: {what}").expect("a string takes any text");
    }
    assert!(findings.is_empty(), "{} findings{report}\n", findings.len());
}

/// A Rust file of the repository, or a sample with an invented path.
pub(crate) struct Source {
    /// Relative to the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) tokens: TokenStream,
}

/// A `//` comment: its line, and its text from the slashes on.
pub(crate) struct Comment<'text> {
    pub(crate) line: usize,
    pub(crate) text: &'text str,
}

/// A name with the path that leads to it, as in `crate::ws::Opcode`.
pub(crate) struct NamePath {
    pub(crate) line: usize,
    pub(crate) names: Vec<String>,
    /// How many inline modules lie around it.
    pub(crate) inline_depth: usize,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let tokens = text.parse().unwrap_or_else(|error| panic!("{path} has no tokens: {error}"));
        Self { path: path.to_owned(), text: text.to_owned(), tokens }
    }

    pub(crate) fn finding(&self, line: usize, what: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, what: what.into() }
    }

    pub(crate) fn syntax(&self) -> syn::File {
        syn::parse_file(&self.text).unwrap_or_else(|error| panic!("{}: {error}", self.path))
    }

    /// Names of the path below the first folder: `["hub", "log"]` for `src/hub/log.rs`. A crate
    /// below `crates` counts as a module: `["ws", "mask"]` for `crates/ws/src/mask.rs`.
    pub(crate) fn module_path(&self) -> Vec<&str> {
        let below = self.path.split_once('/').map_or("", |(_, below)| below);
        let mut names: Vec<&str> = below.trim_end_matches(".rs").split('/').collect();
        let root = if self.is_in_crate() { "lib" } else { "mod" };
        if self.is_in_crate() && names.len() > 2 {
            names.remove(1);
        }
        if names.len() > 1 && names.last() == Some(&root) {
            names.pop();
        }
        names
    }

    /// True exactly for files of a package below `crates`.
    pub(crate) fn is_in_crate(&self) -> bool {
        self.path.starts_with("crates/")
    }

    /// The module of the layer table that the file belongs to.
    pub(crate) fn module(&self) -> &str {
        self.module_path().first().copied().unwrap_or("")
    }

    /// True exactly when the whole file is test code of a module.
    pub(crate) fn is_unit_test(&self) -> bool {
        (self.path.starts_with("src/") || self.is_in_crate())
            && self.module_path()[1..].contains(&"tests")
    }

    /// All comments that begin with two slashes, those that document an item included.
    pub(crate) fn comments(&self) -> Vec<Comment<'_>> {
        let mut strings = Vec::new();
        string_spans(&self.tokens, &mut strings);
        let in_string = |line: usize, column: usize| {
            strings.iter().any(|(start, end)| (line, column) > *start && (line, column) < *end)
        };
        let mut comments = Vec::new();
        for (index, text) in self.text.lines().enumerate() {
            let slashes = text.match_indices("//").map(|(byte, _)| byte).find(|byte| {
                let column = text[..*byte].chars().count();
                !in_string(index + 1, column)
            });
            if let Some(byte) = slashes {
                comments.push(Comment { line: index + 1, text: &text[byte..] });
            }
        }
        comments
    }

    /// Calls `visit` with every identifier and the token after it.
    pub(crate) fn each_name(&self, mut visit: impl FnMut(&str, usize, Option<&TokenTree>)) {
        visit_names(&self.tokens, &mut visit);
    }

    /// All paths of two names and more, with the groups of `use` trees written out.
    pub(crate) fn name_paths(&self) -> Vec<NamePath> {
        let mut paths = Vec::new();
        collect_paths(&self.tokens, &[], 0, &mut paths);
        paths
    }
}

/// All Rust files below some folders of the repository; a folder that is missing has none.
pub(crate) fn sources(folders: &[&str]) -> Vec<Source> {
    let files = files(folders).into_iter().filter(|path| path.ends_with(".rs"));
    files.map(|path| Source::new(&path, &read(&path))).collect()
}

/// All files below some folders of the repository.
pub(crate) fn files(folders: &[&str]) -> Vec<String> {
    let mut files = Vec::new();
    for folder in folders {
        collect_files(folder, &mut files);
    }
    files.sort();
    files
}

/// All documents in Markdown of the repository, each with its path.
pub(crate) fn documents() -> Vec<(String, String)> {
    let files = files(&[""]).into_iter().filter(|path| path.ends_with(".md"));
    files.map(|path| (path.clone(), read(&path))).collect()
}

/// The text of a file of the repository.
pub(crate) fn read(path: &str) -> String {
    let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(full).unwrap_or_else(|error| panic!("{path} must be there: {error}"))
}

/// Hidden folders and those of packages and builds are not the repository's.
fn collect_files(folder: &str, files: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)) else {
        return;
    };
    for entry in entries.map(|entry| entry.expect("the folder can be read")) {
        let name = entry.file_name().into_string().expect("file names are UTF-8");
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        if entry.path().is_dir() {
            if name != "node_modules" && name != "target" && !name.starts_with('.') {
                collect_files(&path, files);
            }
        } else {
            files.push(path);
        }
    }
}

type Position = (usize, usize);

/// Where string literals begin and end. Documentation is a literal too for the parser, but its
/// text begins at the slashes, which are never strictly inside.
fn string_spans(tokens: &TokenStream, spans: &mut Vec<(Position, Position)>) {
    for token in tokens.clone() {
        match token {
            TokenTree::Group(group) => string_spans(&group.stream(), spans),
            TokenTree::Literal(literal) => {
                let (start, end) = (literal.span().start(), literal.span().end());
                let is_string = literal.to_string().contains('"');
                let is_comment = literal.span().source_text().is_some_and(|t| t.starts_with('/'));
                if is_string && !is_comment {
                    spans.push(((start.line, start.column), (end.line, end.column)));
                }
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }
}

fn visit_names(tokens: &TokenStream, visit: &mut impl FnMut(&str, usize, Option<&TokenTree>)) {
    let mut tokens = tokens.clone().into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) => visit_names(&group.stream(), visit),
            TokenTree::Ident(name) => {
                visit(&name.to_string(), name.span().start().line, tokens.peek());
            }
            TokenTree::Literal(_) | TokenTree::Punct(_) => {}
        }
    }
}

/// Walks a stream; `prefix` is the path in front of it if it is the group of a `use` tree.
fn collect_paths(
    tokens: &TokenStream,
    prefix: &[String],
    inline_depth: usize,
    paths: &mut Vec<NamePath>,
) {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(name) => {
                let line = name.span().start().line;
                let is_module = at > 0 && is_ident(&tokens[at - 1], "mod");
                let mut names = prefix.to_vec();
                names.push(name.to_string());
                at += 1;
                while is_double_colon(&tokens, at)
                    && let Some(TokenTree::Ident(next)) = tokens.get(at + 2)
                {
                    names.push(next.to_string());
                    at += 3;
                }
                let group = match tokens.get(at + 2) {
                    Some(TokenTree::Group(group)) if is_double_colon(&tokens, at) => Some(group),
                    _ => None,
                };
                if let Some(group) = group.filter(|group| group.delimiter() == Delimiter::Brace) {
                    collect_paths(&group.stream(), &names, inline_depth, paths);
                    at += 3;
                } else if let Some(TokenTree::Group(body)) = tokens.get(at).filter(|_| is_module) {
                    collect_paths(&body.stream(), &[], inline_depth + 1, paths);
                    at += 1;
                } else if names.len() > 1 {
                    paths.push(NamePath { line, names, inline_depth });
                }
            }
            TokenTree::Group(group) => {
                collect_paths(&group.stream(), &[], inline_depth, paths);
                at += 1;
            }
            TokenTree::Literal(_) | TokenTree::Punct(_) => at += 1,
        }
    }
}

fn is_ident(token: &TokenTree, name: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == name)
}

fn is_double_colon(tokens: &[TokenTree], at: usize) -> bool {
    let first = matches!(tokens.get(at), Some(TokenTree::Punct(punct))
        if punct.as_char() == ':' && punct.spacing() == Spacing::Joint);
    first && matches!(tokens.get(at + 1), Some(TokenTree::Punct(punct)) if punct.as_char() == ':')
}

#[test]
fn comments_are_told_from_strings() {
    let text = "//! Opening.\nlet a = \"http://x\"; // why\n\
                let b = r#\"\n// no\n\"#;\n/// Doc.\nfn f() {}";
    let source = Source::new("src/ws/a.rs", text);
    let found: Vec<_> = source.comments().iter().map(|c| (c.line, c.text.to_owned())).collect();
    let expected = [(1, "//! Opening."), (2, "// why"), (6, "/// Doc.")];
    assert_eq!(found, expected.map(|(line, text)| (line, text.to_owned())));
}

#[test]
fn use_trees_are_written_out() {
    let text =
        "use crate::{ws::{Opcode, mask::*}, hub}; mod tests { fn f() { x!(super::g::h()) } }";
    let source = Source::new("src/ws/a.rs", text);
    let found: Vec<_> =
        source.name_paths().iter().map(|p| (p.names.join("::"), p.inline_depth)).collect();
    let expected =
        [("crate::ws::Opcode", 0), ("crate::ws::mask", 0), ("crate::hub", 0), ("super::g::h", 1)];
    assert_eq!(found, expected.map(|(path, depth)| (path.to_owned(), depth)));
}

#[test]
fn a_file_knows_its_module() {
    assert_eq!(Source::new("src/hub/log.rs", "").module_path(), ["hub", "log"]);
    assert_eq!(Source::new("src/hub/mod.rs", "").module_path(), ["hub"]);
    assert_eq!(Source::new("src/main.rs", "").module(), "main");
    assert_eq!(Source::new("crates/ws/src/mask.rs", "").module_path(), ["ws", "mask"]);
    assert_eq!(Source::new("crates/ws/src/lib.rs", "").module_path(), ["ws"]);
    assert_eq!(Source::new("crates/load/src/command/mod.rs", "").module(), "load");
    assert!(Source::new("src/hub/log/tests.rs", "").is_unit_test());
    assert!(Source::new("crates/ws/src/inbound/tests.rs", "").is_unit_test());
    assert!(!Source::new("src/hub/log.rs", "").is_unit_test());
    assert!(!Source::new("crates/ws/src/inbound.rs", "").is_unit_test());
}
