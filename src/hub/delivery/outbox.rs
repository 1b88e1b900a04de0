//! What exists of a connection only while its socket is full or personal bytes wait for it.
//!
//! The outbox holds bytes for this one connection: replies, pongs, close frames, and frames of
//! channels that it has left. Frames of its channels are not copied here; their cursors lag.

use std::collections::VecDeque;

use crate::hub::delivery::channel::Channel;
use crate::hub::delivery::connection::Connection;
use crate::hub::rows::Id;
use crate::hub::{Place, Ranked};
use crate::ws::frame::frame_bytes;

/// When so much was taken of an outbox, and more than is left, its memory is given back.
const GIVE_BACK_BYTES: usize = 64 * 1024;

/// Personal bytes, and how long the connection has been owed what it is owed.
#[derive(Debug, Default)]
pub(in crate::hub) struct Outbox {
    bytes: Vec<u8>,
    /// How much of `bytes` the socket took.
    sent: usize,
    /// How much at the front of `bytes` is the rest of a frame.
    lead: usize,
    /// The connection.
    pub(in crate::hub) connection: Id<Connection>,
    /// When it makes room for others.
    place: Place<Self>,
    /// The channel of whose log the socket took a frame only in part: nothing else may be sent
    /// before the rest of it.
    /// The number says how many bytes of it are left.
    pub(in crate::hub) unfinished: Option<(Id<Channel>, u32)>,
    /// How many bytes of long replies were promised room since it was empty last: they do not count
    /// against what else may wait.
    pub(super) reserved: usize,
    /// The channels that the connection lags in, in the order in which that began, and some that it
    /// has left or caught up with: fewer of those than bytes, because what it was owed of a channel
    /// that it left stands in the outbox.
    pub(in crate::hub) lagging: VecDeque<Id<Channel>>,
    /// What was owed when the age was measured last, and what the socket took since then.
    owed: u64,
    paid: u64,
}

impl Ranked for Outbox {
    fn place(&mut self) -> &mut Place<Self> {
        &mut self.place
    }
}

impl Outbox {
    /// Nothing waits for a connection.
    pub(in crate::hub) fn new(connection: Id<Connection>) -> Self {
        Self { connection, ..Self::default() }
    }

    /// Adds whole frames at the end.
    pub(in crate::hub) fn push(&mut self, bytes: &[u8]) {
        if self.sent > 0 && self.bytes.len() + bytes.len() > self.bytes.capacity() {
            self.forget_sent();
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Adds bytes before everything else, of which the first are the rest of a frame. The socket
    /// must not have a part of what waits.
    pub(in crate::hub) fn push_front(&mut self, bytes: &[u8], rest: usize) {
        debug_assert!(self.sent == 0, "a begun frame of the outbox comes first");
        self.bytes.splice(..self.sent, bytes.iter().copied());
        (self.sent, self.lead) = (0, rest);
    }

    /// What waits.
    pub(in crate::hub) fn waiting(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// The socket took some bytes of the outbox.
    pub(in crate::hub) fn advance(&mut self, count: usize) {
        self.sent += count;
        debug_assert!(self.sent <= self.bytes.len(), "no more was sent than waited");
        if self.sent == self.bytes.len() {
            (self.bytes, self.sent, self.lead, self.reserved) = (Vec::new(), 0, 0, 0);
        } else if self.sent > GIVE_BACK_BYTES.max(self.bytes.len() / 2) {
            self.forget_sent();
            self.bytes.shrink_to_fit();
        }
    }

    /// Forgets what waits, but for the rest of a frame that the socket has in part, and that too if
    /// it is longer than `rest_max`. Returns whether another frame may follow.
    pub(in crate::hub) fn shed(&mut self, rest_max: usize) -> bool {
        self.forget_sent();
        let is_whole = self.lead <= rest_max;
        self.lead = if is_whole { self.lead } else { 0 };
        self.bytes.truncate(self.lead);
        self.bytes.shrink_to_fit();
        self.reserved = 0;
        is_whole
    }

    /// Forgets what the socket took.
    fn forget_sent(&mut self) {
        let mut boundary = self.lead;
        while boundary < self.sent {
            let frame = frame_bytes(&self.bytes[boundary..]);
            boundary += frame.unwrap_or(self.bytes.len()).min(self.bytes.len() - boundary);
        }
        self.bytes.drain(..self.sent);
        (self.lead, self.sent) = (boundary - self.sent, 0);
    }

    /// The socket took bytes, of the outbox or of a log.
    pub(in crate::hub) fn pay(&mut self, count: usize) {
        self.paid += count as u64;
    }

    /// Whether all that was owed at the last call has been taken since; notes what is owed now.
    pub(in crate::hub) fn renew(&mut self, owed: u64) -> bool {
        let is_paid = self.paid >= self.owed;
        (self.owed, self.paid) = (owed, 0);
        is_paid
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::frame::{Opcode, encode_frame};

    fn frames(sizes: &[usize]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for &size in sizes {
            encode_frame(Opcode::Binary, &vec![7; size], &mut bytes);
        }
        bytes
    }

    #[test]
    fn shedding_keeps_the_rest_of_a_begun_frame() {
        let bytes = frames(&[10, 200, 10, 70_000, 10]);
        let ends = [0, 12, 12 + 204, 12 + 204 + 12, 12 + 204 + 12 + 70_010, bytes.len()];
        for sent in 0..bytes.len() {
            let mut outbox = Outbox::new(Id::NONE);
            outbox.push(&bytes);
            // However it came so far.
            outbox.advance(sent / 2);
            outbox.push(&frames(&[1]));
            outbox.advance(sent - sent / 2);
            let end = *ends.iter().find(|&&end| end >= sent).unwrap();
            let is_whole = outbox.shed(16 << 10);
            assert_eq!(is_whole, end - sent <= 16 << 10, "{sent}");
            let rest = if is_whole { &bytes[sent..end] } else { &[] };
            assert!(outbox.waiting() == rest, "{sent}");
        }
    }

    #[test]
    fn what_comes_before_everything_else_may_be_the_rest_of_a_frame() {
        let mut outbox = Outbox::new(Id::NONE);
        outbox.push(&frames(&[3]));
        let front = frames(&[9, 5]);
        outbox.push_front(&front[4..], 7);
        outbox.advance(2);
        assert!(outbox.shed(100));
        assert_eq!(outbox.waiting(), &front[6..11]);
    }

    #[test]
    fn memory_is_given_back_on_the_way() {
        let mut outbox = Outbox::new(Id::NONE);
        outbox.push(&frames(&[4 << 20]));
        for _ in 0..4 * 1024 - 1 {
            outbox.advance(1024);
            let spare = outbox.bytes.capacity() - outbox.waiting().len();
            assert!(spare <= outbox.waiting().len() + GIVE_BACK_BYTES + 1024, "{spare}");
        }
    }
}
