//! The HTTP API of backends: bodies of requests become commands, outcomes become bodies.
//!
//! Methods, keys and shapes are those of Centrifugo's server API, so that its published clients
//! work unchanged; `user_status` and the key `device` are our own. What a body may say and the
//! edge does not do is refused, unless it says nothing (`false`, `""`, 0): some clients send every
//! key they know. Nothing here knows HTTP but for the bytes of the bodies.

mod batch;
mod fault;
mod field;
mod reply;
mod request;
mod subscription;

pub use batch::{Batch, Entry, decode_batch, decode_lines};
pub use fault::Fault;
pub use reply::{Body, Node, Process, Reply, Session};
pub use request::{Form, Request, decode_request};

/// What can be asked: the last part of the path, and the key of a command in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// To the subscribers of one channel.
    Publish,
    /// To the subscribers of each channel of a list.
    Broadcast,
    /// Adds a channel to connections.
    Subscribe,
    /// Takes a channel from connections.
    Unsubscribe,
    /// Closes connections.
    Disconnect,
    /// Changes when connections expire.
    Refresh,
    /// Lists who is subscribed.
    Presence,
    /// Counts who is subscribed.
    PresenceStats,
    /// Reads what a channel remembers.
    History,
    /// Forgets what a channel remembers.
    HistoryRemove,
    /// What the edge says of itself.
    Info,
    /// Lists channels.
    Channels,
    /// Lists a user's sessions.
    UserStatus,
    /// Several commands in one request.
    Batch,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Publish,
        Self::Broadcast,
        Self::Subscribe,
        Self::Unsubscribe,
        Self::Disconnect,
        Self::Refresh,
        Self::Presence,
        Self::PresenceStats,
        Self::History,
        Self::HistoryRemove,
        Self::Info,
        Self::Channels,
        Self::UserStatus,
        Self::Batch,
    ];

    /// The method of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }

    /// The name in paths and batches.
    pub fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Broadcast => "broadcast",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Disconnect => "disconnect",
            Self::Refresh => "refresh",
            Self::Presence => "presence",
            Self::PresenceStats => "presence_stats",
            Self::History => "history",
            Self::HistoryRemove => "history_remove",
            Self::Info => "info",
            Self::Channels => "channels",
            Self::UserStatus => "user_status",
            Self::Batch => "batch",
        }
    }
}
