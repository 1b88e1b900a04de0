//! Connections that speak the client protocol: their state, and their commands in order.
//!
//! A managed connection is open before anybody knows who it is: its first command says so. From
//! then on every command is begun in the order in which it came. Those that a home has to answer
//! are [`Question`]s; replies carry the command's number, so they may overtake each other, but a
//! command about a channel waits until an earlier `subscribe` to that channel is answered, and all
//! wait until `connect` is.
//!
//! Whatever needs a key or a clock of its own is done by the shell. It hands in [`Asked`]; a token
//! in there it verifies when the command's turn has come ([`Effect::Verify`]), which may take a
//! while, and what comes behind waits for that too.

use std::collections::VecDeque;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::hub::delivery::channel::Channel;
use crate::hub::delivery::connection::{Connection, Phase};
use crate::hub::joining::Joining;
use crate::hub::rows::Id;
use crate::hub::{Effect, Hub, Wishes};
use crate::model::{
    ChannelGrant, ChannelName, ClientError, ClientFault, ClientId, ClientInfo, Command,
    PositionClaim, Reply, Ticket, Variant,
};
use crate::protocol::centrifuge::{HistoryRequest, Request, encode_reply};

/// Most questions of one connection that homes have not answered yet.
const QUESTIONS_MAX: u16 = 64;

/// Most commands of backends that wait for one `connect`.
pub(super) const COMMANDS_HELD_MAX: usize = 64;

/// What a verified connection token, or the settings for those without one, say.
#[derive(Clone, Debug, Default)]
pub struct Grant {
    /// The user; empty for an anonymous one.
    pub user: Box<str>,
    /// Which of the user's devices it is.
    pub device: Option<Box<str>>,
    /// What others see of it, as JSON.
    pub info: Option<Box<str>>,
    /// What backends alone see of it, as JSON.
    pub meta: Option<Arc<str>>,
    /// The Unix second in which its token was made, 0 if the token does not say; `None` without a
    /// token.
    pub issued_at: Option<u64>,
    /// The Unix second at which it expires.
    pub expires_at: Option<u64>,
    /// Server-side subscriptions beside the personal channel.
    pub channels: Vec<(ChannelName, ChannelGrant)>,
    /// Where server-side subscriptions stood, sorted by channel.
    pub positions: Vec<(ChannelName, PositionClaim)>,
    /// Whether every permission is given, for trying out.
    pub is_insecure: bool,
}

/// One command of a client, with what the shell found out about it.
#[derive(Clone, Debug)]
pub enum Asked {
    /// Whatever may show a token, and the channel that it is about: what it says is found out when
    /// its turn has come.
    Shown(Option<ChannelName>, Box<Request>),
    /// `connect`, with the client's grant.
    Connect(u32, Box<Grant>),
    /// `subscribe`; without a grant the namespace decides.
    Subscribe(u32, Box<Subscribe>),
    /// `unsubscribe`.
    Unsubscribe(u32, ChannelName),
    /// `publish`.
    Publish(u32, ChannelName, Bytes),
    /// `send`: whether it is text, and the message. It has no reply.
    Send(bool, Bytes),
    /// `presence`.
    Presence(u32, ChannelName),
    /// `presence_stats`.
    PresenceStats(u32, ChannelName),
    /// `history`.
    History(u32, ChannelName, Box<HistoryRequest>),
    /// `refresh`, with what the new token says.
    Refresh(u32, Renewal),
    /// `sub_refresh`, with what the new token says.
    SubRefresh(u32, ChannelName, Renewal),
    /// Whatever the shell had to refuse.
    Refused(u32, ClientFault),
}

/// A subscription as a client asks for it.
#[derive(Clone, Debug)]
pub struct Subscribe {
    /// The channel.
    pub channel: ChannelName,
    /// Where it stood.
    pub position: PositionClaim,
    /// What it asks for, which counts where that is not forced upon it anyway.
    pub wishes: Wishes,
    /// Whether it is an error when nothing can be recovered.
    pub rejects_unrecovered: bool,
    /// What its token says.
    pub grant: Option<ChannelGrant>,
}

/// What a new token says.
#[derive(Clone, Debug, Default)]
pub struct Renewal {
    /// Until when it is valid.
    pub expires_at: Option<u64>,
    /// What others see of the client, as JSON. A connection token without leaves that as it is.
    pub info: Option<Box<str>>,
}

