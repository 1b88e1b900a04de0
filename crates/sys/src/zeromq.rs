//! Opens ZeroMQ sockets and says what the system says when that fails.
//!
//! The `zmq` crate panics on every errno that it does not list, such as that of a read-only file
//! system. libzmq passes errnos of the system on only where it opens something, which is here: a
//! socket, an address to listen at, an address to connect to. Whatever else is asked of it fails
//! with one that the crate knows.

use std::ffi::{CStr, CString};
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::mpsc::channel;
use std::thread::Builder;
use std::time::Duration;

use crate::EventFd;

/// Errnos from here on are libzmq's own.
const OWN_ERRNOS: i32 = 156_384_712;

/// How long a name or an address may take to answer before another one is preferred.
const PATIENCE: Duration = Duration::from_millis(500);

/// A new socket.
///
/// # Errors
/// What the system says: it needs descriptors.
pub fn socket(context: &zmq::Context, kind: zmq::SocketType) -> io::Result<zmq::Socket> {
    // libzmq begins with an eventfd and passes on why there is none, ENFILE among it.
    drop(EventFd::new()?);
    Ok(context.socket(kind)?)
}

/// Listens at an address.
///
/// # Errors
/// What the system or libzmq says.
pub fn bind(socket: &mut zmq::Socket, address: &str) -> io::Result<()> {
    let address = CString::new(address)?;
    // SAFETY: the socket is open, as it is borrowed, and the address is a C string.
    checked(unsafe { zmq_sys::zmq_bind(socket.as_mut_ptr(), address.as_ptr()) })
}

/// Connects to an address of either family, now or whenever somebody listens there.
///
/// # Errors
/// What the system or libzmq says.
pub fn connect(socket: &mut zmq::Socket, address: &str) -> io::Result<()> {
    socket.set_ipv6(is_ipv6(address))?;
    let address = CString::new(address)?;
    // SAFETY: the socket is open, as it is borrowed, and the address is a C string.
    checked(unsafe { zmq_sys::zmq_connect(socket.as_mut_ptr(), address.as_ptr()) })
}

/// Whether an address to connect to is one of IPv6. libzmq looks a name up in one family alone,
/// again for each attempt: a name of both is one of IPv6 only if nobody answers over IPv4 now and
/// somebody does over IPv6. A name that nobody knows in time is one of IPv4.
fn is_ipv6(address: &str) -> bool {
    let Some(place) = address.strip_prefix("tcp://") else { return false };
    if place.starts_with('[') {
        return true;
    }
    let (six, four): (Vec<_>, Vec<_>) = look_up(place).into_iter().partition(SocketAddr::is_ipv6);
    !six.is_empty() && (four.is_empty() || !is_anybody_at(&four) && is_anybody_at(&six))
}

/// The addresses of a name, none if the name server takes long.
fn look_up(place: &str) -> Vec<SocketAddr> {
    let (answer, found) = channel();
    let place = place.to_owned();
    let ask = move || {
        let addresses = place.to_socket_addrs().into_iter().flatten().collect();
        // Nobody waits for a late answer.
        let _ = answer.send(addresses);
    };
    match Builder::new().name("names".to_owned()).spawn(ask) {
        Ok(_) => found.recv_timeout(PATIENCE).unwrap_or_default(),
        Err(_) => Vec::new(),
    }
}

/// Whether somebody takes connections at one of the first of these addresses.
fn is_anybody_at(addresses: &[SocketAddr]) -> bool {
    let mut first = addresses.iter().take(2);
    first.any(|address| TcpStream::connect_timeout(address, PATIENCE).is_ok())
}

fn checked(result: i32) -> io::Result<()> {
    if result == 0 {
        return Ok(());
    }
    // SAFETY: it reads a number of this thread.
    let errno = unsafe { zmq_sys::zmq_errno() };
    if errno < OWN_ERRNOS {
        return Err(io::Error::from_raw_os_error(errno));
    }
    // SAFETY: it reads a number and returns a text for every one.
    let text = unsafe { zmq_sys::zmq_strerror(errno) };
    // SAFETY: the text is a C string that nobody changes or frees.
    let text = unsafe { CStr::from_ptr(text) };
    Err(io::Error::other(text.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, TcpListener};

    use super::*;

    fn pull() -> zmq::Socket {
        socket(&zmq::Context::new(), zmq::PULL).unwrap()
    }

    #[test]
    fn what_the_system_says_is_passed_on() {
        // ENOTDIR is one of those that the crate does not know.
        for (address, errno) in [
            ("ipc:///dev/null/s", libc::ENOTDIR),
            ("tcp://no-such-host:1", libc::ENODEV),
            ("tcp://127.0.0.1", libc::EINVAL),
            ("udp://127.0.0.1:1", 156_384_764),
        ] {
            let error = bind(&mut pull(), address).unwrap_err();
            match errno < OWN_ERRNOS {
                true => assert_eq!(error.raw_os_error(), Some(errno), "{address}: {error}"),
                false => assert!(error.to_string().contains("protocol"), "{address}: {error}"),
            }
        }
        let long = format!("ipc:///tmp/{}", "x".repeat(200));
        let error = connect(&mut pull(), &long).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENAMETOOLONG));
        assert!(bind(&mut pull(), "tcp://127.0.0.1:\0").is_err());
    }

    #[test]
    fn a_socket_that_listens_is_reached_over_either_family() {
        let names = |name: &str| {
            let found = (name, 1).to_socket_addrs().into_iter().flatten();
            found.map(|address| address.ip()).collect::<Vec<_>>()
        };
        for (host, name) in [
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("127.0.0.1", "localhost"),
            ("[::1]", "localhost"),
            ("[::1]", "ip6-localhost"),
        ] {
            let is_here = TcpListener::bind(format!("{host}:0")).is_ok();
            let ip: IpAddr = host.trim_matches(['[', ']']).parse().unwrap();
            if !is_here || (name != host && !names(name).contains(&ip)) {
                continue;
            }
            let context = zmq::Context::new();
            let (mut pull, mut push) =
                (socket(&context, zmq::PULL).unwrap(), socket(&context, zmq::PUSH).unwrap());
            pull.set_ipv6(ip.is_ipv6()).unwrap();
            pull.set_rcvtimeo(10_000).unwrap();
            push.set_linger(0).unwrap();
            bind(&mut pull, &format!("tcp://{host}:*")).unwrap();
            let address = pull.get_last_endpoint().unwrap().unwrap();
            let port = address.rsplit_once(':').unwrap().1;
            connect(&mut push, &format!("tcp://{name}:{port}")).unwrap();
            push.send("x", 0).unwrap();
            assert_eq!(pull.recv_bytes(0), Ok(b"x".to_vec()), "{name} at {host}");
        }
    }

    #[test]
    fn what_nobody_knows_is_of_ipv4() {
        for address in ["tcp://no-such-host.invalid:1", "tcp://127.0.0.1:1", "ipc:///x", "x"] {
            assert!(!is_ipv6(address), "{address}");
        }
        assert!(is_ipv6("tcp://[::1]:1"));
    }
}
