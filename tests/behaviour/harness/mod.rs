//! The language of these tests: an edge, clients, raw peers and backends.
//!
//! ```text
//! let edge = Edge::start();
//! let a = edge.connect("a", &["news"]);
//! edge.publish("news", "x");
//! a.expect("x");
//! ```

mod backend;
mod client;
mod edge;
mod managed;
mod raw;

pub use backend::{Asker, Events, greet, parts};
pub use client::{Client, Heard};
pub use edge::{ENDPOINTS, Edge, below, command, run};
pub use managed::{HMAC_SECRET, Managed, seconds_from_now, token, token_of};
pub use raw::{Raw, Response, call, frame, masked, request};

use std::io::Write as _;
use std::time::{Duration, Instant};

/// How long a test waits for what must happen: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Says that this machine cannot run the test, where `tests/run.py` counts it: past the capture of
/// what tests print, because the test has not failed.
pub fn skip(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("skipped: {test}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Waits until something holds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
