//! Several requests in one body: a `batch`, or lines.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::limits::BATCH_COMMANDS_MAX;
use crate::model::ClientError;
use crate::protocol::http_api::request::object;
use crate::protocol::http_api::{Fault, Method, Request, decode_request};

/// One of several requests, with its method. What is wrong with it concerns no other.
pub type Entry = (Option<Method>, Result<Request, Fault>);

/// Several requests in one body.
#[derive(Debug)]
pub struct Batch {
    /// The requests.
    pub requests: Vec<Entry>,
    /// Whether they may be carried out at the same time.
    pub parallel: bool,
}

/// Decodes the body of `batch`.
pub fn decode_batch(body: &[u8], received_nanos: u64) -> Result<Batch, Fault> {
    let BatchBody { commands, parallel } = serde_json::from_slice(object(body)?)?;
    check_count(commands.len())?;
    let requests = commands.iter().map(|command| decode_entry(command, received_nanos)).collect();
    Ok(Batch { requests, parallel: parallel.unwrap_or_default() })
}

/// Decodes commands that stand one behind the other, as older clients send them: each an object
/// with `method` and `params`.
pub fn decode_lines(body: &[u8], received_nanos: u64) -> Result<Vec<Entry>, Fault> {
    let lines = serde_json::Deserializer::from_slice(body).into_iter::<&RawValue>();
    let lines: Vec<&RawValue> = lines.take(BATCH_COMMANDS_MAX + 1).collect::<Result<_, _>>()?;
    check_count(lines.len())?;
    Ok(lines.into_iter().map(|line| decode_line(line.get(), received_nanos)).collect())
}

fn check_count(commands: usize) -> Result<(), Fault> {
    match commands {
        0 => Err(Fault::bad("there must be at least one command")),
        1..=BATCH_COMMANDS_MAX => Ok(()),
        _ => {
            let cause =
                format!("a request has at most {BATCH_COMMANDS_MAX} commands; send several");
            Err(Fault::new(ClientError::LimitExceeded, cause))
        }
    }
}

/// One command of several lines.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    method: String,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

fn decode_line(line: &str, received_nanos: u64) -> Entry {
    let line = object(line.as_bytes()).and_then(|line| Ok(serde_json::from_slice(line)?));
    match line {
        Ok(Line { method, params }) => decode_named(&method, params, received_nanos),
        Err(fault) => (None, Err(fault)),
    }
}

fn decode_named(name: &str, body: Option<&RawValue>, received_nanos: u64) -> Entry {
    let Some(method) = Method::parse(name) else {
        return (None, Err(Fault::new(ClientError::MethodNotFound, "there is no such method")));
    };
    let body = body.map_or("", RawValue::get);
    (Some(method), decode_request(method, body.as_bytes(), received_nanos))
}

fn decode_entry(command: &RawValue, received_nanos: u64) -> Entry {
    match serde_json::from_str(command.get()) {
        Ok(Keyed { name, body }) => decode_named(&name, Some(body), received_nanos),
        Err(error) => (None, Err(Fault::from(error))),
    }
}

/// The body of `batch`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchBody<'a> {
    #[serde(borrow)]
    commands: Vec<&'a RawValue>,
    parallel: Option<bool>,
}

/// One command of a batch: an object with the method as its only key.
struct Keyed<'a> {
    name: String,
    body: &'a RawValue,
}

impl<'de> Deserialize<'de> for Keyed<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OnlyKey;
        impl<'de> Visitor<'de> for OnlyKey {
            type Value = Keyed<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with one method")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keyed<'de>, A::Error> {
                let missing = || serde::de::Error::custom("a command names one method");
                let (name, body) = map.next_entry()?.ok_or_else(missing)?;
                match map.next_key::<String>()? {
                    None => Ok(Keyed { name, body }),
                    Some(_) => Err(missing()),
                }
            }
        }
        deserializer.deserialize_map(OnlyKey)
    }
}
