//! The one clock: monotonic nanoseconds since the process began to serve.

use std::time::{Instant, SystemTime};

/// A monotonic clock that threads share by copying it.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that begins at zero.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Nanoseconds since the start.
    pub fn now_nanos(&self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

impl Clock {
    /// Seconds since 1970 by the clock on the wall, which may jump: for what other hosts wrote.
    pub fn unix_seconds() -> u64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.map_or(0, |since| since.as_secs())
    }

    /// Nanoseconds of `CLOCK_MONOTONIC`, which all processes of a host share: for measuring from
    /// one process to another.
    pub fn shared_nanos() -> u64 {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the pointer is to a timespec of ours; this clock always exists on Linux.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }
}
