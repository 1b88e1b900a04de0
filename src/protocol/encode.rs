//! What backends are told: answers to commands, and events.
//!
//! Both are JSON, whatever the command's meta was written in, because every language reads it.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::model::{ChannelName, Event, EventKind, Position};
use crate::protocol::RequestId;

/// What a command did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// How many sessions it reached or acted upon.
    pub sessions: u64,
    /// Where its publication stands in each channel that has history.
    pub positions: Vec<(ChannelName, Position)>,
    /// Whether it named its channels in a list: so does the answer, even for one.
    pub is_broadcast: bool,
}

/// Writes the answer to a command: what it did, or a code and what to do.
pub fn encode_answer(rid: Option<&RequestId>, result: Result<&Accepted, (&str, &str)>) -> Vec<u8> {
    let accepted = match result {
        Ok(accepted) => accepted,
        Err((code, message)) => {
            return to_json(&RefusalBody { rid, ok: false, error: ErrorBody { code, message } });
        }
    };
    let mut positions: Vec<_> = accepted.positions.iter().map(PositionBody::new).collect();
    let single = if accepted.is_broadcast { None } else { positions.pop() };
    to_json(&AnswerBody {
        rid,
        ok: true,
        sessions: accepted.sessions,
        offset: single.as_ref().map(|single| single.offset),
        epoch: single.map(|single| single.epoch),
        positions,
    })
}

/// An event as the three parts of its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedEvent {
    /// The topic to subscribe to.
    pub topic: &'static str,
    /// What the client sent; empty for other events.
    pub payload: Bytes,
    /// Who, and the details, as a JSON object.
    pub meta: Vec<u8>,
}

/// Writes an event.
pub fn encode_event(event: &Event) -> EncodedEvent {
    let mut payload = Bytes::new();
    let mut meta = EventMeta {
        client: event.client.to_string(),
        user: event.personal.as_ref().and_then(|personal| personal.user()),
        device: event.device.as_deref(),
        meta: event.meta.as_deref().and_then(|meta| serde_json::from_str(meta).ok()),
        shard: event.shard.0,
        seq: event.sequence,
        channel: None,
        code: None,
        ct: None,
    };
    let topic = match &event.kind {
        EventKind::Connected => "$event.connected",
        EventKind::Disconnected { code } => {
            meta.code = Some(*code);
            "$event.disconnected"
        }
        EventKind::Message { text, payload: message } => {
            meta.ct = Some(if *text { "text" } else { "binary" });
            payload = message.clone();
            "$event.message"
        }
        EventKind::UserOnline => "$event.user_online",
        EventKind::UserOffline => "$event.user_offline",
        EventKind::Joined { channel } => {
            meta.channel = Some(channel.as_str());
            "$event.joined"
        }
        EventKind::Left { channel } => {
            meta.channel = Some(channel.as_str());
            "$event.left"
        }
    };
    EncodedEvent { topic, payload, meta: to_json(&meta) }
}

#[derive(Serialize)]
struct AnswerBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    rid: Option<&'a RequestId>,
    ok: bool,
    sessions: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    positions: Vec<PositionBody<'a>>,
}

#[derive(Serialize)]
struct PositionBody<'a> {
    channel: &'a str,
    offset: u64,
    epoch: String,
}

impl<'a> PositionBody<'a> {
    fn new((channel, position): &'a (ChannelName, Position)) -> Self {
        let (offset, epoch) = (position.offset, position.epoch.to_string());
        Self { channel: channel.as_str(), offset, epoch }
    }
}

#[derive(Serialize)]
struct RefusalBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    rid: Option<&'a RequestId>,
    ok: bool,
    error: ErrorBody<'a>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct EventMeta<'a> {
    client: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<&'a RawValue>,
    shard: u8,
    seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ct: Option<&'a str>,
}

