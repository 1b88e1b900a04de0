//! The promise: the metrics say what happened, and gauges return to zero when all are gone.

use crate::harness::{Client, Edge};

#[test]
fn counters_move_as_they_should() {
    let edge = Edge::start();
    let clients: Vec<Client> = (0..10).map(|n| edge.connect(&n.to_string(), &["c"])).collect();
    edge.expect_metric("tidegate_connections", 10);
    edge.expect_metric("tidegate_handshakes_total{result=\"accepted\"", 10);
    edge.expect_metric("tidegate_subscriptions", 20);
    // Ten users' channels, and the shared one on each shard that has a subscriber.
    assert!((11..=12).contains(&edge.metric("tidegate_channels")));
    for _ in 0..5 {
        edge.publish("c", "x");
    }
    edge.publish("#3", "x");
    edge.publish("nobody", "x");
    edge.expect_metric("tidegate_deliveries_total", 51);
    edge.expect_metric("tidegate_publications_unheard_total", 1);
    edge.expect_metric("tidegate_ingest_messages_total{socket=\"router\"", 7);
    edge.expect_metric("tidegate_ingest_answers_total", 7);
    // A round for each publication on each shard with subscribers, if none came together.
    let rounds = edge.metric("tidegate_fan_out_seconds_count");
    assert!((6..=11).contains(&rounds), "{rounds} rounds");
    // 101 responses, and frames of three bytes.
    assert!(edge.metric("tidegate_sent_bytes_total") >= 51 * 3 + 10 * 129);
    assert!(edge.metric("tidegate_sends_total") >= 51 + 10);
    clients[0].say("hello");
    edge.expect_metric("tidegate_messages_received_total", 1);
    assert!(edge.metric("tidegate_received_bytes_total") > 10 * 100);
    // Each came online and connected, and one said something.
    edge.expect_metric("tidegate_events_sent_total", 21);
    for client in clients {
        client.close(1000);
    }
    edge.expect_metric("tidegate_connections_closed_total{reason=\"peer\"", 10);
    edge.expect_metric("tidegate_events_sent_total", 41);
    for gauge in [
        "tidegate_connections",
        "tidegate_handshakes_pending",
        "tidegate_subscriptions",
        "tidegate_channels",
        "tidegate_connections_lagging",
        "tidegate_log_bytes",
        "tidegate_outbox_bytes",
        "tidegate_accept_errors_total",
        "tidegate_deliveries_dropped_total",
    ] {
        edge.expect_metric(gauge, 0);
    }
}

#[test]
fn health_tells_the_connections() {
    let edge = Edge::start();
    let _client = edge.connect("u", &[]);
    edge.expect_metric("tidegate_connections", 1);
    let (status, body) = edge.get("/health").unwrap();
    assert_eq!(status, 200);
    let health: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&health["status"], &health["connections"]), (&"ok".into(), &1.into()));
}
