//! The promise: a closing handshake is answered as RFC 6455 section 7 says, whoever begins it,
//! and a peer that does not answer or never goes is dropped after `websocket.close_deadline`.

use std::time::{Duration, Instant};

use crate::harness::{Edge, eventually, frame};

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(0x88, &[&code.to_be_bytes()[..], reason].concat())
}

// RFC 6455 §7.4.
#[test]
fn valid_codes_come_back_and_others_are_1002() {
    let edge = Edge::start();
    let valid = |code| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    let edges = [0, 1, 999, 2999, 3000, 3999, 4000, 4999, 5000, 5001, 32_768, 65_535];
    let codes = edges.into_iter().chain(1000..=1020).chain((1100..5000).step_by(250));
    for code in codes {
        let mut peer = edge.raw("/websocket/a");
        peer.send(&close(code, b"bye"));
        peer.expect_close(if valid(code) { code } else { 1002 });
    }
    edge.expect_metric("tidegate_connections", 0);
}

#[test]
fn payloads_of_close_frames_are_checked() {
    let edge = Edge::start();
    let mut peer = edge.raw("/websocket/a");
    peer.send_frame(0x88, b"");
    peer.expect(0x88, b"");
    peer.expect_end();
    let mut peer = edge.raw("/websocket/a");
    peer.send_frame(0x88, &[3]);
    peer.expect_close(1002);
    let mut peer = edge.raw("/websocket/a");
    peer.send(&close(1000, b"\xff\xfe"));
    peer.expect_close(1007);
    let mut peer = edge.raw("/websocket/a");
    peer.send(&close(1000, &[b'x'; 123]));
    peer.expect_close(1000);
    let mut peer = edge.raw("/websocket/a");
    peer.send(&close(1000, &[b'x'; 124]));
    peer.expect_close(1002);
}

#[test]
fn nothing_is_sent_after_the_answer() {
    let edge = Edge::start();
    let mut peer = edge.raw("/echo");
    peer.send(&[frame(0x81, b"before"), close(1000, b""), frame(0x81, b"after")].concat());
    peer.expect(0x81, b"before");
    peer.expect_close(1000);
}

// RFC 6455 §5.5.1.
#[test]
fn a_close_is_answered_although_the_end_comes_with_it() {
    let edge = Edge::start();
    for _ in 0..10 {
        for (said, heard) in
            [(&b""[..], None), (&frame(0x81, b"a"), Some(0x81)), (&frame(0x89, b"a"), Some(0x8a))]
        {
            let mut peer = edge.raw("/echo");
            peer.send(&[said, &close(1000, b"")].concat());
            peer.shut_down_write();
            heard.into_iter().for_each(|first| peer.expect(first, b"a"));
            peer.expect_close(1000);
        }
        let mut peer = edge.raw("/echo");
        peer.send(&[frame(0x81, b"a"), frame(0x83, b"no such frame")].concat());
        peer.shut_down_write();
        peer.expect(0x81, b"a");
        peer.expect_close(1002);
    }
    edge.expect_metric("tidegate_connections", 0);
}

