//! The promise: clients of the client protocol are told who may do what, in order, and get what
//! they missed or are told that they do not.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::Message;

use crate::harness::{Client, Edge, HMAC_SECRET, Heard, Managed, request, seconds_from_now, token};

const HISTORY: &str = "channels.history_size=3";

fn on(channel: &str) -> Value {
    json!({ "channel": channel })
}

/// What a client that comes back asks for.
fn again(channel: &str, seen: &Value, flag: u32) -> Value {
    let (epoch, offset) = (&seen["epoch"], &seen["offset"]);
    json!({ "channel": channel, "recover": true, "epoch": epoch, "offset": offset, "flag": flag })
}

fn data_of(publications: &Value) -> Vec<&str> {
    let list = publications.as_array().expect("there are publications");
    list.iter().map(|publication| publication["data"].as_str().unwrap()).collect()
}

#[test]
fn connect_comes_first_and_once() {
    let edge = Edge::start();
    for first in [
        r#"{"id":1,"subscribe":{"channel":"news"}}"#,
        r#"{"id":1,"rpc":{"method":"x"}}"#,
        r#"{"id":1,"subscribe":{"channel":"news","type":1}}"#,
        r#"{"send":{"data":1}}"#,
        r#"{"id":1,"connect":{}"#,
        r#"{"connect":{}}"#,
        r#"{"id":1,"connect":{},"ping":{}}"#,
        "connect",
        "",
    ] {
        let client = Managed::open(&edge);
        client.say(first);
        assert_eq!(client.client().hear(), close(3501, "bad request"), "{first}");
    }
    let client = Managed::open(&edge);
    client.client().send(Message::binary(b"\x04\x08\x01\x22\x00".to_vec()));
    client.expect_close(3501);
    let client = Managed::connect(&edge);
    client.begin("connect", json!({}));
    client.expect_close(3501);
}

fn close(code: u16, reason: &str) -> Heard {
    Heard::Close(code, reason.to_owned())
}

#[test]
fn connect_comes_in_time() {
    let edge = Edge::with(&["client.connect_deadline=200ms"]);
    let connected = Managed::connect(&edge);
    let reason = Managed::open(&edge).expect_close(4408);
    assert_eq!(reason, "no connect command in time");
    assert_eq!(edge.publish("news", "x"), 0);
    connected.done("subscribe", on("news"));
}

