//! The home side of a channel: which shards have subscribers, a user's sessions, the stream and
//! the roll.
//!
//! One shard owns this for each channel, so there is no lock and one order of everything.

use smallvec::SmallVec;

use crate::hub::home::roll::Roll;
use crate::hub::home::stream::Stream;
use crate::hub::named::Named;
use crate::hub::rows::Id;
use crate::mesh::Handle;
use crate::model::{ChannelName, ClientId, ShardId};

/// What the home shard knows of a channel; exists only while there is something to know.
#[derive(Debug)]
pub(in crate::hub) struct Record {
    name: Option<ChannelName>,
    /// The shards with subscribers, each with its own parts of the channel.
    pub(in crate::hub) members: SmallVec<[(ShardId, Handle); 1]>,
    /// The user's sessions, oldest first; only in personal channels.
    pub(in crate::hub) sessions: SmallVec<[ClientId; 1]>,
    /// The row of who is subscribed by name; only where the namespace wants to know.
    pub(in crate::hub) roll: Id<Roll>,
    /// The row of the stream; only where the namespace has history.
    pub(in crate::hub) stream: Id<Stream>,
}

const _: () = assert!(size_of::<Record>() <= 64, "every user has a personal channel");

impl Default for Record {
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

impl Named for Record {
    fn name(&self) -> Option<&ChannelName> {
        self.name.as_ref()
    }
}

impl Record {
    /// A channel without anybody.
    pub(in crate::hub) fn new(name: ChannelName) -> Self {
        Self { name: Some(name), ..Self::default() }
    }

    /// The name of a row in use.
    pub(in crate::hub) fn channel_name(&self) -> &ChannelName {
        self.name.as_ref().expect("a home in use has a name")
    }

    /// A shard has its first subscriber in some part of the channel.
    pub(in crate::hub) fn join(&mut self, shard: ShardId, handle: Handle) {
        let part = |handle: Handle| (handle.variant, handle.hears_otherwise);
        self.members.retain(|&mut (other, known)| (other, part(known)) != (shard, part(handle)));
        self.members.push((shard, handle));
    }

    /// A shard has lost its last subscriber; a stay that has been replaced is left alone.
    pub(in crate::hub) fn leave(&mut self, shard: ShardId, handle: Handle) {
        self.members.retain(|&mut member| member != (shard, handle));
    }

    /// A session of the user begins.
    pub(in crate::hub) fn enter(&mut self, client: ClientId) {
        self.sessions.push(client);
    }

    /// A session of the user ended. Returns whether it was known.
    pub(super) fn exit(&mut self, client: ClientId) -> bool {
        let before = self.sessions.len();
        self.sessions.retain(|&mut session| session != client);
        self.sessions.len() < before
    }

    /// Whether nothing is left to know.
    pub(in crate::hub) fn is_empty(&self) -> bool {
        self.members.is_empty()
            && self.sessions.is_empty()
            && self.roll == Id::NONE
            && self.stream == Id::NONE
    }
}
