//! The promise: peers that only cost (half-open handshakes, dribbles, garbage, floods) are bounded
//! in number, time and memory, and well-meaning clients are served meanwhile.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::harness::{Client, ENDPOINTS, Edge, Raw, below, command, eventually, frame, request};

const PENDING: &str = "tidegate_handshakes_pending";

#[test]
fn half_open_handshakes_displace_each_other() {
    let edge = Edge::with(&["handshake.pending_max=500", "shards.count=1"]);
    let before = edge.memory();
    let mut half_open = Vec::new();
    for n in 0..3000 {
        let mut stream = TcpStream::connect(edge.public).unwrap();
        let _ = stream.write_all(b"GET /websocket/x HTTP/1.1\r\nHost: a\r\nX: ");
        half_open.push(stream);
        if n % 500 == 499 {
            let client = edge.connect("u", &["c"]);
            edge.publish("c", "served meanwhile");
            client.expect("served meanwhile");
        }
    }
    // A client displaces one more but leaves at once, so only the last one makes a difference.
    edge.expect_metric("tidegate_handshakes_total{result=\"displaced\"", 2500 + 1);
    assert!(edge.metric(PENDING) <= 500);
    let grown = edge.memory().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more");
    drop(half_open);
    edge.expect_metric(PENDING, 0);
}

#[test]
fn a_dribble_is_cut_at_the_deadline() {
    let edge = Edge::with(&["handshake.deadline=1s"]);
    let mut peer = edge.tcp();
    let start = Instant::now();
    // A byte now and then keeps nothing alive.
    for byte in request("/websocket/slow", &[]).bytes().cycle() {
        if !peer.try_send(&[byte]) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
        assert!(start.elapsed() < Duration::from_secs(15), "still there");
    }
    let silent = edge.tcp();
    edge.expect_metric("tidegate_handshakes_total{result=\"timed_out\"", 2);
    edge.expect_metric(PENDING, 0);
    drop(silent);
}

#[test]
fn garbage_is_answered_or_dropped() {
    let edge = Edge::start();
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let bomb = format!("GET / HTTP/1.1\r\n{}", "X: y\r\n".repeat(10_000));
    let line = "x".repeat(100_000);
    for bytes in [tls, &[0; 4096][..], &[0xff; 70_000], bomb.as_bytes(), line.as_bytes(), b"\r\n"] {
        let mut peer = edge.tcp();
        peer.try_send(bytes);
        peer.shut_down_write_if_open();
        let answer = peer.read_to_end();
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{answer:?}");
    }
    // A port scan.
    for n in 0..200 {
        let peer = edge.tcp();
        if n % 2 == 0 { peer.reset() } else { drop(peer) }
    }
    edge.expect_metric(PENDING, 0);
    edge.connect("u", &[]).close(1000);
}

#[test]
fn a_full_edge_says_so() {
    let edge = Edge::with(&["public.connections_max=50"]);
    let clients: Vec<Client> = (0..50).map(|n| edge.connect(&n.to_string(), &["c"])).collect();
    edge.expect_metric("tidegate_connections", 50);
    // All at once: each is told, and none takes the place of another.
    let mut peers: Vec<Raw> = (0..30).map(|_| edge.tcp()).collect();
    for peer in &mut peers {
        peer.send(request("/websocket/more", &[]).as_bytes());
    }
    for peer in &mut peers {
        let response = peer.response().expect("an answer");
        assert_eq!(response.status, 503);
        assert!(response.head.contains("Retry-After: "), "{}", response.head);
    }
    assert_eq!(edge.metric("tidegate_handshakes_refused_total{reason=\"full\""), 30);
    assert_eq!(edge.metric("tidegate_handshakes_total{result=\"displaced\""), 0);
    eventually("the log says so", || edge.log().contains("This server is full"));
    let told = edge.log().lines().filter(|line| line.contains("This server is full")).count();
    assert!((1..=10).contains(&told), "{told} lines");
    assert_eq!(edge.publish("c", "x"), 50);
    for client in &clients {
        client.expect("x");
    }
    drop(clients);
    edge.expect_metric("tidegate_connections", 0);
    edge.connect("u", &[]).close(1000);
}

#[test]
fn the_last_places_go_to_as_many_and_the_others_are_told() {
    let edge = Edge::with(&["public.connections_max=50", "shards.count=1"]);
    let clients: Vec<Client> = (0..48).map(|n| edge.connect(&n.to_string(), &[])).collect();
    let mut peers: Vec<Raw> = (0..20).map(|_| edge.tcp()).collect();
    let mut let_in = 0;
    for peer in &mut peers {
        peer.try_send(request("/websocket/more", &[]).as_bytes());
    }
    for peer in &mut peers {
        let head = peer.read_head().expect("an answer");
        let_in += usize::from(head.starts_with("HTTP/1.1 101 "));
        assert!(head.starts_with("HTTP/1.1 101 ") || head.starts_with("HTTP/1.1 503 "), "{head}");
    }
    assert_eq!(let_in, 2);
    drop(clients);
}

