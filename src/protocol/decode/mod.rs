//! The native message format: `[topic, payload, meta?, reserved…]` becomes a [`Command`].
//!
//! The simplest publisher in any language is one line, `send_multipart([b"news", b"hello"])`, and
//! that shape takes the shortest way here: no serde, and no allocation but the name, the frame and
//! the `Arc` that the shards share. Parts beyond the third are reserved: ignored and counted.
//! No sockets here, and no clock: the caller says when the message came.

use std::borrow::Cow;
use std::sync::Arc;

use serde::de::IgnoredAny;

use crate::model::{
    ChannelGrant, ChannelName, Command, PositionClaim, Publication, SubscribeOptions, Target,
};
use crate::protocol::meta::{ContentType, Meta, Op};
use crate::protocol::refusal::META_BYTES_MAX;
use crate::protocol::{DecodeError, Malformed, RequestId, argument};

/// The topic of commands that have no channel of their own.
pub const COMMAND_TOPIC: &[u8] = b"$cmd";

/// A command, and what its sender said of itself.
#[derive(Debug)]
pub struct Decoded {
    /// The command.
    pub command: Command,
    /// The request's identity, to be returned in the answer.
    pub rid: Option<RequestId>,
    /// The publisher and its counter.
    pub source: Option<(Box<str>, u64)>,
    /// How many parts came after the third.
    pub surplus_parts: usize,
}

/// Decodes one message. `received_nanos` is when it came, on the edge's monotonic clock.
// HOT PATH 2/6: decode, borrowing from the message; only what subscribers share is copied.
pub fn decode_parts(parts: &[&[u8]], received_nanos: u64) -> Result<Decoded, Malformed> {
    let (topic, payload) = match *parts {
        [] => return Err(DecodeError::MissingTopic.into()),
        [_] => return Err(DecodeError::MissingPayload.into()),
        [topic, payload, ..] => (topic, payload),
    };
    let surplus_parts = parts.len().saturating_sub(3);
    match parts.get(2) {
        // An empty meta part is none: some senders always send three parts.
        None | Some(&[]) => {
            if topic == COMMAND_TOPIC {
                return Err(DecodeError::NeedsChannelTopic.into());
            }
            let channel = ChannelName::parse(topic).map_err(DecodeError::BadTopic)?;
            let text = is_text(payload, ContentType::Auto)?;
            let publication = Publication::new(text, payload, received_nanos);
            let command =
                Command::Publish { channel, publication: Arc::new(publication), key: None };
            Ok(Decoded { command, rid: None, source: None, surplus_parts })
        }
        Some(meta) if meta.len() > META_BYTES_MAX => Err(DecodeError::MetaTooLong.into()),
        Some(meta) => {
            let (mut meta, checked) = Meta::read(meta);
            let (rid, source) = (meta.rid.take(), meta.source());
            match checked.and_then(|()| command(topic, payload, meta, received_nanos)) {
                Ok(command) => Ok(Decoded { command, rid, source, surplus_parts }),
                Err(error) => Err(Malformed { error, rid, source }),
            }
        }
    }
}

impl From<DecodeError> for Malformed {
    fn from(error: DecodeError) -> Self {
        Self { error, rid: None, source: None }
    }
}

fn command(
    topic: &[u8],
    payload: &[u8],
    mut meta: Meta<'_>,
    received_nanos: u64,
) -> Result<Command, DecodeError> {
    let op = meta.op.name();
    match (meta.op, topic == COMMAND_TOPIC) {
        (Op::Pub, true) => return Err(DecodeError::NeedsChannelTopic),
        (Op::Pub, false) | (_, true) => {}
        (_, false) => return Err(DecodeError::NeedsCommandTopic(op)),
    }
    let publication = |meta: &mut Meta<'_>| publication(payload, meta, received_nanos);
    let key = meta.id.take().map(|id| id.into());
    Ok(match meta.op {
        Op::Pub => {
            let channel = ChannelName::parse(topic).map_err(DecodeError::BadTopic)?;
            Command::Publish { channel, publication: Arc::new(publication(&mut meta)?), key }
        }
        Op::Broadcast => Command::Broadcast {
            channels: argument::channels(&names(op, &mut meta)?)?,
            publication: Arc::new(publication(&mut meta)?),
            key,
        },
        Op::User => {
            let user = meta.user.as_deref().ok_or(DecodeError::MissingKey { op, key: "user" })?;
            let channel = ChannelName::personal(user).map_err(DecodeError::BadUser)?;
            let publication =
                publication(&mut meta)?.with_device(meta.device.map(|device| device.into()));
            Command::Publish { channel, publication: Arc::new(publication), key }
        }
        Op::All => Command::PublishAll { publication: Arc::new(publication(&mut meta)?) },
        _ if !payload.is_empty() => return Err(DecodeError::UnusedPayload(op)),
        Op::Subscribe => {
            let channels = argument::shared_channels(&names(op, &mut meta)?)?;
            let options = options(&mut meta, channels.len())?;
            Command::Subscribe { target: target(op, &meta)?, channels, options }
        }
        Op::Unsubscribe => {
            let channels = argument::shared_channels(&names(op, &mut meta)?)?;
            Command::Unsubscribe { target: target(op, &meta)?, channels }
        }
        Op::Disconnect => {
            let code = argument::close_code(meta.code)?;
            let reason = argument::close_reason(meta.reason.as_deref())?;
            let target = target(op, &meta)?;
            let revoke = meta.revoke;
            if revoke && matches!(target, Target::Client(_)) {
                return Err(DecodeError::ConflictingKeys("revoke", "client"));
            }
            Command::Disconnect { target, except: meta.except, code, reason, revoke }
        }
        Op::Refresh => {
            let expires_at = Some(expiry(op, &meta)?);
            Command::Refresh { target: target(op, &meta)?, expires_at, info: meta.info }
        }
        Op::HistoryRemove => {
            let name = meta.channel.ok_or(DecodeError::MissingKey { op, key: "channel" })?;
            let channel = ChannelName::parse(name.as_bytes()).map_err(DecodeError::BadChannel)?;
            Command::HistoryRemove { channel }
        }
    })
}

