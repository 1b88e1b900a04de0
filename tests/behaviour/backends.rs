//! The promise: a backend that the edge does not let in, or ends, is counted and logged with the
//! reason, one that comes back is heard, and none takes memory without end.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{Asker, Edge, PATIENCE, eventually, greet};

const MEGABYTE: usize = 1 << 20;

fn refused(reason: &str) -> String {
    format!("tidegate_ingest_peers_refused_total{{reason=\"{reason}\"}}")
}

/// Waits until peers were refused for a reason, and a line of the log says so.
fn expect_refusal(edge: &Edge, reason: &str, words: &str) {
    let counter = refused(reason);
    eventually(&counter, || edge.metric(&counter) > 0);
    eventually(words, || {
        let log = edge.log();
        log.lines().any(|line| line.contains("ZeroMQ peer refused") && line.contains(words))
    });
}

/// Makes peers until one is refused for a reason. Some go so fast that the edge cannot see why.
fn try_until<T>(edge: &Edge, reason: &str, connect: impl Fn() -> T) {
    let counter = refused(reason);
    eventually(&counter, || {
        let known = edge.metric("tidegate_ingest_peers_refused_total");
        let _peer = connect();
        eventually("one is refused", || edge.metric("tidegate_ingest_peers_refused_total") > known);
        // Five are told of in a second.
        std::thread::sleep(Duration::from_millis(500));
        edge.metric(&counter) > 0
    });
}

#[test]
fn a_pub_that_connects_to_a_pull_is_told_of() {
    let edge = Edge::start();
    try_until(&edge, "wrong_socket", || edge.socket(zmq::PUB, 1));
    expect_refusal(&edge, "wrong_socket", "PUB does not fit PULL");
}

#[test]
fn a_part_that_is_too_long_is_told_of() {
    let edge = Edge::with(&[r#"ingest.endpoints=[
        {kind="sub",endpoint="tcp://127.0.0.1:*"},
        {kind="pull",endpoint="tcp://127.0.0.1:*",message_bytes_max="64KiB"},
        {kind="router",endpoint="tcp://127.0.0.1:*",message_bytes_max="1KiB"}]"#]);
    // A busy edge may look when such a connection is gone already.
    let mut pushes = Vec::new();
    eventually("one is counted", || {
        let push = edge.push();
        push.send_multipart([&b"c"[..], &[b'x'; 100_000]], 0).unwrap();
        pushes.push(push);
        std::thread::sleep(Duration::from_millis(100));
        edge.metric(&refused("too_long")) > 0
    });
    expect_refusal(&edge, "too_long", "longer than message_bytes_max");
    assert!(edge.log().contains("peer=127.0.0.1:") || edge.log().contains("peer=\"127.0.0.1:"));
}

#[test]
fn a_peer_that_goes_by_itself_is_not_refused() {
    let edge = Edge::start();
    // Most have a descriptor that one before had.
    for _ in 0..30 {
        edge.push().send_multipart(["c", "hello"], 0).unwrap();
        drop(TcpStream::connect(edge.endpoint(1).trim_start_matches("tcp://")).unwrap());
    }
    edge.expect_metric("tidegate_ingest_messages_total{socket=\"pull\"", 30);
    eventually("all are gone", || edge.metric("tidegate_ingest_peers") == 0);
    let metrics = edge.get("/metrics").unwrap().1;
    let refused = metrics.lines().filter(|line| line.starts_with("tidegate_ingest_peers_refused"));
    let others = refused.filter(|line| !line.contains("\"left\"") && !line.ends_with(" 0"));
    assert_eq!(others.collect::<Vec<_>>(), [""; 0], "{}", edge.log());
}

#[test]
fn a_peer_that_dies_while_it_asks_has_sent_nothing_too_long() {
    let edge = Edge::start();
    let command = b"\x01\x01c\x01\x01x\0\x09{\"rid\":1}";
    for _ in 0..5 {
        let address = edge.endpoint(2).trim_start_matches("tcp://");
        let mut peer = greeted(address, b"\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06DEALER");
        peer.write_all(&command.repeat(100_000)).unwrap();
        // Answers that it has not read are refused from now on, while commands wait at the edge.
    }
    eventually("all are gone", || edge.metric("tidegate_ingest_peers") == 0);
    assert_eq!(edge.metric(&refused("too_long")), 0, "{}", edge.log());
}

#[test]
fn a_peer_that_dies_in_a_flood_ends_nobody_else() {
    let edge = Edge::with(&["shards.count=1"]);
    let flood = [&b"\x01\x01c\0\x01x".repeat(20)[..], b"\x04\x07\x04PING\0\0"].concat();
    for _ in 0..10 {
        let mut peer = greet_as_push(&edge);
        peer.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        // Answers to its pings are unread when it goes, so its connection ends as one that is cut.
        peer.write_all(&flood.repeat(40_000)).ok();
    }
    eventually("all are gone", || edge.metric("tidegate_ingest_peers") == 0);
    edge.push().send_multipart(["c", "hello"], 0).unwrap();
    assert_eq!(edge.publish("c", "hello"), 0);
}

#[test]
fn clients_that_curve_does_not_let_in_are_told_of() {
    let edge_keys = zmq::CurveKeyPair::new().unwrap();
    let client_keys = zmq::CurveKeyPair::new().unwrap();
    let z85 = |key: &[u8]| zmq::z85_encode(key).unwrap();
    let endpoint = format!(
        r#"ingest.endpoints=[{{kind="router",endpoint="tcp://127.0.0.1:*",curve={{role="server",
            secret_key='{}',authorized_keys=['{}']}}}}]"#,
        z85(&edge_keys.secret_key),
        z85(&client_keys.public_key)
    );
    let edge = Edge::with(&[&endpoint]);
    try_until(&edge, "curve", || Asker::connect(edge.endpoint(0)));
    expect_refusal(&edge, "curve", "only one side has CURVE");
    std::thread::sleep(Duration::from_secs(1));
    let stranger = zmq::CurveKeyPair::new().unwrap();
    let socket = zmq::Context::new().socket(zmq::DEALER).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_curve_publickey(&stranger.public_key).unwrap();
    socket.set_curve_secretkey(&stranger.secret_key).unwrap();
    socket.set_curve_serverkey(&edge_keys.public_key).unwrap();
    socket.connect(edge.endpoint(0)).unwrap();
    expect_refusal(&edge, "unknown_key", "authorized_keys");
}

