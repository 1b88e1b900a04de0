//! The control plane over real HTTP, with shards that are played by a thread of the test.
//!
//! Promises: metrics are complete and well-formed; health tells the drain; the try page is locked
//! in by its policy; publishing reaches the right shards, adds their answers up, and fails with the
//! right status; hostile HTTP clients cannot hang the server. The promises of the API of backends
//! are in `backend` and `openapi`.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod backend;
mod edge;
mod metrics;
mod openapi;
mod probes;

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use serde_json::json;
use tidegate::mesh::ShardPort;
use tidegate::model::{Answer, Command, CommandError, Ticket};

use crate::edge::{Edge, LINK_CAPACITY, answer, command, say};

#[test]
fn health_fails_once_the_drain_began() {
    let edge = Edge::start(false);
    edge.shards[0].connections.set(3);
    edge.shards[1].connections.set(4);
    let response = edge.get("/health");
    assert_eq!(response.status, 200);
    let expected = json!({"status": "ok", "version": "1.2.3", "shards": 2, "connections": 7});
    assert_eq!(response.json(), expected);
    edge.drain.announce();
    let response = edge.get("/health");
    assert_eq!((response.status, response.json()["status"].as_str()), (503, Some("draining")));
}

#[test]
fn the_page_is_locked_in() {
    let edge = Edge::start(false);
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/app.css", "text/css; charset=utf-8"),
    ] {
        let response = edge.get(path);
        assert_eq!((response.status, response.header("content-type")), (200, Some(content_type)));
        assert!(!response.body.is_empty());
        // The namespace of the icon is a name, nothing that is loaded.
        let body = response.body.replace("http://www.w3.org/2000/svg", "");
        for foreign in ["https://", "http://", "style=", " onclick", "innerHTML"] {
            assert!(!body.contains(foreign), "{path} has {foreign}");
        }
    }
    for path in ["/", "/info", "/metrics", "/health", "/nothing"] {
        let response = edge.get(path);
        let policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; \
            connect-src 'self' ws://127.0.0.1:8000; base-uri 'none'; form-action 'none'; \
            frame-ancestors 'none'";
        assert_eq!(response.header("content-security-policy"), Some(policy), "{path}");
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(response.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(response.header("access-control-allow-origin"), None, "{path}");
    }
    let info = json!({
        "version": "1.2.3", "shards": 2, "websocket": "ws://127.0.0.1:8000", "dev": false,
    });
    assert_eq!(edge.get("/info").json(), info);
}

#[test]
fn unknown_paths_and_methods_are_json_errors() {
    let edge = Edge::start(true);
    edge.get("/nothing").assert_error(404, "not_found");
    edge.get("/try/publish").assert_error(405, "method_not_allowed");
    let response = edge.request("POST", "/metrics", &[], "");
    response.assert_error(405, "method_not_allowed");
    assert_eq!(response.header("allow"), Some("GET,HEAD"));
    Edge::start(false).publish(&json!({"all": true, "data": ""})).assert_error(404, "not_found");
}

#[test]
fn publishing_reaches_the_home_shard_and_adds_answers_up() {
    let mut edge = Edge::start(true);
    let homes = edge.ports[0].homes.clone();
    let mut deliveries = Vec::new();
    let play = |port: &ShardPort, envelope| {
        let (command, ticket) = command(envelope);
        match command {
            Command::Publish { channel, publication, .. } => {
                assert_eq!(homes.of(&channel), port.shard);
                assert!(publication.received_nanos() > 0);
                deliveries.push((channel.to_string(), publication.payload()));
                // The answer of a member shard may overtake that of the home.
                answer(port, ticket, false, 0, 30);
                answer(port, ticket, true, 1, 4);
            }
            Command::PublishAll { .. } => answer(port, ticket, true, 0, 100),
            other => panic!("unexpected: {other:?}"),
        }
    };
    edge.with_shards(play, |edge| {
        for (body, sessions) in [
            (json!({"channel": "news", "data": "häl\"lo"}), 34),
            (json!({"user": "42", "data": "x"}), 34),
            (json!({"all": true, "data": "x"}), 200),
        ] {
            let response = edge.publish(&body);
            assert_eq!(response.status, 200, "{response:?}");
            assert_eq!(response.json(), json!({"sessions": sessions}), "{body}");
        }
    });
    let deliveries: Vec<_> = deliveries.iter().map(|(name, data)| (&name[..], &data[..])).collect();
    assert_eq!(deliveries, [("news", "häl\"lo".as_bytes()), ("#42", b"x")]);
}

#[test]
fn many_publications_at_once_get_their_own_answers() {
    let mut edge = Edge::start(true);
    let play = |port: &ShardPort, envelope| {
        let (command, ticket) = command(envelope);
        let Command::Publish { publication, .. } = command else { panic!("not a publish") };
        let text = String::from_utf8(publication.payload().to_vec()).unwrap();
        answer(port, ticket, true, 0, text.parse().unwrap());
    };
    edge.with_shards(play, |edge| {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    for number in 0..25 {
                        let number = thread * 1000 + number;
                        let data = number.to_string();
                        let response = edge.publish(&json!({"channel": data, "data": data}));
                        assert_eq!(response.json(), json!({"sessions": number}));
                    }
                });
            }
        });
    });
}

