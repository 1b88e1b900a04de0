//! The promise: an opening handshake that keeps RFC 6455 is accepted, anything else gets the one
//! status that says why, and once the handshake is complete the channels are joined: whatever is
//! published from then on arrives.

use crate::harness::{Edge, Heard, Raw, Response, frame, request};

fn refusal(edge: &Edge, head: &str) -> Response {
    let mut peer = edge.tcp();
    peer.send(head.as_bytes());
    peer.response().unwrap_or_else(|| panic!("no answer to {head}"))
}

fn status(edge: &Edge, path: &str, lines: &[&str]) -> u16 {
    refusal(edge, &request(path, lines)).status
}

fn is_open(edge: &Edge, path: &str, lines: &[&str]) {
    let mut peer = edge.tcp();
    peer.send(request(path, lines).as_bytes());
    peer.expect_open();
}

// RFC 6455 §4.2.2.
#[test]
fn a_handshake_is_answered_with_101_and_no_more() {
    let edge = Edge::start();
    let mut peer = edge.tcp();
    let lines = ["Sec-WebSocket-Extensions: \
                  permessage-deflate; client_max_window_bits"];
    peer.send(request("/websocket/a", &lines).as_bytes());
    edge.publish("#a", "x");
    peer.shut_down_write();
    let all = String::from_utf8_lossy(&peer.read_to_end()).into_owned();
    let (head, _) = all.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    assert_eq!(lines.next(), Some("HTTP/1.1 101 Switching Protocols"));
    let mut fields: Vec<_> = lines.map(str::to_ascii_lowercase).collect();
    fields.sort();
    // No subprotocol was offered and no extension is negotiated.
    let accept = "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=";
    assert_eq!(fields, ["connection: upgrade", accept, "upgrade: websocket"]);
}

