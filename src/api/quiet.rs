//! Gives memory back when nobody asks anything any more.
//!
//! An allocator gives back what is free in the course of later work. Each of the two threads has a
//! heap of its own, and what one has made the other may have freed, so both look at it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use crate::sys::memory;

/// For how long nobody has asked anything.
const QUIET: Duration = Duration::from_secs(5);

/// Gives this thread's memory back whenever nobody has asked for a while, for ever. `asked` counts
/// what is asked.
pub(super) async fn give_back(asked: &AtomicU64) {
    let (mut seen, mut returned) = (0, 0);
    loop {
        sleep(QUIET).await;
        let count = asked.load(Ordering::Relaxed);
        if count == seen && count != returned {
            memory::give_back();
            returned = count;
        }
        seen = count;
    }
}
