//! Subscriptions: a connection joins and leaves channels, and shards join and leave homes.

use crate::hub::channel::Channel;
use crate::hub::connection::{Cursor, HAS_USER, Member, Phase, Subscription};
use crate::hub::home::Home;
use crate::hub::named::Named;
use crate::hub::rows::NONE;
use crate::hub::{Cause, Hub, Joining, Then};
use crate::limits::CHANNELS_PER_CONNECTION_MAX;
use crate::mesh::{Envelope, Handle};
use crate::protocol::{ChannelName, CommandError, ShardId, Ticket};

impl Hub {
    /// Subscribes a connection that is not subscribed yet. If the home has still to confirm this
    /// shard, `joining` waits for that.
    pub(super) fn subscribe(&mut self, row: u32, name: ChannelName, joining: u32) {
        let channel_row = self.channels.find(&name).unwrap_or_else(|| self.join(name));
        let subscription = self.subscriptions.insert(Subscription::default());
        let channel = &mut self.channels.rows[channel_row];
        let cursor = Cursor::at(channel.head);
        let member = channel.add_member(Member { connection: row, subscription, cursor });
        let connection = &mut self.connections[row];
        if connection.phase == Phase::Joining {
            channel.joining += 1;
        }
        connection.subscription_count += 1;
        // The personal channel stays first in the list: that is how the user is known.
        let behind_first = connection.is(HAS_USER) && connection.subscriptions != NONE;
        let link = if behind_first {
            &mut self.subscriptions[connection.subscriptions].next
        } else {
            &mut connection.subscriptions
        };
        let next = std::mem::replace(link, subscription);
        self.subscriptions[subscription] = Subscription { channel: channel_row, member, next };
        self.metrics.subscriptions.add(1);
        self.await_home(channel_row, joining);
    }

    /// Lets `joining` wait for the home's answer about a channel, if that has not come yet.
    fn await_home(&mut self, channel: u32, joining: u32) {
        if let Some(waiting) = self.waiting.get_mut(&channel) {
            waiting.push(joining);
            self.joinings[joining].remaining += 1;
        }
    }

    fn join(&mut self, name: ChannelName) -> u32 {
        let generation = self.next_generation();
        let row = self.channels.insert(Channel::new(name.clone(), generation));
        let home = self.settings.homes.of(&name);
        let handle = Handle { row, generation };
        self.waiting.insert(row, Vec::new());
        self.post(home, Envelope::Join { channel: name, shard: self.settings.shard, handle });
        self.metrics.channels.add(1);
        row
    }

    /// Home side: a shard has its first subscriber.
    pub(super) fn handle_join(&mut self, channel: ChannelName, shard: ShardId, handle: Handle) {
        let row = self.home_row(&channel);
        self.homes.rows[row].join(shard, handle);
        self.post(shard, Envelope::Joined { handle });
    }

    /// Member side: the home knows of this shard's stay.
    pub(super) fn handle_joined(&mut self, handle: Handle) {
        if self.channel_of(handle).is_none() {
            return;
        }
        for joining in self.waiting.remove(&handle.row).unwrap_or_default() {
            self.arrive(joining);
        }
    }

    /// The channel of a stay that has not ended.
    pub(super) fn channel_of(&mut self, handle: Handle) -> Option<&mut Channel> {
        self.channels.rows.get(handle.row)?;
        let channel = &mut self.channels.rows[handle.row];
        let is_same = channel.name().is_some() && channel.generation == handle.generation;
        is_same.then_some(channel)
    }

    /// The home side of a channel, which begins to exist.
    pub(super) fn home_row(&mut self, channel: &ChannelName) -> u32 {
        let found = self.homes.find(channel);
        found.unwrap_or_else(|| self.homes.insert(Home::new(channel.clone())))
    }

