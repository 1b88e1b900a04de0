//! Every way to send a command, every way to send it wrong, and parts at random.

use proptest::prelude::*;

use super::*;
use crate::limits::{CHANNELS_PER_COMMAND_MAX, GRANT_BYTES_MAX, TAGS_MAX};
use crate::model::{ClientId, NameError, NodeId, ShardId, Version};
use crate::protocol::LABEL_BYTES_MAX;

fn decode(parts: &[&[u8]]) -> Result<Decoded, Malformed> {
    decode_parts(parts, 7)
}

fn with_meta(topic: &str, payload: &[u8], meta: &str) -> Result<Command, DecodeError> {
    let from_json = decode(&[topic.as_bytes(), payload, meta.as_bytes()]);
    // What MessagePack says the same way must come out the same way.
    if let Ok(value) = serde_json::from_str::<serde_json::Value>(meta)
        && value.as_object().is_some()
        && meta.len() <= META_BYTES_MAX
        && !meta.contains("\"ts\":1,\"ts\"")
    {
        let packed = rmp_serde::to_vec(&value).unwrap();
        let from_packed = decode(&[topic.as_bytes(), payload, &packed]);
        assert_eq!(format!("{from_json:?}"), format!("{from_packed:?}"));
    }
    from_json.map(|decoded| decoded.command).map_err(|malformed| malformed.error)
}

fn published(command: Command) -> (String, Arc<Publication>) {
    match command {
        Command::Publish { channel, publication, .. } => (channel.to_string(), publication),
        other => panic!("not a publish: {other:?}"),
    }
}

fn names(channels: &[ChannelName]) -> Vec<&str> {
    channels.iter().map(ChannelName::as_str).collect()
}

const CLIENT: &str = "0000030000004d00000001";

fn client() -> ClientId {
    ClientId { node: NodeId(0), shard: ShardId(3), row: 77, generation: 1 }
}

#[test]
fn two_parts_publish() {
    let decoded = decode(&[b"news", b"hello"]).unwrap();
    assert_eq!((decoded.rid, decoded.source, decoded.surplus_parts), (None, None, 0));
    let (channel, publication) = published(decoded.command);
    assert_eq!((channel.as_str(), &publication.payload()[..]), ("news", &b"hello"[..]));
    assert!(publication.is_text());
    assert_eq!(publication.received_nanos(), 7);
    let (_, publication) = published(decode(&[b"news", b"\xff"]).unwrap().command);
    assert!(!publication.is_text());
    assert!(published(decode(&[b"news", b"", b""]).unwrap().command).1.is_text());
}

#[test]
fn three_hundred_parts() {
    let mut parts: Vec<&[u8]> = vec![b"news", b"hello", b"{}"];
    parts.resize(300, b"x");
    assert_eq!(decode(&parts).unwrap().surplus_parts, 297);
}

