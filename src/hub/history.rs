//! All streams of a shard: found by row, ordered by use, expiring by a wheel, within a budget.
//!
//! A stream begins with the first publication or the first subscriber that asks for its position,
//! and ends when its channel has had neither for a while, or when the budget is needed by others:
//! the next one of the channel has another epoch, so that no position of the old one is taken for
//! one of the new. A channel with subscribers keeps its stream; under pressure it forgets only
//! publications, which a recovery notices by the gap. Who only asks a question begins nothing.
//!
//! The budget is for what is remembered, and `payers` says who makes room. A stream that is empty
//! but heard costs nothing: its subscribers are bounded, and made-up names of theirs must not drive
//! out what others remember.

use std::sync::Arc;

use crate::hub::Hub;
use crate::hub::epochs::Epochs;
use crate::hub::home::Home;
use crate::hub::payers::{IDLE, LARGE, Payers};
use crate::hub::rows::{NONE, Rows};
use crate::hub::stream::Stream;
use crate::protocol::{ChannelName, Position, Push};
use crate::wheel::{TICK_MILLIS, Tick, Wheel};

/// Ticks of a second.
pub(super) const SECOND: u32 = 1000 / TICK_MILLIS;

const _: () = assert!(1000 % TICK_MILLIS == 0, "seconds are whole ticks");

/// At most so many steps of the wheel are done for each tick of the clock; the rest comes with the
/// next ticks.
const STEPS_PER_TICK: u32 = 256;

/// The streams of a shard.
pub(super) struct History {
    pub(super) streams: Rows<Stream>,
    pub(super) epochs: Epochs,
    /// Who makes room first.
    payers: Payers,
    expiry: Wheel,
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History").field("streams", &self.streams).finish_non_exhaustive()
    }
}

impl History {
    /// No streams.
    pub(super) fn new(epochs: Epochs) -> Self {
        Self {
            streams: Rows::default(),
            epochs,
            payers: Payers::default(),
            expiry: Wheel::new(Tick(0)),
        }
    }

    /// What all streams take.
    pub(super) fn bytes(&self) -> usize {
        self.payers.bytes()
    }

    /// Changes a stream, keeping the sum of bytes and the order in which streams make room.
    fn change<T>(&mut self, row: u32, change: impl FnOnce(&mut Stream) -> T) -> T {
        let stream = &mut self.streams[row];
        let before = stream.bytes();
        let result = change(stream);
        self.payers.settle(&mut self.streams, row, before);
        result
    }

    fn insert(&mut self, stream: Stream, due: Tick) -> u32 {
        let row = self.streams.insert(stream);
        self.payers.settle(&mut self.streams, row, 0);
        self.expiry.insert_or_move(row, due);
        row
    }

    fn remove(&mut self, row: u32) -> Stream {
        self.payers.remove(&mut self.streams, row);
        self.expiry.cancel(row);
        self.streams.remove(row)
    }

    /// Makes a stream the one that was used last.
    pub(super) fn touch(&mut self, row: u32, now: Tick) {
        self.streams[row].used = now;
        self.payers.renew(&mut self.streams, row);
    }
}

impl Hub {
    /// The stream of a channel with history, which begins if there is none. Publications are
    /// remembered for `ttl` seconds.
    pub(super) fn stream_of(&mut self, home: u32, ttl: u32) -> u32 {
        let now = self.now.tick;
        let row = self.homes.rows[home].stream;
        if row != NONE {
            self.history.touch(row, now);
            return row;
        }
        let place = &self.homes.rows[home];
        let group = self.history.payers.group_of(place.channel_name());
        let epoch = self.history.epochs.next_of(place.channel_name());
        let is_heard = !place.members.is_empty();
        let due = now.plus(ttl.saturating_mul(SECOND));
        let row = self.history.insert(Stream::new((home, group), epoch, is_heard, now), due);
        self.homes.rows[home].stream = row;
        self.metrics.streams.add(1);
        row
    }

