//! Opens a ZeroMQ socket with limits that hold against slow, silent and hostile peers.
//!
//! libzmq's own defaults are unlimited message sizes and no heartbeats. Everything happens on the
//! thread that starts the edge, so that a wrong address or a used port ends the start-up.

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use crate::ingest::curve::domain;
use crate::ingest::monitor::Monitor;
use crate::ingest::peer::HANDSHAKE;
use crate::ingest::{Curve, Endpoint, Error, Kind, path};
use crate::limits::peer_places;
use crate::sys::host::may_write;
use crate::sys::incoming::Door;
use crate::sys::zeromq;

/// What waits of one peer on its way in has at most so many bytes, counted as if each message were
/// as long as one may be: libzmq's mark is a number of messages.
const QUEUE_BYTES_MAX: usize = 128 << 20;

/// Connections that wait to be accepted: when an edge starts again, its backends come at once, and
/// one that finds no room tries again after a second.
const BACKLOG: i32 = 4096;

/// So many of TCP's own probes, spread over `heartbeat_timeout`, get no answer from a dead host.
const KEEPALIVES: i32 = 3;

/// How long answers and events that were handed to libzmq may delay the end of the process.
const LINGER_MS: i32 = 100;

/// An endpoint that is open.
pub(super) struct Opened {
    pub(super) socket: zmq::Socket,
    /// Tells of its connections, from the first one on.
    pub(super) monitor: Monitor,
    /// Bounds its connections, if it listens.
    pub(super) door: Option<Door>,
    /// The address that it really has.
    pub(super) address: String,
}

/// Opens the endpoint at a place of the configuration.
pub(super) fn open(
    context: &zmq::Context,
    endpoint: &Endpoint,
    place: usize,
) -> Result<Opened, Error> {
    check_address(endpoint)?;
    if endpoint.curve.is_some() && zmq::has("curve") != Some(true) {
        return Err(Error::NoCurve { address: endpoint.address.clone() });
    }
    let kind = match endpoint.kind {
        Kind::Sub => zmq::SUB,
        Kind::Pull => zmq::PULL,
        Kind::Router => zmq::ROUTER,
        Kind::Pub => zmq::PUB,
        Kind::Xpub => zmq::XPUB,
    };
    let mut socket = zeromq::socket(context, kind)?;
    let address = || endpoint.address.clone();
    let failed = |remedy| {
        move |error: zmq::Error| Error::Open { address: address(), remedy, source: error.into() }
    };
    set_options(&socket, endpoint).map_err(failed("an option of the endpoint is out of range"))?;
    set_curve(&socket, endpoint, &domain(place)).map_err(failed("check its CURVE keys"))?;
    let monitor = Monitor::open(context, &socket, place)?;
    if !endpoint.bind {
        zeromq::connect(&mut socket, &endpoint.address).map_err(|source| Error::Open {
            address: address(),
            remedy: "check its address",
            source,
        })?;
        return Ok(Opened { socket, monitor, door: None, address: address() });
    }
    path::check_free(endpoint)?;
    path::bind(endpoint, || {
        zeromq::bind(&mut socket, &endpoint.address).map_err(|source| refused(endpoint, source))
    })?;
    let door = monitor.listener().map(|fd| Door::new(fd, peer_places(endpoint.peers_max)));
    let address = socket.get_last_endpoint()?.unwrap_or_else(|_| address());
    // What libzmq makes of all interfaces, as it is written.
    let address = match endpoint.address.starts_with("tcp://*:") {
        true => address.replace("tcp://[::]:", "tcp://*:").replace("tcp://0.0.0.0:", "tcp://*:"),
        false => address,
    };
    Ok(Opened { socket, monitor, door, address })
}

/// Why nobody can listen at the address of an endpoint.
fn refused(endpoint: &Endpoint, source: io::Error) -> Error {
    let address = endpoint.address.clone();
    match source.raw_os_error() {
        Some(libc::EADDRINUSE) => Error::InUse { address },
        _ if address.starts_with("ipc://") => Error::Path { address, source },
        _ => Error::Bind { address, source },
    }
}

/// Refuses what libzmq reports in riddles.
fn check_address(endpoint: &Endpoint) -> Result<(), Error> {
    let problem = |problem| {
        Err(Error::Address { address: endpoint.address.escape_debug().to_string(), problem })
    };
    let address = endpoint.address.as_str();
    if address.contains('\0') {
        return problem("an address has no NUL bytes");
    }
    if address.starts_with("ipc://") {
        return match path::folder(endpoint).is_some_and(|folder| !folder.is_dir()) {
            true => problem("the folder of the socket does not exist; create it"),
            false => Ok(()),
        };
    }
    match address.strip_prefix("tcp://") {
        Some(rest) if rest.contains(':') => Ok(()),
        _ => problem("write tcp://HOST:PORT or ipc://PATH"),
    }
}

