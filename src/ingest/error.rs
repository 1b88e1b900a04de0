//! Why the ingest thread cannot start, or had to end. Each text names the endpoint and a remedy.

use std::io;

use crate::sys::socket::listen_remedy;

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
    /// Nobody can listen at the path, or it cannot be given its permissions.
    #[error("ingest endpoint `{address}`: {source}; {}", path_remedy(source))]
    Path {
        /// The address.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// The libzmq that is linked has no CURVE.
    #[error("ingest endpoint `{address}`: this libzmq has no CURVE; link one built with libsodium")]
    NoCurve {
        /// The address.
        address: String,
    },
    /// Nobody can listen at the address.
    #[error("ingest endpoint `{address}`: {source}; {}", bind_remedy(source))]
    Bind {
        /// The address.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// libzmq refused something else of the endpoint.
    #[error("ingest endpoint `{address}`: {source}; {remedy}")]
    Open {
        /// The address.
        address: String,
        /// What to look at.
        remedy: &'static str,
        /// What libzmq says.
        source: io::Error,
    },
    /// libzmq failed without regard to an endpoint.
    #[error("ZeroMQ failed: {0}; is the process out of descriptors?")]
    ZeroMq(#[from] zmq::Error),
    /// The kernel refused an eventfd, which each ZeroMQ socket has too.
    #[error("no eventfd: {0}; raise the limit of open files")]
    EventFd(#[from] io::Error),
}

/// What to do about a path at which nobody can listen.
fn path_remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EROFS | libc::EACCES | libc::EPERM) => {
            "set a path in a folder that the process may write, such as that of RuntimeDirectory= \
             in a unit or a volume in a container"
        }
        Some(libc::ENOSPC | libc::EDQUOT) => {
            "make room on the file system of its folder or set a path on another"
        }
        Some(libc::ENAMETOOLONG) => "set a path of at most 107 bytes",
        _ => listen_remedy(error).unwrap_or("set a path in a folder of the edge's own user"),
    }
}

/// What to do about an address at which nobody can listen.
fn bind_remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EADDRNOTAVAIL | libc::ENODEV) => {
            "no interface of this machine has the address; a HOST to listen at is an IP address \
             that `ip address` shows, the name of an interface, or `*` for all"
        }
        _ => listen_remedy(error).unwrap_or("check its address"),
    }
}
