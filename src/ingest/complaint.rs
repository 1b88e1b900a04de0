//! Log lines about peers, a few per second: a broken publisher must not fill the disk.

/// Most lines in one second.
const LINES_PER_SECOND: u32 = 5;

const SECOND_NANOS: u64 = 1_000_000_000;

/// Counts lines and what it kept back.
#[derive(Default)]
pub(super) struct Complaints {
    second: u64,
    lines: u32,
    suppressed: u64,
}

impl Complaints {
    /// Whether a line may be written now, and how many were suppressed since the last one.
    pub(super) fn admit(&mut self, now_nanos: u64) -> Option<u64> {
        let second = now_nanos / SECOND_NANOS;
        if second != self.second {
            (self.second, self.lines) = (second, 0);
        }
        if self.lines >= LINES_PER_SECOND {
            self.suppressed += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_lines_per_second() {
        let mut complaints = Complaints::default();
        let admitted = (0..100).filter(|_| complaints.admit(0).is_some()).count();
        assert_eq!(admitted, 5);
        assert_eq!(complaints.admit(SECOND_NANOS), Some(95));
        assert_eq!(complaints.admit(SECOND_NANOS), Some(0));
    }
}
