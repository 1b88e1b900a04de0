//! The body of a response while it grows.

use std::io;

use axum::body::Bytes;
use serde::Serialize;

use crate::api::backend::{Failure, count, count_responses};
use crate::api::error::ApiError;
use crate::api::room::{Charge, Room};
use crate::metrics::ApiMetrics;
use crate::model::ClientError;
use crate::protocol::http_api::{Body, Fault, Method, Reply};

/// Most bytes of results in one response. What would go past it is an error instead.
const RESPONSE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What to do about it.
const TOO_LONG: &str = "a response has at most 16 MiB: ask for less, in fewer commands; for a \
    publication that is too long by itself, lower message_bytes_max where it comes in";

/// With so much memory every answer begins.
const FIRST_BYTES: usize = 512;

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
    pub(super) fn new(metrics: &'a ApiMetrics, room: &Room, style: Style) -> Self {
        let mut json = Bounded::new(room);
        json.bytes.extend_from_slice(if style == Style::Batch { b"{\"replies\":[" } else { b"" });
        Self { metrics, style, json }
    }

    /// Adds what a command brought.
    pub(super) fn push(&mut self, method: Option<Method>, reply: Result<Reply, Fault>) {
        let (separator, key) = match self.style {
            Style::Batch => (b',', method.map_or("", Method::name)),
            Style::Lines => (b'\n', "result"),
        };
        if self.json.bytes.ends_with(b"}") {
            self.json.bytes.push(separator);
        }
        let written = reply.and_then(|reply| {
            count_responses(self.metrics, &reply);
            self.json.write(key, reply).map_err(|failure| failure.fault)
        });
        if let Err(fault) = written {
            count(self.metrics, &fault);
            let json = serde_json::to_vec(&Body::<()>::Error(fault)).expect("text and numbers");
            self.json.bytes.extend(json);
        }
    }

    /// The body.
    pub(super) fn finish(mut self) -> Bytes {
        if self.style == Style::Batch {
            self.json.bytes.extend(b"]}");
        }
        self.json.seal()
    }
}

/// An object with one key.
struct Keyed<'a>(&'static str, &'a Reply);

impl Serialize for Keyed<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(self.0, self.1)])
    }
}

/// JSON of at most [`RESPONSE_BYTES_MAX`], for which there must be room.
pub(super) struct Bounded {
    bytes: Vec<u8>,
    charge: Charge,
    /// There was no room.
    is_refused: bool,
}

impl Bounded {
    /// Nothing so far.
    pub(super) fn new(room: &Room) -> Self {
        Self { bytes: Vec::new(), charge: room.charge(), is_refused: false }
    }

    /// Appends an object with one key, or nothing and an error. What a history has too much, as
    /// JSON of text may have six times as many bytes, is left out of it.
    pub(super) fn write(&mut self, key: &'static str, mut reply: Reply) -> Result<(), Failure> {
        let length = self.bytes.len();
        while serde_json::to_writer(&mut *self, &Keyed(key, &reply)).is_err() {
            self.bytes.truncate(length);
            if std::mem::take(&mut self.is_refused) {
                return Err(ApiError::NoRoom.into());
            }
            if !reply.shorten() {
                return Err(Fault::new(ClientError::LimitExceeded, TOO_LONG).into());
            }
        }
        Ok(())
    }

    /// What was written, with its room.
    pub(super) fn seal(self) -> Bytes {
        self.charge.seal(self.bytes)
    }
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.bytes.len() + bytes.len();
        if length > RESPONSE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if length > self.bytes.capacity() {
            // Memory is doubled as it grows.
            let room = (2 * self.bytes.capacity()).max(FIRST_BYTES).max(length);
            let room = room.min(RESPONSE_BYTES_MAX);
            if !self.charge.grow_to(room) {
                self.is_refused = true;
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