    /// A backend subscribes an open connection. The answer comes when every home has confirmed.
    pub(super) fn subscribe_by_command(
        &mut self,
        row: u32,
        channels: &[ChannelName],
        ticket: Option<Ticket>,
    ) {
        let is_new = |name: &&ChannelName| self.subscription_of(row, name).is_none();
        let wanted = channels.iter().filter(is_new).count();
        let count = usize::from(self.connections[row].subscription_count) + wanted;
        if count > CHANNELS_PER_CONNECTION_MAX {
            return self.answer(ticket, false, 0, Err(CommandError::ChannelLimit));
        }
        let then = ticket.map_or(Then::Nothing, Then::Answer);
        let joining = self.joinings.insert(Joining { remaining: 1, awaits_entry: false, then });
        for name in channels {
            if let Some((_, subscription)) = self.subscription_of(row, name) {
                self.await_home(self.subscriptions[subscription].channel, joining);
            } else {
                self.subscribe(row, name.clone(), joining);
            }
        }
        self.arrive(joining);
    }

    /// A backend unsubscribes an open connection; what was published before still reaches it.
    pub(super) fn unsubscribe_by_command(&mut self, row: u32, channels: &[ChannelName]) {
        for channel in channels {
            if let Some((before, subscription)) = self.subscription_of(row, channel) {
                self.move_rest_to_outbox(row, self.subscriptions[subscription].channel);
                if self.connections[row].phase != Phase::Open {
                    // The outbox overflowed: the connection has left all its channels.
                    return;
                }
                self.remove_subscription(row, before, subscription, Cause::Command);
            }
        }
    }

    /// The first frame boundary at or after a member's cursor.
    pub(super) fn boundary_of(&self, row: u32, channel: u32, member: u32) -> u64 {
        let rest = self.unfinished_in(row, channel).unwrap_or(0);
        let cursor = self.channels.rows[channel].members[member as usize].cursor;
        cursor.position() + u64::from(rest)
    }

    /// Whether a connection is a member of the channel of a row.
    pub(super) fn is_subscribed(&self, row: u32, channel: u32) -> bool {
        let mut at = self.connections[row].subscriptions;
        while at != NONE && self.subscriptions[at].channel != channel {
            at = self.subscriptions[at].next;
        }
        at != NONE
    }

    /// A connection's subscription to a channel, and the one before it in the list.
    pub(super) fn subscription_of(&self, row: u32, name: &ChannelName) -> Option<(u32, u32)> {
        let channel = self.channels.find(name)?;
        let (mut before, mut at) = (NONE, self.connections[row].subscriptions);
        while at != NONE && self.subscriptions[at].channel != channel {
            (before, at) = (at, self.subscriptions[at].next);
        }
        (at != NONE).then_some((before, at))
    }

    /// Ends a subscription, which comes after `before` in the connection's list.
    pub(super) fn remove_subscription(
        &mut self,
        row: u32,
        before: u32,
        subscription: u32,
        cause: Cause,
    ) {
        let Subscription { channel: channel_row, member, next } = self.subscriptions[subscription];
        let boundary = self.boundary_of(row, channel_row, member);
        self.subscriptions.remove(subscription);
        let connection = &mut self.connections[row];
        connection.subscription_count -= 1;
        if before == NONE {
            connection.subscriptions = next;
        } else {
            self.subscriptions[before].next = next;
        }
        self.metrics.subscriptions.add(-1);
        let channel = &mut self.channels.rows[channel_row];
        let is_open = self.connections[row].phase == Phase::Open;
        channel.joining -= u32::from(!is_open);
        let subscriptions = &mut self.subscriptions;
        let gone = channel.remove_member(member, |subscription, place| {
            subscriptions[subscription].member = place;
        });
        if let Some(round) = &mut channel.round {
            if is_open {
                cause.count_dropped(&self.metrics, round.log.frames_after(boundary));
            }
            round.lagging -= u32::from(gone.cursor.lags());
            self.release_round(channel_row);
        }
        if self.channels.rows[channel_row].members.is_empty() {
            self.leave(channel_row);
        }
    }

    fn leave(&mut self, row: u32) {
        self.drop_round(row);
        let channel = self.channels.remove(row);
        self.metrics.channels.add(-1);
        let handle = Handle { row, generation: channel.generation };
        let name = channel.name().expect("a channel in use has a name").clone();
        let home = self.settings.homes.of(&name);
        let shard = self.settings.shard;
        self.post(home, Envelope::Leave { channel: name, shard, handle });
        for joining in self.waiting.remove(&row).unwrap_or_default() {
            self.arrive(joining);
        }
    }
}
