//! The promise: who is kept out is told why, and whoever operates the edge finds out too, from a
//! few lines of the log and a number for each reason. A page whose name was made to lead to this
//! machine does not get in.

use std::time::Duration;

use serde_json::json;

use crate::harness::{
    Edge, HMAC_SECRET, Managed, Raw, Response, below, command, eventually, request, run, token,
};

fn answer(address: std::net::SocketAddr, head: &str) -> Response {
    let mut peer = Raw::connect(address);
    peer.send(head.as_bytes());
    peer.response().unwrap_or_else(|| panic!("no answer to {head}"))
}

fn knock(edge: &Edge, path: &str, lines: &[&str]) -> Response {
    answer(edge.public, &request(path, lines))
}

#[test]
fn refused_handshakes_are_counted_by_reason_and_logged() {
    let edge = Edge::strict(&["token.leeway=0s", HMAC_SECRET]);
    let bad = token(json!({ "sub": "42" })).replace('.', "x.");
    let evil = "Origin: http://evil.example";
    let good = token(json!({ "sub": "42" }));
    for (reason, path, lines, line) in [
        ("protocol", format!("/websocket/42?token={good}"), vec!["Upgrade: x"], "WebSocket only"),
        ("path", "/nothing/here?secret=1".to_owned(), vec![], "/nothing/here"),
        ("origin", format!("/websocket/42?token={good}"), vec![evil], "public.allowed_origins"),
        ("token", format!("/websocket/42?token={bad}"), vec![], "token is invalid"),
        ("channel", format!("/websocket/42?token={good}&channels=a:b"), vec![], "namespace"),
    ] {
        let count = |edge: &Edge| {
            edge.metric(&format!("tidegate_handshakes_refused_total{{reason=\"{reason}\""))
        };
        assert_eq!(count(&edge), 0, "{reason}");
        let status = knock(&edge, &path, &lines).status;
        assert!((400..500).contains(&status), "{reason}: {status}");
        assert_eq!(count(&edge), 1, "{reason}");
        eventually("the log says so", || edge.log().contains(line));
    }
    let log = edge.log();
    assert!(log.contains("http://evil.example"), "{log}");
    for secret in ["secret=1", &good, &bad] {
        assert!(!log.contains(secret), "{secret} is in the log: {log}");
    }
    assert_eq!(edge.metric("tidegate_handshakes_total{result=\"refused\""), 5);
}

#[test]
fn tokens_that_are_not_believed_are_counted_by_reason_at_every_door() {
    let edge = Edge::strict(&[HMAC_SECRET, "channels.subscribe=token"]);
    let connect = |claims: &str| {
        let client = Managed::open(&edge);
        client.begin("connect", json!({ "token": claims }));
        client
    };
    let count =
        |reason: &str| edge.metric(&format!("tidegate_tokens_refused_total{{reason=\"{reason}\""));
    connect("a.b.c").expect_close(3500);
    assert_eq!(knock(&edge, "/websocket/42?token=a.b.c", &[]).status, 401);
    assert_eq!(count("invalid"), 2);
    assert_eq!(connect("").hear()["error"]["code"], 101);
    assert_eq!(knock(&edge, "/websocket/42", &[]).status, 401);
    assert_eq!(count("missing"), 2);
    assert_eq!(connect(&token(json!({ "sub": "42", "exp": 1 }))).hear()["error"]["code"], 109);
    assert_eq!(count("expired"), 1);
    let other = token(json!({ "sub": "43" }));
    assert_eq!(knock(&edge, &format!("/websocket/42?token={other}"), &[]).status, 403);
    let client = Managed::connect_as(&edge, "42");
    let subscription = token(json!({ "sub": "43", "channel": "news" }));
    let subscribe = json!({ "channel": "news", "token": subscription });
    assert_eq!(client.refused("subscribe", subscribe), 103);
    assert_eq!(count("foreign"), 2);
    eventually("the log says why", || edge.log().contains("the token has expired"));
}

/// A flood of refusals must not become a flood of lines.
#[test]
fn lines_about_refusals_are_few() {
    let edge = Edge::strict(&[]);
    for _ in 0..300 {
        assert_eq!(knock(&edge, "/nothing", &[]).status, 404);
    }
    assert_eq!(edge.metric("tidegate_handshakes_refused_total{reason=\"path\""), 300);
    let lines = edge.log().lines().filter(|line| line.contains("handshake refused")).count();
    // Two shards with five lines in four seconds each; the machine may be slow.
    assert!((1..=100).contains(&lines), "{lines} lines");
}

