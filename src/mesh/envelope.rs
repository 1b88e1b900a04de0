//! What travels on links.

use std::sync::Arc;

use crate::mesh::Weight;
use crate::model::{
    Answer, ChannelName, ClientId, ClientInfo, Command, CommandError, EpochClaim, Event, Namespace,
    Overrides, Position, Push, ShardId, Target, Ticket, Variant,
};
use crate::settings::ShardSettings;

/// Where a member shard keeps its own part of a channel: one for each wire variant that it has
/// subscribers in, and another for those that hear of joins and leaves otherwise than the namespace
/// says. The generation tells a stay of the shard in the channel from its earlier ones, so that a
/// late answer is never taken for a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle {
    /// The row of the channel in the member shard.
    pub row: u32,
    /// Which stay of the shard in the channel.
    pub generation: u32,
    /// The wire variant of the subscribers.
    pub variant: Variant,
    /// Whether they hear of joins and leaves otherwise than the namespace says.
    pub hears_otherwise: bool,
}

/// A connection's wish to be on the roll of a channel, and to know where its stream stands.
#[derive(Debug)]
pub struct Attend {
    /// The channel.
    pub channel: ChannelName,
    /// The member shard's part of it, of which the home has heard before.
    pub handle: Handle,
    /// Who subscribes, and how.
    pub attendee: Attendee,
    /// The member shard's own number for the question.
    pub number: u32,
}

/// A subscriber as the home of the channel knows it.
#[derive(Debug)]
pub struct Attendee {
    /// Who it is.
    pub info: Arc<ClientInfo>,
    /// What others are to know of it.
    pub standing: Standing,
    /// Where it stood, if it wants what it missed.
    pub recover: Option<(EpochClaim, u64)>,
}

/// What others are to know of a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// It is not in the channel's presence.
    pub is_hidden: bool,
    /// Others are told that it joins and leaves.
    pub is_announced: bool,
}

impl Standing {
    /// What the namespace says, unless it is overridden.
    pub fn new(rules: &Namespace, overrides: Overrides) -> Self {
        Self {
            is_hidden: overrides.presence == Some(false),
            is_announced: overrides.join_leave.unwrap_or(rules.join_leave),
        }
    }

    /// Whether the home has to know the subscriber by name.
    pub fn is_on_roll(self, rules: &Namespace) -> bool {
        rules.keeps_roll() || self.is_announced
    }
}

/// The home's answer to [`Attend`].
#[derive(Debug)]
pub struct Attended {
    /// The member shard's number for the question.
    pub number: u32,
    /// Where the channel stands: every publication behind that follows on this link.
    pub result: Result<Attendance, CommandError>,
}

/// Where a channel stood when somebody came.
#[derive(Debug, Default)]
pub struct Attendance {
    /// The end of the stream; `None` for channels without history.
    pub position: Option<Position>,
    /// Whether `missed` is all that was missed.
    pub recovered: bool,
    /// The publications between the position that was named and the end.
    pub missed: Vec<Arc<Push>>,
}

/// The beginning of a user's session.
#[derive(Debug)]
pub struct Enter {
    /// The user's personal channel.
    pub personal: ChannelName,
    /// The session's connection.
    pub client: ClientId,
    /// Which of the user's devices it is.
    pub device: Option<Box<str>>,
    /// The Unix second in which its token was made, 0 if the token does not say; `None` for a
    /// session without a token.
    pub issued_at: Option<u64>,
}

/// Why a session was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The user has as many sessions as allowed, and the newest is refused by setting.
    SessionLimit,
    /// A channel has as many subscribers as its namespace allows.
    SubscriberLimit,
    /// Its token was revoked after it had been verified.
    Revoked,
    /// A backend ended the session before it was open.
    Disconnected,
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
    /// Member shard to home: one of its connections subscribes and is to be known by name.
    Attend(Box<Attend>),
    /// Home to member shard: the answer.
    Attended(Box<Attended>),
    /// Member shard to home: a connection that attended is no longer subscribed.
    Depart {
        /// The channel.
        channel: ChannelName,
        /// The connection.
        client: ClientId,
    },
    /// Member shard to home: others see something else of a connection that attended.
    Inform {
        /// The channel.
        channel: ChannelName,
        /// What they see.
        info: Arc<ClientInfo>,
    },
    /// Home to member shard: the answer to a command that a client's request became.
    Answered(Box<Answer>),
    /// Home to member shard: something for its subscribers.
    Deliver {
        /// The member shard's part of the channel.
        handle: Handle,
        /// What it is.
        push: Arc<Push>,
        /// Whom to tell how many sessions got it.
        ticket: Option<Ticket>,
    },
    /// Member shard to the home of a personal channel: a session of the user begins.
    Enter(Box<Enter>),
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
    /// Settings to serve by from here on, which may follow those that the shard has
    /// ([`crate::settings::HubSettings::may_follow`]).
    Configure(Arc<ShardSettings>),
}

impl Envelope {
    /// The bytes of the publication and the channels of the list that it holds, if any.
    pub fn weight(&self) -> Weight {
        let mut channels = 0;
        let publication = match self {
            Self::Deliver { push, .. } => push.publication(),
            Self::Command { command, .. } => {
                channels = command.listed_channels() as u64;
                match &**command {
                    Command::Publish { publication, .. }
                    | Command::Broadcast { publication, .. }
                    | Command::PublishAll { publication } => Some(publication),
                    _ => None,
                }
            }
            Self::Apply { command, .. } => {
                channels = command.listed_channels() as u64;
                None
            }
            _ => None,
        };
        let bytes = publication.map_or(0, |publication| publication.bytes() as u64);
        Weight { bytes, channels }
    }

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

/// A command that failed and whose answer nobody waits for.
#[derive(Debug)]
pub struct Failure {
    /// Why.
    pub error: CommandError,
    /// The channel that it was about, or one of them, if it was about channels.
    pub channel: Option<ChannelName>,
}

/// From a shard to an asker.
#[derive(Debug)]
pub enum Outbound {
    /// A part of an answer.
    Answer(Answer),
    /// Commands failed whose answer nobody waits for: the first, and how many with the same code
    /// (to the ingest thread only).
    Failed(Failure, u64),
    /// Something that backends hear of (to the ingest thread only).
    Event(Box<Event>),
}

impl Outbound {
    /// The bytes of the client's message that it holds, if any.
    pub fn weight(&self) -> Weight {
        match self {
            Self::Event(event) => Weight::of_bytes(event.bytes()),
            Self::Answer(_) | Self::Failed(..) => Weight::default(),
        }
    }
}

impl Command {
    /// How many channels the list has that it holds, if it holds one.
    pub fn listed_channels(&self) -> usize {
        match self {
            Self::Broadcast { channels, .. }
            | Self::Subscribe { channels, .. }
            | Self::Unsubscribe { channels, .. } => channels.len(),
            _ => 0,
        }
    }

    /// The shard that begins a command with one target or channel; `None` when several do.
    pub fn first_shard(&self, homes: &crate::mesh::Homes) -> Option<ShardId> {
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
