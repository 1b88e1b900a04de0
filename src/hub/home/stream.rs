//! The stream of a channel with history: its epoch, its last offset, and what it remembers.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::hub::home::Record;
use crate::hub::rows::Id;
use crate::hub::{Place, Ranked};
use crate::model::{Epoch, EpochClaim, HistoryFilter, Position, Publication, Push, Version};
use crate::wheel::Tick;

/// What a remembered publication costs beside its payload: itself, its frames' headers, its place.
const OVERHEAD_BYTES: usize = 256;

/// What a stream without publications costs: itself, its channel's home and name, their places.
pub(in crate::hub) const STREAM_BYTES: usize = 512;

/// For so many publications a stream that forgets them keeps the room.
const ROOM_KEPT: usize = 64;

/// One life of a channel's stream. What it remembers has consecutive offsets up to the last.
#[derive(Debug)]
pub(in crate::hub) struct Stream {
    /// The home row of its channel.
    pub(in crate::hub) home: Id<Record>,
    epoch: Epoch,
    last: u64,
    /// The newest state that its publications told.
    version: Option<Box<Version>>,
    remembered: VecDeque<Remembered>,
    bytes: usize,
    /// When something last happened in it.
    pub(in crate::hub) used: Tick,
    /// Whether its channel has subscribers.
    pub(in crate::hub) is_heard: bool,
    /// The group of its namespace.
    pub(super) group: u16,
    /// When it makes room for others.
    place: Place<Self>,
}

const _: () = assert!(size_of::<Stream>() <= 88, "every channel with history has one");

impl Ranked for Stream {
    fn place(&mut self) -> &mut Place<Self> {
        &mut self.place
    }
}

/// Publications of a stream that nobody asks for any more.
#[derive(Debug)]
pub(in crate::hub) struct Forgotten(VecDeque<Remembered>);

impl Forgotten {
    /// How many they are.
    #[cfg(test)]
    pub(in crate::hub) fn len(&self) -> usize {
        self.0.len()
    }

    /// Drops some of them, at most so many. Returns whether none is left.
    pub(super) fn drop_some(&mut self, most: &mut u32) -> bool {
        let count = self.0.len().min(*most as usize);
        self.0.truncate(self.0.len() - count);
        *most -= count as u32;
        self.0.is_empty()
    }
}

#[derive(Debug)]
struct Remembered {
    push: Arc<Push>,
    since: Tick,
}

impl Default for Stream {
    fn default() -> Self {
        Self::new((Id::NONE, 0), Epoch(0), false, Tick(0))
    }
}

impl Stream {
    /// A stream without publications, of a home row's channel and the group of its namespace.
    pub(in crate::hub) fn new(
        (home, group): (Id<Record>, u16),
        epoch: Epoch,
        is_heard: bool,
        now: Tick,
    ) -> Self {
        Self {
            home,
            group,
            epoch,
            last: 0,
            version: None,
            remembered: VecDeque::new(),
            bytes: 0,
            used: now,
            is_heard,
            place: Place::default(),
        }
    }

    /// Where it stands.
    pub(in crate::hub) fn position(&self) -> Position {
        Position { offset: self.last, epoch: self.epoch }
    }

    /// The offset of the publication that comes next.
    pub(super) fn next_offset(&self) -> u64 {
        self.last + 1
    }

    /// Whether a newer state was published than the one that a publication tells.
    pub(super) fn outdates(&self, publication: &Publication) -> bool {
        let (new, last) = (publication.version(), &self.version);
        new.zip(last.as_deref()).is_some_and(|(new, last)| new.is_outdated(last))
    }

    /// Remembers the publication with the next offset, and forgets the oldest beyond `size`.
    pub(in crate::hub) fn append(&mut self, push: Arc<Push>, now: Tick, size: usize) {
        debug_assert!(push.offset() == self.next_offset(), "offsets are consecutive");
        self.last += 1;
        if let Some(version) = push.publication().and_then(|it| it.version()) {
            self.version = Some(Box::new(version.clone()));
        }
        self.bytes += cost(&push);
        self.remembered.push_back(Remembered { push, since: now });
        while self.remembered.len() > size {
            self.forget_oldest();
        }
    }

    /// Forgets the oldest publication, and the room that so many would need again.
    pub(super) fn forget_oldest(&mut self) {
        if let Some(oldest) = self.remembered.pop_front() {
            self.bytes -= cost(&oldest.push);
        }
        let (count, room) = (self.remembered.len(), self.remembered.capacity());
        if room >= ROOM_KEPT && count < room / 4 {
            self.remembered.shrink_to(2 * count);
        }
    }

