//! What a valid token says, in the types that the rest of the edge works with.
//!
//! Everything is bounded by the length of a token and by the number of channels of a connection.
//! Whether a name is one of a channel that exists is for the protocol to say, not for a token.

use std::fmt;

use serde_json::value::RawValue;

use crate::limits::{
    CHANNEL_NAME_BYTES_MAX, CHANNELS_PER_CONNECTION_MAX, DEVICE_BYTES_MAX, USER_BYTES_MAX,
};
use crate::model::Overrides;
use crate::token::error::Flaw;
use crate::token::payload::{
    Claim, Payload, RawOverride, RawOverrides, Subscription, json, object, read, text, time,
};

/// What a connection token says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionClaims {
    /// Who connects (`sub`); empty for nobody in particular.
    pub user: String,
    /// The only device of the user that may use the token (`device`).
    pub device: Option<String>,
    /// The unix second at which the connection expires: `expire_at`, else `exp`. `None` is never,
    /// which is also what an `expire_at` of 0 means.
    pub expires_at: Option<u64>,
    /// The unix second of the token's making (`iat`).
    pub issued_at: Option<u64>,
    /// The token's own name (`jti`).
    pub id: Option<String>,
    /// About the connection, shown to other clients in presence (`info` or `b64info`).
    pub info: Option<Json>,
    /// Channels that the connection is subscribed to from the start.
    pub channels: Vec<String>,
    /// The same with options for each.
    pub subs: Vec<(String, SubscribeOptions)>,
    /// For backends alone; no client sees it.
    pub meta: Option<Json>,
}

/// What a subscription token says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionClaims {
    /// Who may subscribe; the user of the connection must be the same.
    pub user: String,
    /// The channel.
    pub channel: String,
    /// The only device of the user that may use the token (`device`).
    pub device: Option<String>,
    /// The only connection that may use the token, by its client identity.
    pub client: Option<String>,
    /// About the subscription, shown to other clients in presence (`info` or `b64info`).
    pub info: Option<Json>,
    /// The unix second at which the subscription expires: `expire_at`, else `exp`.
    pub expires_at: Option<u64>,
    /// The unix second of the token's making (`iat`).
    pub issued_at: Option<u64>,
    /// Options of the channel that this subscription has otherwise.
    pub overrides: Overrides,
}

/// Options of one subscription that a connection token makes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// About the subscription, shown to other clients in presence.
    pub info: Option<Json>,
    /// For the client, with the answer.
    pub data: Option<Json>,
    /// Options of the channel that this subscription has otherwise.
    pub overrides: Overrides,
}

/// A JSON value as text, on one line: a newline would end a reply of the client protocol.
#[derive(Clone, PartialEq, Eq)]
pub struct Json(Box<str>);