#[test]
fn silent_shards_are_a_timeout_and_full_links_an_overload() {
    let edge = Edge::start(true);
    let body = json!({"all": true, "data": "x"});
    for _ in 0..LINK_CAPACITY {
        edge.publish(&body).assert_error(504, "timeout");
    }
    let response = edge.publish(&body);
    response.assert_error(503, "overloaded");
    assert_eq!(response.header("retry-after"), Some("1"));
}

#[test]
fn more_than_a_link_holds_waits_for_its_turn() {
    let mut edge = Edge::with_key();
    let play = |port: &ShardPort, envelope| {
        let (_, ticket) = command(envelope);
        answer(port, ticket, true, 0, 1);
    };
    let publish = json!({"publish": {"channel": "news", "data": 1}});
    let body = json!({"commands": vec![publish; 16 * LINK_CAPACITY], "parallel": true});
    edge.with_shards(play, |edge| {
        let response = edge.call("batch", &body.to_string());
        assert_eq!(response.status, 200, "{response:?}");
        let replies = response.json();
        for reply in replies["replies"].as_array().unwrap() {
            assert_eq!(reply["publish"]["sessions"], 1, "{replies}");
        }
    });
}

#[test]
fn late_answers_disturb_nobody() {
    let mut edge = Edge::start(true);
    let body = json!({"channel": "news", "data": "x"});
    edge.publish(&body).assert_error(504, "timeout");
    let play = |port: &ShardPort, envelope| {
        let (_, ticket) = command(envelope);
        answer(port, ticket, true, 0, 1);
        answer(port, Ticket { number: 999, ..ticket }, true, 0, 1);
    };
    edge.with_shards(play, |edge| {
        for _ in 0..3 {
            assert_eq!(edge.publish(&body).json(), json!({"sessions": 1}));
        }
    });
}

#[test]
fn draining_refuses_commands() {
    let mut edge = Edge::start(true);
    let body = json!({"channel": "news", "data": "x"});
    let play = |port: &ShardPort, envelope| {
        let (_, ticket) = command(envelope);
        let error = Some(CommandError::Draining);
        let answer = Answer {
            number: ticket.number,
            firsts: 1,
            awaiting: 0,
            sessions: 0,
            error,
            outcome: None,
        };
        say(port, ticket, answer);
    };
    edge.with_shards(play, |edge| edge.publish(&body).assert_error(503, "draining"));
    edge.drain.begin();
    edge.publish(&body).assert_error(503, "draining");
}

#[test]
fn other_sites_cannot_publish() {
    let edge = Edge::start(true);
    let own = format!("http://{}", edge.address);
    let json = ("Content-Type", "application/json");
    for (headers, status, code) in [
        (vec![json, ("Host", "evil.example")], 403, "foreign_host"),
        (vec![json, ("Origin", "http://evil.example")], 403, "foreign_origin"),
        (vec![json, ("Origin", "null")], 403, "foreign_origin"),
        (vec![("Content-Type", "text/plain")], 415, "unsupported_media_type"),
        (vec![], 415, "unsupported_media_type"),
        // All checks pass and the body is looked at.
        (vec![json, ("Origin", &own)], 400, "invalid"),
        (vec![("Content-Type", "application/json; charset=utf-8")], 400, "invalid"),
    ] {
        edge.request("POST", "/try/publish", &headers, "{}").assert_error(status, code);
    }
    let preflight = [("Origin", "http://evil.example"), ("Access-Control-Request-Method", "POST")];
    let response = edge.request("OPTIONS", "/try/publish", &preflight, "");
    response.assert_error(405, "method_not_allowed");
}

