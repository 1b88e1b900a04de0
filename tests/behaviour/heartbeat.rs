//! The promise: a silent peer is pinged within `heartbeat.ping_interval`, once more within
//! `heartbeat.pong_deadline`, one that is dead is closed after that, and any byte counts as life.
//! What takes long to wait for is tried with a simulated clock (`simulation/shell/heartbeat.rs`).

use std::time::{Duration, Instant};

use crate::harness::Edge;

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
