//! One batch of sends: what the hub wants written, and what became of it.

use crate::hub::delivery::channel::Channel;
use crate::hub::delivery::connection::Connection;
use crate::hub::rows::Id;

/// At most this many sends go to the kernel in one call. Longer batches push the receiving side's
/// work to ksoftirqd and make everything else wait.
pub const BATCH_MAX: usize = 64;

/// Where the bytes of a send are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hub) enum Source {
    /// In the connection's outbox.
    Outbox,
    /// In a channel's log, for one of its members.
    Log {
        /// The channel.
        channel: Id<Channel>,
        /// The member's place.
        member: u32,
        /// The position of the first byte.
        position: u64,
        /// How many bytes at the front are the rest of a frame that was begun earlier.
        lead: u32,
    },
}

/// One send.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The connection.
    pub row: u32,
    /// The shell's word for its socket.
    pub token: i32,
    /// How many bytes there are.
    pub length: u32,
    /// How many of them the socket took: all, unless the shell says otherwise.
    pub sent: u32,
    pub(in crate::hub) source: Source,
}

/// The sends of one batch; a connection occurs at most once.
#[derive(Debug, Default)]
pub struct Batch {
    /// The sends.
    pub entries: Vec<Entry>,
    /// Channels whose pass ended in this batch.
    pub(in crate::hub) ended: Vec<Id<Channel>>,
}

impl Entry {
    /// The connection, as the hub knows it.
    pub(in crate::hub) fn connection(&self) -> Id<Connection> {
        Id::new(self.row)
    }
}

impl Batch {
    /// Whether there is room for another send.
    pub(super) fn has_room(&self) -> bool {
        self.entries.len() < BATCH_MAX
    }
}
