//! Whether a thread sleeps, as those who may have to wake it see it.
//!
//! The sleeper announces its sleep and then looks at its queues once more; a sender pushes first
//! and then looks whether the thread sleeps. Both have a fence between their two steps, so one of
//! the two always sees the other, and no wake-up is lost.

use super::sync::{AtomicBool, Ordering, fence};

/// The state of one thread.
#[derive(Debug)]
pub(crate) struct Doze {
    asleep: AtomicBool,
}

impl Doze {
    /// Of a thread that is awake.
    pub(crate) fn new() -> Self {
        Self { asleep: AtomicBool::new(false) }
    }

    /// The thread is about to sleep: it is woken from now on. It must look at its queues once more
    /// before it really sleeps.
    pub(crate) fn begin(&self) {
        // An exchange comes behind that of a sender who has just found the thread awake.
        self.asleep.swap(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The thread is awake again.
    pub(crate) fn end(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Whether a sender that has just pushed must wake the thread: one sender of all has to.
    pub(crate) fn must_wake(&self) -> bool {
        fence(Ordering::SeqCst);
        self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel)
    }
}
