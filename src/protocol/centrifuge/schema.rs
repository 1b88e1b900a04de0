//! The commands of the client protocol as they stand in frames: each field with its name in JSON
//! and its number in protobuf.
//!
//! One description serves both forms, so that they cannot drift apart. What the edge supports is
//! here, and what it has to refuse because clients would take it for given: a filter, for one.
//! Other fields are skipped, because SDKs send new ones before servers know them; among them are
//! those that are agreed upon, where the reply says what is given (`delta`, `dict`, `profile`). In
//! JSON `null` is the same as leaving a field out, but data is kept as the text it came as, and a
//! field that is named twice is an error. Maps end up sorted by key, and a key that comes twice
//! counts once, with its last value. Memory is bounded by the frame: an entry of a map costs some
//! hundred bytes at most, and nothing is reserved on a peer's word.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use prost::Message;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::limits::CONNECT_BYTES_MAX;
use crate::model::PositionClaim;
use crate::protocol::centrifuge::request::{
    ConnectRequest, HistoryRequest, Method, Request, RequestError, SubscribeRequest,
};

/// One command: a number, and one of the methods.
#[derive(Clone, PartialEq, Message, serde::Deserialize)]
#[serde(default)]
pub(super) struct Command {
    #[prost(uint32, tag = "1")]
    #[serde(deserialize_with = "or_default")]
    id: u32,
    #[prost(message, optional, tag = "4")]
    #[serde(deserialize_with = "object")]
    connect: Option<Connect>,
    #[prost(message, optional, tag = "5")]
    #[serde(deserialize_with = "object")]
    subscribe: Option<Subscribe>,
    #[prost(message, optional, tag = "6")]
    #[serde(deserialize_with = "object")]
    unsubscribe: Option<Channel>,
    #[prost(message, optional, tag = "7")]
    #[serde(deserialize_with = "object")]
    publish: Option<Publish>,
    #[prost(message, optional, tag = "8")]
    #[serde(deserialize_with = "object")]
    presence: Option<Channel>,
    #[prost(message, optional, tag = "9")]
    #[serde(deserialize_with = "object")]
    presence_stats: Option<Channel>,
    #[prost(message, optional, tag = "10")]
    #[serde(deserialize_with = "object")]
    history: Option<History>,
    #[prost(message, optional, tag = "11")]
    #[serde(deserialize_with = "object")]
    ping: Option<Ping>,
    #[prost(message, optional, tag = "12")]
    #[serde(deserialize_with = "object")]
    send: Option<Sent>,
    #[prost(message, optional, tag = "13")]
    #[serde(deserialize_with = "object")]
    rpc: Option<Rpc>,
    #[prost(message, optional, tag = "14")]
    #[serde(deserialize_with = "object")]
    refresh: Option<Refresh>,
    #[prost(message, optional, tag = "15")]
    #[serde(deserialize_with = "object")]
    sub_refresh: Option<SubRefresh>,
}

#[derive(Clone, PartialEq, Message, serde::Deserialize)]
#[serde(default)]
struct Connect {
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "or_default")]
    token: String,
    #[prost(bytes = "bytes", tag = "2")]
    #[serde(deserialize_with = "raw_json")]
    data: Bytes,
    #[prost(btree_map = "string, message", tag = "3")]
    #[serde(deserialize_with = "claims")]
    subs: BTreeMap<String, Claim>,
    #[prost(string, tag = "4")]
    #[serde(deserialize_with = "or_default")]
    name: String,
    #[prost(string, tag = "5")]
    #[serde(deserialize_with = "or_default")]
    version: String,
    #[prost(btree_map = "string, string", tag = "6")]
    #[serde(deserialize_with = "or_default")]
    headers: BTreeMap<String, String>,
}

/// What of a subscribe command matters within a connect command.
#[derive(Clone, PartialEq, Message, serde::Deserialize)]
#[serde(default)]
struct Claim {
    #[prost(bool, tag = "3")]
    #[serde(deserialize_with = "or_default")]
    recover: bool,
    #[prost(string, tag = "6")]
    #[serde(deserialize_with = "or_default")]
    epoch: String,
    #[prost(uint64, tag = "7")]
    #[serde(deserialize_with = "or_default")]
    offset: u64,
}