impl Json {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&RawValue> for Json {
    fn from(value: &RawValue) -> Self {
        // Inside strings JSON has no raw newlines, so these are all between tokens.
        Self(value.get().replace(['\n', '\r'], "").into())
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl ConnectionClaims {
    /// Whether a channel is among those that the token allows.
    #[must_use]
    pub fn names(&self, channel: &str) -> bool {
        self.channels.iter().chain(self.subs.iter().map(|(name, _)| name)).any(|it| it == channel)
    }

    /// Whether a client that calls itself this device may use the token. One that does not say
    /// which it is may, and is the token's.
    #[must_use]
    pub fn is_of_device(&self, device: Option<&str>) -> bool {
        self.device.is_none() || device.is_none() || self.device.as_deref() == device
    }

    pub(super) fn read(payload: &Payload<'_>, expires_at: Option<u64>) -> Result<Self, Flaw> {
        if payload.channel.is_some() {
            return Err(Flaw::Claim { name: "channel", expected: "none in a connection token" });
        }
        let channels = read::<Vec<String>>("channels", "a list of strings", payload.channels)?;
        let channels = channels.unwrap_or_default();
        let subs = payload.subscriptions()?;
        if channels.len() + subs.len() > CHANNELS_PER_CONNECTION_MAX {
            return Err(Flaw::TooManyChannels);
        }
        let names = channels.iter().chain(subs.iter().map(|(channel, _)| channel));
        if !names.into_iter().all(|name| is_channel(name)) {
            return Err(Flaw::ChannelName);
        }
        let subs = subs.into_iter().map(|(channel, options)| Ok((channel, options.read()?)));
        Ok(Self {
            user: user(payload)?,
            device: device(payload)?,
            expires_at,
            issued_at: time("iat", payload.iat)?,
            id: text("jti", payload.jti)?,
            info: json(payload.info, ("b64info", payload.b64info))?,
            channels,
            subs: subs.collect::<Result<_, Flaw>>()?,
            meta: payload.meta.map(Json::from),
        })
    }
}

impl SubscriptionClaims {
    pub(super) fn read(payload: &Payload<'_>, expires_at: Option<u64>) -> Result<Self, Flaw> {
        let channel = text("channel", payload.channel)?;
        let expected = "the channel in a subscription token";
        let channel = channel.ok_or(Flaw::Claim { name: "channel", expected })?;
        if !is_channel(&channel) {
            return Err(Flaw::ChannelName);
        }
        Ok(Self {
            user: user(payload)?,
            channel,
            device: device(payload)?,
            client: text("client", payload.client)?,
            info: json(payload.info, ("b64info", payload.b64info))?,
            expires_at,
            issued_at: time("iat", payload.iat)?,
            overrides: overrides(payload.overrides)?,
        })
    }
}

impl Subscription<'_> {
    fn read(&self) -> Result<SubscribeOptions, Flaw> {
        Ok(SubscribeOptions {
            info: json(self.info, ("b64info", self.b64info))?,
            data: json(self.data, ("b64data", self.b64data))?,
            overrides: overrides(self.overrides)?,
        })
    }
}

fn user(payload: &Payload<'_>) -> Result<String, Flaw> {
    let user = text("sub", payload.sub)?.unwrap_or_default();
    // Nobody else can name a user with control characters, a backend that wants it out included.
    if user.len() > USER_BYTES_MAX || user.chars().any(char::is_control) {
        let expected = "at most 254 bytes without control characters";
        return Err(Flaw::Claim { name: "sub", expected });
    }
    Ok(user)
}

fn device(payload: &Payload<'_>) -> Result<Option<String>, Flaw> {
    let device = text("device", payload.device)?;
    let is_device = |device: &String| {
        (1..=DEVICE_BYTES_MAX).contains(&device.len()) && !device.chars().any(char::is_control)
    };
    let expected = "1 to 128 bytes without control characters";
    match device {
        Some(device) if !is_device(&device) => Err(Flaw::Claim { name: "device", expected }),
        device => Ok(device),
    }
}

fn is_channel(name: &str) -> bool {
    (1..=CHANNEL_NAME_BYTES_MAX).contains(&name.len())
}

fn overrides(claim: Claim<'_>) -> Result<Overrides, Flaw> {
    let Some(claim) = claim else { return Ok(Overrides::default()) };
    let expected = "options as {\"value\": true or false}";
    let flaw = Flaw::Claim { name: "override", expected };
    let raw: RawOverrides<'_> = object(claim.get().as_bytes()).ok_or(flaw)?;
    let flag = |claim: Claim<'_>| match claim {
        None => Ok(None),
        Some(claim) => {
            let entry: RawOverride<'_> = object(claim.get().as_bytes()).ok_or(flaw)?;
            read("override", expected, entry.value)?.ok_or(flaw).map(Some)
        }
    };
    Ok(Overrides {
        presence: flag(raw.presence)?,
        join_leave: flag(raw.join_leave)?,
        force_recovery: flag(raw.force_recovery)?,
        force_positioning: flag(raw.force_positioning)?,
        force_push_join_leave: flag(raw.force_push_join_leave)?,
    })
}
