//! What backends are told: answers to commands, and events.
//!
//! Both are JSON, whatever the command's meta was written in, because every language reads it.

use bytes::Bytes;
use serde::Serialize;

use crate::protocol::{Event, EventKind, RequestId};

/// Writes the answer to a command: how many sessions it reached, or a code and what to do.
pub fn encode_answer(rid: Option<&RequestId>, result: Result<u64, (&str, &str)>) -> Vec<u8> {
    let (sessions, error) = match result {
        Ok(sessions) => (Some(sessions), None),
        Err((code, message)) => (None, Some(ErrorBody { code, message })),
    };
    to_json(&AnswerBody { rid, ok: error.is_none(), sessions, error })
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
    let (topic, code, ct, payload) = match &event.kind {
        EventKind::Connected => ("$event.connected", None, None, Bytes::new()),
        EventKind::Disconnected { code } => {
            ("$event.disconnected", Some(*code), None, Bytes::new())
        }
        EventKind::UserOnline => ("$event.user_online", None, None, Bytes::new()),
        EventKind::UserOffline => ("$event.user_offline", None, None, Bytes::new()),
        EventKind::Joined { .. } => ("$event.joined", None, None, Bytes::new()),
        EventKind::Left { .. } => ("$event.left", None, None, Bytes::new()),
        EventKind::Message { text, payload } => {
            let ct = if *text { "text" } else { "binary" };
            ("$event.message", None, Some(ct), payload.clone())
        }
    };
    let meta = to_json(&EventMeta {
        client: event.client.to_string(),
        user: event.personal.as_ref().and_then(|personal| personal.user()),
        device: event.device.as_deref(),
        shard: event.client.shard.0,
        seq: event.sequence,
        code,
        ct,
    });
    EncodedEvent { topic, payload, meta }
}

#[derive(Serialize)]
struct AnswerBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    rid: Option<&'a RequestId>,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    sessions: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorBody<'a>>,
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
    shard: u8,
    seq: u64,
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
    use crate::protocol::{ChannelName, ClientId, ShardId};

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn answers() {
        let rid = RequestId::Text("a\"b".into());
        assert_eq!(
            text(encode_answer(Some(&rid), Ok(3))),
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
        assert_eq!(text(encode_answer(None, Ok(0))), r#"{"ok":true,"sessions":0}"#);
    }

    #[test]
    fn events() {
        let client = ClientId { shard: ShardId(1), row: 2, generation: 3 };
        let mut event = Event {
            kind: EventKind::Connected,
            client,
            personal: Some(ChannelName::personal("42").unwrap()),
            device: Some("phone".into()),
            sequence: 7,
        };
        let encoded = encode_event(&event);
        assert_eq!((encoded.topic, encoded.payload.len()), ("$event.connected", 0));
        assert_eq!(
            text(encoded.meta),
            r#"{"client":"010000000200000003","user":"42","device":"phone","shard":1,"seq":7}"#
        );
        event.kind = EventKind::Message { text: false, payload: Bytes::from_static(b"\xff") };
        event.personal = None;
        event.device = None;
        let encoded = encode_event(&event);
        assert_eq!((encoded.topic, &encoded.payload[..]), ("$event.message", &b"\xff"[..]));
        assert_eq!(
            text(encoded.meta),
            r#"{"client":"010000000200000003","shard":1,"seq":7,"ct":"binary"}"#
        );
        event.kind = EventKind::Disconnected { code: 1006 };
        let encoded = encode_event(&event);
        assert_eq!(encoded.topic, "$event.disconnected");
        assert!(text(encoded.meta).ends_with(r#""code":1006}"#));
    }
}
