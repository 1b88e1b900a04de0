//! Connections come to channels and leave them, and so does the shard.

use crate::hub::Cause;
use crate::hub::context::Context;
use crate::hub::delivery::Delivery;
use crate::hub::delivery::channel::Channel;
use crate::hub::delivery::connection::{Connection, Cursor, Member, Subscription};
use crate::hub::delivery::ring::Moved;
use crate::hub::named::Named;
use crate::hub::rows::Id;
use crate::mesh::{Envelope, Handle};
use crate::model::ChannelName;

/// What a subscription leaves behind.
pub(in crate::hub) struct Left {
    /// The channel.
    pub(in crate::hub) name: ChannelName,
    /// Another subscription of the connection, which has the row of this one now.
    pub(in crate::hub) moved: Option<Moved>,
    /// Whether it was the last in its part of the channel, which is gone.
    pub(in crate::hub) is_last: bool,
}

impl Delivery {
    /// A member's subscription begins: what is published from here on is owed.
    pub(in crate::hub) fn begin_at_head(&mut self, channel_row: Id<Channel>, member: u32) {
        let channel = &mut self.channels.rows[channel_row];
        channel.members[member as usize].cursor = Cursor::at(channel.head);
        channel.joining -= 1;
    }

    /// Makes a connection a member of a channel, to which nothing is owed yet. Returns its part,
    /// and whether that is new, so that the home has still to confirm it.
    pub(in crate::hub) fn subscribe(
        &mut self,
        context: &mut Context,
        row: Id<Connection>,
        name: ChannelName,
        hears_otherwise: bool,
    ) -> (Id<Channel>, bool) {
        let variant = self.connections[row].variant;
        let distinction = Channel::distinguish(variant, hears_otherwise);
        let found = self.channels.find_distinct(&name, distinction);
        let channel_row = found.unwrap_or_else(|| self.join(context, name, distinction));
        let subscription = self.subscriptions.insert(Subscription::default());
        let channel = &mut self.channels.rows[channel_row];
        let cursor = Cursor::BEYOND;
        let member = channel.add_member(Member { connection: row, subscription, cursor });
        channel.joining += 1;
        // The personal channel comes first and stays so: that is how the user is known.
        self.link(row, subscription, channel_row, member);
        context.metrics.subscriptions.add(1);
        (channel_row, found.is_none())
    }

    fn join(&mut self, context: &mut Context, name: ChannelName, distinction: u8) -> Id<Channel> {
        let count = self.next_generation();
        let row = self.channels.insert(Channel::new(name.clone(), count, distinction));
        let home = context.site.homes.of(&name);
        let handle = self.channels.rows[row].handle(row);
        context.post(home, Envelope::Join { channel: name, shard: context.site.shard, handle });
        context.metrics.channels.add(1);
        row
    }

    /// The channel of a stay that has not ended.
    pub(in crate::hub) fn channel_of(&self, handle: Handle) -> Option<&Channel> {
        let channel = self.channels.rows.get(Id::new(handle.row))?;
        let is_same = channel.name().is_some() && channel.generation == handle.generation;
        is_same.then_some(channel)
    }

    /// The first frame boundary at or after a member's cursor.
    pub(super) fn boundary_of(
        &self,
        row: Id<Connection>,
        channel: Id<Channel>,
        member: u32,
    ) -> u64 {
        let rest = self.unfinished_in(row, channel).unwrap_or(0);
        let cursor = self.channels.rows[channel].members[member as usize].cursor;
        cursor.position() + u64::from(rest)
    }

    /// Whether a connection is a member of the channel of a row.
    pub(super) fn is_subscribed(&self, row: Id<Connection>, channel: Id<Channel>) -> bool {
        self.subscription_in(row, channel).is_some()
    }

    /// A connection's subscription to a channel.
    pub(in crate::hub) fn subscription_of(
        &self,
        row: Id<Connection>,
        name: &ChannelName,
    ) -> Option<Id<Subscription>> {
        self.parts_of(row, name).find_map(|channel| self.subscription_in(row, channel))
    }

    /// The rows of the parts of a channel in which a connection may be.
    pub(in crate::hub) fn parts_of(
        &self,
        row: Id<Connection>,
        name: &ChannelName,
    ) -> impl Iterator<Item = Id<Channel>> {
        let variant = self.connections[row].variant;
        let distinctions = [false, true].map(|otherwise| Channel::distinguish(variant, otherwise));
        self.channels.find_each(name, distinctions).into_iter().flatten()
    }

    /// Ends a subscription.
    pub(in crate::hub) fn unsubscribe(
        &mut self,
        context: &mut Context,
        row: Id<Connection>,
        subscription: Id<Subscription>,
        cause: Cause,
    ) -> Left {
        let Subscription { channel: channel_row, member, .. } = self.subscriptions[subscription];
        let boundary = self.boundary_of(row, channel_row, member);
        let moved = self.unlink(row, subscription);
        context.metrics.subscriptions.add(-1);
        let channel = &mut self.channels.rows[channel_row];
        let name = channel.channel_name().clone();
        let has_begun = channel.members[member as usize].cursor != Cursor::BEYOND;
        channel.joining -= u32::from(!has_begun);
        let subscriptions = &mut self.subscriptions;
        let gone = channel.remove_member(member, |subscription, place| {
            subscriptions[subscription].member = place;
        });
        if let Some(round) = &mut channel.round {
            if has_begun {
                cause.count_dropped(&context.metrics, round.log.frames_after(boundary));
            }
            round.lagging -= u32::from(gone.cursor.lags());
            self.release_round(context, channel_row);
        }
        let is_last = self.channels.rows[channel_row].members.is_empty();
        if is_last {
            self.leave(context, channel_row);
        }
        Left { name, moved, is_last }
    }

    fn leave(&mut self, context: &mut Context, row: Id<Channel>) {
        self.drop_round(context, row);
        let channel = self.channels.remove(row);
        context.metrics.channels.add(-1);
        let handle = channel.handle(row);
        let name = channel.channel_name().clone();
        let home = context.site.homes.of(&name);
        let shard = context.site.shard;
        context.post(home, Envelope::Leave { channel: name, shard, handle });
    }
}
