//! Paths of `ipc://` endpoints: what is there already, and who may connect.
//!
//! libzmq removes whatever is at a path before it binds it, so the edge looks first. A socket on
//! which nobody listens is what an edge leaves that was killed, and may go; anything else may not.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::ingest::{Endpoint, Error};
use crate::sys::socket::with_mask;

/// What else a socket file is for nobody while it is made.
const ONLY_OWNER: u32 = 0o177;

/// The path at which an endpoint listens; none of an abstract name or one that libzmq chooses.
pub(super) fn of(endpoint: &Endpoint) -> Option<&str> {
    let path = endpoint.address.strip_prefix("ipc://").filter(|_| endpoint.bind)?;
    (!path.starts_with('@') && path != "*").then_some(path)
}

/// The folder of that path.
pub(super) fn folder(endpoint: &Endpoint) -> Option<&Path> {
    let folder = Path::new(of(endpoint)?).parent()?;
    Some(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })
}

/// Refuses a path that somebody uses, or that is something else than a socket.
pub(super) fn check_free(endpoint: &Endpoint) -> Result<(), Error> {
    let Some(path) = of(endpoint) else { return Ok(()) };
    let address = || endpoint.address.clone();
    let failed = |source| Error::Path { address: address(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => Err(Error::NoSocket { address: address() }),
        Ok(_) if is_listened_at(path).map_err(failed)? => Err(Error::InUse { address: address() }),
        Ok(_) => Ok(()),
    }
}

/// Runs `bind`, whose socket file nobody else can use before it has its permissions.
pub(super) fn bind(
    endpoint: &Endpoint,
    bind: impl FnOnce() -> Result<(), Error>,
) -> Result<(), Error> {
    let Some(path) = of(endpoint) else { return bind() };
    with_mask(ONLY_OWNER, bind)?;
    fs::set_permissions(path, Permissions::from_mode(endpoint.ipc_mode))
        .map_err(|source| Error::Path { address: endpoint.address.clone(), source })
}

/// Whether a connection would find somebody, who may be too busy to take it now.
fn is_listened_at(path: &str) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Ok(false),
            io::ErrorKind::WouldBlock => Ok(true),
            _ => Err(error),
        },
    }
}
