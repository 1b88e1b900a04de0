//! A connection's part in one channel: which messages have come, and where the client would go on
//! after a reconnect.

use crate::channels::Publication;
use crate::sequence::{Sequence, Verdict};
use crate::tally::Tally;

/// Where a client stands in a channel's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) epoch: Box<str>,
    pub(super) offset: u64,
}

/// One subscription, which outlives a connection that comes back.
#[derive(Debug)]
pub(super) struct Subscription {
    sequence: Sequence,
    /// None if the channel has no history, as far as the client was told.
    pub(super) position: Option<Position>,
    /// The server has confirmed it on this connection.
    pub(super) is_joined: bool,
    /// The server had confirmed it before, so that something may have been missed.
    pub(super) is_known: bool,
    /// The server said that what was missed cannot be recovered: the next message may be any.
    skips: bool,
}

impl Subscription {
    pub(super) fn new() -> Self {
        Self {
            sequence: Sequence::new(),
            position: None,
            is_joined: false,
            is_known: false,
            skips: false,
        }
    }

    /// The server has confirmed it, and said whether nothing is missing.
    pub(super) fn join(&mut self, is_recovered: bool, tally: &mut Tally) {
        if self.is_known {
            tally.recovered += u64::from(is_recovered);
            tally.not_recovered += u64::from(!is_recovered);
            self.skips = !is_recovered;
        }
        (self.is_joined, self.is_known) = (true, true);
    }

    /// Takes what has come; says whether it is new.
    pub(super) fn take(&mut self, publication: &Publication, tally: &mut Tally) -> bool {
        if let Some(position) = &mut self.position {
            position.offset = position.offset.max(publication.offset);
        }
        let number = publication.number;
        if std::mem::take(&mut self.skips) {
            tally.skipped += u64::from(self.sequence.skip_to(number));
        }
        match self.sequence.take(number) {
            Verdict::New { missing } => tally.lost += u64::from(missing),
            Verdict::Late => {
                tally.lost -= 1;
                tally.reordered += 1;
            }
            Verdict::Repeated => {
                tally.repeated += 1;
                return false;
            }
        }
        tally.received += 1;
        true
    }

    /// Nothing more will come of `messages` in this channel. What is missing since the server
    /// refused to recover has not been lost.
    pub(super) fn finish(&mut self, messages: u32, tally: &mut Tally) {
        if std::mem::take(&mut self.skips) {
            tally.skipped += u64::from(self.sequence.skip_to(messages));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(number: u32) -> Publication {
        Publication { number, offset: u64::from(number) + 1, ..Publication::default() }
    }

    #[test]
    fn what_cannot_be_recovered_is_skipped_and_not_lost() {
        let (mut subscription, mut tally) = (Subscription::new(), Tally::default());
        let take = |subscription: &mut Subscription, tally: &mut Tally, numbers: &[u32]| {
            for &number in numbers {
                subscription.take(&publication(number), tally);
            }
        };
        subscription.join(false, &mut tally);
        take(&mut subscription, &mut tally, &[0, 1]);
        subscription.join(false, &mut tally);
        take(&mut subscription, &mut tally, &[5, 4, 6]);
        assert_eq!((tally.skipped, tally.lost, tally.repeated, tally.received), (3, 0, 1, 4));
        subscription.join(true, &mut tally);
        take(&mut subscription, &mut tally, &[9]);
        assert_eq!((tally.skipped, tally.lost), (3, 2));
        subscription.join(false, &mut tally);
        subscription.finish(12, &mut tally);
        subscription.finish(12, &mut tally);
        assert_eq!((tally.skipped, tally.recovered, tally.not_recovered), (5, 1, 2));
    }

    #[test]
    fn the_position_goes_along() {
        let (mut subscription, mut tally) = (Subscription::new(), Tally::default());
        subscription.position = Some(Position { epoch: "e".into(), offset: 0 });
        subscription.take(&publication(0), &mut tally);
        subscription.take(&publication(1), &mut tally);
        assert_eq!(subscription.position.unwrap().offset, 2);
    }
}
