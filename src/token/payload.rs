//! The claims of a token as they were written, and what each may be.
//!
//! Parsing has two steps so that a mistake names its claim: first the object is taken apart, then
//! each claim is read as its type. No library error is passed on, because it would quote values.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::limits::CHANNELS_PER_CONNECTION_MAX;
use crate::token::claims::Json;
use crate::token::error::Flaw;

/// Where floating point numbers stop being exact to the second: no clock gets there.
const TIME_MAX: f64 = 9_007_199_254_740_992.0;

/// Base64 as JSON libraries write bytes, with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A claim as it was written; absent is not `null`.
pub(super) type Claim<'a> = Option<&'a RawValue>;

macro_rules! claims {
    ($(#[doc = $about:literal])+ $name:ident { $($claim:ident $(as $rename:literal)?,)+ }) => {
        $(#[doc = $about])+
        #[derive(Deserialize)]
        pub(super) struct $name<'a> {
            $(
                #[serde(borrow, default, deserialize_with = "present" $(, rename = $rename)?)]
                pub(super) $claim: Claim<'a>,
            )+
        }
    };
}

claims! {
    /// Every known claim. One that stands twice is an error.
    Payload {
        sub, exp, nbf, iat, jti, aud, iss, device, channel, client, info, b64info, channels, subs,
        meta, expire_at, overrides as "override",
    }
}

claims! {
    /// One entry of the claim `subs`.
    Subscription { info, b64info, data, b64data, overrides as "override", }
}

claims! {
    /// The claim `override`.
    RawOverrides {
        presence, join_leave, force_recovery, force_positioning, force_push_join_leave,
    }
}

claims! {
    /// One entry of the claim `override`.
    RawOverride { value, }
}

/// Keeps `null` apart from a claim that is not there.
fn present<'de, D: Deserializer<'de>>(source: D) -> Result<Claim<'de>, D::Error> {
    <&RawValue>::deserialize(source).map(Some)
}

impl<'a> Payload<'a> {
    /// Takes the claims apart.
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, Flaw> {
        object(text).ok_or(Flaw::Claims)
    }

    /// The claim `aud`: one string or a list of them (RFC 7519 section 4.1.3).
    pub(super) fn audiences(&self) -> Result<Vec<String>, Flaw> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Audience {
            One(String),
            Several(Vec<String>),
        }
        Ok(match read("aud", "a string or a list of strings", self.aud)? {
            None => Vec::new(),
            Some(Audience::One(audience)) => vec![audience],
            Some(Audience::Several(audiences)) => audiences,
        })
    }

    /// The claim `subs`, in its order.
    pub(super) fn subscriptions(&self) -> Result<Vec<(String, Subscription<'a>)>, Flaw> {
        let expected = "an object with an object for each channel, which stands once";
        let Some(text) = self.subs else { return Ok(Vec::new()) };
        let entries: Subscriptions<'a> =
            serde_json::from_str(text.get()).map_err(|_| Flaw::Claim { name: "subs", expected })?;
        Ok(entries.0)
    }
}

/// A JSON object as a struct. Without the look at the first byte a list of the fields' values
/// would do as well.
pub(super) fn object<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Option<T> {
    let is_object = text.trim_ascii_start().starts_with(b"{");
    is_object.then(|| serde_json::from_slice(text).ok())?
}

/// A claim as its type.
pub(super) fn read<T: DeserializeOwned>(
    name: &'static str,
    expected: &'static str,
    claim: Claim<'_>,
) -> Result<Option<T>, Flaw> {
    let Some(text) = claim else { return Ok(None) };
    serde_json::from_str(text.get()).map(Some).map_err(|_| Flaw::Claim { name, expected })
}

/// A string.
pub(super) fn text(name: &'static str, claim: Claim<'_>) -> Result<Option<String>, Flaw> {
    read(name, "a string", claim)
}

/// A second since 1970 (NumericDate, RFC 7519 section 2); fractions are dropped.
pub(super) fn time(name: &'static str, claim: Claim<'_>) -> Result<Option<u64>, Flaw> {
    let expected = "a number of seconds since 1970";
    let Some(seconds) = read::<f64>(name, expected, claim)? else { return Ok(None) };
    if (0.0..=TIME_MAX).contains(&seconds) {
        Ok(Some(seconds as u64))
    } else {
        Err(Flaw::Claim { name, expected })
    }
}

/// JSON from one of two claims: as it is, or in base64 under another name.
pub(super) fn json(
    plain: Claim<'_>,
    (name, encoded): (&'static str, Claim<'_>),
) -> Result<Option<Json>, Flaw> {
    let expected = "JSON in base64";
    let Some(text) = read::<String>(name, expected, encoded)? else {
        return Ok(plain.map(Json::from));
    };
    if plain.is_some() {
        return Err(Flaw::Claim { name, expected: "either this claim or the one without b64" });
    }
    let flaw = Flaw::Claim { name, expected };
    let bytes = BASE64.decode(text).map_err(|_| flaw)?;
    let text: &RawValue = serde_json::from_slice(&bytes).map_err(|_| flaw)?;
    Ok(Some(Json::from(text)))
}

/// The entries of `subs`; a map would lose their order and hide one that stands twice.
struct Subscriptions<'a>(Vec<(String, Subscription<'a>)>);

impl<'de> Deserialize<'de> for Subscriptions<'de> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Subscriptions<'de>;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(out, "an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries: Vec<(String, Subscription<'de>)> = Vec::new();
                while let Some((channel, options)) = map.next_entry::<String, &RawValue>()? {
                    let options = object(options.get().as_bytes());
                    let options = options.ok_or_else(|| A::Error::custom("not an object"))?;
                    let is_known = entries.iter().any(|(known, _)| *known == channel);
                    if is_known || entries.len() > CHANNELS_PER_CONNECTION_MAX {
                        return Err(A::Error::custom("a channel stands twice or there are many"));
                    }
                    entries.push((channel, options));
                }
                Ok(Subscriptions(entries))
            }
        }
        source.deserialize_map(Entries)
    }
}