fn to_json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("text, numbers and named fields are always JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ClientId, Epoch, NodeId, ShardId};

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    fn accepted(sessions: u64) -> Accepted {
        Accepted { sessions, ..Accepted::default() }
    }

    #[test]
    fn answers() {
        let rid = RequestId::Text("a\"b".into());
        assert_eq!(
            text(encode_answer(Some(&rid), Ok(&accepted(3)))),
            r#"{"rid":"a\"b","ok":true,"sessions":3}"#
        );
        let rid = RequestId::Number(u64::MAX);
        assert_eq!(
            text(encode_answer(Some(&rid), Err(("timeout", "no answer")))),
            format!(
                r#"{{"rid":{},"ok":false,"error":{{"code":"timeout","message":"no answer"}}}}"#,
                u64::MAX
            )
        );
        assert_eq!(text(encode_answer(None, Ok(&accepted(0)))), r#"{"ok":true,"sessions":0}"#);
    }

    #[test]
    fn answers_with_positions() {
        let name = |name: &str| ChannelName::parse(name.as_bytes()).unwrap();
        let position = |offset| Position { offset, epoch: Epoch(0xbeef) };
        let mut accepted = Accepted { positions: vec![(name("a"), position(7))], ..accepted(2) };
        assert_eq!(
            text(encode_answer(None, Ok(&accepted))),
            r#"{"ok":true,"sessions":2,"offset":7,"epoch":"beef"}"#
        );
        accepted.is_broadcast = true;
        assert_eq!(
            text(encode_answer(None, Ok(&accepted))),
            r#"{"ok":true,"sessions":2,"positions":[{"channel":"a","offset":7,"epoch":"beef"}]}"#
        );
        accepted.positions.push((name("b\""), position(1)));
        let both = text(encode_answer(None, Ok(&accepted)));
        assert!(both.ends_with(r#",{"channel":"b\"","offset":1,"epoch":"beef"}]}"#), "{both}");
    }

    #[test]
    fn events() {
        let client = ClientId { node: NodeId(0), shard: ShardId(1), row: 2, generation: 3 };
        let mut event = Event {
            kind: EventKind::Connected,
            client,
            personal: Some(ChannelName::personal("42").unwrap()),
            device: Some("phone".into()),
            meta: Some(r#"{"plan": "gold"}"#.into()),
            shard: ShardId(1),
            sequence: 7,
        };
        let encoded = encode_event(&event);
        assert_eq!((encoded.topic, encoded.payload.len()), ("$event.connected", 0));
        assert_eq!(
            text(encoded.meta),
            concat!(
                r#"{"client":"0000010000000200000003","user":"42","device":"phone","#,
                r#""meta":{"plan": "gold"},"shard":1,"seq":7}"#
            )
        );
        event.meta = None;
        event.kind = EventKind::Message { text: false, payload: Bytes::from_static(b"\xff") };
        event.personal = None;
        event.device = None;
        let encoded = encode_event(&event);
        assert_eq!((encoded.topic, &encoded.payload[..]), ("$event.message", &b"\xff"[..]));
        assert_eq!(
            text(encoded.meta),
            r#"{"client":"0000010000000200000003","shard":1,"seq":7,"ct":"binary"}"#
        );
        event.kind = EventKind::Disconnected { code: 1006 };
        let encoded = encode_event(&event);
        assert_eq!(encoded.topic, "$event.disconnected");
        assert!(text(encoded.meta).ends_with(r#""code":1006}"#));
    }

    #[test]
    fn events_of_users_and_channels() {
        let client = ClientId { node: NodeId(0), shard: ShardId(1), row: 2, generation: 3 };
        let who = r#"{"client":"0000010000000200000003","user":"42","shard":1,"seq":7"#;
        let channel = || ChannelName::parse(b"chat:lobby").unwrap();
        for (kind, topic, rest) in [
            (EventKind::UserOnline, "$event.user_online", "}"),
            (EventKind::UserOffline, "$event.user_offline", "}"),
            (
                EventKind::Joined { channel: channel() },
                "$event.joined",
                r#","channel":"chat:lobby"}"#,
            ),
            (EventKind::Left { channel: channel() }, "$event.left", r#","channel":"chat:lobby"}"#),
        ] {
            let personal = Some(ChannelName::personal("42").unwrap());
            let (device, shard, sequence) = (None, ShardId(1), 7);
            let meta = None;
            let event = Event { kind, client, personal, device, meta, shard, sequence };
            let encoded = encode_event(&event);
            assert_eq!((encoded.topic, encoded.payload.len()), (topic, 0));
            assert_eq!(text(encoded.meta), format!("{who}{rest}"));
        }
    }
}
