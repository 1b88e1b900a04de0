//! Log lines about peers, a few at a time: whoever floods the edge must not fill the disk too.

use std::cell::Cell;

/// Most lines in one period.
const LINES_PER_PERIOD: u32 = 5;

const SECOND_NANOS: u64 = 1_000_000_000;

/// Counts lines and what it kept back.
#[derive(Debug)]
pub struct Complaints {
    period_nanos: u64,
    period: Cell<u64>,
    lines: Cell<u32>,
    suppressed: Cell<u64>,
}

impl Default for Complaints {
    /// Five lines in a second.
    fn default() -> Self {
        Self::in_seconds(1)
    }
}

impl Complaints {
    /// Five lines in so many seconds.
    #[must_use]
    pub const fn in_seconds(seconds: u64) -> Self {
        Self {
            period_nanos: seconds * SECOND_NANOS,
            period: Cell::new(0),
            lines: Cell::new(0),
            suppressed: Cell::new(0),
        }
    }

    /// Whether a line may be written now, and how many were suppressed since the last one.
    pub fn admit(&self, now_nanos: u64) -> Option<u64> {
        let period = now_nanos / self.period_nanos;
        if self.period.replace(period) != period {
            self.lines.set(0);
        }
        if self.lines.get() >= LINES_PER_PERIOD {
            self.suppressed.set(self.suppressed.get() + 1);
            return None;
        }
        self.lines.set(self.lines.get() + 1);
        Some(self.suppressed.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_lines_per_period() {
        for seconds in [1, 10] {
            let complaints = Complaints::in_seconds(seconds);
            let admitted = (0..100).filter(|_| complaints.admit(0).is_some()).count();
            assert_eq!(admitted, 5);
            assert_eq!(complaints.admit(seconds * SECOND_NANOS - 1), None);
            assert_eq!(complaints.admit(seconds * SECOND_NANOS), Some(96));
            assert_eq!(complaints.admit(seconds * SECOND_NANOS), Some(0));
        }
    }
}
