//! A bell wakes one thread, and costs nothing while that thread is awake (`doze`).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::mesh::doze::Doze;
use crate::sys::EventFd;

/// Wakes the one thread that sleeps on it.
#[derive(Debug)]
pub struct Bell {
    doze: Doze,
    crowded: AtomicBool,
    event: EventFd,
}

impl Bell {
    /// A bell of a thread that is awake.
    pub fn new() -> io::Result<Self> {
        Ok(Self { doze: Doze::new(), crowded: AtomicBool::new(false), event: EventFd::new()? })
    }

    /// Wakes the thread if it sleeps. A system call only then.
    pub fn ring(&self) {
        if self.doze.must_wake() {
            self.event.signal();
        }
    }

    /// The thread is about to sleep: rings from now on signal the eventfd. The caller must look
    /// at its queues once more before it really sleeps.
    pub fn begin_sleep(&self) {
        self.doze.begin();
    }

    /// The thread is awake again.
    pub fn end_sleep(&self) {
        self.doze.end();
    }

    /// The thread has more to do than it should, or no longer. Senders that can wait look at it.
    pub fn set_crowded(&self, is_crowded: bool) {
        self.crowded.store(is_crowded, Ordering::Relaxed);
    }

    /// Whether the thread has more to do than it should.
    pub fn is_crowded(&self) -> bool {
        self.crowded.load(Ordering::Relaxed)
    }

    /// The eventfd itself, for whatever the thread sleeps in.
    pub fn event(&self) -> &EventFd {
        &self.event
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl AsRawFd for Bell {
    fn as_raw_fd(&self) -> RawFd {
        self.event.as_raw_fd()
    }
}
