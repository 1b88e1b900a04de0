//! Carrying out the commands of managed clients, and turning the answers of homes into replies.

use std::sync::Arc;

use bytes::Bytes;

use crate::hub::delivery::connection::{Connection, Phase};
use crate::hub::managed::{Asked, Origin, Question, Replies, Subscribe, Subscription, Terms};
use crate::hub::rows::Id;
use crate::hub::{Cause, Hub};
use crate::mesh::{Asker, Attendee, Envelope};
use crate::model::{
    Answer, ChannelName, ClientError, ClientFault, Command, CommandError, EpochClaim, EventKind,
    HistoryFilter, Lack, Namespace, Outcome, Permission, PersonalPush, Publication, Push, Reply,
    Ticket, Variant,
};
use crate::protocol::centrifuge::{HistoryRequest, Method, encode_personal_push};
use crate::ws::close::CloseCode;

/// What a reply with publications has beside them, and what stands between two of them.
const REPLY_OVERHEAD_BYTES: usize = 256;
const OBJECT_OVERHEAD_BYTES: usize = 8;

impl Hub {
    /// Begins a command whose turn it is.
    pub(super) fn begin(&mut self, row: Id<Connection>, asked: Asked) {
        if self.delivery.connections[row].phase != Phase::Open || !self.managed.contains_key(&row) {
            return;
        }
        let id = match asked {
            Asked::Connect(id, grant) => return self.connect(row, id, *grant),
            Asked::Shown(_, request) if matches!(request.method, Method::Connect(_)) => {
                return self.verify(row, request);
            }
            Asked::Shown(_, ref request) => request.id,
            Asked::Refused(id, error) => return self.reply(row, id, &Reply::Error(error)),
            Asked::Send(text, payload) if self.has_connected(row) => {
                return self.report(row, EventKind::Message { text, payload });
            }
            Asked::Send(..) => 0,
            Asked::Subscribe(id, _)
            | Asked::Unsubscribe(id, _)
            | Asked::Publish(id, ..)
            | Asked::Presence(id, _)
            | Asked::PresenceStats(id, _)
            | Asked::History(id, ..)
            | Asked::Refresh(id, _)
            | Asked::SubRefresh(id, ..) => id,
        };
        if !self.has_connected(row) {
            let code = CloseCode::BAD_REQUEST;
            return self.begin_close(row, code, "connect comes first", Cause::ProtocolError);
        }
        let refused = match asked {
            Asked::Connect(..) | Asked::Send(..) | Asked::Refused(..) => Ok(()),
            Asked::Shown(_, request) => {
                self.verify(row, request);
                Ok(())
            }
            Asked::Subscribe(id, subscribe) => self.client_subscribe(row, id, *subscribe),
            Asked::Unsubscribe(id, channel) => self.client_unsubscribe(row, id, &channel),
            Asked::Publish(id, channel, data) => self.client_publish(row, id, channel, &data),
            Asked::Presence(id, channel) => {
                self.client_reads(row, &channel, presence_readers).map(|()| {
                    self.question(row, id, Replies::Presence, Command::Presence { channel });
                })
            }
            Asked::PresenceStats(id, channel) => {
                self.client_reads(row, &channel, presence_readers).map(|()| {
                    let command = Command::PresenceStats { channel };
                    self.question(row, id, Replies::PresenceStats, command);
                })
            }
            Asked::History(id, channel, request) => self.client_history(row, id, channel, &request),
            Asked::Refresh(id, renewal) => {
                self.client_refresh(row, id, &renewal);
                Ok(())
            }
            Asked::SubRefresh(id, channel, renewal) => {
                self.client_sub_refresh(row, id, &channel, &renewal)
            }
        };
        if let Err(error) = refused {
            self.reply(row, id, &Reply::Error(error));
        }
    }

    fn client_subscribe(
        &mut self,
        row: Id<Connection>,
        id: u32,
        subscribe: Subscribe,
    ) -> Result<(), ClientFault> {
        let Subscribe { channel, position, wishes, rejects_unrecovered, grant } = subscribe;
        self.has_room_for(row, &channel)?;
        let rules = self.context.rules_of(&channel).map_err(client_error)?;
        let managed = &self.managed[&row];
        let user = managed.info.as_ref().map_or("", |info| &info.user);
        let is_granted = grant.is_some();
        let is_open = rules.subscribe.allows(is_granted);
        let is_allowed = managed.is_insecure || (channel.admits(user) && is_open);
        if !is_allowed {
            return Err(ClientError::PermissionDenied.into());
        }
        let subscription = Subscription {
            channel,
            claim: position,
            rejects_unrecovered,
            wishes,
            grant: grant.unwrap_or_default(),
            origin: Origin::Client(id),
        };
        self.begin_subscription(row, subscription, is_granted);
        Ok(())
    }

