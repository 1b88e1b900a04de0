//! `meta`, the optional third part of a message: what to do, for whom, and who asks.
//!
//! Nothing is ignored silently: a key that is unknown, belongs to a later version, stands twice or
//! is of no use to the operation is an error, because a publisher that relies on it would believe
//! in something that does not happen. The first error wins, but reading goes on, so that the
//! answer carries the request's identity wherever that stands.

use std::borrow::Cow;

use crate::model::ClientId;
use crate::model::excerpt;
use crate::protocol::DecodeError;
use crate::protocol::argument::{self, CLIENT_FORM, Tags, UNIX_SECOND_FORM, is_label, unix_second};
use crate::protocol::refusal::LABEL_BYTES_MAX;
use crate::protocol::value::{Value, read_map};

/// A request's identity, chosen by the asker and returned in the answer.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(untagged)]
pub enum RequestId {
    /// Text of at most [`LABEL_BYTES_MAX`] bytes.
    Text(Box<str>),
    /// An integer.
    Number(u64),
}

/// The operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Op {
    #[default]
    Pub,
    Broadcast,
    User,
    All,
    Subscribe,
    Unsubscribe,
    Disconnect,
    Refresh,
    HistoryRemove,
}

/// What `ct` says of the payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ContentType {
    /// Text if it is UTF-8, else binary.
    #[default]
    Auto,
    Text,
    Json,
    Binary,
}

/// All keys that were there, with values of the right type.
#[derive(Debug, Default)]
pub(super) struct Meta<'a> {
    pub(super) op: Op,
    pub(super) channel: Option<Cow<'a, str>>,
    pub(super) channels: Option<Vec<Cow<'a, str>>>,
    pub(super) user: Option<Cow<'a, str>>,
    pub(super) client: Option<ClientId>,
    pub(super) device: Option<Cow<'a, str>>,
    pub(super) except: Vec<ClientId>,
    pub(super) content_type: ContentType,
    pub(super) id: Option<Cow<'a, str>>,
    pub(super) tags: Tags,
    pub(super) skip_history: bool,
    pub(super) version: Option<u64>,
    pub(super) version_epoch: Option<Cow<'a, str>>,
    pub(super) info: Option<Box<str>>,
    pub(super) data: Option<Box<str>>,
    pub(super) offset: Option<u64>,
    pub(super) epoch: Option<Cow<'a, str>>,
    pub(super) expires_at: Option<u64>,
    pub(super) expired: bool,
    pub(super) revoke: bool,
    pub(super) code: Option<u64>,
    pub(super) reason: Option<Cow<'a, str>>,
    pub(super) rid: Option<RequestId>,
    src: Option<Cow<'a, str>>,
    seq: Option<u64>,
    /// One bit for each [`Key`] that was there.
    present: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Op,
    Channel,
    Channels,
    User,
    Client,
    Device,
    Except,
    Ct,
    Id,
    Tags,
    SkipHistory,
    Version,
    VersionEpoch,
    Info,
    Data,
    Offset,
    Epoch,
    ExpiresAt,
    Expired,
    Revoke,
    Code,
    Reason,
    Src,
    Seq,
    Rid,
    Ts,
}

const KEYS: [(&str, Key); 26] = [
    ("op", Key::Op),
    ("channel", Key::Channel),
    ("channels", Key::Channels),
    ("user", Key::User),
    ("client", Key::Client),
    ("device", Key::Device),
    ("except", Key::Except),
    ("ct", Key::Ct),
    ("id", Key::Id),
    ("tags", Key::Tags),
    ("skip_history", Key::SkipHistory),
    ("version", Key::Version),
    ("version_epoch", Key::VersionEpoch),
    ("info", Key::Info),
    ("data", Key::Data),
    ("offset", Key::Offset),
    ("epoch", Key::Epoch),
    ("expires_at", Key::ExpiresAt),
    ("expired", Key::Expired),
    ("revoke", Key::Revoke),
    ("code", Key::Code),
    ("reason", Key::Reason),
    ("src", Key::Src),
    ("seq", Key::Seq),
    ("rid", Key::Rid),
    // The publisher's own time: for people who read messages, the edge has no use for it.
    ("ts", Key::Ts),
];

/// Keys that later versions will understand.
const LATER_KEYS: [&str; 3] = ["qos", "ttl", "key"];

/// Keys that every operation takes.
const COMMON: u32 = bits(&[Key::Op, Key::Src, Key::Seq, Key::Rid, Key::Ts]);

/// Keys that say which connections an operation is about.
const CONNECTIONS: u32 = bits(&[Key::User, Key::Client, Key::Device]);

