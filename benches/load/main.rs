//! The whole server under load, in processes of their own, as ratios to what the kernel costs.
//!
//! ```text
//! cargo bench --bench load -- [PART ...] [--connections N] [--bytes N] [--rounds N]
//! ```
//! Without a name all parts run: sizes, rates, saturated, unicast, echo, handshake, shards, idle,
//! large, api, asking, beside. `cargo test --all-targets` runs each once with few connections, to
//! see that it works; its figures mean nothing.

mod api;
mod asking;
mod backends;
mod beside;
mod calls;
mod cpu;
mod dealer;
mod echo;
mod epoll;
mod fan_out;
mod floor;
mod handshake;
mod hoarders;
mod http;
mod idle;
mod large;
mod mail;
mod peer;
mod rates;
mod receiver;
mod report;
mod role;
mod saturated;
mod server;
mod shards;
mod sizes;
mod unicast;

use std::io;

/// Where the senders and the receivers run.
const SENDER_CORE: usize = 0;
const RECEIVER_CORE: usize = 1;

/// What the command line asks for.
struct Options {
    connections: Option<usize>,
    bytes: Option<usize>,
    rounds: u32,
    /// True exactly when the bench runs only to see that it works.
    is_trial: bool,
}

impl Options {
    /// How many connections a part opens that has a number of its own.
    fn connections_or(&self, default: usize) -> usize {
        self.connections.unwrap_or(if self.is_trial { 50 } else { default })
    }

    /// The size of messages in parts that have no sizes of their own.
    fn bytes_or_usual(&self) -> usize {
        self.bytes.unwrap_or(128)
    }
}

/// One part of the bench.
type Part = fn(&Options) -> io::Result<()>;

const PARTS: [(&str, Part); 12] = [
    ("sizes", sizes::run),
    ("rates", rates::run),
    ("saturated", saturated::run),
    ("unicast", unicast::run),
    ("echo", echo::run),
    ("handshake", handshake::run),
    ("shards", shards::run),
    ("idle", idle::run),
    ("large", large::run),
    ("api", api::run),
    ("asking", asking::run),
    ("beside", beside::run),
];

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(role) = arguments.first().and_then(|first| first.strip_prefix("--role=")) {
        return role::play(role, &arguments[1..]);
    }
    let is_trial = !arguments.iter().any(|argument| argument == "--bench");
    let options = Options {
        connections: option(&arguments, "--connections"),
        bytes: option(&arguments, "--bytes"),
        rounds: option(&arguments, "--rounds").unwrap_or(if is_trial { 2 } else { 15 }) as u32,
        is_trial,
    };
    role::pin([RECEIVER_CORE]);
    let is_named = |name: &str| arguments.iter().any(|argument| argument == name);
    let runs_all = !PARTS.iter().any(|(name, _)| is_named(name));
    for (name, run) in PARTS {
        if runs_all || is_named(name) {
            run(&options)?;
        }
    }
    Ok(())
}

fn option(arguments: &[String], name: &str) -> Option<usize> {
    let at = arguments.iter().position(|argument| argument == name)?;
    let value = arguments.get(at + 1).and_then(|value| value.parse().ok());
    Some(value.expect("a number follows an option"))
}
