//! The promise: backends hear of every connection, message and end, in order for each connection,
//! with a counter for each shard that shows any loss.

use std::collections::BTreeMap;

use tungstenite::Message;

use crate::harness::{Client, ENDPOINTS, Edge};

#[test]
fn the_life_of_a_connection_is_told() {
    let edge = Edge::start();
    let events = edge.events();
    let client = edge.open("/websocket/42?device=phone");
    let connected = events.expect("connected", "42");
    assert_eq!(connected.meta["device"], "phone");
    client.say("hello");
    client.send(Message::binary(vec![0xff, 0]));
    client.say("");
    let heard = events.expect("message", "42");
    assert_eq!((&heard.payload[..], heard.meta["ct"].as_str()), (&b"hello"[..], Some("text")));
    assert_eq!(heard.meta["client"], connected.meta["client"]);
    let heard = events.expect("message", "42");
    assert_eq!((&heard.payload[..], heard.meta["ct"].as_str()), (&b"\xff\0"[..], Some("binary")));
    assert_eq!(events.expect("message", "42").payload, b"");
    client.close(4321);
    let gone = events.expect("disconnected", "42");
    assert_eq!(
        (gone.meta["code"].as_u64(), gone.meta["device"].as_str()),
        (Some(4321), Some("phone"))
    );
    assert_eq!(gone.meta["client"], connected.meta["client"]);
    let mut empty = edge.raw("/websocket/43");
    empty.send_frame(0x88, b"");
    events.expect("connected", "43");
    // RFC 6455 §7.1.5: a close frame without a code is 1005.
    assert_eq!(events.expect("disconnected", "43").meta["code"], 1005);
    let anonymous = edge.open("/websocket");
    anonymous.say("x");
    assert_eq!(events.next().meta.get("user"), None);
}

#[test]
fn users_come_online_with_their_first_session_and_go_with_their_last() {
    let edge = Edge::start();
    let events = edge.events();
    let of_user = |name: &str| loop {
        let event = events.next_of_all();
        if event.meta["user"] == "42" && event.name.starts_with("user_") {
            break assert_eq!(event.name, name);
        }
    };
    let sessions = [edge.connect("42", &[]), edge.connect("42", &[])];
    of_user("user_online");
    for session in sessions {
        session.close(1000);
    }
    of_user("user_offline");
    edge.connect("42", &[]);
    of_user("user_online");
}

#[test]
fn the_echo_door_is_silent() {
    let edge = Edge::start();
    let events = edge.events();
    let echo = edge.open("/echo");
    echo.say("x");
    echo.expect("x");
    drop(echo);
    edge.connect("u", &[]);
    events.expect("connected", "u");
}

#[test]
fn events_that_no_backend_can_hear_are_counted() {
    let pull_only = r#"ingest.endpoints=[{kind="pull",endpoint="tcp://127.0.0.1:*"}]"#;
    let edge = Edge::with(&[pull_only]);
    let client = edge.open("/websocket/42");
    client.say("hello");
    // The user came online, its connection too, and it said something.
    edge.expect_metric("tidegate_events_dropped_total{reason=\"no_endpoint\"", 3);
    client.close(1000);
    edge.expect_metric("tidegate_events_dropped_total{reason=\"no_endpoint\"", 5);
}

#[test]
fn a_flood_of_messages_is_told_without_a_gap() {
    const CLIENTS: usize = 8;
    const MESSAGES: usize = 2000;
    // Small links: clients are made to wait, and nothing is lost.
    // libzmq may keep all of it for a backend that is slow: events that may be long are fewer.
    let endpoints = ENDPOINTS.replace(r#"kind="pub","#, r#"kind="pub",high_water_mark=20000,"#);
    let edge = Edge::with(&["links.capacity=512", "websocket.message_bytes_max=1KiB", &endpoints]);
    let events = edge.events();
    let clients: Vec<Client> = (0..CLIENTS).map(|n| edge.connect(&n.to_string(), &[])).collect();
    std::thread::scope(|scope| {
        for client in clients {
            scope.spawn(move || {
                for number in 0..MESSAGES {
                    client.say(&number.to_string());
                }
                client.close(1000);
            });
        }
        let mut sequences = BTreeMap::new();
        let mut next: BTreeMap<String, usize> = BTreeMap::new();
        let mut gone = 0;
        while gone < CLIENTS {
            let event = events.next_of_all();
            let (shard, number) = (event.meta["shard"].as_u64(), event.meta["seq"].as_u64());
            if let Some(last) = sequences.insert(shard, number.unwrap()) {
                assert_eq!(number, Some(last + 1), "events of shard {shard:?} were lost");
            }
            let user = event.meta["user"].as_str().unwrap().to_owned();
            match event.name.as_str() {
                "message" => {
                    let next = next.entry(user).or_default();
                    assert_eq!(event.payload, next.to_string().as_bytes());
                    *next += 1;
                }
                "disconnected" if user != "probe" => gone += 1,
                _ => {}
            }
        }
        assert!(next.values().all(|count| *count == MESSAGES), "{next:?}");
    });
    edge.expect_metric("tidegate_messages_received_total", (CLIENTS * MESSAGES) as i64);
    assert_eq!(edge.metric("tidegate_events_dropped_total{reason=\"link_full\""), 0);
}

#[test]
fn the_shortest_links_carry_messages_too() {
    let edge = Edge::with(&["links.capacity=16"]);
    let events = edge.events();
    let client = edge.connect("u", &["c"]);
    events.expect("connected", "u");
    for number in 0..500 {
        client.say(&number.to_string());
    }
    for number in 0..500 {
        assert_eq!(events.expect("message", "u").payload, number.to_string().as_bytes());
    }
    client.close(1000);
    events.expect("disconnected", "u");
}
