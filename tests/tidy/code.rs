//! Names that code may use only in some places: `unsafe`, printing, I/O and clocks; and file names
//! that say nothing.

use proc_macro2::TokenTree;

use crate::source::{Finding, Source};

/// The only files with `unsafe`. Each has a safe interface and a test against a safe twin.
const UNSAFE_ALLOWED: &[&str] = &["crates/sys/", "crates/ws/src/mask.rs"];

/// Who talks to a terminal. Everybody else logs.
const PRINTS_ALLOWED: &[&str] = &["src/main.rs", "src/cli/", "src/cli.rs"];

const PRINTS: &[&str] = &["print", "println", "eprint", "eprintln"];

const UNFINISHED: &[&str] = &["todo", "unimplemented", "dbg"];

/// Modules that are state machines over bytes, so that a simulation can run them.
const LEAVES: &[&str] = &["ws", "http", "protocol", "model", "token", "wheel", "hub"];

/// Paths that a leaf may not name, and what it does instead.
const IO_PATHS: &[(&str, &str)] = &[
    ("std::net", "take an address from core::net and leave the socket to the shard"),
    ("std::time::Instant", "take the time as an argument"),
    ("std::time::SystemTime", "take the time as an argument"),
    ("std::thread", "leave threads to main"),
    ("std::fs", "take the bytes as an argument"),
    ("monoio", "leave I/O to the shard"),
    ("io_uring", "leave I/O to the shard"),
    ("socket2", "leave I/O to the shard"),
    ("libc", "leave syscalls to sys"),
    ("tokio", "leave I/O to the api"),
    ("zmq", "leave I/O to ingest"),
];

/// Words in a file name that fit any content, hence describe none.
const VAGUE_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "common", "misc", "manager"];

pub(crate) fn stray_unsafe(source: &Source) -> Vec<Finding> {
    if is_below(source, UNSAFE_ALLOWED) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    source.each_name(|name, line, _| {
        if name == "unsafe" {
            let what = "no `unsafe` here: use safe code or move it to `sys`";
            findings.push(source.finding(line, what));
        }
    });
    findings
}

pub(crate) fn stray_prints(source: &Source) -> Vec<Finding> {
    if is_below(source, PRINTS_ALLOWED) {
        return Vec::new();
    }
    macro_calls(source, PRINTS, "log with `tracing`, or print in `cli`")
}

pub(crate) fn unfinished_macros(source: &Source) -> Vec<Finding> {
    macro_calls(source, UNFINISHED, "finish it, or leave it out")
}

pub(crate) fn io_in_leaves(source: &Source) -> Vec<Finding> {
    if !LEAVES.contains(&source.module()) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    source.each_name(|name, line, _| {
        if matches!(name, "async" | "await") {
            let what = format!("no `{name}` in {}: it is a state machine", source.module());
            findings.push(source.finding(line, what));
        }
    });
    for path in source.name_paths() {
        let full = path.names.join("::");
        let offence = IO_PATHS.iter().find(|(banned, _)| {
            full.strip_prefix(banned).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        });
        if let Some((banned, remedy)) = offence {
            let what = format!("no `{banned}` in {}: {remedy}", source.module());
            findings.push(source.finding(path.line, what));
        }
    }
    findings
}

pub(crate) fn vague_name(source: &Source) -> Vec<Finding> {
    let names = source.path.trim_end_matches(".rs").split(['/', '_']);
    names
        .filter(|name| VAGUE_NAMES.contains(name))
        .map(|name| source.finding(1, format!("`{name}` fits any file: name what is in it")))
        .collect()
}

fn is_below(source: &Source, places: &[&str]) -> bool {
    places.iter().any(|place| {
        source.path == *place || (place.ends_with('/') && source.path.starts_with(place))
    })
}

fn macro_calls(source: &Source, macros: &[&str], remedy: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    source.each_name(|name, line, next| {
        let is_call = matches!(next, Some(TokenTree::Punct(punct)) if punct.as_char() == '!');
        if is_call && macros.contains(&name) {
            findings.push(source.finding(line, format!("no `{name}!`: {remedy}")));
        }
    });
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_is_found_as_a_keyword_only() {
        let text = "#![deny(unsafe_code)]\n// unsafe\nfn f() { g(\"unsafe\"); unsafe { h() } }";
        let found = stray_unsafe(&Source::new("src/hub/mod.rs", text));
        assert_eq!(found.iter().map(|finding| finding.line).collect::<Vec<_>>(), [3]);
        assert_eq!(stray_unsafe(&Source::new("crates/sys/src/affinity.rs", text)).len(), 0);
        assert_eq!(stray_unsafe(&Source::new("crates/ws/src/mask.rs", text)).len(), 0);
        assert_eq!(stray_unsafe(&Source::new("crates/ws/src/mask_other.rs", text)).len(), 1);
    }

    #[test]
    fn prints_and_unfinished_macros_are_found_as_macros_only() {
        let text = "fn dbg() { println!(); x!(eprintln!()); dbg(todo); dbg!(1); todo!() }";
        let source = Source::new("src/hub/mod.rs", text);
        assert_eq!(stray_prints(&source).len(), 2);
        assert_eq!(unfinished_macros(&source).len(), 2);
        assert_eq!(stray_prints(&Source::new("src/cli/mod.rs", text)).len(), 0);
    }

    #[test]
    fn io_is_found_in_leaves_only() {
        let text = "use std::{fs, net::TcpStream, time::{Duration, Instant}};\n\
                    async fn f() { std::thread::sleep(a).await; monoio::spawn(b) }";
        assert_eq!(io_in_leaves(&Source::new("crates/ws/src/frame.rs", text)).len(), 7);
        assert_eq!(io_in_leaves(&Source::new("src/shard/mod.rs", text)).len(), 0);
        let pure = "use std::time::Duration; use core::net::IpAddr; fn fs() { a.fs(); }";
        assert_eq!(io_in_leaves(&Source::new("crates/ws/src/frame.rs", pure)).len(), 0);
    }

    #[test]
    fn vague_words_are_found_anywhere_in_a_path() {
        for path in ["src/util.rs", "src/hub/test_helpers.rs", "src/common/mod.rs"] {
            assert_eq!(vague_name(&Source::new(path, "")).len(), 1, "{path}");
        }
        assert_eq!(vague_name(&Source::new("src/hub/utility_bill.rs", "")).len(), 0);
    }
}
