//! Bodies of requests, decoded and checked.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::{
    ChannelName, ClientId, Command, EpochClaim, HistoryFilter, PATTERN_FORM, Pattern, Publication,
    Target,
};
use crate::protocol::DecodeError;
use crate::protocol::argument::{self, is_label};
use crate::protocol::http_api::field::{
    Pairs, Since, Text, Unused, base64, expire_at, raw, refuse,
};
use crate::protocol::http_api::subscription::{Subscribe, Unsubscribe};
use crate::protocol::http_api::{Fault, Method};

/// One request, decoded and checked.
#[derive(Debug)]
pub enum Request {
    /// What the edge says of itself: no shard is asked.
    Info,
    /// Something for shards, and what the reply will look like.
    Command(Command, Form),
}

/// What the reply to a command looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// Where the publication stands.
    Published,
    /// Where it stands in each of these channels, which may repeat.
    Responses(Vec<ChannelName>),
    /// How many sessions were acted upon.
    Acted,
    /// Nothing.
    Done,
    /// Publications and the position.
    History,
    /// Who is subscribed.
    Presence,
    /// How many are subscribed.
    PresenceStats,
    /// The sessions of this user.
    UserStatus(Box<str>),
    /// Channels with their subscribers.
    Channels,
}

/// Decodes the body of any method but `batch`. An empty one stands for `{}`.
pub fn decode_request(method: Method, body: &[u8], received_nanos: u64) -> Result<Request, Fault> {
    let body = object(if body.is_empty() { b"{}" } else { body })?;
    match method {
        Method::Publish | Method::Broadcast => {
            serde_json::from_slice::<Publish<'_>>(body)?.request(method, received_nanos)
        }
        Method::Subscribe => serde_json::from_slice::<Subscribe<'_>>(body)?.request(),
        Method::Unsubscribe => serde_json::from_slice::<Unsubscribe>(body)?.request(),
        Method::Disconnect => serde_json::from_slice::<Disconnect>(body)?.request(),
        Method::Refresh => serde_json::from_slice::<Refresh<'_>>(body)?.request(),
        Method::History => serde_json::from_slice::<History>(body)?.request(),
        Method::HistoryRemove | Method::Presence | Method::PresenceStats => {
            serde_json::from_slice::<OneChannel>(body)?.request(method)
        }
        Method::Info => {
            serde_json::from_slice(body).map(|Nothing {}| Request::Info).map_err(Fault::from)
        }
        Method::Channels => serde_json::from_slice::<Channels>(body)?.request(),
        Method::UserStatus => serde_json::from_slice::<UserStatus>(body)?.request(),
        Method::Batch => Err(Fault::bad("a batch cannot be inside a batch")),
    }
}

/// Lets only an object through: serde would also take a list of values in the order of the keys.
pub(super) fn object(body: &[u8]) -> Result<&[u8], Fault> {
    let is_object = body.trim_ascii_start().starts_with(b"{");
    is_object.then_some(body).ok_or_else(|| Fault::bad("the body must be a JSON object"))
}

/// The body of `publish`, which has `channel`, and of `broadcast`, which has `channels`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Publish<'a> {
    channel: Text,
    channels: Option<Vec<String>>,
    #[serde(borrow, deserialize_with = "raw")]
    data: Option<&'a RawValue>,
    b64data: Text,
    tags: Option<Pairs>,
    idempotency_key: Text,
    skip_history: Option<bool>,
    version: Option<u64>,
    version_epoch: Text,
    delta: Unused,
}

