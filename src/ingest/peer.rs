//! One connection to a ZeroMQ endpoint, seen from outside libzmq: whose it is, how much it has
//! brought, and why it ended.
//!
//! libzmq says that a connection ended but not why: a part that is too long looks like a peer that
//! went home. The edge holds a descriptor of its own of each connection, and what the kernel says
//! of it tells the two apart. The descriptor goes as soon as libzmq says that the connection has
//! ended.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Shutdown};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use socket2::Socket;

use crate::metrics::{Counter, IngestMetrics};
use crate::sys::incoming::{self, Foreign};
use crate::sys::socket::{Received, duplicate, received, unread};

/// How long the handshake of a connection may take.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);

/// How many parts of the greatest length one message may have the bytes of.
const PARTS_MAX: u64 = 4;

/// Most bytes of subscriptions to events, beside a peer's free ones: libzmq keeps each byte of one
/// in some thirty.
const SUBSCRIPTIONS_BYTES_MAX: u64 = 64 << 10;

/// Why a peer was not let in, or did not stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Its kind of socket does not fit.
    WrongSocket,
    /// It went in the handshake, too fast to be looked at.
    Left,
    /// One side wants CURVE, or the peer knows another server.
    Curve,
    /// Its CURVE key is not listed.
    UnknownKey,
    /// It did not finish its handshake in time.
    Handshake,
    /// It does not speak ZeroMQ.
    Protocol,
    /// It speaks HTTP.
    Http,
    /// It speaks TLS.
    Tls,
    /// The endpoint has as many connections as it may have.
    Full,
    /// It sent a part that is too long.
    TooLong,
    /// It sent parts without an end.
    Unfinished,
    /// It subscribed to events without an end.
    Subscriptions,
    /// It gave no sign of life.
    Silent,
    /// Another connection has taken its routing id.
    Replaced,
    /// The process has no descriptor left.
    NotAccepted,
}

impl Reason {
    /// In words, for the log.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::WrongSocket => {
                "its kind of socket does not fit this one, as PUB does not fit PULL"
            }
            Self::Left => "it went in the handshake: its kind of socket or its CURVE may not fit",
            Self::Curve => "only one side has CURVE, or it knows another server key",
            Self::UnknownKey => "its CURVE key is not among authorized_keys",
            Self::Handshake => "it did not finish its handshake within 10 s",
            Self::Protocol => "what it sends is not ZeroMQ",
            Self::Http => {
                "that is HTTP: the API is at internal.address, WebSockets are at public.address"
            }
            Self::Tls => "that is TLS, which ZeroMQ does not speak; CURVE encrypts",
            Self::Full => {
                "the endpoint has no place: whose handshake was the oldest unfinished gives way; \
                 raise peers_max, or see who connects"
            }
            Self::TooLong => "it sent a part longer than message_bytes_max",
            Self::Unfinished => {
                "it sent a message that is longer than four times message_bytes_max"
            }
            Self::Subscriptions => "it sent more than 64 KiB of subscriptions to events",
            Self::Silent => "it gave no sign of life within heartbeat_timeout",
            Self::Replaced => {
                "another connection has its routing id: it came back, or two backends share one"
            }
            Self::NotAccepted => "no descriptor is left; raise the limit of open files",
        }
    }

    /// Where it is counted.
    pub(super) fn counter(self, metrics: &IngestMetrics) -> &Counter {
        match self {
            Self::WrongSocket => &metrics.peers_wrong_socket,
            Self::Left => &metrics.peers_left,
            Self::Curve => &metrics.peers_curve,
            Self::UnknownKey => &metrics.peers_unknown_key,
            Self::Handshake => &metrics.peers_handshake,
            Self::Protocol => &metrics.peers_protocol,
            Self::Http => &metrics.peers_http,
            Self::Tls => &metrics.peers_tls,
            Self::Full => &metrics.peers_full,
            Self::TooLong => &metrics.peers_too_long,
            Self::Unfinished => &metrics.peers_unfinished,
            Self::Subscriptions => &metrics.peers_subscriptions,
            Self::Silent => &metrics.peers_silent,
            Self::Replaced => &metrics.peers_replaced,
            Self::NotAccepted => &metrics.peers_not_accepted,
        }
    }
}

/// One connection.
pub(super) struct Peer {
    socket: Socket,
    /// libzmq's descriptor of it.
    fd: RawFd,
    /// When it began.
    began_nanos: u64,
    /// Its address.
    pub(super) name: String,
    /// Its routing id, where it chose one and the endpoint has use for it.
    pub(super) routing_id: Option<Box<[u8]>>,
    /// Bytes that libzmq has read of it.
    taken: u64,
    /// What `taken` was when the last message that is known of was complete, or when the watch
    /// began.
    since: u64,
    /// Whether messages of it are looked for.
    pub(super) is_watched: bool,
    /// Whether a message of it has come since the last measurement.
    pub(super) has_completed: bool,
    /// Whether the edge has ended the connection, and libzmq has still to see it.
    pub(super) is_shut: bool,
}

impl Peer {
    /// A connection that libzmq made, if it is still there.
    pub(super) fn of_connecting(fd: RawFd) -> Option<OwnedFd> {
        let own = duplicate(fd).ok()?;
        incoming::count(fd);
        Some(own)
    }