#[derive(Clone, PartialEq, Message, serde::Deserialize)]
#[serde(default)]
struct Subscribe {
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "or_default")]
    channel: String,
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "or_default")]
    token: String,
    #[prost(bool, tag = "3")]
    #[serde(deserialize_with = "or_default")]
    recover: bool,
    #[prost(string, tag = "6")]
    #[serde(deserialize_with = "or_default")]
    epoch: String,
    #[prost(uint64, tag = "7")]
    #[serde(deserialize_with = "or_default")]
    offset: u64,
    #[prost(bytes = "bytes", tag = "8")]
    #[serde(deserialize_with = "raw_json")]
    data: Bytes,
    #[prost(bool, tag = "9")]
    #[serde(deserialize_with = "or_default")]
    positioned: bool,
    #[prost(bool, tag = "10")]
    #[serde(deserialize_with = "or_default")]
    recoverable: bool,
    #[prost(bool, tag = "11")]
    #[serde(deserialize_with = "or_default")]
    join_leave: bool,
    #[prost(message, optional, tag = "13")]
    #[serde(deserialize_with = "object")]
    tf: Option<Anything>,
    #[prost(int64, tag = "14")]
    #[serde(deserialize_with = "or_default")]
    flag: i64,
    #[prost(int32, tag = "15")]
    #[serde(rename = "type", deserialize_with = "or_default")]
    kind: i32,
    #[prost(int32, tag = "16")]
    #[serde(deserialize_with = "or_default")]
    phase: i32,
    #[prost(string, tag = "17")]
    #[serde(deserialize_with = "or_default")]
    cursor: String,
    #[prost(int32, tag = "18")]
    #[serde(deserialize_with = "or_default")]
    limit: i32,
    #[prost(bool, tag = "19")]
    #[serde(deserialize_with = "or_default")]
    asc: bool,
}

/// A message of which it only matters whether it is there.
#[derive(Clone, PartialEq, Message, serde::Deserialize)]
#[serde(default)]
struct Anything {}

/// `unsubscribe`, `presence` and `presence_stats`.
#[derive(Clone, PartialEq, Message, serde::Deserialize)]
#[serde(default)]
struct Channel {
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "or_default")]
    channel: String,
}

#[derive(Clone, PartialEq, Message, serde::Deserialize)]
#[serde(default)]
struct Publish {
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "or_default")]
    channel: String,
    #[prost(bytes = "bytes", tag = "2")]
    #[serde(deserialize_with = "raw_json")]
    data: Bytes,
    #[prost(int32, tag = "3")]
    #[serde(rename = "type", deserialize_with = "or_default")]
    kind: i32,
    #[prost(string, tag = "4")]
    #[serde(deserialize_with = "or_default")]
    key: String,
    #[prost(bool, tag = "5")]
    #[serde(deserialize_with = "or_default")]
    removed: bool,
}

#[derive(Clone, PartialEq, Message, serde::Deserialize)]
#[serde(default)]
struct History {
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "or_default")]
    channel: String,
    #[prost(int32, tag = "7")]
    #[serde(deserialize_with = "or_default")]
    limit: i32,
    #[prost(message, optional, tag = "8")]
    #[serde(deserialize_with = "object")]
    since: Option<Since>,
    #[prost(bool, tag = "9")]
    #[serde(deserialize_with = "or_default")]
    reverse: bool,
}

#[derive(Clone, PartialEq, Message, serde::Deserialize)]
#[serde(default)]
struct Since {
    #[prost(uint64, tag = "1")]
    #[serde(deserialize_with = "or_default")]
    offset: u64,
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "or_default")]
    epoch: String,
}

#[derive(Clone, PartialEq, Message, serde::Deserialize)]
#[serde(default)]
struct Ping {}

#[derive(Clone, PartialEq, Message, serde::Deserialize)]
#[serde(default)]
struct Sent {
    #[prost(bytes = "bytes", tag = "1")]
    #[serde(deserialize_with = "raw_json")]
    data: Bytes,
}

#[derive(Clone, PartialEq, Message, serde::Deserialize)]
#[serde(default)]
struct Rpc {
    #[prost(bytes = "bytes", tag = "1")]
    #[serde(deserialize_with = "raw_json")]
    data: Bytes,
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "or_default")]
    method: String,
}

#[derive(Clone, PartialEq, Message, serde::Deserialize)]
#[serde(default)]
struct Refresh {
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "or_default")]
    token: String,
}

#[derive(Clone, PartialEq, Message, serde::Deserialize)]
#[serde(default)]
struct SubRefresh {
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "or_default")]
    channel: String,
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "or_default")]
    token: String,
    #[prost(int32, tag = "3")]
    #[serde(rename = "type", deserialize_with = "or_default")]
    kind: i32,
}

/// A value, where `null` is as good as none.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A message. A derived reader would take a list of values too.
fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer).map(|object: Option<Object<T>>| object.map(|Object(it)| it))
}

fn claims<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Claim>, D::Error> {
    let claims: Option<BTreeMap<_, Object<_>>> = Option::deserialize(deserializer)?;
    let claims = claims.unwrap_or_default();
    Ok(claims.into_iter().map(|(name, Object(claim))| (name, claim)).collect())
}

/// What can be read from a JSON object, read from nothing else.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

/// The text of a value, `null` included: it may be what the application wants to say.
fn raw_json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    <&RawValue>::deserialize(deserializer).map(|raw| Bytes::copy_from_slice(raw.get().as_bytes()))
}

/// As much of a long command as says whether it is a connect command, whose maps are not read then.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct LongJson<'a> {
    #[serde(borrow)]
    connect: Option<&'a RawValue>,
}

