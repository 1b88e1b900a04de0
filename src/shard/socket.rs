//! The shell's own row of a connection, beside the hub's.

use std::os::fd::RawFd;

use crate::hub::Id;
use crate::shard::half::Kept;
use crate::wheel::Tick;

/// What the shell knows of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Socket {
    /// The socket.
    pub(super) fd: RawFd,
    /// The row of what is half read, while something is.
    pub(super) half: Id<Kept>,
    /// When the peer was last heard.
    pub(super) last_seen: Tick,
    /// When the age of what it is owed is looked at; means something while `OWES` is set.
    pub(super) age_due: Tick,
    /// The code that backends hear when it is gone.
    pub(super) close_code: u16,
    /// Where it is in its life.
    pub(super) state: State,
    /// What else is true of it.
    pub(super) flags: u8,
}

const _: () = assert!(size_of::<Socket>() <= 20, "a row of the shell per connection");

/// Where a connection is in its life, as the wire sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The row is free.
    Free,
    /// The head of the opening handshake is being read.
    Handshake,
    /// The hub joins its channels; nothing is read meanwhile.
    Joining,
    /// Frames flow.
    Open,
    /// A close frame is on its way; what the peer sends is only searched for its own.
    Closing,
    /// Our direction is shut down; what the peer sends is thrown away until it closes too.
    Lingering,
}

/// The door is `/echo`.
pub(super) const IS_ECHO: u8 = 0x01;
/// A ping is out and nothing was heard since.
pub(super) const PINGED: u8 = 0x02;
/// A watch for writability is out, and the age of what is owed is measured.
pub(super) const OWES: u8 = 0x04;
/// The peer has sent its close frame, or none is expected.
pub(super) const PEER_CLOSED: u8 = 0x08;
/// It stands in the queue of sockets that are to be read.
pub(super) const IS_READY: u8 = 0x10;
/// Its opening handshake may be read.
pub(super) const IS_ADMITTED: u8 = 0x20;
/// It was never pinged: the first ping comes early, so that pings are spread.
pub(super) const FIRST_PING_DUE: u8 = 0x40;
/// It counts as a connection.
pub(super) const IS_COUNTED: u8 = 0x80;

impl Socket {
    /// A free row.
    pub(super) const FREE: Self = Self {
        fd: -1,
        half: Id::NONE,
        last_seen: Tick(0),
        age_due: Tick(0),
        close_code: 1006,
        state: State::Free,
        flags: 0,
    };

    /// Whether a flag is set.
    pub(super) fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Sets or clears a flag.
    pub(super) fn set(&mut self, flag: u8, value: bool) {
        if value {
            self.flags |= flag;
        } else {
            self.flags &= !flag;
        }
    }
}
