//! Why the ingest thread cannot start, or had to end. Each text names the endpoint and a remedy.

/// Why the ingest thread cannot start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is not one that libzmq could open.
    #[error("ingest endpoint `{address}`: {problem}")]
    Address {
        /// The address.
        address: String,
        /// What is wrong and what to write instead.
        problem: &'static str,
    },
    /// Somebody listens there already.
    #[error(
        "ingest endpoint `{address}`: address in use; end the process that has it (`ss -lxtnp` \
         names it) or set another"
    )]
    InUse {
        /// The address.
        address: String,
    },
    /// Something else than a socket is at the path.
    #[error(
        "ingest endpoint `{address}`: address in use by a file that is no socket; move it away or \
         set another path"
    )]
    NoSocket {
        /// The address.
        address: String,
    },
    /// The path cannot be looked at, or not be given its permissions.
    #[error("ingest endpoint `{address}`: {source}; set a path in a folder of the edge's own user")]
    Path {
        /// The address.
        address: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The libzmq that is linked has no CURVE.
    #[error("ingest endpoint `{address}`: this libzmq has no CURVE; link one built with libsodium")]
    NoCurve {
        /// The address.
        address: String,
    },
    /// libzmq refused to open the endpoint.
    #[error("ingest endpoint `{address}`: {source}; {remedy}")]
    Open {
        /// The address.
        address: String,
        /// What to look at.
        remedy: &'static str,
        /// What libzmq says.
        source: zmq::Error,
    },
    /// libzmq failed without regard to an endpoint.
    #[error("ZeroMQ failed: {0}; is the process out of descriptors?")]
    ZeroMq(#[from] zmq::Error),
    /// The kernel refused an eventfd.
    #[error("no eventfd: {0}; raise the limit of open files")]
    EventFd(#[from] std::io::Error),
}
