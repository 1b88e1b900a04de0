//! The memory for answers of the API: those that are being made, and those that wait for whoever
//! asked to read them.
//!
//! An answer takes its room as it grows, and gives it back when the last of it is written or its
//! connection is gone. A small answer always has room; there are so few connections that those are
//! bounded anyway. When there is little room left whoever has taken nothing of a larger answer for
//! a while gives way (`places`), and when there is none a larger answer is not made.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Bytes;

/// Most bytes of answers, beside small ones.
pub(super) const ROOM_BYTES: usize = 128 << 20;

/// An answer of so many bytes is small.
pub(super) const SMALL_BYTES: usize = 64 << 10;

/// How many bytes answers hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Room(Arc<AtomicUsize>);

impl Room {
    /// How many bytes answers hold.
    pub(super) fn held(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Room for an answer that has no bytes yet.
    pub(super) fn charge(&self) -> Charge {
        Charge { room: self.clone(), bytes: 0 }
    }
}

/// The room that an answer takes.
#[derive(Debug)]
pub(super) struct Charge {
    room: Room,
    bytes: usize,
}

impl Charge {
    /// Takes room for so many bytes in all. Returns whether there was as much.
    pub(super) fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return true;
        }
        let held = self.room.0.fetch_add(more, Ordering::Relaxed);
        let fits = bytes <= SMALL_BYTES || held + more <= ROOM_BYTES;
        if fits {
            self.bytes = bytes;
        } else {
            self.room.0.fetch_sub(more, Ordering::Relaxed);
        }
        fits
    }

    /// The answer is whole: it keeps its room until nobody holds it any more.
    pub(super) fn seal(mut self, mut answer: Vec<u8>) -> Bytes {
        answer.shrink_to_fit();
        let spare = self.bytes.saturating_sub(answer.len());
        self.room.0.fetch_sub(spare, Ordering::Relaxed);
        self.bytes -= spare;
        Bytes::from_owner(Sealed { answer, _charge: self })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.room.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// An answer with its room.
struct Sealed {
    answer: Vec<u8>,
    _charge: Charge,
}

impl AsRef<[u8]> for Sealed {
    fn as_ref(&self) -> &[u8] {
        &self.answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_taken_and_given_back() {
        let room = Room::default();
        let (mut first, mut second) = (room.charge(), room.charge());
        assert!(first.grow_to(ROOM_BYTES - 10));
        assert!(second.grow_to(SMALL_BYTES), "a small one always has room");
        assert!(!second.grow_to(SMALL_BYTES + 1));
        assert_eq!(room.held(), ROOM_BYTES - 10 + SMALL_BYTES);
        let sealed = first.seal(vec![7; 100]);
        assert_eq!(room.held(), 100 + SMALL_BYTES);
        assert!(second.grow_to(SMALL_BYTES + 1));
        let part = sealed.slice(1..5);
        drop((sealed, second));
        assert_eq!((&part[..], room.held()), (&[7; 4][..], 100));
        drop(part);
        assert_eq!(room.held(), 0);
    }
}