    /// Whether a connection may subscribe to a channel, but for permissions.
    pub(super) fn has_room_for(
        &self,
        row: Id<Connection>,
        channel: &ChannelName,
    ) -> Result<(), ClientFault> {
        if self.context.settings.namespaces.of(channel).is_none() {
            Err(ClientError::UnknownChannel.with(Lack::Namespace.remedy(channel)))
        } else if self.delivery.subscription_of(row, channel).is_some() {
            Err(ClientError::AlreadySubscribed.into())
        } else if usize::from(self.delivery.connections[row].subscription_count)
            >= self.context.settings.channels_max
        {
            Err(ClientError::LimitExceeded.into())
        } else {
            Ok(())
        }
    }

    /// Makes a managed connection a member of a channel and asks its home where that stands.
    pub(super) fn begin_subscription(
        &mut self,
        row: Id<Connection>,
        subscription: Subscription,
        is_granted: bool,
    ) {
        let conditions = self.conditions_of(&subscription);
        let channel = subscription.channel.clone();
        let part = self.add_subscription(row, channel, conditions.hears_otherwise);
        let client = self.identity(row);
        let info = self.be_known(row, part, subscription.grant.info.as_deref());
        let claim = &subscription.claim;
        let recovers = claim.recover && conditions.is_recoverable;
        let recover = recovers.then(|| (EpochClaim::parse(&claim.epoch), claim.offset));
        let expires_at = subscription.grant.expires_at.map(to_seconds);
        let is_server_side = !matches!(subscription.origin, Origin::Client(_));
        let question = Question::Subscription(client, Box::new(subscription));
        let attendee = Attendee { info, standing: conditions.standing, recover };
        let number = self.attend(row, part, attendee, question);
        let managed = self.managed.get_mut(&row).expect("the connection is managed");
        managed.questions += 1;
        let terms = Terms {
            channel: part,
            expires_at,
            pending: Some(number),
            is_server_side,
            is_granted,
            is_recoverable: conditions.is_recoverable,
        };
        self.add_terms(row, terms);
    }

    fn client_unsubscribe(
        &mut self,
        row: Id<Connection>,
        id: u32,
        channel: &ChannelName,
    ) -> Result<(), ClientFault> {
        if self.terms_of(row, channel).is_some_and(|terms| terms.is_server_side) {
            return Err(ClientError::PermissionDenied.into());
        }
        self.move_rest_of(row, channel);
        self.drop_subscription(row, channel, Cause::Command);
        self.reply(row, id, &Reply::Unsubscribe);
        Ok(())
    }

    fn client_publish(
        &mut self,
        row: Id<Connection>,
        id: u32,
        channel: ChannelName,
        data: &Bytes,
    ) -> Result<(), ClientFault> {
        self.client_reads(row, &channel, |rules| Ok(rules.publish))?;
        let info = Arc::clone(self.info_in(row, &channel));
        let text = self.delivery.connections[row].variant == Variant::Json
            || simdutf8::basic::from_utf8(data).is_ok();
        let publication = Publication::new(text, data, self.context.now.nanos);
        let publication = Arc::new(publication.with_publisher(info));
        let command = Command::Publish { channel, publication, key: None };
        self.question(row, id, Replies::Publish, command);
        Ok(())
    }

    fn client_history(
        &mut self,
        row: Id<Connection>,
        id: u32,
        channel: ChannelName,
        request: &HistoryRequest,
    ) -> Result<(), ClientFault> {
        self.client_reads(row, &channel, history_readers)?;
        let since = request.since.as_ref();
        let since = since.map(|(epoch, offset)| (EpochClaim::parse(epoch), *offset));
        let limit = usize::try_from(request.limit).ok();
        let filter = HistoryFilter { limit, since, reverse: request.reverse };
        self.question(row, id, Replies::History, Command::History { channel, filter });
        Ok(())
    }

    /// Whether a client may do something in a channel. `of` says who may, or what the channel
    /// lacks.
    fn client_reads(
        &self,
        row: Id<Connection>,
        channel: &ChannelName,
        of: impl Fn(&Namespace) -> Result<Permission, Lack>,
    ) -> Result<(), ClientFault> {
        let lacks = |error: ClientError, lack: Lack| error.with(lack.remedy(channel));
        let rules = self.context.settings.namespaces.of(channel);
        let rules = rules.ok_or_else(|| lacks(ClientError::UnknownChannel, Lack::Namespace))?;
        let permission = of(rules).map_err(|lack| lacks(ClientError::NotAvailable, lack))?;
        let managed = &self.managed[&row];
        if managed.is_insecure {
            return Ok(());
        }
        let terms = self.terms_of(row, channel);
        let user = managed.info.as_ref().map_or("", |info| &info.user);
        let is_allowed = match permission {
            Permission::Nobody => false,
            Permission::Token => terms.is_some_and(|terms| terms.is_granted),
            Permission::Everybody => terms.is_some() || channel.admits(user),
        };
        if is_allowed { Ok(()) } else { Err(ClientError::PermissionDenied.into()) }
    }

