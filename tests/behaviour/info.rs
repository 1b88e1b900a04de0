//! The promise: what tokens and backends say of a client, others see wherever they hear of it.

use serde_json::{Value, json};

use crate::harness::{Edge, HMAC_SECRET, Managed, seconds_from_now, token};

fn open() -> Edge {
    Edge::with(&[
        HMAC_SECRET,
        "channels.presence=true",
        "channels.join_leave=true",
        "channels.publish=everybody",
        "channels.history_size=10",
    ])
}

fn on(channel: &str) -> Value {
    json!({ "channel": channel })
}

/// What the push says of a client, behind pushes of other kinds.
fn seen(client: &Managed, kind: &str) -> Value {
    loop {
        let push = client.push();
        if push[kind].is_object() {
            return push[kind]["info"].clone();
        }
    }
}

#[test]
fn publications_say_as_what_their_publisher_is_subscribed() {
    let edge = open();
    let ada = Managed::open(&edge);
    let subs = json!({ "of subs": { "info": { "seat": 1 } } });
    let claims = json!({ "sub": "ada", "info": { "name": "Ada" }, "subs": subs });
    let id = ada.done("connect", json!({ "token": token(claims) }))["client"].clone();
    let claims = json!({ "sub": "ada", "channel": "of token", "info": { "seat": 2 } });
    ada.done("subscribe", json!({ "channel": "of token", "token": token(claims) }));
    ada.done("subscribe", on("plain"));
    let meta = json!({
        "op": "subscribe", "user": "ada", "channels": ["of backend"], "info": "{\"seat\":3}",
    });
    assert_eq!(edge.command("", &meta.to_string())["sessions"], 1);
    let bob = Managed::connect_as(&edge, "bob");
    for (channel, seat) in [("of subs", 1), ("of token", 2), ("of backend", 3), ("plain", 0)] {
        let position = bob.done("subscribe", on(channel));
        let mut expected = json!({ "client": id, "user": "ada", "conn_info": { "name": "Ada" } });
        if seat > 0 {
            expected["chan_info"] = json!({ "seat": seat });
        }
        ada.done("publish", json!({ "channel": channel, "data": "x" }));
        assert_eq!(seen(&bob, "pub"), expected, "{channel}: live");
        let history = bob.done("history", json!({ "channel": channel, "limit": 1 }));
        assert_eq!(history["publications"][0]["info"], expected, "{channel}: history");
        let presence = bob.done("presence", on(channel))["presence"].clone();
        assert_eq!(presence[id.as_str().unwrap()], expected, "{channel}: presence");
        bob.done("unsubscribe", on(channel));
        let (epoch, offset) = (&position["epoch"], position["offset"].as_u64().unwrap_or_default());
        let again =
            json!({ "channel": channel, "recover": true, "epoch": epoch, "offset": offset });
        let recovered = bob.done("subscribe", again);
        assert_eq!(recovered["publications"][0]["info"], expected, "{channel}: recovery");
    }
    // It is said of the subscription: without one nothing is left of it.
    ada.done("unsubscribe", on("of token"));
    assert_eq!(seen(&bob, "leave")["chan_info"], json!({ "seat": 2 }));
    ada.done("publish", json!({ "channel": "of token", "data": "y" }));
    assert_eq!(seen(&bob, "pub").get("chan_info"), None);
}

#[test]
fn new_tokens_say_anew_what_others_see() {
    let edge = open();
    let ada = Managed::open(&edge);
    let connection = |info: Value| {
        let claims = json!({ "sub": "ada", "exp": seconds_from_now(600), "info": info });
        json!({ "token": token(claims) })
    };
    let subscription = |info: Value| {
        let claims = json!({ "sub": "ada", "channel": "a", "info": info });
        json!({ "channel": "a", "token": token(claims) })
    };
    let id = ada.done("connect", connection(json!("1")))["client"].clone();
    ada.done("subscribe", subscription(json!("one")));
    ada.done("subscribe", on("b"));
    let bob = Managed::connect_as(&edge, "bob");
    for channel in ["a", "b"] {
        bob.done("subscribe", on(channel));
    }
    let expect = |channel: &str, connection: &Value, subscription: &Value| {
        ada.done("publish", json!({ "channel": channel, "data": "x" }));
        let presence = bob.done("presence", on(channel))["presence"].clone();
        for info in [&seen(&bob, "pub"), &presence[id.as_str().unwrap()]] {
            assert_eq!(&info["conn_info"], connection, "{channel}: {info}");
            assert_eq!(&info["chan_info"], subscription, "{channel}: {info}");
        }
    };
    expect("a", &json!("1"), &json!("one"));
    ada.done("sub_refresh", subscription(json!("two")));
    expect("a", &json!("1"), &json!("two"));
    ada.done("refresh", connection(json!("2")));
    expect("a", &json!("2"), &json!("two"));
    expect("b", &json!("2"), &Value::Null);
    // A connection token that says nothing changes nothing; a subscription token takes it back.
    let claims = json!({ "sub": "ada", "exp": seconds_from_now(600) });
    ada.done("refresh", json!({ "token": token(claims) }));
    let claims = json!({ "sub": "ada", "channel": "a" });
    ada.done("sub_refresh", json!({ "channel": "a", "token": token(claims) }));
    expect("a", &json!("2"), &Value::Null);
    ada.done("unsubscribe", on("a"));
    assert_eq!(seen(&bob, "leave")["conn_info"], "2");
}

#[test]
fn publications_say_which_version_they_tell() {
    let edge = open();
    let client = Managed::connect(&edge);
    client.done("subscribe", on("state"));
    client.push();
    edge.ask(&[b"state", b"x", br#"{"rid":1,"version":7}"#]);
    let publication = client.push()["pub"].clone();
    assert_eq!(publication, json!({ "data": "x", "offset": 1, "version": 7 }));
    let history = client.done("history", json!({ "channel": "state", "limit": 1 }));
    assert_eq!(history["publications"], json!([publication]));
    edge.publish("state", "y");
    assert_eq!(client.push()["pub"].get("version"), None);
}
