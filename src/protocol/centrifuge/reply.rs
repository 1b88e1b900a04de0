//! What clients are told.

use std::borrow::Cow;
use std::sync::Arc;

use crate::protocol::{ChannelName, ClientId, ClientInfo, Position, Push};

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

/// What goes wrong with a command, by the protocol's own codes.
///
/// SDKs try again what is temporary, and fetch a new token for the code 109 in the reply to
/// `connect` or `subscribe`. Anything else is final to them: it ends the connection (`connect`,
/// `refresh`) or the subscription (`subscribe`, `sub_refresh`) until the application begins anew.
/// So the same code may be temporary in one place and final in another: what matters is whether
/// the client could come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// 100, temporary: try again.
    Internal,
    /// 101.
    Unauthorized,
    /// 102.
    UnknownChannel,
    /// 103.
    PermissionDenied,
    /// 103, temporary: a `sub_refresh` may cross the push that ends the subscription, of which the
    /// client will make a new one by itself.
    NotSubscribed,
    /// 104.
    MethodNotFound,
    /// 105.
    AlreadySubscribed,
    /// 106.
    LimitExceeded,
    /// 106, temporary: somebody else may leave the channel.
    ChannelFull,
    /// 107.
    BadRequest,
    /// 108.
    NotAvailable,
    /// 109.
    TokenExpired,
    /// 109, temporary: the token of a `sub_refresh`. The subscription goes on for as long as it is
    /// good, and until then the client may find a better token.
    RenewalExpired,
    /// 110.
    Expired,
    /// 111, temporary.
    TooManyRequests,
    /// 112.
    UnrecoverablePosition,
}

impl ClientError {
    /// The protocol's number.
    pub fn code(self) -> u32 {
        match self {
            Self::Internal => 100,
            Self::Unauthorized => 101,
            Self::UnknownChannel => 102,
            Self::PermissionDenied | Self::NotSubscribed => 103,
            Self::MethodNotFound => 104,
            Self::AlreadySubscribed => 105,
            Self::LimitExceeded | Self::ChannelFull => 106,
            Self::BadRequest => 107,
            Self::NotAvailable => 108,
            Self::TokenExpired | Self::RenewalExpired => 109,
            Self::Expired => 110,
            Self::TooManyRequests => 111,
            Self::UnrecoverablePosition => 112,
        }
    }

    /// The protocol's words.
    pub fn message(self) -> &'static str {
        match self {
            Self::Internal => "internal server error",
            Self::Unauthorized => "unauthorized",
            Self::UnknownChannel => "unknown channel",
            Self::PermissionDenied | Self::NotSubscribed => "permission denied",
            Self::MethodNotFound => "method not found",
            Self::AlreadySubscribed => "already subscribed",
            Self::LimitExceeded | Self::ChannelFull => "limit exceeded",
            Self::BadRequest => "bad request",
            Self::NotAvailable => "not available",
            Self::TokenExpired | Self::RenewalExpired => "token expired",
            Self::Expired => "expired",
            Self::TooManyRequests => "too many requests",
            Self::UnrecoverablePosition => "unrecoverable position",
        }
    }

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
