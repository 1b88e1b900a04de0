//! Why a run cannot be made. Every variant says what to do.

use std::io;

use tidegate_doctor::Finding;

/// Why a run cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is not one that can be used.
    #[error(
        "{0:?} is no address that can be used: write it as ws://HOST:PORT/PATH, and an --endpoint \
         for HTTP as http://HOST:PORT/PATH"
    )]
    Url(String),
    /// The host of an address is unknown.
    #[error("the host of {0:?} cannot be found: check its name")]
    Name(String),
    /// The host has too little of something.
    #[error(
        "this host cannot hold {connections} connections and the clients that open them: {} is {}, \
         needed {}; {}",
        finding.setting, finding.value, finding.needed, finding.remedy
    )]
    Host {
        /// How many connections.
        connections: u32,
        /// Of what, and what to do.
        finding: Box<Finding>,
    },
    /// Load is for machines whose owner knows of it.
    #[error("{0} is not on loopback: add --allow-remote if its owner knows of the load")]
    Remote(String),
    /// Nobody listens.
    #[error(
        "nothing answers at {address} ({reason}): start the server, give its address with --url, \
         or add --serve"
    )]
    Absent {
        /// Where.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// Publications have nowhere to go.
    #[error(
        "no ZeroMQ PULL socket answers at {0} within 5 s: check that the server runs and give its \
         pull endpoint with --endpoint"
    )]
    Endpoint(String),
    /// libzmq refuses something.
    #[error("cannot publish to {endpoint}: {source}")]
    Publish {
        /// Where.
        endpoint: String,
        /// What it said.
        source: io::Error,
    },
    /// A server refuses a message over HTTP.
    #[error("cannot publish to {url} ({reason}): check that the server runs, and --endpoint")]
    Post {
        /// Where.
        url: String,
        /// What it answered, or what the system said.
        reason: String,
    },
    /// The connections do not fit the descriptors.
    #[error(
        "{connections} connections need {needed} processes here, because each may open {limit} \
         descriptors: leave --processes out, set it to {needed} or raise the limit (ulimit -n)"
    )]
    Descriptors {
        /// How many connections.
        connections: u32,
        /// How many processes suffice.
        needed: u32,
        /// The limit of one.
        limit: u64,
    },
    /// The connections do not fit the source ports.
    #[error(
        "{connections} connections need more source ports than the {ports} there are: list more \
         addresses of this machine with --sources or widen net.ipv4.ip_local_port_range"
    )]
    Ports {
        /// How many connections.
        connections: u32,
        /// How many ports.
        ports: usize,
    },
    /// Options that do not go together.
    #[error("{0}")]
    Options(&'static str),
    /// A connection could not be opened.
    #[error("connection {number} could not be opened: {reason}")]
    Opening {
        /// Its number.
        number: u32,
        /// Why.
        reason: String,
    },
    /// The server that was to be started did not start.
    #[error("the server could not be started: {0}")]
    Server(String),
    /// A process that holds connections failed.
    #[error("{0}")]
    Worker(String),
    /// A server's cost cannot be read.
    #[error("process {pid} cannot be measured ({reason}): check --server-pid")]
    Usage {
        /// The process.
        pid: u32,
        /// What the system said.
        reason: String,
    },
    /// Anything else that the system says.
    #[error(transparent)]
    Io(#[from] io::Error),
}
