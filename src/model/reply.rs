//! What clients are told.

use std::borrow::Cow;
use std::sync::Arc;

use crate::model::{ChannelName, ClientId, ClientInfo, Position, Push};

/// The answer to one command.
#[derive(Clone, Debug)]
pub enum Reply<'a> {
    /// It failed.
    Error(ClientFault),
    /// The client is connected.
    Connect(&'a ConnectResult),
    /// The client hears the channel.
    Subscribe(&'a SubscribeResult),
    /// The client hears the channel no more.
    Unsubscribe,
    /// The message is published.
    Publish,
    /// Who is in the channel.
    Presence(&'a [Arc<ClientInfo>]),
    /// How many clients and how many users are in the channel.
    PresenceStats(u32, u32),
    /// What was said in the channel, and where its stream stands.
    History(&'a [Arc<Push>], Position),
    /// The connection token was taken; seconds until it expires, if it does.
    Refresh(Option<u32>),
    /// The subscription token was taken; seconds until it expires, if it does.
    SubRefresh(Option<u32>),
}

/// The answer to `connect`.
#[derive(Clone, Debug)]
pub struct ConnectResult {
    /// The connection's identity.
    pub client: ClientId,
    /// The edge's version.
    pub version: &'static str,
    /// Seconds until the token expires, if it does: a new one is expected by then.
    pub ttl: Option<u32>,
    /// Seconds between pings.
    pub ping: u32,
    /// Whether pings are to be answered.
    pub pong: bool,
    /// Server-side subscriptions.
    pub subs: Vec<(ChannelName, SubscribeResult)>,
}

/// The answer to `subscribe`.
#[derive(Clone, Debug, Default)]
pub struct SubscribeResult {
    /// Seconds until the subscription expires, if it does.
    pub ttl: Option<u32>,
    /// Where the stream stands, or, when recovered, where the client said it stood; `None` for
    /// channels without history.
    pub position: Option<Position>,
    /// Whether the client may recover after a disconnect.
    pub recoverable: bool,
    /// Whether it asked for what it missed.
    pub was_recovering: bool,
    /// Whether `publications` is everything that it missed.
    pub recovered: bool,
    /// What it missed.
    pub publications: Vec<Arc<Push>>,
    /// What the subscription token gives along, as JSON.
    pub data: Option<Box<str>>,
}

/// What one connection alone is told unasked.
#[derive(Clone, Debug)]
pub enum PersonalPush<'a> {
    /// A publication of no channel. It has no tags, so a JSON client that may be sent bytes that
    /// are not UTF-8 has to know that they come as base64.
    Message {
        /// The payload.
        payload: &'a [u8],
        /// Whether it is UTF-8.
        text: bool,
    },
    /// The edge subscribed it to a channel.
    Subscribe(&'a ChannelName, &'a SubscribeResult),
    /// The edge took a channel from it: a code, and a reason that is not empty (the Python SDK
    /// stops at one that is).
    Unsubscribe(&'a ChannelName, u32, &'a str),
}

/// Why a command fails: a code for programs, and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFault {
    /// What goes wrong.
    pub error: ClientError,
    /// What the reader may do about it; often nothing.
    pub remedy: Cow<'static, str>,
}

impl From<ClientError> for ClientFault {
    fn from(error: ClientError) -> Self {
        Self { error, remedy: Cow::Borrowed("") }
    }
}

/// What goes wrong with a command. The same cause may be temporary in one place and final in
/// another: what matters is whether the client could come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// It could not be done now. Temporary.
    Internal,
    /// The token is none that opens this.
    Unauthorized,
    /// The channel's namespace is not configured.
    UnknownChannel,
    /// The rules of the channel do not let the client.
    PermissionDenied,
    /// Not subscribed. Temporary: a `sub_refresh` may cross the push that ends the subscription, of
    /// which the client will make a new one by itself.
    NotSubscribed,
    /// There is no such command.
    MethodNotFound,
    /// The client hears the channel already.
    AlreadySubscribed,
    /// More than the edge allows.
    LimitExceeded,
    /// The channel has all the subscribers it may have. Temporary: somebody may leave it.
    ChannelFull,
    /// The command is not what it must be.
    BadRequest,
    /// The channel lacks what was asked for.
    NotAvailable,
    /// The token has expired.
    TokenExpired,
    /// The token of a `sub_refresh` has. Temporary: the subscription goes on for as long as it is
    /// good, and until then the client may find a better token.
    RenewalExpired,
    /// The connection or subscription has expired.
    Expired,
    /// More commands than the rates allow. Temporary.
    TooManyRequests,
    /// What was missed cannot be recovered.
    UnrecoverablePosition,
}

impl ClientError {
    /// Whether the same command may succeed later.
    pub fn is_temporary(self) -> bool {
        matches!(
            self,
            Self::Internal
                | Self::NotSubscribed
                | Self::ChannelFull
                | Self::RenewalExpired
                | Self::TooManyRequests
        )
    }

    /// The same, with what the reader may do about it.
    pub fn with(self, remedy: impl Into<Cow<'static, str>>) -> ClientFault {
        ClientFault { error: self, remedy: remedy.into() }
    }
}
