//! The promise: nothing that there is not passes for given, whoever is refused hears what to do,
//! and whoever could come back is not sent away for good.

use serde_json::{Value, json};

use crate::harness::{Client, Edge, HMAC_SECRET, Heard, Managed, seconds_from_now, token};

fn on(channel: &str) -> Value {
    json!({ "channel": channel })
}

/// A command that fails: its code, its message, and whether SDKs try it again.
fn error(client: &Managed, method: &str, request: Value) -> (u64, String, bool) {
    let reply = client.ask(method, request);
    let error = &reply["error"];
    let code = error["code"].as_u64().unwrap_or_else(|| panic!("{method}: {reply}"));
    let message = error["message"].as_str().unwrap().to_owned();
    (code, message, error["temporary"] == true)
}

#[test]
fn what_is_not_offered_is_refused() {
    let edge = Edge::with(&["channels.publish=everybody"]);
    let client = Managed::connect(&edge);
    for (method, field, value, code) in [
        ("subscribe", "tf", json!({ "key": "k", "cmp": "eq", "val": "v" }), 107),
        ("subscribe", "tf", json!({}), 107),
        ("subscribe", "type", json!(1), 108),
        ("subscribe", "cursor", json!("x"), 107),
        ("publish", "type", json!(1), 108),
        ("publish", "key", json!("k"), 107),
        ("publish", "removed", json!(true), 107),
        ("sub_refresh", "type", json!(1), 108),
    ] {
        let request = json!({ "channel": "news", "data": 1, "token": "", field: value });
        let (found, message, is_temporary) = error(&client, method, request);
        assert_eq!((found, is_temporary), (code, false), "{method} {field}");
        assert!(message.ends_with(&format!(": `{field}` is not supported")), "{message}");
    }
    let (code, message, _) = error(&client, "publish", on("news"));
    assert_eq!((code, &*message), (107, "bad request: `data` is missing"));
    assert_eq!(edge.publish("news", "x"), 0, "nothing of it was done");
    // What says nothing asks for nothing.
    let nothing = json!({ "channel": "news", "tf": null, "type": 0, "key": "", "asc": false });
    client.done("subscribe", nothing);
    client.done("publish", json!({ "channel": "news", "data": null, "removed": false }));
    assert_eq!(client.data(), Value::Null);
}

#[test]
fn messages_name_the_option() {
    let edge = Edge::with(&["namespaces.chat.publish=everybody", "client.insecure=true"]);
    let client = Managed::connect(&edge);
    for (method, channel, message) in [
        ("subscribe", "other:a", "unknown channel: add [namespaces.other] to the configuration"),
        ("publish", "other:a", "unknown channel: add [namespaces.other] to the configuration"),
        (
            "subscribe",
            ":a",
            "unknown channel: \"\" cannot be a namespace, which has a name of 1 to 64 letters, \
             digits, _, - and .",
        ),
        ("history", "news", "not available: set channels.history_size"),
        ("history", "chat:a", "not available: set namespaces.chat.history_size"),
        ("presence", "chat:a", "not available: set namespaces.chat.presence"),
        ("presence_stats", "#42", "not available: set personal.presence"),
    ] {
        let request = json!({ "channel": channel, "data": 1 });
        let (code, found, is_temporary) = error(&client, method, request);
        assert_eq!((&*found, is_temporary), (message, false), "{method} {channel}");
        assert_eq!(code, if message.starts_with("unknown") { 102 } else { 108 });
    }
}