/// What a home was asked on behalf of a connection. Each is answered exactly once.
#[derive(Debug, Default)]
pub(super) enum Question {
    /// The row is free.
    #[default]
    Nothing,
    /// A raw connection's subscription, for which a joining waits.
    Opening(ClientId, ChannelName, Id<Joining>),
    /// A managed connection's subscription.
    Subscription(ClientId, Box<Subscription>),
    /// A command of the client.
    Command(ClientId, u32, Replies),
}

/// How the answer of a home becomes a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replies {
    Publish,
    Presence,
    PresenceStats,
    History,
}

/// A subscription that a home has not answered yet.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) channel: ChannelName,
    /// Where the client said it stood.
    pub(super) claim: PositionClaim,
    pub(super) rejects_unrecovered: bool,
    pub(super) wishes: Wishes,
    pub(super) grant: ChannelGrant,
    pub(super) origin: Origin,
}

/// Who wanted a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The client, by a command with this number.
    Client(u32),
    /// The edge, as part of `connect`; a joining waits.
    Connect(Id<Joining>),
    /// A backend, by a command; a joining waits.
    Backend(Id<Joining>),
}

/// What is kept of a managed connection beside its rows.
#[derive(Debug, Default)]
pub(super) struct Managed {
    /// Who it is, from `connect` on.
    pub(super) info: Option<Arc<ClientInfo>>,
    pub(super) stage: Stage,
    pub(super) expires_at: Option<NonZeroU64>,
    /// None of its subscriptions ends before this Unix second.
    first_end: Option<NonZeroU32>,
    pub(super) is_insecure: bool,
    /// The shell has a token of it to verify.
    pub(super) is_verifying: bool,
    /// Most clients have one subscription, and it has no list of its own.
    pub(super) terms: SmallVec<[Terms; 1]>,
    /// Commands that wait for earlier ones.
    pub(super) parked: VecDeque<Asked>,
    /// Questions without an answer.
    pub(super) questions: u16,
    /// A turn, and how many of its commands were begun in it.
    pub(super) served: (u8, u8),
    /// What it has asked in the present second.
    pub(super) spent: crate::hub::rate::Spent,
}

const _: () = assert!(size_of::<Managed>() <= 120, "every managed connection has one");

impl Managed {
    /// The Unix second before which nothing of it ends, and in which something may.
    pub(super) fn first_end(&self) -> Option<u64> {
        let of_subscriptions = self.first_end.map(|at| u64::from(at.get()));
        of_subscriptions.into_iter().chain(self.expires_at.map(NonZeroU64::get)).min()
    }

    /// A subscription ends at a Unix second, if at all.
    pub(super) fn note_end(&mut self, at: Option<u32>) {
        let at = at.and_then(NonZeroU32::new);
        self.first_end = self.first_end.into_iter().chain(at).min();
    }

    /// The command that has waited for longest. Hundreds may have waited, and few will again.
    fn next_parked(&mut self) -> Option<Asked> {
        let asked = self.parked.pop_front();
        if self.parked.is_empty() {
            self.parked = VecDeque::new();
        }
        asked
    }

    /// Looks at all subscriptions for the first end.
    pub(super) fn find_first_end(&mut self) {
        let ends = self.terms.iter().filter_map(|terms| terms.expires_at);
        self.first_end = ends.min().and_then(NonZeroU32::new);
    }
}

/// How far a managed connection is.
#[derive(Debug, Default)]
pub(super) enum Stage {
    /// Its first command has not come.
    #[default]
    Unknown,
    /// Homes are asked about its user and its server-side subscriptions.
    Connecting(Box<Connecting>),
    /// Its `connect` is answered.
    Connected,
}

/// A `connect` that is not answered yet.
#[derive(Debug)]
pub(super) struct Connecting {
    pub(super) id: u32,
    pub(super) joining: Id<Joining>,
    pub(super) subs: Vec<(ChannelName, crate::model::SubscribeResult)>,
    /// What backends want of the connection, which would make the reply untrue.
    pub(super) commands: Vec<(Arc<Command>, Option<Ticket>)>,
}

/// What is agreed upon one subscription of a managed connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// The channel's row.
    pub(super) channel: Id<Channel>,
    /// When it expires.
    pub(super) expires_at: Option<u32>,
    /// The number of the question that the home has not answered yet. The answer to any other
    /// question belongs to a subscription that is gone.
    pub(super) pending: Option<Id<Question>>,
    /// The edge subscribed it, not the client.
    pub(super) is_server_side: bool,
    /// A token allows it.
    pub(super) is_granted: bool,
    /// The client may be told to subscribe again: it can recover what it misses.
    pub(super) is_recoverable: bool,
}

