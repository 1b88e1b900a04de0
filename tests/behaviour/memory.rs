//! The promise: memory has budgets, whoever hoards pays, and those beside them keep their share.

use std::io::Write as _;
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::harness::{Edge, Managed, Raw, call, eventually, frame, greet, request};

const HALF_READ: &str = "tidegate_connections_closed_total{reason=\"half_read\"";
const FORGOTTEN: &str = "tidegate_history_publications_evicted_total";

/// What a client recovers that stood at the beginning of a channel.
fn recover(edge: &Edge, channel: &str, position: &Value) -> Value {
    let client = Managed::connect(edge);
    let (epoch, offset) = (&position["epoch"], &position["offset"]);
    let request = json!({ "channel": channel, "recover": true, "epoch": epoch, "offset": offset });
    client.done("subscribe", request)
}

fn history(edge: &Edge, channel: &str) -> Vec<u64> {
    let client = Managed::connect(edge);
    let history = client.done("history", json!({ "channel": channel, "limit": -1 }));
    let list = history["publications"].as_array().cloned().unwrap_or_default();
    list.iter().map(|publication| publication["offset"].as_u64().unwrap()).collect()
}

#[test]
fn a_loud_channel_pays_for_the_memory_that_its_history_takes() {
    let options = ["channels.history_size=1000", "history.memory_max=1MiB", "shards.count=1"];
    let edge = Edge::with(&options);
    let asker = Managed::connect(&edge);
    let position = |channel: &str| asker.done("history", json!({ "channel": channel }));
    let quiet: Vec<(String, Value)> = (0..20)
        .map(|number| format!("quiet-{number}"))
        .map(|channel| {
            let before = position(&channel);
            edge.publish(&channel, "\"1\"");
            edge.publish(&channel, "\"2\"");
            (channel, before)
        })
        .collect();
    let before = position("loud");
    for _ in 0..300 {
        edge.publish("loud", format!("\"{}\"", "x".repeat(4000)));
    }
    assert!(edge.metric("tidegate_history_bytes") <= 1 << 20);
    let kept = history(&edge, "loud");
    let first = 301 - kept.len() as u64;
    assert!(kept.len() > 40, "{} of the loud channel are left", kept.len());
    assert_eq!(kept, (first..=300).collect::<Vec<_>>(), "the newest are kept");
    assert_eq!(edge.metric(FORGOTTEN) as u64, first - 1);
    // Whoever was there before the oldest that is kept is told so, and whoever was not recovers.
    assert_ne!(recover(&edge, "loud", &before)["recovered"], true);
    let late = json!({ "epoch": before["epoch"], "offset": first - 1 });
    let result = recover(&edge, "loud", &late);
    assert_eq!((&result["recovered"], &result["epoch"]), (&json!(true), &before["epoch"]));
    assert_eq!(result["publications"].as_array().unwrap().len(), kept.len());
    for (channel, before) in &quiet {
        let result = recover(&edge, channel, before);
        assert_eq!(result["recovered"], true, "{channel}");
        assert_eq!(result["publications"].as_array().unwrap().len(), 2, "{channel}");
    }
}

#[test]
fn made_up_names_of_publishers_take_no_history_that_is_heard_or_of_other_namespaces() {
    let edge = Edge::with(&[
        "channels.history_size=10",
        "namespaces.open.history_size=10",
        "namespaces.open.publish=everybody",
        "client.publishes_per_second=0",
        "history.memory_max=1MiB",
        "shards.count=1",
    ]);
    let listener = Managed::connect(&edge);
    listener.done("subscribe", json!({ "channel": "open:heard" }));
    edge.publish("open:heard", "\"1\"");
    edge.publish("order-7", "\"1\"");
    let publisher = Managed::connect(&edge);
    for number in 0..5000 {
        let channel = format!("open:made-up-{number}");
        publisher.done("subscribe", json!({ "channel": channel }));
        publisher.done("publish", json!({ "channel": channel, "data": 1 }));
        publisher.done("unsubscribe", json!({ "channel": channel }));
    }
    assert_eq!(history(&edge, "open:heard"), [1]);
    assert_eq!(history(&edge, "order-7"), [1]);
    assert!(edge.metric(FORGOTTEN) > 1000);
    assert!(edge.metric("tidegate_history_bytes") <= 1 << 20);
}

