//! A value with the place where it was written: what every source is turned into before options
//! read it, so that files, variables and flags share one reader and one way to complain.
//!
//! Nesting is bounded by the TOML parser and the file's size by `source`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::error::{Error, Origin};

/// One value and its origin.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) origin: Origin,
    /// The text of a variable or flag, which looks like something else: digits, for example.
    written: Option<Box<str>>,
}

/// What TOML can say, as far as an option can be made of it.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Integer(i128),
    Boolean(bool),
    /// A float, a date or an integer beyond 128 bits: no option has such a value.
    Other(&'static str, String),
    Array(Vec<Node>),
    Table(Vec<(String, Node)>),
}

impl Node {
    /// Makes a node of the text of a variable or flag: TOML where it is TOML, else a string, so
    /// that `info` and `10s` need no second pair of quotes.
    pub(super) fn from_text(text: &str, origin: Origin) -> Self {
        let value = match DeValue::parse(text) {
            Ok(value) => convert(value.get_ref(), &|_| origin.clone()),
            Err(_) => Value::Text(text.to_owned()),
        };
        Self { value, origin, written: Some(text.into()) }
    }

    /// A string.
    pub(super) fn of_text(text: String, origin: Origin) -> Self {
        Self { value: Value::Text(text), origin, written: None }
    }

    /// The value as a string. A variable or flag needs no quotes for that whatever its text looks
    /// like: a secret may be all digits.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => self.written.as_deref(),
        }
    }

    /// True exactly when the value was written in a variable or flag, where lists may be written
    /// with commas.
    pub(super) fn is_from_text(&self) -> bool {
        matches!(self.origin, Origin::Variable(_) | Origin::Flag(_))
    }

    /// The value in words, shortened; nothing but its kind for `secret` ones.
    pub(super) fn describe(&self, secret: bool) -> String {
        let (kind, text) = match &self.value {
            Value::Text(text) => ("a string", Some(format!("{:?}", shorten(text)))),
            Value::Integer(number) => ("an integer", Some(number.to_string())),
            Value::Boolean(flag) => ("a boolean", Some(flag.to_string())),
            Value::Other(kind, text) => (*kind, Some(shorten(text))),
            Value::Array(_) => ("an array", None),
            Value::Table(_) => ("a table", None),
        };
        match text {
            Some(text) if !secret => text,
            _ => kind.to_owned(),
        }
    }
}

/// Parses a whole file into the entries of its root table.
pub(super) fn parse_file(
    text: &str,
    path: &Arc<PathBuf>,
) -> Result<Vec<(String, Node)>, Vec<Error>> {
    let lines = Lines::new(text);
    let origin = |span: std::ops::Range<usize>| Origin::File {
        path: Arc::clone(path),
        line: lines.line_of(span.start),
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(entries(table.get_ref(), &origin));
    }
    Err(errors
        .iter()
        .map(|error| Error::Syntax {
            origin: origin(error.span().unwrap_or(0..0)),
            reason: error.message().replace('\n', ", "),
        })
        .collect())
}

fn entries(
    table: &DeTable<'_>,
    origin: &dyn Fn(std::ops::Range<usize>) -> Origin,
) -> Vec<(String, Node)> {
    let mut entries: Vec<_> =
        table.iter().map(|(key, value)| (key.span().start, key, value)).collect();
    // The map is sorted by name; mistakes read better in the order of the file.
    entries.sort_by_key(|(start, ..)| *start);
    entries
        .into_iter()
        .map(|(_, key, value): (_, _, &Spanned<DeValue<'_>>)| {
            let value = convert(value.get_ref(), origin);
            let node = Node { value, origin: origin(key.span()), written: None };
            (key.get_ref().to_string(), node)
        })
        .collect()
}

fn convert(value: &DeValue<'_>, origin: &dyn Fn(std::ops::Range<usize>) -> Origin) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => Value::Other("an integer", number.as_str().to_owned()),
        },
        DeValue::Boolean(flag) => Value::Boolean(*flag),
        DeValue::Float(number) => Value::Other("a float", number.as_str().to_owned()),
        DeValue::Datetime(time) => Value::Other("a date", time.to_string()),
        DeValue::Array(values) => Value::Array(
            values
                .iter()
                .map(|value| Node {
                    value: convert(value.get_ref(), origin),
                    origin: origin(value.span()),
                    written: None,
                })
                .collect(),
        ),
        DeValue::Table(table) => Value::Table(entries(table, origin)),
    }
}

/// At most 60 characters, so that a hostile file cannot flood a log.
fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        let _ = write!(short, "… ({} bytes)", text.len());
    }
    short
}

/// Where the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        Self(
            text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect(),
        )
    }

    fn line_of(&self, at: usize) -> usize {
        self.0.partition_point(|newline| *newline < at) + 1
    }
}
