//! The promise: a backend beside one that asks for much notices nothing. What each has asked for
//! takes turns, so the polite one waits for a small part of what the other wants.

use std::ops::Range;

use serde_json::{Value, json};

use crate::harness::{Asker, Edge, Raw, call};

/// How many channels a connection has in these tests.
const EACH: usize = 127;

/// The names of many channels.
fn channels(numbers: Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("c{number}")).collect()
}

/// Four subscribers of each of many channels, which read nothing.
fn subscribers(edge: &Edge) -> Vec<Raw> {
    (0..4 * 8)
        .map(|number| {
            let group = number % 8;
            let names = channels(group * EACH..(group + 1) * EACH).join(",");
            edge.raw(&format!("/websocket?channels={names}"))
        })
        .collect()
}

/// Posts to the API and gives the status and the body of the answer.
fn post(edge: &Edge, method: &str, body: &str) -> (u16, Value) {
    let mut peer = Raw::connect(edge.internal);
    peer.send(call(method, body).as_bytes());
    let response = peer.response().expect("the API answers");
    (response.status, serde_json::from_str(&response.body).unwrap())
}

#[test]
fn broadcasts_over_router_hold_up_no_push_and_no_call() {
    const BROADCASTS: usize = 150;
    let edge = &Edge::with(&["shards.count=1"]);
    let _subscribers = subscribers(edge);
    let client = edge.connect("polite", &["polite"]);
    let push = edge.socket(zmq::PUSH, 1);
    std::thread::scope(|scope| {
        let heavy = scope.spawn(move || {
            let heavy = Asker::connect(edge.endpoint(2));
            let meta = json!({"op": "broadcast", "channels": channels(0..8 * EACH)}).to_string();
            for _ in 0..BROADCASTS {
                heavy.send(&[b"$cmd", b"x", meta.as_bytes()]);
            }
            for _ in 0..BROADCASTS {
                assert_eq!(heavy.answer()["ok"], true);
            }
        });
        let mut rounds = 0;
        while !heavy.is_finished() {
            let text = format!("{rounds}");
            push.send_multipart(["polite", &text], 0).unwrap();
            client.expect(&text);
            let body = json!({"channel": "polite", "data": rounds}).to_string();
            assert_eq!(post(edge, "publish", &body).0, 200);
            client.expect(&text);
            rounds += 1;
        }
        // Behind all of them it would have its turn once or twice.
        assert!(rounds > 10, "{rounds} rounds beside {BROADCASTS} broadcasts");
    });
}

#[test]
fn batches_of_broadcasts_hold_up_no_call_and_have_no_call_refused() {
    const CALLERS: usize = 16;
    let edge = &Edge::with(&["shards.count=1", "channels.history_size=1"]);
    let publish = json!({"publish": {"channel": "much", "data": 1}});
    let broadcast = json!({"broadcast": {"channels": channels(0..300), "data": 1}});
    let mut commands = vec![publish; 226];
    commands.extend(vec![broadcast; 30]);
    let batch = &json!({"commands": commands, "parallel": true}).to_string();
    std::thread::scope(|scope| {
        let call = || {
            scope.spawn(|| {
                let (status, body) = post(edge, "batch", batch);
                assert_eq!(status, 200, "{body}");
            })
        };
        let callers: Vec<_> = (0..CALLERS).map(|_| call()).collect();
        let mut rounds = 0;
        while callers.iter().any(|caller| !caller.is_finished()) {
            let body = json!({"channel": "polite", "data": rounds}).to_string();
            let (status, answer) = post(edge, "publish", &body);
            assert!(status == 200 && answer["error"].is_null(), "{answer}");
            rounds += 1;
        }
        assert!(rounds > 10, "{rounds} rounds beside {CALLERS} batches");
    });
}