#[test]
fn each_mistake_has_its_status() {
    let edge = Edge::start();
    let door = "/websocket/a";
    for (expected, lines) in [
        (426, &["Upgrade:"][..]),
        (426, &["Upgrade: h2c"]),
        (400, &["Connection:"]),
        (400, &["Connection: close"]),
        (426, &["Sec-WebSocket-Version: 8"]),
        (400, &["Sec-WebSocket-Version:"]),
        (400, &["Sec-WebSocket-Key:"]),
        (400, &["Sec-WebSocket-Key: c2hvcnQ="]),
        (400, &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"]),
        (400, &["Host:"]),
        (400, &["Host: a", "X: y", "host: b"]),
        (400, &["Content-Length: 5"]),
        (400, &["Transfer-Encoding: chunked"]),
        (400, &["Bad Name: x"]),
    ] {
        assert_eq!(status(&edge, door, lines), expected, "{lines:?}");
    }
    for (expected, start) in [
        (405, "POST /websocket/a HTTP/1.1"),
        (505, "GET /websocket/a HTTP/1.0"),
        (400, "GET /websocket/a"),
        (400, "\u{16}\u{3}\u{1}\u{2}"),
        (404, "GET / HTTP/1.1"),
        (404, "GET /websocket/a/b HTTP/1.1"),
        (404, "GET /nothing HTTP/1.1"),
        (400, "GET websocket HTTP/1.1"),
        (400, "GET /websocket/a#b HTTP/1.1"),
    ] {
        let rest = request(door, &[]);
        let head = format!("{start}\r\n{}", rest.split_once("\r\n").unwrap().1);
        assert_eq!(refusal(&edge, &head).status, expected, "{start}");
    }
    let long = format!("/websocket/a?token={}", "x".repeat(17_000));
    assert_eq!(status(&edge, &long, &[]), 414);
    let large = format!("X: {}", "x".repeat(17_000));
    assert_eq!(status(&edge, door, &[&large]), 431);
    let many: Vec<String> = (0..100).map(|n| format!("X-{n}: y")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(status(&edge, door, &many), 431);
    let counted = edge.metric("tidegate_handshakes_total{result=\"refused\"");
    assert_eq!(counted, 14 + 9 + 3);
    edge.expect_metric("tidegate_handshakes_pending", 0);
}

#[test]
fn refusals_help_and_close() {
    let edge = Edge::start();
    let response = refusal(&edge, &request("/", &[]));
    assert!(response.head.contains("Connection: close"), "{}", response.head);
    assert!(response.body.contains("/websocket/{user}"), "{}", response.body);
    // RFC 6455 §4.2.2 (4): the versions that are spoken.
    let response = refusal(&edge, &request("/echo", &["Sec-WebSocket-Version: 7"]));
    assert!(response.head.contains("Sec-WebSocket-Version: 13"), "{}", response.head);
    // RFC 9110 §15.5.6.
    let response = refusal(&edge, "PUT / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(response.head.contains("Allow: GET"), "{}", response.head);
}

// RFC 6455 §10.2.
#[test]
fn pages_of_other_origins_are_refused() {
    let edge = Edge::strict(&[]);
    let door = "/websocket/a";
    is_open(&edge, door, &[]);
    is_open(&edge, door, &["Origin: http://localhost:8000"]);
    // The page that the edge itself serves, at its internal address.
    let page = format!("http://localhost:{}", edge.internal.port());
    is_open(&edge, door, &[&format!("Origin: {page}")]);
    for origin in ["http://evil.example", "null", "http://localhost:8001", "http://localhost"] {
        assert_eq!(status(&edge, door, &[&format!("Origin: {origin}")]), 403, "{origin}");
    }
    assert_eq!(status(&edge, "/echo", &[]), 404);
    let allowed = r#"public.allowed_origins=["https://app.example","https://*.shop.example"]"#;
    let edge = Edge::strict(&[allowed]);
    for origin in ["https://app.example", "https://a.shop.example"] {
        is_open(&edge, door, &[&format!("Origin: {origin}")]);
    }
    for origin in ["https://shop.example", "http://app.example", "http://localhost:8000"] {
        assert_eq!(status(&edge, door, &[&format!("Origin: {origin}")]), 403, "{origin}");
    }
    let edge = Edge::strict(&[r#"public.allowed_origins=["*"]"#]);
    is_open(&edge, door, &["Origin: http://evil.example"]);
}

/// What a browser sends is not always what people write.
#[test]
fn origins_may_be_written_with_their_port_and_of_apps() {
    let allowed = r#"public.allowed_origins=["https://app.example:443","capacitor://localhost",
        "file://","null"]"#;
    let edge = Edge::strict(&[allowed]);
    for origin in ["https://app.example", "capacitor://localhost", "file://", "null"] {
        is_open(&edge, "/websocket/a", &[&format!("Origin: {origin}")]);
    }
    for origin in ["https://app.example:8443", "ionic://localhost", "file://a"] {
        assert_eq!(status(&edge, "/websocket/a", &[&format!("Origin: {origin}")]), 403, "{origin}");
    }
}

#[test]
fn paths_and_queries_name_user_device_and_channels() {
    let edge = Edge::start();
    let a = edge.open("/websocket/J%C3%BCrgen%2F1?device=my+phone&channels=a,b,c,,a&token=x");
    assert_eq!(edge.publish("#Jürgen/1", "to the user"), 1);
    a.expect("to the user");
    for channel in ["a", "b", "c"] {
        assert_eq!(edge.publish(channel, channel), 1, "joined once");
        a.expect(channel);
    }
    let meta = r#"{"op":"user","user":"Jürgen/1","device":"my phone"}"#;
    assert_eq!(edge.command("to the phone", meta)["sessions"], 1);
    a.expect("to the phone");
    let anonymous = edge.open("/websocket?channels=a");
    assert_eq!(edge.publish("a", "both"), 2);
    anonymous.expect("both");
    is_open(&edge, "http://elsewhere:1/websocket/b", &[]);
    for (expected, path) in [
        (400, "/websocket/%FF"),
        (400, "/websocket/a%"),
        (400, "/websocket/"),
        (400, "/websocket/a%0A"),
        (400, "/websocket/a?channels=%01"),
        (400, "/websocket/a?channels=$cmd"),
        (400, "/websocket/a?device=%00"),
        (403, "/websocket/a?channels=%23b"),
        (400, "/websocket/a?channels=a%2Cb"),
    ] {
        assert_eq!(status(&edge, path, &[]), expected, "{path}");
    }
    let names: Vec<String> = (0..127).map(|n| n.to_string()).collect();
    assert_eq!(status(&edge, &format!("/websocket/a?channels={},x", names.join(",")), &[]), 400);
    let long = "u".repeat(255);
    assert_eq!(status(&edge, &format!("/websocket/{long}"), &[]), 400);
    is_open(&edge, &format!("/websocket/{}", &long[1..]), &[]);
}

/// A name with users in it has commas of its own.
#[test]
fn lists_of_channels_are_split_before_they_are_decoded() {
    let edge = Edge::start();
    let member = edge.open("/websocket/42?channels=team%2342%2C43,lobby");
    for (channel, sessions) in [("team#42,43", 1), ("lobby", 1), ("43", 0), ("team#42", 0)] {
        assert_eq!(edge.publish(channel, channel), sessions, "{channel}");
    }
    member.expect("team#42,43");
    member.expect("lobby");
    assert_eq!(status(&edge, "/websocket/44?channels=team%2342%2C43", &[]), 403);
    // A comma in any other name is one that should have stood between names.
    let response = refusal(&edge, &request("/websocket/42?channels=a%2Cb", &[]));
    assert_eq!(response.status, 400);
    assert!(response.body.contains("%2C"), "{}", response.body);
}

/// The subprotocol that is taken of those that a client offers.
fn chosen(edge: &Edge, path: &str, offered: &str) -> Result<String, Response> {
    let mut peer = edge.tcp();
    let field = format!("Sec-WebSocket-Protocol: {offered}");
    peer.send(request(path, &[&field]).as_bytes());
    peer.shut_down_write();
    let answer = peer.response().unwrap();
    let name = "Sec-WebSocket-Protocol: ";
    match answer.head.lines().find_map(|line| line.strip_prefix(name)) {
        Some(chosen) if answer.status == 101 => Ok(chosen.to_owned()),
        _ => Err(answer),
    }
}

// RFC 6455 §4.1: a client fails the connection if it offered subprotocols and got none of them.
#[test]
fn who_offers_subprotocols_gets_one_of_them_or_is_told_what_to_add() {
    let edge = Edge::with(&["public.subprotocols=[\"chat.example\",\"game\"]"]);
    let (raw, managed) = ("/websocket/42", "/connection/websocket");
    for (path, offered, expected) in [
        (raw, "tidegate, token.x.y", "tidegate"),
        (raw, "token.x.y, tidegate", "tidegate"),
        (raw, "other, game, chat.example", "game"),
        ("/echo", "chat.example", "chat.example"),
        (managed, "game, centrifuge-protobuf", "centrifuge-protobuf"),
        (managed, "centrifuge-json", "centrifuge-json"),
    ] {
        assert_eq!(chosen(&edge, path, offered).unwrap(), expected, "{path} {offered}");
    }
    for (path, offered, remedy) in [
        (raw, "token.x.y", "public.subprotocols"),
        (raw, "chat, superchat", "tidegate"),
        ("/echo", "Game", "tidegate"),
        (managed, "game", "centrifuge-json"),
    ] {
        let answer = chosen(&edge, path, offered).unwrap_err();
        assert_eq!(answer.status, 400, "{path} {offered}");
        assert!(answer.body.contains(remedy), "{}", answer.body);
        assert!(!answer.head.contains("token."), "{}", answer.head);
    }
}

/// Single sign-on puts large cookies and tokens into every request.
#[test]
fn heads_may_have_16_kib() {
    let edge = Edge::start();
    let cookie = format!("Cookie: {}", "c".repeat(15_000));
    is_open(&edge, "/websocket/a", &[&cookie]);
    is_open(&edge, &format!("/websocket/a?token={}", "x".repeat(15_000)), &[]);
}

#[test]
fn open_means_subscribed() {
    let edge = Edge::start();
    for round in 0..100 {
        // Channels at home on either shard, of a connection on either shard.
        let channels = [format!("a{round}"), format!("b{round}"), "shared".to_owned()];
        let names: Vec<&str> = channels.iter().map(String::as_str).collect();
        let client = edge.connect(&format!("user{round}"), &names);
        for name in &names {
            assert!(edge.publish(name, "x") >= 1, "{name}");
            client.expect("x");
        }
        assert_eq!(edge.publish(&format!("#user{round}"), "own"), 1);
        client.expect("own");
        assert!(edge.command("all", r#"{"op":"all"}"#)["sessions"].as_u64() >= Some(1));
        client.expect("all");
    }
}

#[test]
fn frames_may_follow_the_request_at_once() {
    let edge = Edge::start();
    let mut all = request("/echo", &[]).into_bytes();
    for text in ["one", "two", &"x".repeat(60_000)] {
        all.extend(frame(0x81, text.as_bytes()));
    }
    all.extend(frame(0x88, &[3, 0xe8]));
    let expect_all = |peer: &mut Raw| {
        peer.expect_open();
        peer.expect(0x81, b"one");
        peer.expect(0x81, b"two");
        peer.expect(0x81, &[b'x'; 60_000]);
        peer.expect_close(1000);
    };
    let mut peer = edge.tcp();
    peer.send(&all);
    expect_all(&mut peer);
    // Cut anywhere around the end of the head.
    let head = request("/echo", &[]).len();
    for cut in head - 5..head + 12 {
        let mut peer = edge.tcp();
        peer.send(&all[..cut]);
        std::thread::yield_now();
        peer.send(&all[cut..]);
        expect_all(&mut peer);
    }
}

#[test]
fn a_request_may_come_a_byte_at_a_time() {
    let edge = Edge::start();
    let mut peer = edge.tcp();
    for byte in request("/websocket/slow", &[]).bytes() {
        peer.send(&[byte]);
    }
    peer.expect_open();
    let late = edge.connect("other", &[]);
    edge.publish("#other", "x");
    assert_eq!(late.hear(), Heard::Text("x".to_owned()));
}

#[test]
fn a_client_that_goes_during_the_handshake_leaves_nothing() {
    let edge = Edge::start();
    for round in 0..50 {
        let mut peer = edge.tcp();
        peer.send(request(&format!("/websocket/{round}?channels=x,y,z"), &[]).as_bytes());
        if round % 2 == 0 {
            peer.reset();
        } else {
            peer.shut_down_write();
        }
    }
    edge.expect_metric("tidegate_subscriptions", 0);
    edge.expect_metric("tidegate_connections", 0);
    edge.expect_metric("tidegate_handshakes_pending", 0);
    edge.expect_metric("tidegate_channels", 0);
    assert_eq!(edge.publish("x", "nobody"), 0);
}

/// Many handshakes may complete in one go; what came right behind each is read in its turn.
#[test]
fn what_comes_right_behind_the_request_is_read_in_order() {
    const PEERS: usize = 300;
    let edge = Edge::start();
    let events = edge.events();
    let mut peers: Vec<Raw> = (0..PEERS).map(|_| edge.tcp()).collect();
    for (number, peer) in peers.iter_mut().enumerate() {
        let mut bytes = request(&format!("/websocket/{number}?channels=same"), &[]).into_bytes();
        bytes.extend(frame(0x89, format!("ping {number}").as_bytes()));
        bytes.extend(frame(0x81, b"said early"));
        // And a frame that is not whole yet.
        bytes.extend(&frame(0x82, b"in two parts")[..9]);
        peer.send(&bytes);
    }
    for (number, peer) in peers.iter_mut().enumerate() {
        peer.expect_open();
        peer.expect(0x8a, format!("ping {number}").as_bytes());
        let rest = frame(0x82, b"in two parts")[9..].to_vec();
        peer.send(&rest);
    }
    let said: Vec<_> = (0..3 * PEERS).map(|_| events.next()).collect();
    let count = |payload: &[u8]| said.iter().filter(|event| event.payload == payload).count();
    assert_eq!((count(b"said early"), count(b"in two parts")), (PEERS, PEERS));
}
