//! Why a message from a backend is not a command.
//!
//! One variant per cause; the text says what to do, and the code is what programs compare. Codes
//! are part of the interface and never change. Text from the message itself is shortened, so that
//! a hostile peer cannot fill answers and logs.

use crate::limits::CHANNELS_PER_COMMAND_MAX;
use crate::model::{CommandError, NameError};
use crate::protocol::RequestId;

/// Longest `meta` part in bytes.
pub const META_BYTES_MAX: usize = 64 * 1024;

/// Longest close reason in bytes (RFC 6455 section 5.5: 125 bytes less the close code).
pub const REASON_BYTES_MAX: usize = 123;

/// Longest `device`, `id`, `src`, textual `rid`, and name or value of a tag in bytes.
pub const LABEL_BYTES_MAX: usize = 255;

/// A message that is no command, with what is needed to answer and to count it all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The first thing that is wrong.
    pub error: DecodeError,
    /// The request's identity, if it could be read.
    pub rid: Option<RequestId>,
    /// The publisher and its counter, if they could be read.
    pub source: Option<(Box<str>, u64)>,
}

/// What is wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The message has no parts.
    #[error("the message has no parts; send topic and payload")]
    MissingTopic,
    /// The message has only one part.
    #[error("the message has no payload part; send one, empty if need be")]
    MissingPayload,
    /// The topic is neither a channel name nor `$cmd`.
    #[error("the topic is no channel: {0}")]
    BadTopic(NameError),
    /// The operation has no channel of its own, and the topic names one.
    #[error("op `{0}` needs the topic `$cmd`")]
    NeedsCommandTopic(&'static str),
    /// The operation is `pub`, perhaps because no `op` was sent, and the topic is `$cmd`.
    #[error("op `pub` needs a channel as its topic; for other operations set `op` in meta")]
    NeedsChannelTopic,
    /// The operation has no payload, and the part is not empty.
    #[error("op `{0}` takes no payload; leave the part empty")]
    UnusedPayload(&'static str),
    /// The meta part is longer than [`META_BYTES_MAX`].
    #[error("meta has at most {META_BYTES_MAX} bytes")]
    MetaTooLong,
    /// The first byte of meta begins neither a JSON object nor a MessagePack map.
    #[error("meta must be a JSON object or a MessagePack map")]
    MetaEncoding,
    /// Meta begins well, and then is not what it began as.
    #[error("meta is not valid {0}, or nests too deeply")]
    MetaSyntax(&'static str),
    /// Meta has a key that does not exist.
    #[error("meta has the unknown key `{0}`; remove it")]
    UnknownKey(Box<str>),
    /// Meta has a key twice.
    #[error("meta has the key `{0}` twice")]
    DuplicateKey(&'static str),
    /// The key or operation is reserved for a later version.
    #[error("this version does not support {0}")]
    Unsupported(&'static str),
    /// The operation does not exist.
    #[error("there is no op `{0}`")]
    UnknownOp(Box<str>),
    /// The value of a key has the wrong type or form.
    #[error("`{key}` must be {expected}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// What its value must be.
        expected: &'static str,
    },
    /// The operation needs a key that is not there.
    #[error("op `{op}` needs `{key}`")]
    MissingKey {
        /// The operation.
        op: &'static str,
        /// The key, or the keys of which it needs one.
        key: &'static str,
    },
    /// The operation has no use for a key that is there.
    #[error("op `{op}` has no use for `{key}`; remove it")]
    UnusedKey {
        /// The operation.
        op: &'static str,
        /// The key.
        key: &'static str,
    },
    /// Two keys exclude each other.
    #[error("`{0}` and `{1}` exclude each other")]
    ConflictingKeys(&'static str, &'static str),
    /// Only one of `src` and `seq` is there.
    #[error("`src` and `seq` need each other")]
    HalfSource,
    /// `channel`, or a name in `channels`, is no channel name.
    #[error("`channel` or `channels` has a name that is no channel: {0}")]
    BadChannel(NameError),
    /// `channels` is empty.
    #[error("`channels` must name at least one channel")]
    NoChannels,
    /// `channels` has more than [`CHANNELS_PER_COMMAND_MAX`] names.
    #[error("`channels` has at most {CHANNELS_PER_COMMAND_MAX} names; send several commands")]
    TooManyChannels,
    /// `subscribe` and `unsubscribe` do not touch personal channels.
    #[error("personal channels (`#…`) come and go with their user's sessions")]
    PersonalChannel,
    /// `user` does not fit a personal channel.
    #[error("`user` is no user identity: {0}")]
    BadUser(NameError),
    /// `ct` says text or JSON, and the payload is not UTF-8.
    #[error("the payload is not UTF-8; send `ct` `binary` or `auto`")]
    PayloadNotUtf8,
    /// `ct` says JSON, and the payload is not.
    #[error("the payload is not JSON; send `ct` `text` or `auto`")]
    PayloadNotJson,
    /// An endpoint must not send this close code (RFC 6455 section 7.4).
    #[error("close code {0} must not be sent; use 1000, 1001, 1003, 1008, 1011-1013 or 3000-4999")]
    BadCode(u64),
    /// The close reason does not fit a close frame.
    #[error("`reason` has at most {REASON_BYTES_MAX} bytes")]
    ReasonTooLong,
    /// Client SDKs parse close reasons that are JSON.
    #[error("`reason` must not be valid JSON; use plain words")]
    ReasonIsJson,
}

impl DecodeError {
    /// The cause in one stable word, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::MissingTopic => "missing_topic",
            Self::MissingPayload => "missing_payload",
            Self::BadTopic(_) => "bad_topic",
            Self::NeedsCommandTopic(_) => "needs_command_topic",
            Self::NeedsChannelTopic => "needs_channel_topic",
            Self::UnusedPayload(_) => "unused_payload",
            Self::MetaTooLong => "meta_too_long",
            Self::MetaEncoding => "meta_encoding",
            Self::MetaSyntax(_) => "meta_syntax",
            Self::UnknownKey(_) => "unknown_key",
            Self::DuplicateKey(_) => "duplicate_key",
            Self::Unsupported(_) => "unsupported",
            Self::UnknownOp(_) => "unknown_op",
            Self::BadValue { .. } => "bad_value",
            Self::MissingKey { .. } => "missing_key",
            Self::UnusedKey { .. } => "unused_key",
            Self::ConflictingKeys(..) => "conflicting_keys",
            Self::HalfSource => "half_source",
            Self::BadChannel(_) => "bad_channel",
            Self::NoChannels => "no_channels",
            Self::TooManyChannels => "too_many_channels",
            Self::PersonalChannel => "personal_channel",
            Self::BadUser(_) => "bad_user",
            Self::PayloadNotUtf8 => "payload_not_utf8",
            Self::PayloadNotJson => "payload_not_json",
            Self::BadCode(_) => "bad_code",
            Self::ReasonTooLong => "reason_too_long",
            Self::ReasonIsJson => "reason_is_json",
        }
    }
}

impl CommandError {
    /// The cause in one stable word, for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::UnknownClient => "unknown_client",
            Self::ChannelLimit => "channel_limit",
            Self::SubscriberLimit => "subscriber_limit",
            Self::UnknownNamespace => "unknown_namespace",
            Self::NoHistory | Self::NoPresence => "not_available",
            Self::UnrecoverablePosition(_) => "unrecoverable_position",
            Self::TooLarge => "too_large",
            Self::Draining => "draining",
        }
    }
}
