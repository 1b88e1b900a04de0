//! The promise: whatever a backend sends is either carried out or refused and counted, nothing a
//! backend sends breaks the edge, and a PUSH socket waits rather than lose a message.

use crate::harness::{Asker, ENDPOINTS, Edge, Heard, eventually};

#[test]
fn messages_of_any_number_of_parts_are_survived() {
    let edge = Edge::start();
    let client = edge.connect("u", &["c"]);
    let push = edge.push();
    let send = |parts: &[&[u8]]| push.send_multipart(parts, 0).unwrap();
    send(&[b""]);
    send(&[b"c"]);
    send(&[b"c", b"two"]);
    send(&[b"c", b"three", b"{}"]);
    send(&[b"c", b"empty meta", b""]);
    let mut many: Vec<&[u8]> = vec![b"c", b"three hundred", b"{}"];
    many.resize(300, b"surplus");
    send(&many);
    for text in ["two", "three", "empty meta", "three hundred"] {
        client.expect(text);
    }
    edge.expect_metric("tidegate_ingest_malformed_total", 2);
    edge.expect_metric("tidegate_ingest_surplus_parts_total", 297);
    edge.expect_metric("tidegate_ingest_messages_total{socket=\"pull\"", 6);
}

#[test]
fn malformed_messages_are_refused_with_a_code() {
    let edge = Edge::start();
    let client = edge.connect("u", &["c"]);
    let long = vec![b'c'; 256];
    let deep = ["{\"ts\":", &"[".repeat(10_000)].concat();
    let cases: [(&[&[u8]], &str); 11] = [
        (&[b"\xff\xfe", b"x"], "bad_topic"),
        (&[&long, b"x"], "bad_topic"),
        (&[b"$event.message", b"x"], "bad_topic"),
        (&[b"c\n", b"x"], "bad_topic"),
        (&[b"$cmd", b"x"], "needs_channel_topic"),
        (&[b"c", b"x", b"{"], "meta_syntax"),
        (&[b"c", b"x", b"\x81\xa2op"], "meta_syntax"),
        (&[b"c", b"x", b"nonsense"], "meta_encoding"),
        (&[b"c", b"x", deep.as_bytes()], "meta_syntax"),
        (&[b"c", b"x", b"{\"unknown\":1}"], "unknown_key"),
        (&[b"c", b"\xff", b"{\"ct\":\"text\"}"], "payload_not_utf8"),
    ];
    for (parts, code) in cases {
        let answer = edge.ask(parts);
        let text = String::from_utf8_lossy(parts[0]);
        assert_eq!(answer["error"]["code"], code, "{text} {answer}");
    }
    edge.publish("c", "still here");
    client.expect("still here");
    edge.expect_metric("tidegate_ingest_malformed_total", cases.len() as i64);
}

