//! Bodies of `subscribe` and `unsubscribe`.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::{ChannelGrant, Command, Overrides, PositionClaim, SubscribeOptions};
use crate::protocol::http_api::field::{Since, Text, base64, expire_at};
use crate::protocol::http_api::request::target;
use crate::protocol::http_api::{Fault, Form, Method, Request};
use crate::protocol::{DecodeError, argument};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Subscribe<'a> {
    user: Text,
    client: Text,
    device: Text,
    channel: Text,
    #[serde(borrow)]
    info: Option<&'a RawValue>,
    b64info: Text,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    b64data: Text,
    expire_at: Option<u64>,
    recover_since: Option<Since>,
    r#override: Option<Override>,
    session: Text,
    /// As older clients ask for what `override` now says.
    presence: bool,
    join_leave: bool,
    position: bool,
    recover: bool,
}

impl Subscribe<'_> {
    pub(super) fn request(self) -> Result<Request, Fault> {
        let named = (&self.client, &self.session);
        let target = target(Method::Subscribe, &self.user, named, &self.device)?;
        let overrides = self.overrides();
        let channel = self.channel.channel(Method::Subscribe)?;
        let channels = argument::shared_channels(&[channel.as_str()])?;
        let grant = ChannelGrant {
            info: json(("info", self.info), ("b64info", &self.b64info))?,
            data: json(("data", self.data), ("b64data", &self.b64data))?,
            expires_at: expire_at(self.expire_at)?,
            overrides,
        };
        let claim = |Since { offset, epoch }| PositionClaim { recover: true, epoch, offset };
        let position = self.recover_since.map(claim).unwrap_or_default();
        let options = SubscribeOptions { grant, position };
        Ok(Request::Command(Command::Subscribe { target, channels, options }, Form::Acted))
    }
}

impl Subscribe<'_> {
    /// What is asked for in one way or the other; what says nothing changes nothing.
    fn overrides(&self) -> Overrides {
        let said = self.r#override.as_ref().map(Overrides::from).unwrap_or_default();
        let or = |said: Option<bool>, flag: bool| said.or_else(|| flag.then_some(true));
        Overrides {
            presence: or(said.presence, self.presence),
            join_leave: or(said.join_leave, self.join_leave),
            force_positioning: or(said.force_positioning, self.position),
            force_recovery: or(said.force_recovery, self.recover),
            ..said
        }
    }
}

/// What a subscription has otherwise than its namespace says.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Override {
    presence: Option<Switch>,
    join_leave: Option<Switch>,
    force_recovery: Option<Switch>,
    force_positioning: Option<Switch>,
    force_push_join_leave: Option<Switch>,
}

/// An option that is set, on or off.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Switch {
    value: bool,
}

impl From<&Override> for Overrides {
    fn from(body: &Override) -> Self {
        let value = |switch: &Option<Switch>| switch.as_ref().map(|switch| switch.value);
        Self {
            presence: value(&body.presence),
            join_leave: value(&body.join_leave),
            force_recovery: value(&body.force_recovery),
            force_positioning: value(&body.force_positioning),
            force_push_join_leave: value(&body.force_push_join_leave),
        }
    }
}

/// JSON from one of two keys: as it is, or in base64.
fn json(
    (key, plain): (&'static str, Option<&RawValue>),
    (encoded_key, encoded): (&'static str, &Text),
) -> Result<Option<Box<str>>, DecodeError> {
    match (plain, encoded.get()) {
        (Some(_), Some(_)) => Err(DecodeError::ConflictingKeys(key, encoded_key)),
        (Some(plain), None) => argument::json(key, plain.get().as_bytes()).map(Some),
        (None, Some(encoded)) => {
            argument::json(encoded_key, &base64(encoded_key, encoded)?).map(Some)
        }
        (None, None) => Ok(None),
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Unsubscribe {
    user: Text,
    client: Text,
    device: Text,
    channel: Text,
    session: Text,
}

impl Unsubscribe {
    pub(super) fn request(self) -> Result<Request, Fault> {
        let named = (&self.client, &self.session);
        let target = target(Method::Unsubscribe, &self.user, named, &self.device)?;
        let channel = self.channel.channel(Method::Unsubscribe)?;
        let channels = argument::shared_channels(&[channel.as_str()])?;
        Ok(Request::Command(Command::Unsubscribe { target, channels }, Form::Acted))
    }
}
