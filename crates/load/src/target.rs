//! Where connections go, and from which addresses they come.
//!
//! A source address has about 28,000 ports towards one server. On loopback every address of
//! 127.0.0.0/8 is ours, so they are used in turn and ports are no limit; elsewhere the caller
//! lists the addresses that the machine has.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;

use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

use crate::channels::Channels;
use tidegate_sys::socket::choose_port_at_connect;

/// How many connections one source address makes when they are taken from loopback. There are ports
/// for seven times as many, but the kernel looks for a free one by trying, one parity first, and
/// ports of connections that were just closed are in its way.
const CONNECTIONS_PER_SOURCE: u32 = 4000;

/// How many source addresses 127.1.x.y there are.
const LOOPBACK_SOURCES: u32 = 1 << 16;

/// What is opened.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Door {
    /// A plain TCP connection: the other side sends frames without a handshake.
    Plain,
    /// A WebSocket at this path. `{number}` is replaced by the number of the connection, and
    /// `{channels}` by the names of its channels. Each message is a frame.
    WebSocket(String),
    /// The same, and the Centrifuge protocol in JSON is spoken there.
    Json(String),
}

/// A server as clients see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Target {
    /// The server.
    pub address: SocketAddr,
    /// The `Host` header.
    pub host: String,
    /// What is opened there.
    pub door: Door,
    /// What connections are subscribed to.
    pub channels: Channels,
    /// Source addresses to use in turn. None means loopback's towards loopback, else the one that
    /// the system chooses.
    pub sources: Vec<IpAddr>,
    /// The size of the socket's receive buffer, if it shall not be the system's.
    pub receive_buffer: Option<usize>,
}

impl Target {
    /// A target with the system's choices.
    #[must_use]
    pub fn new(address: SocketAddr, door: Door) -> Self {
        let host = address.to_string();
        let channels = Channels::default();
        Self { address, host, door, channels, sources: Vec::new(), receive_buffer: None }
    }

    /// Begins to connect; the socket becomes writable when that is done or has failed.
    pub(super) fn connect(&self, number: u32) -> io::Result<Socket> {
        let domain = Domain::for_address(self.address);
        let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        if let Some(source) = self.source(number) {
            // The port is chosen at connect, where it has to be free for this one server only.
            socket.set_reuse_address(true)?;
            choose_port_at_connect(socket.as_raw_fd())?;
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&self.address.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
            _ => Ok(socket),
        }
    }

    fn source(&self, number: u32) -> Option<IpAddr> {
        if !self.sources.is_empty() {
            return Some(self.sources[number as usize % self.sources.len()]);
        }
        let is_loopback = matches!(self.address.ip(), IpAddr::V4(ip) if ip.is_loopback());
        is_loopback.then(|| {
            let source = (number / CONNECTIONS_PER_SOURCE + 1) % LOOPBACK_SOURCES;
            Ipv4Addr::new(127, 1, (source >> 8) as u8, source as u8).into()
        })
    }

    /// How many ends of a connection are on this host, as far as the address says.
    pub(super) fn ends_here(&self) -> u64 {
        if self.address.ip().is_loopback() { 2 } else { 1 }
    }

    /// How many connections the ports suffice for at the same time; `None` means any number.
    #[must_use]
    pub fn ports(&self) -> Option<usize> {
        if self.sources.is_empty() && self.source(0).is_some() {
            return None;
        }
        let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
        let mut ends = range.split_whitespace().filter_map(|end| end.parse::<usize>().ok());
        let (first, last) = (ends.next()?, ends.next()?);
        Some((last + 1).saturating_sub(first) * self.sources.len().max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_used_in_turn() {
        let mut target = Target::new("127.0.0.1:8000".parse().unwrap(), Door::Plain);
        assert_eq!(target.source(0), Some("127.1.0.1".parse().unwrap()));
        assert_eq!(target.source(CONNECTIONS_PER_SOURCE), Some("127.1.0.2".parse().unwrap()));
        assert_eq!(target.ports(), None);
        target.sources = vec!["127.0.0.8".parse().unwrap(), "127.0.0.9".parse().unwrap()];
        assert_eq!(target.source(3), Some(target.sources[1]));
        assert!(target.ports().is_some_and(|ports| ports % 2 == 0));
        let remote = Target::new("192.0.2.1:80".parse().unwrap(), Door::Plain);
        assert_eq!(remote.source(0), None);
    }
}