#[test]
fn commands_that_fail_with_nobody_waiting_are_counted_and_logged() {
    let edge = Edge::with(&["client.channels_max=2"]);
    let client = edge.connect("u", &["c"]);
    let push = edge.push();
    let send = |parts: &[&[u8]]| push.send_multipart(parts, 0).unwrap();
    let several = |op: &str| format!(r#"{{"op":"{op}","user":"u","channels":["a","b","d"]}}"#);
    send(&[b"nowhere:x", b"lost"]);
    send(&[b"$cmd", b"lost", br#"{"op":"broadcast","channels":["c","nowhere:y"]}"#]);
    send(&[b"c", b"no history", br#"{"version":1}"#]);
    send(&[b"$cmd", b"", br#"{"op":"disconnect","client":"0000010000000200000003"}"#]);
    send(&[b"$cmd", b"", br#"{"op":"disconnect","client":"0000fd0000000200000003"}"#]);
    send(&[b"$cmd", b"", several("subscribe").as_bytes()]);
    client.expect("lost");
    let publisher = edge.socket(zmq::XPUB, 0);
    assert_eq!(publisher.recv_bytes(0).unwrap(), [1]);
    publisher.send_multipart(["nowhere:z", "lost"], 0).unwrap();
    let answer = edge.ask(&[b"nowhere:x", b"answered"]);
    assert_eq!(answer["error"]["code"], "unknown_namespace");
    for (code, count) in [
        ("unknown_namespace", 4),
        ("not_available", 1),
        ("unknown_client", 2),
        ("channel_limit", 1),
    ] {
        edge.expect_metric(&format!("tidegate_ingest_refused_total{{code=\"{code}\"}}"), count);
    }
    edge.expect_metric("tidegate_ingest_malformed_total", 0);
    eventually("the log says so", || {
        let log = edge.log();
        log.contains("unknown_namespace") && log.contains("nowhere:")
    });
    // A flood of them does not fill the log.
    (0..5000).for_each(|_| send(&[b"nowhere:flood", b""]));
    edge.expect_metric("tidegate_ingest_refused_total{code=\"unknown_namespace\"}", 5004);
    assert!(edge.log().matches("command refused").count() < 200);
}

#[test]
fn parts_over_the_limit_disconnect_their_sender_only() {
    let edge = Edge::with(&[r#"ingest.endpoints=[
        {kind="sub",endpoint="tcp://127.0.0.1:*"},
        {kind="pull",endpoint="tcp://127.0.0.1:*",message_bytes_max="64KiB"},
        {kind="router",endpoint="tcp://127.0.0.1:*"}]"#]);
    let client = edge.connect("u", &["c"]);
    let bad = edge.push();
    bad.send_multipart([&b"c"[..], &[b'x'; 100_000]], 0).unwrap();
    let good = edge.push();
    let fits = "y".repeat(64 * 1024);
    good.send_multipart(["c", &fits], 0).unwrap();
    client.expect(&fits);
    edge.publish("c", "end");
    client.expect("end");
}

#[test]
fn counters_of_publishers_show_gaps_and_restarts_and_drop_duplicates() {
    let edge = Edge::start();
    let client = edge.connect("u", &["c"]);
    for number in [1, 2, 3, 7, 7, 6, 8, 1, 2] {
        let meta = format!(r#"{{"src":"shop","seq":{number}}}"#);
        let answer = edge.ask(&[b"c", number.to_string().as_bytes(), meta.as_bytes()]);
        assert!(answer["ok"] == true || answer["error"]["code"] == "duplicate", "{answer}");
        let other = format!(r#"{{"src":"other","seq":{}}}"#, 100);
        edge.ask(&[b"c", b"once", other.as_bytes()]);
    }
    for text in ["1", "once", "2", "3", "7", "6", "8", "1", "2"] {
        client.expect(text);
    }
    edge.expect_metric("tidegate_ingest_gaps_total", 3);
    edge.expect_metric("tidegate_ingest_late_total", 1);
    edge.expect_metric("tidegate_ingest_duplicates_total", 1 + 8);
    edge.expect_metric("tidegate_ingest_restarts_total", 1);
}

#[test]
fn a_publisher_that_sends_one_message_for_each_start_is_heard() {
    let edge = Edge::start();
    let client = edge.connect("u", &["c"]);
    for start in ["first", "second", "third"] {
        edge.ask(&[b"c", start.as_bytes(), br#"{"src":"nightly","seq":1}"#]);
        client.expect(start);
    }
    edge.expect_metric("tidegate_ingest_duplicates_total", 0);
    edge.expect_metric("tidegate_ingest_restarts_total", 2);
}

#[test]
fn a_sub_endpoint_takes_what_a_pub_sends() {
    let edge = Edge::start();
    let client = edge.connect("u", &["c"]);
    let publisher = edge.socket(zmq::XPUB, 0);
    // The edge's subscription to everything: from here on nothing is lost to a slow joiner.
    assert_eq!(publisher.recv_bytes(0).unwrap(), [1]);
    for number in 0..100 {
        publisher.send_multipart(["c", &number.to_string()], 0).unwrap();
    }
    for number in 0..100 {
        client.expect(number.to_string());
    }
    edge.expect_metric("tidegate_ingest_messages_total{socket=\"sub\"", 100);
}

#[test]
fn answers_fit_while_half_the_high_water_mark_awaits_them() {
    const WINDOW: usize = 32;
    let router =
        r#"ingest.endpoints=[{kind="router",endpoint="tcp://127.0.0.1:*",high_water_mark=64}]"#;
    let edge = Edge::with(&[router]);
    let asker = Asker::connect(edge.endpoint(0));
    for number in 0..5000 {
        asker.send(&[b"c", b"x"]);
        if number >= WINDOW {
            asker.answer();
        }
    }
    (0..WINDOW).for_each(|_| drop(asker.answer()));
    edge.expect_metric("tidegate_ingest_answers_lost_total", 0);
}

#[test]
fn a_flood_from_push_loses_nothing() {
    const MESSAGES: usize = 200_000;
    // Its sender is closed long before all is taken, and must not be pinged then.
    let pull = "kind=\"pull\",";
    let endpoints = ENDPOINTS.replace(pull, &format!("{pull}heartbeat_interval=\"100ms\","));
    let slow = ["links.capacity=64", "slow.lag_bytes_max=64MiB", "slow.age_max=1h", &endpoints];
    let edge = Edge::with(&slow);
    let clients: Vec<_> = (0..3).map(|n| edge.connect(&n.to_string(), &["c"])).collect();
    let push = edge.push();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..MESSAGES {
                push.send_multipart(["c", &number.to_string()], 0).unwrap();
            }
        });
        for client in clients {
            scope.spawn(move || {
                for number in 0..MESSAGES {
                    assert_eq!(client.hear(), Heard::Text(number.to_string()));
                }
            });
        }
    });
    edge.expect_metric("tidegate_deliveries_total", 3 * MESSAGES as i64);
    edge.expect_metric("tidegate_ingest_messages_total{socket=\"pull\"", MESSAGES as i64);
}