impl Asked {
    /// The channel that it is about.
    fn channel(&self) -> Option<&ChannelName> {
        match self {
            Self::Subscribe(_, subscribe) => Some(&subscribe.channel),
            Self::Unsubscribe(_, channel)
            | Self::Publish(_, channel, _)
            | Self::Presence(_, channel)
            | Self::PresenceStats(_, channel)
            | Self::History(_, channel, _)
            | Self::SubRefresh(_, channel, _) => Some(channel),
            Self::Shown(channel, _) => channel.as_ref(),
            Self::Connect(..) | Self::Send(..) | Self::Refresh(..) | Self::Refused(..) => None,
        }
    }

    /// Whether it may bring many channels, or a long reply.
    pub(super) fn may_take_long(&self) -> bool {
        match self {
            Self::Subscribe(_, subscribe) => subscribe.position.recover,
            Self::Connect(..) | Self::Presence(..) | Self::History(..) => true,
            _ => false,
        }
    }
}

impl Hub {
    /// A client has sent a command.
    pub fn ask(&mut self, row: u32, asked: Asked) {
        let row = Id::new(row);
        let must_wait = self.waits(row, asked.channel()) || self.is_held_up(row, &asked);
        match self.managed.get_mut(&row) {
            Some(managed) if must_wait => {
                managed.parked.push_back(asked);
                self.context.metrics.commands_parked.add(1);
                self.await_room(row);
            }
            _ => {
                self.count_begun(row, &asked);
                self.begin(row, asked);
            }
        }
        self.run_local();
    }

    /// Asks the shell what a command's token says. Until it has said so nothing else is begun.
    pub(super) fn verify(&mut self, row: Id<Connection>, request: Box<Request>) {
        if let Some(managed) = self.managed.get_mut(&row) {
            managed.is_verifying = true;
            self.context.effects.push_back(Effect::Verify(row.number(), request));
        }
    }

    /// The shell has found out what a command's token says: the command goes on as that.
    pub fn verified(&mut self, row: u32, asked: Asked) {
        let row = Id::new(row);
        if let Some(managed) = self.managed.get_mut(&row) {
            managed.is_verifying = false;
            managed.parked.push_front(asked);
            self.context.metrics.commands_parked.add(1);
            self.unpark(row);
        }
        self.run_local();
    }

    /// Whether the shell has still to say what a token says.
    pub fn is_verifying(&self, row: u32) -> bool {
        self.managed.get(&Id::new(row)).is_some_and(|managed| managed.is_verifying)
    }

    /// Whether commands of a connection wait for earlier ones: then no more is to be read of it.
    pub fn is_parked(&self, row: u32) -> bool {
        self.has_parked(Id::new(row))
    }

    pub(super) fn has_parked(&self, row: Id<Connection>) -> bool {
        let waits = |managed: &Managed| managed.is_verifying || !managed.parked.is_empty();
        let connection = self.delivery.connections.get(row);
        connection.is_some_and(|connection| connection.variant.is_managed())
            && self.managed.get(&row).is_some_and(|managed| waits(managed))
    }

    /// How many commands of a connection wait.
    pub fn parked_count(&self, row: u32) -> usize {
        self.managed.get(&Id::new(row)).map_or(0, |managed| managed.parked.len())
    }

    /// Whether a managed connection has said who it is.
    pub fn is_connected(&self, row: u32) -> bool {
        self.has_connected(Id::new(row))
    }

    pub(super) fn has_connected(&self, row: Id<Connection>) -> bool {
        self.managed.get(&row).is_some_and(|managed| matches!(managed.stage, Stage::Connected))
    }

    /// Whether a managed connection has still to say who it is.
    pub fn is_unknown(&self, row: u32) -> bool {
        let managed = self.managed.get(&Id::new(row));
        managed.is_some_and(|managed| matches!(managed.stage, Stage::Unknown))
    }

    /// The wire variant of a connection.
    pub fn variant(&self, row: u32) -> Variant {
        self.delivery.connections[Id::new(row)].variant
    }

    /// Who a managed connection is, once it has said so.
    pub fn info(&self, row: u32) -> Option<&ClientInfo> {
        self.managed.get(&Id::new(row))?.info.as_deref()
    }

    /// Which of the user's devices a connection is.
    pub fn device(&self, row: u32) -> Option<&str> {
        self.devices.get(&Id::new(row)).map(AsRef::as_ref)
    }

