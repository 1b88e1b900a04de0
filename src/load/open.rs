//! Opening many connections from one thread, one after the other.
//!
//! A source address has about 28,000 ports towards one server, so the addresses of the loopback
//! network are used in turn. Each connection is complete before the next begins: the server's
//! handshake is the measure, not the generator's.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::sys::socket::choose_port_at_connect;

/// How many connections one source address makes.
const CONNECTIONS_PER_SOURCE: usize = 20_000;

/// How long one opening handshake may take before something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is opened.
#[derive(Clone, Debug)]
pub enum Target {
    /// A plain TCP connection: the other side sends frames without a handshake.
    Plain,
    /// A WebSocket. `{n}` in the path is replaced by the number of the connection.
    WebSocket(String),
}

/// Which connections are opened.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The server.
    pub address: SocketAddr,
    /// What is opened there.
    pub target: Target,
    /// The number of the first connection: what makes source addresses and users of several
    /// generators differ.
    pub first: usize,
    /// How many.
    pub count: usize,
}

/// Opens all connections, or says which one failed.
pub fn open(opening: &Opening) -> io::Result<Vec<TcpStream>> {
    (opening.first..opening.first + opening.count)
        .map(|number| {
            open_one(opening, number).map_err(|error| {
                io::Error::new(error.kind(), format!("connection {number}: {error}"))
            })
        })
        .collect()
}

fn open_one(opening: &Opening, number: usize) -> io::Result<TcpStream> {
    let mut stream = connect(opening.address, number)?;
    if let Target::WebSocket(path) = &opening.target {
        stream.set_read_timeout(Some(PATIENCE))?;
        shake_hands(&mut stream, opening.address, &path.replace("{n}", &number.to_string()))?;
    }
    stream.set_nonblocking(true)?;
    Ok(stream)
}

fn connect(address: SocketAddr, number: usize) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.ip().is_loopback() && address.is_ipv4() {
        // The port is chosen at connect, where it has to be free for this one server only.
        socket.set_reuse_address(true)?;
        let source = number / CONNECTIONS_PER_SOURCE + 1;
        let source = Ipv4Addr::new(127, 1, (source >> 8) as u8, source as u8);
        bind_without_port(&socket, source)?;
    }
    socket.set_tcp_nodelay(true)?;
    socket.connect(&address.into())?;
    Ok(socket.into())
}

fn bind_without_port(socket: &Socket, source: Ipv4Addr) -> io::Result<()> {
    choose_port_at_connect(socket.as_raw_fd())?;
    socket.bind(&SocketAddr::new(IpAddr::V4(source), 0).into())
}

/// The client's side of the opening handshake. The key is the RFC's sample, and so is the answer.
fn shake_hands(stream: &mut TcpStream, address: SocketAddr, path: &str) -> io::Result<()> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut response = Vec::with_capacity(256);
    // A byte at a time would be slow, and more could take frames that follow: peek first.
    while !response.ends_with(b"\r\n\r\n") {
        let mut ahead = [0; 512];
        let seen = stream.peek(&mut ahead)?;
        if seen == 0 {
            return Err(io::Error::other("the server closed the connection"));
        }
        let take = head_bytes(&response, &ahead[..seen]);
        let start = response.len();
        response.resize(start + take, 0);
        stream.read_exact(&mut response[start..])?;
    }
    let response = String::from_utf8_lossy(&response);
    let is_accepted =
        response.starts_with("HTTP/1.1 101") && response.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    if is_accepted {
        Ok(())
    } else {
        let line = response.lines().next().unwrap_or_default();
        Err(io::Error::other(format!("the server answered {line}")))
    }
}

/// How many of the bytes ahead belong to a head of which some has been read.
fn head_bytes(read: &[u8], ahead: &[u8]) -> usize {
    let mut head = read.to_vec();
    for (at, &byte) in ahead.iter().enumerate() {
        head.push(byte);
        if head.ends_with(b"\r\n\r\n") {
            return at + 1;
        }
    }
    ahead.len()
}
