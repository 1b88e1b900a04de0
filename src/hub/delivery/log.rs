//! The log of a channel: encoded frames in order, in contiguous segments.
//!
//! A position is the number of bytes ever appended to the channel; a subscription's cursor is such
//! a position. Whatever lies between a cursor and the head is owed to that subscriber and goes out
//! as one contiguous slice, however many frames it holds. A log exists only while somebody lacks
//! something. Its first frame is held by reference; small frames that follow are gathered in a
//! segment, large ones stay references.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::ws::frame::frame_bytes;

/// A frame of at least this size is a segment by itself and never copied.
const SHARED_FRAME_BYTES_MIN: usize = 16 * 1024;

/// Small frames are gathered in segments of about this size: also what one send takes at most
/// of them (by then the cost of the call itself is a tenth of the cost of the bytes).
const SEGMENT_BYTES: usize = 64 * 1024;

/// The frames that some subscriber of a channel has still to get.
#[derive(Debug)]
pub(in crate::hub) struct Log {
    segments: VecDeque<Segment>,
    /// Position right after the last frame.
    head: u64,
    /// Every cursor that is not marked as lagging is at least here.
    floor: u64,
    /// Frames and bytes of the slice that was counted last: in a round all slices are alike.
    counted: (u64, usize, u64),
}

#[derive(Debug)]
struct Segment {
    start: u64,
    bytes: SegmentBytes,
}

#[derive(Debug)]
enum SegmentBytes {
    /// One frame, shared with other shards.
    Shared(Bytes),
    /// Several small frames, copied so that they are contiguous.
    Gathered(Vec<u8>),
}

impl Segment {
    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            SegmentBytes::Shared(bytes) => bytes,
            SegmentBytes::Gathered(bytes) => bytes,
        }
    }

    fn end(&self) -> u64 {
        self.start + self.bytes().len() as u64
    }

    /// Adds a small frame if there is room; a single shared frame is copied in first.
    fn gather(&mut self, frame: &[u8]) -> bool {
        if self.bytes().len() + frame.len() > SEGMENT_BYTES {
            return false;
        }
        match &mut self.bytes {
            SegmentBytes::Gathered(bytes) => bytes.extend_from_slice(frame),
            SegmentBytes::Shared(first) if first.len() >= SHARED_FRAME_BYTES_MIN => return false,
            SegmentBytes::Shared(first) => {
                let mut bytes = Vec::with_capacity(4 * (first.len() + frame.len()));
                bytes.extend_from_slice(first);
                bytes.extend_from_slice(frame);
                self.bytes = SegmentBytes::Gathered(bytes);
            }
        }
        true
    }
}

impl Log {
    /// An empty log at a position.
    pub(in crate::hub) fn new(head: u64) -> Self {
        Self { segments: VecDeque::with_capacity(1), head, floor: head, counted: (0, 0, 0) }
    }

    /// Appends a frame.
    pub(in crate::hub) fn append(&mut self, frame: &Bytes) {
        let gathered = frame.len() < SHARED_FRAME_BYTES_MIN
            && self.segments.back_mut().is_some_and(|last| last.gather(frame));
        if !gathered {
            let bytes = SegmentBytes::Shared(frame.clone());
            self.segments.push_back(Segment { start: self.head, bytes });
        }
        self.head += frame.len() as u64;
    }

    /// Position right after the last frame.
    pub(in crate::hub) fn head(&self) -> u64 {
        self.head
    }

    /// How many bytes the log holds.
    pub(in crate::hub) fn bytes(&self) -> usize {
        (self.head - self.tail()) as usize
    }

    /// How many bytes the present round has still to bring to everybody.
    pub(in crate::hub) fn unserved_bytes(&self) -> usize {
        (self.head - self.floor) as usize
    }

    /// Position of the first byte that is still here.
    pub(in crate::hub) fn tail(&self) -> u64 {
        self.segments.front().map_or(self.head, |segment| segment.start)
    }

    /// What follows a cursor, as far as it is contiguous. Empty only at the head.
    pub(super) fn slice(&self, cursor: u64) -> &[u8] {
        debug_assert!(cursor >= self.tail(), "a cursor below the tail was closed");
        for segment in self.segments.iter().rev() {
            if segment.start <= cursor {
                return &segment.bytes()[(cursor - segment.start) as usize..];
            }
        }
        &[]
    }