#[test]
fn an_expired_token_sends_nobody_away() {
    let edge = Edge::with(&[HMAC_SECRET, "channels.subscribe=token", "client.refresh_grace=60s"]);
    let client = Managed::connect_as(&edge, "42");
    let subscription = |expires_at: u64| {
        let claims = json!({ "sub": "42", "channel": "news", "exp": expires_at });
        json!({ "channel": "news", "token": token(claims) })
    };
    client.done("subscribe", subscription(seconds_from_now(600)));
    // SDKs take an error that is not temporary as the end of the subscription.
    let expired = error(&client, "sub_refresh", subscription(1));
    assert_eq!(expired, (109, "token expired".to_owned(), true));
    assert_eq!(edge.publish("news", "x"), 1);
    assert_eq!(client.data(), "x");
    assert_eq!(client.done("sub_refresh", subscription(seconds_from_now(600)))["expires"], true);
    // It may cross the push that ends the subscription, which the SDK makes anew.
    edge.command("", r#"{"op":"unsubscribe","user":"42","channels":["news"]}"#);
    let late = error(&client, "sub_refresh", subscription(seconds_from_now(600)));
    assert_eq!(late, (103, "permission denied".to_owned(), true));
    // In the reply to a command that begins something the code alone says it.
    let first = error(&client, "subscribe", subscription(1));
    assert_eq!(first, (109, "token expired".to_owned(), false));
    // After this code SDKs connect again; an error would be final.
    client.push();
    client.begin("refresh", json!({ "token": token(json!({ "sub": "42", "exp": 1 })) }));
    assert_eq!(client.expect_close(3005), "token expired");
    edge.expect_metric("tidegate_connections_closed_total{reason=\"expired\"", 1);
}

#[test]
fn who_finds_no_room_may_come_again() {
    let edge = Edge::with(&[
        HMAC_SECRET,
        "channels.subscribers_max=1",
        "client.channels_max=2",
        "personal.subscribers_max=1",
    ]);
    let first = Managed::connect_as(&edge, "first");
    first.done("subscribe", on("news"));
    let second = Managed::connect_as(&edge, "second");
    let full = error(&second, "subscribe", on("news"));
    assert_eq!(full, (106, "limit exceeded".to_owned(), true));
    second.done("subscribe", on("sport"));
    // No time will help a client that has too much itself.
    let own = error(&second, "subscribe", on("chess"));
    assert_eq!(own, (106, "limit exceeded".to_owned(), false));
    let third = Managed::open(&edge);
    third.begin("connect", json!({ "token": token(json!({ "sub": "first" })) }));
    third.expect_close(4429);
}

#[test]
fn with_insecure_a_token_that_is_shown_is_checked() {
    let edge = Edge::with(&[HMAC_SECRET, "client.insecure=true", "channels.subscribe=nobody"]);
    let forged = format!("{}x", token(json!({ "sub": "42" })));
    let client = Managed::open(&edge);
    client.begin("connect", json!({ "token": forged }));
    client.expect_close(3500);
    let expired = token(json!({ "sub": "42", "exp": 1 }));
    assert_eq!(Managed::open(&edge).refused("connect", json!({ "token": expired })), 109);
    for path in [format!("/websocket?token={forged}"), format!("/websocket/42?token={expired}")] {
        assert_eq!(Client::try_open(edge.public, &path).map(drop).unwrap_err(), "401", "{path}");
    }
    let of_another = token(json!({ "sub": "43" }));
    let path = format!("/websocket/42?token={of_another}");
    assert_eq!(Client::try_open(edge.public, &path).map(drop).unwrap_err(), "403");
    // A good one says who it is; without one everything is allowed all the same.
    let client = Managed::connect_as(&edge, "42");
    assert_eq!(client.refused("subscribe", json!({ "channel": "news", "token": forged })), 103);
    client.done("subscribe", on("news"));
    let raw =
        edge.open(&format!("/websocket?channels=news&token={}", token(json!({ "sub": "7" }))));
    let nobody = Managed::connect(&edge);
    nobody.done("subscribe", on("news"));
    assert_eq!(edge.publish("news", "x"), 3);
    raw.expect("x");
    assert_eq!(edge.publish("#7", "y"), 1);
    assert_eq!(raw.hear(), Heard::Text("y".to_owned()));
}
