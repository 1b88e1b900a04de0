//! Rounds: bringing every subscriber's cursor to the head, a batch of sends at a time.
//!
//! Connections that catch up (their socket was full, or personal bytes wait) are served first, but
//! only with half of a batch. The rest walks the members of dirty channels in order, and each
//! channel gets one batch in turn, so that a large one does not hold up the small ones.

use smallvec::SmallVec;

use crate::hub::Effect;
use crate::hub::context::Context;
use crate::hub::delivery::Delivery;
use crate::hub::delivery::batch::{BATCH_MAX, Batch, Entry, Source};
use crate::hub::delivery::channel::{Channel, Round};
use crate::hub::delivery::connection::{
    BLOCKED, CATCHING_UP, Connection, HELD, IS_DETACHED_FROM_ALL, Phase,
};
use crate::hub::delivery::log::frames_within;
use crate::hub::delivery::outbox::Outbox;
use crate::hub::delivery::{everyone_in, is_everyone};
use crate::hub::rows::Id;
use crate::ws::frame::frame_bytes;

/// So much of an outbox goes out at once: one of megabytes should not hold up a batch.
const OUTBOX_SEND_BYTES: usize = 128 * 1024;

/// At most so many members are looked at for one batch, however few of them lack something.
const WALK_MAX: u32 = 4096;

impl Delivery {
    /// Fills a batch with the sends that come next.
    pub(in crate::hub) fn poll_batch(&mut self, context: &Context, batch: &mut Batch) {
        self.tally.batch = self.tally.batch.wrapping_add(1);
        batch.entries.clear();
        let limit = if self.queues.dirty.is_empty() { BATCH_MAX } else { BATCH_MAX / 2 };
        for _ in 0..self.queues.catching_up.len() {
            if batch.entries.len() >= limit {
                break;
            }
            let row = self.queues.catching_up.pop_front().expect("counted above");
            // Whoever is gone left its place in the queue, perhaps to the next one of its row.
            let Some(connection) = self.connections.get(row) else { continue };
            if connection.is(CATCHING_UP) && connection.batch == self.tally.batch {
                self.queues.catching_up.push_back(row);
            } else if connection.is(CATCHING_UP) {
                self.connections[row].set(CATCHING_UP, false);
                self.catch_up(context, row, batch);
            }
        }
        let mut looks = WALK_MAX;
        for _ in 0..self.queues.dirty.len() {
            let (channel, stay) = self.queues.dirty.pop_front().expect("counted above");
            if self.channels.rows.get(channel).is_none_or(|channel| channel.generation != stay) {
                continue;
            }
            if self.walk(context, channel, batch, &mut looks) {
                batch.ended.push(channel);
            } else {
                self.queues.dirty.push_back((channel, stay));
                break;
            }
        }
    }

    /// The bytes of a send. Valid until the hub is called with anything else.
    pub(in crate::hub) fn bytes(&self, entry: &Entry) -> &[u8] {
        match entry.source {
            Source::Outbox => {
                let outbox = &self.outboxes[self.connections[entry.connection()].outbox];
                &outbox.waiting()[..entry.length as usize]
            }
            Source::Log { channel, position, .. } => {
                &self.channels.rows[channel].log().slice(position)[..entry.length as usize]
            }
        }
    }

    /// One connection's next send of what is its own: the rest of a frame, then the outbox, then
    /// what it lacks of its channels.
    fn catch_up(&mut self, context: &Context, row: Id<Connection>, batch: &mut Batch) {
        let connection = &self.connections[row];
        let (place, token) = (connection.outbox, connection.token);
        if connection.is(BLOCKED) || connection.is(HELD) || place == Id::NONE {
            return;
        }
        let outbox = &mut self.outboxes[place];
        let source = Source::Outbox;
        let mut entry = Entry { row: row.number(), token, length: 0, sent: 0, source };
        // A frame that was begun is ended first, or the peer would take what follows for its rest.
        if let Some((channel, lead)) = outbox.unfinished.take() {
            let member = self.member_of(row, channel);
            entry = self.log_entry(row, channel, member, lead);
        } else if !outbox.waiting().is_empty() {
            entry.length = outbox.waiting().len().min(OUTBOX_SEND_BYTES) as u32;
        } else if let Some((channel, member)) = self.lagging_channel(context, row, place) {
            entry = self.log_entry(row, channel, member, 0);
        } else {
            // It is owed nothing but rounds, which find it by its cursors again.
            self.connections[row].outbox = Id::NONE;
            self.remove_outbox(context, place);
            return;
        }
        entry.sent = entry.length;
        self.connections[row].batch = self.tally.batch;
        batch.entries.push(entry);
        self.queue_catching_up(row);
    }

    fn log_entry(
        &mut self,
        row: Id<Connection>,
        channel: Id<Channel>,
        member: u32,
        lead: u32,
    ) -> Entry {
        let token = self.connections[row].token;
        let channel_row = &mut self.channels.rows[channel];
        let position = channel_row.members[member as usize].cursor.position();
        let length = channel_row.log().slice(position).len();
        // As if the socket took all of it: what it does not take is put right with the batch.
        channel_row.members[member as usize].cursor.move_to(position + length as u64);
        let source = Source::Log { channel, member, position, lead };
        let (row, length) = (row.number(), length as u32);
        Entry { row, token, length, sent: length, source }
    }

