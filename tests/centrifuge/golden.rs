//! Messages as SDKs write and read them: JSON by hand, protobuf by the official Python package
//! (`golden/make.py`), line by line equal to what the codec makes of the same values.

use std::sync::Arc;

use bytes::Bytes;
use tidegate::model::{
    ChannelName, ClientError, ClientId, ClientInfo, ConnectResult, Epoch, NodeId, PersonalPush,
    Position, PositionClaim, Publication, Push, PushBody, Reply, ShardId, SubscribeResult, Variant,
};
use tidegate::protocol::centrifuge::{
    ConnectRequest, HistoryRequest, Method, Request, SubscribeRequest, decode_requests,
    encode_personal_push, encode_reply, ping_frame,
};

use crate::payload;

/// Each message in both forms.
fn messages(file: &str) -> Vec<[(Variant, Vec<u8>); 2]> {
    let lines: Vec<&str> = file.lines().collect();
    let pairs = lines.chunks_exact(2).map(|pair| {
        let byte = |at| u8::from_str_radix(&pair[1][at..at + 2], 16).expect("hexadecimal");
        let bytes = (0..pair[1].len()).step_by(2).map(byte).collect();
        [(Variant::Json, pair[0].as_bytes().to_vec()), (Variant::Protobuf, bytes)]
    });
    pairs.collect()
}

fn claim(recover: bool, epoch: &str, offset: u64) -> PositionClaim {
    PositionClaim { recover, epoch: epoch.into(), offset }
}

fn methods() -> Vec<(u32, Method)> {
    let (channel, token) = (|| "news".to_owned(), |token: &str| token.to_owned());
    vec![
        (
            1,
            Method::Connect(Box::new(ConnectRequest {
                token: token("t.o.k"),
                data: Bytes::from_static(b"{\"a\":1}"),
                subs: vec![
                    ("#42".into(), claim(true, "beef", 300)),
                    ("news".into(), PositionClaim::default()),
                ],
                name: "js".into(),
                version: "5.8.0".into(),
                headers: vec![("X-Device".into(), "phone".into())],
            })),
        ),
        (
            2,
            Method::Subscribe(Box::new(SubscribeRequest {
                channel: channel(),
                token: token("s"),
                position: claim(true, "beef", u64::MAX),
                data: Bytes::from_static(b"[1]"),
                positioned: true,
                recoverable: true,
                join_leave: true,
                flag: 3,
                unsupported: Some("tf"),
            })),
        ),
        (3, Method::Unsubscribe { channel: channel() }),
        (
            4,
            Method::Publish {
                channel: channel(),
                data: Bytes::from_static(b"{\"text\":\"hi\"}"),
                unsupported: None,
            },
        ),
        (5, Method::Presence { channel: channel() }),
        (6, Method::PresenceStats { channel: channel() }),
        (
            7,
            Method::History(Box::new(HistoryRequest {
                channel: channel(),
                limit: -1,
                since: Some(("beef".into(), 3)),
                reverse: true,
            })),
        ),
        (8, Method::Ping),
        (0, Method::Send { data: Bytes::from_static(b"\"hello\"") }),
        (9, Method::Rpc { method: "sum".into(), data: Bytes::from_static(b"null") }),
        (10, Method::Refresh { token: token("t") }),
        (u32::MAX, Method::SubRefresh { channel: channel(), token: token("s"), unsupported: None }),
        (0, Method::Pong),
    ]
}

#[test]
fn commands_are_read() {
    let golden = messages(include_str!("golden/commands.txt"));
    let requests: Vec<Request> =
        methods().into_iter().map(|(id, method)| Request { id, method }).collect();
    assert_eq!(golden.len(), requests.len());
    for (message, request) in golden.iter().zip(&requests) {
        for (variant, bytes) in message {
            let read: Vec<_> = decode_requests(*variant, bytes).collect();
            assert_eq!(read, [Ok(request.clone())], "{variant:?}");
        }
    }
    let all = |form: usize| golden.iter().map(move |message| message[form].1.clone());
    let json = all(0).collect::<Vec<_>>().join(&b'\n');
    for (variant, frame) in [
        (Variant::Json, [&json[..], b"\n"].concat()),
        (Variant::Json, json),
        (Variant::Protobuf, all(1).collect::<Vec<_>>().concat()),
    ] {
        let read: Result<Vec<Request>, _> = decode_requests(variant, &frame).collect();
        assert_eq!(read.unwrap(), requests);
    }
}

fn news() -> ChannelName {
    ChannelName::parse(b"news").expect("a name")
}

fn ann() -> Arc<ClientInfo> {
    Arc::new(ClientInfo {
        client: client(3),
        user: "42".into(),
        connection: Some("{\"name\":\"Ann\"}".into()),
        channel: Some("[1]".into()),
    })
}

fn nobody() -> Arc<ClientInfo> {
    let (connection, channel) = (None, None);
    Arc::new(ClientInfo { client: client(4), user: "".into(), connection, channel })
}

