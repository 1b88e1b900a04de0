//! Opening connections: many at the same time, but not too many, and at a pace.

use std::ops::Range;
use std::time::Duration;

use crate::error::Error;
use crate::fleet::{Event, Fleet};
use tidegate_sys::Clock;

/// How many openings are under way at the same time: enough to keep the server busy, and few
/// enough for any accept queue.
pub(super) const IN_FLIGHT: usize = 256;

/// The longest wait inside one poll, so that whoever polls can look around.
pub(super) const POLL: Duration = Duration::from_millis(20);

/// Connections that are to be opened.
pub struct Opener {
    next: u32,
    end: u32,
    in_flight_max: usize,
    /// None means as fast as they are opened.
    per_second: Option<f64>,
    begun: u32,
    began_nanos: u64,
}

impl Opener {
    /// Begins now.
    #[must_use]
    pub fn new(numbers: Range<u32>, in_flight_max: usize, per_second: Option<f64>) -> Self {
        let began_nanos = Clock::shared_nanos();
        let Range { start, end } = numbers;
        Self { next: start, end, in_flight_max, per_second, begun: 0, began_nanos }
    }

    /// Begins what is due, and says how long to wait for more.
    pub fn go_on(&mut self, fleet: &mut Fleet) -> Duration {
        let seconds = Clock::shared_nanos().saturating_sub(self.began_nanos) as f64 / 1e9;
        let due = self.per_second.map_or(f64::INFINITY, |rate| seconds * rate);
        while self.next < self.end
            && f64::from(self.begun) <= due
            && fleet.opening() < self.in_flight_max
        {
            fleet.connect(self.next);
            self.next += 1;
            self.begun += 1;
        }
        match self.per_second {
            Some(rate) if self.next < self.end => {
                let next_due = (f64::from(self.begun) / rate - seconds).max(0.001);
                Duration::from_secs_f64(next_due).min(POLL)
            }
            _ => POLL,
        }
    }

    /// Whether every opening has begun.
    #[must_use]
    pub fn has_begun_all(&self) -> bool {
        self.next == self.end
    }
}

/// Opens all, or says which one failed. `progress` hears how many are open.
pub fn open_all(
    fleet: &mut Fleet,
    mut opener: Opener,
    mut progress: impl FnMut(usize),
) -> Result<(), Error> {
    while !opener.has_begun_all() || fleet.opening() > 0 {
        let wait = opener.go_on(fleet);
        fleet.poll(wait)?;
        while let Some(event) = fleet.next_event() {
            if let Event::Failed { number, reason } = event {
                return Err(Error::Opening { number, reason });
            }
        }
        progress(fleet.open());
    }
    Ok(())
}
