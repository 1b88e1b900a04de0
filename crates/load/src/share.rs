//! What the processes of a run say to each other: lines of JSON over standard input and output.

use serde::{Deserialize, Serialize};

use crate::tally::Tally;
use crate::target::Target;

/// One process's share of the connections: the first line it is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Share {
    pub(super) target: Target,
    /// The number of the first connection, which decides its user and its source address.
    pub(super) first: u32,
    pub(super) count: u32,
    /// Openings per second; none means as fast as the server takes them.
    pub(super) open_rate: Option<f64>,
    pub(super) part: Part,
}

/// What a process does with its connections.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Part {
    /// Receive until told to finish.
    Listen { notes_receivers: bool },
    /// The same, and the last ones do not read until then.
    Slow { count: u32 },
    /// Send what comes back again.
    Echo { in_flight: u32, bytes: usize, seconds: u32 },
    /// Open and close connections, `count` of them at the same time.
    Churn { per_second: f64, seconds: u32 },
    /// Drop all and open them again.
    Storm { seconds: u32 },
    /// Receive; drop all, and later open them again and recover; receive on until told to finish.
    Recover,
}

/// What a process is told later.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Everybody is ready: begin, or go on with the next step.
    Begin,
    /// So many messages went to all, and so many deliveries that makes here: receive them and
    /// report.
    Finish { messages: u32, deliveries: u64 },
}

/// What a process says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Word {
    /// How far it is: connections, or messages, or what its part counts.
    Progress { done: u64 },
    /// Its connections are open.
    Ready,
    /// Whoever was to come back is back, or nobody comes any more.
    Returned,
    /// It has done its part, and holds what is open until its input ends.
    Done { tally: Box<Tally>, slow: Option<Box<Tally>>, still_open: u64 },
    /// It could not go on.
    Failed(String),
}
