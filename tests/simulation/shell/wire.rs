//! One simulated TCP connection: what is under way in both directions, and how it ends.

use std::collections::VecDeque;

use crate::random::Random;

/// How a connection ended for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The server has said all.
    Finished,
    /// It broke, and with it what was under way.
    Torn,
}

/// One connection. The client's half is what its methods are for; the shard's half is the kernel's.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    /// The shard that has it.
    pub(super) shard: usize,
    /// What the client has sent and what is still to come.
    flying: VecDeque<u8>,
    /// What has come and was not read.
    pub(super) arrived: VecDeque<u8>,
    has_said_all: bool,
    /// The client's end has come, behind all that has arrived.
    pub(super) has_end_come: bool,
    /// It is broken, as the shard is told.
    pub(super) is_reset: bool,
    pub(super) is_reset_told: bool,
    /// The client has closed its socket: whatever comes for it breaks the connection.
    is_left: bool,
    /// What the shard has sent and the client has not read.
    pub(super) sent: VecDeque<u8>,
    /// How much of that there may be.
    pub(super) capacity: usize,
    /// The shard sends no more.
    pub(super) has_ended: bool,
    is_torn: bool,
    /// Whether the shard has its descriptor.
    pub(super) is_open: bool,
    /// The row and the generation of the watches that hold it open.
    pub(super) readable: Option<(u32, u32)>,
    pub(super) writable: Option<(u32, u32)>,
    /// The shard has closed it and holds it by no watch.
    pub(super) is_finished: bool,
}

impl Wire {
    /// To a shard, with a send buffer of some size.
    pub(super) fn new(shard: usize, capacity: usize) -> Self {
        Self { shard, capacity, ..Self::default() }
    }

    /// The client sends something.
    pub(super) fn say(&mut self, bytes: &[u8]) {
        if !self.is_reset && !self.has_said_all {
            self.flying.extend(bytes);
        }
    }

    /// The client has said all, and still listens.
    pub(super) fn end(&mut self) {
        self.has_said_all = true;
    }

    /// The client closes its socket. What it has not read breaks the connection.
    pub(super) fn leave(&mut self) {
        self.is_left = true;
        self.has_said_all = true;
        if !self.sent.is_empty() {
            self.reset();
        }
    }

    /// The connection breaks. What had arrived can still be read.
    pub(super) fn reset(&mut self) {
        self.is_reset = true;
        self.is_left = true;
        self.flying.clear();
        self.sent.clear();
    }

    /// Some of what is under way arrives. Returns whether there is something new.
    pub(super) fn carry(&mut self, count: usize) -> bool {
        let count = count.min(self.flying.len());
        let had_end = self.has_end_come;
        self.arrived.extend(self.flying.drain(..count));
        self.has_end_come = self.has_said_all && self.flying.is_empty();
        let is_new = count > 0 || self.has_end_come && !had_end;
        if self.is_finished && count > 0 {
            self.is_torn = true;
            self.arrived.clear();
        }
        is_new && !self.is_finished
    }

    /// Whether nothing is on its way.
    pub(super) fn is_calm(&self) -> bool {
        self.flying.is_empty() && self.sent.is_empty() && self.has_said_all == self.has_end_come
    }

    /// What the client reads.
    pub(super) fn hear(&mut self, most: usize) -> Vec<u8> {
        let count = most.min(self.sent.len());
        self.sent.drain(..count).collect()
    }

    /// How it has ended for a client that has read all there was.
    pub(super) fn end_heard(&self) -> Option<End> {
        match (self.is_torn || self.is_reset, self.has_ended) {
            _ if !self.sent.is_empty() => None,
            (true, _) => Some(End::Torn),
            (false, true) => Some(End::Finished),
            (false, false) => None,
        }
    }

    /// What a poll says of the shard's half for reading; 0 for nothing.
    pub(super) fn readiness(&self) -> i32 {
        let mut mask = 0;
        if !self.arrived.is_empty() || self.has_end_come {
            mask |= libc::POLLIN;
        }
        if self.has_end_come {
            mask |= libc::POLLRDHUP;
        }
        if self.is_reset {
            mask |= libc::POLLIN | libc::POLLRDHUP | libc::POLLERR | libc::POLLHUP;
        }
        i32::from(mask)
    }

    /// Whether a poll says that the shard may write: only when a good part is free.
    pub(super) fn is_writable(&self) -> bool {
        self.is_reset || self.sent.len() * 3 <= self.capacity * 2
    }

    /// The shard writes: how much is taken, which may be less than there is room for, or an error
    /// number.
    pub(super) fn write(
        &mut self,
        bytes: &[u8],
        falls_short: Option<&mut Random>,
    ) -> Result<usize, i32> {
        if self.is_reset || self.has_ended {
            return Err(libc::EPIPE);
        }
        if self.is_left {
            self.is_reset = true;
            return Ok(bytes.len());
        }
        let mut count = bytes.len().min(self.capacity.saturating_sub(self.sent.len()));
        if let Some(random) = falls_short {
            count = random.below(count + 1);
        }
        self.sent.extend(&bytes[..count]);
        Ok(count)
    }

    /// The shard has closed it and no watch holds it any more. Whatever lies unread makes the
    /// client lose what is on its way to it.
    pub(super) fn finish(&mut self, random: &mut Random) {
        self.is_finished = true;
        if self.arrived.is_empty() {
            self.has_ended = true;
        } else {
            self.is_torn = true;
            self.arrived.clear();
            self.sent.truncate(random.below(self.sent.len() + 1));
        }
    }
}
