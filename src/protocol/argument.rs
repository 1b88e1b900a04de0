//! What the entrances for backends check alike, in whatever form an argument came: lists of
//! channels, connections, labels, close codes and reasons.

use std::collections::HashSet;

use serde::de::IgnoredAny;

use crate::limits::{CHANNELS_PER_COMMAND_MAX, GRANT_BYTES_MAX, TAGS_MAX};
use crate::model::{ChannelName, ClientId, Target, Version};
use crate::protocol::DecodeError;
use crate::protocol::centrifuge::is_json;
use crate::protocol::refusal::{LABEL_BYTES_MAX, REASON_BYTES_MAX};

/// The close code of `disconnect` unless it names one: the client must not connect again.
pub const DISCONNECT_CODE: u16 = 3503;

/// The close reason of `disconnect` unless it names one.
pub const DISCONNECT_REASON: &str = "disconnected";

/// What a client identity must be.
pub(super) const CLIENT_FORM: &str =
    "a client identity of 22 hexadecimal digits, as events name it";

/// What a point in time must be.
pub(super) const UNIX_SECOND_FORM: &str = "a Unix time in whole seconds";

/// Past the year 5000 a number is no time in seconds but one in milliseconds.
const UNIX_SECOND_MAX: u64 = 99_999_999_999;
/// What the connections must be that a `disconnect` leaves open.
pub(super) const CLIENTS_FORM: &str =
    "at most 1024 client identities of 22 hexadecimal digits, as events name them";

/// What tags must be.
pub(super) const TAGS_FORM: &str =
    "a map of at most 32 different names to texts, each of at most 255 bytes";

/// Names and values that managed clients get beside a payload.
pub(super) type Tags = Vec<(Box<str>, Box<str>)>;

/// Names that stand twice are refused: which value somebody meant is anybody's guess.
pub(super) fn tags<T>(entries: Vec<(T, T)>) -> Result<Tags, DecodeError>
where
    T: AsRef<str> + Into<Box<str>>,
{
    let fits = |text: &T| text.as_ref().len() <= LABEL_BYTES_MAX;
    let is_good = |(place, (name, text)): (usize, &(T, T))| {
        let mut earlier = entries[..place].iter();
        fits(name) && fits(text) && earlier.all(|(other, _)| other.as_ref() != name.as_ref())
    };
    if entries.len() > TAGS_MAX || !entries.iter().enumerate().all(is_good) {
        return Err(DecodeError::BadValue { key: "tags", expected: TAGS_FORM });
    }
    Ok(entries.into_iter().map(|(name, text)| (name.into(), text.into())).collect())
}

/// Names become channels, each once, in the order of their first mention.
pub(super) fn channels<N: AsRef<str>>(names: &[N]) -> Result<Vec<ChannelName>, DecodeError> {
    if names.is_empty() {
        return Err(DecodeError::NoChannels);
    }
    if names.len() > CHANNELS_PER_COMMAND_MAX {
        return Err(DecodeError::TooManyChannels);
    }
    let mut seen = HashSet::with_capacity(names.len());
    let mut channels = Vec::with_capacity(names.len());
    for name in names.iter().map(AsRef::as_ref) {
        if seen.insert(name) {
            let channel = ChannelName::parse(name.as_bytes()).map_err(DecodeError::BadChannel)?;
            channels.push(channel);
        }
    }
    Ok(channels)
}

/// Names of channels that sessions can be added to and taken from.
pub(super) fn shared_channels<N: AsRef<str>>(names: &[N]) -> Result<Vec<ChannelName>, DecodeError> {
    let channels = channels(names)?;
    if channels.iter().any(|channel| channel.user().is_some()) {
        return Err(DecodeError::PersonalChannel);
    }
    Ok(channels)
}

