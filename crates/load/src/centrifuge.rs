//! The Centrifuge client protocol in JSON as a client speaks it: commands out, lines in.
//!
//! This is not the server's code the other way round: it is written from the protocol alone, so
//! that an error of the server's does not pass unseen. Nothing is read into trees: a message stays
//! the piece of text that it is.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::channels::{Channels, Publication};
use crate::message::Message;
use crate::subscription::Position;

/// The command that says who we are. Those of subscriptions have the numbers behind it.
pub(super) const CONNECT: &[u8] = br#"{"id":1,"connect":{"name":"tidegate bench"}}"#;

/// Its number.
pub(super) const CONNECT_ID: u32 = 1;

/// The server's ping, and the answer to it.
pub(super) const PING: &[u8] = b"{}";

/// From here on the server wants the client to subscribe again.
const RESUBSCRIBE_CODE_MIN: u32 = 2500;

/// The command to hear a channel.
#[derive(Serialize)]
struct SubscribeCommand<'a> {
    id: u32,
    subscribe: Subscribe<'a>,
}

#[derive(Serialize)]
struct Subscribe<'a> {
    channel: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    recoverable: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    recover: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    epoch: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
}

/// The command for the subscription at `place`. With a position it asks for what came since.
pub(super) fn subscribe(
    place: usize,
    channel: &str,
    recoverable: bool,
    position: Option<&Position>,
) -> Vec<u8> {
    let subscribe = Subscribe {
        channel,
        recoverable: recoverable || position.is_some(),
        recover: position.is_some(),
        epoch: position.map_or("", |position| &position.epoch),
        offset: position.map(|position| position.offset),
    };
    let id = CONNECT_ID + 1 + place as u32;
    serde_json::to_vec(&SubscribeCommand { id, subscribe }).expect("names and numbers become JSON")
}

/// Which subscription a reply is about.
pub(super) fn place_of(id: u32) -> Option<usize> {
    Some(id.checked_sub(CONNECT_ID + 1)? as usize)
}

/// One line of a frame: a reply if it has an `id`, else a push.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Line<'a> {
    pub(super) id: u32,
    #[serde(borrow)]
    pub(super) error: Option<Refusal<'a>>,
    pub(super) connect: Option<Connected>,
    #[serde(borrow)]
    pub(super) subscribe: Option<Subscribed<'a>>,
    #[serde(borrow)]
    pub(super) push: Option<Push<'a>>,
}

/// Why a command failed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Refusal<'a> {
    pub(super) code: u32,
    #[serde(borrow)]
    pub(super) message: Cow<'a, str>,
}

/// The answer to `connect`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Connected {
    /// Whether pings are to be answered.
    pub(super) pong: bool,
}

/// The answer to `subscribe`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Subscribed<'a> {
    #[serde(borrow)]
    pub(super) epoch: Cow<'a, str>,
    pub(super) offset: u64,
    pub(super) recovered: bool,
    #[serde(borrow)]
    pub(super) publications: Vec<Published<'a>>,
}

/// What comes unasked; kinds that a bench does not need are left out.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Push<'a> {
    #[serde(borrow)]
    pub(super) channel: Cow<'a, str>,
    #[serde(borrow, rename = "pub")]
    pub(super) publication: Option<Published<'a>>,
    #[serde(borrow)]
    pub(super) unsubscribe: Option<Unsubscribed<'a>>,
}

/// A publication.
#[derive(Debug, Deserialize)]
pub(super) struct Published<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(default)]
    offset: u64,
}

/// A subscription has ended.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Unsubscribed<'a> {
    pub(super) code: u32,
    #[serde(borrow)]
    pub(super) reason: Cow<'a, str>,
}

impl<'a> Line<'a> {
    /// Reads a line; `None` if it is none of the protocol.
    pub(super) fn read(line: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// The publication that a line pushes, if it pushes one that is right.
    pub(super) fn publication(line: &[u8], channels: &Channels) -> Option<Publication> {
        let push = Line::read(line)?.push?;
        push.publication?.check(&push.channel, channels)
    }
}

impl Published<'_> {
    /// What it says, if that came as it was published and belongs into this channel.
    pub(super) fn check(&self, channel: &str, channels: &Channels) -> Option<Publication> {
        let message = Message::decode_json(self.data.get().as_bytes())?;
        let publication = channels.assign_named(channel, message)?;
        Some(Publication { offset: self.offset, ..publication })
    }
}

impl Unsubscribed<'_> {
    /// Whether the client shall subscribe again.
    pub(super) fn is_temporary(&self) -> bool {
        self.code >= RESUBSCRIBE_CODE_MIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_say_no_more_than_they_must() {
        let text = |position| String::from_utf8(subscribe(1, "a\"b", false, position)).unwrap();
        assert_eq!(text(None), r#"{"id":3,"subscribe":{"channel":"a\"b"}}"#);
        let position = Position { epoch: "e".into(), offset: 0 };
        let expected = concat!(
            r#"{"id":3,"subscribe":{"channel":"a\"b","recoverable":true,"recover":true,"#,
            r#""epoch":"e","offset":0}}"#
        );
        assert_eq!(text(Some(&position)), expected);
        assert_eq!([0, 1, 2, 3].map(place_of), [None, None, Some(0), Some(1)]);
    }

    #[test]
    fn a_publication_is_found_whatever_stands_around_it() {
        let channels = Channels::default();
        let message = Message { number: 7, published_nanos: 9 };
        let data = String::from_utf8(message.encode_json(60)).unwrap();
        let read = |line: &str| Line::publication(line.as_bytes(), &channels);
        let plain =
            format!(r#"{{"push":{{"channel":"bench","pub":{{"data":{data},"offset":3}}}}}}"#);
        let publication = read(&plain).unwrap();
        assert_eq!((publication.message, publication.offset), (message, 3));
        let strange = r#""info":{"user":"}"},"tags":{"data":"x"}"#;
        let other =
            format!(r#" {{"push":{{"pub":{{{strange},"data":{data}}},"channel":"ben\u0063h"}}}} "#);
        assert_eq!(read(&other).unwrap().offset, 0);
        for wrong in [
            plain.replace("bench", "other"),
            plain.replace("\"m\"", "\"n\""),
            plain.replace("\"m\":", "\"m\": "),
            plain.replace("\"pub\"", "\"join\""),
            plain.replace("}}}", "}}"),
            format!("{plain}x"),
        ] {
            assert_eq!(read(&wrong), None, "{wrong}");
        }
    }
}
