//! Frames that wait to be sent together: one batch is one system call.
//!
//! Every connection stands in a batch at most once, so what a full socket did not take can never
//! be overtaken by a later frame of the same batch.

use std::ops::Range;

/// Sends that one system call carries.
const BATCH_MAX: usize = 64;

/// One batch.
#[derive(Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    sends: Vec<(u32, Range<usize>)>,
}

impl Outgoing {
    /// Whether frames of a connection can be added. If not, the batch must be sent before.
    pub(super) fn has_room_for(&self, row: u32) -> bool {
        match self.sends.last() {
            Some((last, _)) if *last == row => true,
            _ => self.sends.len() < BATCH_MAX && self.sends.iter().all(|(other, _)| *other != row),
        }
    }

    /// Adds frames of a connection.
    pub(super) fn add(&mut self, row: u32, frames: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(frames);
        let end = self.bytes.len();
        match self.sends.last_mut() {
            Some((last, range)) if *last == row => range.end = end,
            _ => self.sends.push((row, start..end)),
        }
    }

    /// The rows and their bytes.
    pub(super) fn sends(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.sends.iter().map(|(row, range)| (*row, &self.bytes[range.clone()]))
    }

    /// The row and the bytes at a place of the batch.
    pub(super) fn at(&self, place: usize) -> (u32, &[u8]) {
        let (row, range) = &self.sends[place];
        (*row, &self.bytes[range.clone()])
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sends.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.sends.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_stands_in_a_batch_once() {
        let mut batch = Outgoing::default();
        batch.add(1, b"a");
        batch.add(1, b"b");
        batch.add(2, b"c");
        assert_eq!(batch.sends().collect::<Vec<_>>(), [(1, &b"ab"[..]), (2, &b"c"[..])]);
        assert_eq!((batch.has_room_for(2), batch.has_room_for(1)), (true, false));
        (3..65).for_each(|row| batch.add(row, b"x"));
        assert_eq!((batch.sends.len(), batch.has_room_for(65)), (BATCH_MAX, false));
    }
}
