//! What a connection is owed beyond the rounds: its outbox, the rest of a frame, and for how long.

use crate::hub::Effect;
use crate::hub::context::Context;
use crate::hub::delivery::Delivery;
use crate::hub::delivery::channel::{Channel, Round};
use crate::hub::delivery::connection::{BLOCKED, CATCHING_UP, Connection, HELD, Phase};
use crate::hub::delivery::outbox::Outbox;
use crate::hub::delivery::{everyone_in, is_everyone};
use crate::hub::rows::Id;

/// A peer that has so much unread of its outbox is not read any further.
pub(in crate::hub) const PAUSE_BYTES: usize = 64 * 1024;

/// How old a backlog is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// Nothing waits.
    Nothing,
    /// All that waited when this was asked last has been taken since; ask again later.
    Renewed,
    /// Something has waited since this was asked last.
    Expired,
}

impl Delivery {
    /// The socket of a connection takes bytes again.
    pub(in crate::hub) fn unblock(&mut self, context: &Context, row: Id<Connection>) {
        if self.connections[row].is(BLOCKED) {
            self.connections[row].set(BLOCKED, false);
            context.metrics.lagging.add(-1);
            self.queue_catching_up(row);
        }
    }

    /// Whether a connection is owed nothing but rounds: then the shell may send a reply inline.
    pub(in crate::hub) fn is_clear(&self, row: Id<Connection>) -> bool {
        let connection = &self.connections[row];
        connection.outbox == Id::NONE && matches!(connection.phase, Phase::Open | Phase::Closing)
    }

    /// The socket took only some bytes, or none, of a reply that the shell tried to send inline.
    pub(in crate::hub) fn refuse_push(
        &mut self,
        context: &mut Context,
        row: Id<Connection>,
        bytes: &[u8],
        sent: usize,
    ) {
        let place = self.outbox_of(row);
        self.outboxes[place].push(bytes);
        self.outboxes[place].advance(sent);
        self.note_outbox_bytes(context, 0, bytes.len() - sent);
        self.block(context, row);
        self.limit_outbox(context, row);
    }

    /// Adds personal bytes, whole frames, to a connection's outbox.
    pub(in crate::hub) fn append(&mut self, context: &Context, row: Id<Connection>, bytes: &[u8]) {
        if !matches!(self.connections[row].phase, Phase::Open | Phase::Closing) {
            return;
        }
        let place = self.outbox_of(row);
        let outbox = &mut self.outboxes[place];
        let before = outbox.waiting().len();
        outbox.push(bytes);
        let after = outbox.waiting().len();
        self.note_outbox_bytes(context, before, after);
        self.rank_outbox(place);
        self.queue_catching_up(row);
        self.limit_outbox(context, row);
    }

    /// How many bytes a long reply may have.
    pub(in crate::hub) fn reply_room(&self, context: &Context, row: Id<Connection>) -> usize {
        let place = self.connections[row].outbox;
        let reserved = self.outboxes.get(place).map_or(0, |outbox| outbox.reserved);
        context.settings.reply_bytes_max.saturating_sub(reserved)
    }

    /// Keeps room for a long reply, which has to follow. Returns whether there is enough.
    pub(in crate::hub) fn reserve(
        &mut self,
        context: &Context,
        row: Id<Connection>,
        bytes: usize,
    ) -> bool {
        let is_there = bytes <= self.reply_room(context, row);
        if is_there && bytes > 0 {
            let place = self.outbox_of(row);
            self.outboxes[place].reserved += bytes;
        }
        is_there
    }

    /// How many personal bytes wait for a connection.
    pub(in crate::hub) fn waiting_bytes(&self, row: Id<Connection>) -> usize {
        let outbox = self.outboxes.get(self.connections[row].outbox);
        outbox.map_or(0, |outbox| outbox.waiting().len())
    }

    /// An outbox has become smaller.
    pub(super) fn note_audible(
        &self,
        context: &mut Context,
        row: Id<Connection>,
        before: usize,
        after: usize,
    ) {
        if before > PAUSE_BYTES && after <= PAUSE_BYTES {
            context.effects.push_back(Effect::Audible(row.number()));
        }
    }

    /// How long the connection has been owed what it is owed; the shell asks when its socket
    /// fills and once in each period of the age limit from then on.
    pub(in crate::hub) fn check_age(&mut self, row: Id<Connection>) -> Age {
        let place = self.connections[row].outbox;
        if place == Id::NONE {
            return Age::Nothing;
        }
        let mut owed = self.outboxes[place].waiting().len() as u64;
        for subscription in self.subscriptions_of(row).map(|at| self.subscriptions[at]) {
            owed += self.lag_of(subscription.channel, subscription.member);
        }
        let everyone = everyone_in(self.connections[row].variant);
        if let Some(member) = self.find_member(row, everyone) {
            owed += self.lag_of(everyone, member);
        }
        let is_paid = self.outboxes[place].renew(owed);
        if is_paid { Age::Renewed } else { Age::Expired }
    }

    pub(in crate::hub) fn lag_of(&self, channel: Id<Channel>, member: u32) -> u64 {
        let channel = &self.channels.rows[channel];
        // A subscription that has not begun is owed nothing.
        channel.head.saturating_sub(channel.members[member as usize].cursor.position())
    }

