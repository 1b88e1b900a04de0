//! Who a managed connection is: its `connect`, its token's end, and its end as a user.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::Arc;

use crate::hub::delivery::channel::Channel;
use crate::hub::delivery::connection::{
    ANNOUNCED, Connection, HAS_USER, HELD, IS_DETACHED_FROM_ALL, Phase,
};
use crate::hub::managed::{
    COMMANDS_HELD_MAX, Connecting, Grant, Managed, Origin, Question, Renewal, Stage, Subscription,
};
use crate::hub::named::Named;
use crate::hub::requests::to_seconds;
use crate::hub::rows::Id;
use crate::hub::{Cause, Effect, Hub, Joining, Then, Wishes};
use crate::model::{
    ChannelGrant, ChannelName, ClientError, ClientFault, ClientInfo, Command, ConnectResult,
    EventKind, Permission, PersonalPush, PositionClaim, Reply, Ticket, Variant, WhenSlow,
};
use crate::ws::close::CloseCode;

/// Why a client loses a channel.
pub(super) struct Loss {
    /// The code and reason of the `unsubscribe` push: from 2500 on the client subscribes again by
    /// itself.
    code: u32,
    reason: &'static str,
    /// How its `subscribe` is refused if that was not answered yet.
    refusal: ClientError,
}

const INSUFFICIENT_STATE: Loss =
    Loss { code: 2500, reason: "insufficient state", refusal: ClientError::Internal };
const EXPIRED: Loss =
    Loss { code: 2501, reason: "subscription expired", refusal: ClientError::TokenExpired };
/// A backend took the channel away.
pub(super) const UNSUBSCRIBED: Loss = Loss {
    code: 2000,
    reason: "unsubscribed by the server",
    refusal: ClientError::PermissionDenied,
};

impl Hub {
    /// The opening handshake of a managed connection is complete. Who it is comes with its first
    /// command.
    pub fn open_managed(&mut self, row: u32, variant: Variant) {
        debug_assert!(variant.is_managed(), "raw connections enter");
        let row = Id::new(row);
        let connection = &mut self.delivery.connections[row];
        connection.phase = Phase::Open;
        connection.variant = variant;
        connection.set(IS_DETACHED_FROM_ALL, true);
        self.managed.insert(row, Box::new(Managed::default()));
    }

    pub(super) fn connect(&mut self, row: Id<Connection>, id: u32, grant: Grant) {
        let client = self.identity(row);
        let managed = self.managed.get_mut(&row).expect("the connection is managed");
        if !matches!(managed.stage, Stage::Unknown) {
            let code = CloseCode::BAD_REQUEST;
            return self.begin_close(row, code, "connected already", Cause::ProtocolError);
        }
        let Grant { user, device, info, meta, issued_at, expires_at, .. } = grant;
        let Grant { channels, positions, is_insecure, .. } = grant;
        let personal = ChannelName::personal(&user).ok();
        let info = ClientInfo { client, user, connection: info, channel: None };
        let joining = self.joinings.insert(Joining::new(Then::Connect(row)));
        managed.info = Some(Arc::new(info));
        managed.expires_at = expires_at.and_then(NonZeroU64::new);
        managed.is_insecure = is_insecure;
        let (subs, commands) = (Vec::new(), Vec::new());
        managed.stage = Stage::Connecting(Box::new(Connecting { id, joining, subs, commands }));
        self.delivery.connections[row].set(HELD, true);
        self.delivery.outbox_of(row);
        if let Some(device) = &device {
            self.devices.insert(row, device.clone());
        }
        if let Some(meta) = meta {
            self.metas.insert(row, meta);
        }
        let find = |channel: &ChannelName| {
            let place = positions.binary_search_by(|(name, _)| name.cmp(channel)).ok()?;
            Some(PositionClaim { recover: true, ..positions[place].1.clone() })
        };
        let mut wanted: Vec<(ChannelName, ChannelGrant)> = Vec::new();
        if let Some(personal) = personal {
            self.delivery.connections[row].set(HAS_USER, true);
            self.joinings[joining].remaining += 1;
            self.joinings[joining].awaits_entry = true;
            self.begin_session(row, personal.clone(), device, issued_at);
            wanted.push((personal, ChannelGrant::default()));
        }
        wanted.extend(channels);
        for (channel, grant) in wanted.into_iter().take(self.context.settings.channels_max) {
            let rules = self.context.settings.namespaces.of(&channel);
            let may_join =
                rules.is_some_and(|rules| is_insecure || rules.subscribe != Permission::Nobody);
            if may_join && self.delivery.subscription_of(row, &channel).is_none() {
                let claim = find(&channel).unwrap_or_default();
                self.joinings[joining].remaining += 1;
                let origin = Origin::Connect(joining);
                let subscription = Subscription {
                    channel,
                    claim,
                    rejects_unrecovered: false,
                    wishes: Wishes::default(),
                    grant,
                    origin,
                };
                self.begin_subscription(row, subscription, true);
            }
        }
        self.arrive(joining);
    }