    /// A channel that the connection lags in and lacks something of, and its place there. On the
    /// way, channels that it has caught up with are marked so.
    fn lagging_channel(
        &mut self,
        context: &Context,
        row: Id<Connection>,
        outbox: Id<Outbox>,
    ) -> Option<(Id<Channel>, u32)> {
        while let Some(&channel) = self.outboxes[outbox].lagging.front() {
            let member = self.find_member(row, channel);
            if let Some(member) = member.filter(|&member| self.still_lags(context, channel, member))
            {
                return Some((channel, member));
            }
            self.outboxes[outbox].lagging.pop_front();
        }
        None
    }

    fn still_lags(&mut self, context: &Context, channel_row: Id<Channel>, member: u32) -> bool {
        let channel = &mut self.channels.rows[channel_row];
        let cursor = &mut channel.members[member as usize].cursor;
        if !cursor.lags() || cursor.position() < channel.head {
            return cursor.lags();
        }
        *cursor = cursor.with_lag(false);
        let round = channel.round.as_mut().expect("a lagging member keeps the round");
        round.lagging -= 1;
        self.release_round(context, channel_row);
        false
    }

    /// Goes on with a channel's pass. Returns whether the pass has ended.
    fn walk(
        &mut self,
        context: &Context,
        row: Id<Channel>,
        batch: &mut Batch,
        looks: &mut u32,
    ) -> bool {
        loop {
            let channel = &mut self.channels.rows[row];
            let round = channel.round.as_mut().expect("a dirty channel has a round");
            let head = round.log.head();
            if round.walk == 0 {
                round.reach = head;
            }
            let Some(member) = channel.members.get_mut(round.walk as usize) else { return true };
            if !batch.has_room() || *looks == 0 {
                return false;
            }
            *looks -= 1;
            round.walk += 1;
            let position = member.cursor.position();
            // A subscription that has not begun is beyond the head.
            if position >= head || member.cursor.lags() {
                continue;
            }
            if member.connection.number() >= self.connections.height() {
                // In a broadcast to everybody; the table was freed when the last of them left.
                member.cursor.move_to(head);
                continue;
            }
            let connection = &mut self.connections[member.connection];
            if !takes_part(connection, row) {
                member.cursor.move_to(head);
                continue;
            }
            if connection.outbox != Id::NONE {
                // What waits there goes first, and this follows when it has been sent.
                member.cursor = member.cursor.with_lag(true);
                round.lagging += 1;
                self.outboxes[connection.outbox].lagging.push_back(row);
                self.rank_log(row);
                continue;
            }
            if connection.batch == self.tally.batch {
                // Once in each batch: the next pass brings it this, so the log keeps it until then.
                round.reach = round.reach.min(position);
                continue;
            }
            if connection.subscription_count > 1 && !is_everyone(row) {
                let member = member.connection;
                if self.may_gather(member) && self.gather(context, member, batch) {
                    continue;
                }
            }
            let channel = &mut self.channels.rows[row];
            let round = channel.round.as_mut().expect("a dirty channel has a round");
            let member = &mut channel.members[round.walk as usize - 1];
            let connection = &mut self.connections[member.connection];
            let length = round.log.slice(position).len();
            let after = position + length as u64;
            connection.batch = self.tally.batch;
            member.cursor.move_to(after);
            round.reach = round.reach.min(after);
            let source = Source::Log { channel: row, member: round.walk - 1, position, lead: 0 };
            let length = length as u32;
            let row = member.connection.number();
            let entry = Entry { row, token: connection.token, length, sent: length, source };
            batch.entries.push(entry);
        }
    }

    /// Takes note of what became of a batch. Returns whether some of it came from outboxes.
    pub(in crate::hub) fn finish_batch(
        &mut self,
        context: &mut Context,
        batch: &mut Batch,
        now_nanos: u64,
    ) -> bool {
        let mut has_replies = false;
        for entry in &batch.entries {
            context.metrics.bytes_sent.add(u64::from(entry.sent));
            match entry.source {
                Source::Outbox => {
                    self.outbox_sent(context, entry);
                    has_replies = true;
                }
                Source::Log { channel, member, position, .. } => {
                    self.log_sent(context, entry);
                    if entry.sent < entry.length {
                        let position = position + u64::from(entry.sent);
                        self.fall_behind(entry.connection(), channel, member, position);
                    }
                }
            }
            if entry.sent < entry.length {
                self.block(context, entry.connection());
            }
        }
        context.metrics.sends.add(batch.entries.len() as u64);
        for channel in batch.ended.drain(..) {
            self.end_pass(context, channel, now_nanos);
        }
        has_replies
    }