impl Publish<'_> {
    fn request(mut self, method: Method, received_nanos: u64) -> Result<Request, Fault> {
        refuse(&[("delta", &self.delta)])?;
        let key = self.key()?;
        let publication = self.publication(method, received_nanos)?;
        let op = method.name();
        if method == Method::Publish {
            if self.channels.is_some() {
                return Err(DecodeError::UnusedKey { op, key: "channels" }.into());
            }
            let channel = self.channel.channel(method)?;
            let command = Command::Publish { channel, publication, key };
            return Ok(Request::Command(command, Form::Published));
        }
        if self.channel.get().is_some() {
            return Err(DecodeError::UnusedKey { op, key: "channel" }.into());
        }
        let names = self.channels.ok_or(DecodeError::MissingKey { op, key: "channels" })?;
        let channels = argument::channels(&names)?;
        let places: HashMap<&str, usize> =
            channels.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
        let order = names.iter().map(|name| channels[places[name.as_str()]].clone()).collect();
        let command = Command::Broadcast { channels, publication, key };
        Ok(Request::Command(command, Form::Responses(order)))
    }

    fn key(&self) -> Result<Option<Box<str>>, DecodeError> {
        match self.idempotency_key.get() {
            Some(key) if !is_label(key) => {
                let expected = "text of at most 255 bytes";
                Err(DecodeError::BadValue { key: "idempotency_key", expected })
            }
            key => Ok(key.map(Into::into)),
        }
    }

    fn publication(
        &mut self,
        method: Method,
        received_nanos: u64,
    ) -> Result<Arc<Publication>, DecodeError> {
        let publication = match (self.data, self.b64data.get()) {
            (Some(data), Some(_)) if data.get() != "null" => {
                return Err(DecodeError::ConflictingKeys("data", "b64data"));
            }
            (_, Some(encoded)) => {
                let payload = base64("b64data", encoded)?;
                let is_text = simdutf8::basic::from_utf8(&payload).is_ok();
                Publication::new(is_text, &payload, received_nanos)
            }
            (Some(data), None) => Publication::new(true, data.get().as_bytes(), received_nanos),
            (None, None) => {
                let key = "data` or `b64data";
                return Err(DecodeError::MissingKey { op: method.name(), key });
            }
        };
        let tags = self.tags.take().unwrap_or_default();
        let skips_history = self.skip_history.unwrap_or_default();
        let version = self.version.filter(|&version| version != 0);
        let epoch = self.version_epoch.get();
        let version = argument::version(method.name(), version, epoch, skips_history)?;
        let publication = publication
            .with_tags(argument::tags(tags.0)?)
            .with_skip_history(skips_history)
            .with_version(version);
        Ok(Arc::new(publication))
    }
}

/// The connections that a request is about. Published clients always send `user`, so it may stand
/// beside `client`, which alone decides then. A session is a connection here, so `session` names
/// one as `client` does. An identity that is not of this edge's making is nobody's.
pub(super) fn target(
    method: Method,
    user: &Text,
    (client, session): (&Text, &Text),
    device: &Text,
) -> Result<Target, DecodeError> {
    let identity = |text: &Text| text.get().map(|it| it.parse().unwrap_or(ClientId::NOBODY));
    let client = match (identity(client), identity(session)) {
        (Some(client), Some(session)) if client != session => Some(ClientId::NOBODY),
        (client, session) => client.or(session),
    };
    let user = user.get().filter(|_| client.is_none());
    if device.get().is_some_and(|device| !is_label(device)) {
        return Err(DecodeError::BadValue { key: "device", expected: "text of 1 to 255 bytes" });
    }
    argument::target(method.name(), user, client, device.get())
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Disconnect {
    user: Text,
    client: Text,
    device: Text,
    /// With a capital as Go's client sends it.
    #[serde(alias = "Disconnect")]
    disconnect: Option<Close>,
    revoke: bool,
    #[serde(alias = "ClientWhitelist")]
    whitelist: Option<Vec<String>>,
    session: Text,
}

/// How a connection ends. A code of 0 is none, and so is an empty reason.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Close {
    code: Option<u64>,
    reason: Text,
    /// Whether the client is to come back, as clients say it that are older than such codes.
    reconnect: bool,
}

impl Close {
    /// The code that tells clients to come back.
    const RECONNECT: u64 = 3011;

    fn close_code(&self) -> Result<u16, DecodeError> {
        let code = self.code.filter(|&code| code != 0);
        match code {
            None if self.reconnect => argument::close_code(Some(Self::RECONNECT)),
            Some(3500..=3999 | 4500..=4999) if self.reconnect => Err(DecodeError::BadValue {
                key: "reconnect",
                expected: "false with this code, which tells clients to stay away",
            }),
            code => argument::close_code(code),
        }
    }
}

