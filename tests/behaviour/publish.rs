//! The promise: every operation of the native format does what it says and is answered with the
//! number of sessions it reached, or with a code and what to do.

use serde_json::{Value, json};

use crate::harness::{Client, Edge, parts};

/// Connects and tells the client identity that backends know it by.
fn identified(edge: &Edge, events: &crate::harness::Events, path: &str) -> (Client, String) {
    let client = edge.open(path);
    let event = events.next();
    assert_eq!(event.name, "connected");
    (client, event.meta["client"].as_str().unwrap().to_owned())
}

fn refused(answer: &Value) -> &str {
    assert_eq!(answer["ok"], false, "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().len() > 10, "{answer}");
    answer["error"]["code"].as_str().unwrap()
}

#[test]
fn answers_carry_the_identity_of_the_request() {
    let edge = Edge::start();
    let _a = edge.connect("a", &["news"]);
    let answer = edge.ask(&parts(&["news", "x", r#"{"rid":"seven"}"#]));
    assert_eq!(answer, json!({"rid": "seven", "ok": true, "sessions": 1}));
    let answer = edge.ask(&parts(&["news", "x", r#"{"rid":18446744073709551615}"#]));
    assert_eq!(answer["rid"], u64::MAX);
    let answer = edge.ask(&parts(&["$cmd", "x", r#"{"op":"nothing","rid":7}"#]));
    assert_eq!((refused(&answer), &answer["rid"]), ("unknown_op", &json!(7)));
    // A map of MessagePack: {"rid": 5}.
    let answer = edge.ask(&[b"news", b"x", b"\x81\xa3rid\x05"]);
    assert_eq!(answer, json!({"rid": 5, "ok": true, "sessions": 1}));
}

#[test]
fn a_req_socket_is_answered_like_a_dealer() {
    let edge = Edge::start();
    let req = edge.socket(zmq::REQ, 2);
    for _ in 0..3 {
        req.send_multipart(["news", "x"], 0).unwrap();
        let answer: Value = serde_json::from_slice(&req.recv_bytes(0).unwrap()).unwrap();
        assert_eq!(answer, json!({"ok": true, "sessions": 0}));
    }
}

#[test]
fn except_leaves_one_connection_out() {
    let edge = Edge::start();
    let events = edge.events();
    let (a, a_id) = identified(&edge, &events, "/websocket/u?channels=c");
    let (b, _) = identified(&edge, &events, "/websocket/u?channels=c");
    let meta = format!(r#"{{"except":"{a_id}"}}"#);
    assert_eq!(edge.ask(&parts(&["c", "not for a", &meta]))["sessions"], 1);
    for op in [r#""op":"all""#, r#""op":"user","user":"u""#, r#""op":"broadcast","channels":["c"]"#]
    {
        let meta = format!(r#"{{{op},"except":"{a_id}"}}"#);
        let answer = edge.command("not for a", &meta);
        assert_eq!(answer["ok"], true, "{answer}");
    }
    edge.publish("c", "for both");
    a.expect("for both");
    for _ in 0..4 {
        b.expect("not for a");
    }
    b.expect("for both");
}

#[test]
fn backends_subscribe_and_unsubscribe() {
    let edge = Edge::start();
    let events = edge.events();
    let (phone, phone_id) = identified(&edge, &events, "/websocket/u?device=phone");
    let (laptop, _) = identified(&edge, &events, "/websocket/u?device=laptop");
    let subscribe = |meta: &str| edge.command("", &format!(r#"{{"op":"subscribe",{meta}}}"#));
    assert_eq!(subscribe(r#""user":"u","channels":["x","y"]"#)["sessions"], 2);
    assert_eq!(edge.publish("x", "1"), 2);
    assert_eq!(edge.publish("y", "2"), 2);
    // Again: nothing is doubled.
    assert_eq!(subscribe(r#""user":"u","channels":["x"]"#)["sessions"], 2);
    assert_eq!(edge.publish("x", "3"), 2);
    assert_eq!(subscribe(r#""user":"u","device":"phone","channels":["p"]"#)["sessions"], 1);
    assert_eq!(edge.publish("p", "4"), 1);
    assert_eq!(subscribe(&format!(r#""client":"{phone_id}","channels":["q"]"#))["sessions"], 1);
    assert_eq!(edge.publish("q", "5"), 1);
    let unsubscribe = r#"{"op":"unsubscribe","user":"u","device":"laptop","channels":["x","?"]}"#;
    assert_eq!(edge.command("", unsubscribe)["sessions"], 1);
    assert_eq!(edge.publish("x", "6"), 1);
    edge.publish("#u", "end");
    for text in ["1", "2", "3", "4", "5", "6", "end"] {
        phone.expect(text);
    }
    for text in ["1", "2", "3", "end"] {
        laptop.expect(text);
    }
    edge.expect_metric("tidegate_subscriptions", 2 + 4 + 1);
    assert_eq!(subscribe(r#""user":"nobody","channels":["x"]"#)["sessions"], 0);
    let personal = subscribe(r##""user":"u","channels":["#v"]"##);
    assert_eq!(refused(&personal), "personal_channel");
}

#[test]
fn a_connection_has_at_most_so_many_channels() {
    for most in [2, 128, 200] {
        let edge = Edge::with(&[&format!("client.channels_max={most}")]);
        let _a = edge.connect("u", &[]);
        // With its personal channel it has as many as it may have.
        let names: Vec<String> = (1..most).map(|n| format!("\"c{n}\"")).collect();
        let meta = |list: &str| format!(r#"{{"op":"subscribe","user":"u","channels":[{list}]}}"#);
        assert_eq!(edge.command("", &meta(&names.join(",")))["sessions"], 1, "{most}");
        let answer = edge.command("", &meta("\"one more\""));
        assert_eq!(refused(&answer), "channel_limit");
        assert_eq!(edge.publish("one more", "x"), 0);
        assert_eq!(edge.publish(&format!("c{}", most - 1), "x"), 1);
    }
}

#[test]
fn disconnect_closes_with_its_code() {
    let edge = Edge::start();
    let events = edge.events();
    let (phone, _) = identified(&edge, &events, "/websocket/u?device=phone");
    let (laptop, id) = identified(&edge, &events, "/websocket/u?device=laptop");
    let (tablet, _) = identified(&edge, &events, "/websocket/u?device=tablet");
    let disconnect = |meta: &str| edge.command("", &format!(r#"{{"op":"disconnect",{meta}}}"#));
    let answer = disconnect(r#""user":"u","device":"phone","code":4100,"reason":"out""#);
    assert_eq!(answer["sessions"], 1);
    assert_eq!(phone.expect_close(4100), "out");
    assert_eq!(disconnect(&format!(r#""client":"{id}""#))["sessions"], 1);
    assert_eq!(laptop.expect_close(3503), "disconnected");
    assert_eq!(disconnect(r#""user":"u""#)["sessions"], 1);
    tablet.expect_close(3503);
    edge.expect_metric("tidegate_connections", 0);
    assert_eq!(refused(&disconnect(&format!(r#""client":"{id}""#))), "unknown_client");
    assert_eq!(refused(&disconnect(r#""client":"0000ff0000000000000001""#)), "unknown_client");
    for (meta, code) in [
        (r#""user":"u","code":1005"#, "bad_code"),
        (r#""user":"u","reason":"{}""#, "reason_is_json"),
        (r#""user":"u","client":"0000000000000000000001""#, "conflicting_keys"),
        (r#""code":4000"#, "missing_key"),
        (r#""user":"u","channels":["x"]"#, "unused_key"),
    ] {
        assert_eq!(refused(&disconnect(meta)), code, "{meta}");
    }
}

#[test]
fn an_identity_begins_with_the_number_of_its_edge() {
    let edge = Edge::with(&["cluster.node=419"]);
    let events = edge.events();
    let (client, id) = identified(&edge, &events, "/websocket/u");
    assert_eq!((id.len(), &id[..4]), (22, "01a3"));
    let disconnect =
        |id: &str| edge.command("", &format!(r#"{{"op":"disconnect","client":"{id}"}}"#));
    let elsewhere = format!("0000{}", &id[4..]);
    assert_eq!(refused(&disconnect(&elsewhere)), "unknown_client");
    assert_eq!(disconnect(&id)["sessions"], 1);
    client.expect_close(3503);
}

#[test]
fn a_user_whose_only_session_is_closing_is_nobody() {
    let edge = Edge::start();
    let peer = edge.raw("/websocket/u?channels=c");
    edge.command("", r#"{"op":"disconnect","user":"u"}"#);
    // The peer has not answered the close frame, so its socket is still there.
    assert_eq!(edge.publish("#u", "too late"), 0);
    assert_eq!(edge.publish("c", "too late"), 0);
    assert_eq!(edge.command("too late", r#"{"op":"all"}"#)["sessions"], 0);
    let again = edge.connect("u", &["c"]);
    assert_eq!(edge.publish("#u", "in time"), 1);
    again.expect("in time");
    let mut peer = peer;
    assert_eq!(peer.hear().unwrap().first, 0x88);
    peer.send_frame(0x88, &3503u16.to_be_bytes());
    peer.expect_end();
}

#[test]
fn commands_in_a_row_are_carried_out_in_order() {
    let edge = Edge::start();
    let client = edge.connect("u", &["c"]);
    let dealer = edge.socket(zmq::DEALER, 2);
    for number in 0..500 {
        let text = number.to_string();
        let meta = format!(r#"{{"rid":{number}}}"#);
        dealer.send_multipart(["c", &text, &meta], 0).unwrap();
    }
    for number in 0..500 {
        let answer: Value = serde_json::from_slice(&dealer.recv_bytes(0).unwrap()).unwrap();
        assert_eq!((&answer["rid"], &answer["sessions"]), (&json!(number), &json!(1)));
        client.expect(number.to_string());
    }
}