    /// The connection that libzmq has, or had, on a descriptor.
    pub(super) fn on(own: OwnedFd, fd: RawFd, now_nanos: u64) -> io::Result<Self> {
        let socket = Socket::from(own);
        let address = socket.peer_addr()?.as_socket();
        let name = address.map_or_else(
            || "a local process".to_owned(),
            |mut address| {
                // IPv4 on a socket of both protocols.
                let ip: IpAddr = address.ip().to_canonical();
                address.set_ip(ip);
                address.to_string()
            },
        );
        Ok(Self {
            socket,
            fd,
            began_nanos: now_nanos,
            name,
            routing_id: None,
            taken: 0,
            since: 0,
            is_watched: false,
            has_completed: false,
            is_shut: false,
        })
    }

    /// How many bytes have come of it.
    pub(super) fn received(&self) -> u64 {
        self.look().map_or(0, |received| received.come)
    }

    /// How many bytes it has sent and libzmq has read.
    pub(super) fn taken(&self) -> u64 {
        self.look().map_or(0, |received| received.taken)
    }

    /// What it speaks that is no ZeroMQ.
    pub(super) fn foreign(&self) -> Option<Reason> {
        incoming::foreign(self.socket.as_raw_fd()).map(|foreign| match foreign {
            Foreign::Http => Reason::Http,
            Foreign::Tls => Reason::Tls,
            Foreign::Other => Reason::Protocol,
        })
    }

    /// Whether bytes of it wait in the kernel.
    pub(super) fn has_unread(&self) -> bool {
        unread(self.socket.as_raw_fd()).is_some_and(|bytes| bytes > 0)
    }

    /// What it has brought. Of local connections the kernel does not say it.
    fn look(&self) -> Option<Received> {
        let own = self.socket.as_raw_fd();
        received(own).or_else(|| {
            let taken = incoming::taken(self.fd);
            let come = taken + unread(own)?;
            Some(Received { come, taken, quiet: Duration::MAX, is_reset: false })
        })
    }

    /// Whether it has been there for longer than a handshake may take. libzmq's clock began
    /// before that of the edge.
    pub(super) fn is_old(&self, now_nanos: u64) -> bool {
        let age = Duration::from_nanos(now_nanos.saturating_sub(self.began_nanos));
        age + Duration::from_secs(1) >= HANDSHAKE
    }

    /// Why the edge ended a connection that libzmq says has ended; none if the peer did.
    pub(super) fn why_ended(&self, heartbeat_timeout: Duration) -> Option<Reason> {
        let received = self.look();
        match self.socket.peek(&mut [MaybeUninit::uninit()]) {
            // It died, and libzmq noticed when it wrote to it, before it had read all.
            _ if received.as_ref().is_some_and(|received| received.is_reset) => None,
            // The end of what it had to say.
            Ok(0) => None,
            Ok(_) => Some(Reason::TooLong),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let quiet = received.map(|received| received.quiet);
                let is_silent = quiet.is_none_or(|quiet| quiet >= heartbeat_timeout);
                Some(if is_silent { Reason::Silent } else { Reason::TooLong })
            }
            Err(_) => None,
        }
    }

    /// Looks how much it has brought since the last time; `free_bytes` are not counted against it.
    /// `was_drained` says that all complete messages which were there then have been received.
    /// Gives how much, and whether it goes on and on with one message.
    pub(super) fn measure(
        &mut self,
        part_bytes_max: u64,
        free_bytes: u64,
        was_drained: bool,
    ) -> (u64, bool) {
        let received = self.look().filter(|_| !self.is_shut);
        let Some(received) = received else { return (0, false) };
        let before = self.taken;
        self.taken = received.taken.max(before);
        self.since = (self.since + free_bytes).min(before);
        let mut is_endless = false;
        if std::mem::take(&mut self.has_completed) {
            (self.is_watched, self.since) = (false, self.taken);
        } else if self.is_watched {
            is_endless = was_drained && before - self.since > PARTS_MAX * part_bytes_max;
        } else if self.taken - self.since > part_bytes_max {
            (self.is_watched, self.since) = (true, self.taken);
        }
        (self.taken - before, is_endless)
    }

    /// How much it has brought since its last message that is known of.
    pub(super) fn unfinished(&self) -> u64 {
        self.taken().saturating_sub(self.since)
    }

    /// Looks how much it has brought to an endpoint that sends events, as `measure`; gives whether
    /// that is too much.
    pub(super) fn measure_subscriptions(&mut self, free_bytes: u64) -> bool {
        let before = self.taken;
        self.taken = self.taken().max(before);
        self.since = (self.since + free_bytes).min(before);
        !self.is_shut && self.taken - self.since > SUBSCRIPTIONS_BYTES_MAX
    }

    /// Tells the peer that the connection ends, and still takes what is on its way: a peer that is
    /// cut off while it sends loses what its kernel holds.
    pub(super) fn dismiss(&mut self) {
        self.end(Shutdown::Write);
    }

    /// Ends the connection; libzmq finds that out by itself.
    pub(super) fn shut(&mut self) {
        self.end(Shutdown::Both);
    }

    fn end(&mut self, how: Shutdown) {
        (self.is_shut, self.is_watched, self.routing_id) = (true, false, None);
        // A peer that is gone already is as well.
        let _ = self.socket.shutdown(how);
    }
}
