//! The promise: whoever connects to a ZeroMQ endpoint and does not behave takes a bounded number of
//! descriptors and bytes for a bounded time, is told of, and keeps no backend out.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::harness::{Asker, Client, Edge, PATIENCE, eventually, greet, parts};

const MEGABYTE: usize = 1 << 20;

fn refused(reason: &str) -> String {
    format!("tidegate_ingest_peers_refused_total{{reason=\"{reason}\"}}")
}

/// Waits until the log says so.
fn expect_log(edge: &Edge, words: &str) {
    eventually(words, || {
        let log = edge.log();
        log.lines().any(|line| line.contains("ZeroMQ peer refused") && line.contains(words))
    });
}

/// An edge whose endpoints have so many places.
fn edge_with_places(peers_max: usize) -> Edge {
    Edge::with(&[&format!(
        r#"ingest.endpoints=[
            {{kind="sub",endpoint="tcp://127.0.0.1:*"}},
            {{kind="pull",endpoint="tcp://127.0.0.1:*",peers_max={peers_max}}},
            {{kind="router",endpoint="tcp://127.0.0.1:*",peers_max={peers_max}}}]"#
    )])
}

fn tcp(edge: &Edge, endpoint: usize) -> TcpStream {
    TcpStream::connect(edge.endpoint(endpoint).trim_start_matches("tcp://")).unwrap()
}

/// A PUSH that does not come back when it has lost its connection.
fn push_once(edge: &Edge) -> zmq::Socket {
    let socket = zmq::Context::new().socket(zmq::PUSH).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_sndtimeo(PATIENCE.as_millis() as i32).unwrap();
    socket.set_reconnect_ivl(-1).unwrap();
    socket.connect(edge.endpoint(1)).unwrap();
    socket
}

fn say(push: &zmq::Socket, client: &Client, text: &str) {
    push.send_multipart(["c", text], 0).unwrap();
    client.expect(text);
}

/// The beginning of ZeroMQ's greeting (RFC 23).
const HALF_GREETING: &[u8] = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03";

/// Waits until the other side has ended a connection.
fn expect_end(peer: &mut TcpStream) {
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut rest = [0; 256];
    loop {
        match peer.read(&mut rest) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return,
            Err(error) => panic!("it is still there: {error}"),
        }
    }
}

#[test]
fn silent_connections_take_bounded_descriptors_and_keep_no_backend_out() {
    const PLACES: usize = 30;
    const CROWD: usize = 600;
    let edge = edge_with_places(PLACES);
    let client = edge.connect("u", &["c"]);
    let before = push_once(&edge);
    say(&before, &client, "before");
    let descriptors = edge.descriptors();
    let mut crowd = Vec::new();
    for number in 0..CROWD {
        let mut peer = tcp(&edge, 1);
        if number % 2 == 0 {
            let _ = peer.write_all(HALF_GREETING);
        }
        crowd.push(peer);
        assert!(edge.descriptors() < descriptors + 120, "{} more", edge.descriptors());
    }
    let full = refused("full");
    eventually("those without a place are ended", || {
        edge.metric(&full) as usize >= CROWD - PLACES - 10
    });
    expect_log(&edge, "raise peers_max");
    eventually("the bound holds", || edge.metric("tidegate_ingest_peers") as usize <= PLACES);
    // Others go on coming while a backend does.
    let meanwhile = edge.push();
    for _ in 0..PLACES {
        crowd.push(tcp(&edge, 1));
    }
    say(&meanwhile, &client, "meanwhile");
    say(&before, &client, "after");
}

#[test]
fn long_handshakes_take_no_place_from_backends_that_have_finished_theirs() {
    const RUDE: usize = 3;
    let edge = edge_with_places(2 * RUDE);
    let client = edge.connect("u", &["c"]);
    let peers = || edge.metric("tidegate_ingest_peers") as usize;
    let ready = [&[6][..], &1_000_000_u64.to_be_bytes(), b"\x05READY", &[0; 100_000]].concat();
    let rude: Vec<_> = (0..RUDE)
        .map(|_| {
            let mut peer = tcp(&edge, 1);
            greet(&mut peer, &ready);
            peer
        })
        .collect();
    let backends: Vec<_> = (1..=RUDE)
        .map(|count| {
            let push = push_once(&edge);
            eventually("it is there", || peers() == RUDE + count);
            push
        })
        .collect();
    let crowd: Vec<_> = (0..100).map(|_| tcp(&edge, 1)).collect();
    rude.into_iter().chain(crowd).for_each(|mut peer| expect_end(&mut peer));
    for (place, push) in backends.iter().enumerate() {
        say(push, &client, &place.to_string());
    }
}

