//! What is under way on a link, as its two ends count it.
//!
//! Each end adds to a sum of its own and reads that of the other, without a lock and without order
//! between them: a sum may be seen late, never wrong.

use crate::mesh::sync::{AtomicU64, Ordering};

/// What a message on a link holds beside itself, or several of them together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Bytes of a publication.
    pub bytes: u64,
    /// Channels of a list: each costs the receiver about as much as another message.
    pub channels: u64,
}

impl Weight {
    /// Limits that nothing reaches.
    pub(crate) const UNLIMITED: Self = Self { bytes: u64::MAX, channels: u64::MAX };

    /// Bytes alone.
    pub fn of_bytes(bytes: usize) -> Self {
        Self { bytes: bytes as u64, channels: 0 }
    }
}

/// A weight that one thread adds to, which needs no lock prefix for that.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    bytes: AtomicU64,
    channels: AtomicU64,
}

impl Sum {
    fn add(&self, weight: Weight) {
        let add = |sum: &AtomicU64, more: u64| {
            if more > 0 {
                sum.store(sum.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
            }
        };
        add(&self.bytes, weight.bytes);
        add(&self.channels, weight.channels);
    }

    fn set(&self, weight: Weight) {
        self.bytes.store(weight.bytes, Ordering::Relaxed);
        self.channels.store(weight.channels, Ordering::Relaxed);
    }

    fn get(&self) -> Weight {
        let get = |sum: &AtomicU64| sum.load(Ordering::Relaxed);
        Weight { bytes: get(&self.bytes), channels: get(&self.channels) }
    }
}

/// The same in a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart(Sum);

/// What went in and what came out.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    sent: Apart,
    taken: Apart,
}

impl Flow {
    /// The sender has sent something. Only its thread says so.
    pub(crate) fn note_sent(&self, weight: Weight) {
        self.sent.0.add(weight);
    }

    /// The receiver has taken something. Only its thread says so.
    pub(crate) fn note_taken(&self, weight: Weight) {
        self.taken.0.add(weight);
    }

    /// Whether so much or more is held, seen by the sender, which keeps what it knows to be taken.
    pub(crate) fn exceeds(&self, most: Weight, known_taken: &Sum) -> bool {
        let sent = self.sent.0.get();
        let exceeds = |taken: Weight| {
            sent.bytes.saturating_sub(taken.bytes) >= most.bytes
                || sent.channels.saturating_sub(taken.channels) >= most.channels
        };
        if !exceeds(known_taken.get()) {
            return false;
        }
        known_taken.set(self.taken.0.get());
        exceeds(known_taken.get())
    }

    /// How many bytes are held, seen by anybody.
    pub(crate) fn held_bytes(&self) -> u64 {
        // What was taken may be counted before it is counted as sent.
        let taken = self.taken.0.get().bytes;
        self.sent.0.get().bytes.saturating_sub(taken)
    }
}
