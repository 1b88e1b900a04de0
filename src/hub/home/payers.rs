//! Who makes room when streams together are over `history.memory_max`: whoever holds most pays.
//!
//! Large streams come first, by powers of two, and of those that are about as large the one that
//! was not used for longest. Each forgets its oldest publication, again and again, until others are
//! larger or it is small: a small share is safe as long as anybody holds more. Streams that
//! remember nothing and that nobody hears count as one holder, because their names cost whoever
//! makes them up next to nothing; so many of them pay before whoever remembers.
//!
//! When nobody is large, many small streams are what there is too much of. Then the namespace that
//! holds most pays, so that names that are made up in one take nothing from others, and in it first
//! the streams that nobody hears: those that are heard are bounded by the subscriptions of clients.
//! Of these, the one that was not used for longest loses all that it remembers.

use std::collections::HashMap;

use crate::hub::home::stream::Stream;
use crate::hub::rows::{Id, Rows};
use crate::hub::{Ranked, Ranks, SIZES, size_rank};
use crate::model::ChannelName;

/// What a channel may remember without paying before others that remember more.
pub(super) const SHARE_BYTES: usize = 8 << 10;

/// The rank of streams that remember nothing and that nobody hears.
pub(super) const IDLE: u8 = 0;

/// The rank of small streams that somebody hears, in their namespace.
const HEARD: u8 = 1;

/// The rank of the others.
const UNHEARD: u8 = 2;

/// The lowest rank of large streams; it and those above are powers of two.
pub(super) const LARGE: u8 = SHARE_BYTES.ilog2() as u8;

const _: () = assert!(SHARE_BYTES.is_power_of_two() && LARGE > UNHEARD, "ranks are distinct");

/// The streams of one namespace.
#[derive(Debug, Default)]
struct Group {
    /// What the small ones take.
    bytes: usize,
    small: Ranks<Stream, 3>,
}

/// All streams in the order in which they pay.
#[derive(Debug, Default)]
pub(in crate::hub) struct Payers {
    bytes: usize,
    /// Those that are idle or large.
    others: Ranks<Stream, SIZES>,
    idle_bytes: usize,
    groups: Vec<Group>,
    /// The groups of namespaces, by name. There are as many as the configuration has.
    numbers: HashMap<Box<str>, u16, ahash::RandomState>,
}

impl Payers {
    /// What all streams take.
    pub(in crate::hub) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The group of a channel's namespace.
    pub(super) fn group_of(&mut self, channel: &ChannelName) -> u16 {
        let personal = channel.user().map_or("", |_| "#");
        let name = channel.namespace().unwrap_or(personal);
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let number = u16::try_from(self.groups.len()).unwrap_or(u16::MAX);
        self.numbers.insert(name.into(), number);
        if usize::from(number) == self.groups.len() {
            self.groups.push(Group::default());
        }
        number
    }

    /// A stream has begun, or takes another number of bytes than before, or is heard or no longer.
    pub(in crate::hub) fn settle(
        &mut self,
        streams: &mut Rows<Stream>,
        row: Id<Stream>,
        before: usize,
    ) {
        let stream = &mut streams[row];
        let (group, after) = (usize::from(stream.group), stream.bytes());
        let was = stream.place().rank();
        let is = match (stream.len() > 0, stream.is_heard) {
            (true, _) if after >= SHARE_BYTES => size_rank(after),
            (true, true) => Some(HEARD),
            (true, false) => Some(UNHEARD),
            (false, false) => Some(IDLE),
            (false, true) => None,
        };
        self.bytes = self.bytes + after - before;
        // A large stream, which is published to often, leaves its namespace's memory alone.
        if is_small(was) {
            self.groups[group].bytes -= before;
        }
        if is_small(is) {
            self.groups[group].bytes += after;
        }
        self.idle_bytes -= if was == Some(IDLE) { before } else { 0 };
        self.idle_bytes += if is == Some(IDLE) { after } else { 0 };
        if was != is {
            self.unrank(streams, row);
            match is_small(is) {
                true => self.groups[group].small.set(streams, row, is),
                false => self.others.set(streams, row, is),
            }
        }
    }

    /// A stream ends.
    pub(in crate::hub) fn remove(&mut self, streams: &mut Rows<Stream>, row: Id<Stream>) {
        let Stream { group, .. } = streams[row];
        let bytes = streams[row].bytes();
        self.bytes -= bytes;
        let rank = streams[row].place().rank();
        self.groups[usize::from(group)].bytes -= if is_small(rank) { bytes } else { 0 };
        self.idle_bytes -= if rank == Some(IDLE) { bytes } else { 0 };
        self.unrank(streams, row);
    }

    fn unrank(&mut self, streams: &mut Rows<Stream>, row: Id<Stream>) {
        let group = usize::from(streams[row].group);
        match streams[row].place().rank() {
            Some(HEARD | UNHEARD) => self.groups[group].small.remove(streams, row),
            _ => self.others.remove(streams, row),
        }
    }

    /// Makes a stream the one that was used last.
    pub(in crate::hub) fn renew(&mut self, streams: &mut Rows<Stream>, row: Id<Stream>) {
        let group = usize::from(streams[row].group);
        match streams[row].place().rank() {
            Some(HEARD | UNHEARD) => self.groups[group].small.renew(streams, row),
            _ => self.others.renew(streams, row),
        }
    }

