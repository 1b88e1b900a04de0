//! The promise: what one client can ask for at the edge's expense delays the others by no more than
//! its share of a turn.

use std::collections::{HashMap, HashSet};

use serde_json::json;
use tidegate::limits::COMMANDS_PER_FRAME_MAX;

use crate::harness::{Edge, Managed};

/// The option that makes an edge take tokens of the key that [`costly`] signs with. Nothing takes
/// longer to check than their signatures.
const P384: &str = concat!(
    "token.public_keys=[\"file:",
    env!("CARGO_MANIFEST_DIR"),
    "/tests/keys/p384.public.pem\"]"
);

/// Errors that clients were answered with: each is a bad token that was looked at.
const ERRORS: &str = "tidegate_client_errors_total";

/// A token that is costly to check.
fn costly(claims: &serde_json::Value) -> String {
    let pem = include_bytes!("../keys/p384.private.pem");
    let key = jsonwebtoken::EncodingKey::from_ec_pem(pem).unwrap();
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES384);
    jsonwebtoken::encode(&header, claims, &key).unwrap()
}

/// The same with the signature of another one.
fn bad() -> String {
    let (one, other) = (costly(&json!({ "sub": "a" })), costly(&json!({ "sub": "b" })));
    let (message, _) = one.rsplit_once('.').unwrap();
    let (_, signature) = other.rsplit_once('.').unwrap();
    format!("{message}.{signature}")
}

#[test]
fn a_flood_of_bad_tokens_delays_neither_messages_nor_honest_tokens() {
    let edge = Edge::with(&[P384, "shards.count=1", "client.anonymous=true"]);
    let user = |user: &str| costly(&json!({ "sub": user }));
    let polite = Managed::open(&edge);
    polite.done("connect", json!({ "token": user("polite") }));
    let raw = edge.open(&format!("/websocket/raw?token={}", user("raw")));
    let hostile: Vec<Managed> = (0..40).map(|_| Managed::connect(&edge)).collect();
    let subscribe = json!({ "channel": "a", "token": bad() });
    let command = |id: usize| json!({ "id": id, "subscribe": subscribe }).to_string();
    let flood: Vec<String> = (2..202).map(command).collect();
    let flood = flood.join("\n");
    let count = 40 * 200;
    for client in &hostile {
        client.say(&flood);
    }
    // What is behind them in the socket is bad too.
    let early = edge.metric(ERRORS);
    for _ in 0..5 {
        assert_eq!(edge.publish("#polite", "{}"), 1);
        assert_eq!(edge.publish("#raw", "{}"), 1);
        polite.data();
        raw.expect("{}");
    }
    let managed = Managed::open(&edge);
    managed.done("connect", json!({ "token": user("managed") }));
    let token = costly(&json!({ "sub": "managed", "channel": "news" }));
    managed.done("subscribe", json!({ "channel": "news", "token": token }));
    managed.done("refresh", json!({ "token": user("managed") }));
    let client = edge.open(&format!("/websocket/late?token={}", user("late")));
    assert_eq!(edge.publish("#late", "in time"), 1);
    client.expect("in time");
    let looked_at = edge.metric(ERRORS);
    assert!(looked_at < count / 2, "{early}, then {looked_at} of {count} bad tokens came before");
    assert!(edge.metric("tidegate_tokens_queued_total") > looked_at);
    drop(hostile);
    edge.expect_metric("tidegate_tokens_waiting", 0);
    edge.expect_metric("tidegate_client_commands_parked", 0);
}

#[test]
fn commands_behind_a_costly_token_keep_their_order() {
    let edge = Edge::with(&[P384, "client.anonymous=true"]);
    let client = Managed::open(&edge);
    let token = costly(&json!({ "sub": "42" }));
    let channel = costly(&json!({ "sub": "42", "channel": "news" }));
    let commands = [
        json!({ "id": 1, "connect": { "token": token } }),
        json!({ "id": 2, "subscribe": { "channel": "news", "token": channel } }),
        json!({ "id": 3, "unsubscribe": { "channel": "news" } }),
        json!({ "id": 4, "sub_refresh": { "channel": "news", "token": channel } }),
        json!({ "id": 5, "subscribe": { "channel": "news", "token": bad() } }),
        json!({ "id": 6, "refresh": { "token": token } }),
        json!({ "id": 7, "connect": {} }),
    ];
    client.say(&commands.map(|command| command.to_string()).join("\n"));
    let heard = |id: u64, code: u64| {
        let reply = client.hear();
        let outcome = (reply["id"].as_u64(), reply["error"]["code"].as_u64().unwrap_or(0));
        assert_eq!(outcome, (Some(id), code), "{reply}");
    };
    for (id, code) in [(1, 0), (2, 0), (3, 0), (4, 103), (5, 103), (6, 0)] {
        heard(id, code);
    }
    assert_eq!(client.expect_close(3501), "connected already");
}

