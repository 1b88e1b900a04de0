//! The promise: a user has at most `sessions.per_user_max` sessions; one more takes the place of
//! the oldest, or is refused, as `sessions.when_full` says.

use crate::harness::{Client, Edge};

#[test]
fn the_oldest_session_makes_room() {
    let edge = Edge::start();
    let events = edge.events();
    let sessions: Vec<Client> = (0..12).map(|_| edge.connect("u", &["c"])).collect();
    for old in &sessions[..2] {
        assert_eq!(old.expect_close(4501), "replaced by a newer session");
    }
    assert_eq!(edge.publish("#u", "x"), 10);
    for session in &sessions[2..] {
        session.expect("x");
    }
    edge.expect_metric("tidegate_connections_closed_total{reason=\"evicted\"", 2);
    let mut codes = Vec::new();
    while codes.len() < 2 {
        let event = events.next();
        if event.name == "disconnected" {
            codes.push(event.meta["code"].as_u64());
        }
    }
    assert_eq!(codes, [Some(4501), Some(4501)]);
    // Others are not concerned.
    edge.connect("v", &[]);
    assert_eq!(edge.publish("c", "y"), 10);
}

#[test]
fn the_newest_session_is_refused() {
    let options = ["sessions.per_user_max=2", "sessions.when_full=refuse_newest"];
    let edge = Edge::with(&options);
    let first = edge.connect("u", &[]);
    let second = edge.connect("u", &[]);
    for _ in 0..3 {
        let refused = Client::try_open(edge.public, "/websocket/u?channels=c");
        assert_eq!(refused.err().as_deref(), Some("429"));
    }
    assert_eq!(edge.publish("c", "nobody"), 0);
    first.close(1000);
    edge.expect_metric("tidegate_connections", 1);
    let third = edge.connect("u", &[]);
    assert_eq!(edge.publish("#u", "x"), 2);
    second.expect("x");
    third.expect("x");
    edge.expect_metric("tidegate_handshakes_total{result=\"refused\"", 3);
}

#[test]
fn many_at_once_leave_exactly_as_many_as_allowed() {
    let edge = Edge::with(&["sessions.per_user_max=3"]);
    // Evictions meet sessions that are still being opened.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..40 {
                    let session = Client::try_open(edge.public, "/websocket/u?channels=a,b,c");
                    if let Err(status) = session {
                        assert_eq!(status, "429", "displaced before it was open");
                    }
                }
            });
        }
    });
    edge.expect_metric("tidegate_connections", 0);
    edge.expect_metric("tidegate_subscriptions", 0);
    let sessions: Vec<Client> = (0..5).map(|_| edge.connect("u", &["a"])).collect();
    assert_eq!(edge.publish("#u", "x"), 3);
    for session in &sessions[2..] {
        session.expect("x");
    }
}