/// Looks at what this host has where an endpoint is to listen, and opens nothing.
pub fn examine(endpoint: &Endpoint) -> Result<(), Error> {
    check_address(endpoint)?;
    let address = || endpoint.address.clone();
    if let Some(folder) = path::folder(endpoint) {
        return may_write(folder).map_err(|source| Error::Path { address: address(), source });
    }
    let interfaces = Path::new("/sys/class/net");
    match interface(endpoint) {
        Some(name) if interfaces.is_dir() && !interfaces.join(name).exists() => {
            let source = io::Error::from_raw_os_error(libc::ENODEV);
            Err(Error::Bind { address: address(), source })
        }
        _ => Ok(()),
    }
}

/// The name of the interface at which an endpoint listens, if it names one.
fn interface(endpoint: &Endpoint) -> Option<&str> {
    let (host, _) = endpoint.address.strip_prefix("tcp://")?.rsplit_once(':')?;
    let is_address = host == "*" || host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok();
    (endpoint.bind && !is_address).then_some(host)
}

/// A ping to a peer that has sent all it had and is closed makes its kernel throw away what has
/// not been taken yet, and neither side would know. So whoever only publishes is not pinged, and
/// TCP notices when it is gone. Pings also need ZMTP 3.1 on both sides, which TCP does not.
fn set_heartbeats(socket: &zmq::Socket, endpoint: &Endpoint) -> zmq::Result<()> {
    let Endpoint { heartbeat_interval, heartbeat_timeout, .. } = *endpoint;
    if !matches!(endpoint.kind, Kind::Sub | Kind::Pull) {
        socket.set_heartbeat_ivl(milliseconds(heartbeat_interval))?;
        socket.set_heartbeat_timeout(milliseconds(heartbeat_timeout))?;
    }
    let seconds = |time: Duration| i32::try_from(time.as_secs().max(1)).unwrap_or(i32::MAX);
    socket.set_tcp_keepalive(1)?;
    socket.set_tcp_keepalive_idle(seconds(heartbeat_interval))?;
    socket.set_tcp_keepalive_cnt(KEEPALIVES)?;
    socket.set_tcp_keepalive_intvl(seconds(heartbeat_timeout / KEEPALIVES.unsigned_abs()))
}

fn set_options(socket: &zmq::Socket, endpoint: &Endpoint) -> zmq::Result<()> {
    let longest = QUEUE_BYTES_MAX / endpoint.message_bytes_max.max(1);
    let mark = |most: usize| i32::try_from(most.max(1)).unwrap_or(i32::MAX);
    let high_water_mark = endpoint.high_water_mark as usize;
    socket.set_rcvhwm(mark(high_water_mark.min(longest)))?;
    socket.set_sndhwm(mark(high_water_mark))?;
    socket.set_maxmsgsize(i64::try_from(endpoint.message_bytes_max).unwrap_or(i64::MAX))?;
    // libzmq looks names up on the I/O thread, which a name server that is gone holds for seconds.
    socket.set_affinity(if endpoint.bind { 0b01 } else { 0b10 })?;
    socket.set_backlog(BACKLOG)?;
    socket.set_handshake_ivl(milliseconds(HANDSHAKE))?;
    socket.set_reconnect_ivl(milliseconds(endpoint.reconnect_interval))?;
    socket.set_reconnect_ivl_max(milliseconds(endpoint.reconnect_interval_max))?;
    set_heartbeats(socket, endpoint)?;
    socket.set_sndtimeo(0)?;
    // All interfaces of IPv6 are those of IPv4 too; libzmq goes without where the kernel has no
    // IPv6. Where the edge connects, `zeromq::connect` says which it is.
    socket.set_ipv6(endpoint.address.contains('[') || endpoint.address.starts_with("tcp://*:"))?;
    match endpoint.kind {
        Kind::Sub => {
            for topic in &endpoint.topics {
                socket.set_subscribe(topic.as_bytes())?;
            }
        }
        // Otherwise an answer to a peer that is gone would vanish uncounted, and a backend that
        // comes back before its old connection is given up would never be heard.
        Kind::Router => {
            socket.set_router_mandatory(true)?;
            socket.set_router_handover(true)?;
        }
        Kind::Pull | Kind::Pub | Kind::Xpub => {}
    }
    socket.set_linger(match endpoint.kind {
        Kind::Sub | Kind::Pull => 0,
        Kind::Router | Kind::Pub | Kind::Xpub => LINGER_MS,
    })
}

fn set_curve(socket: &zmq::Socket, endpoint: &Endpoint, zap_domain: &str) -> zmq::Result<()> {
    match &endpoint.curve {
        None => Ok(()),
        Some(Curve::Server { secret_key, .. }) => {
            socket.set_zap_domain(zap_domain)?;
            socket.set_curve_server(true)?;
            socket.set_curve_secretkey(secret_key)
        }
        Some(Curve::Client { public_key, secret_key, server_key }) => {
            socket.set_curve_publickey(public_key)?;
            socket.set_curve_secretkey(secret_key)?;
            socket.set_curve_serverkey(server_key)
        }
    }
}

fn milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
