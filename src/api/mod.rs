//! The control plane: an HTTP server for operators and backends on the internal address.
//!
//! It offers the HTTP API of backends below `/api/`, `/metrics`, `/health`, `/info`, the try page
//! at `/` and, for development, the publishing behind that page. It runs on two threads with tokio
//! runtimes of their own, so that well-kept libraries serve it: one for connections and probes, one
//! for what the API is asked, so that no probe waits for the API. It meets the data plane in two
//! places only: it reads the counters of other threads, and it sends commands over links and
//! gathers what shards answer. Whatever HTTP clients do here, the shards never wait for it.

mod access;
mod answers;
mod backend;
mod batch;
mod bodies;
mod error;
mod head;
mod light;
mod metrics;
mod places;
mod process;
mod publish;
mod quiet;
mod refusal;
mod replies;
mod room;
mod router;
mod server;
mod socket;
mod table;
mod unread;

pub use access::Access;
pub use server::serve;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::keys::Keeper;
use crate::mesh::AskerPort;
use crate::metrics::{IngestMetrics, LogMetrics, ShardMetrics};
use crate::shard::Drain;
use crate::sys::Clock;

/// Everything the control plane is given by the rest of the process.
#[derive(Debug)]
pub struct Control {
    /// What does not change while the process runs.
    pub facts: Facts,
    /// The counters of each shard, by shard number.
    pub shards: Vec<Arc<ShardMetrics>>,
    /// The counters of the ingest thread.
    pub ingest: Arc<IngestMetrics>,
    /// How the HTTP API knows a backend.
    pub access: Access,
    /// Most bytes of what a backend asks in one request.
    pub body_bytes_max: usize,
    /// Keeps the keys of tokens fresh on the control plane's thread.
    pub keeper: Keeper,
    /// The port of the thread that reads requests, `Asker::Control`.
    pub port: AskerPort,
    /// The port of the thread of the API, `Asker::Api`.
    pub api_port: AskerPort,
    /// What the log counts.
    pub log: Arc<LogMetrics>,
    /// Once it is announced `/health` fails, and once it has begun no command is accepted.
    pub drain: Arc<Drain>,
    /// The process's clock, which publications carry.
    pub clock: Clock,
    /// How long the control plane waits for others.
    pub timing: Timing,
}

/// Facts about the running edge.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The version of tidegate.
    pub version: &'static str,
    /// The name of the host.
    pub name: String,
    /// What tells this run of the edge from others.
    pub uid: String,
    /// The address of the public listener, where WebSockets connect.
    pub public: SocketAddr,
    /// Whether `Host` must be an address or `localhost`: nobody else is to come here.
    pub guards_host: bool,
    /// Whether the edge runs for development, which lets the try page publish.
    pub dev: bool,
}

/// How long the control plane waits for others.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// For an HTTP client to send a request head, and again to send its body.
    pub request: Duration,
    /// For shards to answer a command.
    pub answer: Duration,
    /// For an HTTP client to read an answer.
    pub reading: Duration,
    /// For an HTTP client to make its next request: more than the 60 seconds for which balancers
    /// keep a connection as a rule, so that it is they who end it.
    pub idle: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(10),
            answer: Duration::from_secs(5),
            reading: Duration::from_secs(30),
            idle: Duration::from_secs(75),
        }
    }
}