    fn question(&mut self, row: Id<Connection>, id: u32, replies: Replies, command: Command) {
        let client = self.identity(row);
        if let Some(managed) = self.managed.get_mut(&row) {
            managed.questions += 1;
        }
        let number = self.questions.insert(Question::Command(client, id, replies));
        let home = command.first_shard(&self.context.site.homes).expect("it is about one channel");
        let asker = Asker::place_of(self.context.site.shard);
        let ticket = Some(Ticket { asker, number: number.number() });
        self.context.post(home, Envelope::Command { command: Box::new(command), ticket });
    }

    /// Member side: the home has answered a command of a client.
    pub(super) fn handle_answered(&mut self, answer: Answer) {
        let Question::Command(client, id, replies) = self.questions.remove(Id::new(answer.number))
        else {
            return;
        };
        let Some(row) = self.row_of(client) else { return };
        let Some(managed) = self.managed.get_mut(&row) else { return };
        managed.questions -= 1;
        let reply = match (replies, answer.error, answer.outcome.as_deref()) {
            (_, Some(error), _) => Reply::Error(client_error(error).into()),
            (Replies::Publish, None, _) => Reply::Publish,
            (Replies::Presence, None, Some(Outcome::Presence(list))) => Reply::Presence(list),
            (Replies::PresenceStats, None, Some(&Outcome::PresenceStats(clients, users))) => {
                Reply::PresenceStats(clients, users)
            }
            (Replies::History, None, Some(Outcome::History(publications, position))) => {
                Reply::History(self.fitting(row, publications), *position)
            }
            _ => Reply::Error(ClientError::Internal.into()),
        };
        if matches!(reply, Reply::Presence(_) | Reply::History(..)) {
            self.reply_at_length(row, id, &reply);
        } else {
            self.reply(row, id, &reply);
        }
        self.unpark(row);
    }

    /// As many publications as the connection has room for, at least one.
    fn fitting<'a>(&self, row: Id<Connection>, publications: &'a [Arc<Push>]) -> &'a [Arc<Push>] {
        let variant = self.delivery.connections[row].variant;
        let mut room =
            self.delivery.reply_room(&self.context, row).saturating_sub(REPLY_OVERHEAD_BYTES);
        let fits = |push: &&Arc<Push>| {
            let bytes = object_bytes(push, variant);
            let is_room = bytes <= room;
            room = room.saturating_sub(bytes);
            is_room
        };
        let count = publications.iter().take_while(fits).count();
        &publications[..count.max(1).min(publications.len())]
    }

    /// Ends a subscription, if there is one.
    pub(super) fn drop_subscription(
        &mut self,
        row: Id<Connection>,
        channel: &ChannelName,
        cause: Cause,
    ) {
        if let Some(subscription) = self.delivery.subscription_of(row, channel) {
            self.remove_subscription(row, subscription, cause);
        }
    }

    /// Tells a connection something unasked.
    pub(super) fn push_personal(&mut self, row: Id<Connection>, push: &PersonalPush<'_>) {
        let mut frame = Vec::new();
        encode_personal_push(self.delivery.connections[row].variant, push, &mut frame);
        self.delivery.append(&self.context, row, &frame);
    }
}

fn presence_readers(rules: &Namespace) -> Result<Permission, Lack> {
    if rules.presence { Ok(rules.presence_readers()) } else { Err(Lack::Presence) }
}

fn history_readers(rules: &Namespace) -> Result<Permission, Lack> {
    if rules.has_history() { Ok(rules.history_readers()) } else { Err(Lack::History) }
}

/// How long a publication is in a reply, with what separates it from the next.
pub(super) fn object_bytes(push: &Push, variant: Variant) -> usize {
    push.object(variant).len() + OBJECT_OVERHEAD_BYTES
}

/// Seconds as they are kept.
pub(super) fn to_seconds(at: u64) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

pub(super) fn client_error(error: CommandError) -> ClientError {
    match error {
        CommandError::UnknownNamespace => ClientError::UnknownChannel,
        CommandError::NoHistory | CommandError::NoPresence => ClientError::NotAvailable,
        CommandError::UnrecoverablePosition(_) => ClientError::UnrecoverablePosition,
        CommandError::TooLarge | CommandError::ChannelLimit => ClientError::LimitExceeded,
        CommandError::SubscriberLimit => ClientError::ChannelFull,
        CommandError::UnknownClient | CommandError::Draining => ClientError::Internal,
    }
}