#[test]
fn a_backend_that_comes_back_with_its_routing_id_is_heard() {
    let edge = Edge::start();
    let connect = || {
        let socket = zmq::Context::new().socket(zmq::DEALER).unwrap();
        socket.set_identity(b"shop").unwrap();
        socket.set_rcvtimeo(PATIENCE.as_millis() as i32).unwrap();
        socket.set_linger(0).unwrap();
        // As a stopped process, it does not come back when it has lost its connection.
        socket.set_reconnect_ivl(-1).unwrap();
        socket.connect(edge.endpoint(2)).unwrap();
        socket
    };
    let ask = |socket: &zmq::Socket| {
        socket.send_multipart(["c", "hello"], 0).unwrap();
        let answer = socket.recv_multipart(0).expect("the edge answers");
        assert!(answer[0].starts_with(b"{\"ok\":true"), "{answer:?}");
    };
    let before = connect();
    ask(&before);
    let back = connect();
    ask(&back);
    expect_refusal(&edge, "replaced", "routing id");
    ask(&back);
    edge.expect_metric("tidegate_ingest_answers_lost_total", 0);
}

/// Waits until the edge takes no more than so many bytes.
fn expect_memory(edge: &Edge, most: usize) {
    let start = Instant::now();
    while edge.memory() > most {
        assert!(start.elapsed() < PATIENCE, "{} MiB stay", edge.memory() / MEGABYTE);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn long_messages_in_flight_are_bounded_in_bytes() {
    const MESSAGES: usize = 1500;
    let edge = Edge::with(&["shards.count=1", "slow.lag_bytes_max=64MiB"]);
    let client = edge.connect("u", &["c"]);
    let before = edge.memory();
    let payload = "x".repeat(MEGABYTE - 1000);
    let most = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let push = edge.push();
            push.set_sndhwm(4).unwrap();
            for _ in 0..MESSAGES {
                push.send_multipart(["c", &payload], 0).unwrap();
            }
        });
        let mut most = 0;
        while !sender.is_finished() {
            most = edge.memory().max(most);
            std::thread::sleep(Duration::from_millis(5));
        }
        most
    });
    let grown = most.saturating_sub(before) / MEGABYTE;
    assert!(grown < 500, "{grown} MiB");
    drop(client);
    edge.expect_metric("tidegate_ingest_messages_total{socket=\"pull\"", MESSAGES as i64);
    edge.expect_metric("tidegate_link_bytes", 0);
    edge.expect_metric("tidegate_ingest_queued_bytes", 0);
    expect_memory(&edge, before + 64 * MEGABYTE);
}

