//! The promise: whoever asks is answered, with what was done, however full the links are.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::harness::{Asker, Edge, Raw, call, parts};

/// Clients on many shards, each in the same channels.
fn clients_in(edge: &Edge, count: usize, channels: std::ops::Range<usize>) -> Vec<Raw> {
    let mut path = String::from("/websocket?channels=");
    for channel in channels {
        write!(path, "c{channel},").unwrap();
    }
    let path = path.trim_end_matches(',');
    (0..count).map(|_| edge.raw(path)).collect()
}

/// Posts to the API and gives the body of the answer.
fn post(edge: &Edge, method: &str, body: &Value) -> Value {
    let mut peer = Raw::connect(edge.internal);
    peer.send(call(method, &body.to_string()).as_bytes());
    let response = peer.response().expect("the API answers");
    assert_eq!(response.status, 200, "{response:?}");
    serde_json::from_str(&response.body).unwrap()
}

#[test]
fn every_publication_over_http_is_answered_over_the_smallest_links() {
    let edge = Edge::with(&["shards.count=16", "links.capacity=16"]);
    let clients = clients_in(&edge, 64, 0..64);
    let publish = |channel| json!({"publish": {"channel": format!("c{channel}"), "data": 1}});
    let commands: Vec<Value> = (0..64).map(publish).collect();
    // Each shard has 64 things to say of one batch, and links of 16 to say them on.
    for _ in 0..10 {
        let body = json!({"commands": commands, "parallel": true});
        let replies = post(&edge, "batch", &body)["replies"].clone();
        for reply in replies.as_array().unwrap() {
            assert_eq!(reply["publish"]["sessions"], clients.len(), "{replies}");
        }
    }
    edge.expect_metric("tidegate_answers_waiting", 0);
}

#[test]
fn every_broadcast_of_many_pipelined_ones_is_answered() {
    const EACH: usize = 127;
    let edge = Edge::with(&["shards.count=16"]);
    let clients: Vec<_> =
        (0..8).flat_map(|group| clients_in(&edge, 4, group * EACH..(group + 1) * EACH)).collect();
    let channels: Vec<String> = (0..8 * EACH).map(|channel| format!("c{channel}")).collect();
    let asker = Asker::connect(edge.endpoint(2));
    let count = 100;
    for rid in 0..count {
        let meta = json!({"op": "broadcast", "channels": channels, "rid": rid}).to_string();
        asker.send(&[b"$cmd", b"x", meta.as_bytes()]);
    }
    let mut answered: Vec<u64> = Vec::new();
    for _ in 0..count {
        let answer = asker.answer();
        assert_eq!(answer["ok"], true, "after {}: {answer}", answered.len());
        assert_eq!(answer["sessions"], clients.len() * EACH, "{answer}");
        answered.push(answer["rid"].as_u64().unwrap());
    }
    answered.sort_unstable();
    assert_eq!(answered, (0..count).collect::<Vec<u64>>());
    edge.expect_metric("tidegate_answers_waiting", 0);
}

#[test]
fn what_a_namespace_lacks_is_an_error_of_every_command() {
    let edge = Edge::with(&["namespaces.plain.history_size=0"]);
    let asked = |meta: &str, topic: &str| {
        let answer = edge.ask(&parts(&[topic, "", meta]));
        answer["error"]["code"].as_str().unwrap_or("none").to_owned()
    };
    assert_eq!(asked("{}", "gone:a"), "unknown_namespace");
    for meta in [
        r#"{"op":"broadcast","channels":["gone:a"]}"#,
        r#"{"op":"subscribe","user":"nobody","channels":["gone:a"]}"#,
        r#"{"op":"unsubscribe","user":"nobody","channels":["plain:a","gone:a"]}"#,
        r#"{"op":"history_remove","channel":"gone:a"}"#,
    ] {
        assert_eq!(asked(meta, "$cmd"), "unknown_namespace", "{meta}");
    }
    let forget = r#"{"op":"history_remove","channel":"plain:a"}"#;
    assert_eq!(asked(forget, "$cmd"), "not_available");
    let none = r#"{"op":"unsubscribe","user":"nobody","channels":["plain:a"]}"#;
    assert_eq!(asked(none, "$cmd"), "none");
}
