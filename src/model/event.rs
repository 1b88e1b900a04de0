//! What the edge tells backends unasked: connections that come and go, messages from clients.

use std::sync::Arc;

use bytes::Bytes;

use crate::model::{ChannelName, ClientId, ShardId};

/// One event, on its way from a shard to the `PUB` and `XPUB` endpoints.
#[derive(Clone, Debug)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The connection it happened to.
    pub client: ClientId,
    /// The personal channel of its user, if it has one.
    pub personal: Option<ChannelName>,
    /// The device it named, if it did.
    pub device: Option<Box<str>>,
    /// What its token says for backends alone, as JSON.
    pub meta: Option<Arc<str>>,
    /// The shard that tells it: the connection's, or the home that knows of it.
    pub shard: ShardId,
    /// The number of this event among all that its shard tells, from 1: a jump is a loss.
    pub sequence: u64,
}

impl Event {
    /// How many bytes of a client's message it holds, if it holds one.
    pub fn bytes(&self) -> usize {
        match &self.kind {
            EventKind::Message { payload, .. } => payload.len(),
            _ => 0,
        }
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub enum EventKind {
    /// The opening handshake is complete.
    Connected,
    /// The connection is gone.
    Disconnected {
        /// The close code: the peer's, ours, or 1006 when there was no closing handshake.
        code: u16,
    },
    /// The client sent a message.
    Message {
        /// Whether it came in text frames.
        text: bool,
        /// The message.
        payload: Bytes,
    },
    /// The user's first session begins.
    UserOnline,
    /// The user's last session has ended.
    UserOffline,
    /// The client has subscribed to a channel whose namespace announces that.
    Joined {
        /// The channel.
        channel: ChannelName,
    },
    /// The client is no longer subscribed to such a channel.
    Left {
        /// The channel.
        channel: ChannelName,
    },
}
