//! Bodies of `subscribe` and `unsubscribe`.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::protocol::argument;
use crate::protocol::centrifuge::PositionClaim;
use crate::protocol::http_api::field::{Since, Text, Unused, base64, expire_at, refuse};
use crate::protocol::http_api::request::target;
use crate::protocol::http_api::{Fault, Form, Method, Request};
use crate::protocol::{ChannelGrant, Command, DecodeError, SubscribeOptions};
use crate::token::Overrides;

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
    session: Unused,
}

impl Subscribe<'_> {
    pub(super) fn request(self) -> Result<Request, Fault> {
        refuse(&[("session", &self.session)])?;
        let target = target(Method::Subscribe, &self.user, &self.client, &self.device)?;
        let channel = self.channel.channel(Method::Subscribe)?;
        let channels = argument::shared_channels(&[channel.as_str()])?;
        let grant = ChannelGrant {
            info: json(("info", self.info), ("b64info", &self.b64info))?,
            data: json(("data", self.data), ("b64data", &self.b64data))?,
            expires_at: expire_at(self.expire_at)?,
            overrides: self.r#override.map(Overrides::from).unwrap_or_default(),
        };
        let claim = |Since { offset, epoch }| PositionClaim { recover: true, epoch, offset };
        let position = self.recover_since.map(claim).unwrap_or_default();
        let options = SubscribeOptions { grant, position };
        Ok(Request::Command(Command::Subscribe { target, channels, options }, Form::Acted))
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

impl From<Override> for Overrides {
    fn from(body: Override) -> Self {
        let value = |switch: Option<Switch>| switch.map(|switch| switch.value);
        Self {
            presence: value(body.presence),
            join_leave: value(body.join_leave),
            force_recovery: value(body.force_recovery),
            force_positioning: value(body.force_positioning),
            force_push_join_leave: value(body.force_push_join_leave),
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
    session: Unused,
}

impl Unsubscribe {
    pub(super) fn request(self) -> Result<Request, Fault> {
        refuse(&[("session", &self.session)])?;
        let target = target(Method::Unsubscribe, &self.user, &self.client, &self.device)?;
        let channel = self.channel.channel(Method::Unsubscribe)?;
        let channels = argument::shared_channels(&[channel.as_str()])?;
        Ok(Request::Command(Command::Unsubscribe { target, channels }, Form::Acted))
    }
}