#[test]
fn who_ends_before_the_close_of_the_server_hears_it() {
    let options = ["slow.lag_bytes_max=16MiB", "websocket.close_deadline=20s"];
    let edge = Edge::with(&options);
    let mut peer = crate::harness::Raw::connect_narrow(edge.public).upgrade("/websocket/a");
    // More than the kernel holds, so that the close frame waits.
    for _ in 0..12 {
        edge.publish("#a", vec![b'x'; 1_000_000]);
    }
    edge.expect_metric("tidegate_connections_lagging", 1);
    edge.command("", r#"{"op":"disconnect","user":"a","code":4002,"reason":"cut"}"#);
    peer.shut_down_write();
    let last = std::iter::from_fn(|| peer.hear()).find(|heard| heard.first != 0x81);
    assert_eq!(last.expect("a close frame comes").payload, b"\x0f\xa2cut");
    peer.expect_end();
    edge.expect_metric("tidegate_connections", 0);
}

#[test]
fn the_server_closes_and_hears_the_answer() {
    let edge = Edge::start();
    let events = edge.events();
    let mut peer = edge.raw("/websocket/a");
    events.expect("connected", "a");
    let meta = r#"{"op":"disconnect","user":"a","code":4001,"reason":"enough"}"#;
    assert_eq!(edge.command("", meta)["sessions"], 1);
    let close_frame = peer.hear().unwrap();
    assert_eq!((close_frame.first, &close_frame.payload[2..]), (0x88, &b"enough"[..]));
    assert_eq!(close_frame.payload[..2], 4001u16.to_be_bytes());
    // Data that was under way is not heard any more; the answer ends it.
    peer.send_frame(0x81, b"crossed the close");
    peer.send(&close(4001, b""));
    peer.expect_end();
    assert_eq!(events.expect("disconnected", "a").meta["code"], 4001);
    edge.expect_metric("tidegate_connections_closed_total{reason=\"command\"", 1);
    edge.expect_metric("tidegate_messages_received_total", 0);
}

#[test]
fn a_peer_that_never_answers_is_dropped() {
    let edge = Edge::with(&["websocket.close_deadline=500ms"]);
    let mut peer = edge.raw("/websocket/a");
    edge.command("", r#"{"op":"disconnect","user":"a"}"#);
    let start = Instant::now();
    // It goes on talking, which does not help it.
    while peer.try_send(&frame(0x81, b"la la la")) {
        std::thread::sleep(Duration::from_millis(20));
        assert!(start.elapsed() < Duration::from_secs(10), "still there");
    }
    assert!(start.elapsed() >= Duration::from_millis(400), "it had its time");
    edge.expect_metric("tidegate_connections", 0);
}

#[test]
fn a_peer_that_never_goes_after_the_answer_is_dropped() {
    let edge = Edge::with(&["websocket.close_deadline=500ms"]);
    let mut peer = edge.raw("/websocket/a");
    edge.expect_metric("tidegate_connections", 1);
    let before = edge.descriptors();
    peer.send(&close(1000, b""));
    peer.expect_close(1000);
    eventually("its socket is closed", || edge.descriptors() < before);
    edge.expect_metric("tidegate_connections", 0);
    drop(peer);
}

#[test]
fn a_refused_peer_that_never_goes_is_dropped() {
    let edge = Edge::with(&["websocket.close_deadline=500ms"]);
    let mut peer = edge.tcp();
    edge.expect_metric("tidegate_handshakes_pending", 1);
    let before = edge.descriptors();
    peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(peer.response().unwrap().status, 404);
    eventually("its socket is closed", || edge.descriptors() < before);
    drop(peer);
}

#[test]
fn half_closed_peers_are_gone() {
    let edge = Edge::start();
    let events = edge.events();
    let mut peer = edge.raw("/websocket/a?channels=news");
    events.expect("connected", "a");
    peer.shut_down_write();
    peer.expect_end();
    // RFC 6455 §7.1.5: no close frame means 1006.
    assert_eq!(events.expect("disconnected", "a").meta["code"], 1006);
    let peer = edge.raw("/websocket/b?channels=news");
    events.expect("connected", "b");
    peer.reset();
    assert_eq!(events.expect("disconnected", "b").meta["code"], 1006);
    edge.expect_metric("tidegate_connections", 0);
    assert_eq!(edge.publish("news", "nobody"), 0);
}

#[test]
fn a_close_comes_after_the_rest_of_a_large_frame() {
    let options = ["slow.lag_bytes_max=16MiB", "websocket.close_deadline=20s"];
    let edge = Edge::with(&options);
    let mut peer = crate::harness::Raw::connect_narrow(edge.public).upgrade("/websocket/a");
    let large = vec![b'x'; 1_000_000];
    // More than the kernel holds, so that a frame stays cut.
    for _ in 0..12 {
        edge.publish("#a", &large);
    }
    edge.expect_metric("tidegate_connections_lagging", 1);
    edge.command("", r#"{"op":"disconnect","user":"a","code":4002,"reason":"cut"}"#);
    let mut whole = 0;
    let last = loop {
        let heard = peer.hear().expect("a close frame comes");
        if heard.first != 0x81 {
            break heard;
        }
        assert!(heard.payload == large, "a whole frame");
        whole += 1;
    };
    assert!((1..12).contains(&whole), "{whole} of 12 frames");
    assert_eq!((last.first, &last.payload[..2]), (0x88, &4002u16.to_be_bytes()[..]));
    peer.send(&close(4002, b""));
    peer.expect_end();
    edge.expect_metric("tidegate_outbox_bytes", 0);
    edge.expect_metric("tidegate_log_bytes", 0);
    edge.expect_metric("tidegate_connections_lagging", 0);
}
