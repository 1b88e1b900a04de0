//! How a payload, which may be any bytes, becomes a value in JSON.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// What a payload is to JSON clients.
#[derive(Debug, PartialEq)]
pub(super) enum Form<'a> {
    /// One complete JSON value: embedded as it is.
    Json(&'a str),
    /// Other UTF-8: a string.
    Text(&'a str),
    /// Anything else: a string of base64 (RFC 4648 section 4, padded).
    Base64(String),
}

/// Judges a payload by its bytes alone, in time proportional to their number.
pub(super) fn form_of(payload: &[u8]) -> Form<'_> {
    match simdutf8::basic::from_utf8(payload) {
        Ok(text) if is_json(text) => Form::Json(text),
        Ok(text) => Form::Text(text),
        Err(_) => Form::Base64(STANDARD.encode(payload)),
    }
}

/// Whether every client can read it. Parsers have limits, and what one publisher sends must not
/// cut subscribers off: so numbers have to fit a double (Python, for one, refuses integers of more
/// than 4,300 digits), escaped surrogates must come in pairs, and nesting ends somewhere.
pub(in crate::protocol) fn is_json(text: &str) -> bool {
    let mut reader = serde_json::Deserializer::from_str(text);
    Nested { levels: JSON_DEPTH_MAX }.deserialize(&mut reader).and_then(|()| reader.end()).is_ok()
}

/// Deepest nesting of a payload that is passed on as JSON. Some parsers stop at 128 levels, of
/// which a reply takes six.
const JSON_DEPTH_MAX: usize = 100;

/// A value that may nest so many levels; it is read and forgotten.
#[derive(Clone, Copy)]
struct Nested {
    levels: usize,
}

impl Nested {
    fn descend<E: Error>(self) -> Result<Self, E> {
        let levels = self.levels.checked_sub(1).ok_or_else(|| E::custom("too deep"))?;
        Ok(Self { levels })
    }
}

impl<'de> DeserializeSeed<'de> for Nested {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Nested {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let inner = self.descend()?;
        while list.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.descend()?;
        while map.next_entry_seed(inner, inner)?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_one_complete_value() {
        for json in ["null", "true", "-0", " [1,\r\n2.5] ", r#"{"a":"\ud83d\ude00\n"}"#, r#""{""#] {
            assert_eq!(form_of(json.as_bytes()), Form::Json(json), "{json}");
        }
        for text in ["", " ", "{", "{}{}", "1 2", "01", "nul", "'a'", "[1,]", "\"a\nb\"", "é", "\0"]
        {
            assert_eq!(form_of(text.as_bytes()), Form::Text(text), "{text}");
        }
        assert_eq!(form_of(b"\xffab"), Form::Base64("/2Fi".into()));
        assert_eq!(form_of(b"\"\xff\""), Form::Base64("Iv8i".into()));
    }

    #[test]
    fn what_some_parsers_refuse_is_text() {
        assert!(is_json("1e308") && is_json(&"9".repeat(308)));
        assert!(!is_json("1e309") && !is_json(&"9".repeat(4301)));
        assert!(!is_json(r#""\ud800""#));
    }

    #[test]
    fn deep_nesting_is_text() {
        let lists = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        let objects = |depth: usize| "{\"a\":".repeat(depth) + "1" + &"}".repeat(depth);
        assert!(is_json(&lists(JSON_DEPTH_MAX)) && is_json(&objects(JSON_DEPTH_MAX)));
        assert!(!is_json(&lists(JSON_DEPTH_MAX + 1)) && !is_json(&objects(JSON_DEPTH_MAX + 1)));
        assert!(!is_json(&lists(1_000_000)) && !is_json(&objects(1_000_000)));
        assert!(is_json(&format!("[{}0]", "[],".repeat(1000))));
    }
}
