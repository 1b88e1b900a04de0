//! The promise: a silent peer is pinged within `heartbeat.ping_interval`, once more within
//! `heartbeat.pong_deadline`, one that is dead is closed after that, and any byte counts as life.

use std::time::{Duration, Instant};

use crate::harness::{Edge, Heard, eventually, frame};

const OPTIONS: [&str; 2] = ["heartbeat.ping_interval=1s", "heartbeat.pong_deadline=1s"];

/// Timers tick, and the machine may be busy: the longest that anything here may take.
const GENEROUS: Duration = Duration::from_secs(10);

#[test]
fn a_silent_peer_is_pinged_and_then_closed() {
    let edge = Edge::with(&OPTIONS);
    let events = edge.events();
    let mut peer = edge.raw("/websocket/a");
    let start = Instant::now();
    peer.expect(0x89, b"");
    let pinged = start.elapsed();
    assert!(pinged < GENEROUS, "{pinged:?}");
    peer.expect(0x89, b"");
    let reason = peer.expect_close(3012);
    assert_eq!(reason, "no pong");
    let closed = start.elapsed();
    assert!(closed >= Duration::from_millis(700) && closed < GENEROUS, "{closed:?}");
    events.expect("connected", "a");
    assert_eq!(events.expect("disconnected", "a").meta["code"], 3012);
    edge.expect_metric("tidegate_connections_closed_total{reason=\"no_pong\"", 1);
    assert_eq!(edge.metric("tidegate_pings_sent_total"), 2);
}

#[test]
fn a_peer_that_answers_when_the_next_frame_comes_stays() {
    let edge = Edge::with(&OPTIONS);
    let mut peer = edge.raw("/websocket/a");
    // As libcurl does: it sends its pong together with what it does about the next frame.
    for _ in 0..3 {
        peer.expect(0x89, b"");
        peer.expect(0x89, b"");
        peer.send_frame(0x8a, b"");
    }
    edge.publish("#a", "still here");
    peer.expect(0x81, b"still here");
}

#[test]
fn pongs_keep_a_connection() {
    let edge = Edge::with(&OPTIONS);
    let mut peer = edge.raw("/websocket/a");
    for _ in 0..4 {
        peer.expect(0x89, b"");
        peer.send_frame(0x8a, b"");
    }
    edge.publish("#a", "still here");
    loop {
        let heard = peer.hear().unwrap();
        if heard.first != 0x89 {
            assert_eq!(heard.payload, b"still here");
            break;
        }
        peer.send_frame(0x8a, b"");
    }
    assert_eq!(edge.metric("tidegate_connections_closed_total{reason=\"no_pong\""), 0);
}

#[test]
fn an_interval_may_be_shorter_than_the_deadline() {
    let edge = Edge::with(&["heartbeat.ping_interval=1s", "heartbeat.pong_deadline=1m"]);
    let mut peer = edge.raw("/websocket/a");
    let start = Instant::now();
    for _ in 0..3 {
        peer.expect(0x89, b"");
        peer.send_frame(0x8a, b"");
    }
    assert!(start.elapsed() < GENEROUS, "{:?}", start.elapsed());
}

#[test]
fn any_byte_is_a_sign_of_life() {
    let edge = Edge::with(&OPTIONS);
    let mut peer = edge.raw("/echo");
    // A frame that comes one byte at a time: never a whole message, never a pong. So it goes on
    // until a peer that came later and is silent was found dead.
    let slow = frame(0x82, &[7; 8192]);
    let mut bytes = slow.iter();
    let _silent = edge.raw("/websocket");
    while edge.metric("tidegate_connections_closed_total{reason=\"no_pong\"") == 0 {
        peer.send(&[*bytes.next().expect("a silent peer is found dead")]);
        std::thread::sleep(Duration::from_millis(50));
    }
    peer.send(bytes.as_slice());
    let echo = loop {
        let heard = peer.hear().expect("the connection is open");
        if heard.first != 0x89 {
            break heard;
        }
    };
    assert_eq!((echo.first, &echo.payload[..]), (0x82, &[7; 8192][..]));
}

#[test]
fn a_talking_peer_is_not_pinged() {
    let edge = Edge::with(&["heartbeat.ping_interval=2s"]);
    let mut peer = edge.raw("/echo");
    let mut silent = edge.raw("/websocket");
    // For as long as it takes to ping one that came later and is silent.
    while edge.metric("tidegate_pings_sent_total") == 0 {
        peer.send_frame(0x81, b"x");
        peer.expect(0x81, b"x");
        std::thread::sleep(Duration::from_millis(50));
    }
    silent.expect(0x89, b"");
}

#[test]
fn a_real_client_stays() {
    let edge = Edge::with(&OPTIONS);
    let client = edge.connect("a", &["news"]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // One that does not answer hears two and no more.
            let is_pinged = || edge.metric("tidegate_pings_sent_total") >= 3;
            eventually("it was pinged again", is_pinged);
            edge.publish("news", "later");
        });
        // Reading is what answers pings.
        assert_eq!(client.hear(), Heard::Text("later".to_owned()));
    });
}

#[test]
fn first_pings_are_spread() {
    let edge = Edge::with(&["heartbeat.ping_interval=2s"]);
    let peers: Vec<_> = (0..100).map(|_| edge.raw("/websocket")).collect();
    let (mut last, mut looked) = (0, Instant::now());
    // Those that were pinged first may be pinged again meanwhile.
    eventually("all were pinged", || {
        let now = edge.metric("tidegate_pings_sent_total");
        // Evenly spread, half of them fall due in each second: this test may not look so often.
        let due = 50 * (1 + looked.elapsed().as_secs() as i64);
        assert!(now - last <= due, "a burst of {} pings", now - last);
        (last, looked) = (now, Instant::now());
        last >= 100
    });
    drop(peers);
}
