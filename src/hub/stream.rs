//! The stream of a channel with history: its epoch, its last offset, and what it remembers.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::hub::rows::NONE;
use crate::hub::{Place, Ranked};
use crate::protocol::{Epoch, EpochClaim, HistoryFilter, Position, Publication, Push, Version};
use crate::wheel::Tick;

/// What a remembered publication costs beside its payload: itself, its frames' headers, its place.
const OVERHEAD_BYTES: usize = 256;

/// What a stream without publications costs: itself, its channel's home and name, their places.
pub(super) const STREAM_BYTES: usize = 512;

/// For so many publications a stream that forgets them keeps the room.
const ROOM_KEPT: usize = 64;

/// One life of a channel's stream. What it remembers has consecutive offsets up to the last.
#[derive(Debug)]
pub(super) struct Stream {
    /// The home row of its channel.
    pub(super) home: u32,
    epoch: Epoch,
    last: u64,
    /// The newest state that its publications told.
    version: Option<Box<Version>>,
    remembered: VecDeque<Remembered>,
    bytes: usize,
    /// When something last happened in it.
    pub(super) used: Tick,
    /// Whether its channel has subscribers.
    pub(super) is_heard: bool,
    /// The group of its namespace.
    pub(super) group: u16,
    /// When it makes room for others.
    place: Place,
}

const _: () = assert!(size_of::<Stream>() <= 88, "every channel with history has one");

impl Ranked for Stream {
    fn place(&mut self) -> &mut Place {
        &mut self.place
    }
}

#[derive(Debug)]
struct Remembered {
    push: Arc<Push>,
    since: Tick,
}

impl Default for Stream {
    fn default() -> Self {
        Self::new((NONE, 0), Epoch(0), false, Tick(0))
    }
}

impl Stream {
    /// A stream without publications, of a home row's channel and the group of its namespace.
    pub(super) fn new((home, group): (u32, u16), epoch: Epoch, is_heard: bool, now: Tick) -> Self {
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
    pub(super) fn position(&self) -> Position {
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
    pub(super) fn append(&mut self, push: Arc<Push>, now: Tick, size: usize) {
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

    /// Forgets what was remembered for `ttl` ticks or longer; returns when the next will be.
    pub(super) fn expire(&mut self, now: Tick, ttl: u32) -> Option<Tick> {
        while let Some(oldest) = self.remembered.front() {
            let due = oldest.since.plus(ttl);
            if due.is_after(now) {
                return Some(due);
            }
            self.forget_oldest();
        }
        None
    }

    /// Forgets every publication. Offsets go on.
    pub(super) fn forget_all(&mut self) {
        (self.remembered, self.bytes) = (VecDeque::new(), 0);
    }

    /// How many publications it remembers.
    pub(super) fn len(&self) -> usize {
        self.remembered.len()
    }

    /// About how much memory it takes of what is for history: nothing while it is empty and heard.
    pub(super) fn bytes(&self) -> usize {
        if self.remembered.is_empty() && self.is_heard {
            return 0;
        }
        let epoch = self.version.as_ref().map_or(0, |version| version.epoch.len());
        self.bytes + epoch + STREAM_BYTES
    }

    /// Everything behind a position, if nothing of it is forgotten, and it is not more than
    /// `count_max` publications with `bytes_max` bytes of payload.
    pub(super) fn missed(
        &self,
        epoch: EpochClaim,
        offset: u64,
        count_max: usize,
        bytes_max: usize,
    ) -> Option<Vec<Arc<Push>>> {
        let count = usize::try_from(self.last.checked_sub(offset)?).ok()?;
        if !epoch.admits(self.epoch) || count > self.remembered.len() || count > count_max {
            return None;
        }
        let missed = self.remembered.range(self.remembered.len() - count..);
        let missed: Vec<_> = missed.map(|remembered| Arc::clone(&remembered.push)).collect();
        let bytes: usize = missed.iter().map(|push| payload_bytes(push)).sum();
        (bytes <= bytes_max).then_some(missed)
    }

    /// The publications that a filter asks for: at most `count_max` of them, and fewer when they
    /// are more than `bytes_max` bytes. `None` if its position is of another stream.
    pub(super) fn select(
        &self,
        filter: &HistoryFilter,
        count_max: usize,
        bytes_max: usize,
    ) -> Option<Vec<Arc<Push>>> {
        if filter.since.is_some_and(|(epoch, _)| !epoch.admits(self.epoch)) {
            return None;
        }
        let limit = filter.limit.unwrap_or(count_max).min(count_max);
        let mut bytes = 0;
        let mut fits = |push: &&Arc<Push>| {
            bytes += cost(push);
            bytes <= bytes_max
        };
        let since = filter.since.map(|(_, offset)| offset);
        let pushes = |places| self.remembered.range(places).map(|remembered| &remembered.push);
        Some(if filter.reverse {
            let end = since.map_or(self.remembered.len(), |since| self.place_of(since));
            pushes(0..end).rev().take(limit).take_while(&mut fits).cloned().collect()
        } else {
            let start = since.map_or(0, |since| self.place_of(since.saturating_add(1)));
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
    use crate::protocol::{ChannelName, PushBody};

    /// A stream of eight publications that remembers the last five: offsets 4 to 8.
    fn stream() -> Stream {
        let mut stream = Stream::new((0, 0), Epoch(1), false, Tick(0));
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
                let found = stream.select(&filter, 100, usize::MAX).unwrap();
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
}
