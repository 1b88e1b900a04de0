//! Subscriptions: a connection joins and leaves channels, and shards join and leave homes.

use crate::hub::channel::Channel;
use crate::hub::connect::UNSUBSCRIBED;
use crate::hub::connection::{Connection, Cursor, Member, Phase, Subscription};
use crate::hub::managed::{Origin, Question};
use crate::hub::named::Named;
use crate::hub::rows::Id;
use crate::hub::{Cause, Hub, Joining, Then, Wishes};
use crate::mesh::{Attendee, Envelope, Handle, Standing};
use crate::model::{ChannelGrant, ChannelName, ClientInfo, CommandError, SubscribeOptions, Ticket};

impl Hub {
    /// Subscribes a raw connection that is not subscribed yet, as far as a grant means something
    /// to it. If the home has still to confirm this shard, or wants to know the subscriber by name,
    /// `joining` waits for that.
    pub(super) fn subscribe(
        &mut self,
        row: Id<Connection>,
        name: ChannelName,
        grant: &ChannelGrant,
        joining: Id<Joining>,
    ) {
        let part = self.add_subscription(row, name, false);
        let name = self.channels.rows[part].channel_name().clone();
        let rules = self.context.settings.namespaces.of(&name);
        let standing = rules.map(|rules| (rules, Standing::new(rules, grant.overrides)));
        if let Some((_, standing)) = standing.filter(|(rules, it)| it.is_on_roll(rules)) {
            let client = self.identity(row);
            let personal = self.personal_of(row);
            let user = personal.as_ref().and_then(ChannelName::user).unwrap_or_default().into();
            let info = ClientInfo { client, user, connection: None, channel: grant.info.clone() };
            self.joinings[joining].remaining += 1;
            let question = Question::Opening(client, name, joining);
            let attendee = Attendee { info: info.into(), standing, recover: None };
            self.attend(row, part, attendee, question);
        } else {
            self.await_home(part, joining);
        }
        if self.connections[row].phase == Phase::Open {
            self.begin_at_head(part, self.member_of(row, part));
        }
    }

    /// A member's subscription begins: what is published from here on is owed.
    pub(super) fn begin_at_head(&mut self, channel_row: Id<Channel>, member: u32) {
        let channel = &mut self.channels.rows[channel_row];
        channel.members[member as usize].cursor = Cursor::at(channel.head);
        channel.joining -= 1;
    }

    /// Makes a connection a member of a channel, to which nothing is owed yet.
    pub(super) fn add_subscription(
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

    /// Lets `joining` wait for the home's answer about a channel, if that has not come yet.
    fn await_home(&mut self, channel: Id<Channel>, joining: Id<Joining>) {
        if let Some(waiting) = self.waiting.get_mut(&channel) {
            waiting.push(joining);
            self.joinings[joining].remaining += 1;
        }
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

    /// Member side: the home knows of this shard's stay.
    pub(super) fn handle_joined(&mut self, handle: Handle) {
        if self.channel_of(handle).is_none() {
            return;
        }
        for joining in self.waiting.remove(&Id::new(handle.row)).unwrap_or_default() {
            self.arrive(joining);
        }
    }

    /// The channel of a stay that has not ended.
    pub(super) fn channel_of(&mut self, handle: Handle) -> Option<&mut Channel> {
        let row = Id::new(handle.row);
        self.channels.rows.get(row)?;
        let channel = &mut self.channels.rows[row];
        let is_same = channel.name().is_some() && channel.generation == handle.generation;
        is_same.then_some(channel)
    }

    /// A backend subscribes an open connection. The answer comes when every home has confirmed.
    pub(super) fn subscribe_by_command(
        &mut self,
        row: Id<Connection>,
        channels: &[ChannelName],
        options: &SubscribeOptions,
        ticket: Option<Ticket>,
    ) {
        let is_managed = self.connections[row].variant().is_managed();
        // A raw client could not be told of the end, and what is over cannot begin.
        let expires_at = options.grant.expires_at;
        if expires_at.is_some_and(|at| !is_managed || at <= self.context.now.unix) {
            return self.context.answer(ticket, false, 0, Ok(0));
        }
        let is_new = |name: &&ChannelName| self.subscription_of(row, name).is_none();
        let wanted = channels.iter().filter(is_new).count();
        let count = usize::from(self.connections[row].subscription_count) + wanted;
        if count > self.context.settings.channels_max {
            return self.context.answer(ticket, false, 0, Err(CommandError::ChannelLimit));
        }
        let joining = self.joinings.insert(Joining::new(Then::Answer(ticket)));
        for name in channels {
            if let Some(subscription) = self.subscription_of(row, name) {
                let channel = self.subscriptions[subscription].channel;
                if self.terms_of(row, name).is_some_and(|terms| terms.is_server_side) {
                    self.move_expiry(row, channel, expires_at);
                }
                self.await_home(channel, joining);
            } else if is_managed {
                self.joinings[joining].remaining += 1;
                let subscription = super::managed::Subscription {
                    channel: name.clone(),
                    claim: options.position.clone(),
                    rejects_unrecovered: false,
                    wishes: Wishes { recoverable: options.position.recover, ..Wishes::default() },
                    grant: options.grant.clone(),
                    origin: Origin::Backend(joining),
                };
                self.begin_subscription(row, subscription, true);
            } else {
                self.subscribe(row, name.clone(), &options.grant, joining);
            }
        }
        self.arrive(joining);
    }

    /// A backend unsubscribes an open connection; what was published before still reaches it.
    pub(super) fn unsubscribe_by_command(&mut self, row: Id<Connection>, channels: &[ChannelName]) {
        for channel in channels {
            self.move_rest_of(row, channel);
            if self.subscription_of(row, channel).is_some() {
                self.take_away(row, channel, &UNSUBSCRIBED, Cause::Command);
            }
        }
    }

    /// Moves what a connection is still owed of a channel to its outbox.
    pub(super) fn move_rest_of(&mut self, row: Id<Connection>, channel: &ChannelName) {
        if let Some(subscription) = self.subscription_of(row, channel) {
            self.move_rest_to_outbox(row, self.subscriptions[subscription].channel);
        }
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
    pub(super) fn subscription_of(
        &self,
        row: Id<Connection>,
        name: &ChannelName,
    ) -> Option<Id<Subscription>> {
        self.parts_of(row, name).find_map(|channel| self.subscription_in(row, channel))
    }

    /// The rows of the parts of a channel in which a connection may be.
    pub(super) fn parts_of(
        &self,
        row: Id<Connection>,
        name: &ChannelName,
    ) -> impl Iterator<Item = Id<Channel>> {
        let variant = self.connections[row].variant();
        let distinctions = [false, true].map(|otherwise| Channel::distinguish(variant, otherwise));
        self.channels.find_each(name, distinctions).into_iter().flatten()
    }

    /// Ends a subscription.
    pub(super) fn remove_subscription(
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
