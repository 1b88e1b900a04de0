//! What travels on links.

use std::sync::Arc;

use crate::protocol::{
    Answer, ChannelName, ClientId, Command, Event, Publication, ShardId, Target, Ticket,
};

/// Where a member shard keeps its own part of a channel. The generation tells a stay of the
/// shard in the channel from its earlier ones, so that a late answer is never taken for a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle {
    /// The row of the channel in the member shard.
    pub row: u32,
    /// Which stay of the shard in the channel.
    pub generation: u32,
}

/// Why a session was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The user has as many sessions as allowed, and the newest is refused by setting.
    SessionLimit,
}

/// To a shard.
#[derive(Debug)]
pub enum Envelope {
    /// A backend's command, to the shard that begins it: the home of the channel or of the user's
    /// personal channel, the shard of the client, or (for everybody) each shard.
    Command {
        /// The command.
        command: Box<Command>,
        /// Whom to answer, if anybody waits.
        ticket: Option<Ticket>,
    },
    /// Member shard to home: this shard has its first subscriber of the channel.
    Join {
        /// The channel.
        channel: ChannelName,
        /// The member shard.
        shard: ShardId,
        /// Its part of the channel.
        handle: Handle,
    },
    /// Home to member shard: every publication from here on will follow on this link.
    Joined {
        /// The member shard's part of the channel.
        handle: Handle,
    },
    /// Member shard to home: the shard's last subscriber is gone.
    Leave {
        /// The channel.
        channel: ChannelName,
        /// The member shard.
        shard: ShardId,
        /// Which stay ends.
        handle: Handle,
    },
    /// Home to member shard: a publication for its subscribers.
    Deliver {
        /// The member shard's part of the channel.
        handle: Handle,
        /// The message.
        publication: Arc<Publication>,
        /// Whom to tell how many sessions got it.
        ticket: Option<Ticket>,
    },
    /// Member shard to the home of a personal channel: a session of the user begins.
    Enter {
        /// The user's personal channel.
        personal: ChannelName,
        /// The session's connection.
        client: ClientId,
    },
    /// Home to member shard: the session may open, or why not.
    Entered {
        /// The session's connection.
        client: ClientId,
        /// Set when it was refused.
        refusal: Option<Refusal>,
    },
    /// Member shard to the home of a personal channel: a session of the user ended.
    Exit {
        /// The user's personal channel.
        personal: ChannelName,
        /// The session's connection.
        client: ClientId,
    },
    /// Home of a personal channel to a member shard: apply a command to one session.
    Apply {
        /// The session's connection.
        client: ClientId,
        /// The command, whose target names the user and perhaps a device.
        command: Arc<Command>,
        /// Whom to tell.
        ticket: Option<Ticket>,
    },
    /// Home of a personal channel to a member shard: a newer session takes this one's place.
    Evict {
        /// The session's connection.
        client: ClientId,
    },
}

impl Envelope {
    /// Whether it adds to the logs of channels.
    pub fn is_publication(&self) -> bool {
        match self {
            Self::Deliver { .. } => true,
            Self::Command { command, .. } => matches!(
                **command,
                Command::Publish { .. } | Command::Broadcast { .. } | Command::PublishAll { .. }
            ),
            _ => false,
        }
    }
}

/// From a shard to an asker.
#[derive(Debug)]
pub enum Outbound {
    /// A part of an answer.
    Answer(Answer),
    /// Something that backends hear of (to the ingest thread only).
    Event(Box<Event>),
}

impl Command {
    /// The shard that begins a command with one target or channel; `None` when several do.
    pub fn first_shard(&self, homes: &super::Homes) -> Option<ShardId> {
        match self {
            Self::Publish { channel, .. }
            | Self::History { channel, .. }
            | Self::HistoryRemove { channel }
            | Self::Presence { channel }
            | Self::PresenceStats { channel } => Some(homes.of(channel)),
            Self::UserStatus { personal } => Some(homes.of(personal)),
            Self::Broadcast { .. } | Self::PublishAll { .. } | Self::Channels { .. } => None,
            Self::Subscribe { target, .. }
            | Self::Unsubscribe { target, .. }
            | Self::Disconnect { target, .. }
            | Self::Refresh { target, .. } => Some(match target {
                Target::User { personal, .. } => homes.of(personal),
                Target::Client(client) => client.shard,
            }),
        }
    }
}

const _: () = assert!(size_of::<Envelope>() <= 48, "an envelope is copied in and out of a link");
