//! Connections come to channels and leave them, and so does the shard.

use crate::hub::delivery::channel::Channel;
use crate::hub::delivery::connection::{Connection, Cursor, Member, Subscription};
use crate::hub::named::Named;
use crate::hub::rows::Id;
use crate::hub::{Cause, Hub};
use crate::mesh::{Envelope, Handle};
use crate::model::ChannelName;

impl Hub {
    /// A member's subscription begins: what is published from here on is owed.
    pub(in crate::hub) fn begin_at_head(&mut self, channel_row: Id<Channel>, member: u32) {
        let channel = &mut self.channels.rows[channel_row];
        channel.members[member as usize].cursor = Cursor::at(channel.head);
        channel.joining -= 1;
    }

    /// Makes a connection a member of a channel, to which nothing is owed yet.
    pub(in crate::hub) fn add_subscription(
        &mut self,
        row: Id<Connection>,
        name: ChannelName,
        hears_otherwise: bool,
    ) -> Id<Channel> {
        let variant = self.connections[row].variant();
        let distinction = Channel::distinguish(variant, hears_otherwise);
        let found = self.channels.find_distinct(&name, distinction);
        let channel_row = found.unwrap_or_else(|| self.join(name, distinction));
        let subscription = self.subscriptions.insert(Subscription::default());
        let channel = &mut self.channels.rows[channel_row];
        let cursor = Cursor::BEYOND;
        let member = channel.add_member(Member { connection: row, subscription, cursor });
        channel.joining += 1;
        // The personal channel comes first and stays so: that is how the user is known.
        self.link(row, subscription, channel_row, member);
        self.context.metrics.subscriptions.add(1);
        channel_row
    }

    fn join(&mut self, name: ChannelName, distinction: u8) -> Id<Channel> {
        let count = self.next_generation();
        let row = self.channels.insert(Channel::new(name.clone(), count, distinction));
        let home = self.context.site.homes.of(&name);
        let handle = self.channels.rows[row].handle(row);
        self.waiting.insert(row, Vec::new());
        self.context
            .post(home, Envelope::Join { channel: name, shard: self.context.site.shard, handle });
        self.context.metrics.channels.add(1);
        row
    }

    /// The channel of a stay that has not ended.
    pub(in crate::hub) fn channel_of(&mut self, handle: Handle) -> Option<&mut Channel> {
        let row = Id::new(handle.row);
        self.channels.rows.get(row)?;
        let channel = &mut self.channels.rows[row];
        let is_same = channel.name().is_some() && channel.generation == handle.generation;
        is_same.then_some(channel)
    }

    /// The first frame boundary at or after a member's cursor.
    pub(in crate::hub) fn boundary_of(
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
    pub(in crate::hub) fn is_subscribed(&self, row: Id<Connection>, channel: Id<Channel>) -> bool {
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
        let variant = self.connections[row].variant();
        let distinctions = [false, true].map(|otherwise| Channel::distinguish(variant, otherwise));
        self.channels.find_each(name, distinctions).into_iter().flatten()
    }

    /// Ends a subscription.
    pub(in crate::hub) fn remove_subscription(
        &mut self,
        row: Id<Connection>,
        subscription: Id<Subscription>,
        cause: Cause,
    ) {
        let Subscription { channel: channel_row, member, .. } = self.subscriptions[subscription];
        let boundary = self.boundary_of(row, channel_row, member);
        let is_exception = self.enrolled.remove(&subscription);
        self.infos.remove(&subscription);
        self.forget_terms(row, channel_row);
        self.unlink(row, subscription);
        self.context.metrics.subscriptions.add(-1);
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
                cause.count_dropped(&self.context.metrics, round.log.frames_after(boundary));
            }
            round.lagging -= u32::from(gone.cursor.lags());
            self.release_round(channel_row);
        }
        if self.channels.rows[channel_row].members.is_empty() {
            self.leave(channel_row);
        }
        self.depart(&name, self.identity(row), is_exception);
    }

    fn leave(&mut self, row: Id<Channel>) {
        self.drop_round(row);
        let channel = self.channels.remove(row);
        self.context.metrics.channels.add(-1);
        let handle = channel.handle(row);
        let name = channel.channel_name().clone();
        let home = self.context.site.homes.of(&name);
        let shard = self.context.site.shard;
        self.context.post(home, Envelope::Leave { channel: name, shard, handle });
        for joining in self.waiting.remove(&row).unwrap_or_default() {
            self.arrive(joining);
        }
    }
}
