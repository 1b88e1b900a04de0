//! The promise: SIGTERM drains: nobody new, everybody closed within `drain.window` with a code
//! that says why, events told, exit status 0. Before that, for `drain.delay`, `/health` fails
//! while everybody is served. Whoever has asked something is answered. A second signal ends at
//! once, unless it is the first one said twice, and SIGHUP changes nothing.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Asker, Client, Edge, Raw, call, eventually, request};

/// Broadcasts, one after the other.
fn batch(broadcasts: usize) -> String {
    let channels: Vec<String> = (0..500).map(|number| format!("c{number}")).collect();
    let broadcast = json!({ "broadcast": { "channels": channels, "data": 1 } });
    json!({ "commands": vec![broadcast; broadcasts] }).to_string()
}

#[test]
fn whoever_has_asked_over_http_is_answered_at_the_end() {
    let mut edge = Edge::with(&["drain.delay=0s", "drain.window=0s"]);
    let is_told = AtomicBool::new(false);
    let request = call("batch", &batch(100));
    let internal = edge.internal;
    let ask = || {
        while !is_told.load(Ordering::Relaxed) {
            let mut peer = Raw::connect(internal);
            peer.send(request.as_bytes());
            let response = peer.response().expect("what was asked before the signal is answered");
            let body: Value = serde_json::from_str(&response.body).expect("it is whole");
            assert!(matches!(response.status, 200 | 503), "{body}");
        }
    };
    std::thread::scope(|scope| {
        let askers: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        eventually("batches are on their way", || {
            edge.metric("tidegate_api_requests_total{method=\"batch\"") > 16
        });
        is_told.store(true, Ordering::Relaxed);
        // Whoever has just looked has sent by then.
        std::thread::sleep(Duration::from_millis(100));
        edge.signal("TERM");
        askers.into_iter().for_each(|asker| asker.join().unwrap());
    });
    assert_eq!(edge.wait().code(), Some(0));
}

#[test]
fn whoever_has_asked_over_zeromq_is_answered_at_the_end() {
    const ASKED: usize = 400;
    let mut edge = Edge::with(&["drain.delay=0s", "drain.window=0s"]);
    let dealer = Asker::connect(edge.endpoint(2));
    let channels: Vec<String> = (0..500).map(|number| format!("c{number}")).collect();
    let broadcast = json!({ "op": "broadcast", "channels": channels }).to_string();
    (0..ASKED).for_each(|_| dealer.send(&[b"$cmd", b"x", broadcast.as_bytes()]));
    assert_eq!(dealer.answer()["ok"], true);
    edge.signal("TERM");
    for _ in 1..ASKED {
        let answer = dealer.answer();
        assert!(answer["ok"] == true || answer["error"]["code"] == "draining", "{answer}");
    }
    assert_eq!(edge.wait().code(), Some(0));
}

