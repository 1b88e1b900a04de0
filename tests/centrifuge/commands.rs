//! Commands: whatever a client may say is read as it was meant, whatever else is an error.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate::limits::{COMMANDS_PER_FRAME_MAX, CONNECT_BYTES_MAX};
use tidegate::model::{PositionClaim, Variant};
use tidegate::protocol::centrifuge::{
    ConnectRequest, HistoryRequest, Method, Request, RequestError, SubscribeRequest,
    decode_requests, resume_requests,
};

use crate::message::Message;

fn read(variant: Variant, frame: &[u8]) -> Vec<Result<Request, RequestError>> {
    decode_requests(variant, frame).collect()
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-z#:]{1,8}", any::<String>()]
}

/// Data as a JSON client writes it, which a protobuf client may write as well.
fn data() -> impl Strategy<Value = Bytes> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    value.prop_map(|value| Bytes::from(value.to_string()))
}

fn claim() -> impl Strategy<Value = PositionClaim> {
    (any::<bool>(), text(), any::<u64>()).prop_map(|(recover, epoch, offset)| PositionClaim {
        recover,
        epoch,
        offset,
    })
}

fn connect() -> impl Strategy<Value = Method> {
    let subs = prop::collection::btree_map(text(), claim(), 0..4);
    let headers = prop::collection::btree_map(text(), text(), 0..4);
    (text(), data(), subs, text(), text(), headers).prop_map(
        |(token, data, subs, name, version, headers)| {
            Method::Connect(Box::new(ConnectRequest {
                token,
                data,
                subs: subs.into_iter().collect(),
                name,
                version,
                headers: headers.into_iter().collect(),
            }))
        },
    )
}

fn subscribe() -> impl Strategy<Value = Method> {
    let unsupported = unsupported(&["type", "tf", "phase", "cursor", "limit", "asc"]);
    let flags = (any::<[bool; 3]>(), any::<i64>());
    (text(), text(), claim(), data(), flags, unsupported).prop_map(
        |(channel, token, position, data, (wishes, flag), unsupported)| {
            let [positioned, recoverable, join_leave] = wishes;
            Method::Subscribe(Box::new(SubscribeRequest {
                channel,
                token,
                position,
                data,
                positioned,
                recoverable,
                join_leave,
                flag,
                unsupported,
            }))
        },
    )
}

fn unsupported(names: &'static [&'static str]) -> impl Strategy<Value = Option<&'static str>> {
    prop::option::of(prop::sample::select(names))
}

/// Adds a field that asks for what there is not.
fn add_unsupported(body: &mut Value, name: Option<&str>) {
    let Some(name) = name else { return };
    body[name] = match name {
        "tf" => json!({"op": "or", "nodes": [{"key": "k", "cmp": "eq", "val": "v"}]}),
        "cursor" | "key" => json!("x"),
        "asc" | "removed" => json!(true),
        _ => json!(1),
    };
}