#[test]
fn pings_keep_their_interval_and_want_an_answer() {
    let edge = Edge::with(&["heartbeat.ping_interval=1s", "heartbeat.pong_deadline=1s"]);
    let talks = Managed::open(&edge);
    let result = talks.done("connect", json!({}));
    assert_eq!((&result["ping"], &result["pong"]), (&json!(1), &json!(true)));
    let start = Instant::now();
    let mut pings = 0;
    while pings < 3 {
        assert!(start.elapsed() < Duration::from_secs(10), "{pings} pings");
        talks.begin("unsubscribe", on("news"));
        loop {
            let Heard::Text(text) = talks.client().hear() else { panic!("it ended") };
            if text != "{}" {
                break;
            }
            talks.say("{}");
            pings += 1;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let silent = Managed::connect(&edge);
    assert_eq!(silent.client().hear(), Heard::Text("{}".to_owned()));
    silent.expect_close(3012);
}

#[test]
fn commands_of_one_frame_are_carried_out_in_order() {
    let edge = Edge::with(&["channels.publish=everybody"]);
    let client = Managed::open(&edge);
    let commands = [
        json!({ "id": 1, "connect": {} }),
        json!({ "id": 2, "subscribe": on("news") }),
        json!({ "id": 3, "unsubscribe": on("news") }),
        json!({ "id": 4, "subscribe": on("news") }),
        json!({ "id": 5, "publish": { "channel": "news", "data": { "n": 1 } } }),
    ];
    client.say(&commands.map(|command| command.to_string()).join("\n"));
    for (id, method) in [(1, "connect"), (2, "subscribe"), (3, "unsubscribe"), (4, "subscribe")] {
        let reply = client.hear();
        assert!(reply["id"] == id && reply[method].is_object(), "{reply}");
    }
    let last = [client.hear(), client.hear()];
    let published = json!({ "id": 5, "publish": {} });
    assert!(last.contains(&published), "{last:?}");
    let data = last.iter().find_map(|message| message["push"]["pub"].get("data"));
    assert_eq!(data, Some(&json!({ "n": 1 })));
}

#[test]
fn what_is_not_there_has_a_code() {
    let edge = Edge::with(&["client.channels_max=2", "namespaces.hidden.subscribe=nobody"]);
    let client = Managed::connect(&edge);
    client.done("subscribe", on("a"));
    assert_eq!(client.refused("subscribe", on("other:a")), 102);
    assert_eq!(client.refused("subscribe", on("hidden:a")), 103);
    assert_eq!(client.refused("subscribe", on("#42")), 103);
    assert_eq!(client.refused("publish", json!({ "channel": "a", "data": 1 })), 103);
    assert_eq!(client.refused("ping", json!({})), 104);
    assert_eq!(client.refused("subscribe", on("a")), 105);
    assert_eq!(client.refused("subscribe", on("$all")), 107);
    for (method, what) in [
        ("rpc", json!({ "method": "x" })),
        ("subscribe", json!({ "channel": "b", "type": 1 })),
        ("presence", on("a")),
        ("presence_stats", on("a")),
        ("history", on("a")),
    ] {
        assert_eq!(client.refused(method, what), 108, "{method}");
    }
    client.done("subscribe", on("b"));
    assert_eq!(client.refused("subscribe", on("c")), 106);
    edge.expect_metric("tidegate_client_errors_total", 13);
}

#[test]
fn rates_hold_for_each_connection() {
    let edge = Edge::with(&["client.commands_per_second=2"]);
    let client = Managed::connect(&edge);
    let line = |id: u32| match id % 2 {
        0 => json!({ "id": id, "unsubscribe": on("a") }).to_string(),
        _ => json!({ "id": id, "rpc": {} }).to_string(),
    };
    client.say(&(2..12).map(line).collect::<Vec<_>>().join("\n"));
    let refused = (2..12).filter(|_| client.hear()["error"]["code"] == 111).count();
    // A second may have ended in between.
    assert!((6..=8).contains(&refused), "{refused}");
    let other = Managed::connect(&edge);
    other.done("unsubscribe", on("a"));
}

#[test]
fn presence_lists_joins_and_leaves() {
    let options = ["channels.presence=true", "channels.join_leave=true", "presence.clients_max=2"];
    let edge = Edge::with(&[&options[..], &[HMAC_SECRET]].concat());
    let ada = Managed::open(&edge);
    let claims = json!({ "sub": "ada", "info": { "name": "Ada" } });
    let id = ada.done("connect", json!({ "token": token(claims) }))["client"].clone();
    ada.done("subscribe", on("news"));
    assert_eq!(ada.push()["join"]["info"]["client"], id);
    let bob = Managed::connect_as(&edge, "bob");
    bob.done("subscribe", on("news"));
    assert_eq!(ada.push()["join"]["info"]["user"], "bob");
    let presence = bob.done("presence", on("news"))["presence"].clone();
    assert_eq!(presence.as_object().unwrap().len(), 2);
    let entry = &presence[id.as_str().unwrap()];
    assert_eq!((&entry["user"], &entry["conn_info"]["name"]), (&json!("ada"), &json!("Ada")));
    let carol = Managed::connect(&edge);
    carol.done("subscribe", on("news"));
    assert_eq!(carol.refused("presence", on("news")), 106);
    let stats = carol.done("presence_stats", on("news"));
    assert_eq!(stats, json!({ "num_clients": 3, "num_users": 3 }));
    drop(bob);
    let mut left = ada.push();
    while left["join"].is_object() {
        left = ada.push();
    }
    assert_eq!(left["leave"]["info"]["user"], "bob");
}

#[test]
fn tokens_say_who_connects() {
    let edge = Edge::strict(&[HMAC_SECRET]);
    assert_eq!(Managed::open(&edge).refused("connect", json!({})), 101);
    let expired = token(json!({ "sub": "42", "exp": 1 }));
    assert_eq!(Managed::open(&edge).refused("connect", json!({ "token": expired })), 109);
    let forged = format!("{}x", token(json!({ "sub": "42" })));
    let of_channel = token(json!({ "sub": "42", "channel": "news" }));
    for invalid in ["x", &forged, &of_channel] {
        let client = Managed::open(&edge);
        client.begin("connect", json!({ "token": invalid }));
        assert_eq!(client.expect_close(3500), "invalid token");
    }
    let client = Managed::open(&edge);
    let claims = json!({ "sub": "42", "channels": ["news"], "exp": seconds_from_now(60) });
    let result = client.done("connect", json!({ "token": token(claims) }));
    assert_eq!(result["expires"], true);
    assert!((50..=60).contains(&result["ttl"].as_u64().unwrap()), "{result}");
    let mut subs: Vec<_> = result["subs"].as_object().unwrap().keys().collect();
    subs.sort();
    assert_eq!(subs, ["#42", "news"]);
    assert_eq!(client.refused("unsubscribe", on("news")), 103);
    edge.command("mail", r#"{"op":"user","user":"42"}"#);
    assert_eq!(client.data(), "mail");
}

#[test]
fn tokens_say_who_subscribes() {
    let edge = Edge::with(&[HMAC_SECRET, "channels.subscribe=token", "channels.publish=token"]);
    let client = Managed::connect_as(&edge, "42");
    let with = |claims: Value| json!({ "channel": "news", "token": token(claims) });
    assert_eq!(client.refused("subscribe", on("news")), 103);
    for (claims, code) in [
        (json!({ "sub": "43", "channel": "news" }), 103),
        (json!({ "sub": "42", "channel": "sport" }), 103),
        (json!({ "sub": "42", "channel": "news", "client": "x" }), 103),
        (json!({ "sub": "42" }), 103),
        (json!({ "sub": "42", "channel": "news", "exp": 1 }), 109),
    ] {
        assert_eq!(client.refused("subscribe", with(claims.clone())), code, "{claims}");
    }
    let publication = json!({ "channel": "news", "data": "x" });
    assert_eq!(client.refused("publish", publication.clone()), 103);
    client.done("subscribe", with(json!({ "sub": "42", "channel": "news" })));
    client.done("publish", publication);
    assert_eq!(client.data(), "x");
}

#[test]
fn what_expires_ends_after_the_grace_unless_it_is_renewed() {
    let edge = Edge::with(&[HMAC_SECRET, "client.refresh_grace=1s"]);
    let client = Managed::open(&edge);
    let soon = |channel: Option<&str>| {
        let mut claims = json!({ "sub": "42", "exp": seconds_from_now(2) });
        if let Some(channel) = channel {
            claims["channel"] = channel.into();
        }
        token(claims)
    };
    client.done("connect", json!({ "token": soon(None) }));
    for channel in ["a", "b"] {
        let request = json!({ "channel": channel, "token": soon(Some(channel)) });
        assert_eq!(client.done("subscribe", request)["expires"], true);
    }
    let other = Managed::open(&edge);
    other.done("connect", json!({ "token": soon(None) }));
    let later = seconds_from_now(600);
    let renewed = token(json!({ "sub": "42", "exp": later }));
    let result = client.done("refresh", json!({ "token": renewed }));
    assert!((590..=600).contains(&result["ttl"].as_u64().unwrap()), "{result}");
    let renewed = token(json!({ "sub": "42", "channel": "a", "exp": later }));
    client.done("sub_refresh", json!({ "channel": "a", "token": renewed }));
    assert_eq!(other.expect_close(3005), "expired");
    let push = client.push();
    assert_eq!((&push["channel"], &push["unsubscribe"]["code"]), (&json!("b"), &json!(2501)));
    assert_eq!(edge.publish("a", "x"), 1);
    assert_eq!(client.data(), "x");
    client.begin("refresh", json!({ "token": token(json!({ "sub": "43" })) }));
    client.expect_close(3500);
}

#[test]
fn backends_subscribe_unsubscribe_and_end() {
    let edge = Edge::with(&[HMAC_SECRET, HISTORY]);
    let client = Managed::connect_as(&edge, "42");
    edge.command("", r#"{"op":"subscribe","user":"42","channels":["news"]}"#);
    let push = client.push();
    assert_eq!(push["channel"], "news");
    assert_eq!(push["subscribe"]["recoverable"], true);
    edge.publish("news", "x");
    assert_eq!(client.data(), "x");
    edge.command("", r#"{"op":"unsubscribe","user":"42","channels":["news"]}"#);
    let push = client.push();
    assert_eq!((&push["channel"], &push["unsubscribe"]["code"]), (&json!("news"), &json!(2000)));
    assert_eq!(edge.publish("news", "y"), 0);
    edge.command("", r#"{"op":"refresh","user":"42","expired":true}"#);
    assert_eq!(client.expect_close(3005), "expired");
    let client = Managed::connect_as(&edge, "42");
    edge.command("", r#"{"op":"disconnect","user":"42"}"#);
    client.expect_close(3503);
}

#[test]
fn backends_change_what_others_see() {
    let edge = Edge::with(&["channels.presence=true", "channels.publish=everybody", HMAC_SECRET]);
    let ada = Managed::open(&edge);
    let claims = json!({ "sub": "ada", "info": { "name": "Ada" } });
    let id = ada.done("connect", json!({ "token": token(claims) }))["client"].clone();
    ada.done("subscribe", on("news"));
    let meta =
        r#"{"op":"refresh","user":"ada","expires_at":99999999999,"info":"{\"name\":\"A\"}"}"#;
    assert_eq!(edge.command("", meta)["sessions"], 1);
    let bob = Managed::connect_as(&edge, "bob");
    bob.done("subscribe", on("news"));
    let presence = bob.done("presence", on("news"))["presence"].clone();
    assert_eq!(presence[id.as_str().unwrap()]["conn_info"], json!({ "name": "A" }));
    ada.begin("publish", json!({ "channel": "news", "data": 1 }));
    assert_eq!(bob.push()["pub"]["info"]["conn_info"], json!({ "name": "A" }));
}

/// What a backend's subscription of user 42 to one channel is given, as meta.
fn subscribing(channel: &str, options: Value) -> String {
    let mut meta = json!({ "op": "subscribe", "user": "42", "channels": [channel] });
    meta.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    meta.to_string()
}

#[test]
fn backends_give_data_and_info_along() {
    let edge = Edge::with(&[HMAC_SECRET, "channels.presence=true", "channels.join_leave=true"]);
    let client = Managed::connect_as(&edge, "42");
    let raw = edge.open(&format!("/websocket/42?token={}", token(json!({ "sub": "42" }))));
    let given = json!({ "info": "{\"role\":\"host\"}", "data": "{\"seat\":\n7}" });
    assert_eq!(edge.command("", &subscribing("news", given))["sessions"], 2);
    let (mut data, mut joined) = (Vec::new(), Vec::new());
    // The raw one may have been there before: of that this client has not heard.
    while data.is_empty() || joined.is_empty() {
        let push = client.push();
        data.extend(push["subscribe"].get("data").cloned());
        joined.extend(push["join"]["info"].get("chan_info").cloned());
    }
    assert_eq!(data, [json!({ "seat": 7 })]);
    assert!(joined.iter().all(|info| info["role"] == "host"), "{joined:?}");
    let presence = client.done("presence", on("news"))["presence"].clone();
    let hosts = presence.as_object().unwrap().values();
    assert_eq!(hosts.filter(|info| info["chan_info"]["role"] == "host").count(), 2);
    edge.publish("news", "x");
    raw.expect("x");
}

#[test]
fn what_a_backend_subscribes_for_a_time_ends_unless_it_is_renewed() {
    let edge = Edge::with(&[HMAC_SECRET, "client.refresh_grace=1s"]);
    let client = Managed::connect_as(&edge, "42");
    let raw = edge.open(&format!("/websocket/42?token={}", token(json!({ "sub": "42" }))));
    let sessions = |channel: &str, seconds: u64| {
        let options = json!({ "expires_at": seconds });
        edge.command("", &subscribing(channel, options))["sessions"].clone()
    };
    assert_eq!(sessions("over", seconds_from_now(0)), 0);
    for channel in ["a", "b"] {
        // A raw client could not be told of the end.
        assert_eq!(sessions(channel, seconds_from_now(2)), 1);
        assert_eq!(client.push()["channel"], channel);
    }
    assert_eq!(sessions("b", seconds_from_now(600)), 1);
    let push = client.push();
    assert_eq!((&push["channel"], &push["unsubscribe"]["code"]), (&json!("a"), &json!(2501)));
    assert_eq!((edge.publish("a", "x"), edge.publish("b", "y")), (0, 1));
    assert_eq!(client.data(), "y");
    raw.say("still here");
}

#[test]
fn backends_subscribe_from_a_position() {
    let edge = Edge::with(&[HMAC_SECRET, HISTORY]);
    let client = Managed::connect_as(&edge, "42");
    let first = edge.ask(&[b"news", b"seen", br#"{"rid":1}"#]);
    for payload in ["\"1\"", "two"] {
        edge.publish("news", payload);
    }
    let since = |offset: u64, epoch: &Value| json!({ "offset": offset, "epoch": epoch });
    edge.command("", &subscribing("news", since(1, &first["epoch"])));
    let subscribe = client.push()["subscribe"].clone();
    assert_eq!((&subscribe["offset"], &subscribe["epoch"]), (&json!(1), &first["epoch"]));
    edge.publish("news", "3");
    let heard = [(); 3].map(|()| client.push()["pub"].clone());
    let numbers = heard.each_ref().map(|one| (one["offset"].clone(), one["data"].clone()));
    let expected = [(2, json!("1")), (3, json!("two")), (4, json!(3))];
    assert_eq!(numbers, expected.map(|(offset, data)| (json!(offset), data)));
    // A position that is not recovered leaves the client at the present one.
    edge.command("", r#"{"op":"unsubscribe","user":"42","channels":["news"]}"#);
    assert_eq!(client.push()["unsubscribe"]["code"], 2000);
    for (offset, epoch) in [(0, &first["epoch"]), (4, &json!("beef"))] {
        edge.command("", &subscribing("news", since(offset, epoch)));
        assert_eq!(client.push()["subscribe"]["offset"], 4);
        edge.command("", r#"{"op":"unsubscribe","user":"42","channels":["news"]}"#);
        assert_eq!(client.push()["unsubscribe"]["code"], 2000);
    }
}

#[test]
fn all_but_some_are_disconnected() {
    let edge = Edge::with(&[HMAC_SECRET]);
    let connect = || {
        let client = Managed::open(&edge);
        let claims = json!({ "token": token(json!({ "sub": "42" })) });
        let id = client.done("connect", claims)["client"].clone();
        (client, id)
    };
    let [(first, _), (second, kept), (third, other)] = [(); 3].map(|()| connect());
    let meta = json!({ "op": "disconnect", "user": "42", "except": [kept, other] });
    assert_eq!(edge.command("", &meta.to_string())["sessions"], 1);
    first.expect_close(3503);
    let meta = json!({ "op": "disconnect", "user": "42", "except": kept });
    assert_eq!(edge.command("", &meta.to_string())["sessions"], 1);
    third.expect_close(3503);
    assert_eq!(edge.publish("#42", "x"), 1);
    assert_eq!(second.data(), "x");
}

#[test]
fn backends_hear_of_a_channel_that_is_full() {
    let edge = Edge::with(&[HMAC_SECRET, "channels.subscribers_max=1"]);
    let first = Managed::connect_as(&edge, "first");
    first.done("subscribe", on("news"));
    let managed = Managed::connect_as(&edge, "managed");
    let connection = token(json!({ "sub": "raw" }));
    let raw = edge.open(&format!("/websocket/raw?token={connection}"));
    for user in ["managed", "raw"] {
        let subscribe = format!(r#"{{"op":"subscribe","user":"{user}","channels":["news"]}}"#);
        let answer = edge.command("", &subscribe);
        assert_eq!(answer["error"]["code"], "subscriber_limit", "{user}: {answer}");
    }
    assert_eq!(edge.publish("news", "x"), 1);
    assert_eq!(first.data(), "x");
    edge.publish("#raw", "y");
    raw.expect("y");
    edge.publish("#managed", "y");
    assert_eq!(managed.data(), "y");
}

#[test]
fn a_session_that_its_channel_has_no_room_for_leaves_nothing() {
    let sessions = ["sessions.per_user_max=2", "sessions.when_full=\"refuse_newest\""];
    let edge = Edge::with(&[&sessions[..], &[HMAC_SECRET, "personal.subscribers_max=1"]].concat());
    let first = Managed::connect_as(&edge, "42");
    for _ in 0..3 {
        let second = Managed::open(&edge);
        let claims = json!({ "sub": "42", "channels": ["news"] });
        second.begin("connect", json!({ "token": token(claims) }));
        assert_eq!(second.expect_close(4429), "too many subscribers");
    }
    assert_eq!(edge.publish("#42", "x"), 1);
    assert_eq!(first.data(), "x");
}

#[test]
fn revoked_tokens_let_nobody_in_again() {
    let edge = Edge::with(&[HMAC_SECRET]);
    let now = seconds_from_now(0);
    let old = token(json!({ "sub": "42", "iat": now - 5 }));
    let client = Managed::open(&edge);
    client.done("connect", json!({ "token": old }));
    edge.command("", r#"{"op":"disconnect","user":"42","revoke":true,"code":4501}"#);
    client.expect_close(4501);
    let again = Managed::open(&edge);
    again.begin("connect", json!({ "token": old }));
    again.expect_close(3500);
    let path = format!("/websocket/42?token={old}");
    assert_eq!(Client::try_open(edge.public, &path).map(drop).unwrap_err(), "401");
    let new = token(json!({ "sub": "42", "iat": now + 5 }));
    Managed::open(&edge).done("connect", json!({ "token": new }));
    let other = token(json!({ "sub": "43", "iat": now - 5 }));
    Managed::open(&edge).done("connect", json!({ "token": other }));
    let one = r#"{"op":"disconnect","client":"0000000000000000000001","revoke":true}"#;
    let answer = edge.command("", one);
    assert_eq!(answer["error"]["code"], "conflicting_keys");
}

#[test]
fn who_comes_back_gets_what_it_missed_or_is_told() {
    let edge = Edge::with(&[HISTORY]);
    let client = Managed::connect(&edge);
    let seen = client.done("subscribe", on("news"));
    assert_eq!((&seen["recoverable"], &seen["positioned"]), (&json!(true), &json!(true)));
    edge.publish("news", "seen");
    let offset = client.push()["pub"]["offset"].clone();
    let seen = json!({ "epoch": seen["epoch"], "offset": offset });
    drop(client);
    for payload in ["1", "two", "3"] {
        edge.publish("news", format!("\"{payload}\""));
    }
    let client = Managed::connect(&edge);
    let result = client.done("subscribe", again("news", &seen, 0));
    assert_eq!((&result["recovered"], &result["was_recovering"]), (&json!(true), &json!(true)));
    assert_eq!(data_of(&result["publications"]), ["1", "two", "3"]);
    edge.publish("news", "\"4\"");
    assert_eq!(client.data(), "4");

    let late = Managed::connect(&edge);
    let result = late.done("subscribe", again("news", &seen, 0));
    assert_ne!(result["recovered"], true, "one is forgotten");
    assert_eq!((&result["was_recovering"], &result["offset"]), (&json!(true), &json!(5)));
    late.done("unsubscribe", on("news"));
    assert_eq!(late.refused("subscribe", again("news", &seen, 2)), 112);
    let wrong = json!({ "epoch": "other", "offset": 5 });
    assert_ne!(late.done("subscribe", again("news", &wrong, 0))["recovered"], true);
    let request = json!({ "channel": "news", "limit": -1 });
    let history = late.done("history", request);
    assert_eq!(data_of(&history["publications"]), ["two", "3", "4"]);
}

/// How many publications each page of a channel's history has.
fn pages(client: &Managed, channel: &str) -> Vec<usize> {
    let (mut pages, mut seen) = (Vec::new(), json!({ "offset": 0 }));
    loop {
        let request = json!({ "channel": channel, "limit": -1, "since": seen });
        let page = client.done("history", request);
        let publications = page["publications"].as_array().unwrap();
        pages.push(publications.len());
        seen = json!({ "offset": publications.last().unwrap()["offset"], "epoch": page["epoch"] });
        if seen["offset"] == page["offset"] {
            return pages;
        }
    }
}

#[test]
fn every_publication_of_a_history_can_be_had() {
    let edge = Edge::with(&[
        "channels.history_size=9",
        "slow.lag_bytes_max=16MiB",
        "client.reply_bytes_max=16MiB",
        r#"ingest.endpoints=[
            {kind="sub",endpoint="tcp://127.0.0.1:*"},
            {kind="pull",endpoint="tcp://127.0.0.1:*"},
            {kind="router",endpoint="tcp://127.0.0.1:*",message_bytes_max="6MiB"}]"#,
    ]);
    let client = Managed::connect(&edge);
    for length in [10, 1_500_000, 5_000_000, 10, 1_050_000, 1_050_000, 1_050_000, 1_050_000, 10] {
        edge.publish("news", "1".repeat(length));
    }
    assert_eq!(pages(&client, "news"), [2, 1, 4, 2]);

    let edge = Edge::with(&["channels.history_size=9", "client.reply_bytes_max=64KiB"]);
    let client = Managed::connect(&edge);
    for length in [10, 60_000, 66_000, 10] {
        edge.publish("news", "1".repeat(length));
    }
    let since = |offset| json!({ "channel": "news", "limit": -1, "since": { "offset": offset } });
    let count = |offset| client.done("history", since(offset))["publications"].clone();
    assert_eq!(count(0).as_array().unwrap().len(), 2);
    let error = client.ask("history", since(2))["error"].clone();
    assert_eq!(error["code"], 106);
    assert!(error["message"].as_str().unwrap().contains("client.reply_bytes_max"), "{error}");
    assert_eq!(count(3).as_array().unwrap().len(), 1);
}

#[test]
fn channels_that_are_only_asked_for_cost_nothing() {
    let edge = Edge::with(&[HISTORY, "history.memory_max=1MiB", "shards.count=1"]);
    let client = Managed::connect(&edge);
    let before = edge.memory();
    edge.publish("news", "\"1\"");
    let position = client.done("history", on("news"));
    for number in 0..5000 {
        client.done("history", on(&number.to_string()));
    }
    assert_eq!(edge.metric("tidegate_streams"), 1);
    assert!(edge.memory() < before + (2 << 20), "nothing is kept of questions");
    let request = json!({ "channel": "news", "limit": -1 });
    assert_eq!(data_of(&client.done("history", request)["publications"]), ["1"]);
    assert_eq!(client.done("history", on("news")), position);
    // What a question says of a channel without a stream is true when the stream begins.
    let nothing = client.done("history", on("later"));
    edge.publish("later", "\"first\"");
    let result = client.done("subscribe", again("later", &nothing, 0));
    assert_eq!(result["recovered"], true);
    assert_eq!(data_of(&result["publications"]), ["first"]);
}

#[test]
fn subscribers_of_made_up_channels_take_nobodys_history() {
    const CLIENTS: usize = 24;
    let edge = Edge::with(&[HISTORY, "history.memory_max=1MiB", "shards.count=1"]);
    for number in 0..50 {
        edge.publish(&format!("real-{number}"), "\"1\"");
    }
    // Each leaves its channels again, or stays.
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let client = Managed::connect(&edge);
        for channel in 0..128 {
            client.done("subscribe", on(&format!("made-up-{number}-{channel}")));
        }
        if number % 2 == 0 {
            for channel in 0..128 {
                client.done("unsubscribe", on(&format!("made-up-{number}-{channel}")));
            }
        }
        clients.push(client);
    }
    assert_eq!(edge.metric("tidegate_subscriptions"), 128 * CLIENTS as i64 / 2);
    assert!(edge.metric("tidegate_history_bytes") <= 1 << 20);
    let reader = Managed::connect(&edge);
    for number in 0..50 {
        let channel = format!("real-{number}");
        let history = reader.done("history", json!({ "channel": channel, "limit": -1 }));
        assert_eq!(data_of(&history["publications"]), ["1"], "{channel}");
    }
    assert_eq!(edge.metric("tidegate_streams_evicted_total{lost=\"publications\""), 0);
    drop(clients);
    edge.expect_metric("tidegate_subscriptions", 0);
    edge.expect_metric("tidegate_connections", 1);
    assert!(edge.metric("tidegate_streams_evicted_total{lost=\"position\"") > 0);
    assert!(edge.metric("tidegate_history_bytes") <= 1 << 20);
}

#[test]
fn what_stands_beside_a_payload_counts_as_memory() {
    let edge = Edge::with(&["channels.history_size=10"]);
    let tags: Value = (0..30).map(|tag| (tag.to_string(), json!("v".repeat(250)))).collect();
    edge.ask(&[b"news", b"x", json!({ "tags": tags }).to_string().as_bytes()]);
    let bytes = edge.metric("tidegate_history_bytes");
    assert!(bytes > 2 * 30 * 250, "{bytes}");
}

#[test]
fn personal_channels_are_recovered_by_connect() {
    let edge = Edge::with(&[HMAC_SECRET, "personal.history_size=10"]);
    let client = Managed::open(&edge);
    let connection = token(json!({ "sub": "42" }));
    let seen = client.done("connect", json!({ "token": connection }))["subs"]["#42"].clone();
    drop(client);
    edge.command("mail", r#"{"op":"user","user":"42","id":"order-7"}"#);
    let client = Managed::open(&edge);
    let subs = json!({ "#42": again("#42", &seen, 0) });
    let result = client.done("connect", json!({ "token": connection, "subs": subs }));
    let personal = &result["subs"]["#42"];
    assert_eq!(personal["recovered"], true, "{result}");
    assert_eq!(data_of(&personal["publications"]), ["mail"]);
}

#[test]
fn a_repeated_id_is_delivered_once() {
    let edge = Edge::with(&[HISTORY]);
    let client = Managed::connect(&edge);
    client.done("subscribe", on("news"));
    let ask = |payload: &str| edge.ask(&[b"news", payload.as_bytes(), br#"{"id":"order-7"}"#]);
    let first = ask("first");
    let second = ask("second");
    assert_eq!((&first["offset"], &first["epoch"]), (&second["offset"], &second["epoch"]));
    edge.publish("news", "last");
    assert_eq!((client.data(), client.data()), (json!("first"), json!("last")));
}

#[test]
fn what_skips_history_is_heard_and_not_remembered() {
    let edge = Edge::with(&[HISTORY]);
    let client = Managed::connect(&edge);
    let seen = client.done("subscribe", on("news"));
    edge.publish("news", "first");
    let skipped = edge.ask(&[b"news", b"now", br#"{"skip_history":true}"#]);
    assert_eq!((&skipped["sessions"], skipped.get("offset")), (&json!(1), None));
    edge.publish("news", "last");
    let heard = [(); 3].map(|()| client.push()["pub"].clone());
    assert_eq!(data_of(&json!(heard)), ["first", "now", "last"]);
    let offsets = heard.each_ref().map(|publication| publication["offset"].as_u64());
    assert_eq!(offsets, [Some(1), None, Some(2)]);
    client.done("unsubscribe", on("news"));
    let result = client.done("subscribe", again("news", &seen, 0));
    assert_eq!(data_of(&result["publications"]), ["first", "last"]);
}

#[test]
fn what_is_older_than_the_channel_is_not_delivered() {
    let edge = Edge::with(&[HISTORY, "namespaces.bare.history_size=0"]);
    let client = Managed::connect(&edge);
    client.done("subscribe", on("news"));
    let ask = |payload: &str, version: Value| {
        edge.ask(&[b"news", payload.as_bytes(), version.to_string().as_bytes()])
    };
    let first = ask("5", json!({ "version": 5 }));
    assert_eq!((&first["sessions"], &first["offset"]), (&json!(1), &json!(1)));
    for version in [5, 4] {
        let late = ask("late", json!({ "version": version }));
        assert_eq!((&late["sessions"], &late["offset"]), (&json!(0), &json!(1)));
    }
    ask("any", json!({}));
    ask("late", json!({ "version": 5 }));
    ask("1e", json!({ "version": 1, "version_epoch": "e" }));
    ask("late", json!({ "version": 1, "version_epoch": "e" }));
    ask("late", json!({ "version": 1 }));
    ask("2", json!({ "version": 2 }));
    let heard = [(); 4].map(|()| client.data());
    assert_eq!(json!(heard), json!([5, "any", "1e", 2]));
    edge.expect_metric("tidegate_publications_outdated_total", 5);
    // A version of what is not remembered would be compared with nothing.
    let refused = |answer: Value| answer["error"]["code"] == "not_available";
    assert!(refused(edge.ask(&[b"bare:a", b"x", br#"{"version":1}"#])));
    let both = r#"{"op":"broadcast","channels":["bare:a"],"version":1}"#;
    assert!(refused(edge.command("x", both)));
    assert!(refused(edge.command("x", r#"{"op":"user","user":"u","device":"d","version":1}"#)));
}

#[test]
fn everybody_hears_what_is_said_to_all() {
    let edge = Edge::with(&["channels.publish=everybody", "heartbeat.ping_interval=1h"]);
    let raw = edge.connect("raw", &["news"]);
    let client = Managed::connect(&edge);
    let binary = edge.open("/connection/websocket?format=protobuf");
    binary.send(Message::binary(b"\x04\x08\x01\x22\x00".to_vec()));
    assert!(matches!(binary.hear(), Heard::Binary(reply) if reply[1..4] == *b"\x08\x01\x2a"));
    let answer = edge.command("hi", r#"{"op":"all"}"#);
    assert_eq!(answer["sessions"], 3);
    raw.expect("hi");
    assert_eq!(client.push(), json!({ "message": { "data": "hi" } }));
    binary.expect_binary(b"\x08\x22\x06\x42\x04\x0a\x02hi");
    client.done("publish", json!({ "channel": "news", "data": { "n": 1 } }));
    raw.expect(r#"{"n":1}"#);
}

#[test]
fn raw_clients_bring_tokens_too() {
    let edge = Edge::strict(&[HMAC_SECRET, "namespaces.vip.subscribe=token"]);
    let claims = json!({ "sub": "42", "channels": ["vip:lounge"] });
    let (own, other) = (token(claims), token(json!({ "sub": "43" })));
    let path = |user: &str, token: &str| format!("/websocket/{user}?channels=news&token={token}");
    let status = |path: &str| Client::try_open(edge.public, path).map(drop).unwrap_err();
    assert_eq!(status("/websocket/42"), "401");
    assert_eq!(status("/websocket?channels=news"), "401");
    assert_eq!(status(&path("42", "x")), "401");
    assert_eq!(status(&path("42", &token(json!({ "sub": "42", "exp": 1 })))), "401");
    assert_eq!(status(&path("42", &other)), "403");
    assert_eq!(status(&format!("/websocket/43?channels=vip:lounge&token={other}")), "403");
    let by_query = edge.open(&path("42", &own));
    let mut by_subprotocol = edge.tcp();
    let line = format!("Sec-WebSocket-Protocol: tidegate, token.{own}");
    by_subprotocol.send(request("/websocket/42?channels=vip:lounge", &[&line]).as_bytes());
    by_subprotocol.expect_open();
    edge.command("mail", r#"{"op":"user","user":"42"}"#);
    by_query.expect("mail");
    by_subprotocol.expect(0x81, b"mail");
    edge.publish("vip:lounge", "x");
    by_subprotocol.expect(0x81, b"x");
}

#[test]
fn devices_are_named_by_a_header_of_connect() {
    let edge = Edge::with(&[HMAC_SECRET]);
    let connect = |device: &str| {
        let client = Managed::open(&edge);
        let headers = json!({ "X-Device": device });
        let token = token(json!({ "sub": "42" }));
        client.done("connect", json!({ "token": token, "headers": headers }));
        client
    };
    let (phone, laptop) = (connect("phone"), connect("laptop"));
    let answer = edge.command("ring", r#"{"op":"user","user":"42","device":"phone"}"#);
    assert_eq!(answer["sessions"], 1);
    edge.command("both", r#"{"op":"user","user":"42"}"#);
    assert_eq!((phone.data(), phone.data()), (json!("ring"), json!("both")));
    assert_eq!(laptop.data(), "both");
}

#[test]
fn the_drain_closes_managed_clients_too() {
    let mut edge = Edge::with(&["drain.window=0s", "drain.close_code=1001"]);
    let (client, silent) = (Managed::connect(&edge), Managed::open(&edge));
    edge.signal("TERM");
    client.expect_close(1001);
    silent.expect_close(1001);
    assert!(edge.wait().success());
}