/// The same in protobuf.
#[derive(Clone, PartialEq, Message)]
struct LongProtobuf {
    #[prost(bytes = "bytes", optional, tag = "4")]
    connect: Option<Bytes>,
}

impl Command {
    /// Reads a JSON object, and nothing behind it.
    pub(super) fn from_json(text: &[u8]) -> Result<Self, RequestError> {
        if text.len() > CONNECT_BYTES_MAX
            && serde_json::from_slice(text).is_ok_and(|long: LongJson<'_>| long.connect.is_some())
        {
            return Err(RequestError::Malformed);
        }
        let command: Object<Self> =
            serde_json::from_slice(text).map_err(|_| RequestError::Malformed)?;
        Ok(command.0)
    }

    /// Reads a protobuf message.
    pub(super) fn from_protobuf(message: &[u8]) -> Result<Self, RequestError> {
        if message.len() > CONNECT_BYTES_MAX
            && LongProtobuf::decode(message).is_ok_and(|long| long.connect.is_some())
        {
            return Err(RequestError::Malformed);
        }
        Self::decode(message).map_err(|_| RequestError::Malformed)
    }

    /// The command with its one method.
    pub(super) fn into_request(self) -> Result<Request, RequestError> {
        let methods = [
            self.connect.map(Method::from),
            self.subscribe.map(Method::from),
            self.unsubscribe.map(|asked| Method::Unsubscribe { channel: asked.channel }),
            self.publish.map(Method::from),
            self.presence.map(|asked| Method::Presence { channel: asked.channel }),
            self.presence_stats.map(|asked| Method::PresenceStats { channel: asked.channel }),
            self.history.map(Method::from),
            self.ping.map(|Ping {}| Method::Ping),
            self.send.map(|asked| Method::Send { data: asked.data }),
            self.rpc.map(|asked| Method::Rpc { method: asked.method, data: asked.data }),
            self.refresh.map(|asked| Method::Refresh { token: asked.token }),
            self.sub_refresh.map(Method::from),
        ];
        let mut methods = methods.into_iter().flatten();
        match (methods.next(), methods.next()) {
            (None, _) if self.id == 0 => Ok(Request { id: 0, method: Method::Pong }),
            (Some(method @ Method::Send { .. }), None) => Ok(Request { id: 0, method }),
            (Some(_), None) if self.id == 0 => Err(RequestError::BadId),
            (Some(method), None) => Ok(Request { id: self.id, method }),
            _ => Err(RequestError::NotOneMethod),
        }
    }
}

impl From<Connect> for Method {
    fn from(asked: Connect) -> Self {
        let claim = |claim: Claim| PositionClaim {
            recover: claim.recover,
            epoch: claim.epoch,
            offset: claim.offset,
        };
        Self::Connect(Box::new(ConnectRequest {
            token: asked.token,
            data: asked.data,
            subs: asked.subs.into_iter().map(|(name, sub)| (name, claim(sub))).collect(),
            name: asked.name,
            version: asked.version,
            headers: asked.headers.into_iter().collect(),
        }))
    }
}

impl From<Subscribe> for Method {
    fn from(asked: Subscribe) -> Self {
        let position =
            PositionClaim { recover: asked.recover, epoch: asked.epoch, offset: asked.offset };
        Self::Subscribe(Box::new(SubscribeRequest {
            channel: asked.channel,
            token: asked.token,
            position,
            data: asked.data,
            positioned: asked.positioned,
            recoverable: asked.recoverable,
            join_leave: asked.join_leave,
            flag: asked.flag,
            unsupported: first([
                (asked.kind != 0, "type"),
                (asked.tf.is_some(), "tf"),
                (asked.phase != 0, "phase"),
                (!asked.cursor.is_empty(), "cursor"),
                (asked.limit != 0, "limit"),
                (asked.asc, "asc"),
            ]),
        }))
    }
}

impl From<Publish> for Method {
    fn from(asked: Publish) -> Self {
        let unsupported = first([
            (asked.kind != 0, "type"),
            (!asked.key.is_empty(), "key"),
            (asked.removed, "removed"),
        ]);
        Self::Publish { channel: asked.channel, data: asked.data, unsupported }
    }
}

impl From<SubRefresh> for Method {
    fn from(asked: SubRefresh) -> Self {
        let unsupported = first([(asked.kind != 0, "type")]);
        Self::SubRefresh { channel: asked.channel, token: asked.token, unsupported }
    }
}

/// The first field that is there.
fn first<const COUNT: usize>(fields: [(bool, &'static str); COUNT]) -> Option<&'static str> {
    fields.into_iter().find(|(is_there, _)| *is_there).map(|(_, name)| name)
}

impl From<History> for Method {
    fn from(asked: History) -> Self {
        Self::History(Box::new(HistoryRequest {
            channel: asked.channel,
            limit: asked.limit,
            since: asked.since.map(|since| (since.epoch, since.offset)),
            reverse: asked.reverse,
        }))
    }
}
