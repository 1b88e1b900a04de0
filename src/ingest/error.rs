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
    #[error("ingest endpoint `{address}`: the address is in use; stop its owner or set another")]
    InUse {
        /// The address.
        address: String,
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