    /// Forgets what was remembered for `ttl` ticks or longer, at most so much of it; returns when
    /// the next will be.
    pub(in crate::hub) fn expire(&mut self, now: Tick, ttl: u32, most: &mut u32) -> Option<Tick> {
        while let Some(oldest) = self.remembered.front() {
            let due = oldest.since.plus(ttl);
            if due.is_after(now) || *most == 0 {
                return Some(due);
            }
            *most -= 1;
            self.forget_oldest();
        }
        None
    }

    /// How many of those it remembers are too old to be given out, and wait to be forgotten.
    fn stale(&self, now: Tick, ttl: u32) -> usize {
        self.remembered.partition_point(|remembered| !remembered.since.plus(ttl).is_after(now))
    }

    /// Forgets every publication. Offsets go on. To drop many takes its time: they are returned.
    pub(super) fn forget_all(&mut self) -> Forgotten {
        self.bytes = 0;
        Forgotten(std::mem::take(&mut self.remembered))
    }

    /// How many publications it remembers.
    pub(in crate::hub) fn len(&self) -> usize {
        self.remembered.len()
    }

    /// About how much memory it takes of what is for history: nothing while it is empty and heard.
    pub(in crate::hub) fn bytes(&self) -> usize {
        if self.remembered.is_empty() && self.is_heard {
            return 0;
        }
        let epoch = self.version.as_ref().map_or(0, |version| version.epoch.len());
        self.bytes + epoch + STREAM_BYTES
    }

    /// Everything behind a position, if nothing of it is forgotten, and it is not more than
    /// `count_max` publications with `bytes_max` bytes of payload.
    pub(in crate::hub) fn missed(
        &self,
        (epoch, offset): (EpochClaim, u64),
        (now, ttl): (Tick, u32),
        (count_max, bytes_max): (usize, usize),
    ) -> Option<Vec<Arc<Push>>> {
        let count = usize::try_from(self.last.checked_sub(offset)?).ok()?;
        let fresh = self.remembered.len() - self.stale(now, ttl);
        if !epoch.admits(self.epoch) || count > fresh || count > count_max {
            return None;
        }
        let missed = self.remembered.range(self.remembered.len() - count..);
        let missed: Vec<_> = missed.map(|remembered| Arc::clone(&remembered.push)).collect();
        let bytes: usize = missed.iter().map(|push| payload_bytes(push)).sum();
        (bytes <= bytes_max).then_some(missed)
    }

    /// The publications that a filter asks for: at most `count_max` of them, and fewer when they
    /// are more than `bytes_max` bytes. The first is given however long it is, because nobody gets
    /// at those behind it otherwise. `None` if the position is of another stream.
    pub(super) fn select(
        &self,
        filter: &HistoryFilter,
        (now, ttl): (Tick, u32),
        (count_max, bytes_max): (usize, usize),
    ) -> Option<Vec<Arc<Push>>> {
        if filter.since.is_some_and(|(epoch, _)| !epoch.admits(self.epoch)) {
            return None;
        }
        let limit = filter.limit.unwrap_or(count_max).min(count_max);
        let mut bytes = 0;
        let mut fits = |push: &&Arc<Push>| {
            let is_first = bytes == 0;
            bytes += push.publication().map_or(0, |publication| publication.bytes());
            is_first || bytes <= bytes_max
        };
        let since = filter.since.map(|(_, offset)| offset);
        let pushes = |places| self.remembered.range(places).map(|remembered| &remembered.push);
        let stale = self.stale(now, ttl);
        Some(if filter.reverse {
            let end = since.map_or(self.remembered.len(), |since| self.place_of(since)).max(stale);
            pushes(stale..end).rev().take(limit).take_while(&mut fits).cloned().collect()
        } else {
            let start = since.map_or(0, |since| self.place_of(since.saturating_add(1))).max(stale);
            pushes(start..self.remembered.len())
                .take(limit)
                .take_while(&mut fits)
                .cloned()
                .collect()
        })
    }

    /// How many of the remembered publications come before an offset: offsets are consecutive, so
    /// nobody has to look at them.
    fn place_of(&self, offset: u64) -> usize {
        let first = self.next_offset() - self.remembered.len() as u64;
        offset.saturating_sub(first).min(self.remembered.len() as u64) as usize
    }
}

fn payload_bytes(push: &Push) -> usize {
    push.publication().map_or(0, |publication| publication.payload().len())
}

