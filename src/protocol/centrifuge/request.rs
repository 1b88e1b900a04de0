//! What clients ask.

use bytes::Bytes;

use crate::limits::COMMANDS_PER_FRAME_MAX;
use crate::model::{PositionClaim, Variant};
use crate::protocol::centrifuge::schema::Command;

/// One command of a client.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The number that its reply repeats; 0 for what has no reply.
    pub id: u32,
    /// What is asked.
    pub method: Method,
}

/// What is asked. Texts are as the client sent them, unchecked; data is JSON text from a JSON
/// client (empty if it was left out) and any bytes from a protobuf one.
#[derive(Clone, Debug, PartialEq)]
pub enum Method {
    /// Who the client is, and where its server-side subscriptions stood.
    Connect(Box<ConnectRequest>),
    /// To hear a channel.
    Subscribe(Box<SubscribeRequest>),
    /// To hear a channel no more.
    Unsubscribe {
        /// The channel.
        channel: String,
    },
    /// To tell a channel something.
    Publish {
        /// The channel.
        channel: String,
        /// The message.
        data: Bytes,
        /// A field that asks for what there is not.
        unsupported: Option<&'static str>,
    },
    /// Who is in a channel.
    Presence {
        /// The channel.
        channel: String,
    },
    /// How many are in a channel.
    PresenceStats {
        /// The channel.
        channel: String,
    },
    /// What was said in a channel.
    History(Box<HistoryRequest>),
    /// To call the application.
    Rpc {
        /// The procedure.
        method: String,
        /// Its argument.
        data: Bytes,
    },
    /// To tell the application something; has no reply.
    Send {
        /// The message.
        data: Bytes,
    },
    /// A new connection token.
    Refresh {
        /// The token.
        token: String,
    },
    /// A new subscription token.
    SubRefresh {
        /// The channel.
        channel: String,
        /// The token.
        token: String,
        /// A field that asks for what there is not.
        unsupported: Option<&'static str>,
    },
    /// The old form of a ping from the client.
    Ping,
    /// The answer to our ping.
    Pong,
}

/// The first command of every client.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnectRequest {
    /// The connection token; empty if there is none.
    pub token: String,
    /// Whatever the application sends along.
    pub data: Bytes,
    /// Where the client's server-side subscriptions stood, sorted by channel, each once.
    pub subs: Vec<(String, PositionClaim)>,
    /// What kind of client it is.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Emulated headers, sorted, names as the client wrote them.
    pub headers: Vec<(String, String)>,
}

/// To hear a channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SubscribeRequest {
    /// The channel.
    pub channel: String,
    /// The subscription token; empty if there is none.
    pub token: String,
    /// Where it stood.
    pub position: PositionClaim,
    /// Whatever the application sends along.
    pub data: Bytes,
    /// Whether it wants to know its position.
    pub positioned: bool,
    /// Whether it wants to recover after a disconnect.
    pub recoverable: bool,
    /// Whether it wants joins and leaves.
    pub join_leave: bool,
    /// Bit 0: compaction of channel names is understood; bit 1: what cannot be recovered is an
    /// error.
    pub flag: i64,
    /// A field that asks for what there is not: another `type` than a stream, a filter.
    pub unsupported: Option<&'static str>,
}

/// What was said in a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryRequest {
    /// The channel.
    pub channel: String,
    /// Most publications: 0 means none but the position, below 0 means all.
    pub limit: i32,
    /// After which one: epoch and offset.
    pub since: Option<(String, u64)>,
    /// Whether the newest comes first.
    pub reverse: bool,
}

/// What is wrong with a frame of commands. The connection is closed with code 3501.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The frame has no bytes.
    #[error("an empty frame")]
    Empty,
    /// The frame is not JSON objects or not protobuf messages, or has more than
    /// [`COMMANDS_PER_FRAME_MAX`] of them.
    #[error("malformed command")]
    Malformed,
    /// A command has more than one method, or has none and is no pong.
    #[error("a command has one method")]
    NotOneMethod,
    /// A command that has a reply has no id. (A `send` may have one, which gets no reply.)
    #[error("a command needs an id")]
    BadId,
    /// The frame is text where binary was agreed upon, or the other way round.
    #[error("the wrong kind of frame")]
    WrongKind,
}

/// The commands of a frame, one after another; ends after the first error.
#[derive(Debug)]
pub struct Requests<'a> {
    variant: Variant,
    rest: &'a [u8],
    /// How many were asked for.
    count: usize,
}

/// Reads the commands of one frame. The variant is a managed one.
///
/// In JSON they are objects, each on a line of its own, where the last line feed may be left out;
/// in protobuf each stands behind its length. One that is empty answers our ping. Each is read
/// when its turn comes, in time proportional to its length; after
/// [`COMMANDS_PER_FRAME_MAX`] the frame counts as malformed.
pub fn decode_requests(variant: Variant, frame: &[u8]) -> Requests<'_> {
    resume_requests(variant, frame, 0)
}

/// Goes on with the [`Requests::rest`] of a frame of which so many commands were read.
pub fn resume_requests(variant: Variant, rest: &[u8], count: usize) -> Requests<'_> {
    Requests { variant, rest, count }
}

impl Iterator for Requests<'_> {
    type Item = Result<Request, RequestError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() && self.count > 0 {
            return None;
        }
        self.count += 1;
        let request = self.read();
        if request.is_err() {
            self.rest = &[];
        }
        Some(request)
    }
}

impl<'a> Requests<'a> {
    /// What was not read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// How many commands were read.
    pub fn taken(&self) -> usize {
        self.count
    }

    fn read(&mut self) -> Result<Request, RequestError> {
        if self.rest.is_empty() {
            return Err(RequestError::Empty);
        }
        if self.count > COMMANDS_PER_FRAME_MAX {
            return Err(RequestError::Malformed);
        }
        let command = if self.variant == Variant::Protobuf {
            Command::from_protobuf(self.cut_message()?)?
        } else {
            Command::from_json(self.cut_line())?
        };
        command.into_request()
    }

    /// Takes a line off the rest, without its line feed.
    fn cut_line(&mut self) -> &'a [u8] {
        let mut lines = self.rest.splitn(2, |byte| *byte == b'\n');
        let line = lines.next().unwrap_or_default();
        self.rest = lines.next().unwrap_or_default();
        line
    }

    /// Takes a message off the rest, without its length.
    fn cut_message(&mut self) -> Result<&'a [u8], RequestError> {
        let mut rest = self.rest;
        let length =
            prost::decode_length_delimiter(&mut rest).map_err(|_| RequestError::Malformed)?;
        let (message, rest) = rest.split_at_checked(length).ok_or(RequestError::Malformed)?;
        self.rest = rest;
        Ok(message)
    }
}