    /// A channel got its first subscribers, or lost its last.
    pub(super) fn note_audience(&mut self, home: u32) {
        let Home { stream, ref members, .. } = self.homes.rows[home];
        let is_heard = !members.is_empty();
        if stream != NONE && self.history.streams[stream].is_heard != is_heard {
            self.history.change(stream, |stream| stream.is_heard = is_heard);
            self.enforce_history_budget(NONE);
            self.note_history();
        }
    }

    /// Publishes into a stream, which remembers at most `size` publications.
    pub(super) fn remember(&mut self, row: u32, push: &Arc<Push>, size: usize) -> Position {
        let now = self.now.tick;
        let push = Arc::clone(push);
        self.history.change(row, |stream| stream.append(push, now, size));
        let position = self.history.streams[row].position();
        self.enforce_history_budget(row);
        self.note_history();
        position
    }

    /// Forgets what a channel remembers.
    pub(super) fn forget_history(&mut self, channel: &ChannelName) {
        let Some(home) = self.homes.find(channel) else { return };
        let row = self.homes.rows[home].stream;
        if row != NONE {
            self.history.change(row, Stream::forget_all);
            self.note_history();
        }
    }

    /// Takes from those who pay first until the rest fits: as many steps as there are publications
    /// in as many bytes as came. The stream of a channel that is in use does not end.
    pub(super) fn enforce_history_budget(&mut self, in_use: u32) {
        while self.history_bytes() > self.settings.history_bytes_max {
            let Some((rank, row)) = self.history.payers.first() else { return };
            if rank == IDLE {
                if row == in_use {
                    return;
                }
                self.metrics.positions_evicted.increment();
                self.end_stream(row);
                continue;
            }
            let before = self.history.streams[row].len();
            if rank >= LARGE {
                self.history.change(row, Stream::forget_oldest);
            } else {
                self.history.change(row, Stream::forget_all);
            }
            let stream = &self.history.streams[row];
            let (after, is_heard) = (stream.len(), stream.is_heard);
            self.metrics.publications_evicted.add((before - after) as u64);
            if after == 0 {
                self.metrics.streams_evicted.increment();
                if !is_heard && row != in_use {
                    self.end_stream(row);
                }
            }
        }
    }

    /// What streams and the keys of publications take together.
    fn history_bytes(&self) -> usize {
        self.history.bytes() + self.repeats.bytes()
    }

    fn end_stream(&mut self, row: u32) {
        let stream = self.history.remove(row);
        self.metrics.streams.add(-1);
        let home = &mut self.homes.rows[stream.home];
        home.stream = NONE;
        if stream.position().offset > 0 {
            self.history.epochs.end(home.channel_name());
        }
        self.forget_empty_home(stream.home);
    }

    /// Forgets publications that are too old, and streams that nobody has used for long.
    pub(super) fn expire_history(&mut self) {
        let now = self.now.tick;
        let mut steps = STEPS_PER_TICK;
        while let Some(row) = self.history.expiry.pop_expired(now, &mut steps) {
            let home = self.history.streams[row].home;
            let name = self.homes.rows[home].channel_name();
            let rules = self.settings.namespaces.of(name);
            let ttl = rules.map_or(0, |rules| rules.history_ttl).saturating_mul(SECOND);
            let meta_ttl = self.settings.history_meta_ttl.saturating_mul(SECOND);
            let due = self.history.change(row, |stream| stream.expire(now, ttl));
            let stream = &self.history.streams[row];
            let end = stream.used.plus(meta_ttl);
            let is_in_use = !self.homes.rows[home].members.is_empty();
            if let Some(due) = due {
                self.history.expiry.insert_or_move(row, due);
            } else if is_in_use || end.is_after(now) {
                // Publications may come meanwhile, and are to be forgotten in time.
                self.history.expiry.insert_or_move(row, now.plus(ttl.max(1)));
            } else {
                self.end_stream(row);
            }
        }
        self.note_history();
    }

    pub(super) fn note_history(&self) {
        self.metrics.history_bytes.set(self.history_bytes() as i64);
    }
}
