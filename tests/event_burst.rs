//! A burst of tiny messages slows its sender down and loses no event.
//!
//! One read can bring ten thousand empty messages, more than the link to the ingest thread holds.
//! Events of other clients go the same way, so a hostile client must not be able to fill it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const MESSAGES: usize = 60_000;

struct Edge(Child);

impl Drop for Edge {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_burst_of_tiny_messages_loses_no_event() {
    let child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["serve", "--shards", "1", "--log-level", "error", "--set", "links.capacity=1024"])
        .args(["--public-address", "127.0.0.1:0", "--internal-address", "127.0.0.1:0"])
        .args(["--set", "ingest.endpoints=[{kind='pub', endpoint='tcp://127.0.0.1:*'}]"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut edge = Edge(child);
    let mut lines = BufReader::new(edge.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut address_of = |word: &str| {
        let line = lines.find(|line| line.contains(word)).unwrap();
        line.split('/').nth(2).unwrap().to_owned()
    };
    let (public, internal) = (address_of("clients"), address_of("operators"));

    let mut client = TcpStream::connect(public).unwrap();
    client.write_all(HANDSHAKE).unwrap();
    let mut answer = [0; 1024];
    let length = client.read(&mut answer).unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 101"), "the handshake is accepted");
    // Empty text messages, masked with zeros.
    client.write_all(&b"\x81\x80\0\0\0\0".repeat(MESSAGES)).unwrap();

    let deadline = Instant::now() + Duration::from_secs(30);
    let metric = |name: &str| {
        let page = get(&internal, "/metrics");
        let lines = page.lines().filter(|line| line.starts_with(name));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum::<usize>()
    };
    while metric("tidegate_messages_received_total") < MESSAGES {
        assert!(Instant::now() < deadline, "the messages were not read");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(metric("tidegate_events_dropped_total"), 0);
    assert!(metric("tidegate_reads_deferred_total") > 0, "the burst was larger than the link");
}

const HANDSHAKE: &[u8] = b"GET /websocket/1 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn get(address: &str, path: &str) -> String {
    let mut connection = TcpStream::connect(address).expect("the server listens");
    write!(connection, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("the server reads");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("the server answers");
    answer
}