/// The same in protobuf, in a message where fields have these numbers.
fn put_unsupported(
    message: Message,
    name: Option<&'static str>,
    numbers: &[(&'static str, u64)],
) -> Message {
    let Some(name) = name else { return message };
    let (_, number) = numbers.iter().find(|(other, _)| *other == name).expect("it has a number");
    match name {
        "tf" => message.message(*number, Message::default().bytes(1, b"or")),
        "cursor" | "key" => message.bytes(*number, b"x"),
        _ => message.number(*number, 1),
    }
}

fn history() -> impl Strategy<Value = Method> {
    let since = prop::option::of((text(), any::<u64>()));
    (text(), any::<i32>(), since, any::<bool>()).prop_map(|(channel, limit, since, reverse)| {
        Method::History(Box::new(HistoryRequest { channel, limit, since, reverse }))
    })
}

fn request() -> impl Strategy<Value = Request> {
    let method = prop_oneof![
        connect(),
        subscribe(),
        history(),
        text().prop_map(|channel| Method::Unsubscribe { channel }),
        text().prop_map(|channel| Method::Presence { channel }),
        text().prop_map(|channel| Method::PresenceStats { channel }),
        (text(), data(), unsupported(&["type", "key", "removed"])).prop_map(
            |(channel, data, unsupported)| Method::Publish { channel, data, unsupported }
        ),
        (text(), data()).prop_map(|(method, data)| Method::Rpc { method, data }),
        data().prop_map(|data| Method::Send { data }),
        text().prop_map(|token| Method::Refresh { token }),
        (text(), text(), unsupported(&["type"])).prop_map(|(channel, token, unsupported)| {
            Method::SubRefresh { channel, token, unsupported }
        }),
        Just(Method::Ping),
        Just(Method::Pong),
    ];
    (1..=u32::MAX, method).prop_map(|(id, method)| {
        let has_reply = !matches!(method, Method::Send { .. } | Method::Pong);
        Request { id: if has_reply { id } else { 0 }, method }
    })
}

/// A command in JSON, with a field that nobody knows yet.
fn to_json(request: &Request) -> Value {
    let data = |data: &Bytes| serde_json::from_slice::<Value>(data).expect("JSON");
    let (name, body) = match &request.method {
        Method::Connect(asked) => {
            let subs: BTreeMap<_, _> = asked
                .subs
                .iter()
                .map(|(channel, claim)| {
                    let (epoch, offset) = (&claim.epoch, claim.offset);
                    (channel, json!({"recover": claim.recover, "epoch": epoch, "offset": offset}))
                })
                .collect();
            let headers: BTreeMap<_, _> = asked.headers.iter().cloned().collect();
            let mut body = json!({"token": asked.token, "data": data(&asked.data), "subs": subs});
            body["name"] = json!(asked.name);
            body["version"] = json!(asked.version);
            body["headers"] = json!(headers);
            ("connect", body)
        }
        Method::Subscribe(asked) => {
            let mut body = json!({"channel": asked.channel, "token": asked.token});
            body["recover"] = json!(asked.position.recover);
            body["epoch"] = json!(asked.position.epoch);
            body["offset"] = json!(asked.position.offset);
            body["data"] = data(&asked.data);
            body["positioned"] = json!(asked.positioned);
            body["recoverable"] = json!(asked.recoverable);
            body["join_leave"] = json!(asked.join_leave);
            body["flag"] = json!(asked.flag);
            add_unsupported(&mut body, asked.unsupported);
            ("subscribe", body)
        }
        Method::History(asked) => {
            let since = asked.since.as_ref();
            let since = since.map(|(epoch, offset)| json!({"epoch": epoch, "offset": offset}));
            let (limit, reverse) = (asked.limit, asked.reverse);
            let channel = &asked.channel;
            let body =
                json!({"channel": channel, "limit": limit, "since": since, "reverse": reverse});
            ("history", body)
        }
        Method::Unsubscribe { channel } => ("unsubscribe", json!({"channel": channel})),
        Method::Presence { channel } => ("presence", json!({"channel": channel})),
        Method::PresenceStats { channel } => ("presence_stats", json!({"channel": channel})),
        Method::Publish { channel, data: payload, unsupported } => {
            let mut body = json!({"channel": channel, "data": data(payload)});
            add_unsupported(&mut body, *unsupported);
            ("publish", body)
        }
        Method::Rpc { method, data: payload } => {
            ("rpc", json!({"method": method, "data": data(payload)}))
        }
        Method::Send { data: payload } => ("send", json!({"data": data(payload)})),
        Method::Refresh { token } => ("refresh", json!({"token": token})),
        Method::SubRefresh { channel, token, unsupported } => {
            let mut body = json!({"channel": channel, "token": token});
            add_unsupported(&mut body, *unsupported);
            ("sub_refresh", body)
        }
        Method::Ping => ("ping", json!({})),
        Method::Pong => return json!({}),
    };
    let mut body = body;
    body["unheard_of"] = json!([{"of": null}]);
    json!({"id": request.id, "unheard": {"of": []}, name: body})
}

/// A command in protobuf, with a field that nobody knows yet.
fn to_protobuf(request: &Request) -> Vec<u8> {
    let message = Message::default;
    let (field, body) = match &request.method {
        Method::Connect(asked) => {
            let mut body = message().bytes(1, asked.token.as_bytes()).bytes(2, &asked.data);
            for (channel, claim) in &asked.subs {
                let claim = put_claim(message(), claim);
                body = body.message(3, message().bytes(1, channel.as_bytes()).message(2, claim));
            }
            for (name, value) in &asked.headers {
                let entry = message().bytes(1, name.as_bytes()).bytes(2, value.as_bytes());
                body = body.message(6, entry);
            }
            (4, body.bytes(4, asked.name.as_bytes()).bytes(5, asked.version.as_bytes()))
        }
        Method::Subscribe(asked) => {
            let body = message().bytes(1, asked.channel.as_bytes());
            let body = put_claim(body.bytes(2, asked.token.as_bytes()), &asked.position)
                .bytes(8, &asked.data)
                .number(9, asked.positioned.into())
                .number(10, asked.recoverable.into())
                .number(11, asked.join_leave.into());
            let numbers = [
                ("tf", 13),
                ("type", 15),
                ("phase", 16),
                ("cursor", 17),
                ("limit", 18),
                ("asc", 19),
            ];
            let body = body.number(14, asked.flag as u64);
            (5, put_unsupported(body, asked.unsupported, &numbers))
        }
        Method::History(asked) => {
            let mut body = message().bytes(1, asked.channel.as_bytes());
            if let Some((epoch, offset)) = &asked.since {
                body = body.message(8, message().number(1, *offset).bytes(2, epoch.as_bytes()));
            }
            (10, body.number(7, i64::from(asked.limit) as u64).number(9, asked.reverse.into()))
        }
        Method::Unsubscribe { channel } => (6, message().bytes(1, channel.as_bytes())),
        Method::Presence { channel } => (8, message().bytes(1, channel.as_bytes())),
        Method::PresenceStats { channel } => (9, message().bytes(1, channel.as_bytes())),
        Method::Publish { channel, data, unsupported } => {
            let body = message().bytes(1, channel.as_bytes()).bytes(2, data);
            let numbers = [("type", 3), ("key", 4), ("removed", 5)];
            (7, put_unsupported(body, *unsupported, &numbers))
        }
        Method::Rpc { method, data } => (13, message().bytes(1, data).bytes(2, method.as_bytes())),
        Method::Send { data } => (12, message().bytes(1, data)),
        Method::Refresh { token } => (14, message().bytes(1, token.as_bytes())),
        Method::SubRefresh { channel, token, unsupported } => {
            let body = message().bytes(1, channel.as_bytes()).bytes(2, token.as_bytes());
            (15, put_unsupported(body, *unsupported, &[("type", 3)]))
        }
        Method::Ping => (11, message()),
        Method::Pong => return message().delimited(),
    };
    let body = body.bytes(1000, b"unheard of");
    message().number(1, request.id.into()).number(1000, 1).message(field, body).delimited()
}

fn put_claim(message: Message, claim: &PositionClaim) -> Message {
    message.number(3, claim.recover.into()).bytes(6, claim.epoch.as_bytes()).number(7, claim.offset)
}

fn frame(variant: Variant, requests: &[Request]) -> Vec<u8> {
    match variant {
        Variant::Protobuf => requests.iter().flat_map(to_protobuf).collect(),
        _ => requests.iter().map(|one| to_json(one).to_string() + "\n").collect::<String>().into(),
    }
}

const MANAGED: [Variant; 2] = [Variant::Json, Variant::Protobuf];

proptest! {
    #[test]
    fn commands_are_read_as_they_were_meant(
        requests in prop::collection::vec(request(), 1..6),
    ) {
        for variant in MANAGED {
            let read: Result<Vec<_>, _> =
                decode_requests(variant, &frame(variant, &requests)).collect();
            prop_assert_eq!(read.as_ref(), Ok(&requests));
        }
    }

    #[test]
    fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for variant in MANAGED {
            judge(variant, &bytes)?;
        }
    }

    #[test]
    fn damaged_frames_are_judged(
        requests in prop::collection::vec(request(), 1..4),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        for variant in MANAGED {
            let mut frame = frame(variant, &requests);
            let at = at.index(frame.len());
            frame[at] = byte;
            judge(variant, &frame)?;
        }
    }

    #[test]
    fn a_cut_command_is_an_error(request in request(), at in any::<prop::sample::Index>()) {
        for variant in MANAGED {
            let frame = frame(variant, std::slice::from_ref(&request));
            // The line feed may be left out.
            let size = frame.len() - usize::from(variant == Variant::Json);
            let read = read(variant, &frame[..at.index(size)]);
            prop_assert!(read.len() == 1 && read[0].is_err(), "{:?}", read);
        }
    }
}

/// An error comes last, and commands are no more than their bytes.
fn judge(variant: Variant, frame: &[u8]) -> Result<(), TestCaseError> {
    let read = read(variant, frame);
    prop_assert!((1..=frame.len().max(1)).contains(&read.len()));
    prop_assert!(read[..read.len() - 1].iter().all(Result::is_ok));
    for request in read.into_iter().flatten() {
        let has_reply = !matches!(request.method, Method::Send { .. } | Method::Pong);
        prop_assert_eq!(request.id > 0, has_reply);
    }
    Ok(())
}

#[track_caller]
fn assert_error(json: &str, error: RequestError) {
    assert_eq!(read(Variant::Json, json.as_bytes()), [Err(error)], "{json}");
}

#[test]
fn what_is_wrong_is_said() {
    for json in [
        "\n",
        " ",
        "{",
        "null",
        "1",
        "[]",
        "{}x",
        "{}{}",
        "{} {}",
        "\n{}",
        "{\"id\":-1}",
        "\u{0}",
        r#"{"id":4294967296}"#,
        r#"{"id":"1"}"#,
        r#"{"id":1,"id":1}"#,
        r#"{"id":1.5}"#,
        r#"{"id":1,"ping":[]}"#,
        r#"{"id":1,"connect":["token"]}"#,
        r#"{"id":1,"connect":"token"}"#,
        r#"{"id":1,"connect":{"subs":{"a":[]}}}"#,
        r#"{"id":1,"refresh":{"token":"\ud800"}}"#,
        r#"{"id":1,"publish":{"data":{]}}"#,
        r#"{"id":1,"publish":{"data":}}"#,
    ] {
        assert_error(json, RequestError::Malformed);
    }
    assert_error("", RequestError::Empty);
    assert_error(r#"{"id":1}"#, RequestError::NotOneMethod);
    assert_error(r#"{"id":1,"unheard_of":{}}"#, RequestError::NotOneMethod);
    assert_error(r#"{"id":1,"ping":{},"send":{}}"#, RequestError::NotOneMethod);
    assert_error(r#"{"ping":{},"send":{}}"#, RequestError::NotOneMethod);
    assert_error(r#"{"ping":{}}"#, RequestError::BadId);
    assert_error(r#"{"id":0,"connect":{}}"#, RequestError::BadId);
    let read = read(Variant::Json, b"{}\n\n{}");
    assert_eq!(read[1..], [Err(RequestError::Malformed)]);
}

#[test]
fn lengths_are_checked_before_they_are_used() {
    for frame in [
        &b"\x01"[..],
        b"\x80",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        // A length that is too large inside of a command.
        b"\x02\x22\x01",
        b"\x06\x3a\xff\xff\xff\xff\x0f",
        // A token that is not UTF-8, and a string that is a number.
        b"\x07\x08\x01\x72\x03\x0a\x01\xff",
        b"\x06\x08\x01\x72\x02\x08\x01",
    ] {
        assert_eq!(read(Variant::Protobuf, frame), [Err(RequestError::Malformed)], "{frame:?}");
    }
    assert_eq!(read(Variant::Protobuf, b""), [Err(RequestError::Empty)]);
}

#[test]
fn null_is_as_good_as_nothing_except_as_data() {
    let frame = br#"{"id":1,"send":null,"rpc":{"method":null,"data": null }}"#;
    let method = Method::Rpc { method: String::new(), data: Bytes::from_static(b"null") };
    assert_eq!(read(Variant::Json, frame), [Ok(Request { id: 1, method })]);
    let frame = br#"{"id":1,"connect":{"token":null,"subs":null,"headers":null}}"#;
    let method = Method::Connect(Box::default());
    assert_eq!(read(Variant::Json, frame), [Ok(Request { id: 1, method })]);
}

#[test]
fn a_send_with_an_id_gets_no_reply() {
    let method = Method::Send { data: Bytes::from_static(b"1.50") };
    let request = Request { id: 0, method };
    assert_eq!(read(Variant::Json, br#"{"id":9,"send":{"data":1.50}}"#), [Ok(request)]);
}

#[test]
fn the_commands_of_a_frame_are_counted() {
    for (variant, pong) in [(Variant::Json, &b"{}\n"[..]), (Variant::Protobuf, b"\0")] {
        let most = read(variant, &pong.repeat(COMMANDS_PER_FRAME_MAX));
        assert_eq!(most.len(), COMMANDS_PER_FRAME_MAX);
        assert!(most.iter().all(Result::is_ok));
        let more = read(variant, &pong.repeat(COMMANDS_PER_FRAME_MAX * 100));
        assert_eq!(more.len(), COMMANDS_PER_FRAME_MAX + 1);
        assert_eq!(more[COMMANDS_PER_FRAME_MAX], Err(RequestError::Malformed));
    }
}

#[test]
fn a_frame_is_read_in_portions_as_at_once() {
    for (variant, pong) in [(Variant::Json, &b"{}\n"[..]), (Variant::Protobuf, b"\0")] {
        let frame = pong.repeat(COMMANDS_PER_FRAME_MAX + 10);
        let (mut rest, mut taken, mut read_in_portions) = (&frame[..], 0, Vec::new());
        while !rest.is_empty() {
            let mut requests = resume_requests(variant, rest, taken);
            read_in_portions.extend(requests.by_ref().take(1000));
            (rest, taken) = (requests.rest(), requests.taken());
        }
        assert_eq!(read_in_portions, read(variant, &frame));
        assert_eq!(taken, COMMANDS_PER_FRAME_MAX + 1);
    }
}

/// A megabyte of brackets must not cost a stack, whether it is skipped or kept.
/// A map of a million entries takes a third of a second, and nobody has shown a token yet.
#[test]
fn connect_commands_are_short() {
    for (length, is_read) in [(CONNECT_BYTES_MAX - 200, true), (CONNECT_BYTES_MAX, false)] {
        let connect = ConnectRequest {
            token: "t".repeat(length),
            data: Bytes::from_static(b"null"),
            ..ConnectRequest::default()
        };
        let request = Request { id: 1, method: Method::Connect(Box::new(connect)) };
        for variant in [Variant::Json, Variant::Protobuf] {
            let frame = frame(variant, std::slice::from_ref(&request));
            let read = read(variant, &frame);
            assert_eq!(read.first().is_some_and(Result::is_ok), is_read, "{variant:?} {length}");
        }
    }
    let data = format!("\"{}\"", "d".repeat(CONNECT_BYTES_MAX));
    let long = format!(r#"{{"id":2,"publish":{{"channel":"c","data":{data}}}}}"#);
    assert!(read(Variant::Json, long.as_bytes())[0].is_ok(), "others carry what they carry");
}

#[test]
fn depth_costs_no_stack() {
    let brackets = "[".repeat(500_000) + &"]".repeat(500_000);
    let json = format!(r#"{{"id":1,"unheard_of":{brackets},"publish":{{"data":{brackets}}}}}"#);
    let method =
        Method::Publish { channel: String::new(), data: Bytes::from(brackets), unsupported: None };
    assert_eq!(read(Variant::Json, json.as_bytes()), [Ok(Request { id: 1, method })]);
    // Groups of an unknown field, each in the one before.
    let mut groups = Message::default().bytes(1000, &[0x0b; 100_000]).delimited();
    assert_eq!(read(Variant::Protobuf, &groups), [Ok(Request { id: 0, method: Method::Pong })]);
    groups = [&[0xa0, 0x8d, 0x06][..], &[0x0b; 100_000]].concat();
    assert_eq!(read(Variant::Protobuf, &groups), [Err(RequestError::Malformed)]);
}