/// Keys of a publication with channels.
const PUBLICATION: u32 = bits(&[Key::Except, Key::Ct, Key::Id, Key::Tags])
    | bits(&[Key::SkipHistory, Key::Version, Key::VersionEpoch]);

impl Op {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pub => "pub",
            Self::Broadcast => "broadcast",
            Self::User => "user",
            Self::All => "all",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Disconnect => "disconnect",
            Self::Refresh => "refresh",
            Self::HistoryRemove => "history_remove",
        }
    }

    fn parse(text: &str) -> Result<Self, DecodeError> {
        Ok(match text {
            "pub" => Self::Pub,
            "broadcast" => Self::Broadcast,
            "user" => Self::User,
            "all" => Self::All,
            "subscribe" => Self::Subscribe,
            "unsubscribe" => Self::Unsubscribe,
            "disconnect" => Self::Disconnect,
            "refresh" => Self::Refresh,
            "history_remove" => Self::HistoryRemove,
            _ => return Err(DecodeError::UnknownOp(excerpt(text))),
        })
    }

    /// The keys it has a use for.
    fn keys(self) -> u32 {
        COMMON
            | match self {
                Self::Pub => PUBLICATION,
                Self::All => bits(&[Key::Except, Key::Ct]),
                Self::Broadcast => PUBLICATION | bits(&[Key::Channels]),
                Self::User => PUBLICATION | bits(&[Key::User, Key::Device]),
                Self::Subscribe => {
                    CONNECTIONS
                        | bits(&[Key::Channels, Key::Info, Key::Data])
                        | bits(&[Key::ExpiresAt, Key::Offset, Key::Epoch])
                }
                Self::Unsubscribe => CONNECTIONS | bits(&[Key::Channels]),
                Self::Disconnect => {
                    CONNECTIONS | bits(&[Key::Except, Key::Code, Key::Reason, Key::Revoke])
                }
                Self::Refresh => CONNECTIONS | bits(&[Key::ExpiresAt, Key::Expired, Key::Info]),
                Self::HistoryRemove => bits(&[Key::Channel]),
            }
    }
}

impl<'a> Meta<'a> {
    /// Reads a meta part. What could be read is there even if something is wrong.
    pub(super) fn read(bytes: &'a [u8]) -> (Self, Result<(), DecodeError>) {
        let mut meta = Self::default();
        let mut fault = None;
        let read = read_map(bytes, &mut |key, value| {
            if let Err(error) = meta.take(&key, value) {
                fault.get_or_insert(error);
            }
        });
        let checked = match fault {
            Some(error) => Err(error),
            None => read.and_then(|()| meta.check()),
        };
        (meta, checked)
    }

    /// The publisher and its counter.
    pub(super) fn source(&self) -> Option<(Box<str>, u64)> {
        Some((self.src.as_deref()?.into(), self.seq?))
    }

    fn take(&mut self, name: &str, value: Value<'a>) -> Result<(), DecodeError> {
        let Some(&(name, key)) = KEYS.iter().find(|(known, _)| *known == name) else {
            return Err(match LATER_KEYS.iter().find(|later| **later == name) {
                Some(later) => DecodeError::Unsupported(later),
                None => DecodeError::UnknownKey(excerpt(name)),
            });
        };
        if self.present & bits(&[key]) != 0 {
            return Err(DecodeError::DuplicateKey(name));
        }
        self.present |= bits(&[key]);
        match key {
            Key::Op => self.op = Op::parse(&text(name, value)?)?,
            Key::Channel => self.channel = Some(text(name, value)?),
            Key::Channels => match value {
                Value::List(names) => self.channels = Some(names),
                _ => return bad(name, "a list of channel names"),
            },
            Key::User => self.user = Some(text(name, value)?),
            Key::Client => self.client = Some(client(name, value)?),
            Key::Except => self.except = except(name, value)?,
            Key::Device => self.device = Some(label(name, value)?),
            Key::Ct => self.content_type = content_type(name, value)?,
            Key::Id => self.id = Some(label(name, value)?),
            Key::Tags => self.tags = tags(name, value)?,
            Key::SkipHistory => self.skip_history = boolean(name, value)?,
            Key::Version => match value {
                Value::Unsigned(version @ 1..) => self.version = Some(version),
                _ => return bad(name, "an integer above 0"),
            },
            Key::VersionEpoch => self.version_epoch = Some(label(name, value)?),
            Key::Info => self.info = Some(json(name, value)?),
            Key::Data => self.data = Some(json(name, value)?),
            Key::Offset => self.offset = Some(number(name, value)?),
            Key::Epoch => self.epoch = Some(label(name, value)?),
            Key::ExpiresAt => match value {
                Value::Unsigned(second) => self.expires_at = Some(unix_second(name, second)?),
                _ => return bad(name, UNIX_SECOND_FORM),
            },
            Key::Expired => self.expired = boolean(name, value)?,
            Key::Revoke => self.revoke = boolean(name, value)?,
            Key::Code => self.code = Some(number(name, value)?),
            Key::Reason => self.reason = Some(text(name, value)?),
            Key::Src => self.src = Some(label(name, value)?),
            Key::Seq => self.seq = Some(number(name, value)?),
            Key::Rid => self.rid = Some(request(name, value)?),
            Key::Ts => match value {
                Value::Unsigned(_) | Value::Negative(_) | Value::Float(_) => {}
                _ => return bad(name, "a number"),
            },
        }
        Ok(())
    }

