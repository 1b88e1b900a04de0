//! The promise: who may not subscribe to a channel may not read it by another way either, unless a
//! namespace says so, and `nobody` means nobody.

use serde_json::{Value, json};

use crate::harness::{Client, Edge, HMAC_SECRET, Managed, token};

fn on(channel: &str) -> Value {
    json!({ "channel": channel })
}

/// What reads of a channel are answered with, 0 for success.
fn reads(client: &Managed, channel: &str) -> [u64; 3] {
    ["history", "presence", "presence_stats"].map(|method| {
        let reply = client.ask(method, on(channel));
        reply["error"]["code"].as_u64().unwrap_or(0)
    })
}

#[test]
fn rights_to_read_follow_the_right_to_subscribe() {
    let rules = "history_size=10, presence=true";
    let edge = Edge::strict(&[
        HMAC_SECRET,
        "client.anonymous=true",
        &format!("namespaces.open={{{rules}}}"),
        &format!("namespaces.token={{{rules}, subscribe='token'}}"),
        &format!("namespaces.nobody={{{rules}, subscribe='nobody'}}"),
        &format!("namespaces.wide={{{rules}, subscribe='token', read_history='everybody'}}"),
        &format!("namespaces.narrow={{{rules}, read_presence='nobody'}}"),
    ]);
    for namespace in ["open", "token", "nobody", "wide", "narrow"] {
        edge.publish(&format!("{namespace}:x"), "secret");
    }
    let anonymous = Managed::connect(&edge);
    assert_eq!(reads(&anonymous, "open:x"), [0, 0, 0]);
    assert_eq!(reads(&anonymous, "token:x"), [103, 103, 103]);
    assert_eq!(reads(&anonymous, "nobody:x"), [103, 103, 103]);
    assert_eq!(reads(&anonymous, "wide:x"), [0, 103, 103]);
    assert_eq!(reads(&anonymous, "narrow:x"), [0, 103, 103]);
    let member = Managed::connect_as(&edge, "42");
    assert_eq!(reads(&member, "token:x"), [103, 103, 103]);
    let subscription = token(json!({ "sub": "42", "channel": "token:x" }));
    member.done("subscribe", json!({ "channel": "token:x", "token": subscription }));
    assert_eq!(reads(&member, "token:x"), [0, 0, 0]);
}

#[test]
fn nobody_means_nobody_whatever_a_token_says() {
    let edge = Edge::strict(&[HMAC_SECRET, "namespaces.feed={subscribe='nobody', presence=true}"]);
    let claims = |more: Value| {
        let mut claims = json!({ "sub": "42" });
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        token(claims)
    };
    let managed = Managed::open(&edge);
    let channels = claims(json!({ "channels": ["feed:a", "news"], "subs": { "feed:b": {} } }));
    let connected = managed.done("connect", json!({ "token": channels }));
    let subs: Vec<&String> = connected["subs"].as_object().unwrap().keys().collect();
    assert_eq!(subs, ["#42", "news"]);
    let subscription = claims(json!({ "channel": "feed:a" }));
    let subscribe = json!({ "channel": "feed:a", "token": subscription });
    assert_eq!(managed.refused("subscribe", subscribe), 103);
    let path = format!("/websocket/42?channels=feed:a&token={channels}");
    assert_eq!(Client::try_open(edge.public, &path).map(drop).unwrap_err(), "403");
    assert_eq!(edge.publish("feed:a", "x"), 0);
    // Backends always may.
    let answer = edge.command("", r#"{"op":"subscribe","user":"42","channels":["feed:a"]}"#);
    assert_eq!(answer["sessions"], 1, "{answer}");
    assert_eq!(edge.publish("feed:a", "x"), 1);
}