#[test]
fn keys_of_publications_take_a_part_of_the_memory_for_history() {
    let edge = Edge::with(&[
        "channels.history_size=10",
        "namespaces.bare.history_size=0",
        "history.memory_max=1MiB",
        "shards.count=1",
    ]);
    edge.publish("kept", "\"1\"");
    for number in 0..3000 {
        let key = format!("{number}-{}", "k".repeat(100));
        edge.ask(&[b"bare:0", b"x", json!({ "id": key }).to_string().as_bytes()]);
    }
    let held = edge.metric("tidegate_history_bytes");
    assert!((200 << 10..300 << 10).contains(&held), "{held} bytes");
    assert!(edge.metric("tidegate_idempotency_keys_forgotten_total") > 1000);
    assert_eq!(history(&edge, "kept"), [1]);
}

#[test]
fn heads_that_do_not_end_give_way_to_those_that_do() {
    const HOARDERS: usize = 150;
    let quiet = "handshake.deadline=1h";
    let edge = Edge::with(&["websocket.memory_max=1MiB", "shards.count=1", quiet]);
    let head = request("/websocket", &[]);
    let mut polite: Vec<Raw> = (0..20).map(|_| edge.tcp()).collect();
    for peer in &mut polite {
        peer.send(&head.as_bytes()[..40]);
    }
    let open = format!("GET /websocket HTTP/1.1\r\nX: {}", "x".repeat(15_000));
    let mut hoarders: Vec<Raw> = (0..HOARDERS).map(|_| edge.tcp()).collect();
    for hoarder in &mut hoarders {
        hoarder.send(open.as_bytes());
    }
    let received = HOARDERS * open.len() + 20 * 40;
    eventually("they are read", || {
        edge.metric("tidegate_received_bytes_total") as usize >= received
    });
    let held = edge.metric("tidegate_handshake_bytes");
    assert!((512 << 10..=1 << 20).contains(&held), "{held} bytes");
    assert!(edge.metric("tidegate_handshakes_refused_total{reason=\"limit\"") > 50);
    let refused = hoarders[0].response().expect("the first that came goes first");
    assert_eq!(refused.status, 503);
    for peer in &mut polite {
        peer.send(&head.as_bytes()[40..]);
        peer.expect_open();
    }
    drop(hoarders);
    edge.expect_metric("tidegate_handshake_bytes", 0);
}

#[test]
fn commands_that_wait_are_bounded_by_their_bytes() {
    const PARKED: &str = "tidegate_client_commands_parked_bytes";
    let edge = Edge::with(&[
        "shards.count=1",
        "websocket.memory_max=1MiB",
        "websocket.message_bytes_max=128KiB",
        "channels.history_size=100",
        "client.reply_bytes_max=64KiB",
        "client.commands_per_second=0",
        "slow.age_max=1h",
    ]);
    for _ in 0..6 {
        edge.publish("much", format!("\"{}\"", "x".repeat(10_000)));
    }
    let polite = Managed::connect(&edge);
    let hoard = |number: usize| {
        let mut peer = Raw::connect_narrow(edge.public).upgrade("/connection/websocket");
        peer.send_frame(0x81, b"{\"id\":1,\"connect\":{}}");
        // Each answer has all the room that there is, and nobody reads.
        let mut commands = String::new();
        for id in 2..80 {
            let history = json!({ "id": id, "history": { "channel": "much", "limit": -1 } });
            commands += &format!("{history}\n");
        }
        let send = json!({ "send": { "data": "x".repeat(80_000 + number) } });
        peer.send_frame(0x81, format!("{commands}{send}").as_bytes());
        peer
    };
    let hoarders: Vec<Raw> = (0..40).map(hoard).collect();
    eventually("most of it is given up", || edge.metric(HALF_READ) >= 20);
    let held = edge.metric(PARKED);
    assert!((256 << 10..=1 << 20).contains(&held), "{held} bytes");
    polite.done("history", json!({ "channel": "much", "limit": 1 }));
    drop(hoarders);
    edge.expect_metric(PARKED, 0);
    edge.expect_metric("tidegate_client_commands_parked", 0);
}

#[test]
fn publications_over_http_are_no_longer_than_readers_may_lag() {
    let edge = Edge::with(&["slow.lag_bytes_max=64KiB"]);
    let reader = edge.connect("42", &["news"]);
    for (length, status) in [(40_000, 413), (20_000, 200), (20_000, 200)] {
        let body = json!({ "channel": "news", "data": "x".repeat(length) });
        let mut peer = post(Raw::connect(edge.internal), "publish", &body);
        assert_eq!(peer.response().expect("the API answers").status, status);
    }
    for _ in 0..2 {
        reader.expect(format!("\"{}\"", "x".repeat(20_000)));
    }
}

