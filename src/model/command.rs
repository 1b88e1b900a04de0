//! What a backend asks of the edge, and what it is told.

use std::sync::Arc;

use crate::model::{
    ChannelName, ClientId, ClientInfo, Epoch, EpochClaim, Pattern, Position, Publication, Push,
    SubscribeOptions,
};

/// One operation, decoded and checked.
#[derive(Debug)]
pub enum Command {
    /// To every subscriber of one channel (`op` `pub`, and `user` through its personal channel).
    Publish {
        /// The channel.
        channel: ChannelName,
        /// The message.
        publication: Arc<Publication>,
        /// The publisher's name for this message: a repeat of it is not delivered again.
        key: Option<Box<str>>,
    },
    /// To every subscriber of each channel of a list (`op` `broadcast`).
    Broadcast {
        /// The channels, without duplicates.
        channels: Vec<ChannelName>,
        /// The message.
        publication: Arc<Publication>,
        /// The publisher's name for this message in each of the channels.
        key: Option<Box<str>>,
    },
    /// To every open connection (`op` `all`).
    PublishAll {
        /// The message.
        publication: Arc<Publication>,
    },
    /// Adds channels to connections (`op` `subscribe`).
    Subscribe {
        /// Which connections.
        target: Target,
        /// The channels, without duplicates and without personal ones.
        channels: Vec<ChannelName>,
        /// How.
        options: SubscribeOptions,
    },
    /// Takes channels from connections (`op` `unsubscribe`).
    Unsubscribe {
        /// Which connections.
        target: Target,
        /// The channels, without duplicates and without personal ones.
        channels: Vec<ChannelName>,
    },
    /// Closes connections (`op` `disconnect`).
    Disconnect {
        /// Which connections.
        target: Target,
        /// Which of them stay.
        except: Vec<ClientId>,
        /// The close code, checked to be one that an endpoint may send.
        code: u16,
        /// The close reason, at most 123 bytes and never valid JSON.
        reason: Box<str>,
        /// Whether tokens of the user, or of its device, are refused that were made before now.
        revoke: bool,
    },
    /// Changes when connections expire (`op` `refresh`).
    Refresh {
        /// Which connections.
        target: Target,
        /// The Unix second at which they expire from now on: `None` means never, the past at once.
        expires_at: Option<u64>,
        /// What others see of them from now on, as JSON, if that is something else.
        info: Option<Box<str>>,
    },
    /// Reads publications that a channel remembers.
    History {
        /// The channel.
        channel: ChannelName,
        /// Which of them.
        filter: HistoryFilter,
    },
    /// Forgets the publications that a channel remembers (`op` `history_remove`).
    HistoryRemove {
        /// The channel.
        channel: ChannelName,
    },
    /// Lists who is subscribed to a channel.
    Presence {
        /// The channel.
        channel: ChannelName,
    },
    /// Counts who is subscribed to a channel.
    PresenceStats {
        /// The channel.
        channel: ChannelName,
    },
    /// Lists a user's sessions.
    UserStatus {
        /// The user's personal channel.
        personal: ChannelName,
    },
    /// Lists channels that have subscribers, at the shard that is asked.
    Channels {
        /// What their names are like.
        pattern: Option<Pattern>,
    },
}

impl Command {
    /// The channel that it is about, if that is one.
    pub fn channel(&self) -> Option<&ChannelName> {
        match self {
            Self::Publish { channel, .. }
            | Self::History { channel, .. }
            | Self::HistoryRemove { channel }
            | Self::Presence { channel }
            | Self::PresenceStats { channel } => Some(channel),
            Self::Subscribe { channels, .. } | Self::Unsubscribe { channels, .. } => {
                channels.first().filter(|_| channels.len() == 1)
            }
            _ => None,
        }
    }

    /// The connections that it is about, if it is about connections.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Self::Subscribe { target, .. }
            | Self::Unsubscribe { target, .. }
            | Self::Disconnect { target, .. }
            | Self::Refresh { target, .. } => Some(target),
            _ => None,
        }
    }
}

