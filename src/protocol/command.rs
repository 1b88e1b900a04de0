//! What a backend asks of the edge, and what it is told.

use std::sync::Arc;

use crate::protocol::{ChannelName, ClientId, Publication};

/// One operation, decoded and checked.
#[derive(Debug)]
pub enum Command {
    /// To every subscriber of one channel (`op` `pub`, and `user` through its personal channel).
    Publish {
        /// The channel.
        channel: ChannelName,
        /// The message.
        publication: Arc<Publication>,
    },
    /// To every subscriber of each channel of a list (`op` `broadcast`).
    Broadcast {
        /// The channels, without duplicates.
        channels: Vec<ChannelName>,
        /// The message.
        publication: Arc<Publication>,
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
        /// The close code, checked to be one that an endpoint may send.
        code: u16,
        /// The close reason, at most 123 bytes and never valid JSON.
        reason: Box<str>,
    },
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
/// envelope is answered by its first receiver with `is_first` set; `awaiting` says how many
/// shards it passed the work on to, each of which answers once more. The asker is done when
/// every envelope and everything awaited has answered; parts may arrive in any order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The asker's number from the ticket.
    pub number: u32,
    /// True in the answer of an envelope's first receiver.
    pub is_first: bool,
    /// How many further answers will come on behalf of this one.
    pub awaiting: u32,
    /// How many sessions this shard handed the message to, or acted upon.
    pub sessions: u32,
    /// What went wrong here, if anything did.
    pub error: Option<CommandError>,
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
    /// The edge is shutting down and takes no more commands.
    #[error("the edge is draining")]
    Draining,
}