    /// Why a `subscribe` whose turn it is is refused whatever its token says.
    pub fn check_subscribe(&self, row: u32, channel: &ChannelName) -> Result<(), ClientFault> {
        self.has_room_for(Id::new(row), channel)
    }

    /// The same for a `sub_refresh`.
    pub fn check_sub_refresh(&self, row: u32, channel: &ChannelName) -> Result<(), ClientError> {
        self.terms_of(Id::new(row), channel).map(drop).ok_or(ClientError::NotSubscribed)
    }

    /// Whether a command about a channel, or about none, is carried out later.
    fn waits(&self, row: Id<Connection>, channel: Option<&ChannelName>) -> bool {
        self.has_parked(row) || self.must_wait(row, channel)
    }

    /// Whether there is no room or no time for a command.
    fn is_held_up(&self, row: Id<Connection>, asked: &Asked) -> bool {
        self.lacks_room(row, asked) || self.is_crowded_for(asked) || self.has_spent_share(row)
    }

    /// Whether a command whose reply may be long has to wait until the client has taken those
    /// before it: each has all the room that there is.
    fn lacks_room(&self, row: Id<Connection>, asked: &Asked) -> bool {
        let may_be_long = asked.may_take_long() && !matches!(asked, Asked::Connect(..));
        let has_questions = self.managed.get(&row).is_some_and(|managed| managed.questions > 0);
        let is_crowded = has_questions
            || self.delivery.reply_room(&self.context, row) < self.context.settings.reply_bytes_max;
        may_be_long && is_crowded
    }

    fn must_wait(&self, row: Id<Connection>, channel: Option<&ChannelName>) -> bool {
        let Some(managed) = self.managed.get(&row) else { return false };
        let is_connecting = matches!(managed.stage, Stage::Connecting(_));
        if is_connecting || managed.is_verifying || managed.questions >= QUESTIONS_MAX {
            return true;
        }
        let is_pending = |part| self.terms_in(row, part).is_some_and(|it| it.pending.is_some());
        channel.is_some_and(|channel| self.delivery.parts_of(row, channel).any(is_pending))
    }

    /// Goes on with commands that waited.
    pub(super) fn unpark(&mut self, row: Id<Connection>) {
        let was_parked = self.has_parked(row);
        self.unpark_some(row);
        if was_parked && !self.has_parked(row) {
            self.context.effects.push_back(Effect::Audible(row.number()));
        }
    }

    fn unpark_some(&mut self, row: Id<Connection>) {
        while let Some(managed) = self.managed.get_mut(&row)
            && let Some(asked) = managed.next_parked()
        {
            if self.must_wait(row, asked.channel()) || self.is_held_up(row, &asked) {
                if let Some(managed) = self.managed.get_mut(&row) {
                    managed.parked.push_front(asked);
                }
                return self.await_room(row);
            }
            self.context.metrics.commands_parked.add(-1);
            self.count_begun(row, &asked);
            self.begin(row, asked);
        }
    }

    /// Sends the reply to a command, unless a close frame has come before it.
    pub(super) fn reply(&mut self, row: Id<Connection>, id: u32, reply: &Reply<'_>) {
        if self.delivery.connections[row].phase != Phase::Open {
            return;
        }
        if let Reply::Error(_) = reply {
            self.context.metrics.commands_refused.increment();
        }
        let frame = self.encode(row, id, reply);
        self.delivery.append(&self.context, row, &frame);
    }

    /// The same for a reply that may be long: if there is no room, it is an error.
    pub(super) fn reply_at_length(&mut self, row: Id<Connection>, id: u32, reply: &Reply<'_>) {
        if self.delivery.connections[row].phase != Phase::Open {
            return;
        }
        let frame = self.encode(row, id, reply);
        if self.delivery.reserve(&self.context, row, frame.len()) {
            self.delivery.append(&self.context, row, &frame);
        } else {
            let fault = ClientError::LimitExceeded.with("longer than client.reply_bytes_max");
            self.reply(row, id, &Reply::Error(fault));
        }
    }

    fn encode(&self, row: Id<Connection>, id: u32, reply: &Reply<'_>) -> Vec<u8> {
        let mut frame = Vec::new();
        encode_reply(self.delivery.connections[row].variant, id, reply, &mut frame);
        frame
    }

    pub(super) fn terms_of(&self, row: Id<Connection>, channel: &ChannelName) -> Option<Terms> {
        self.delivery.parts_of(row, channel).find_map(|part| self.terms_in(row, part).copied())
    }
}
