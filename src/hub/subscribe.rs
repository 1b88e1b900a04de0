//! Subscriptions: a connection joins and leaves channels, and shards join and leave homes.

use crate::hub::connect::UNSUBSCRIBED;
use crate::hub::delivery::channel::Channel;
use crate::hub::delivery::connection::{Connection, Phase, Subscription};
use crate::hub::managed::{Origin, Question};
use crate::hub::rows::Id;
use crate::hub::{Cause, Hub, Joining, Then, Wishes};
use crate::mesh::{Attendee, Handle, Standing};
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
        let name = self.delivery.channels.rows[part].channel_name().clone();
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
        // One that is opening begins in all its channels at once, when every home has answered.
        if self.delivery.connections[row].phase == Phase::Open {
            self.delivery.begin_at_head(part, self.delivery.member_of(row, part));
        }
    }

    /// Lets `joining` wait for the home's answer about a channel, if that has not come yet.
    fn await_home(&mut self, channel: Id<Channel>, joining: Id<Joining>) {
        if let Some(waiting) = self.waiting.get_mut(&channel) {
            waiting.push(joining);
            self.joinings[joining].remaining += 1;
        }
    }

    /// Member side: the home knows of this shard's stay.
    pub(super) fn handle_joined(&mut self, handle: Handle) {
        if self.delivery.channel_of(handle).is_none() {
            return;
        }
        for joining in self.waiting.remove(&Id::new(handle.row)).unwrap_or_default() {
            self.arrive(joining);
        }
    }

    /// A backend subscribes an open connection. The answer comes when every home has confirmed.
    pub(super) fn subscribe_by_command(
        &mut self,
        row: Id<Connection>,
        channels: &[ChannelName],
        options: &SubscribeOptions,
        ticket: Option<Ticket>,
    ) {
        let is_managed = self.delivery.connections[row].variant.is_managed();
        // A raw client could not be told of the end, and what is over cannot begin.
        let expires_at = options.grant.expires_at;
        if expires_at.is_some_and(|at| !is_managed || at <= self.context.now.unix) {
            return self.context.answer(ticket, false, 0, Ok(0));
        }
        let is_new = |name: &&ChannelName| self.delivery.subscription_of(row, name).is_none();
        let wanted = channels.iter().filter(is_new).count();
        let count = usize::from(self.delivery.connections[row].subscription_count) + wanted;
        if count > self.context.settings.channels_max {
            return self.context.answer(ticket, false, 0, Err(CommandError::ChannelLimit));
        }
        let joining = self.joinings.insert(Joining::new(Then::Answer(ticket)));
        for name in channels {
            if let Some(subscription) = self.delivery.subscription_of(row, name) {
                let channel = self.delivery.subscriptions[subscription].channel;
                if self.terms_of(row, name).is_some_and(|terms| terms.is_server_side) {
                    self.move_expiry(row, channel, expires_at);
                }
                self.await_home(channel, joining);
            } else if is_managed {
                self.joinings[joining].remaining += 1;
                let subscription = crate::hub::managed::Subscription {
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
            if self.delivery.subscription_of(row, channel).is_some() {
                self.take_away(row, channel, &UNSUBSCRIBED, Cause::Command);
            }
        }
    }

    /// Moves what a connection is still owed of a channel to its outbox.
    pub(super) fn move_rest_of(&mut self, row: Id<Connection>, channel: &ChannelName) {
        if let Some(subscription) = self.delivery.subscription_of(row, channel) {
            self.delivery.move_rest_to_outbox(
                &self.context,
                row,
                self.delivery.subscriptions[subscription].channel,
            );
        }
    }

    /// Makes a connection a member of a channel, to which nothing is owed yet.
    pub(super) fn add_subscription(
        &mut self,
        row: Id<Connection>,
        name: ChannelName,
        hears_otherwise: bool,
    ) -> Id<Channel> {
        let (part, is_new) = self.delivery.subscribe(&mut self.context, row, name, hears_otherwise);
        if is_new {
            self.waiting.insert(part, Vec::new());
        }
        self.note_terms(row);
        part
    }

    /// Ends a subscription.
    pub(super) fn remove_subscription(
        &mut self,
        row: Id<Connection>,
        subscription: Id<Subscription>,
        cause: Cause,
    ) {
        let channel = self.delivery.subscriptions[subscription].channel;
        let is_exception = self.enrolled.remove(&subscription);
        self.infos.remove(&subscription);
        self.forget_terms(row, channel);
        let left = self.delivery.unsubscribe(&mut self.context, row, subscription, cause);
        if let Some((from, to)) = left.moved {
            // What stands beside the row moves along.
            if self.enrolled.remove(&from) {
                self.enrolled.insert(to);
            }
            if let Some(info) = self.infos.remove(&from) {
                self.infos.insert(to, info);
            }
        }
        if left.is_last {
            for joining in self.waiting.remove(&channel).unwrap_or_default() {
                self.arrive(joining);
            }
        }
        self.depart(&left.name, self.identity(row), is_exception);
    }
}