fn cost(push: &Push) -> usize {
    OVERHEAD_BYTES + push.publication().map_or(0, |publication| 3 * publication.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ChannelName, PushBody};

    /// A stream of eight publications that remembers the last five: offsets 4 to 8.
    fn stream() -> Stream {
        let mut stream = Stream::new((Id::NONE, 0), Epoch(1), false, Tick(0));
        for offset in 1..=8 {
            let publication = Arc::new(Publication::new(true, b"1", 0));
            let body = PushBody::Publication { publication, offset };
            let push = Push::new(ChannelName::parse(b"a").unwrap(), body);
            stream.append(Arc::new(push), Tick(0), 5);
        }
        stream
    }

    #[test]
    fn a_filter_finds_what_looking_at_each_would_find() {
        let stream = stream();
        for since in (0..=10).chain([u64::MAX]) {
            for reverse in [false, true] {
                let filter =
                    HistoryFilter { limit: None, since: Some((EpochClaim::Any, since)), reverse };
                let found = stream.select(&filter, (Tick(0), 10), (100, usize::MAX)).unwrap();
                let found: Vec<u64> = found.iter().map(|push| push.offset()).collect();
                let mut wanted: Vec<u64> = (4..=8).collect();
                wanted.retain(|&at| if reverse { at < since } else { at > since });
                if reverse {
                    wanted.reverse();
                }
                assert_eq!(found, wanted, "since {since}, reverse {reverse}");
            }
        }
    }

    #[test]
    fn what_is_longer_than_an_answer_is_given_by_itself() {
        const BYTES_MAX: usize = 1000;
        let mut stream = Stream::new((Id::NONE, 0), Epoch(1), false, Tick(0));
        for length in [10, 980, 5000, 10, 1001, 330, 330, 330, 330] {
            let publication = Arc::new(Publication::new(true, &vec![b'x'; length], 0));
            let body = PushBody::Publication { publication, offset: stream.next_offset() };
            let push = Push::new(ChannelName::parse(b"a").unwrap(), body);
            stream.append(Arc::new(push), Tick(0), 100);
        }
        for (reverse, pages) in [
            (false, &[&[1, 2][..], &[3], &[4], &[5], &[6, 7], &[8, 9]][..]),
            (true, &[&[9, 8], &[7, 6], &[5], &[4], &[3], &[2, 1]]),
        ] {
            let mut since = None;
            for page in pages {
                let filter = HistoryFilter { limit: None, since, reverse };
                let found = stream.select(&filter, (Tick(0), 10), (100, BYTES_MAX)).unwrap();
                let found: Vec<u64> = found.iter().map(|push| push.offset()).collect();
                assert_eq!(found, *page);
                since = found.last().map(|&offset| (EpochClaim::Any, offset));
            }
        }
    }

    #[test]
    fn what_is_too_old_is_not_given_out_although_it_is_not_forgotten_yet() {
        let mut stream = Stream::new((Id::NONE, 0), Epoch(1), false, Tick(0));
        for offset in 1..=6 {
            let publication = Arc::new(Publication::new(true, b"1", 0));
            let body = PushBody::Publication { publication, offset };
            let push = Push::new(ChannelName::parse(b"a").unwrap(), body);
            stream.append(Arc::new(push), Tick(offset as u32), 100);
        }
        let select = |stream: &Stream, reverse, since: Option<u64>| -> Vec<u64> {
            let since = since.map(|offset| (EpochClaim::Any, offset));
            let filter = HistoryFilter { limit: None, since, reverse };
            let found = stream.select(&filter, (Tick(14), 10), (100, usize::MAX)).unwrap();
            found.iter().map(|push| push.offset()).collect()
        };
        let missed = |stream: &Stream, offset| {
            let missed =
                stream.missed((EpochClaim::Any, offset), (Tick(14), 10), (100, usize::MAX));
            missed.map(|missed| missed.len())
        };
        // First none of them is forgotten, then two, then all four that are too old.
        for forgotten in [0, 2, 2] {
            let due = stream.expire(Tick(14), 10, &mut { forgotten });
            assert!(due.is_some());
            assert_eq!(select(&stream, false, None), [5, 6]);
            assert_eq!(select(&stream, true, None), [6, 5]);
            assert_eq!(select(&stream, false, Some(2)), [5, 6]);
            assert_eq!(select(&stream, true, Some(6)), [5]);
            assert_eq!(select(&stream, true, Some(3)), [0; 0]);
            assert_eq!((missed(&stream, 4), missed(&stream, 3)), (Some(2), None));
        }
        assert_eq!((stream.len(), stream.expire(Tick(14), 10, &mut 9)), (2, Some(Tick(15))));
    }
}