/// DNS rebinding: a page of evil.example whose name resolves to 127.0.0.1 is its own origin.
#[test]
fn a_name_that_was_made_to_lead_here_opens_nothing() {
    let rebound = ["Host: evil.example:8000", "Origin: http://evil.example:8000"];
    let edge = Edge::strict(&[]);
    let refused = knock(&edge, "/websocket/42", &rebound);
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("Host"), "{}", refused.body);
    assert_eq!(knock(&edge, "/connection/websocket", &rebound).status, 403);
    for host in ["localhost:8000", "app.localhost", "127.0.0.1:1", "[::1]:8000"] {
        let mut peer = edge.tcp();
        peer.send(request("/websocket/42", &[&format!("Host: {host}")]).as_bytes());
        peer.expect_open();
    }
    let get = |path: &str, host: &str| {
        answer(
            edge.internal,
            &format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\n\
                                        Connection: close\r\n\r\n"
            ),
        )
    };
    for path in ["/", "/info", "/metrics", "/app.js"] {
        assert_eq!(get(path, "evil.example:9000").status, 403, "{path}");
        assert_eq!(get(path, "localhost:9000").status, 200, "{path}");
    }
    assert_eq!(get("/health", "evil.example").status, 200);
}

/// A proxy on this machine passes on the name that it was reached under.
#[test]
fn names_that_are_meant_to_lead_here_open_the_door() {
    let proxied = ["Host: app.example", "Origin: https://app.example"];
    for option in
        [HMAC_SECRET, "public.allowed_origins=https://app.example", "public.allow_anonymous=true"]
    {
        let edge = Edge::strict(&[option]);
        let path = format!("/websocket/42?token={}", token(json!({ "sub": "42" })));
        let mut peer = edge.tcp();
        peer.send(request(&path, &proxied).as_bytes());
        peer.expect_open();
    }
    let edge = Edge::strict(&["internal.allow_remote=true"]);
    let head = "GET /metrics HTTP/1.1\r\nHost: edge.example\r\nConnection: close\r\n\r\n";
    assert_eq!(answer(edge.internal, head).status, 200);
}

#[test]
fn who_knocks_at_the_wrong_door_is_told_the_right_one() {
    let edge = Edge::strict(&[]);
    let port = edge.internal.port().to_string();
    for path in ["/api/publish", "/metrics", "/health", "/info"] {
        let response = answer(edge.public, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(response.status, 404, "{path}");
        assert!(response.body.contains(&port), "{path}: {}", response.body);
    }
    for path in ["/websocket/42", "/connection/websocket", "/", "/echo"] {
        let response = answer(edge.internal, &request(path, &["Connection: close, upgrade"]));
        assert_eq!(response.status, 404, "{path}");
        let url = format!("ws://{}", edge.public);
        assert!(response.body.contains(&url), "{path}: {}", response.body);
    }
}

#[test]
fn origins_that_can_never_match_are_named_at_the_start() {
    for (entry, hint) in [
        ("https://example.org/app", "path"),
        ("https://bücher.example", "xn--"),
        ("example.org", "https://"),
    ] {
        let option = format!("public.allowed_origins=[\"https://good.example\",\"{entry}\"]");
        let output = run(&["check-config", "/dev/null"], &[&option]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{entry}");
        assert!(error.contains("public.allowed_origins[1]"), "{error}");
        assert!(error.contains(entry) && error.contains(hint), "{error}");
    }
}

/// What speaks another protocol would wait until the deadline and never know why.
#[test]
fn other_protocols_are_known_by_their_first_bytes() {
    let edge = Edge::strict(&["handshake.deadline=1h"]);
    let tls = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3];
    let mut peer = edge.tcp();
    peer.send(&tls);
    let response = peer.response().unwrap();
    assert_eq!(response.status, 400);
    assert!(response.body.contains("TLS"), "{}", response.body);
    let push = zmq::Context::new().socket(zmq::PUSH).unwrap();
    push.set_linger(0).unwrap();
    push.connect(&format!("tcp://{}", edge.public)).unwrap();
    eventually("the log says so", || edge.log().contains("ZeroMQ, whose sockets"));
}

/// The internal address tries five times a second whether there are descriptors again.
#[test]
fn lines_about_the_descriptor_limit_are_few() {
    const DESCRIPTORS: usize = 100;
    let serve = ["serve", "--public-address=127.0.0.1:0", "--internal-address=127.0.0.1:0"];
    let serve = command(&serve, &["shards.count=2", "ingest.endpoints=[]"]);
    let edge = Edge::spawn(below(&["prlimit", &format!("--nofile={DESCRIPTORS}")], serve));
    let crowd: Vec<Raw> = (0..DESCRIPTORS).map(|_| Raw::connect(edge.internal)).collect();
    let count = || edge.log().lines().filter(|line| line.contains("cannot accept on")).count();
    eventually("the log says so", || count() > 0);
    // Twenty failures, if the machine is not slow.
    std::thread::sleep(Duration::from_secs(4));
    assert!(count() <= 10, "{} lines", count());
    drop(crowd);
    eventually("operators get in again", || {
        edge.get("/health").is_some_and(|(status, _)| status == 200)
    });
}