fn publication(
    payload: &[u8],
    meta: &mut Meta<'_>,
    received_nanos: u64,
) -> Result<Publication, DecodeError> {
    let text = is_text(payload, meta.content_type)?;
    let except = match *meta.except {
        [] => None,
        [client] => Some(client),
        _ => return Err(DecodeError::BadValue { key: "except", expected: "one client" }),
    };
    let (epoch, skips_history) = (meta.version_epoch.as_deref(), meta.skip_history);
    let version = argument::version(meta.op.name(), meta.version, epoch, skips_history)?;
    Ok(Publication::new(text, payload, received_nanos)
        .with_except(except)
        .with_tags(std::mem::take(&mut meta.tags))
        .with_skip_history(skips_history)
        .with_version(version))
}

/// Whether a payload is sent as text, which the sender may have promised.
fn is_text(payload: &[u8], content_type: ContentType) -> Result<bool, DecodeError> {
    let utf8 = |payload| simdutf8::basic::from_utf8(payload).ok();
    match content_type {
        ContentType::Binary => Ok(false),
        ContentType::Auto => Ok(utf8(payload).is_some()),
        ContentType::Text => utf8(payload).map(|_| true).ok_or(DecodeError::PayloadNotUtf8),
        ContentType::Json => {
            let text = utf8(payload).ok_or(DecodeError::PayloadNotUtf8)?;
            // Skips values without recursion, so nesting costs a byte a level and no stack.
            let valid = serde_json::from_str::<IgnoredAny>(text);
            valid.map(|_| true).map_err(|_| DecodeError::PayloadNotJson)
        }
    }
}

/// How connections are subscribed. A position belongs to the stream of one channel.
fn options(meta: &mut Meta<'_>, channels: usize) -> Result<SubscribeOptions, DecodeError> {
    let recover = meta.offset.is_some() || meta.epoch.is_some();
    if recover && channels > 1 {
        let expected = "one channel beside `offset` or `epoch`";
        return Err(DecodeError::BadValue { key: "channels", expected });
    }
    let epoch = meta.epoch.take().unwrap_or_default().into_owned();
    let position = PositionClaim { recover, epoch, offset: meta.offset.unwrap_or_default() };
    let (info, data) = (meta.info.take(), meta.data.take());
    let expires_at = meta.expires_at;
    let grant = ChannelGrant { info, data, expires_at, ..ChannelGrant::default() };
    Ok(SubscribeOptions { grant, position })
}

/// The names in `channels`, which the operation cannot do without.
fn names<'a>(op: &'static str, meta: &mut Meta<'a>) -> Result<Vec<Cow<'a, str>>, DecodeError> {
    meta.channels.take().ok_or(DecodeError::MissingKey { op, key: "channels" })
}

fn target(op: &'static str, meta: &Meta<'_>) -> Result<Target, DecodeError> {
    argument::target(op, meta.user.as_deref(), meta.client, meta.device.as_deref())
}

/// When connections expire; the first second of 1970 is as good as any that is over.
fn expiry(op: &'static str, meta: &Meta<'_>) -> Result<u64, DecodeError> {
    match (meta.expires_at, meta.expired) {
        (Some(_), true) => Err(DecodeError::ConflictingKeys("expires_at", "expired")),
        (Some(second), false) => Ok(second),
        (None, true) => Ok(0),
        (None, false) => Err(DecodeError::MissingKey { op, key: "expires_at` or `expired" }),
    }
}

#[cfg(test)]
mod tests;