#[test]
fn a_connect_whose_token_is_refused_leaves_nothing_to_a_second_one() {
    let edge = Edge::strict(&[P384]);
    let client = Managed::open(&edge);
    let expired = costly(&json!({ "sub": "42", "exp": 1 }));
    let commands = [
        json!({ "id": 1, "connect": { "token": expired } }),
        json!({ "id": 2, "connect": {} }),
        json!({ "id": 3, "connect": { "token": bad() } }),
        json!({ "id": 4, "connect": { "token": costly(&json!({ "sub": "42" })) } }),
    ];
    client.say(&commands.map(|command| command.to_string()).join("\n"));
    assert_eq!(client.hear()["error"]["code"], 109);
    assert_eq!(client.hear()["error"]["code"], 101);
    assert_eq!(client.expect_close(3500), "invalid token");
    assert_eq!(edge.metric("tidegate_users"), 0);
}

#[test]
fn a_client_may_have_many_thousand_channels() {
    let count = 16_384;
    let options =
        ["client.channels_max=16384", "channels.publish=everybody", "client.anonymous=true"];
    let edge = Edge::with(&options);
    let client = Managed::connect(&edge);
    let channel = |number: usize| format!("c{number}");
    for first in (0..count).step_by(256) {
        let command = |number| {
            json!({ "id": 2 + number, "subscribe": { "channel": channel(number) } }).to_string()
        };
        let commands: Vec<String> = (first..first + 256).map(command).collect();
        client.say(&commands.join("\n"));
        for _ in 0..256 {
            // Several replies may come in one frame each; none is an error.
            let reply = client.hear();
            assert!(reply["subscribe"].is_object(), "{reply}");
        }
    }
    edge.expect_metric("tidegate_subscriptions", count as i64);
    assert_eq!(client.refused("subscribe", json!({ "channel": "more" })), 106);
    for number in [0, 7, 8, 9, 8191, count - 1] {
        let channel = channel(number);
        client.done("publish", json!({ "channel": channel, "data": number }));
        assert_eq!(client.data(), number);
        client.done("unsubscribe", json!({ "channel": channel }));
        assert_eq!(edge.publish(&channel, "{}"), 0);
        client.done("subscribe", json!({ "channel": channel }));
        assert_eq!(edge.publish(&channel, "1"), 1);
        assert_eq!(client.data(), 1);
    }
    drop(client);
    edge.expect_metric("tidegate_channels", 0);
    edge.expect_metric("tidegate_subscriptions", 0);
}

#[test]
fn a_client_with_many_channels_comes_back_to_all_of_them_in_one_frame() {
    let count = 5000;
    let edge = Edge::with(&["client.channels_max=5000", "client.anonymous=true"]);
    let channel = |number: usize| format!("c{number}");
    for _ in 0..2 {
        let client = Managed::connect(&edge);
        let command = |number| {
            json!({ "id": 2 + number, "subscribe": { "channel": channel(number) } }).to_string()
        };
        let commands: Vec<String> = (0..count).map(command).collect();
        client.say(&commands.join("\n"));
        // Homes answer in an order of their own.
        let mut answered = HashSet::new();
        for _ in 0..count {
            let reply = client.hear();
            assert!(reply["subscribe"].is_object(), "{reply}");
            answered.insert(reply["id"].as_u64());
        }
        assert_eq!(answered.len(), count);
        edge.expect_metric("tidegate_subscriptions", count as i64);
        for number in [0, 999, 1000, count - 1] {
            assert_eq!(edge.publish(&channel(number), number.to_string()), 1);
            assert_eq!(client.data(), number);
        }
        drop(client);
        edge.expect_metric("tidegate_subscriptions", 0);
    }
    edge.expect_metric("tidegate_client_commands_parked", 0);
}

#[test]
fn whoever_leaves_many_channels_at_once_is_seen_to_leave_each_of_them_once() {
    let count = 700;
    let options = [
        "shards.count=2",
        "client.channels_max=1000",
        "client.anonymous=true",
        "channels.presence=true",
        "channels.join_leave=true",
    ];
    let edge = Edge::with(&options);
    let channel = |number: usize| format!("c{number}");
    let come = || {
        let client = Managed::connect(&edge);
        for number in 0..count {
            client.done("subscribe", json!({ "channel": channel(number) }));
        }
        client
    };
    let watcher = come();
    let leaver = come();
    edge.expect_metric("tidegate_presence_clients", 2 * count as i64);
    drop(leaver);
    let mut left = HashMap::new();
    while left.len() < count {
        let push = watcher.push();
        if push["leave"].is_object() {
            *left.entry(push["channel"].to_string()).or_insert(0) += 1;
        }
    }
    edge.expect_metric("tidegate_presence_clients", count as i64);
    edge.expect_metric("tidegate_subscriptions", count as i64);
    for number in 0..count {
        assert_eq!(edge.publish(&channel(number), "1"), 1);
    }
    for _ in 0..count {
        // Nobody leaves twice.
        assert_eq!(watcher.data(), 1);
    }
    assert!(left.values().all(|&times| times == 1), "{left:?}");
}

#[test]
fn the_commands_of_a_frame_are_counted_however_it_is_read() {
    let edge = Edge::with(&["client.anonymous=true", "websocket.message_bytes_max=1MiB"]);
    let client = Managed::connect(&edge);
    let ask = json!({ "id": 9, "unsubscribe": { "channel": "a" } }).to_string();
    client.say(&("{}\n".repeat(COMMANDS_PER_FRAME_MAX - 1) + &ask));
    assert_eq!(client.hear()["id"], 9);
    client.say(&("{}\n".repeat(COMMANDS_PER_FRAME_MAX) + &ask));
    assert_eq!(client.expect_close(3501), "bad request");
}