#[test]
fn sigterm_closes_everybody_and_ends_well() {
    let mut edge = Edge::with(&["drain.window=2s", "websocket.close_deadline=5s"]);
    let events = edge.events();
    let mut clients: Vec<Client> = (0..160).map(|n| edge.connect(&n.to_string(), &["c"])).collect();
    for _ in &clients {
        assert_eq!(events.next().name, "connected");
    }
    let half_open = Raw::connect(edge.public);
    edge.expect_metric("tidegate_handshakes_pending", 1);
    let start = Instant::now();
    edge.signal("TERM");
    let mut ends: Vec<Duration> = std::thread::scope(|scope| {
        let close = |client: &mut Client| {
            client.expect_close(1012);
            start.elapsed()
        };
        let all: Vec<_> = clients.iter_mut().map(|one| scope.spawn(move || close(one))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    ends.sort_unstable();
    // Evenly over two seconds the quartiles are at 0.5, 1 and 1.5; a slow machine is only later.
    let quartiles = [1, 2, 3].map(|n| ends[ends.len() * n / 4]);
    for (quartile, least) in quartiles.iter().zip([250, 600, 1000]) {
        assert!(*quartile >= Duration::from_millis(least), "spread, not at once: {ends:?}");
    }
    let half = quartiles[2] - quartiles[0];
    assert!(half >= Duration::from_millis(400), "spread, not all at the end: {ends:?}");
    let mut half_open = half_open;
    assert_eq!(half_open.response().unwrap().status, 503);
    drop((clients, half_open));
    for _ in 0..160 {
        let event = events.next();
        assert_eq!(
            (event.name.as_str(), event.meta["code"].as_u64()),
            ("disconnected", Some(1012))
        );
    }
    assert_eq!(edge.wait().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(15));
}

#[test]
fn a_draining_edge_is_unhealthy_and_takes_nobody() {
    let options = ["drain.window=1s", "drain.close_code=1001", "websocket.close_deadline=3s"];
    let mut edge = Edge::with(&options);
    // It does not answer the close frame, so the drain takes until the deadline.
    let mut stubborn = edge.raw("/websocket/u");
    edge.signal("TERM");
    eventually("health fails", || edge.get("/health").is_some_and(|(status, _)| status == 503));
    eventually("nobody listens", || match Raw::try_connect(edge.public) {
        None => true,
        Some(mut peer) => {
            // Accepted in the very last moment: told so, or dropped with the listener.
            let sent = peer.try_send(request("/websocket/v", &[]).as_bytes());
            let status = if sent { peer.response().map(|response| response.status) } else { None };
            assert!(status.is_none() || status == Some(503) || status == Some(101), "{status:?}");
            false
        }
    });
    let frame = stubborn.hear().unwrap();
    assert_eq!((frame.first, &frame.payload[..2]), (0x88, &1001u16.to_be_bytes()[..]));
    assert_eq!(edge.wait().code(), Some(0));
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut edge = Edge::with(&["drain.window=1h"]);
    let _client = edge.connect("u", &[]);
    let _other = edge.connect("v", &[]);
    edge.signal("TERM");
    eventually("it drains", || edge.log().contains("draining"));
    // One that comes so soon counts as the first, so it is sent until it does not.
    edge.signal("INT");
    edge.signal_until_ended("INT");
    assert_eq!(edge.wait().code(), Some(1));
}

#[test]
fn a_signal_that_comes_twice_at_once_drains() {
    let mut edge = Edge::with(&["drain.window=200ms"]);
    let client = edge.connect("u", &[]);
    edge.signal("TERM");
    edge.signal("INT");
    edge.signal("TERM");
    client.expect_close(1012);
    assert_eq!(edge.wait().code(), Some(0));
    assert!(edge.log().contains("counts as the first"), "{}", edge.log());
}

#[test]
fn sighup_changes_nothing() {
    let mut edge = Edge::start();
    let client = edge.connect("u", &["news"]);
    edge.signal("HUP");
    eventually("it says so", || edge.log().contains("SIGHUP"));
    edge.publish("news", "still here");
    client.expect("still here");
    assert_eq!(edge.get("/health").unwrap().0, 200);
    edge.signal("TERM");
    client.expect_close(1012);
    assert_eq!(edge.wait().code(), Some(0));
}

#[test]
fn whoever_comes_before_the_balancer_has_noticed_is_served() {
    let mut edge = Edge::with(&["drain.delay=3s", "drain.window=0s"]);
    let start = Instant::now();
    edge.signal("TERM");
    eventually("health fails", || edge.get("/health").unwrap().0 == 503);
    let client = edge.connect("u", &["news"]);
    assert_eq!(edge.publish("news", "served"), 1);
    client.expect("served");
    assert!(start.elapsed() < Duration::from_secs(3), "this machine is too slow for the test");
    client.expect_close(1012);
    assert!(start.elapsed() >= Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(edge.wait().code(), Some(0));
}

#[test]
fn a_key_set_that_hangs_does_not_hold_up_the_end() {
    let folder = std::env::temp_dir().join(format!("tidegate-hang-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("keys.json");
    std::fs::write(&path, r#"{"keys":[]}"#).unwrap();
    let file = format!("token.jwks_file={}", path.display());
    let mut edge = Edge::with(&[&file, "token.jwks_refresh=10s", "drain.window=0s"]);
    std::fs::remove_file(&path).unwrap();
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    // It opens for writing once the edge reads it, and says nothing.
    let write = || {
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(libc::O_NONBLOCK).open(&path).ok()
    };
    let mut silent = None;
    eventually("the edge reads it", || {
        silent = write();
        silent.is_some()
    });
    let start = Instant::now();
    edge.signal("TERM");
    assert_eq!(edge.wait().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    drop(silent);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn an_idle_edge_ends_soon() {
    for signal in ["TERM", "INT"] {
        let mut edge = Edge::start();
        let start = Instant::now();
        edge.signal(signal);
        assert_eq!(edge.wait().code(), Some(0));
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
}