    /// Everything owed from a cursor to the head, slice by slice.
    pub(super) fn slices(&self, cursor: u64) -> impl Iterator<Item = &[u8]> {
        let cursor = cursor.max(self.tail());
        self.segments
            .iter()
            .filter(move |segment| segment.end() > cursor)
            .map(move |segment| &segment.bytes()[cursor.saturating_sub(segment.start) as usize..])
    }

    /// How many frames a slice holds that begins at a frame boundary.
    pub(super) fn count_frames(&mut self, cursor: u64, length: usize) -> u64 {
        if (self.counted.0, self.counted.1) != (cursor, length) {
            let frames = frames_within(&self.slice(cursor)[..length]).0;
            self.counted = (cursor, length, frames);
        }
        self.counted.2
    }

    /// How many frames are owed from a frame boundary to the head.
    pub(super) fn frames_after(&self, cursor: u64) -> u64 {
        self.slices(cursor).map(|slice| frames_within(slice).0).sum()
    }

    /// A round is over: no cursor that is not lagging is below `floor`.
    pub(super) fn raise_floor(&mut self, floor: u64) {
        self.floor = floor.max(self.floor);
    }

    /// Where the tail would be if only `keep` bytes and what the round needs were kept.
    pub(super) fn tail_for(&self, keep: usize) -> u64 {
        let from = self.head.saturating_sub(keep as u64).min(self.floor);
        let first = self.segments.iter().find(|segment| segment.end() > from);
        first.map_or(self.head, |segment| segment.start)
    }

    /// Drops what lies before a position and what no cursor needs that is not marked as lagging.
    /// Of frames that were gathered only a part may be dropped, others go as a whole.
    pub(super) fn trim_to(&mut self, position: u64) {
        let position = position.min(self.floor);
        self.trim(position);
        if let Some(Segment { start, bytes: SegmentBytes::Gathered(bytes) }) =
            self.segments.front_mut()
            && *start < position
        {
            bytes.drain(..(position - *start) as usize);
            bytes.shrink_to_fit();
            *start = position;
        }
    }

    /// Drops the segments before a position that is a segment's start.
    pub(super) fn trim(&mut self, tail: u64) {
        while self.segments.front().is_some_and(|segment| segment.end() <= tail) {
            self.segments.pop_front();
        }
    }
}

/// How many complete frames are at the front of some bytes, and how many bytes they take.
pub(super) fn frames_within(bytes: &[u8]) -> (u64, usize) {
    let (mut frames, mut at) = (0, 0);
    while let Some(length) = frame_bytes(&bytes[at..]) {
        if length > bytes.len() - at {
            break;
        }
        frames += 1;
        at += length;
    }
    (frames, at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Publication;

    fn frame(payload: usize) -> Bytes {
        Publication::new(false, &vec![7; payload], 0).frame().clone()
    }

    #[test]
    fn small_frames_become_one_slice() {
        let mut log = Log::new(100);
        for _ in 0..8 {
            log.append(&frame(128));
        }
        assert_eq!((log.tail(), log.head(), log.bytes()), (100, 100 + 8 * 132, 8 * 132));
        assert_eq!(log.slice(100).len(), 8 * 132);
        assert_eq!(log.slice(100 + 132).len(), 7 * 132);
        assert!(log.slice(log.head()).is_empty());
        assert_eq!(log.count_frames(100, 8 * 132), 8);
        assert_eq!(log.count_frames(100, 8 * 132 - 1), 7);
    }

    #[test]
    fn large_frames_are_not_copied() {
        let mut log = Log::new(0);
        let large = frame(20_000);
        log.append(&frame(10));
        log.append(&large);
        log.append(&frame(10));
        assert_eq!(log.slice(12).as_ptr(), large.as_ptr());
        assert_eq!(log.slices(5).map(<[u8]>::len).collect::<Vec<_>>(), [7, large.len(), 12]);
    }

    #[test]
    fn the_tail_keeps_what_the_round_needs() {
        let mut log = Log::new(0);
        for _ in 0..10 {
            log.append(&frame(20_000));
        }
        assert_eq!(log.tail_for(1), 0, "nobody has been served yet");
        log.raise_floor(log.head());
        let tail = log.tail_for(50_000);
        assert_eq!(tail, 7 * 20_004);
        log.trim(tail);
        assert_eq!((log.tail(), log.bytes()), (tail, 3 * 20_004));
        assert_eq!(log.tail_for(1), 9 * 20_004, "the last frame is never trimmed");
    }
}
