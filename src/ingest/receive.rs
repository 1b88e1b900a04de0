//! Receives one message into parts that are used again and again.

use std::os::fd::RawFd;

use crate::ingest::Kind;

/// Parts that are kept: a ROUTER's identity and delimiter, then topic, payload and meta.
const PARTS_KEPT: usize = 5;

/// libzmq's name for the descriptor that a message came over.
const SOURCE: &str = "__fd";

/// The parts of the message received last.
pub(super) struct Receiver {
    parts: [zmq::Message; PARTS_KEPT],
    surplus: zmq::Message,
    /// How many parts the message had.
    count: usize,
    /// How many bytes the message had.
    bytes: usize,
}

/// A received message, borrowed.
pub(super) struct Received<'a> {
    /// Topic, payload and meta, as far as they were sent.
    pub(super) parts: [&'a [u8]; 3],
    /// How many of `parts` were sent.
    pub(super) part_count: usize,
    /// Parts that the format reserves.
    pub(super) surplus: usize,
    /// All bytes of the message.
    pub(super) bytes: usize,
    /// Whom to answer, on a ROUTER.
    pub(super) sender: Option<Sender<'a>>,
}

/// The peer of a ROUTER that sent a message.
pub(super) struct Sender<'a> {
    /// The routing identity of the peer's connection.
    pub(super) identity: &'a [u8],
    /// Whether the peer is a REQ, which sends and expects an empty part before the first.
    pub(super) delimiter: bool,
}

impl Receiver {
    pub(super) fn new() -> Self {
        let parts = std::array::from_fn(|_| zmq::Message::new());
        Self { parts, surplus: zmq::Message::new(), count: 0, bytes: 0 }
    }

    /// The next message, or `None` if none has arrived.
    pub(super) fn receive(&mut self, socket: &zmq::Socket, kind: Kind) -> Option<Received<'_>> {
        (self.count, self.bytes) = (0, 0);
        loop {
            let part = self.parts.get_mut(self.count).unwrap_or(&mut self.surplus);
            match socket.recv(part, zmq::DONTWAIT) {
                Ok(()) => {}
                Err(zmq::Error::EINTR) => continue,
                // Messages arrive whole, so this is before the first part.
                Err(_) => return None,
            }
            self.count += 1;
            self.bytes += part.len();
            if !part.get_more() {
                return Some(self.received(kind));
            }
        }
    }

    /// The descriptor of the connection that the last message came over, where libzmq says so.
    pub(super) fn source(&mut self) -> Option<RawFd> {
        let last = self.count.checked_sub(1)?;
        let part = self.parts.get_mut(last).unwrap_or(&mut self.surplus);
        part.gets(SOURCE)?.parse().ok()
    }

    fn received(&self, kind: Kind) -> Received<'_> {
        let (sender, first) = if kind == Kind::Router {
            // An empty topic is never valid, so an empty part with others behind it is a REQ's.
            let delimiter = self.count > 2 && self.parts[1].is_empty();
            let sender = Sender { identity: &self.parts[0], delimiter };
            (Some(sender), if delimiter { 2 } else { 1 })
        } else {
            (None, 0)
        };
        let sent = self.count - first;
        Received {
            parts: std::array::from_fn(|part| &*self.parts[first + part]),
            part_count: sent.min(3),
            surplus: sent.saturating_sub(3),
            bytes: self.bytes,
            sender,
        }
    }
}
