//! The targets of `fuzz/` as they stand there, over their seeds: so the compiler, clippy and
//! rustfmt see them without a fuzzer's build of everything, and what a seed has shown stays mended.

#![allow(unused_attributes, reason = "a target is a crate of its own there")]
#![allow(clippy::unwrap_used, reason = "what panics is a finding")]

use std::fs;
use std::path::{Path, PathBuf};

#[path = "../../fuzz/fuzz_targets/api_bodies.rs"]
mod api_bodies;
#[path = "../../fuzz/fuzz_targets/command.rs"]
mod command;
#[path = "../../fuzz/fuzz_targets/encode_push.rs"]
mod encode_push;
#[path = "../../fuzz/fuzz_targets/frame.rs"]
mod frame;
#[path = "../../fuzz/fuzz_targets/handshake.rs"]
mod handshake;
#[path = "../../fuzz/fuzz_targets/json_commands.rs"]
mod json_commands;
#[path = "../../fuzz/fuzz_targets/message.rs"]
mod message;
#[path = "../../fuzz/fuzz_targets/protobuf_commands.rs"]
mod protobuf_commands;
#[path = "../../fuzz/fuzz_targets/token.rs"]
mod token;

type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 9] = [
    ("api_bodies", api_bodies::run),
    ("command", command::run),
    ("encode_push", encode_push::run),
    ("frame", frame::run),
    ("handshake", handshake::run),
    ("json_commands", json_commands::run),
    ("message", message::run),
    ("protobuf_commands", protobuf_commands::run),
    ("token", token::run),
];

/// In place of the fuzzer's own.
#[macro_export]
macro_rules! fuzz_target {
    (|$input:ident: &[u8]| $body:block) => {
        pub(super) fn run($input: &[u8]) {
            $body
        }
    };
}

#[test]
fn seeds_find_nothing() {
    for (name, run) in TARGETS {
        let seeds = files(&format!("fuzz/seeds/{name}"));
        assert!(!seeds.is_empty(), "{name}");
        for seed in seeds {
            let input = fs::read(&seed).unwrap();
            let outcome = std::panic::catch_unwind(|| run(&input));
            assert!(outcome.is_ok(), "{}", seed.display());
        }
    }
}

#[test]
fn every_target_is_here() {
    let there = files("fuzz/fuzz_targets");
    let mut there: Vec<_> = there.iter().map(|path| path.file_stem().unwrap()).collect();
    there.sort();
    assert_eq!(there, TARGETS.map(|(name, _)| name));
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}
