//! The promise: every command of a managed client is answered once, in good time and in bounded
//! memory, whatever others do meanwhile.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::harness::{Edge, HMAC_SECRET, Managed};

/// Reads replies until every command of a range has one; pushes are passed over.
#[track_caller]
fn replies(client: &Managed, numbers: std::ops::Range<u64>) -> Vec<Value> {
    let mut missing: HashSet<u64> = numbers.collect();
    let mut replies = Vec::new();
    while !missing.is_empty() {
        let message = client.hear();
        if message["push"].is_object() {
            continue;
        }
        let id = message["id"].as_u64().expect("an id");
        assert!(missing.remove(&id), "a second reply: {message}");
        replies.push(message);
    }
    replies
}

#[test]
fn a_subscribe_is_answered_although_a_backend_takes_the_channel_away() {
    let edge = Edge::with(&[HMAC_SECRET]);
    let client = Managed::connect_as(&edge, "42");
    let channels: Vec<String> = (0..40).map(|n| format!("c{n}")).collect();
    let list = json!(channels);
    let frame = |method: &str, first: u64| {
        let command = |(channel, id): (&String, u64)| {
            json!({ "id": id, method: { "channel": channel } }).to_string()
        };
        channels.iter().zip(first..).map(command).collect::<Vec<_>>().join("\n")
    };
    let mut refused = 0;
    for round in 0..50 {
        let first = 100 + 80 * round;
        client.say(&frame("subscribe", first));
        edge.command("", &format!(r#"{{"op":"unsubscribe","user":"42","channels":{list}}}"#));
        for reply in replies(&client, first..first + 40) {
            let is_subscribed = reply["subscribe"].is_object();
            assert!(is_subscribed || reply["error"]["code"] == 103, "{reply}");
            refused += u32::from(!is_subscribed);
        }
        client.say(&frame("unsubscribe", first + 40));
        replies(&client, first + 40..first + 80);
    }
    println!("{refused} were taken away before they were there");
}

#[test]
fn an_empty_epoch_is_the_present_one() {
    let edge = Edge::with(&["channels.history_size=10"]);
    for payload in ["1", "2", "3"] {
        edge.publish("news", payload);
    }
    let client = Managed::connect(&edge);
    let history = |since: Value| json!({ "channel": "news", "limit": -1, "since": since });
    for since in [json!({ "offset": 1, "epoch": "" }), json!({ "offset": 1 })] {
        let result = client.done("history", history(since));
        let data: Vec<_> = result["publications"].as_array().unwrap().iter().collect();
        assert_eq!((&data[0]["data"], &data[1]["data"]), (&json!(2), &json!(3)));
    }
    for epoch in ["beef", "not one of ours"] {
        let since = json!({ "offset": 1, "epoch": epoch });
        assert_eq!(client.refused("history", history(since)), 112, "{epoch}");
    }
    let request = json!({ "channel": "news", "recover": true, "offset": 1, "epoch": "" });
    let result = client.done("subscribe", request);
    assert_eq!(result["recovered"], true, "{result}");
    assert_eq!(result["publications"].as_array().unwrap().len(), 2);
}

#[test]
fn users_are_counted_once() {
    let edge = Edge::with(&[HMAC_SECRET]);
    let clients = ["42", "42", "43"].map(|user| Managed::connect_as(&edge, user));
    let _nobody = Managed::connect(&edge);
    edge.expect_metric("tidegate_users", 2);
    drop(clients);
    edge.expect_metric("tidegate_users", 0);
}