    fn check(&self) -> Result<(), DecodeError> {
        let unused = self.present & !self.op.keys();
        if let Some((key, _)) = KEYS.iter().find(|(_, key)| unused & bits(&[*key]) != 0) {
            return Err(DecodeError::UnusedKey { op: self.op.name(), key });
        }
        if self.src.is_some() != self.seq.is_some() {
            return Err(DecodeError::HalfSource);
        }
        Ok(())
    }
}

const fn bits(keys: &[Key]) -> u32 {
    let mut bits = 0;
    let mut index = 0;
    while index < keys.len() {
        bits |= 1 << keys[index] as u16;
        index += 1;
    }
    bits
}

fn bad<T>(key: &'static str, expected: &'static str) -> Result<T, DecodeError> {
    Err(DecodeError::BadValue { key, expected })
}

fn text<'a>(key: &'static str, value: Value<'a>) -> Result<Cow<'a, str>, DecodeError> {
    match value {
        Value::Text(text) => Ok(text),
        _ => bad(key, "text"),
    }
}

fn label<'a>(key: &'static str, value: Value<'a>) -> Result<Cow<'a, str>, DecodeError> {
    match value {
        Value::Text(text) if is_label(&text) => Ok(text),
        _ => bad(key, "text of 1 to 255 bytes"),
    }
}

fn boolean(key: &'static str, value: Value<'_>) -> Result<bool, DecodeError> {
    match value {
        Value::Boolean(boolean) => Ok(boolean),
        _ => bad(key, "true or false"),
    }
}

fn number(key: &'static str, value: Value<'_>) -> Result<u64, DecodeError> {
    match value {
        Value::Unsigned(number) => Ok(number),
        _ => bad(key, "an integer that is not negative"),
    }
}

fn client(key: &'static str, value: Value<'_>) -> Result<ClientId, DecodeError> {
    match value {
        Value::Text(text) => text.parse().or_else(|_| bad(key, CLIENT_FORM)),
        _ => bad(key, CLIENT_FORM),
    }
}

/// One client may stand for itself.
fn except(key: &'static str, value: Value<'_>) -> Result<Vec<ClientId>, DecodeError> {
    match value {
        Value::List(names) => argument::clients(key, &names),
        value => client(key, value).map(|client| vec![client]),
    }
}

/// JSON within JSON or MessagePack: as text.
fn json(key: &'static str, value: Value<'_>) -> Result<Box<str>, DecodeError> {
    match value {
        Value::Text(text) => argument::json(key, text.as_bytes()),
        _ => bad(key, "JSON as text"),
    }
}

fn content_type(key: &'static str, value: Value<'_>) -> Result<ContentType, DecodeError> {
    match value {
        Value::Text(text) => match text.as_ref() {
            "auto" => Ok(ContentType::Auto),
            "text" => Ok(ContentType::Text),
            "json" => Ok(ContentType::Json),
            "binary" => Ok(ContentType::Binary),
            _ => bad(key, "`auto`, `text`, `json` or `binary`"),
        },
        _ => bad(key, "`auto`, `text`, `json` or `binary`"),
    }
}

fn tags(key: &'static str, value: Value<'_>) -> Result<Tags, DecodeError> {
    match value {
        Value::Map(entries) => argument::tags(entries),
        _ => bad(key, argument::TAGS_FORM),
    }
}

fn request(key: &'static str, value: Value<'_>) -> Result<RequestId, DecodeError> {
    match value {
        Value::Unsigned(number) => Ok(RequestId::Number(number)),
        Value::Text(text) if text.len() <= LABEL_BYTES_MAX => Ok(RequestId::Text(text.into())),
        _ => bad(key, "text of at most 255 bytes or an integer that is not negative"),
    }
}