#[test]
fn backends_that_have_said_nothing_keep_their_places() {
    const PLACES: usize = 3;
    let edge = edge_with_places(PLACES);
    let client = edge.connect("u", &["c"]);
    let peers = || edge.metric("tidegate_ingest_peers") as usize;
    let backends: Vec<_> = (1..=PLACES)
        .map(|count| {
            let push = push_once(&edge);
            eventually("it is there", || peers() == count);
            push
        })
        .collect();
    // Older than a handshake may be.
    std::thread::sleep(Duration::from_secs(11));
    let mut crowd: Vec<_> = (0..100).map(|_| tcp(&edge, 1)).collect();
    crowd.iter_mut().for_each(expect_end);
    for (place, push) in backends.iter().enumerate() {
        say(push, &client, &place.to_string());
    }
    // A place that becomes free is the next one's.
    drop(backends);
    say(&edge.push(), &client, "next");
}

#[test]
fn a_handshake_that_is_not_finished_in_time_is_ended_and_told_of() {
    let edge = Edge::start();
    let start = Instant::now();
    let (mut silent, mut slow) = (tcp(&edge, 1), tcp(&edge, 2));
    for byte in HALF_GREETING {
        slow.write_all(&[*byte]).unwrap();
    }
    expect_end(&mut silent);
    expect_end(&mut slow);
    assert!(start.elapsed() >= Duration::from_secs(5), "handshakes have time");
    edge.expect_metric(&refused("handshake"), 2);
    expect_log(&edge, "did not finish its handshake");
}

#[test]
fn http_and_tls_at_a_zeromq_port_are_named() {
    let edge = Edge::start();
    let http = b"GET /metrics HTTP/1.1\r\nHost: localhost:5563\r\nAccept: */*\r\n\r\n";
    let tls = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03 and so on, and on, and on, and on, and on";
    for (first, reason, words) in [
        (&http[..], "http", "that is HTTP: the API is at internal.address"),
        (&tls[..], "tls", "that is TLS"),
    ] {
        for endpoint in 0..4 {
            let mut peer = tcp(&edge, endpoint);
            peer.write_all(first).unwrap();
            expect_end(&mut peer);
            edge.expect_metric(&refused(reason), i64::try_from(endpoint).unwrap() + 1);
        }
        expect_log(&edge, words);
    }
    assert_eq!(edge.metric("tidegate_ingest_malformed_total"), 0);
    let backend = Asker::connect(edge.endpoint(2));
    assert_eq!(backend.ask(&parts(&["c", "hello"]))["ok"], true);
}

#[test]
fn peers_that_do_not_get_through_the_handshake_are_told_apart() {
    let edge = Edge::start();
    let random: Vec<u8> = (1..500u32).map(|number| (number * 97 + 5) as u8).collect();
    let mut count = 0;
    for first in [&random[..], b"SSH-2.0-OpenSSH_9.2\r\n", &[0; 100]] {
        for endpoint in 0..4 {
            let mut peer = tcp(&edge, endpoint);
            peer.write_all(first).unwrap();
            // The edge may have closed already, at the first bytes that are no ZeroMQ.
            let _ = peer.shutdown(Shutdown::Write);
            expect_end(&mut peer);
            count += 1;
            edge.expect_metric(&refused("protocol"), count);
        }
    }
    expect_log(&edge, "is not ZeroMQ");
    for (endpoint, count) in (0..4).zip(1..) {
        let mut peer = tcp(&edge, endpoint);
        greet(&mut peer, b"");
        peer.shutdown(Shutdown::Write).unwrap();
        expect_end(&mut peer);
        edge.expect_metric(&refused("left"), count);
    }
    assert_eq!(edge.metric(&refused("wrong_socket")), 0);
    // One that says nothing more has its time.
    let mut silent = tcp(&edge, 1);
    greet(&mut silent, b"");
    expect_end(&mut silent);
    edge.expect_metric(&refused("handshake"), 1);
    assert_eq!(edge.metric(&refused("wrong_socket")), 0);
}