    /// Every home has answered: the client hears that it is connected, and all that follows.
    pub(super) fn complete_connect(&mut self, row: Id<Connection>) {
        let client = self.identity(row);
        let Some(managed) = self.managed.get_mut(&row) else { return };
        let stage = std::mem::replace(&mut managed.stage, Stage::Connected);
        let Stage::Connecting(connecting) = stage else { return };
        let expires_at = managed.expires_at.map(NonZeroU64::get);
        let result = ConnectResult {
            client,
            version: env!("CARGO_PKG_VERSION"),
            ttl: expires_at.map(|at| self.seconds_until(at)),
            ping: self.context.settings.ping_seconds,
            pong: true,
            subs: connecting.subs,
        };
        self.delivery.connections[row].set(HELD, false);
        self.reply(row, connecting.id, &Reply::Connect(&result));
        let connection = &mut self.delivery.connections[row];
        connection.set(IS_DETACHED_FROM_ALL, false);
        connection.set(ANNOUNCED, true);
        self.delivery.join_everyone(&self.context, row);
        self.report(row, EventKind::Connected);
        self.context.effects.push_back(Effect::Connected(row.number()));
        for (command, ticket) in connecting.commands {
            self.apply(client, command, ticket);
        }
        self.unpark(row);
    }

    /// Lets a backend's command wait until `connect` is answered, if the connection is that far.
    /// Returns it otherwise.
    pub(super) fn hold(
        &mut self,
        row: Id<Connection>,
        command: Arc<Command>,
        ticket: Option<Ticket>,
    ) -> Option<Arc<Command>> {
        let Some(Stage::Connecting(connecting)) =
            self.managed.get_mut(&row).map(|managed| &mut managed.stage)
        else {
            return Some(command);
        };
        connecting.commands.push((command, ticket));
        if connecting.commands.len() > COMMANDS_HELD_MAX {
            self.begin_close(row, CloseCode::SLOW, "slow: too much is waiting", Cause::Slow);
        }
        None
    }

    /// What waits for homes before `connect` is answered.
    pub(super) fn connecting(&self, row: Id<Connection>) -> Option<Id<Joining>> {
        match &self.managed.get(&row)?.stage {
            Stage::Connecting(connecting) => Some(connecting.joining),
            Stage::Unknown | Stage::Connected => None,
        }
    }

    /// A managed connection ends before its `connect` was answered.
    pub(super) fn abandon_connect(&mut self, row: Id<Connection>) {
        let was_parked = self.has_parked(row);
        let Some(managed) = self.managed.get_mut(&row) else { return };
        if was_parked {
            self.context.effects.push_back(Effect::Audible(row.number()));
        }
        self.context.metrics.commands_parked.add(-(managed.parked.len() as i64));
        managed.parked = VecDeque::new();
        managed.is_verifying = false;
        if let Stage::Connecting(connecting) = std::mem::take(&mut managed.stage) {
            let joining = connecting.joining;
            for (command, ticket) in connecting.commands {
                self.answer_absent(&command, ticket);
            }
            self.delivery.connections[row].set(HELD, false);
            self.joinings[joining].then = Then::Nothing;
            if std::mem::take(&mut self.joinings[joining].awaits_entry) {
                self.arrive(joining);
            }
        }
    }

