//! What exists of a connection only while its socket is full or personal bytes wait for it.
//!
//! The outbox holds bytes for this one connection: replies, pongs, close frames, and frames of
//! channels that it has left. Frames of its channels are not copied here; their cursors lag.

/// Personal bytes, and how long the connection has been owed what it is owed.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    /// How much of `bytes` the socket took.
    sent: usize,
    /// The channel of whose log the socket took a frame only in part: nothing else may be sent
    /// before the rest of it.
    /// The number says how many bytes of it are left.
    pub(super) unfinished: Option<(u32, u32)>,
    /// How many bytes of long replies were promised room since it was empty last: they do not count
    /// against what else may wait.
    pub(super) reserved: usize,
    /// What was owed when the age was measured last, and what the socket took since then.
    owed: u64,
    paid: u64,
}

impl Outbox {
    /// Adds bytes at the end.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.sent > 0 && self.bytes.len() + bytes.len() > self.bytes.capacity() {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Adds bytes before everything else. The socket must not have a part of what waits.
    pub(super) fn push_front(&mut self, bytes: &[u8]) {
        debug_assert!(self.sent == 0, "a begun frame of the outbox comes first");
        self.bytes.splice(..self.sent, bytes.iter().copied());
        self.sent = 0;
    }

    /// What waits.
    pub(super) fn waiting(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// The socket took some bytes of the outbox.
    pub(super) fn advance(&mut self, count: usize) {
        self.sent += count;
        debug_assert!(self.sent <= self.bytes.len(), "no more was sent than waited");
        if self.sent == self.bytes.len() {
            (self.bytes, self.sent, self.reserved) = (Vec::new(), 0, 0);
        }
    }

    /// The socket took bytes, of the outbox or of a log.
    pub(super) fn pay(&mut self, count: usize) {
        self.paid += count as u64;
    }

    /// Whether all that was owed at the last call has been taken since; notes what is owed now.
    pub(super) fn renew(&mut self, owed: u64) -> bool {
        let is_paid = self.paid >= self.owed;
        (self.owed, self.paid) = (owed, 0);
        is_paid
    }
}