#[test]
fn what_is_received_at_once_does_not_count_as_waiting() {
    const CALM: usize = 20;
    let edge = Edge::with(&["shards.count=1"]);
    let is_over = AtomicBool::new(false);
    let calm = std::thread::scope(|scope| {
        // Somebody always says a little, which would hold memory back for ever.
        scope.spawn(|| {
            let push = edge.push();
            while !is_over.load(Ordering::Relaxed) {
                push.send_multipart(["quiet", "tick"], 0).unwrap();
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let received = "tidegate_ingest_messages_total{socket=\"pull\"";
        let (mut calm, mut before, start) = (0, 0, Instant::now());
        while calm < CALM && start.elapsed() < PATIENCE {
            // Each look is at another measurement.
            let messages = edge.metric(received);
            if messages < before + 20 {
                continue;
            }
            before = messages;
            let is_calm = edge.metric("tidegate_ingest_queued_bytes") == 0;
            calm = if is_calm { calm + 1 } else { 0 };
        }
        is_over.store(true, Ordering::Relaxed);
        calm
    });
    assert_eq!(calm, CALM, "bytes are said to wait that do not");
}

/// A PUSH made by hand.
fn greet_as_push(edge: &Edge) -> TcpStream {
    let address = edge.endpoint(1).trim_start_matches("tcp://");
    greeted(address, b"\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04PUSH")
}

/// A peer made by hand, with its READY command.
fn greeted(address: &str, ready: &[u8]) -> TcpStream {
    let mut peer = TcpStream::connect(address).unwrap();
    greet(&mut peer, ready);
    peer.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    peer
}

#[test]
fn a_message_without_an_end_is_not_kept_for_ever() {
    let edge = Edge::with(&["heartbeat.ping_interval=1h"]);
    let client = edge.connect("u", &["c"]);
    let push = edge.push();
    let before = edge.memory();
    for part_bytes in [0usize, 200] {
        let ended = edge.metric(&refused("unfinished"));
        // Parts of a message with more to come.
        let part = [&[1, part_bytes as u8][..], &vec![b'x'; part_bytes]].concat();
        let chunk = part.repeat(MEGABYTE / 4 / part.len());
        let (mut peer, mut sent, mut most) = (greet_as_push(&edge), 0, 0);
        while sent < 256 * MEGABYTE && peer.write_all(&chunk).is_ok() {
            sent += chunk.len();
            most = edge.memory().max(most);
            push.send_multipart(["c", "polite"], 0).unwrap();
            client.expect("polite");
        }
        assert!(sent < 256 * MEGABYTE, "it went on and on");
        edge.expect_metric(&refused("unfinished"), ended + 1);
        let grown = most.saturating_sub(before) / MEGABYTE;
        assert!(grown < 600, "{grown} MiB for {sent} bytes");
    }
    expect_memory(&edge, before + 48 * MEGABYTE);
    // A message that is long, of few parts, and slow to come is heard.
    let mut peer = greet_as_push(&edge);
    peer.write_all(b"\x01\x01c\x02").unwrap();
    let length = MEGABYTE - 100;
    peer.write_all(&(length as u64).to_be_bytes()).unwrap();
    for _ in 0..length / 1000 {
        peer.write_all(&[b'y'; 1000]).unwrap();
    }
    peer.write_all(&vec![b'y'; length % 1000]).unwrap();
    client.expect("y".repeat(length));
}
