//! Which numbers a client has had: what tells a loss from a repetition from another order.
//!
//! Numbers should come one by one. A window of the last 64 remembers which of them have come, so a
//! number that comes late is told apart from one that comes twice. What is older counts as a
//! repetition, which errs on the side of complaint.

/// How many numbers are remembered.
const WINDOW: u32 = u64::BITS;

/// The numbers of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sequence {
    next: u32,
    /// Bit `n` is set exactly when the number `next - 1 - n` has come.
    seen: u64,
}

/// What a number says about the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the next one, or a later one that leaves out some.
    New {
        /// How many were left out, at least until now.
        missing: u32,
    },
    /// It was left out before.
    Late,
    /// It has come before, or should have come long ago.
    Repeated,
}

impl Sequence {
    /// A stream that begins with zero.
    pub(super) fn new() -> Self {
        Self { next: 0, seen: u64::MAX }
    }

    /// Takes the number that has come.
    pub(super) fn take(&mut self, number: u32) -> Verdict {
        if number >= self.next {
            let missing = number - self.next;
            self.seen = self.seen.checked_shl(missing.saturating_add(1)).unwrap_or(0) | 1;
            self.next = number.saturating_add(1);
            return Verdict::New { missing };
        }
        let age = self.next - 1 - number;
        if age >= WINDOW || self.seen >> age & 1 == 1 {
            return Verdict::Repeated;
        }
        self.seen |= 1 << age;
        Verdict::Late
    }

    /// Goes on with a number, unless it is an old one; returns how many are left out for good.
    pub(super) fn skip_to(&mut self, number: u32) -> u32 {
        let left_out = number.saturating_sub(self.next);
        if left_out > 0 {
            *self = Self { next: number, seen: u64::MAX };
        }
        left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(numbers: &[u32]) -> Vec<Verdict> {
        let mut sequence = Sequence::new();
        numbers.iter().map(|&number| sequence.take(number)).collect()
    }

    const NEXT: Verdict = Verdict::New { missing: 0 };

    #[test]
    fn losses_repetitions_and_another_order_are_told_apart() {
        assert_eq!(verdicts(&[0, 1, 2]), [NEXT, NEXT, NEXT]);
        assert_eq!(verdicts(&[0, 2, 3]), [NEXT, Verdict::New { missing: 1 }, NEXT]);
        assert_eq!(verdicts(&[0, 0]), [NEXT, Verdict::Repeated]);
        let swapped = [NEXT, Verdict::New { missing: 1 }, Verdict::Late, NEXT];
        assert_eq!(verdicts(&[0, 2, 1, 3]), swapped);
        assert_eq!(verdicts(&[1, 0, 0])[1..], [Verdict::Late, Verdict::Repeated]);
    }

    #[test]
    fn what_is_older_than_the_window_is_a_repetition() {
        assert_eq!(verdicts(&[64, 0])[1], Verdict::Repeated);
        assert_eq!(verdicts(&[63, 0])[1], Verdict::Late);
        assert_eq!(verdicts(&[u32::MAX, 7])[1], Verdict::Repeated);
    }

    #[test]
    fn what_is_left_out_for_good_does_not_come_late() {
        let mut sequence = Sequence::new();
        sequence.take(0);
        assert_eq!([sequence.skip_to(4), sequence.skip_to(1)], [3, 0]);
        assert_eq!([3, 4].map(|number| sequence.take(number)), [Verdict::Repeated, NEXT]);
    }
}