    /// How many seconds are left.
    pub(super) fn seconds_until(&self, at: u64) -> u32 {
        to_seconds(at.saturating_sub(self.context.now.unix)).max(1)
    }

    pub(super) fn client_refresh(&mut self, row: Id<Connection>, id: u32, renewal: &Renewal) {
        if let Some(managed) = self.managed.get_mut(&row) {
            managed.expires_at = renewal.expires_at.and_then(NonZeroU64::new);
            self.context.effects.push_back(Effect::Expiry(row.number()));
        }
        if let Some(info) = &renewal.info {
            self.change_info(row, info);
        }
        let ttl = renewal.expires_at.map(|at| self.seconds_until(at));
        self.reply(row, id, &Reply::Refresh(ttl));
    }

    pub(super) fn client_sub_refresh(
        &mut self,
        row: Id<Connection>,
        id: u32,
        channel: &ChannelName,
        renewal: &Renewal,
    ) -> Result<(), ClientFault> {
        let terms = self.terms_of(row, channel).ok_or(ClientError::NotSubscribed)?;
        self.move_expiry(row, terms.channel, renewal.expires_at);
        self.change_channel_info(row, terms.channel, renewal.info.as_deref());
        let ttl = renewal.expires_at.map(|at| self.seconds_until(at));
        self.reply(row, id, &Reply::SubRefresh(ttl));
        Ok(())
    }

    /// Moves the end of a managed connection's subscription to the channel of a row.
    pub(super) fn move_expiry(
        &mut self,
        row: Id<Connection>,
        channel: Id<Channel>,
        expires_at: Option<u64>,
    ) {
        let expires_at = expires_at.map(to_seconds);
        let Some(terms) = self.terms_in_mut(row, channel) else { return };
        terms.expires_at = expires_at;
        if let Some(managed) = self.managed.get_mut(&row) {
            managed.note_end(expires_at);
        }
        self.context.effects.push_back(Effect::Expiry(row.number()));
    }

    /// A backend moves the end of a connection; the past ends it at once.
    pub(super) fn refresh_by_command(&mut self, row: Id<Connection>, expires_at: Option<u64>) {
        if expires_at.is_some_and(|at| at <= self.context.now.unix) {
            return self.begin_close(row, CloseCode::EXPIRED, "expired", Cause::Command);
        }
        match (self.managed.get_mut(&row), expires_at) {
            (Some(managed), _) => managed.expires_at = expires_at.and_then(NonZeroU64::new),
            (None, Some(at)) => {
                self.raw_expiries.insert(row, at);
            }
            (None, None) => {
                self.raw_expiries.remove(&row);
            }
        }
        self.context.effects.push_back(Effect::Expiry(row.number()));
    }

    /// The Unix second at which something of a connection may end unless it is renewed: nothing
    /// ends before.
    pub fn expiry_of(&self, row: u32) -> Option<u64> {
        let row = Id::new(row);
        let first = match self.managed.get(&row) {
            Some(managed) => managed.first_end(),
            None => self.end_of(row),
        };
        first.map(|at| at + u64::from(self.context.settings.refresh_grace))
    }

    /// The Unix second at which the connection itself expires.
    fn end_of(&self, row: Id<Connection>) -> Option<u64> {
        match self.managed.get(&row) {
            Some(managed) => managed.expires_at.map(NonZeroU64::get),
            None => self.raw_expiries.get(&row).copied(),
        }
    }

