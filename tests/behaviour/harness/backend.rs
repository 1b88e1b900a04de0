//! Backends: one that asks and waits for answers, and one that hears events.

use std::io::{Read, Write};

use serde_json::{Value, json};

use crate::harness::{Client, Edge, PATIENCE, token};

/// A DEALER on the edge's ROUTER endpoint.
pub struct Asker(zmq::Socket);

impl Asker {
    /// Connects.
    pub fn connect(endpoint: &str) -> Self {
        let socket = zmq::Context::new().socket(zmq::DEALER).unwrap();
        socket.set_rcvtimeo(PATIENCE.as_millis() as i32).unwrap();
        socket.set_linger(0).unwrap();
        socket.set_ipv6(endpoint.contains('[')).unwrap();
        socket.connect(endpoint).unwrap();
        Self(socket)
    }

    /// Sends a message and waits for the answer.
    pub fn ask(&self, parts: &[&[u8]]) -> Value {
        self.send(parts);
        self.answer()
    }

    /// Sends a message.
    pub fn send(&self, parts: &[&[u8]]) {
        self.0.send_multipart(parts, 0).unwrap();
    }

    /// The next answer.
    pub fn answer(&self) -> Value {
        let parts = self.0.recv_multipart(0).expect("the edge answers");
        assert_eq!(parts.len(), 1, "an answer has one part");
        serde_json::from_slice(&parts[0]).unwrap()
    }
}

/// Says by hand what a ZeroMQ peer says first (ZMTP 3.0, ZeroMQ RFC 23), with this READY command.
pub fn greet(peer: &mut (impl Read + Write), ready: &[u8]) {
    let mut greeting = [0; 64];
    (greeting[0], greeting[9], greeting[10]) = (0xff, 0x7f, 3);
    greeting[12..16].copy_from_slice(b"NULL");
    peer.write_all(&greeting).unwrap();
    peer.read_exact(&mut greeting).unwrap();
    peer.write_all(ready).unwrap();
}

/// A message of several parts.
pub fn parts<'a>(parts: &[&'a str]) -> Vec<&'a [u8]> {
    parts.iter().map(|part| part.as_bytes()).collect()
}

/// A SUB on the edge's PUB endpoint.
pub struct Events(zmq::Socket);

/// One event.
#[derive(Clone, Debug)]
pub struct Event {
    /// What its topic says behind `$event.`.
    pub name: String,
    /// What the client sent.
    pub payload: Vec<u8>,
    /// Who, and the details.
    pub meta: Value,
}

/// The user of the connections that find out whether events arrive.
const PROBE: &str = "probe";

impl Events {
    /// Subscribes, and makes connections until their events arrive: then all later ones do.
    pub fn listen(edge: &Edge) -> Self {
        let socket = edge.socket(zmq::SUB, 3);
        socket.set_linger(0).unwrap();
        socket.set_subscribe(b"$event.").unwrap();
        socket.set_rcvtimeo(50).unwrap();
        // For edges that want one.
        let token = token(json!({ "sub": PROBE }));
        loop {
            drop(Client::open(edge.public, &format!("/websocket/{PROBE}?token={token}")));
            if socket.recv_multipart(0).is_ok() {
                break;
            }
        }
        socket.set_rcvtimeo(PATIENCE.as_millis() as i32).unwrap();
        Self(socket)
    }

    /// The next event of any connection but the probes; every event is well-formed. Those of users
    /// and channels come from other shards, in between.
    pub fn next(&self) -> Event {
        loop {
            let event = self.next_of_all();
            let is_of_connection =
                matches!(event.name.as_str(), "connected" | "message" | "disconnected");
            if is_of_connection && event.meta["user"] != PROBE {
                return event;
            }
        }
    }

    /// The next event, those of probes, users and channels among them.
    pub fn next_of_all(&self) -> Event {
        let parts = self.0.recv_multipart(0).expect("an event comes");
        let [topic, payload, meta] = &parts[..] else { panic!("{} parts", parts.len()) };
        let topic = std::str::from_utf8(topic).unwrap();
        let name = topic.strip_prefix("$event.").unwrap().to_owned();
        Event { name, payload: payload.clone(), meta: serde_json::from_slice(meta).unwrap() }
    }

    /// The next event is of this kind and user.
    #[track_caller]
    pub fn expect(&self, name: &str, user: &str) -> Event {
        let event = self.next();
        assert_eq!((event.name.as_str(), event.meta["user"].as_str()), (name, Some(user)));
        event
    }
}