/// Posts to the API, whose answer is still to be read.
fn post(mut peer: Raw, method: &str, body: &Value) -> Raw {
    peer.send(call(method, &body.to_string()).as_bytes());
    peer
}

#[test]
fn answers_that_nobody_reads_give_way_to_others() {
    const HELD: &str = "tidegate_http_answer_bytes";
    const ROOM: i64 = 128 << 20;
    let edge = Edge::with(&["channels.history_size=100", "shards.count=1"]);
    for _ in 0..35 {
        edge.publish("much", format!("\"{}\"", "x".repeat(100_000)));
    }
    let history = json!({ "history": { "channel": "much", "limit": -1 } });
    let batch = json!({ "commands": vec![history; 11] });
    let before = edge.memory();
    // Each answer is 14 MB long: eleven of 13 publications.
    let rude: Vec<Raw> =
        (0..16).map(|_| post(Raw::connect_narrow(edge.internal), "batch", &batch)).collect();
    eventually("room is short", || {
        let held = edge.metric(HELD);
        assert!(held <= ROOM, "{held} bytes");
        held > ROOM * 3 / 4
    });
    assert!(edge.memory() < before + (400 << 20));
    // Small answers have room, and large ones as soon as it is seen who has stopped to read.
    let small = json!({ "channel": "much", "limit": 0 });
    assert_eq!(
        post(Raw::connect(edge.internal), "history", &small).response().unwrap().status,
        200
    );
    let displaced = "tidegate_http_connections_closed_total{reason=\"displaced\"}";
    eventually("a polite reader is answered, and rude ones are cut off", || {
        let response = post(Raw::connect(edge.internal), "batch", &batch).response();
        let is_whole = |length| length > 13_000_000;
        response.is_some_and(|it| it.status == 200 && is_whole(it.body.len()))
            && edge.metric(displaced) > 0
    });
    drop(rude);
    edge.expect_metric(HELD, 0);
    // Nobody asks for anything any more.
    eventually("memory is given back", || edge.memory() < before + (40 << 20));
}

#[test]
fn what_peers_leave_unfinished_is_given_back() {
    const PEERS: usize = 20;
    let edge = Edge::with(&["shards.count=1"]);
    let before = edge.memory();
    let part = [&b"\x01\x80"[..], &[7; 128]].concat();
    let parts = part.repeat(5_000);
    let peers: Vec<TcpStream> = (0..PEERS)
        .map(|_| {
            let address = edge.endpoint(2).trim_start_matches("tcp://");
            let mut peer = TcpStream::connect(address).unwrap();
            greet(&mut peer, b"\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06DEALER");
            peer.write_all(&parts).unwrap();
            peer
        })
        .collect();
    eventually("they are kept", || edge.memory() > before + (20 << 20));
    drop(peers);
    edge.expect_metric("tidegate_ingest_peers", 0);
    eventually("memory is given back", || edge.memory() < before + (8 << 20));
}

#[test]
fn clients_are_not_read_while_bytes_of_theirs_wait_for_backends() {
    const EVENT_BYTES: &str = "tidegate_event_bytes";
    const LINK_BYTES: i64 = 64 << 20;
    let edge = Edge::with(&["shards.count=1"]);
    let starving = edge.starve("ingest");
    let deferred = edge.metric("tidegate_reads_deferred_total");
    let message = frame(0x82, &[7; 60_000]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (edge, message) = (&edge, &message);
            scope.spawn(move || {
                let mut client = edge.raw("/websocket/talker");
                (0..600).for_each(|_| client.send(message));
            });
        }
        eventually("bytes wait", || {
            let held = edge.metric(EVENT_BYTES);
            assert!(held <= LINK_BYTES + 60_000, "{held} bytes");
            held > LINK_BYTES / 4 && edge.metric("tidegate_reads_deferred_total") > deferred
        });
        drop(starving);
    });
    eventually("all are read", || edge.metric("tidegate_messages_received_total") == 2400);
    edge.expect_metric(EVENT_BYTES, 0);
    edge.expect_metric("tidegate_events_dropped_total{reason=\"link_full\"", 0);
}
