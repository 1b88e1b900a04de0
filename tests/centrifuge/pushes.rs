//! Pushes and replies: clients that know JSON or protobuf, and nothing of the codec, read in them
//! what was published.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate::model::{
    ChannelName, ClientId, ClientInfo, Epoch, NodeId, PersonalPush, Position, Publication, Push,
    PushBody, Reply, ShardId, SubscribeResult, Variant, Version,
};
use tidegate::protocol::centrifuge::{encode_personal_push, encode_reply};

use crate::payload;
use crate::protobuf::{self, fields, only, take_bytes};

/// A publication in plain terms.
#[derive(Clone, Debug, Default)]
struct Published {
    channel: String,
    payload: Vec<u8>,
    user: Option<String>,
    tags: Vec<(String, String)>,
    offset: u64,
    version: u64,
}

const CLIENT: ClientId = ClientId { node: NodeId(0), shard: ShardId(1), row: 2, generation: 3 };

fn published() -> impl Strategy<Value = Published> {
    let payload = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..200),
        4 => any::<String>().prop_map(String::into_bytes),
        4 => any::<String>().prop_map(|text| json!({"a": [text, null]}).to_string().into_bytes()),
        4 => "[ \n]{0,2}\\{[ \n]{0,2}\"a\" ?:\r?\n[0-9]\n\\}\n?".prop_map(String::into_bytes),
        // Around the changes of lengths in frame headers.
        1 => (65_400..65_600_usize).prop_map(|size| vec![b'7'; size]),
        1 => (65_400..65_600_usize).prop_map(|size| vec![b'x'; size]),
    ];
    // Not `t`, so that a tag may come first or last but not twice.
    let tags = prop::collection::btree_map("[a-su-z\"\\\\\n]{0,5}", any::<String>(), 0..4);
    let user = prop::option::of(any::<String>());
    let number = || prop_oneof![Just(0), any::<u64>()];
    ("[a-zé\"\\\\]{1,8}", payload, user, tags, number(), number()).prop_map(
        |(channel, payload, user, tags, offset, version)| Published {
            channel,
            payload,
            user,
            tags: tags.into_iter().collect(),
            offset,
            version,
        },
    )
}

impl Published {
    fn push(&self) -> Push {
        let text = str::from_utf8(&self.payload).is_ok();
        let tags = self.tags.iter().map(|(name, value)| (&**name, &**value));
        let mut publication = Publication::new(text, &self.payload, 0)
            .with_tags(tags.map(|(name, value)| (name.into(), value.into())).collect());
        if self.version > 0 {
            let version = Version { number: self.version, epoch: "v".into() };
            publication = publication.with_version(Some(version));
        }
        if let Some(user) = &self.user {
            publication = publication.with_publisher(Arc::new(ClientInfo {
                client: CLIENT,
                user: user.as_str().into(),
                connection: None,
                channel: Some("{\n}".into()),
            }));
        }
        let channel = ChannelName::parse(self.channel.as_bytes()).expect("a name");
        let (publication, offset) = (Arc::new(publication), self.offset);
        Push::new(channel, PushBody::Publication { publication, offset })
    }

    /// The publication as JSON clients are to read it.
    fn json(&self) -> Value {
        let mut tags: serde_json::Map<_, _> =
            self.tags.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let data = match str::from_utf8(&self.payload) {
            Ok(text) => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
            Err(_) => {
                tags.insert("tidegate.encoding".into(), json!("base64"));
                json!(STANDARD.encode(&self.payload))
            }
        };
        let mut publication = json!({"data": data});
        if let Some(user) = &self.user {
            publication["info"] =
                json!({"user": user, "client": "0000010000000200000003", "chan_info": {}});
        }
        if self.offset > 0 {
            publication["offset"] = json!(self.offset);
        }
        if self.version > 0 {
            publication["version"] = json!(self.version);
        }
        if !tags.is_empty() {
            publication["tags"] = tags.into();
        }
        publication
    }

    /// Whether a protobuf message is this publication.
    fn check_protobuf(&self, message: &[u8]) -> Result<(), TestCaseError> {
        use protobuf::Value::{Bytes, Number};
        let mut expected = Vec::new();
        if !self.payload.is_empty() {
            expected.push((4, Bytes(&self.payload)));
        }
        let mut info = Vec::new();
        if let Some(user) = self.user.as_deref() {
            if !user.is_empty() {
                info.push((1, Bytes(user.as_bytes())));
            }
            info.extend([(2, Bytes(b"0000010000000200000003")), (4, Bytes(b"{\n}"))]);
        }
        let mut tags = Vec::new();
        for (field, value) in fields(message) {
            match (field, value) {
                (5, Bytes(message)) => {
                    prop_assert!(self.user.is_some());
                    prop_assert_eq!(fields(message), std::mem::take(&mut info));
                }
                (7, Bytes(entry)) => tags.push(tag(entry)),
                (6, Number(offset)) => prop_assert!(offset > 0 && offset == self.offset),
                (16, Number(version)) => prop_assert!(version > 0 && version == self.version),
                (field, value) => prop_assert_eq!((field, value), expected.remove(0)),
            }
        }
        prop_assert!(expected.is_empty() && info.is_empty());
        prop_assert_eq!(&tags, &self.tags);
        for (number, value) in [(6, self.offset), (16, self.version)] {
            let count = fields(message).iter().filter(|(field, _)| *field == number).count();
            prop_assert_eq!(count, usize::from(value > 0));
        }
        Ok(())
    }
}