    /// Who pays first, and its rank.
    pub(in crate::hub) fn first(&self) -> Option<(u8, Id<Stream>)> {
        let large = self.others.first().filter(|&(rank, _)| rank >= LARGE);
        let idle = self.others.oldest(IDLE).map(|row| (IDLE, row));
        let is_more = |(rank, _): &(u8, Id<Stream>)| Some(*rank) >= size_rank(self.idle_bytes);
        large.filter(|large| idle.is_none() || is_more(large)).or(idle).or_else(|| {
            let small = |group: &Group| group.small.first();
            let groups = self.groups.iter().filter(|group| small(group).is_some());
            groups.max_by_key(|group| group.bytes).and_then(small)
        })
    }
}

fn is_small(rank: Option<u8>) -> bool {
    matches!(rank, Some(HEARD | UNHEARD))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::hub::home::stream::STREAM_BYTES;
    use crate::hub::{Hub, Site};
    use crate::mesh::{Envelope, Homes};
    use crate::metrics::ShardMetrics;
    use crate::model::{Command, Namespace, Namespaces, Publication, ShardId};
    use crate::settings::{Budget, HubSettings};

    const BYTES_MAX: usize = 200_000;

    /// A shard with some namespaces and a small budget, and what happens in it.
    struct Shard {
        hub: Hub,
        names: Vec<ChannelName>,
        state: u32,
    }

    impl Shard {
        fn new(seed: u32) -> Self {
            let rules = Namespace { history_size: usize::MAX, ..Namespace::default() };
            let named = ["a", "b"].map(|name| (name.into(), rules.clone())).into();
            let namespaces = Namespaces::new(rules.clone(), rules, named).into();
            let unlimited = HubSettings::unlimited();
            let history = Budget::new(BYTES_MAX, 1).into();
            let settings = HubSettings { namespaces, history, ..unlimited };
            let names = (0..60).map(|number| {
                let prefix = ["a:", "b:", "#", ""][number % 4];
                ChannelName::parse(format!("{prefix}{number}").as_bytes()).unwrap()
            });
            let site = Site::new(ShardId(0), Homes::new(1, 1));
            let hub = Hub::new(site, settings.into(), Arc::new(ShardMetrics::default()));
            Self { hub, names: names.collect(), state: seed }
        }

        fn below(&mut self, count: u32) -> usize {
            self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((u64::from(self.state) * u64::from(count)) >> 32) as usize
        }

        fn publish(&mut self, channel: usize, size: usize) {
            let publication = Arc::new(Publication::new(true, &vec![b'1'; size], 0));
            let channel = self.names[channel].clone();
            let command = Box::new(Command::Publish { channel, publication, key: None });
            self.hub.handle(Envelope::Command { command, ticket: None });
        }

        /// Publications and bytes of each channel's stream.
        fn holdings(&self) -> Vec<(usize, usize)> {
            let of = |name| {
                let home = self.hub.home.records.find(name)?;
                let stream =
                    self.hub.home.history.streams.get(self.hub.home.records.rows[home].stream)?;
                Some((stream.len(), stream.bytes()))
            };
            self.names.iter().map(|name| of(name).unwrap_or_default()).collect()
        }
    }

    #[test]
    fn whoever_holds_most_pays_and_a_share_is_safe() {
        let (mut from_large, mut from_small) = (0, 0);
        for seed in 1u32..40 {
            let mut shard = Shard::new(seed.wrapping_mul(0x9e37_79b9));
            let (channels, size_max) = ([4, 20, 60][shard.below(3)], [50, 3000][shard.below(2)]);
            for _ in 0..1500 {
                let before = shard.holdings();
                // Some channels are louder than others.
                let channel = shard.below(channels).min(shard.below(channels));
                let size = 1 + shard.below(size_max);
                shard.publish(channel, size);
                let after = shard.holdings();
                let sum: usize = after.iter().map(|(_, bytes)| bytes).sum();
                assert_eq!(sum, shard.hub.home.history.bytes());
                assert!(sum <= BYTES_MAX + STREAM_BYTES, "but for the one in use");
                let largest = after.iter().map(|(_, bytes)| *bytes).max().unwrap();
                for (number, (before, after)) in before.into_iter().zip(after).enumerate() {
                    let is_new = number == channel;
                    let had = before.1 + if is_new { 2000 + 3 * size } else { 0 };
                    if before.0 + usize::from(is_new) == after.0 {
                        continue;
                    }
                    if had < SHARE_BYTES {
                        assert!(largest < SHARE_BYTES, "{had} bytes paid before {largest}");
                        from_small += 1;
                    } else {
                        assert!(size_rank(had) >= size_rank(largest), "{had} before {largest}");
                        from_large += 1;
                    }
                }
            }
        }
        assert!(from_large > 1000 && from_small > 1000, "{from_large} and {from_small}");
    }

    #[test]
    fn small_streams_are_taken_from_the_namespace_that_holds_most() {
        let mut shard = Shard::new(1);
        shard.publish(1, 100);
        shard.names = (0..2000)
            .map(|number| ChannelName::parse(format!("a:made-up-{number}").as_bytes()).unwrap())
            .chain([shard.names[1].clone()])
            .collect();
        for channel in 0..2000 {
            shard.publish(channel, 100);
        }
        let kept: Vec<bool> = shard.holdings().into_iter().map(|(count, _)| count == 1).collect();
        let first = kept.iter().position(|&is_kept| is_kept).unwrap();
        assert!((1000..2000).contains(&first), "{first} forgotten");
        assert!(kept[first..].iter().all(|&is_kept| is_kept), "the oldest go first");
        assert!(kept[2000], "another namespace");
    }
}
