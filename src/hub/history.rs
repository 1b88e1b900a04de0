//! All streams of a shard: found by row, ordered by use, expiring by a wheel, within a budget.
//!
//! A stream begins with the first publication or the first subscriber that asks for its position,
//! and ends when its channel has had neither for a while, or when the budget is needed by others:
//! the next one of the channel has another epoch, so that no position of the old one is taken for
//! one of the new. A channel with subscribers keeps its stream; under pressure it forgets only
//! publications, which a recovery notices by the gap.

use std::sync::Arc;

use crate::hub::Hub;
use crate::hub::rows::{NONE, Rows};
use crate::hub::stream::Stream;
use crate::protocol::{ChannelName, Epoch, Position, Push};
use crate::wheel::{TICK_MILLIS, Tick, Wheel};

/// Ticks of a second.
pub(super) const SECOND: u32 = 1000 / TICK_MILLIS;

const _: () = assert!(1000 % TICK_MILLIS == 0, "seconds are whole ticks");

/// At most so many steps of the wheel are done for each tick of the clock; the rest comes with the
/// next ticks.
const STEPS_PER_TICK: u32 = 256;

/// At most so many streams are looked at to make room for one publication. It takes one at most
/// that is larger than the publication, so in the long run this is more than enough.
const EVICTIONS_PER_PUBLICATION: usize = 64;

/// The streams of a shard.
pub(super) struct History {
    pub(super) streams: Rows<Stream>,
    /// The ends of the order of use.
    oldest: u32,
    newest: u32,
    expiry: Wheel,
    bytes: usize,
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History").field("streams", &self.streams).finish_non_exhaustive()
    }
}

impl History {
    /// No streams.
    pub(super) fn new() -> Self {
        Self {
            streams: Rows::default(),
            oldest: NONE,
            newest: NONE,
            expiry: Wheel::new(Tick(0)),
            bytes: 0,
        }
    }

    /// Changes a stream, keeping the sum of bytes.
    fn change<T>(&mut self, row: u32, change: impl FnOnce(&mut Stream) -> T) -> T {
        let stream = &mut self.streams[row];
        self.bytes -= stream.bytes();
        let result = change(stream);
        self.bytes += stream.bytes();
        result
    }

    fn insert(&mut self, stream: Stream, due: Tick) -> u32 {
        self.bytes += stream.bytes();
        let row = self.streams.insert(stream);
        self.link_newest(row);
        self.expiry.insert_or_move(row, due);
        row
    }

    fn remove(&mut self, row: u32) -> Stream {
        self.unlink(row);
        self.expiry.cancel(row);
        let stream = self.streams.remove(row);
        self.bytes -= stream.bytes();
        stream
    }

    /// Makes a stream the one that was used last.
    fn touch(&mut self, row: u32, now: Tick) {
        self.streams[row].used = now;
        if self.newest != row {
            self.unlink(row);
            self.link_newest(row);
        }
    }

    fn link_newest(&mut self, row: u32) {
        let before = std::mem::replace(&mut self.newest, row);
        self.streams[row].older = before;
        self.streams[row].newer = NONE;
        if before == NONE {
            self.oldest = row;
        } else {
            self.streams[before].newer = row;
        }
    }

    fn unlink(&mut self, row: u32) {
        let (older, newer) = (self.streams[row].older, self.streams[row].newer);
        if older == NONE {
            self.oldest = newer;
        } else {
            self.streams[older].newer = newer;
        }
        if newer == NONE {
            self.newest = older;
        } else {
            self.streams[newer].older = older;
        }
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
        let epoch = self.next_epoch();
        let due = now.plus(ttl.saturating_mul(SECOND));
        let row = self.history.insert(Stream::new(home, epoch, now), due);
        self.homes.rows[home].stream = row;
        self.metrics.streams.add(1);
        self.enforce_history_budget(row);
        self.note_history();
        row
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

    /// Takes from the streams that were not used for longest until the rest fits.
    fn enforce_history_budget(&mut self, spared: u32) {
        let bytes_max = self.settings.history_bytes_max;
        for _ in 0..EVICTIONS_PER_PUBLICATION {
            if self.history.bytes <= bytes_max {
                return;
            }
            let row = self.history.oldest;
            let home = self.history.streams[row].home;
            let is_in_use = !self.homes.rows[home].members.is_empty();
            if row == spared || (is_in_use && self.history.streams[row].len() == 0) {
                // There is nothing to take; the next one comes first from now on.
                self.history.unlink(row);
                self.history.link_newest(row);
                continue;
            }
            self.metrics.streams_evicted.increment();
            if is_in_use {
                self.history.change(row, Stream::forget_all);
                self.history.unlink(row);
                self.history.link_newest(row);
            } else {
                self.end_stream(row);
            }
        }
        if self.history.streams[spared].bytes() > bytes_max {
            self.metrics.streams_evicted.increment();
            self.history.change(spared, Stream::forget_all);
        }
    }

    fn end_stream(&mut self, row: u32) {
        let home = self.history.remove(row).home;
        self.metrics.streams.add(-1);
        self.homes.rows[home].stream = NONE;
        self.forget_empty_home(home);
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

    fn note_history(&self) {
        self.metrics.history_bytes.set(self.history.bytes as i64);
    }

    /// An epoch that no stream had before (splitmix64: a permutation of the counter).
    fn next_epoch(&mut self) -> Epoch {
        self.tally.epochs = self.tally.epochs.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.tally.epochs;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Epoch(mixed ^ (mixed >> 31))
    }
}