/// An entry of a map of texts; what is empty is left out.
fn tag(entry: &[u8]) -> (String, String) {
    let part = |wanted: u64| {
        let value = fields(entry).into_iter().find(|(field, _)| *field == wanted);
        match value {
            Some((_, protobuf::Value::Bytes(text))) => {
                String::from_utf8(text.into()).expect("UTF-8")
            }
            _ => String::new(),
        }
    };
    (part(1), part(2))
}

/// What a JSON client reads in a frame: exactly one reply.
fn reply(frame: &[u8]) -> Value {
    let payload = payload(Variant::Json, frame);
    assert!(!payload.contains(&b'\n'), "clients would part it");
    serde_json::from_slice(payload).expect("one JSON value")
}

/// What a protobuf client reads in a frame: exactly one message.
fn message(frame: &[u8]) -> &[u8] {
    let mut payload = payload(Variant::Protobuf, frame);
    let message = take_bytes(&mut payload);
    assert!(payload.is_empty());
    message
}

proptest! {
    #[test]
    fn publications_arrive(published in published()) {
        let push = published.push();
        prop_assert_eq!(
            reply(push.frame(Variant::Json).unwrap()),
            json!({"push": {"channel": published.channel, "pub": published.json()}})
        );
        let object: Value = serde_json::from_slice(push.object(Variant::Json)).unwrap();
        prop_assert_eq!(object, published.json());

        let object = push.object(Variant::Protobuf);
        published.check_protobuf(object)?;
        let inner = only(message(push.frame(Variant::Protobuf).unwrap()), 4);
        let channel = published.channel.as_bytes();
        let expected = [(2, protobuf::Value::Bytes(channel)), (4, protobuf::Value::Bytes(object))];
        prop_assert_eq!(fields(inner), expected);
    }

    #[test]
    fn replies_repeat_publications(
        published in prop::collection::vec(published(), 0..5),
        offset in any::<u64>(),
    ) {
        let pushes: Vec<_> = published.iter().map(|one| Arc::new(one.push())).collect();
        let position = Position { offset, epoch: Epoch(0xbeef) };
        let history = Reply::History(&pushes, position);
        let json: Vec<Value> = published.iter().map(Published::json).collect();

        let mut out = Vec::new();
        encode_reply(Variant::Json, 7, &history, &mut out);
        let result = json!({"publications": json, "epoch": "beef", "offset": offset});
        prop_assert_eq!(reply(&out), json!({"id": 7, "history": result}));

        let mut out = Vec::new();
        encode_reply(Variant::Protobuf, 7, &history, &mut out);
        let reply = fields(message(&out));
        prop_assert_eq!(&reply[0], &(1, protobuf::Value::Number(7)));
        let (11, protobuf::Value::Bytes(result)) = reply[1] else { panic!("{reply:?}") };
        let mut result = fields(result).into_iter();
        for published in &published {
            let Some((1, protobuf::Value::Bytes(object))) = result.next() else { panic!("few") };
            published.check_protobuf(object)?;
        }
        prop_assert_eq!(result.next(), Some((2, protobuf::Value::Bytes(b"beef"))));
        let expected = (offset > 0).then_some((3, protobuf::Value::Number(offset)));
        prop_assert_eq!(result.next(), expected);
    }

    #[test]
    fn personal_messages_arrive(published in published()) {
        let text = str::from_utf8(&published.payload).is_ok();
        let push = PersonalPush::Message { payload: &published.payload, text };
        let mut out = Vec::new();
        encode_personal_push(Variant::Json, &push, &mut out);
        let data = &published.json()["data"];
        prop_assert_eq!(reply(&out), json!({"push": {"message": {"data": data}}}));
        let mut out = Vec::new();
        encode_personal_push(Variant::Protobuf, &push, &mut out);
        let push = only(only(message(&out), 4), 8);
        if published.payload.is_empty() {
            prop_assert!(push.is_empty());
        } else {
            prop_assert_eq!(only(push, 1), &published.payload);
        }
    }
}

#[test]
fn nobody_can_lie_about_the_encoding_of_bytes() {
    let tags = vec![("tidegate.encoding".to_owned(), "none".to_owned())];
    let published =
        Published { channel: "news".into(), payload: b"\xff".into(), tags, ..Published::default() };
    let expected = json!({"data": "/w==", "tags": {"tidegate.encoding": "base64"}});
    let push = published.push();
    let text = str::from_utf8(push.object(Variant::Json)).unwrap();
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), expected);
    assert_eq!(text.matches("tidegate.encoding").count(), 1, "strict parsers take no name twice");
}

/// Everything that is nested most: a recovered publication in a connect reply has to be read by
/// parsers whose limit is 128 levels.
#[test]
fn deep_payloads_are_strings() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    for (depth, is_json) in [(100, true), (101, false), (100_000, false)] {
        let payload = nested(depth).into_bytes();
        let published =
            Published { channel: "c".into(), payload, offset: 1, ..Published::default() };
        let push = Arc::new(published.push());
        let result = SubscribeResult { publications: vec![push], ..SubscribeResult::default() };
        let mut out = Vec::new();
        encode_reply(Variant::Json, 1, &Reply::Subscribe(&result), &mut out);
        let data = &reply(&out)["subscribe"]["publications"][0]["data"];
        assert_eq!(data.is_array(), is_json, "{depth}");
    }
}