#[test]
fn publishing_operations() {
    let meta = format!(r#"{{"op":"pub","ct":"binary","except":"{CLIENT}","ts":1.5}}"#);
    let (channel, publication) = published(with_meta("news", b"hi", &meta).unwrap());
    assert_eq!((channel.as_str(), publication.is_text()), ("news", false));
    assert_eq!(publication.except(), Some(client()));

    let meta = r#"{"op":"user","user":"42","device":"phone","ct":"json"}"#;
    let (channel, publication) = published(with_meta("$cmd", b"[1]", meta).unwrap());
    assert_eq!((channel.as_str(), publication.device()), ("#42", Some("phone")));

    let meta = r#"{"op":"broadcast","channels":["b","a","b","\u0023u"]}"#;
    let Ok(Command::Broadcast { channels, .. }) = with_meta("$cmd", b"hi", meta) else { panic!() };
    assert_eq!(names(&channels), ["b", "a", "#u"]);

    let all = with_meta("$cmd", b"hi", r#" {"op":"all","ct":"text"}"#);
    assert!(matches!(all, Ok(Command::PublishAll { publication }) if publication.is_text()));
}

#[test]
fn operations_on_connections() {
    let meta = format!(r#"{{"op":"subscribe","client":"{CLIENT}","channels":["a"]}}"#);
    let Ok(Command::Subscribe { target, channels, options }) = with_meta("$cmd", b"", &meta) else {
        panic!()
    };
    assert_eq!((target, names(&channels)), (Target::Client(client()), vec!["a"]));
    assert_eq!(options, SubscribeOptions::default());

    let meta = r#"{"op":"unsubscribe","user":"42","device":"d","channels":["a","b"]}"#;
    let Ok(Command::Unsubscribe { target, channels }) = with_meta("$cmd", b"", meta) else {
        panic!()
    };
    let personal = ChannelName::personal("42").unwrap();
    assert_eq!(target, Target::User { personal, device: Some("d".into()) });
    assert_eq!(names(&channels), ["a", "b"]);

    let disconnect = |meta: &str| match with_meta("$cmd", b"", meta) {
        Ok(Command::Disconnect { code, reason, .. }) => Ok((code, reason.into_string())),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error),
    };
    let bare = disconnect(r#"{"op":"disconnect","user":"42"}"#);
    assert_eq!(bare, Ok((3503, "disconnected".into())));
    let full = disconnect(r#"{"op":"disconnect","user":"42","code":4999,"reason":""}"#);
    assert_eq!(full, Ok((4999, String::new())));
    for code in 0..=6000 {
        let result = disconnect(&format!(r#"{{"op":"disconnect","user":"42","code":{code}}}"#));
        let may_be_sent =
            matches!(code, 1000 | 1001 | 1003 | 1008 | 1011 | 1012 | 1013 | 3000..=4999);
        assert_eq!(result.is_ok(), may_be_sent, "{code}");
    }
}

#[test]
fn subscriptions_have_options() {
    let options = |keys: &str| {
        let meta = format!(r#"{{"op":"subscribe","user":"42","channels":["a"],{keys}}}"#);
        match with_meta("$cmd", b"", &meta) {
            Ok(Command::Subscribe { options, .. }) => options,
            other => panic!("{other:?}"),
        }
    };
    let given = options(r#""info":"{\"a\":1}","data":"[1]","expires_at":9"#);
    let grant = ChannelGrant {
        info: Some(r#"{"a":1}"#.into()),
        data: Some("[1]".into()),
        expires_at: Some(9),
        ..ChannelGrant::default()
    };
    assert_eq!(given, SubscribeOptions { grant, ..SubscribeOptions::default() });
    let claim = |epoch: &str, offset| PositionClaim { recover: true, epoch: epoch.into(), offset };
    assert_eq!(options(r#""offset":7,"epoch":"beef""#).position, claim("beef", 7));
    assert_eq!(options(r#""offset":0"#).position, claim("", 0));
    assert_eq!(options(r#""epoch":"e""#).position, claim("e", 0));
}

#[test]
fn some_connections_stay() {
    let except = |value: &str| {
        let meta = format!(r#"{{"op":"disconnect","user":"42","except":{value}}}"#);
        match with_meta("$cmd", b"", &meta) {
            Ok(Command::Disconnect { except, .. }) => except,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(except(&format!(r#""{CLIENT}""#)), [client()]);
    assert_eq!(except(&format!(r#"["{CLIENT}","{CLIENT}"]"#)), [client(), client()]);
    assert_eq!(except("[]"), []);
}

#[test]
fn publications_have_keys_and_tags() {
    let key = |command| match command {
        Command::Publish { key, .. } | Command::Broadcast { key, .. } => key,
        other => panic!("{other:?}"),
    };
    let longest = "i".repeat(LABEL_BYTES_MAX);
    for (topic, meta) in [
        ("news", format!(r#"{{"id":"{longest}"}}"#)),
        ("$cmd", format!(r#"{{"op":"user","user":"42","id":"{longest}"}}"#)),
        ("$cmd", format!(r#"{{"op":"broadcast","channels":["a"],"id":"{longest}"}}"#)),
    ] {
        assert_eq!(key(with_meta(topic, b"x", &meta).unwrap()).as_deref(), Some(longest.as_str()));
    }
    assert_eq!(key(with_meta("news", b"x", "{}").unwrap()), None);
    let tags: Vec<_> =
        (0..TAGS_MAX).map(|n| format!(r#""{n:02}":"{}""#, "v".repeat(255))).collect();
    let meta = format!(r#"{{"tags":{{{}}},"except":"{CLIENT}"}}"#, tags.join(","));
    let (_, publication) = published(with_meta("news", b"x", &meta).unwrap());
    assert_eq!((publication.tags().len(), publication.except()), (TAGS_MAX, Some(client())));
    let (_, publication) =
        published(with_meta("news", b"x", r#"{"tags":{"":"b","a":""}}"#).unwrap());
    assert_eq!(publication.tags(), [("".into(), "b".into()), ("a".into(), "".into())]);
    assert!(published(with_meta("news", b"x", r#"{"tags":{}}"#).unwrap()).1.tags().is_empty());
}

#[test]
fn publications_say_what_history_makes_of_them() {
    let version = |number, epoch: &str| Some(Version { number, epoch: epoch.into() });
    for (topic, rest) in [
        ("news", ""),
        ("$cmd", r#""op":"broadcast","channels":["a"],"#),
        ("$cmd", r#""op":"user","user":"42","#),
    ] {
        let publication = |keys: &str| match with_meta(topic, b"x", &format!("{{{rest}{keys}}}")) {
            Ok(Command::Publish { publication, .. } | Command::Broadcast { publication, .. }) => {
                publication
            }
            other => panic!("{other:?}"),
        };
        assert!(!publication(r#""skip_history":true"#).is_remembered());
        assert!(publication(r#""skip_history":false,"version":1"#).is_remembered());
        assert_eq!(publication(r#""version":7"#).version(), version(7, "").as_ref());
        let both = publication(r#""version":7,"version_epoch":"e""#);
        assert_eq!(both.version(), version(7, "e").as_ref());
        assert_eq!(publication(r#""ts":1"#).version(), None);
    }
}

#[test]
fn refreshes_and_removals() {
    let refresh = |meta: &str| match with_meta("$cmd", b"", meta) {
        Ok(Command::Refresh { target, expires_at, .. }) => (target, expires_at),
        other => panic!("{other:?}"),
    };
    let personal = ChannelName::personal("42").unwrap();
    let user = |device: Option<&str>| Target::User {
        personal: personal.clone(),
        device: device.map(Box::from),
    };
    let later = r#"{"op":"refresh","user":"42","device":"d","expires_at":1893456000}"#;
    assert_eq!(refresh(later), (user(Some("d")), Some(1_893_456_000)));
    let now = r#"{"op":"refresh","user":"42","expired":true}"#;
    assert_eq!(refresh(now), (user(None), Some(0)));
    let not_now =
        format!(r#"{{"op":"refresh","client":"{CLIENT}","expired":false,"expires_at":7}}"#);
    assert_eq!(refresh(&not_now), (Target::Client(client()), Some(7)));

    let told = r#"{"op":"refresh","user":"42","expires_at":7,"info":"{\"a\":1}"}"#;
    let told = with_meta("$cmd", b"", told);
    assert!(
        matches!(told, Ok(Command::Refresh { info: Some(info), .. }) if &*info == r#"{"a":1}"#)
    );

    let remove = with_meta("$cmd", b"", r##"{"op":"history_remove","channel":"#42"}"##);
    assert!(matches!(remove, Ok(Command::HistoryRemove { channel }) if channel == personal));
}

#[test]
fn who_asks() {
    let meta = br#"{"rid":"r1","src":"shop","seq":9}"#;
    let decoded = decode(&[b"news", b"", meta]).unwrap();
    assert_eq!(decoded.rid, Some(RequestId::Text("r1".into())));
    assert_eq!(decoded.source, Some(("shop".into(), 9)));
    // The identity is read even behind the error, and so is the counter.
    let meta = br#"{"oops":[{}],"rid":7,"src":"shop","seq":9}"#;
    let malformed = decode(&[b"news", b"", meta]).unwrap_err();
    assert_eq!(malformed.error, DecodeError::UnknownKey("oops".into()));
    assert_eq!(malformed.rid, Some(RequestId::Number(7)));
    assert_eq!(malformed.source, Some(("shop".into(), 9)));
}

/// Topic, payload, meta, and the error they are.
type Case<'a> = (&'a str, &'a [u8], String, DecodeError);

fn assert_errors(cases: Vec<Case<'_>>) {
    for (topic, payload, meta, error) in cases {
        let shown = &meta[..meta.len().min(80)];
        assert_eq!(with_meta(topic, payload, &meta).unwrap_err(), error, "{shown}");
        assert!(error.code().bytes().all(|b| b.is_ascii_lowercase() || b"_8".contains(&b)));
        assert!(error.to_string().len() < 200);
    }
}

#[test]
fn every_error_of_topics_and_keys() {
    use DecodeError as E;
    let bad = |key, expected| E::BadValue { key, expected };
    let label = "l".repeat(256);
    assert_errors(vec![
        ("news", b"", r#"{"op":"all"}"#.into(), E::NeedsCommandTopic("all")),
        ("$cmd", b"", r#"{"op":"pub"}"#.into(), E::NeedsChannelTopic),
        ("$cmd", b"", "{}".into(), E::NeedsChannelTopic),
        ("$cmd", b"", "".into(), E::NeedsChannelTopic),
        ("$x", b"", "{}".into(), E::BadTopic(NameError::Reserved)),
        ("", b"", "{}".into(), E::BadTopic(NameError::Empty)),
        ("$cmd", b"x", r#"{"op":"disconnect","user":"u"}"#.into(), E::UnusedPayload("disconnect")),
        ("news", b"", format!("{{{}}}", " ".repeat(META_BYTES_MAX)), E::MetaTooLong),
        ("news", b"", "[]".into(), E::MetaEncoding),
        ("news", b"", "{".into(), E::MetaSyntax("JSON")),
        ("news", b"", "{} x".into(), E::MetaSyntax("JSON")),
        ("news", b"", " []".into(), E::MetaSyntax("JSON")),
        ("news", b"", r#"{"no\n":1}"#.into(), E::UnknownKey("no\\n".into())),
        ("news", b"", r#"{"ts":1,"ts":2}"#.into(), E::DuplicateKey("ts")),
        ("news", b"", r#"{"ttl":1}"#.into(), E::Unsupported("ttl")),
        ("news", b"", r#"{"qos":1}"#.into(), E::Unsupported("qos")),
        ("$cmd", b"", r#"{"op":"PUB"}"#.into(), E::UnknownOp("PUB".into())),
        ("$cmd", b"", r#"{"op":1}"#.into(), bad("op", "text")),
        ("news", b"", r#"{"ct":"xml"}"#.into(), bad("ct", "`auto`, `text`, `json` or `binary`")),
        ("news", b"", r#"{"ts":"x"}"#.into(), bad("ts", "a number")),
        ("news", b"", r#"{"seq":-1}"#.into(), bad("seq", "an integer that is not negative")),
        ("news", b"", format!(r#"{{"src":"{label}"}}"#), bad("src", "text of 1 to 255 bytes")),
        ("news", b"", r#"{"src":"a"}"#.into(), E::HalfSource),
        ("news", b"", r#"{"user":"a"}"#.into(), E::UnusedKey { op: "pub", key: "user" }),
        ("news", b"", r#"{"skip_history":1}"#.into(), bad("skip_history", "true or false")),
        ("news", b"", r#"{"version":0}"#.into(), bad("version", "an integer above 0")),
        (
            "news",
            b"",
            r#"{"version_epoch":"e"}"#.into(),
            E::MissingKey { op: "pub", key: "version" },
        ),
        (
            "news",
            b"",
            r#"{"version":1,"skip_history":true}"#.into(),
            E::ConflictingKeys("skip_history", "version"),
        ),
    ]);
}

#[test]
fn every_error_of_targets_and_channels() {
    use DecodeError as E;
    let bad = |key, expected| E::BadValue { key, expected };
    let many = vec!["\"c\""; CHANNELS_PER_COMMAND_MAX + 1].join(",");
    let just = vec!["\"c\""; CHANNELS_PER_COMMAND_MAX].join(",");
    assert_errors(vec![
        ("$cmd", b"", r#"{"op":"user"}"#.into(), E::MissingKey { op: "user", key: "user" }),
        ("$cmd", b"", r#"{"op":"user","user":""}"#.into(), E::BadUser(NameError::Empty)),
        ("$cmd", b"", r#"{"op":"broadcast","channels":[]}"#.into(), E::NoChannels),
        (
            "$cmd",
            b"",
            r#"{"op":"broadcast","channels":[1]}"#.into(),
            bad("channels", "a list of channel names"),
        ),
        (
            "$cmd",
            b"",
            r#"{"op":"broadcast","channels":["$x"]}"#.into(),
            E::BadChannel(NameError::Reserved),
        ),
        ("$cmd", b"", format!(r#"{{"op":"broadcast","channels":[{many}]}}"#), E::TooManyChannels),
        (
            "$cmd",
            b"",
            r##"{"op":"subscribe","user":"u","channels":["#u"]}"##.into(),
            E::PersonalChannel,
        ),
        (
            "$cmd",
            b"",
            r#"{"op":"disconnect"}"#.into(),
            E::MissingKey { op: "disconnect", key: "user` or `client" },
        ),
        (
            "$cmd",
            b"",
            format!(r#"{{"op":"disconnect","user":"u","client":"{CLIENT}"}}"#),
            E::ConflictingKeys("user", "client"),
        ),
        (
            "$cmd",
            b"",
            format!(r#"{{"op":"disconnect","device":"u","client":"{CLIENT}"}}"#),
            E::ConflictingKeys("device", "client"),
        ),
    ]);
    let full = format!(r#"{{"op":"broadcast","channels":[{just}]}}"#);
    assert!(with_meta("$cmd", b"", &full).is_ok());
}

#[test]
fn every_error_of_options_and_exceptions() {
    use DecodeError as E;
    let bad = |key, expected| E::BadValue { key, expected };
    let bad_clients = bad("except", argument::CLIENTS_FORM);
    let many = vec![format!("\"{CLIENT}\""); CHANNELS_PER_COMMAND_MAX + 1].join(",");
    let json = "JSON of at most 16 KiB that nests at most 100 levels";
    let subscribe =
        |keys: &str| format!(r#"{{"op":"subscribe","user":"u","channels":["a","b"],{keys}}}"#);
    let long = "1".repeat(GRANT_BYTES_MAX + 1);
    let one = bad("channels", "one channel beside `offset` or `epoch`");
    assert_errors(vec![
        (
            "$cmd",
            b"",
            format!(r#"{{"op":"disconnect","user":"u","except":[{many}]}}"#),
            bad_clients.clone(),
        ),
        ("$cmd", b"", r#"{"op":"disconnect","user":"u","except":["1"]}"#.into(), bad_clients),
        ("news", b"", r#"{"except":1}"#.into(), bad("except", argument::CLIENT_FORM)),
        (
            "news",
            b"",
            format!(r#"{{"except":["{CLIENT}","{CLIENT}"]}}"#),
            bad("except", "one client"),
        ),
        ("$cmd", b"", subscribe(r#""info":"{""#), bad("info", json)),
        ("$cmd", b"", subscribe(r#""data":"""#), bad("data", json)),
        ("$cmd", b"", subscribe(&format!(r#""data":"\"{long}\"""#)), bad("data", json)),
        ("$cmd", b"", subscribe(r#""data":{"a":"b"}"#), bad("data", "JSON as text")),
        ("$cmd", b"", subscribe(r#""offset":1"#), one.clone()),
        ("$cmd", b"", subscribe(r#""epoch":"e""#), one),
        (
            "$cmd",
            b"",
            subscribe(r#""expired":true"#),
            E::UnusedKey { op: "subscribe", key: "expired" },
        ),
    ]);
}

#[test]
fn every_error_of_keys_and_tags() {
    use DecodeError as E;
    let bad_tags = |tags: String| {
        let expected = "a map of at most 32 different names to texts, each of at most 255 bytes";
        let meta = format!(r#"{{"tags":{tags}}}"#);
        ("news", &b""[..], meta, E::BadValue { key: "tags", expected })
    };
    let many: Vec<_> = (0..=TAGS_MAX).map(|n| format!(r#""{n}":"v""#)).collect();
    let long = "l".repeat(256);
    let bad_id = E::BadValue { key: "id", expected: "text of 1 to 255 bytes" };
    assert_errors(vec![
        bad_tags("[]".into()),
        bad_tags(r#"["a"]"#.into()),
        bad_tags(r#"{"a":1}"#.into()),
        bad_tags(r#"{"a":{"b":"c"}}"#.into()),
        bad_tags(r#"{"a":null,"b":"c"}"#.into()),
        bad_tags(format!("{{{}}}", many.join(","))),
        bad_tags(format!(r#"{{"{long}":""}}"#)),
        bad_tags(format!(r#"{{"a":"{long}"}}"#)),
        ("news", b"", r#"{"id":""}"#.into(), bad_id.clone()),
        ("news", b"", r#"{"id":7}"#.into(), bad_id.clone()),
        ("news", b"", format!(r#"{{"id":"{long}"}}"#), bad_id),
        ("$cmd", b"", r#"{"op":"all","id":"x"}"#.into(), E::UnusedKey { op: "all", key: "id" }),
        ("$cmd", b"", r#"{"op":"all","tags":{}}"#.into(), E::UnusedKey { op: "all", key: "tags" }),
    ]);
    // Twice the same name; `with_meta` would compare with a map that cannot say it.
    let error = decode(&[b"news", b"", br#"{"tags":{"a":"b","a":"b"}}"#]).unwrap_err().error;
    assert_eq!(error.code(), "bad_value");
    // In MessagePack a name may be no text.
    let error = decode(&[b"news", b"", b"\x81\xa4tags\x81\x01\xa1a"]).unwrap_err().error;
    assert_eq!(error.code(), "bad_value");
}

#[test]
fn every_error_of_refreshes_and_removals() {
    use DecodeError as E;
    let refresh = |rest: &str| format!(r#"{{"op":"refresh","user":"u"{rest}}}"#);
    let bad_second = E::BadValue { key: "expires_at", expected: "a Unix time in whole seconds" };
    let bad_flag = E::BadValue { key: "expired", expected: "true or false" };
    let either = E::MissingKey { op: "refresh", key: "expires_at` or `expired" };
    let remove = |rest: &str| format!(r#"{{"op":"history_remove"{rest}}}"#);
    let unused = E::UnusedKey { op: "history_remove", key: "channels" };
    assert_errors(vec![
        ("$cmd", b"", refresh(""), either.clone()),
        ("$cmd", b"", refresh(r#","expired":false"#), either),
        // Milliseconds, which many languages count in.
        ("$cmd", b"", refresh(r#","expires_at":1893456000000"#), bad_second.clone()),
        ("$cmd", b"", refresh(r#","expires_at":1.5"#), bad_second.clone()),
        ("$cmd", b"", refresh(r#","expires_at":-1"#), bad_second),
        ("$cmd", b"", refresh(r#","expired":1"#), bad_flag),
        (
            "$cmd",
            b"",
            refresh(r#","expired":true,"expires_at":1"#),
            E::ConflictingKeys("expires_at", "expired"),
        ),
        ("$cmd", b"x", refresh(r#","expired":true"#), E::UnusedPayload("refresh")),
        (
            "$cmd",
            b"",
            r#"{"op":"refresh","expired":true}"#.into(),
            E::MissingKey { op: "refresh", key: "user` or `client" },
        ),
        ("news", b"", refresh(r#","expired":true"#), E::NeedsCommandTopic("refresh")),
        ("$cmd", b"", remove(""), E::MissingKey { op: "history_remove", key: "channel" }),
        ("$cmd", b"", remove(r#","channel":"$x""#), E::BadChannel(NameError::Reserved)),
        ("$cmd", b"", remove(r#","channels":["a"]"#), unused),
        ("news", b"", remove(""), E::NeedsCommandTopic("history_remove")),
    ]);
}

#[test]
fn every_error_of_reasons_and_payloads() {
    use DecodeError as E;
    assert_errors(vec![
        ("$cmd", b"", r#"{"op":"disconnect","user":"u","reason":"1000"}"#.into(), E::ReasonIsJson),
        (
            "$cmd",
            b"",
            format!(r#"{{"op":"disconnect","user":"u","reason":"{}"}}"#, "r".repeat(124)),
            E::ReasonTooLong,
        ),
        ("news", b"\xff", r#"{"ct":"text"}"#.into(), E::PayloadNotUtf8),
        ("news", b"[\"\xff\"]", r#"{"ct":"json"}"#.into(), E::PayloadNotUtf8),
        ("news", b"{", r#"{"ct":"json"}"#.into(), E::PayloadNotJson),
    ]);
}

#[test]
fn errors_of_parts() {
    let error = |parts: &[&[u8]]| decode(parts).unwrap_err().error;
    assert_eq!(error(&[]), DecodeError::MissingTopic);
    assert_eq!(error(&[b"news"]), DecodeError::MissingPayload);
    assert_eq!(error(&[b"", b""]), DecodeError::BadTopic(NameError::Empty));
    assert_eq!(error(&[b"\xff", b""]), DecodeError::BadTopic(NameError::NotUtf8));
    assert_eq!(error(&[b"$cmd", b""]), DecodeError::NeedsChannelTopic);
}

#[test]
fn hostile_message_pack() {
    let error = |meta: &[u8]| decode(&[b"news", b"", meta]).map(|_| ()).unwrap_err().error;
    let syntax = DecodeError::MetaSyntax("MessagePack");
    // A map, and a list, that claim four billion entries.
    assert_eq!(error(b"\xdf\xff\xff\xff\xff"), syntax);
    assert_eq!(error(b"\x81\xa8channels\xdd\xff\xff\xff\xff\xa1a"), syntax);
    assert_eq!(error(b"\x81\xa2op\xdb\xff\xff\xff\xff"), syntax);
    // Bytes behind the map; a key that is no text; extension types; text that is not UTF-8.
    assert_eq!(error(b"\x80\xc0"), syntax);
    assert_eq!(error(b"\x80\xc1"), syntax);
    assert_eq!(error(b"\x81\x01\x01"), DecodeError::UnknownKey("(not text)".into()));
    assert!(decode(&[b"news", b"", b"\x81\xa2ts\xd4\x01\x01"]).is_err());
    assert!(decode(&[b"news", b"", b"\x81\xa3rid\xa1\xff"]).is_err());
    // Nesting beyond any stack.
    let mut deep = b"\x81\xa3rid".to_vec();
    deep.resize(META_BYTES_MAX, 0x91);
    assert_eq!(error(&deep), syntax);
    let mut deep = b"\x81\xa3rid".to_vec();
    deep.extend(b"\x81\xa1a".repeat(20_000));
    assert_eq!(error(&deep), syntax);
}

#[test]
fn hostile_json() {
    for open in ["[", "{\"a\":"] {
        let meta = format!("{{\"rid\":{}", open.repeat((META_BYTES_MAX - 8) / open.len()));
        let error = decode(&[b"news", b"", meta.as_bytes()]).unwrap_err().error;
        assert_eq!(error, DecodeError::MetaSyntax("JSON"));
    }
    let payload = "[".repeat(1 << 20);
    let error = decode(&[b"news", payload.as_bytes(), br#"{"ct":"json"}"#]).unwrap_err().error;
    assert_eq!(error, DecodeError::PayloadNotJson);
}

proptest! {
    #[test]
    fn any_parts_decode_or_are_refused(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
        command in any::<bool>(),
        first in prop::sample::select(&[b'{', 0x80, 0x81, 0x83, 0xde, 0xdf][..]),
    ) {
        let mut parts = parts;
        if command && let Some(topic) = parts.first_mut() {
            *topic = COMMAND_TOPIC.to_vec();
        }
        if let Some(meta) = parts.get_mut(2) {
            meta.insert(0, first);
        }
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let _ = decode(&parts);
    }

    #[test]
    fn what_was_published_comes_out(
        channel in "[a-z#][a-z0-9é:]{0,60}",
        payload in prop::collection::vec(any::<u8>(), 0..300),
        rid in "\\PC{0,40}",
        seq in any::<u64>(),
        packed in any::<bool>(),
    ) {
        let meta = serde_json::json!({"rid": rid, "src": "s", "seq": seq});
        let meta = match packed {
            true => rmp_serde::to_vec(&meta).unwrap(),
            false => serde_json::to_vec(&meta).unwrap(),
        };
        let decoded = decode(&[channel.as_bytes(), &payload, &meta]).unwrap();
        prop_assert_eq!(decoded.rid, Some(RequestId::Text(rid.into())));
        prop_assert_eq!(decoded.source, Some(("s".into(), seq)));
        let (name, publication) = published(decoded.command);
        prop_assert_eq!(name, channel);
        prop_assert_eq!(&publication.payload()[..], &payload[..]);
        prop_assert_eq!(publication.is_text(), std::str::from_utf8(&payload).is_ok());
    }
}
