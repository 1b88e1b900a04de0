//! Joins the parts of an outcome that several shards sent.

use crate::model::Outcome;

impl Outcome {
    /// Takes in the part of another shard. Only what several shards are asked for has parts; of
    /// anything else the first stays.
    pub fn merge(&mut self, other: Self) {
        match (self, other) {
            (Self::Published(channels), Self::Published(more)) => channels.extend(more),
            (Self::Channels(channels), Self::Channels(more)) => channels.extend(more),
            _ => {}
        }
    }

    /// After the last part: a channel that several shards named stands once, with the sum of its
    /// subscribers.
    pub fn settle(&mut self) {
        let Self::Channels(channels) = self else { return };
        channels.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        channels.dedup_by(|(name, count), (kept, sum)| {
            let is_same = name == kept;
            if is_same {
                *sum = sum.saturating_add(*count);
            }
            is_same
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ChannelName, Epoch, Position};

    fn name(text: &str) -> ChannelName {
        ChannelName::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn channels_are_summed_by_name() {
        let mut all = Outcome::Channels(vec![(name("b"), 1), (name("a"), 2)]);
        all.merge(Outcome::Channels(vec![(name("a"), 3), (name("c"), u32::MAX)]));
        all.merge(Outcome::Channels(vec![(name("c"), 1), (name("a"), 5)]));
        all.settle();
        let Outcome::Channels(channels) = all else { panic!("another kind") };
        assert_eq!(channels, [(name("a"), 10), (name("b"), 1), (name("c"), u32::MAX)]);
    }

    #[test]
    fn publications_of_all_homes_are_kept() {
        let position = Some(Position { offset: 1, epoch: Epoch(2) });
        let mut all = Outcome::Published(vec![(name("a"), position)]);
        all.merge(Outcome::Published(vec![(name("b"), None)]));
        all.settle();
        let Outcome::Published(channels) = all else { panic!("another kind") };
        assert_eq!(channels, [(name("a"), position), (name("b"), None)]);
    }

    #[test]
    fn what_one_shard_knows_stays() {
        let mut stats = Outcome::PresenceStats(3, 2);
        stats.merge(Outcome::Channels(Vec::new()));
        assert!(matches!(stats, Outcome::PresenceStats(3, 2)));
    }
}
