//! The home side of a channel: which shards have subscribers, and a user's sessions.
//!
//! One shard owns this for each channel, so there is no lock and one order of everything.

use smallvec::SmallVec;

use crate::hub::named::Named;
use crate::mesh::Handle;
use crate::protocol::{ChannelName, ClientId, ShardId};

/// What the home shard knows of a channel; exists only while somebody is there.
#[derive(Debug, Default)]
pub(super) struct Home {
    name: Option<ChannelName>,
    /// The shards with subscribers, each with its own part of the channel.
    pub(super) members: SmallVec<[(ShardId, Handle); 1]>,
    /// The user's sessions, oldest first; only in personal channels.
    pub(super) sessions: SmallVec<[ClientId; 1]>,
}

impl Named for Home {
    fn name(&self) -> Option<&ChannelName> {
        self.name.as_ref()
    }
}

impl Home {
    /// A channel without anybody.
    pub(super) fn new(name: ChannelName) -> Self {
        Self { name: Some(name), ..Self::default() }
    }

    /// A shard has its first subscriber.
    pub(super) fn join(&mut self, shard: ShardId, handle: Handle) {
        self.members.retain(|&mut (member, _)| member != shard);
        self.members.push((shard, handle));
    }

    /// A shard has lost its last subscriber; a stay that has been replaced is left alone.
    pub(super) fn leave(&mut self, shard: ShardId, handle: Handle) {
        self.members.retain(|&mut member| member != (shard, handle));
    }

    /// A session of the user begins.
    pub(super) fn enter(&mut self, client: ClientId) {
        self.sessions.push(client);
    }

    /// A session of the user ended.
    pub(super) fn exit(&mut self, client: ClientId) {
        self.sessions.retain(|&mut session| session != client);
    }

    /// Whether nobody is there any more.
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.sessions.is_empty()
    }
}
