//! Every method as published clients send it, every way to send it wrong, and bytes at random.

use proptest::prelude::*;

use super::*;
use crate::limits::{BATCH_COMMANDS_MAX, CHANNELS_PER_COMMAND_MAX};
use crate::model::{
    ChannelGrant, ClientError, Epoch, NodeId, Overrides, PositionClaim, ShardId, SubscribeOptions,
    Version,
};
use crate::protocol::http_api::{decode_batch, decode_lines};

const CLIENT: &str = "0000010000000200000003";

fn decode(method: Method, body: &str) -> Result<(Command, Form), Fault> {
    match decode_request(method, body.as_bytes(), 7)? {
        Request::Command(command, form) => Ok((command, form)),
        Request::Info => panic!("not a command"),
    }
}

fn name(text: &str) -> ChannelName {
    ChannelName::parse(text.as_bytes()).unwrap()
}

fn user(user: &str) -> Target {
    Target::User { personal: ChannelName::personal(user).unwrap(), device: None }
}

#[test]
fn publish() {
    let publish = |body: &str| match decode(Method::Publish, body) {
        Ok((Command::Publish { channel, publication, key }, Form::Published)) => {
            (channel.to_string(), publication, key)
        }
        other => panic!("{other:?}"),
    };
    // As PHP's client sends it, with a key that says nothing.
    let (channel, publication, key) =
        publish(r#"{"channel":"news","data":{"a": [1, "\u00e4"]},"skip_history":false}"#);
    assert_eq!((channel.as_str(), key), ("news", None));
    assert_eq!(publication.payload_bytes(), br#"{"a": [1, "\u00e4"]}"#);
    assert!(publication.is_text() && publication.received_nanos() == 7);
    assert!(publication.tags().is_empty());
    let (_, publication, key) =
        publish(r#"{"channel":"news","data":null,"tags":{"a":"1","b":""},"idempotency_key":"k1"}"#);
    assert_eq!((publication.payload_bytes(), key.as_deref()), (&b"null"[..], Some("k1")));
    assert_eq!(publication.tags(), [("a".into(), "1".into()), ("b".into(), "".into())]);
    let (_, publication, _) = publish(r#"{"channel":"news","data":null,"b64data":"/wA="}"#);
    assert_eq!((publication.payload_bytes(), publication.is_text()), (&b"\xff\0"[..], false));
    let (_, publication, _) = publish(r#"{"channel":"news","b64data":"aGk="}"#);
    assert_eq!((publication.payload_bytes(), publication.is_text()), (&b"hi"[..], true));
    assert!(publication.is_remembered() && publication.version().is_none());
    let (_, publication, _) = publish(r#"{"channel":"news","data":1,"skip_history":true}"#);
    assert!(!publication.is_remembered());
    let nothing = r#"{"channel":"news","data":1,"version":0,"version_epoch":"","delta":false}"#;
    assert_eq!(publish(nothing).1.version(), None);
    for (keys, number, epoch) in [(r#""version":7"#, 7, ""), (MAX_VERSION, u64::MAX, "e")] {
        let (_, publication, _) = publish(&format!(r#"{{"channel":"news","data":1,{keys}}}"#));
        assert_eq!(publication.version(), Some(&Version { number, epoch: epoch.into() }));
    }
}

const MAX_VERSION: &str = r#""version":18446744073709551615,"version_epoch":"e""#;

#[test]
fn broadcast_answers_in_the_order_of_the_request() {
    let body = r#"{"channels":["b","a","b"],"data":1,"idempotency_key":"k"}"#;
    let Ok((Command::Broadcast { channels, key, .. }, form)) = decode(Method::Broadcast, body)
    else {
        panic!("not a broadcast")
    };
    assert_eq!(channels, [name("b"), name("a")]);
    assert_eq!(key.as_deref(), Some("k"));
    assert_eq!(form, Form::Responses(vec![name("b"), name("a"), name("b")]));
}

#[test]
fn targets() {
    let target = |body: &str| -> Result<Target, Fault> {
        match decode(Method::Unsubscribe, body)?.0 {
            Command::Unsubscribe { target, channels } if channels == [name("news")] => Ok(target),
            other => panic!("{other:?}"),
        }
    };
    let with = |keys: &str| target(&format!(r#"{{"channel":"news",{keys}}}"#));
    assert_eq!(with(r#""user":"42","client":"","session":"""#), Ok(user("42")));
    let client = ClientId { node: NodeId(0), shard: ShardId(1), row: 2, generation: 3 };
    let both = with(&format!(r#""user":"42","client":"{CLIENT}""#));
    assert_eq!(both, Ok(Target::Client(client)));
    assert_eq!(with(&format!(r#""client":"{CLIENT}""#)), Ok(Target::Client(client)));
    let personal = ChannelName::personal("42").unwrap();
    for foreign in ["1", "0194ce2b-3b0e-7b9c-a1a8-2b7c6f1e0d55"] {
        for key in ["client", "session"] {
            let nobody = Ok(Target::Client(ClientId::NOBODY));
            assert_eq!(with(&format!(r#""user":"42","{key}":"{foreign}""#)), nobody);
        }
    }
    let phone = Target::User { personal, device: Some("phone".into()) };
    assert_eq!(with(r#""user":"42","device":"phone""#), Ok(phone));
}

#[test]
fn subscriptions_have_options() {
    let options = |keys: &str| {
        let body = format!(r#"{{"user":"42","channel":"news"{keys}}}"#);
        match decode(Method::Subscribe, &body) {
            Ok((Command::Subscribe { target, channels, options }, Form::Acted))
                if (&target, &channels[..]) == (&user("42"), &[name("news")]) =>
            {
                options
            }
            other => panic!("{other:?}"),
        }
    };
    let nothing = SubscribeOptions::default();
    assert_eq!(options(""), nothing);
    let said = r#","info":null,"b64info":"","data":null,"expire_at":0,"recover_since":null"#;
    assert_eq!(options(said), nothing);
    let grant = ChannelGrant {
        info: Some(r#"{"a": 1}"#.into()),
        data: Some("[1]".into()),
        expires_at: Some(1_900_000_000),
        overrides: Overrides::default(),
    };
    let given = SubscribeOptions { grant, ..nothing };
    let plain = r#","info":{"a": 1},"data":[1],"expire_at":1900000000"#;
    assert_eq!(options(plain), given);
    let encoded = r#","b64info":"eyJhIjogMX0=","b64data":"WzFd","expire_at":1900000000"#;
    assert_eq!(options(encoded), given);
    let since = |rest: &str| options(&format!(r#","recover_since":{{{rest}}}"#)).position;
    let claim = |epoch: &str, offset| PositionClaim { recover: true, epoch: epoch.into(), offset };
    assert_eq!(since(r#""offset":7,"epoch":"beef""#), claim("beef", 7));
    assert_eq!(since(""), claim("", 0));
}

#[test]
fn subscriptions_have_some_options_otherwise() {
    let overrides_of = |overrides: &str| {
        let body = format!(r#"{{"user":"u","channel":"a","override":{overrides}}}"#);
        let Ok((Command::Subscribe { options, .. }, Form::Acted)) =
            decode(Method::Subscribe, &body)
        else {
            panic!("{body}")
        };
        options.grant.overrides
    };
    for nothing in ["null", "{}", r#"{"presence":null}"#] {
        assert_eq!(overrides_of(nothing), Overrides::default(), "{nothing}");
    }
    let some = r#"{"presence":{"value":false},"join_leave":{"value":true},
        "force_recovery":{"value":false},"force_positioning":{"value":true}}"#;
    let expected = Overrides {
        presence: Some(false),
        join_leave: Some(true),
        force_recovery: Some(false),
        force_positioning: Some(true),
        force_push_join_leave: None,
    };
    assert_eq!(overrides_of(some), expected);
    let older = r#"null,"presence":true,"join_leave":false,"position":true,"recover":true"#;
    let expected = Overrides {
        presence: Some(true),
        join_leave: None,
        force_recovery: Some(true),
        force_positioning: Some(true),
        force_push_join_leave: None,
    };
    assert_eq!(overrides_of(older), expected);
}

#[test]
fn disconnect_and_refresh() {
    let disconnect = |body| match decode(Method::Disconnect, body) {
        Ok((Command::Disconnect { target, code, reason, .. }, Form::Acted))
            if target == user("42") =>
        {
            (code, reason.into_string())
        }
        other => panic!("{other:?}"),
    };
    let bare = (3503, "disconnected".to_owned());
    assert_eq!(disconnect(r#"{"user":"42","client":""}"#), bare);
    assert_eq!(disconnect(r#"{"user":"42","whitelist":[],"disconnect":{"code":0}}"#), bare);
    let full = r#"{"user":"42","disconnect":{"code":4000,"reason":"bye"}}"#;
    assert_eq!(disconnect(full), (4000, "bye".to_owned()));
    // As the client of Go has it.
    let go = r#"{"user":"42","Disconnect":{"reason":"","reconnect":true},"ClientWhitelist":null}"#;
    assert_eq!(disconnect(go), (3011, "disconnected".to_owned()));
    let body = format!(r#"{{"user":"42","whitelist":["{CLIENT}"]}}"#);
    let (Command::Disconnect { except, .. }, _) = decode(Method::Disconnect, &body).unwrap() else {
        panic!("not a disconnect")
    };
    assert_eq!(except, [ClientId { node: NodeId(0), shard: ShardId(1), row: 2, generation: 3 }]);
    let refresh = |body| match decode(Method::Refresh, body) {
        Ok((Command::Refresh { target, expires_at, info }, Form::Acted))
            if target == user("42") && info.as_deref().is_none_or(|info| info == "[1]") =>
        {
            expires_at
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(refresh(r#"{"user":"42","info":null}"#), None);
    assert_eq!(refresh(r#"{"user":"42","info":[1],"expire_at":7}"#), Some(7));
    assert_eq!(refresh(r#"{"user":"42","expired":false,"expire_at":0}"#), None);
    assert_eq!(refresh(r#"{"user":"42","expire_at":1900000000}"#), Some(1_900_000_000));
    assert_eq!(refresh(r#"{"user":"42","expired":true,"expire_at":9}"#), Some(0));
}

#[test]
fn history() {
    let filter = |rest: &str| -> Result<HistoryFilter, Fault> {
        let body = format!(r#"{{"channel":"news"{rest}}}"#);
        match decode(Method::History, &body)? {
            (Command::History { filter, .. }, Form::History) => Ok(filter),
            other => panic!("{other:?}"),
        }
    };
    let nothing = HistoryFilter { limit: Some(0), since: None, reverse: false };
    assert_eq!(filter(""), Ok(nothing));
    assert_eq!(filter(r#","limit":0,"reverse":false"#), Ok(nothing));
    assert_eq!(filter(r#","limit":-1"#), Ok(HistoryFilter { limit: None, ..nothing }));
    for (epoch, claim) in [
        (r#","epoch":"ab""#, EpochClaim::Of(Epoch(0xab))),
        (r#","epoch":"xyzw""#, EpochClaim::Foreign),
        (r#","epoch":"""#, EpochClaim::Any),
        ("", EpochClaim::Any),
    ] {
        let since = Some((claim, 5));
        assert_eq!(
            filter(&format!(r#","limit":10,"since":{{"offset":5{epoch}}},"reverse":true"#)),
            Ok(HistoryFilter { limit: Some(10), since, reverse: true })
        );
    }
}

#[test]
fn the_rest_of_the_methods() {
    let ask = |method, body| decode(method, body).unwrap();
    let one = r#"{"channel":"news"}"#;
    let channel = name("news");
    let (Command::HistoryRemove { channel: removed }, Form::Done) = ask(Method::HistoryRemove, one)
    else {
        panic!("not a history_remove")
    };
    let (Command::Presence { channel: listed }, Form::Presence) = ask(Method::Presence, one) else {
        panic!("not a presence")
    };
    let (Command::PresenceStats { channel: counted }, Form::PresenceStats) =
        ask(Method::PresenceStats, one)
    else {
        panic!("not a presence_stats")
    };
    assert_eq!([removed, listed, counted], [(); 3].map(|()| channel.clone()));
    let (Command::UserStatus { personal }, Form::UserStatus(user)) =
        ask(Method::UserStatus, r#"{"user":"42"}"#)
    else {
        panic!("not a user_status")
    };
    assert_eq!((personal.user(), &*user), (Some("42"), "42"));
    for (body, expected) in
        [("", None), (r#"{"pattern":""}"#, None), (r#"{"pattern":"a:?"}"#, Some(true))]
    {
        let (Command::Channels { pattern }, Form::Channels) = ask(Method::Channels, body) else {
            panic!("{body}")
        };
        assert_eq!(pattern.map(|pattern| pattern.matches("a:b")), expected);
    }
    for body in ["", "{}"] {
        assert!(matches!(decode_request(Method::Info, body.as_bytes(), 0), Ok(Request::Info)));
    }
}

/// Bodies that a method refuses, each with the word that must be in the message.
#[track_caller]
fn assert_refused(cases: &[(Method, &str, &str)]) {
    for (method, body, word) in cases {
        let fault = decode_request(*method, body.as_bytes(), 0).unwrap_err();
        let shown = &body[..body.len().min(80)];
        assert!(fault.message.contains(word), "{shown}: {}", fault.message);
        let expected = match *word {
            "1024" => ClientError::LimitExceeded,
            _ => ClientError::BadRequest,
        };
        assert_eq!(fault.error, expected, "{shown}");
    }
}

#[test]
fn what_is_wrong_with_messages_is_said() {
    use Method as M;
    let many =
        format!(r#"{{"data":1,"channels":[{}"x"]}}"#, "\"x\",".repeat(CHANNELS_PER_COMMAND_MAX));
    let long = format!(r#"{{"channel":"a","data":1,"idempotency_key":"{}"}}"#, "k".repeat(256));
    let epoch =
        format!(r#"{{"channel":"a","data":1,"version":1,"version_epoch":"{}"}}"#, "e".repeat(256));
    assert_refused(&[
        (M::Publish, "{", "EOF"),
        (M::Publish, "[]", "object"),
        (M::Presence, " [\"a\"]", "object"),
        (M::Publish, "", "data"),
        (M::Publish, r#"{"data":1}"#, "channel"),
        (M::Publish, r#"{"channel":"","data":1}"#, "channel"),
        (M::Publish, r#"{"channel":"$cmd","data":1}"#, "reserved"),
        (M::Publish, r#"{"channel":1,"data":1}"#, "string"),
        (M::Publish, r#"{"channel":"a"}"#, "data` or `b64data"),
        (M::Publish, r#"{"channel":"a","data":{}} x"#, "trailing"),
        (M::Publish, r#"{"channel":"a","data":1,"b64data":"aGk="}"#, "exclude"),
        (M::Publish, r#"{"channel":"a","b64data":"aGk"}"#, "b64data"),
        (M::Publish, r#"{"channel":"a","b64data":"???"}"#, "b64data"),
        (M::Publish, r#"{"channel":"a","data":1,"skip_history":1}"#, "bool"),
        (M::Publish, r#"{"channel":"a","data":1,"delta":true}"#, "delta"),
        (M::Publish, r#"{"channel":"a","data":1,"version":-3}"#, "u64"),
        (M::Publish, r#"{"channel":"a","data":1,"version_epoch":"e"}"#, "version"),
        (M::Publish, r#"{"channel":"a","data":1,"skip_history":true,"version":1}"#, "exclude"),
        (M::Publish, &epoch, "version_epoch"),
        (M::Publish, r#"{"channel":"a","data":1,"extra":0}"#, "extra"),
        (M::Publish, r#"{"channel":"a","channel":"b","data":1}"#, "duplicate"),
        (M::Publish, r#"{"channel":"a","channels":["b"],"data":1}"#, "channels"),
        (M::Publish, r#"{"channel":"a","data":1,"tags":{"a":1}}"#, "string"),
        (M::Publish, r#"{"channel":"a","data":1,"tags":{"a":"1","a":"2"}}"#, "tags"),
        (M::Publish, &long, "idempotency_key"),
        (M::Broadcast, r#"{"data":1}"#, "channels"),
        (M::Broadcast, r#"{"channels":[],"data":1}"#, "at least one"),
        (M::Broadcast, r#"{"channels":["a",""],"data":1}"#, "empty"),
        (M::Broadcast, r#"{"channels":["a"],"channel":"b","data":1}"#, "channel"),
        (M::Broadcast, &many, "1024"),
    ]);
}

#[test]
fn what_is_wrong_with_the_rest_is_said() {
    use Method as M;
    let reason = format!(r#"{{"user":"u","disconnect":{{"reason":"{}"}}}}"#, "r".repeat(124));
    let data =
        format!(r#"{{"user":"u","channel":"a","data":{}1{}}}"#, "[".repeat(101), "]".repeat(101));
    let pattern = format!(r#"{{"pattern":"{}"}}"#, "p".repeat(256));
    assert_refused(&[
        (M::Subscribe, r#"{"channel":"a"}"#, "user` or `client"),
        (M::Subscribe, r#"{"user":"u"}"#, "channel"),
        (M::Subscribe, r##"{"user":"u","channel":"#u"}"##, "personal"),
        (
            M::Subscribe,
            r#"{"channel":"a","client":"0000010000000200000003","device":"d"}"#,
            "device",
        ),
        (M::Subscribe, r#"{"user":"u","channel":"a","expire_at":-1}"#, "u64"),
        (M::Subscribe, r#"{"user":"u","channel":"a","expire_at":1893456000000}"#, "expire_at"),
        (M::Subscribe, r#"{"user":"u","channel":"a","data":1,"b64data":"MQ=="}"#, "exclude"),
        (M::Subscribe, r#"{"user":"u","channel":"a","b64info":"?"}"#, "base64"),
        (M::Subscribe, r#"{"user":"u","channel":"a","b64info":"ew=="}"#, "b64info"),
        (M::Subscribe, r#"{"user":"u","channel":"a","recover_since":{"at":1}}"#, "at"),
        (M::Subscribe, &data, "data"),
        (M::Subscribe, r#"{"user":"u","channel":"a","override":{"presence":true}}"#, "Switch"),
        (M::Subscribe, r#"{"user":"u","channel":"a","override":{"presence":{}}}"#, "value"),
        (M::Subscribe, r#"{"user":"u","channel":"a","override":{"history":null}}"#, "history"),
        (
            M::Unsubscribe,
            r#"{"user":"u","channel":"a","override":{"presence":{"value":true}}}"#,
            "override",
        ),
        (M::Unsubscribe, r#"{"user":"u"}"#, "channel"),
        (M::Unsubscribe, r#"{"user":"u","channel":"a","data":1}"#, "data"),
        (M::Disconnect, "{}", "user` or `client"),
        (M::Disconnect, r#"{"user":"u","disconnect":{},"Disconnect":{}}"#, "duplicate"),
        (M::Disconnect, r#"{"user":"u","disconnect":{"code":1005}}"#, "1005"),
        (M::Disconnect, r#"{"user":"u","disconnect":{"code":-1}}"#, "u64"),
        (M::Disconnect, r#"{"user":"u","disconnect":{"reason":"{}"}}"#, "JSON"),
        (M::Disconnect, r#"{"user":"u","disconnect":{"code":4500,"reconnect":true}}"#, "stay away"),
        (M::Disconnect, &reason, "123"),
        (M::Refresh, r#"{"expired":true}"#, "user` or `client"),
        (M::Refresh, r#"{"user":"u","expire_at":-1}"#, "u64"),
        (M::Refresh, r#"{"user":"u","expire_at":1900000000000}"#, "expire_at"),
        (M::Refresh, r#"{"user":"u","info":1e400}"#, "info"),
        (M::Presence, "{}", "channel"),
        (M::PresenceStats, r#"{"channel":"a\nb"}"#, "control"),
        (M::History, r#"{"channel":"a","limit":-2}"#, "limit"),
        (M::History, r#"{"channel":"a","limit":1.5}"#, "i64"),
        (M::History, r#"{"channel":"a","since":{"at":1}}"#, "at"),
        (M::HistoryRemove, r#"{"channels":["a"]}"#, "channels"),
        (M::Info, r#"{"a":1}"#, "unknown field"),
        (M::Channels, r#"{"pattern":"a[bc"}"#, "pattern"),
        (M::Channels, &pattern, "pattern"),
        (M::UserStatus, "{}", "user"),
        (M::UserStatus, r#"{"user":"a\u0000b"}"#, "control"),
        (M::Batch, "{}", "batch"),
    ]);
}

#[test]
fn batches() {
    let body = r#"{"parallel":true,"commands":[
        {"publish":{"channel":"a","data":1}}, {"info":{}}, {"nothing":{}}, {"batch":{}},
        {"publish":{"channel":"a"}}, {}, [], {"info":{},"channels":{}}, {"publish":null}]}"#;
    let batch = decode_batch(body.as_bytes(), 0).unwrap();
    assert!(batch.parallel);
    let found: Vec<_> = batch
        .requests
        .iter()
        .map(|(method, request)| (*method, request.as_ref().err().map(|fault| fault.error.code())))
        .collect();
    let expected = [
        (Some(Method::Publish), None),
        (Some(Method::Info), None),
        (None, Some(104)),
        (Some(Method::Batch), Some(107)),
        (Some(Method::Publish), Some(107)),
        (None, Some(107)),
        (None, Some(107)),
        (None, Some(107)),
        (Some(Method::Publish), Some(107)),
    ];
    assert_eq!(found, expected);
    let commands = |count: usize| {
        let commands = vec![r#"{"info":{}}"#; count].join(",");
        decode_batch(format!(r#"{{"commands":[{commands}]}}"#).as_bytes(), 0)
    };
    assert!(!commands(BATCH_COMMANDS_MAX).unwrap().parallel);
    assert_eq!(commands(BATCH_COMMANDS_MAX + 1).unwrap_err().error, ClientError::LimitExceeded);
    for bad in ["", "{}", "[]", r#"{"commands":{}}"#, r#"{"commands":[],"x":1}"#] {
        let fault = decode_batch(bad.as_bytes(), 0).unwrap_err();
        assert_eq!(fault.error, ClientError::BadRequest, "{bad}");
    }
    assert_eq!(commands(0).unwrap_err().error, ClientError::BadRequest);
}

proptest! {
    #[test]
    fn no_body_panics(
        method in prop::sample::select(Method::ALL.to_vec()),
        bytes in prop::collection::vec(any::<u8>(), 0..64),
        keys in prop::collection::vec((
            prop::sample::select(vec![
                "channel", "channels", "data", "user", "client", "limit", "since", "pattern",
                "expire_at", "disconnect", "commands", "parallel", "tags", "b64data",
            ]),
            prop::sample::select(vec![
                "null", "true", "-1", "0", "1e400", "\"\"", "\"a\"", "\"\\ud800\"", "[]", "[1]",
                "[\"a\",\"a\"]", "{}", "{\"code\":1}", "{\"info\":{}}", "[{\"publish\":{}}]",
            ]),
        ), 0..5),
    ) {
        let _ = (decode_request(method, &bytes, 0), decode_batch(&bytes, 0));
        let fields: Vec<_> =
            keys.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        let body = format!("{{{}}}", fields.join(","));
        let _ = decode_lines(&bytes, 0);
        for result in [
            decode_lines(body.as_bytes(), 0).err(),
            decode_request(method, body.as_bytes(), 0).err(),
            decode_batch(body.as_bytes(), 0).err(),
        ].into_iter().flatten() {
            prop_assert!(!result.message.is_empty() && result.message.len() < 340);
        }
    }
}