/// The connections that an operation is about: one client, or a user's, perhaps of one device.
pub(super) fn target(
    op: &'static str,
    user: Option<&str>,
    client: Option<ClientId>,
    device: Option<&str>,
) -> Result<Target, DecodeError> {
    match (user, client, device) {
        (Some(_), Some(_), _) => Err(DecodeError::ConflictingKeys("user", "client")),
        (None, Some(_), Some(_)) => Err(DecodeError::ConflictingKeys("device", "client")),
        (None, Some(client), None) => Ok(Target::Client(client)),
        (Some(user), None, device) => {
            let personal = ChannelName::personal(user).map_err(DecodeError::BadUser)?;
            Ok(Target::User { personal, device: device.map(Into::into) })
        }
        (None, None, _) => Err(DecodeError::MissingKey { op, key: "user` or `client" }),
    }
}

/// A point in time, as the value of a key.
pub(super) fn unix_second(key: &'static str, second: u64) -> Result<u64, DecodeError> {
    match second {
        0..=UNIX_SECOND_MAX => Ok(second),
        _ => Err(DecodeError::BadValue { key, expected: UNIX_SECOND_FORM }),
    }
}

/// The connections that a `disconnect` leaves open.
pub(super) fn clients<N: AsRef<str>>(
    key: &'static str,
    names: &[N],
) -> Result<Vec<ClientId>, DecodeError> {
    let bad = || DecodeError::BadValue { key, expected: CLIENTS_FORM };
    if names.len() > CHANNELS_PER_COMMAND_MAX {
        return Err(bad());
    }
    names.iter().map(|name| name.as_ref().parse().map_err(|_| bad())).collect()
}

/// JSON that clients are told as it is, so all of them must be able to read it.
pub(super) fn json(key: &'static str, text: &[u8]) -> Result<Box<str>, DecodeError> {
    let text = simdutf8::basic::from_utf8(text).ok();
    let text = text.filter(|text| text.len() <= GRANT_BYTES_MAX && is_json(text));
    let expected = "JSON of at most 16 KiB that nests at most 100 levels";
    text.map(Box::from).ok_or(DecodeError::BadValue { key, expected })
}

/// The version of what a publication tells, which only a channel that remembers can compare.
pub(super) fn version(
    op: &'static str,
    number: Option<u64>,
    epoch: Option<&str>,
    skips_history: bool,
) -> Result<Option<Version>, DecodeError> {
    let Some(number) = number else {
        return match epoch {
            None => Ok(None),
            Some(_) => Err(DecodeError::MissingKey { op, key: "version" }),
        };
    };
    if skips_history {
        return Err(DecodeError::ConflictingKeys("skip_history", "version"));
    }
    let epoch = epoch.unwrap_or_default();
    if epoch.len() > LABEL_BYTES_MAX {
        let expected = "text of at most 255 bytes";
        return Err(DecodeError::BadValue { key: "version_epoch", expected });
    }
    Ok(Some(Version { number, epoch: epoch.into() }))
}

/// Whether a text is short enough to name a device, a publisher or a publication.
pub(super) fn is_label(text: &str) -> bool {
    (1..=LABEL_BYTES_MAX).contains(&text.len())
}

/// RFC 6455 section 7.4: 1005, 1006 and 1015 never stand in a frame, 1002, 1007, 1009 and 1010
/// are the edge's own findings, and what is below 3000 otherwise belongs to the protocol.
pub(super) fn close_code(code: Option<u64>) -> Result<u16, DecodeError> {
    match code {
        None => Ok(DISCONNECT_CODE),
        Some(code @ (1000 | 1001 | 1003 | 1008 | 1011..=1013 | 3000..=4999)) => Ok(code as u16),
        Some(code) => Err(DecodeError::BadCode(code)),
    }
}

/// A close reason that fits a close frame and that no client SDK takes for JSON.
pub(super) fn close_reason(reason: Option<&str>) -> Result<Box<str>, DecodeError> {
    let Some(reason) = reason else { return Ok(DISCONNECT_REASON.into()) };
    if reason.len() > REASON_BYTES_MAX {
        return Err(DecodeError::ReasonTooLong);
    }
    if serde_json::from_str::<IgnoredAny>(reason).is_ok() {
        return Err(DecodeError::ReasonIsJson);
    }
    Ok(reason.into())
}
