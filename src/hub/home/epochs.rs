//! Which life of a channel's stream is meant, without keeping anything of channels that have none.
//!
//! The epoch of the next life follows from the channel's name, the seed of the run and how many
//! streams of a group of channels have ended: whoever asks where a channel without a stream stands
//! is told the epoch that its next stream will have, and nothing is kept of the question. If a
//! stream of the group ends in between, the next one has another epoch. That may be one more than
//! is needed, so that somebody is told in vain that it could not recover, but two lives of one
//! channel never have the same.

use crate::model::{ChannelName, Epoch};

/// How many groups there are: a stream that ends renews the epochs of one channel in so many.
const GROUPS: usize = 1 << GROUP_BITS;
const GROUP_BITS: u32 = 10;

/// The epochs of the streams that are still to come.
#[derive(Debug)]
pub(in crate::hub) struct Epochs {
    hasher: ahash::RandomState,
    /// How many streams of each group have ended.
    ended: Box<[u64]>,
}

impl Epochs {
    /// Epochs that a run with another seed does not have.
    pub(in crate::hub) fn new(seed: u64) -> Self {
        let hasher =
            ahash::RandomState::with_seeds(seed, seed.rotate_left(16), !seed, seed.rotate_left(48));
        Self { hasher, ended: vec![0; GROUPS].into() }
    }

    /// The epoch that the channel's stream has if it begins now.
    pub(in crate::hub) fn next_of(&self, channel: &ChannelName) -> Epoch {
        let hash = self.hasher.hash_one(channel.as_str());
        let ended = self.ended[group_of(hash)];
        // A permutation of the sum (splitmix64), which differs for each life of the channel.
        let mut mixed = hash.wrapping_add(ended.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Epoch(mixed ^ (mixed >> 31))
    }

    /// A stream of the channel that had publications has ended: no later one is taken for it.
    pub(in crate::hub) fn end(&mut self, channel: &ChannelName) {
        let group = group_of(self.hasher.hash_one(channel.as_str()));
        self.ended[group] += 1;
    }

    /// Channels may lose their history, and have other publications until they have one again: no
    /// stream that begins from here on is taken for one that somebody knows.
    pub(super) fn end_all(&mut self) {
        self.ended.iter_mut().for_each(|ended| *ended += 1);
    }
}

fn group_of(hash: u64) -> usize {
    (hash >> (u64::BITS - GROUP_BITS)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_life_has_an_epoch_of_its_own() {
        let name = |number: u32| ChannelName::parse(number.to_string().as_bytes()).unwrap();
        let mut epochs = Epochs::new(7);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1000 {
            assert_eq!(epochs.next_of(&name(1)), epochs.next_of(&name(1)), "a question");
            assert!(seen.insert(epochs.next_of(&name(1)).0));
            epochs.end(&name(1));
        }
        let others: Vec<Epoch> = (2..100).map(|other| epochs.next_of(&name(other))).collect();
        epochs.end(&name(1));
        let is_kept = |(other, epoch): (u32, &Epoch)| epochs.next_of(&name(other)) == *epoch;
        let kept = (2..100).zip(&others).filter(|&it| is_kept(it)).count();
        assert!(kept >= 95, "the end of one stream renews the epochs of few: {kept} of 98");
        assert_ne!(Epochs::new(8).next_of(&name(1)), Epochs::new(9).next_of(&name(1)));
    }
}