    fn outbox_sent(&mut self, context: &mut Context, entry: &Entry) {
        let row = entry.connection();
        let place = self.connections[row].outbox;
        let outbox = &mut self.outboxes[place];
        let before = outbox.waiting().len();
        outbox.advance(entry.sent as usize);
        outbox.pay(entry.sent as usize);
        let after = outbox.waiting().len();
        self.note_outbox_bytes(context, before, after);
        self.rank_outbox(place);
        self.note_audible(context, row, before, after);
    }

    fn log_sent(&mut self, context: &Context, entry: &Entry) {
        let Source::Log { channel, position, lead, .. } = entry.source else { return };
        let row = entry.connection();
        let place = self.connections[row].outbox;
        if place != Id::NONE {
            self.outboxes[place].pay(entry.sent as usize);
        }
        let Some(whole) = entry.sent.checked_sub(lead) else {
            self.set_unfinished(row, channel, lead - entry.sent);
            return;
        };
        let start = position + u64::from(lead);
        let round = self.channels.rows[channel].round.as_mut().expect("it was sent from");
        if entry.sent == entry.length {
            let frames = round.log.count_frames(start, whole as usize);
            context.metrics.deliveries.add(frames + u64::from(lead > 0));
            return;
        }
        let rest = round.log.slice(start);
        let (frames, end) = frames_within(&rest[..whole as usize]);
        context.metrics.deliveries.add(frames + u64::from(lead > 0));
        let begun = whole as usize - end;
        if begun > 0 {
            let frame = frame_bytes(&rest[end..]).expect("a log holds whole frames");
            self.set_unfinished(row, channel, (frame - begun) as u32);
        }
    }

    fn set_unfinished(&mut self, row: Id<Connection>, channel: Id<Channel>, rest: u32) {
        let place = self.outbox_of(row);
        self.outboxes[place].unfinished = Some((channel, rest));
    }

    fn fall_behind(
        &mut self,
        row: Id<Connection>,
        channel: Id<Channel>,
        member: u32,
        position: u64,
    ) {
        self.channels.rows[channel].members[member as usize].cursor.move_to(position);
        self.lag(row, channel, member);
    }

    /// The socket is full.
    pub(super) fn block(&mut self, context: &mut Context, row: Id<Connection>) {
        context.metrics.sends_refused.increment();
        let place = self.outbox_of(row);
        if !self.connections[row].is(BLOCKED) {
            self.connections[row].set(BLOCKED, true);
            self.rank_outbox(place);
            context.metrics.lagging.add(1);
            context.effects.push_back(Effect::Blocked(row.number()));
        }
    }

    fn end_pass(&mut self, context: &Context, row: Id<Channel>, now_nanos: u64) {
        let channel = &mut self.channels.rows[row];
        let round = channel.round.as_mut().expect("a pass that has ended has a round");
        if round.oldest_nanos != u64::MAX {
            context.metrics.fan_out.record(now_nanos.saturating_sub(round.oldest_nanos));
        }
        round.end_pass();
        let unserved = round.log.unserved_bytes();
        if round.is_congested && unserved == 0 {
            round.is_congested = false;
            self.tally.congested -= 1;
        }
        if unserved > 0 {
            self.queues.dirty.push_back((row, channel.generation));
        } else {
            round.is_queued = false;
            self.release_round(context, row);
        }
        self.limit_log(context, row);
    }

    /// Frees a channel's log if nobody lacks anything.
    pub(super) fn release_round(&mut self, context: &Context, row: Id<Channel>) {
        let round = self.channels.rows[row].round.as_ref();
        if round.is_some_and(|round| round.lagging == 0 && !round.is_queued) {
            self.drop_round(context, row);
            if is_everyone(row) {
                self.channels.rows[row].members = SmallVec::new();
            }
        } else {
            self.rank_log(row);
        }
    }

    /// Frees a channel's log.
    pub(super) fn drop_round(&mut self, context: &Context, row: Id<Channel>) {
        if self.channels.rows[row].round.is_some() {
            self.unrank_log(row);
        }
        let Some(round) = self.channels.rows[row].round.take() else { return };
        self.note_log_bytes(context, round.log.bytes(), 0);
        self.tally.congested -= u32::from(round.is_congested);
    }
}

/// Whether a connection is still to get what is in the log of a channel that it is in.
fn takes_part(connection: &Connection, row: Id<Channel>) -> bool {
    let is_apart = is_everyone(row)
        && (connection.is(IS_DETACHED_FROM_ALL) || everyone_in(connection.variant) != row);
    connection.phase == Phase::Open && !is_apart
}

impl Round {
    /// Notes when a publication was received that this pass, or the next one, brings to all.
    pub(super) fn note_receipt(&mut self, nanos: u64) {
        if self.walk == 0 {
            self.oldest_nanos = self.oldest_nanos.min(nanos);
        } else {
            self.next_oldest_nanos.get_or_insert(nanos);
        }
    }

    /// Every member has been passed.
    fn end_pass(&mut self) {
        self.log.raise_floor(self.reach);
        self.oldest_nanos = self.next_oldest_nanos.take().unwrap_or(u64::MAX);
        self.walk = 0;
    }
}