#[test]
fn peers_that_are_reset_are_not_refused() {
    let edge = Edge::start();
    for _ in 0..300 {
        let mut peer = tcp(&edge, 2);
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        greet(&mut peer, b"\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06DEALER");
        peer.write_all(b"\x01\x01c\x01\x01x\0\x09{\"rid\":1}").unwrap();
        let mut heard = Vec::new();
        while !heard.ends_with(b"}") {
            let mut chunk = [0; 256];
            let count = peer.read(&mut chunk).unwrap();
            heard.extend_from_slice(&chunk[..count]);
        }
        SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    }
    edge.expect_metric("tidegate_ingest_peers", 0);
    let metrics = edge.get("/metrics").unwrap().1;
    let refused = metrics.lines().filter(|line| line.starts_with("tidegate_ingest_peers_refused"));
    assert_eq!(refused.filter(|line| !line.ends_with(" 0")).collect::<Vec<_>>(), [""; 0]);
}

/// A path that goes with its owner.
struct SocketPath(PathBuf);

impl Drop for SocketPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_local_message_without_an_end_is_not_kept_for_ever() {
    let path = std::env::temp_dir().join(format!("tidegate-endless-{}", std::process::id()));
    let path = SocketPath(path);
    let edge = Edge::with(&[&format!(
        r#"ingest.endpoints=[{{kind="pull",endpoint="ipc://{}"}}]"#,
        path.0.display()
    )]);
    let client = edge.connect("u", &["c"]);
    let push = edge.socket(zmq::PUSH, 0);
    say(&push, &client, "before");
    let before = edge.memory();
    let mut peer = UnixStream::connect(&path.0).unwrap();
    peer.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    greet(&mut peer, b"\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04PUSH");
    // Parts of a message with more to come.
    let part = [&[1, 200][..], &[b'x'; 200]].concat();
    let chunk = part.repeat(MEGABYTE / 4 / part.len());
    let mut sent = 0;
    while sent < 256 * MEGABYTE && peer.write_all(&chunk).is_ok() {
        sent += chunk.len();
        say(&push, &client, "polite");
    }
    assert!(sent < 256 * MEGABYTE, "it went on and on");
    edge.expect_metric(&refused("unfinished"), 1);
    eventually("its memory is free", || edge.memory() < before + 48 * MEGABYTE);
    say(&push, &client, "after");
}

#[test]
fn subscriptions_to_events_are_bounded_in_bytes() {
    let endpoint = r#"ingest.endpoints=[{kind="pub",endpoint="tcp://127.0.0.1:*"},
        {kind="xpub",endpoint="tcp://127.0.0.1:*"}]"#;
    for place in [0, 1] {
        let edge = Edge::with(&[endpoint]);
        let before = edge.memory();
        let mut peer = tcp(&edge, place);
        peer.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
        greet(&mut peer, b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03SUB");
        let (mut sent, mut topic) = (0, 0u64);
        // Connections are looked at ten times a second.
        while sent < 64 * MEGABYTE {
            // An event: libzmq takes subscriptions in when it has something to send.
            drop(edge.connect("u", &[]));
            let mut subscriptions = Vec::new();
            for _ in 0..100 {
                topic += 1;
                let topic = topic.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_string().repeat(10);
                subscriptions.extend([0, topic.len() as u8 + 1, 1]);
                subscriptions.extend(topic.as_bytes());
            }
            if peer.write_all(&subscriptions).is_err() {
                break;
            }
            sent += subscriptions.len();
        }
        assert!(sent < 64 * MEGABYTE, "it went on and on");
        edge.expect_metric(&refused("subscriptions"), 1);
        expect_log(&edge, "more than 64 KiB of subscriptions");
        let grown = edge.memory().saturating_sub(before) / MEGABYTE;
        assert!(grown < 1000, "{grown} MiB");
    }
}

#[test]
fn backends_that_come_at_once_find_room() {
    let edge = Edge::start();
    edge.signal("STOP");
    let address = edge.endpoint(1).trim_start_matches("tcp://").parse().unwrap();
    // The kernel takes them for an edge that is busy.
    let connect = |_| TcpStream::connect_timeout(&address, Duration::from_millis(900));
    let crowd: Vec<_> = (0..300).map(connect).collect();
    edge.signal("CONT");
    assert!(crowd.iter().all(Result::is_ok), "those that found none try again after a second");
    drop(crowd);
    edge.publish("c", "x");
}
