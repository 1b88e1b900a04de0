//! What backends ask in the part `api`, by HTTP and by ROUTER, and what they must be answered.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tidegate::load::message::Message;
use tidegate::sys::Clock;

/// Publications of a call that has several.
const SEVERAL: usize = 100;

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// One publication.
    Publish,
    /// One message to several channels.
    Broadcast,
    /// Several publications.
    Batch,
}

impl Method {
    /// As it stands in the path.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Broadcast => "broadcast",
            Self::Batch => "batch",
        }
    }

    /// How many channels a call publishes to.
    pub(crate) fn channels(self) -> usize {
        if self == Self::Publish { 1 } else { SEVERAL }
    }
}

/// Who hears what is published.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// No one.
    Nobody,
    /// One subscriber in each channel.
    One,
    /// No one yet: the channels have history.
    Later,
}

impl Audience {
    /// What stands before the number of a channel.
    pub(crate) fn channel_prefix(self) -> &'static str {
        if self == Self::Later { "kept:" } else { "bench-" }
    }
}

/// What all calls of a round have in common.
#[derive(Clone, Copy)]
pub(crate) struct Calls {
    pub(crate) method: Method,
    pub(crate) audience: Audience,
    /// The size of a payload.
    pub(crate) bytes: usize,
}

/// A backend that waits for each answer before it asks again. Its channels are its own, so that the
/// order of what subscribers get is known, and so is every offset.
pub(crate) struct Caller {
    pub(crate) calls: Calls,
    /// Which of the callers it is.
    pub(crate) place: usize,
    /// How many of its calls were answered.
    answered: u32,
}

impl Caller {
    pub(crate) fn new(calls: Calls, place: usize) -> Self {
        Self { calls, place, answered: 0 }
    }

    /// The body of its next request.
    pub(crate) fn body(&self) -> String {
        let data = STANDARD.encode(self.payload());
        let channels = self.channels();
        let body = match self.calls.method {
            Method::Publish => json!({"channel": channels[0], "b64data": data}),
            Method::Broadcast => json!({"channels": channels, "b64data": data}),
            Method::Batch => {
                let publish = |channel| json!({"publish": {"channel": channel, "b64data": data}});
                let commands: Vec<_> = channels.into_iter().map(publish).collect();
                json!({"commands": commands})
            }
        };
        body.to_string()
    }

    /// The same as messages to ROUTER.
    pub(crate) fn messages(&self) -> Vec<[Vec<u8>; 3]> {
        let (payload, rid) = (self.payload(), self.place);
        let channels = self.channels();
        if self.calls.method == Method::Broadcast {
            let meta = json!({"op": "broadcast", "channels": channels, "rid": rid});
            return vec![[b"$cmd".into(), payload, meta.to_string().into()]];
        }
        let meta = json!({"rid": rid}).to_string();
        let message = |channel: String| [channel.into(), payload.clone(), meta.clone().into()];
        channels.into_iter().map(message).collect()
    }

    /// Everything is said about its last call, and must be right.
    pub(crate) fn check(&mut self, said: &Said) -> io::Result<()> {
        let Calls { method, audience, .. } = self.calls;
        let channels = method.channels();
        let offset = u64::from(self.answered) + 1;
        let right = Said {
            channels,
            sessions: if audience == Audience::One { channels as u64 } else { 0 },
            offsets: vec![offset; if audience == Audience::Later { channels } else { 0 }],
        };
        if *said != right {
            return Err(io::Error::other(format!("answered {said:?} instead of {right:?}")));
        }
        self.answered += 1;
        Ok(())
    }

    fn payload(&self) -> Vec<u8> {
        let published_nanos = Clock::shared_nanos();
        Message { number: self.answered, published_nanos }.encode(self.calls.bytes)
    }

    fn channels(&self) -> Vec<String> {
        let (count, prefix) = (self.calls.method.channels(), self.calls.audience.channel_prefix());
        let first = self.place * count;
        (first..first + count).map(|number| format!("{prefix}{number}")).collect()
    }
}

/// What answers say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// In how many channels something was published.
    pub(crate) channels: usize,
    /// How many sessions got it.
    pub(crate) sessions: u64,
    /// The offsets, where there are some.
    pub(crate) offsets: Vec<u64>,
}

impl Said {
    /// By the body of a response.
    pub(crate) fn in_response(method: Method, body: &[u8]) -> io::Result<Self> {
        let value: Value = serde_json::from_slice(body)?;
        let said = match method {
            Method::Publish => Self::in_publication(&value["result"]),
            Method::Broadcast => Self::in_responses(&value["result"]),
            Method::Batch => value["replies"].as_array().and_then(|replies| {
                replies.iter().map(|reply| Self::in_publication(&reply["publish"])).sum()
            }),
        };
        said.ok_or_else(|| refused(&value))
    }

    /// By one answer of ROUTER, and whom it is for.
    pub(crate) fn in_answer(method: Method, answer: &[u8]) -> io::Result<(usize, Self)> {
        let value: Value = serde_json::from_slice(answer)?;
        let said = match method {
            _ if value["ok"] != true => None,
            Method::Broadcast => Self::in_positions(&value),
            Method::Publish | Method::Batch => Self::in_publication(&value),
        };
        let place = value["rid"].as_u64().and_then(|place| usize::try_from(place).ok());
        place.zip(said).ok_or_else(|| refused(&value))
    }

    fn in_publication(value: &Value) -> Option<Self> {
        let offsets = value["offset"].as_u64().into_iter().collect();
        Some(Self { channels: 1, sessions: value["sessions"].as_u64()?, offsets })
    }

    fn in_responses(value: &Value) -> Option<Self> {
        let responses = value["responses"].as_array()?;
        let placed = responses.iter().filter_map(|response| response.get("result"));
        Some(Self {
            channels: placed.clone().count(),
            sessions: value["sessions"].as_u64()?,
            offsets: placed.filter_map(|placed| placed["offset"].as_u64()).collect(),
        })
    }

    /// An answer to a broadcast names only channels with history; that it is good says the rest.
    fn in_positions(value: &Value) -> Option<Self> {
        let positions = value["positions"].as_array().into_iter().flatten();
        Some(Self {
            channels: Method::Broadcast.channels(),
            sessions: value["sessions"].as_u64()?,
            offsets: positions.filter_map(|position| position["offset"].as_u64()).collect(),
        })
    }

    /// More is said about the same call.
    pub(crate) fn add(&mut self, more: Self) {
        self.channels += more.channels;
        self.sessions += more.sessions;
        self.offsets.extend(more.offsets);
    }
}

impl std::iter::Sum for Said {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |mut sum, part| {
            sum.add(part);
            sum
        })
    }
}

fn refused(value: &Value) -> io::Error {
    io::Error::other(format!("answered {value}"))
}