#[test]
fn few_descriptors_are_warned_of_and_who_finds_none_is_told() {
    let words = ["prlimit", "--nofile=90:90"];
    let edge = ["serve", "--dev", "--public-address=127.0.0.1:0", "--internal-address=127.0.0.1:0"];
    let edge = Edge::spawn(below(&words, command(&edge, &[ENDPOINTS, "shards.count=2"])));
    let warning = edge.log();
    let warning = warning.lines().find(|line| line.contains("LimitNOFILE")).expect("a warning");
    assert!(warning.contains("WARN") && warning.contains("LimitNOFILE=1048576"), "{warning}");
    let client = edge.connect("u", &["news"]);
    assert_eq!(edge.publish("news", "x"), 1);
    client.expect("x");
    // More than there are descriptors for: each stays until all have been answered.
    let mut peers: Vec<Raw> = (0..150).map(|_| edge.tcp()).collect();
    for peer in &mut peers {
        let head = peer.read_head().expect("an answer");
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    }
    assert_eq!(edge.publish("news", "y"), 1);
    client.expect("y");
    drop(peers);
    assert_eq!(edge.metric("tidegate_handshakes_refused_total{reason=\"full\""), 150);
}

#[test]
fn a_flood_of_refused_connections_leaves_no_descriptors() {
    let edge = Edge::with(&["public.connections_max=10", "websocket.close_deadline=500ms"]);
    let _clients: Vec<Client> = (0..10).map(|n| edge.connect(&n.to_string(), &[])).collect();
    edge.expect_metric("tidegate_connections", 10);
    let before = edge.descriptors();
    let peers: Vec<Raw> = (0..500).map(|_| edge.tcp()).collect();
    eventually("they are dropped", || edge.descriptors() <= before + 12);
    drop(peers);
}

#[test]
fn handshakes_are_admitted_at_their_rate() {
    let edge = Edge::with(&["handshake.rate=20", "shards.count=1"]);
    let start = Instant::now();
    let clients: Vec<Client> = (0..60).map(|n| edge.connect(&n.to_string(), &[])).collect();
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    edge.expect_metric("tidegate_connections", clients.len() as i64);
}

#[test]
fn a_crowd_of_half_messages_is_bounded() {
    let quiet = "heartbeat.ping_interval=1h";
    let edge = Edge::with(&["websocket.memory_max=1MiB", "shards.count=1", quiet]);
    let whole = edge.open("/echo");
    // More than half of a message is there, so the rest of its room is too.
    let (first, rest) = (vec![b'x'; 40_000], vec![b'y'; 20_000]);
    let message = frame(0x82, &[first, rest].concat());
    let mut peers: Vec<Raw> = (0..60).map(|_| edge.raw("/echo")).collect();
    let gone = "tidegate_connections_closed_total{reason=\"half_read\"";
    let read = |edge: &Edge| edge.metric("tidegate_received_bytes_total");
    for peer in &mut peers {
        let before = read(&edge);
        peer.send(&message[..40_000]);
        eventually("it is read", || read(&edge) >= before + 40_000);
    }
    let closed = edge.metric(gone);
    assert!((20..60).contains(&closed), "{closed} closed");
    let held = edge.metric("tidegate_half_read_bytes");
    assert!((512 << 10..=1 << 20).contains(&held), "{held} bytes");
    whole.say("whole messages pass");
    whole.expect("whole messages pass");
    for (place, peer) in peers.iter_mut().enumerate() {
        // Of those who have sent as much the one who was heard least recently goes first.
        if place >= closed as usize {
            peer.send(&message[40_000..]);
            assert_eq!(peer.hear().unwrap().payload.len(), 60_000);
        } else {
            peer.expect_close(1013);
        }
    }
    edge.expect_metric("tidegate_half_read_bytes", 0);
}

#[test]
fn a_crowd_at_the_internal_address_does_not_make_probes_come_again() {
    let edge = Edge::start();
    // The edge accepts nobody now, as if it were busy for a moment.
    edge.signal("STOP");
    let connect = |_| TcpStream::connect_timeout(&edge.internal, Duration::from_secs(20));
    let crowd: Result<Vec<_>, _> = (0..300).map(connect).collect();
    edge.signal("CONT");
    assert!(crowd.is_ok(), "the kernel has no place: a probe would try again after a second");
    assert_eq!(edge.get("/health").unwrap().0, 200);
}
