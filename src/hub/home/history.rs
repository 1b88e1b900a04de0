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

use std::collections::VecDeque;
use std::sync::Arc;

use crate::hub::context::{Context, SECOND};
use crate::hub::home::epochs::Epochs;
use crate::hub::home::payers::{IDLE, LARGE, Payers};
use crate::hub::home::stream::{Forgotten, Stream};
use crate::hub::home::{Home, Record};
use crate::hub::rows::{Id, Rows};
use crate::model::{ChannelName, Position, Push};
use crate::settings::Allowance;
use crate::wheel::{Tick, Wheel};

/// A budget for history that has become less takes away so much in one turn.
pub(in crate::hub) const SHED_PER_TURN: usize = 256 * 1024;

/// At most so many steps of the wheel are done in one turn, and so many publications forgotten; the
/// rest comes with the next turns.
const STEPS_PER_TURN: u32 = 256;
const FORGOTTEN_PER_TURN: u32 = 1024;

/// The streams of a shard.
pub(in crate::hub) struct History {
    pub(in crate::hub) streams: Rows<Stream>,
    pub(in crate::hub) epochs: Epochs,
    /// Who makes room first.
    payers: Payers,
    /// What streams and keys may take together.
    pub(super) allowance: Allowance,
    /// What they may still take although a budget has become less; 0 when they are within it.
    pub(super) excess: usize,
    expiry: Wheel,
    /// Something is too old that the last turn did not come to.
    is_behind: bool,
    /// The stream that the last turn did not come to the end of, if any.
    unfinished: Id<Stream>,
    /// What is forgotten and still to be dropped.
    forgotten: VecDeque<Forgotten>,
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History").field("streams", &self.streams).finish_non_exhaustive()
    }
}

impl History {
    /// No streams.
    pub(in crate::hub) fn new(epochs: Epochs, allowance: Allowance) -> Self {
        Self {
            streams: Rows::default(),
            epochs,
            payers: Payers::default(),
            allowance,
            excess: 0,
            expiry: Wheel::new(Tick(0)),
            is_behind: false,
            unfinished: Id::NONE,
            forgotten: VecDeque::new(),
        }
    }

    /// What all streams take.
    pub(in crate::hub) fn bytes(&self) -> usize {
        self.payers.bytes()
    }

    /// Changes a stream, keeping the sum of bytes and the order in which streams make room.
    fn change<T>(&mut self, row: Id<Stream>, change: impl FnOnce(&mut Stream) -> T) -> T {
        let stream = &mut self.streams[row];
        let before = stream.bytes();
        let result = change(stream);
        self.payers.settle(&mut self.streams, row, before);
        result
    }

    fn insert(&mut self, stream: Stream, due: Tick) -> Id<Stream> {
        let row = self.streams.insert(stream);
        self.payers.settle(&mut self.streams, row, 0);
        self.expiry.insert_or_move(row.number(), due);
        row
    }

    fn remove(&mut self, row: Id<Stream>) -> Stream {
        self.payers.remove(&mut self.streams, row);
        self.expiry.cancel(row.number());
        if self.unfinished == row {
            self.unfinished = Id::NONE;
        }
        self.streams.remove(row)
    }

    /// Makes a stream the one that was used last.
    pub(super) fn touch(&mut self, row: Id<Stream>, now: Tick) {
        self.streams[row].used = now;
        self.payers.renew(&mut self.streams, row);
    }
}

impl Home {
    /// The stream of a channel with history, which begins if there is none. Publications are
    /// remembered for `ttl` seconds.
    pub(super) fn stream_of(
        &mut self,
        context: &Context,
        home: Id<Record>,
        ttl: u32,
    ) -> Id<Stream> {
        let now = context.now.tick;
        let row = self.records.rows[home].stream;
        if row != Id::NONE {
            self.history.touch(row, now);
            return row;
        }
        let place = &self.records.rows[home];
        let group = self.history.payers.group_of(place.channel_name());
        let epoch = self.history.epochs.next_of(place.channel_name());
        let is_heard = !place.members.is_empty();
        let due = now.plus(ttl.saturating_mul(SECOND));
        let row = self.history.insert(Stream::new((home, group), epoch, is_heard, now), due);
        self.records.rows[home].stream = row;
        context.metrics.streams.add(1);
        row
    }

    /// A channel got its first subscribers, or lost its last.
    pub(super) fn note_audience(&mut self, context: &Context, home: Id<Record>) {
        let Record { stream, ref members, .. } = self.records.rows[home];
        let is_heard = !members.is_empty();
        if stream != Id::NONE && self.history.streams[stream].is_heard != is_heard {
            self.history.change(stream, |stream| stream.is_heard = is_heard);
            self.enforce_history_budget(context, Id::NONE);
            self.note_history(context);
        }
    }