    /// Rounds pass a member by until its connection, that of a row, catches up.
    pub(in crate::hub) fn lag(
        &mut self,
        row: Id<Connection>,
        channel_row: Id<Channel>,
        member: u32,
    ) {
        let channel = &mut self.channels.rows[channel_row];
        let head = channel.head;
        let cursor = &mut channel.members[member as usize].cursor;
        if !cursor.lags() {
            *cursor = cursor.with_lag(true);
            channel.round.get_or_insert_with(|| Box::new(Round::new(head))).lagging += 1;
            // Rounds pass it by from here on, so its outbox has to know where it lags.
            let place = self.outbox_of(row);
            self.outboxes[place].lagging.push_back(channel_row);
            self.rank_log(channel_row);
        }
    }

    /// Copies what a connection is still owed of a channel to its outbox.
    pub(in crate::hub) fn move_rest_to_outbox(
        &mut self,
        context: &Context,
        row: Id<Connection>,
        channel_row: Id<Channel>,
    ) {
        let member = self.member_of(row, channel_row);
        let channel = &self.channels.rows[channel_row];
        let cursor = channel.members[member as usize].cursor;
        if cursor.position() >= channel.head {
            return;
        }
        // What waits in an outbox is not counted when it is sent, so its frames count here.
        let boundary = self.boundary_of(row, channel_row, member);
        let log = channel.log();
        let is_begun = self.unfinished_in(row, channel_row).is_some();
        context.metrics.deliveries.add(log.frames_after(boundary) + u64::from(is_begun));
        let rest: Vec<u8> = log.slices(cursor.position()).flatten().copied().collect();
        self.skip_to_head(row, channel_row);
        if is_begun {
            // The socket has the beginning of the first frame: nothing may come between.
            self.push_front(context, row, &rest, (boundary - cursor.position()) as usize);
            self.limit_outbox(context, row);
        } else {
            self.append(context, row, &rest);
        }
    }

    /// Owes a connection nothing more of a channel.
    pub(super) fn skip_to_head(&mut self, row: Id<Connection>, channel_row: Id<Channel>) {
        let member = self.member_of(row, channel_row);
        let channel = &mut self.channels.rows[channel_row];
        let cursor = &mut channel.members[member as usize].cursor;
        if cursor.position() < channel.head {
            cursor.move_to(channel.head);
        }
    }

    /// How many bytes are left of a frame of this channel that the socket took in part.
    pub(in crate::hub) fn unfinished_in(
        &self,
        row: Id<Connection>,
        channel: Id<Channel>,
    ) -> Option<u32> {
        let outbox = self.outboxes.get(self.connections[row].outbox)?;
        let (unfinished, rest) = outbox.unfinished?;
        (unfinished == channel).then_some(rest)
    }

    /// Copies the rest of a frame that the socket took in part to the front of the outbox.
    pub(in crate::hub) fn finish_partial_frame(&mut self, context: &Context, row: Id<Connection>) {
        let outbox = self.outboxes.get(self.connections[row].outbox);
        let Some((channel, rest)) = outbox.and_then(|outbox| outbox.unfinished) else { return };
        let member = self.member_of(row, channel);
        let channel_row = &mut self.channels.rows[channel];
        let position = channel_row.members[member as usize].cursor.position();
        let rest = channel_row.log().slice(position)[..rest as usize].to_vec();
        let cursor = &mut channel_row.members[member as usize].cursor;
        cursor.move_to(position + rest.len() as u64);
        context.metrics.deliveries.increment();
        self.push_front(context, row, &rest, rest.len());
    }

    /// Owes a connection nothing more of a frame that the socket took in part.
    pub(super) fn abandon_partial_frame(&mut self, context: &Context, row: Id<Connection>) {
        let outbox = &mut self.outboxes[self.connections[row].outbox];
        let Some((channel, rest)) = outbox.unfinished.take() else { return };
        let member = self.member_of(row, channel);
        let cursor = &mut self.channels.rows[channel].members[member as usize].cursor;
        cursor.move_to(cursor.position() + u64::from(rest));
        context.metrics.deliveries_abandoned.increment();
    }

    fn push_front(&mut self, context: &Context, row: Id<Connection>, bytes: &[u8], rest: usize) {
        let place = self.outbox_of(row);
        let outbox = &mut self.outboxes[place];
        outbox.unfinished = None;
        outbox.push_front(bytes, rest);
        self.note_outbox_bytes(context, 0, bytes.len());
        self.rank_outbox(place);
        self.queue_catching_up(row);
    }

    pub(in crate::hub) fn member_of(&self, row: Id<Connection>, channel: Id<Channel>) -> u32 {
        self.find_member(row, channel).expect("the connection is subscribed")
    }

    /// A connection's place among the members of a channel, if it is one of them.
    pub(in crate::hub) fn find_member(
        &self,
        row: Id<Connection>,
        channel: Id<Channel>,
    ) -> Option<u32> {
        if is_everyone(channel) {
            // Its members are connections by number.
            let member = row.number();
            let is_there = (member as usize) < self.channels.rows[channel].members.len();
            return is_there.then_some(member);
        }
        self.subscription_in(row, channel).map(|at| self.subscriptions[at].member)
    }

    /// A connection's outbox, which begins to exist.
    pub(in crate::hub) fn outbox_of(&mut self, row: Id<Connection>) -> Id<Outbox> {
        if self.connections[row].outbox == Id::NONE {
            self.connections[row].outbox = self.outboxes.insert(Outbox::new(row));
        }
        self.connections[row].outbox
    }

    pub(super) fn queue_catching_up(&mut self, row: Id<Connection>) {
        let connection = &mut self.connections[row];
        if !connection.is(BLOCKED) && !connection.is(CATCHING_UP) && !connection.is(HELD) {
            connection.set(CATCHING_UP, true);
            self.queues.catching_up.push_back(row);
        }
    }
}
