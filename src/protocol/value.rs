//! The part of JSON and MessagePack that `meta` uses, read without a tree.
//!
//! A value borrows from the message where it can. Whatever no key could want (bytes, a list or map
//! of anything but text) is consumed and becomes [`Value::Other`], so that one wrong value does
//! not hide the keys after it. Memory is bounded by the message, never by a length it claims, and
//! nesting by the recursion limits of both readers.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::limits::{CHANNELS_PER_COMMAND_MAX, TAGS_MAX};
use crate::protocol::DecodeError;

/// One value of `meta`.
#[derive(Debug, PartialEq)]
pub(super) enum Value<'de> {
    /// Not negative.
    Unsigned(u64),
    /// Negative.
    Negative(i64),
    /// Not an integer.
    Float(f64),
    /// Text.
    Text(Cow<'de, str>),
    /// A list of text, cut off behind the first name that is too many.
    List(Vec<Cow<'de, str>>),
    /// A map from text to text, cut off behind the first entry that is too many.
    Map(Vec<(Cow<'de, str>, Cow<'de, str>)>),
    /// True or false.
    Boolean(bool),
    /// Anything else.
    Other,
}

/// Reads a map and passes each pair on; `each` never fails, it remembers what was wrong.
pub(super) fn read_map<'de>(
    bytes: &'de [u8],
    each: &mut dyn FnMut(Cow<'de, str>, Value<'de>),
) -> Result<(), DecodeError> {
    match bytes.first() {
        Some(b'{' | b' ' | b'\t' | b'\r' | b'\n') => {
            let mut reader = serde_json::Deserializer::from_slice(bytes);
            let read = reader.deserialize_map(Pairs(each)).and_then(|()| reader.end());
            read.map_err(|_| DecodeError::MetaSyntax("JSON"))
        }
        Some(0x80..=0x8f | 0xde | 0xdf) => {
            let mut reader = rmp_serde::Deserializer::from_read_ref(bytes);
            reader.set_max_depth(MESSAGE_PACK_DEPTH_MAX);
            let syntax = DecodeError::MetaSyntax("MessagePack");
            if reader.deserialize_map(Pairs(each)).is_err() {
                // Not to be asked again: its depth counter may be used up.
                return Err(syntax);
            }
            // The reader does not say where it is, but only at the end it finds no marker.
            match IgnoredAny::deserialize(&mut reader) {
                Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(()),
                _ => Err(syntax),
            }
        }
        _ => Err(DecodeError::MetaEncoding),
    }
}

/// Deepest nesting in MessagePack; for JSON the reader's own limit of 128 holds.
const MESSAGE_PACK_DEPTH_MAX: usize = 32;

struct Pairs<'f, 'de>(&'f mut dyn FnMut(Cow<'de, str>, Value<'de>));

impl<'de> Visitor<'de> for Pairs<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((key, value)) = map.next_entry::<Value<'de>, Value<'de>>()? {
            match key {
                Value::Text(key) => (self.0)(key, value),
                // JSON has no such keys; in MessagePack they are unknown under any name.
                _ => (self.0)(Cow::Borrowed("(not text)"), value),
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value<'de>, E> {
        Ok(Value::Boolean(flag))
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value<'de>, E> {
        Ok(Value::Unsigned(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value<'de>, E> {
        Ok(u64::try_from(number).map_or(Value::Negative(number), Value::Unsigned))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value<'de>, E> {
        Ok(Value::Float(number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value<'de>, A::Error> {
        let mut names = Vec::new();
        let mut only_text = true;
        while let Some(element) = list.next_element()? {
            match element {
                Value::Text(_) if names.len() > CHANNELS_PER_COMMAND_MAX => {}
                Value::Text(name) => names.push(name),
                _ => only_text = false,
            }
        }
        Ok(if only_text { Value::List(names) } else { Value::Other })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        let mut entries = Vec::new();
        let mut only_text = true;
        while let Some(entry) = map.next_entry()? {
            match entry {
                (Value::Text(_), Value::Text(_)) if entries.len() > TAGS_MAX => {}
                (Value::Text(name), Value::Text(text)) => entries.push((name, text)),
                _ => only_text = false,
            }
        }
        Ok(if only_text { Value::Map(entries) } else { Value::Other })
    }
}
