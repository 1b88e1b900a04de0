//! The home side of a channel: which shards have subscribers, a user's sessions, the stream and
//! the roll.
//!
//! One shard owns this for each channel, so there is no lock and one order of everything.

use smallvec::SmallVec;

use crate::hub::named::Named;
use crate::hub::roll::Roll;
use crate::hub::rows::Id;
use crate::hub::stream::Stream;
use crate::mesh::Handle;
use crate::model::{ChannelName, ClientId, ShardId};

/// What the home shard knows of a channel; exists only while there is something to know.
#[derive(Debug)]
pub(super) struct Home {
    name: Option<ChannelName>,
    /// The shards with subscribers, each with its own parts of the channel.
    pub(super) members: SmallVec<[(ShardId, Handle); 1]>,
    /// The user's sessions, oldest first; only in personal channels.
    pub(super) sessions: SmallVec<[ClientId; 1]>,
    /// The row of who is subscribed by name; only where the namespace wants to know.
    pub(super) roll: Id<Roll>,
    /// The row of the stream; only where the namespace has history.
    pub(super) stream: Id<Stream>,
}

const _: () = assert!(size_of::<Home>() <= 64, "every user has a personal channel");

impl Default for Home {
    fn default() -> Self {
        Self {
            name: None,
            members: SmallVec::new(),
            sessions: SmallVec::new(),
            roll: Id::NONE,
            stream: Id::NONE,
        }
    }
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

    /// The name of a row in use.
    pub(super) fn channel_name(&self) -> &ChannelName {
        self.name.as_ref().expect("a home in use has a name")
    }

    /// A shard has its first subscriber in some part of the channel.
    pub(super) fn join(&mut self, shard: ShardId, handle: Handle) {
        let part = |handle: Handle| (handle.variant, handle.hears_otherwise);
        self.members.retain(|&mut (other, known)| (other, part(known)) != (shard, part(handle)));
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

    /// A session of the user ended. Returns whether it was known.
    pub(super) fn exit(&mut self, client: ClientId) -> bool {
        let before = self.sessions.len();
        self.sessions.retain(|&mut session| session != client);
        self.sessions.len() < before
    }

    /// Whether nothing is left to know.
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
            && self.sessions.is_empty()
            && self.roll == Id::NONE
            && self.stream == Id::NONE
    }
}
