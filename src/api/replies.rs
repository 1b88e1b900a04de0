//! The body of a response while it grows.

use std::io;

use serde::Serialize;

use crate::api::backend::{count, count_responses};
use crate::metrics::ApiMetrics;
use crate::protocol::CommandError;
use crate::protocol::http_api::{Body, Fault, Method, Reply};

/// Most bytes of results in one response. What would go past it is an error instead.
const RESPONSE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What the replies to several commands look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// One object with all of them, each with its method as the key.
    Batch,
    /// A line for each, with `result` as the key. There is none behind the last: clients part the
    /// whole at each end of a line.
    Lines,
}

/// The replies to several commands.
pub(super) struct Replies<'a> {
    metrics: &'a ApiMetrics,
    style: Style,
    json: Bounded,
}

impl<'a> Replies<'a> {
    /// None so far.
    pub(super) fn new(metrics: &'a ApiMetrics, style: Style) -> Self {
        let opening: &[u8] = if style == Style::Batch { b"{\"replies\":[" } else { b"" };
        Self { metrics, style, json: Bounded(opening.to_vec()) }
    }

    /// Adds what a command brought.
    pub(super) fn push(&mut self, method: Option<Method>, reply: Result<Reply, Fault>) {
        let (separator, key) = match self.style {
            Style::Batch => (b',', method.map_or("", Method::name)),
            Style::Lines => (b'\n', "result"),
        };
        if self.json.0.ends_with(b"}") {
            self.json.0.push(separator);
        }
        let written = reply.and_then(|reply| {
            count_responses(self.metrics, &reply);
            self.json.write(&Keyed(key, reply))
        });
        if let Err(fault) = written {
            count(self.metrics, &fault);
            let json = serde_json::to_vec(&Body::<()>::Error(fault)).expect("text and numbers");
            self.json.0.extend(json);
        }
    }

    /// The body.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.style == Style::Batch {
            self.json.0.extend(b"]}");
        }
        self.json.0
    }
}

/// An object with one key.
struct Keyed(&'static str, Reply);

impl Serialize for Keyed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(self.0, &self.1)])
    }
}

/// JSON of at most [`RESPONSE_BYTES_MAX`].
#[derive(Default)]
pub(super) struct Bounded(pub(super) Vec<u8>);

impl Bounded {
    /// Appends a value, or nothing and an error.
    pub(super) fn write(&mut self, value: &impl Serialize) -> Result<(), Fault> {
        let length = self.0.len();
        serde_json::to_writer(&mut *self, value).map_err(|_| {
            self.0.truncate(length);
            Fault::of(CommandError::TooLarge, None)
        })
    }
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > RESPONSE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
