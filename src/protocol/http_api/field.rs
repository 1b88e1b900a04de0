//! Values of keys as several methods have them.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::model::ChannelName;
use crate::protocol::http_api::{Fault, Method};
use crate::protocol::{DecodeError, argument};

/// Text; empty is as good as none.
#[derive(Default, Deserialize)]
#[serde(from = "Option<String>")]
pub(super) struct Text(Option<String>);

impl From<Option<String>> for Text {
    fn from(text: Option<String>) -> Self {
        Self(text.filter(|text| !text.is_empty()))
    }
}

impl Text {
    pub(super) fn get(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The text of a key that the method cannot do without.
    pub(super) fn needed(&self, method: Method, key: &'static str) -> Result<&str, DecodeError> {
        self.get().ok_or_else(|| DecodeError::MissingKey { op: method.name(), key })
    }

    /// A channel's name.
    pub(super) fn channel(&self, method: Method) -> Result<ChannelName, Fault> {
        let name = self.needed(method, "channel")?;
        ChannelName::parse(name.as_bytes())
            .map_err(|error| Fault::bad(format!("`channel` is no channel: {error}")))
    }
}

/// The value of a key that the edge has no use for: true exactly when it says something. Some
/// clients send every key that they know.
#[derive(Default)]
pub(super) struct Unused(bool);

impl<'de> Deserialize<'de> for Unused {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&RawValue>::deserialize(deserializer)?.get();
        Ok(Self(!["null", "false", "0", "\"\"", "[]", "{}"].contains(&text)))
    }
}

/// A position of a stream.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Since {
    pub(super) offset: u64,
    pub(super) epoch: String,
}

/// A map of texts in the order of the body, names that stand twice among them.
#[derive(Default)]
pub(super) struct Pairs(pub(super) Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

/// The bytes of a value in base64.
pub(super) fn base64(key: &'static str, encoded: &str) -> Result<Vec<u8>, DecodeError> {
    let expected = "base64 of the standard alphabet, with padding";
    STANDARD.decode(encoded).map_err(|_| DecodeError::BadValue { key, expected })
}

/// The second at which something expires; 0 is as good as none.
pub(super) fn expire_at(second: Option<u64>) -> Result<Option<u64>, DecodeError> {
    let second = second.filter(|&second| second != 0);
    second.map(|second| argument::unix_second("expire_at", second)).transpose()
}

/// Refuses keys that ask for something the edge does not do.
pub(super) fn refuse(keys: &[(&'static str, &Unused)]) -> Result<(), DecodeError> {
    match keys.iter().find(|(_, value)| value.0) {
        Some((key, _)) => Err(DecodeError::Unsupported(key)),
        None => Ok(()),
    }
}

/// JSON as it was written; `null` is a value like any other.
pub(super) fn raw<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}