/// Which publications of a channel are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryFilter {
    /// Most publications; `None` means all that are remembered, up to the edge's own limit. With 0
    /// only the position is asked for.
    pub limit: Option<usize>,
    /// Only those after this offset, or before it in reverse. An epoch of another life is an error.
    pub since: Option<(EpochClaim, u64)>,
    /// Whether the newest comes first.
    pub reverse: bool,
}

/// The connections that a command is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every session of a user, or those of one of its devices.
    User {
        /// The user's personal channel, which names the user.
        personal: ChannelName,
        /// If set, only sessions of this device.
        device: Option<Box<str>>,
    },
    /// One connection.
    Client(ClientId),
}

/// Which request of which asker an answer belongs to; the asker chose the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The asker's place among the threads (see `mesh`).
    pub asker: u8,
    /// The asker's own number for the request.
    pub number: u32,
}

/// One part of the answer to a command that carried a [`Ticket`].
///
/// The asker sends a command as one or more envelopes (one for each home shard involved). Each
/// envelope is answered by its first receiver with `firsts` set; `awaiting` says how many
/// shards it passed the work on to, each of which answers once more. The asker is done when
/// every envelope and everything awaited has answered; parts may arrive in any order, and those
/// of one shard may arrive added up.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The asker's number from the ticket.
    pub number: u32,
    /// One in the answer of an envelope's first receiver, else none; more where answers of several
    /// envelopes are added up.
    pub firsts: u32,
    /// How many further answers will come on behalf of this one; negative where further answers
    /// are added up in this one.
    pub awaiting: i32,
    /// How many sessions this shard handed the message to, or acted upon.
    pub sessions: u32,
    /// What went wrong here, if anything did.
    pub error: Option<CommandError>,
    /// What was asked for, or where publications were put.
    pub outcome: Option<Box<Outcome>>,
}

impl Answer {
    /// Adds another part of the same answer to this one, so that both travel as one.
    pub fn add(&mut self, other: Self) {
        let still_awaited = self.further() + other.further();
        self.firsts += other.firsts;
        self.awaiting = still_awaited + i32::from(self.firsts == 0);
        self.sessions = self.sessions.saturating_add(other.sessions);
        self.error = self.error.or(other.error);
        match (&mut self.outcome, other.outcome) {
            (Some(outcome), Some(part)) => outcome.merge(*part),
            (outcome @ None, part) => *outcome = part,
            (Some(_), None) => {}
        }
    }

    /// What it adds to the number of further answers that are awaited.
    pub fn further(&self) -> i32 {
        self.awaiting - i32::from(self.firsts == 0)
    }
}

/// What commands return beside numbers.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The position of the publication in each channel that has history; the others have none.
    Published(Vec<(ChannelName, Option<Position>)>),
    /// Publications that the channel remembers, and where its stream stands.
    History(Vec<Arc<Push>>, Position),
    /// Who is subscribed.
    Presence(Vec<Arc<ClientInfo>>),
    /// How many clients and how many different users are subscribed.
    PresenceStats(u32, u32),
    /// The user's sessions: connection and device.
    UserStatus(Vec<(ClientId, Option<Box<str>>)>),
    /// Channels with how many subscribers they have.
    Channels(Vec<(ChannelName, u32)>),
}

/// Why a well-formed command could not be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The client identity names no open connection.
    #[error("no such client is connected")]
    UnknownClient,
    /// The connection has as many channels as it may have.
    #[error("the connection is at its channel limit")]
    ChannelLimit,
    /// The channel has as many subscribers as its namespace allows.
    #[error("the channel has as many subscribers as it may have")]
    SubscriberLimit,
    /// The channel's namespace is not configured.
    #[error("the channel's namespace is not configured: add its table, [namespaces.NAME]")]
    UnknownNamespace,
    /// The channel has no history.
    #[error("the channel has no history: set history_size where its rules are")]
    NoHistory,
    /// It is not known who is subscribed to the channel.
    #[error("the channel has no presence: set presence = true where its rules are")]
    NoPresence,
    /// The position belongs to an earlier life of the stream, or to none.
    #[error("the position is not one of this stream; its epoch is now {0}")]
    UnrecoverablePosition(Epoch),
    /// The answer would be longer than the edge's limit.
    #[error("the answer would be too long; ask for less")]
    TooLarge,
    /// The edge is shutting down and takes no more commands.
    #[error("the edge is draining")]
    Draining,
}
