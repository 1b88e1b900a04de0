//! The one clock: monotonic nanoseconds since the process began to serve.

use std::time::Instant;

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