impl Disconnect {
    fn request(self) -> Result<Request, Fault> {
        let named = (&self.client, &self.session);
        let target = target(Method::Disconnect, &self.user, named, &self.device)?;
        let close = self.disconnect.unwrap_or_default();
        let code = close.close_code()?;
        let reason = argument::close_reason(close.reason.get())?;
        let revoke = self.revoke;
        if revoke && matches!(target, Target::Client(_)) {
            return Err(DecodeError::ConflictingKeys("revoke", "client").into());
        }
        // Who is not of this edge is not here to be closed either.
        let mut except = self.whitelist.unwrap_or_default();
        except.retain(|client| client.parse::<ClientId>().is_ok());
        let except = argument::clients("whitelist", &except)?;
        let command = Command::Disconnect { target, except, code, reason, revoke };
        Ok(Request::Command(command, Form::Acted))
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Refresh<'a> {
    user: Text,
    client: Text,
    device: Text,
    expired: Option<bool>,
    expire_at: Option<u64>,
    #[serde(borrow)]
    info: Option<&'a RawValue>,
    session: Text,
}

impl Refresh<'_> {
    fn request(self) -> Result<Request, Fault> {
        let named = (&self.client, &self.session);
        let target = target(Method::Refresh, &self.user, named, &self.device)?;
        // The first second of 1970 is in the past, and the connection expires at once.
        let expires_at = match self.expired {
            Some(true) => Some(0),
            _ => expire_at(self.expire_at)?,
        };
        let info =
            self.info.map(|info| argument::json("info", info.get().as_bytes())).transpose()?;
        Ok(Request::Command(Command::Refresh { target, expires_at, info }, Form::Acted))
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct History {
    channel: Text,
    limit: Option<i64>,
    since: Option<Since>,
    reverse: Option<bool>,
}

impl History {
    fn request(self) -> Result<Request, Fault> {
        let channel = self.channel.channel(Method::History)?;
        let limit = match self.limit.unwrap_or_default() {
            -1 => None,
            limit => Some(usize::try_from(limit).map_err(|_| DecodeError::BadValue {
                key: "limit",
                expected: "a number, or -1 for no limit",
            })?),
        };
        let since = self.since.map(|since| (EpochClaim::parse(&since.epoch), since.offset));
        let filter = HistoryFilter { limit, since, reverse: self.reverse.unwrap_or_default() };
        Ok(Request::Command(Command::History { channel, filter }, Form::History))
    }
}

/// The body of methods that take a channel and nothing else.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct OneChannel {
    channel: Text,
}

impl OneChannel {
    fn request(self, method: Method) -> Result<Request, Fault> {
        let channel = self.channel.channel(method)?;
        Ok(match method {
            Method::HistoryRemove => {
                Request::Command(Command::HistoryRemove { channel }, Form::Done)
            }
            Method::Presence => Request::Command(Command::Presence { channel }, Form::Presence),
            _ => Request::Command(Command::PresenceStats { channel }, Form::PresenceStats),
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Channels {
    pattern: Text,
}

impl Channels {
    fn request(self) -> Result<Request, Fault> {
        let refusal = DecodeError::BadValue { key: "pattern", expected: PATTERN_FORM };
        let pattern = match self.pattern.get() {
            Some(text) => Some(Pattern::parse(text).ok_or(refusal)?),
            None => None,
        };
        Ok(Request::Command(Command::Channels { pattern }, Form::Channels))
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct UserStatus {
    user: Text,
}

impl UserStatus {
    fn request(self) -> Result<Request, Fault> {
        let user = self.user.needed(Method::UserStatus, "user")?;
        let personal = ChannelName::personal(user).map_err(DecodeError::BadUser)?;
        Ok(Request::Command(Command::UserStatus { personal }, Form::UserStatus(user.into())))
    }
}

#[cfg(test)]
mod tests;