fn client(generation: u32) -> ClientId {
    ClientId { node: NodeId(0), shard: ShardId(1), row: 2, generation }
}

fn publication(text: &str, tags: &[(&str, &str)], offset: u64) -> PushBody {
    let tags = tags.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let publication = Publication::new(true, text.as_bytes(), 0).with_tags(tags);
    PushBody::Publication { publication: Arc::new(publication), offset }
}

fn position(offset: u64) -> Position {
    Position { offset, epoch: Epoch(0xbeef) }
}

fn recovered() -> Vec<Arc<Push>> {
    let bodies = [publication("{\"a\":1}", &[("k", "v")], 7), publication("[2]", &[], 8)];
    bodies.into_iter().map(|body| Arc::new(Push::new(news(), body))).collect()
}

#[test]
fn replies_are_written() {
    let recovery = SubscribeResult {
        position: Some(position(6)),
        recoverable: true,
        was_recovering: true,
        recovered: true,
        publications: recovered(),
        ..SubscribeResult::default()
    };
    let personal = ChannelName::personal("42").unwrap();
    let connected = ConnectResult {
        client: client(3),
        version: "1.2.3",
        ttl: Some(60),
        ping: 25,
        pong: true,
        subs: vec![(personal, recovery), (news(), SubscribeResult::default())],
    };
    let subscribed = SubscribeResult {
        // Nothing is left of it, but SDKs need a number.
        ttl: Some(0),
        position: Some(position(300)),
        recoverable: true,
        data: Some("{\"b\":[2]}".into()),
        ..SubscribeResult::default()
    };
    let (present, history) = ([ann(), nobody()], recovered());
    let replies = [
        (3, Reply::Error(ClientError::Internal.into())),
        (3, Reply::Error(ClientError::PermissionDenied.into())),
        (1, Reply::Connect(&connected)),
        (2, Reply::Subscribe(&subscribed)),
        (2, Reply::Subscribe(&connected.subs[1].1)),
        (4, Reply::Unsubscribe),
        (5, Reply::Publish),
        (6, Reply::Presence(&present)),
        (6, Reply::Presence(&[])),
        (7, Reply::PresenceStats(2, 1)),
        (7, Reply::PresenceStats(0, 0)),
        (8, Reply::History(&history, position(8))),
        (8, Reply::History(&[], position(0))),
        (9, Reply::Refresh(Some(3600))),
        (9, Reply::Refresh(None)),
        (10, Reply::SubRefresh(Some(3600))),
    ];
    let golden = messages(include_str!("golden/replies.txt"));
    assert_eq!(golden.len(), replies.len());
    for (message, (id, reply)) in golden.iter().zip(&replies) {
        for (variant, bytes) in message {
            let mut out = Vec::new();
            encode_reply(*variant, *id, reply, &mut out);
            assert_same(*variant, &out, bytes);
        }
    }
}

#[test]
fn pushes_are_written() {
    let tagged = publication("{\"a\":\"ü\"}", &[("k", "v"), ("l", "\"w\"")], 300);
    let PushBody::Publication { publication: plain, offset } = tagged else { unreachable!() };
    let plain = Arc::into_inner(plain).unwrap().with_publisher(ann());
    let bodies = [
        PushBody::Publication { publication: Arc::new(plain), offset },
        publication("1", &[], 0),
        PushBody::Join(ann()),
        PushBody::Leave(nobody()),
    ];
    let subscribed = SubscribeResult {
        position: Some(position(300)),
        recoverable: true,
        data: Some("{\"b\":[2]}".into()),
        ..SubscribeResult::default()
    };
    let (empty, news) = (SubscribeResult::default(), news());
    let personal = [
        PersonalPush::Message { payload: b"{\"a\":1}", text: true },
        PersonalPush::Subscribe(&news, &subscribed),
        PersonalPush::Subscribe(&news, &empty),
        PersonalPush::Unsubscribe(&news, 2500, "insufficient state"),
    ];
    let golden = messages(include_str!("golden/pushes.txt"));
    assert_eq!(golden.len(), bodies.len() + personal.len() + 1);
    let (shared, rest) = golden.split_at(bodies.len());
    for (message, body) in shared.iter().zip(bodies) {
        let push = Push::new(news.clone(), body);
        for (variant, bytes) in message {
            assert_same(*variant, push.frame(*variant).unwrap(), bytes);
        }
    }
    let (own, pings) = rest.split_at(personal.len());
    for (message, push) in own.iter().zip(&personal) {
        for (variant, bytes) in message {
            // Behind something else, as in an outbox.
            let mut out = b"{".to_vec();
            encode_personal_push(*variant, push, &mut out);
            assert_same(*variant, &out[1..], bytes);
        }
    }
    for (variant, bytes) in &pings[0] {
        assert_same(*variant, ping_frame(*variant), bytes);
    }
}

fn assert_same(variant: Variant, frame: &[u8], golden: &[u8]) {
    let written = payload(variant, frame);
    if variant == Variant::Json {
        assert_eq!(str::from_utf8(written), str::from_utf8(golden));
    }
    assert_eq!(written, golden);
}