#[test]
fn only_the_own_page_asks_why_it_was_refused() {
    let edge = Edge::start(false);
    let json = ("Content-Type", "application/json");
    let ask =
        |headers: &[(&str, &str)], body: &str| edge.request("POST", "/try/refusal", headers, body);
    let handshake = r#"{"path":"/websocket/42","protocols":""}"#;
    for (header, code) in [
        (("Host", "evil.example"), "foreign_host"),
        (("Origin", "http://evil.example"), "foreign_origin"),
    ] {
        ask(&[json, header], handshake).assert_error(403, code);
    }
    // A picture or a form of a foreign page says no Origin, but it cannot send JSON.
    edge.get("/try/refusal?path=/websocket/42").assert_error(405, "method_not_allowed");
    ask(&[("Content-Type", "text/plain")], handshake).assert_error(415, "unsupported_media_type");
    // Nothing but a handshake on the public address can be asked for.
    for odd in ["http://evil.example/", "/a b", r"/a\r\nX: y", ""] {
        ask(&[json], &format!(r#"{{"path":"{odd}"}}"#)).assert_error(400, "invalid");
    }
    ask(&[json], r#"{"path":"/","protocols":"a\r\nb"}"#).assert_error(400, "invalid");
    // Nobody is at the public address of this edge.
    ask(&[json], handshake).assert_error(504, "silent");
}

fn post_head(rest: &str) -> String {
    format!(
        "POST /try/publish HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\n{rest}\r\n\r\n"
    )
}

#[test]
fn bodies_have_a_limit_and_a_deadline() {
    let edge = Edge::start(true);
    let announced = edge.exchange(post_head("Content-Length: 70000").as_bytes());
    announced.assert_error(413, "too_large");
    let chunk = format!("11800\r\n{}\r\n0\r\n\r\n", "x".repeat(0x11800));
    let chunked = edge.exchange((post_head("Transfer-Encoding: chunked") + &chunk).as_bytes());
    chunked.assert_error(413, "too_large");
    let slow = edge.exchange((post_head("Content-Length: 10") + "{").as_bytes());
    slow.assert_error(408, "request_timeout");
}

/// A request to the API with a body of so many bytes, announced, and how the key is called.
fn long_request(path: &str, key: &str, length: usize) -> String {
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{key}: {}\r\n", edge::KEY);
    format!("{head}Content-Length: {length}\r\n\r\n") + &"x".repeat(length)
}

#[test]
fn who_is_refused_while_a_body_is_on_its_way_hears_why() {
    const LENGTH: usize = 24 << 20;
    let edge = Edge::patient();
    for (path, key, status) in [
        ("/api/publish", "X-API-Key", 413),
        ("/api/publish", "X-Other-Key", 401),
        ("/api/nothing", "X-API-Key", 404),
        ("/metrics", "X-API-Key", 405),
    ] {
        // All of it is sent before anything is read.
        let response = edge.exchange(long_request(path, key, LENGTH).as_bytes());
        assert_eq!((response.status, response.header("connection")), (status, Some("close")));
    }
    let chunk = format!("100000\r\n{}\r\n", "x".repeat(1 << 20));
    let head = "POST /api/batch HTTP/1.1\r\nHost: localhost\r\nX-API-Key: ".to_owned() + edge::KEY;
    let chunks = head + "\r\nTransfer-Encoding: chunked\r\n\r\n" + &chunk.repeat(24) + "0\r\n\r\n";
    assert_eq!(edge.exchange(chunks.as_bytes()).status, 413);
    edge.drain.begin();
    assert_eq!(
        edge.exchange(long_request("/api/publish", "X-API-Key", 4096).as_bytes()).status,
        503
    );
}

#[test]
fn a_body_that_nobody_reads_is_heard_out_within_bounds() {
    let edge = Edge::patient();
    let mut endless = edge.connect();
    endless.write_all(long_request("/api/publish", "X-API-Key", 2 << 20).as_bytes()).unwrap();
    let (chunk, mut sent) = (vec![b'x'; 1 << 20], 0);
    while endless.write_all(&chunk).is_ok() {
        sent += 1;
        assert!(sent < 1024, "it goes on and on");
    }
    let edge = Edge::with_key();
    let mut silent = edge.connect();
    let request = long_request("/api/publish", "X-API-Key", 2 << 20);
    silent.write_all(&request.as_bytes()[..1 << 20]).unwrap();
    silent.read_to_end(&mut Vec::new()).unwrap();
    let is_closed = || edge.get("/metrics").body.contains("tidegate_http_connections 1\n");
    let begin = Instant::now();
    while !is_closed() {
        assert!(begin.elapsed() < Duration::from_secs(20), "it is still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn slow_and_idle_clients_make_room() {
    let edge = Edge::start(false);
    let head = "GET /health HTTP/1.1\r\nHost: localh";
    for begun in ["", head, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        let mut slow: Vec<_> = (0..300).map(|_| edge.connect()).collect();
        for stream in &mut slow {
            // Some wait for a place, and may be cut off meanwhile.
            stream.write_all(begun.as_bytes()).ok();
        }
        let begin = Instant::now();
        assert_eq!(edge.get("/health").status, 200, "{begun:?}");
        assert!(begin.elapsed() < Duration::from_secs(5), "{begun:?}: {:?}", begin.elapsed());
    }
}

#[test]
fn kept_connections_serve_several_requests_and_nonsense_is_refused() {
    let edge = Edge::start(false);
    let get = "GET /health HTTP/1.1\r\nHost: localhost\r\n";
    let pipelined = edge.exchange(format!("{get}\r\n{get}Connection: close\r\n\r\n").as_bytes());
    assert_eq!(pipelined.body.matches("HTTP/1.1 200 OK").count(), 1, "{pipelined:?}");
    assert_eq!(edge.exchange(b"\x16\x03\x01\x02\x00\r\n\r\n").status, 400);
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(15_000));
    assert_eq!(edge.exchange(long.as_bytes()).status, 200);
    let mut stream = edge.connect();
    // The server may close while this is still being written.
    let _ = stream.write_all(format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(64_000)).as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{answer:?}");
    assert_eq!(edge.get("/health").status, 200);
}