    /// Publishes into a stream, which remembers at most `size` publications.
    pub(super) fn remember(
        &mut self,
        context: &Context,
        row: Id<Stream>,
        push: &Arc<Push>,
        size: usize,
    ) -> Position {
        let now = context.now.tick;
        let push = Arc::clone(push);
        self.history.change(row, |stream| stream.append(push, now, size));
        let position = self.history.streams[row].position();
        self.enforce_history_budget(context, row);
        self.note_history(context);
        position
    }

    /// Forgets what a channel remembers.
    pub(super) fn forget_history(&mut self, context: &Context, channel: &ChannelName) {
        let Some(home) = self.records.find(channel) else { return };
        let row = self.records.rows[home].stream;
        if row != Id::NONE {
            let forgotten = self.history.change(row, Stream::forget_all);
            self.history.forgotten.push_back(forgotten);
            self.history.is_behind = true;
            self.note_history(context);
        }
    }

    /// Takes from those who pay first until the rest fits: as many steps as there are publications
    /// in as many bytes as came. The stream of a channel that is in use does not end.
    pub(super) fn enforce_history_budget(&mut self, context: &Context, in_use: Id<Stream>) {
        while self.is_history_over() {
            let Some((rank, row)) = self.history.payers.first() else { return };
            if rank == IDLE {
                if row == in_use {
                    return;
                }
                context.metrics.positions_evicted.increment();
                self.end_stream(context, row);
                continue;
            }
            let before = self.history.streams[row].len();
            if rank >= LARGE {
                self.history.change(row, Stream::forget_oldest);
            } else {
                drop(self.history.change(row, Stream::forget_all));
            }
            let stream = &self.history.streams[row];
            let (after, is_heard) = (stream.len(), stream.is_heard);
            context.metrics.publications_evicted.add((before - after) as u64);
            if after == 0 {
                context.metrics.streams_evicted.increment();
                if !is_heard && row != in_use {
                    self.end_stream(context, row);
                }
            }
        }
    }

    /// What streams and the keys of publications take together.
    pub(in crate::hub) fn history_bytes(&self) -> usize {
        self.history.bytes() + self.repeats.bytes()
    }

    /// A channel that has lost its history gets a publication which its stream will not have: if
    /// the history comes back, nobody may take the stream for whole. Returns whether there was one.
    pub(super) fn forget_stream(&mut self, context: &Context, home: Option<Id<Record>>) -> bool {
        let stream = home.map_or(Id::NONE, |home| self.records.rows[home].stream);
        if stream == Id::NONE {
            return false;
        }
        self.end_stream(context, stream);
        self.note_history(context);
        true
    }

    fn end_stream(&mut self, context: &Context, row: Id<Stream>) {
        let stream = self.history.remove(row);
        context.metrics.streams.add(-1);
        let home = &mut self.records.rows[stream.home];
        home.stream = Id::NONE;
        if stream.position().offset > 0 {
            self.history.epochs.end(home.channel_name());
        }
        self.forget_empty(stream.home);
    }

    /// Whether something is too old, or forgotten, that no turn came to yet.
    pub(super) fn is_history_behind(&self) -> bool {
        self.history.is_behind
    }

    /// Forgets publications that are too old, and streams that nobody has used for long.
    pub(super) fn expire_history(&mut self, context: &Context) {
        let now = context.now.tick;
        let (mut steps, mut most) = (STEPS_PER_TURN, FORGOTTEN_PER_TURN);
        let unfinished = std::mem::replace(&mut self.history.unfinished, Id::NONE);
        if unfinished != Id::NONE {
            self.expire_stream(context, unfinished, &mut most);
        }
        while most > 0
            && let Some(row) = self.history.expiry.pop_expired(now, &mut steps)
        {
            self.expire_stream(context, Id::new(row), &mut most);
        }
        while most > 0
            && let Some(forgotten) = self.history.forgotten.front_mut()
            && forgotten.drop_some(&mut most)
        {
            self.history.forgotten.pop_front();
        }
        self.history.is_behind = steps == 0 || most == 0;
        self.note_history(context);
    }

    fn expire_stream(&mut self, context: &Context, row: Id<Stream>, most: &mut u32) {
        let now = context.now.tick;
        let home = self.history.streams[row].home;
        let name = self.records.rows[home].channel_name();
        let rules = context.settings.namespaces.of(name);
        let ttl = rules.map_or(0, |rules| rules.history_ttl).saturating_mul(SECOND);
        let meta_ttl = context.settings.history_meta_ttl.saturating_mul(SECOND);
        let due = self.history.change(row, |stream| stream.expire(now, ttl, most));
        let stream = &self.history.streams[row];
        let end = stream.used.plus(meta_ttl);
        let is_in_use = !self.records.rows[home].members.is_empty();
        if let Some(due) = due {
            self.history.expiry.insert_or_move(row.number(), due);
            if !due.is_after(now) {
                self.history.unfinished = row;
            }
        } else if is_in_use || end.is_after(now) {
            // Publications may come meanwhile, and are to be forgotten in time.
            self.history.expiry.insert_or_move(row.number(), now.plus(ttl.max(1)));
        } else {
            self.end_stream(context, row);
        }
    }

