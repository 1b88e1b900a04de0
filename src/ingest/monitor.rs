//! What libzmq tells of the connections of a socket.
//!
//! The `zmq` crate knows fewer events than libzmq has and panics on others, so they are read here.
//! libzmq's thread would wait for a monitor that is not read, and everything with it: the queue has
//! no mark, and what fills it is bounded by connections that come and go.

use std::os::fd::RawFd;

use crate::ingest::Error;
use crate::ingest::peer::Reason;
use crate::sys::incoming::NO_PLACE;
use crate::sys::zeromq;

/// libzmq's numbers of the events that are listened to (`zmq_socket_monitor`).
const CONNECTED: u16 = 0x0001;
const LISTENING: u16 = 0x0008;
const ACCEPTED: u16 = 0x0020;
const ACCEPT_FAILED: u16 = 0x0040;
const DISCONNECTED: u16 = 0x0200;
const HANDSHAKE_FAILED_NO_DETAIL: u16 = 0x0800;
const HANDSHAKE_SUCCEEDED: u16 = 0x1000;
const HANDSHAKE_FAILED_PROTOCOL: u16 = 0x2000;
const ALL: u16 = CONNECTED
    | LISTENING
    | ACCEPTED
    | ACCEPT_FAILED
    | DISCONNECTED
    | HANDSHAKE_FAILED_NO_DETAIL
    | HANDSHAKE_SUCCEEDED
    | HANDSHAKE_FAILED_PROTOCOL;

/// libzmq's numbers of what was wrong with a handshake.
const CRYPTOGRAPHIC: u32 = 0x1100_0001;
const MECHANISM_MISMATCH: u32 = 0x1100_0002;

/// Listens to one socket.
pub(super) struct Monitor(zmq::Socket);

/// One thing that happened.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Happening {
    /// A connection begins, on a descriptor of libzmq's.
    Connected(RawFd),
    /// It has ended.
    Disconnected(RawFd),
    /// One of those that have begun may send messages.
    Admitted,
    /// The connection that ends next did not finish its handshake.
    Left,
    /// The connection that ends next is one that may not be, and why.
    Refused(Reason),
    /// A connection could not be accepted, and why.
    NotAccepted(Reason),
}

impl Monitor {
    /// Listens from now on; the place tells the socket from others of the context.
    pub(super) fn open(
        context: &zmq::Context,
        socket: &zmq::Socket,
        place: usize,
    ) -> Result<Self, Error> {
        let address = format!("inproc://tidegate.monitor.{place}");
        socket.monitor(&address, i32::from(ALL))?;
        let monitor = zeromq::socket(context, zmq::PAIR)?;
        monitor.set_rcvhwm(0)?;
        monitor.set_linger(0)?;
        monitor.connect(&address)?;
        Ok(Self(monitor))
    }

    /// The socket to wait for.
    pub(super) fn socket(&self) -> &zmq::Socket {
        &self.0
    }

    /// The descriptor on which a socket listens that was bound just now.
    pub(super) fn listener(&self) -> Option<RawFd> {
        let (number, value) = split(&self.event()?)?;
        RawFd::try_from(value).ok().filter(|_| number == LISTENING)
    }

    /// The next thing that happened, if anything has.
    pub(super) fn next(&self) -> Option<Happening> {
        loop {
            if let Some(happening) = parse(&self.event()?) {
                return Some(happening);
            }
        }
    }

    fn event(&self) -> Option<Vec<u8>> {
        // The event, and the address of the endpoint.
        let parts = self.0.recv_multipart(zmq::DONTWAIT).ok()?;
        parts.into_iter().next()
    }
}

fn split(event: &[u8]) -> Option<(u16, u32)> {
    let (number, value) = event.split_first_chunk::<2>()?;
    Some((u16::from_ne_bytes(*number), u32::from_ne_bytes(value.try_into().ok()?)))
}

fn parse(event: &[u8]) -> Option<Happening> {
    let (number, value) = split(event)?;
    let descriptor = RawFd::try_from(value);
    match number {
        CONNECTED | ACCEPTED => descriptor.ok().map(Happening::Connected),
        DISCONNECTED => descriptor.ok().map(Happening::Disconnected),
        HANDSHAKE_SUCCEEDED => Some(Happening::Admitted),
        HANDSHAKE_FAILED_NO_DETAIL => Some(Happening::Left),
        ACCEPT_FAILED => Some(Happening::NotAccepted(match descriptor {
            Ok(NO_PLACE) => Reason::Full,
            _ => Reason::NotAccepted,
        })),
        HANDSHAKE_FAILED_PROTOCOL => Some(Happening::Refused(match value {
            CRYPTOGRAPHIC | MECHANISM_MISMATCH => Reason::Curve,
            _ => Reason::Protocol,
        })),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u16, value: u32) -> Vec<u8> {
        [&number.to_ne_bytes()[..], &value.to_ne_bytes()].concat()
    }

    #[test]
    fn events_of_libzmq_are_understood() {
        for (number, value, happening) in [
            (ACCEPTED, 7, Some(Happening::Connected(7))),
            (CONNECTED, 8, Some(Happening::Connected(8))),
            (DISCONNECTED, 9, Some(Happening::Disconnected(9))),
            (ACCEPT_FAILED, 24, Some(Happening::NotAccepted(Reason::NotAccepted))),
            (ACCEPT_FAILED, NO_PLACE as u32, Some(Happening::NotAccepted(Reason::Full))),
            (0x2000, 0x1100_0001, Some(Happening::Refused(Reason::Curve))),
            (0x2000, 0x1000_0000, Some(Happening::Refused(Reason::Protocol))),
            (0x1000, 0, Some(Happening::Admitted)),
            (0x0800, 104, Some(Happening::Left)),
            (0x0400, 0, None),
        ] {
            assert_eq!(parse(&event(number, value)), happening);
        }
        for short in [&b""[..], b"1", b"12", b"1234567"] {
            assert_eq!(parse(short), None);
        }
    }
}