    /// Ends what has expired for longer than the grace.
    pub fn expire(&mut self, row: u32) {
        let row = Id::new(row);
        let limit =
            self.context.now.unix.saturating_sub(u64::from(self.context.settings.refresh_grace));
        if self.end_of(row).is_some_and(|at| at <= limit) {
            self.begin_close(row, CloseCode::EXPIRED, "expired", Cause::Expired);
        } else if let Some(managed) = self.managed.get_mut(&row)
            && managed.first_end().is_some_and(|at| at <= limit)
        {
            let is_over = |at: Option<u32>| at.is_some_and(|at| u64::from(at) <= limit);
            let over: Vec<Id<Channel>> = managed
                .terms
                .iter()
                .filter(|terms| is_over(terms.expires_at))
                .map(|terms| terms.channel)
                .collect();
            for channel in over {
                let channel = self.delivery.channels.rows[channel].channel_name().clone();
                self.take_away(row, &channel, &EXPIRED, Cause::Expired);
            }
            if let Some(managed) = self.managed.get_mut(&row) {
                managed.find_first_end();
            }
        }
        self.run_local();
    }

    /// Takes a channel from a connection and tells it so, behind the frame that it has in part. Of
    /// a subscription that its home has not confirmed the client knows nothing but its own command,
    /// which is answered.
    pub(super) fn take_away(
        &mut self,
        row: Id<Connection>,
        channel: &ChannelName,
        loss: &Loss,
        cause: Cause,
    ) {
        if let Some(subscription) = self.delivery.subscription_of(row, channel)
            && self
                .delivery
                .unfinished_in(row, self.delivery.subscriptions[subscription].channel)
                .is_some()
        {
            self.delivery.finish_partial_frame(&self.context, row);
        }
        let pending = self.terms_of(row, channel).and_then(|terms| terms.pending);
        self.drop_subscription(row, channel, cause);
        if let Some(number) = pending {
            if let Question::Subscription(_, subscription) = &self.questions[number]
                && let Origin::Client(id) = subscription.origin
            {
                self.reply(row, id, &Reply::Error(loss.refusal.into()));
            }
        } else if self.delivery.connections[row].variant.is_managed() {
            let push = PersonalPush::Unsubscribe(channel, loss.code, loss.reason);
            self.push_personal(row, &push);
        }
    }

    /// A subscriber is too far behind in a channel. One that can recover is told to subscribe
    /// again, any other is closed. `row` is the channel's.
    pub(super) fn cut_off(&mut self, connection: Id<Connection>, row: Id<Channel>, cause: Cause) {
        let terms = self.terms_in(connection, row);
        let can_recover = terms.filter(|terms| terms.is_recoverable && terms.pending.is_none());
        let (code, reason) = match (can_recover, self.resubscribes(row)) {
            _ if self.leavers.has(connection) => return self.leave_first(connection, row, cause),
            (Some(terms), Some(channel)) if !terms.is_server_side => {
                self.context.metrics.subscribers_cut_off.increment();
                return self.take_away(connection, &channel, &INSUFFICIENT_STATE, cause);
            }
            (Some(_), Some(_)) => (CloseCode::INSUFFICIENT_STATE, INSUFFICIENT_STATE.reason),
            _ => (CloseCode::SLOW, "slow: too far behind"),
        };
        self.begin_close(connection, code, reason, cause);
        if self.leavers.has(connection) {
            self.leave_first(connection, row, cause);
        }
    }

    /// A connection that leaves its channels leaves this one first, so that it holds no memory, and
    /// stands nowhere in a log that goes on without it.
    fn leave_first(&mut self, connection: Id<Connection>, row: Id<Channel>, cause: Cause) {
        if let Some(subscription) = self.delivery.subscription_in(connection, row) {
            self.remove_subscription(connection, subscription, cause);
        }
    }

    /// The name of a channel, if it is still there and its slow subscribers are to subscribe again.
    fn resubscribes(&self, row: Id<Channel>) -> Option<ChannelName> {
        let name = self.delivery.channels.rows.get(row)?.name()?;
        let rules = self.context.settings.namespaces.of(name)?;
        (rules.when_slow == WhenSlow::Resubscribe).then(|| name.clone())
    }
}