    /// Brings what history may hold nearer to a budget that has become less, or to it.
    pub(super) fn shed_history(&mut self, context: &Context) {
        let held = self.history.excess.min(self.history_bytes());
        let next = held.saturating_sub(SHED_PER_TURN);
        self.history.excess = if self.history.allowance.covers(next) { 0 } else { next };
        self.enforce_history_budget(context, Id::NONE);
        self.note_history(context);
    }

    fn is_history_over(&mut self) -> bool {
        let held = self.history_bytes();
        held > self.history.excess && !self.history.allowance.covers(held)
    }

    pub(super) fn note_history(&self, context: &Context) {
        context.metrics.history_bytes.set(self.history_bytes() as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{Effect, Hub, Now, Site};
    use crate::mesh::{Envelope, Homes, Outbound};
    use crate::metrics::ShardMetrics;
    use crate::model::{
        Command, HistoryFilter, Namespace, Namespaces, Outcome, Publication, ShardId, Ticket,
    };
    use crate::settings::HubSettings;

    /// A shard whose channels remember much for ten seconds.
    fn shard() -> Hub {
        let rules = Namespace { history_size: usize::MAX, history_ttl: 10, ..Namespace::default() };
        let namespaces = Namespaces::new(rules.clone(), rules, Default::default()).into();
        let unlimited = HubSettings::unlimited();
        let settings = HubSettings { namespaces, history_meta_ttl: 10, ..unlimited };
        let site = Site::new(ShardId(0), Homes::new(1, 1));
        Hub::new(site, settings.into(), Arc::new(ShardMetrics::default()))
    }

    fn name(number: u32) -> ChannelName {
        ChannelName::parse(number.to_string().as_bytes()).unwrap()
    }

    fn publish(hub: &mut Hub, channel: u32) {
        let publication = Arc::new(Publication::new(true, b"1", 0));
        let channel = name(channel);
        let command = Box::new(Command::Publish { channel, publication, key: None });
        hub.handle(Envelope::Command { command, ticket: None });
    }

    /// How many publications of a channel are given out.
    fn history(hub: &mut Hub, channel: u32) -> usize {
        let filter = HistoryFilter { limit: None, since: None, reverse: false };
        let command = Box::new(Command::History { channel: name(channel), filter });
        hub.handle(Envelope::Command { command, ticket: Some(Ticket { asker: 0, number: 1 }) });
        let Some(Effect::Tell(_, Outbound::Answer(answer))) = hub.poll_effect() else { panic!() };
        let Some(Outcome::History(found, _)) = answer.outcome.map(|it| *it) else { panic!() };
        found.len()
    }

    /// Turns until nothing is left to forget, and the most publications that one has forgotten.
    fn turns(hub: &mut Hub, tick: Tick) -> (u32, usize) {
        let held = |hub: &Hub| {
            let streams =
                hub.home.history.streams.ids().filter_map(|row| hub.home.history.streams.get(row));
            let forgotten = hub.home.history.forgotten.iter().map(Forgotten::len);
            streams.map(Stream::len).chain(forgotten).sum::<usize>()
        };
        let (mut turns, mut most) = (0, 0);
        loop {
            let before = held(hub);
            hub.advance(Now { tick, ..Now::default() });
            (turns, most) = (turns + 1, most.max(before - held(hub)));
            if !hub.is_behind() {
                return (turns, most);
            }
        }
    }

    #[test]
    fn many_publications_are_forgotten_in_portions_and_none_is_given_out_before() {
        let mut hub = shard();
        for _ in 0..10_000 {
            publish(&mut hub, 0);
        }
        let late = Tick(10 * SECOND);
        hub.advance(Now { tick: Tick(late.0 - 1), ..Now::default() });
        assert_eq!(history(&mut hub, 0), 1000);
        hub.advance(Now { tick: late, ..Now::default() });
        assert!(hub.is_behind());
        assert_eq!(history(&mut hub, 0), 0);
        assert_eq!(turns(&mut hub, late), (9, FORGOTTEN_PER_TURN as usize));
    }

    #[test]
    fn many_streams_end_in_portions() {
        let mut hub = shard();
        for channel in 0..5_000 {
            publish(&mut hub, channel);
        }
        let late = Tick(10 * SECOND);
        let (count, most) = turns(&mut hub, late);
        assert!(
            count >= 5_000 / STEPS_PER_TURN && most <= STEPS_PER_TURN as usize,
            "{count} {most}"
        );
        assert!(hub.home.history.streams.is_empty() && hub.home.records.rows.is_empty());
    }

    #[test]
    fn a_history_that_is_removed_is_dropped_in_portions() {
        let mut hub = shard();
        for _ in 0..10_000 {
            publish(&mut hub, 0);
        }
        let before = hub.home.history.bytes();
        hub.home.forget_history(&hub.context, &name(0));
        assert!(hub.home.history.bytes() < before / 1000);
        assert_eq!(history(&mut hub, 0), 0);
        assert_eq!(turns(&mut hub, Tick(1)), (10, FORGOTTEN_PER_TURN as usize));
    }
}
