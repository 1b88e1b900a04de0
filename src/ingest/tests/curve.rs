//! CURVE on every kind of endpoint: listed keys come in, everybody else stays out.

use super::*;
use crate::ingest::{Authorized, Curve};
use crate::model::{ClientId, Event, EventKind, NodeId, ShardId};

/// Long enough for a handshake that succeeds; one that is refused never does.
const REFUSED: Duration = Duration::from_millis(400);

fn keys() -> zmq::CurveKeyPair {
    zmq::CurveKeyPair::new().unwrap()
}

fn guarded(kind: Kind, server: &zmq::CurveKeyPair, authorized: Authorized) -> Endpoint {
    let curve = Curve::Server { secret_key: server.secret_key, authorized };
    Endpoint { curve: Some(curve), ..endpoint(kind) }
}

fn connect(
    edge: &Edge,
    kind: zmq::SocketType,
    server: &zmq::CurveKeyPair,
    client: Option<&zmq::CurveKeyPair>,
) -> zmq::Socket {
    let socket = edge.socket(kind);
    if let Some(client) = client {
        socket.set_curve_serverkey(&server.public_key).unwrap();
        socket.set_curve_publickey(&client.public_key).unwrap();
        socket.set_curve_secretkey(&client.secret_key).unwrap();
    }
    if kind == zmq::SUB {
        socket.set_subscribe(b"").unwrap();
    }
    socket.connect(&edge.addresses[0]).unwrap();
    socket
}

/// Whether anything gets through to the edge within the time of a handshake.
fn gets_through(edge: &Edge, socket: &zmq::Socket) -> bool {
    let deadline = Instant::now() + REFUSED;
    while Instant::now() < deadline {
        let _ = socket.send_multipart(["news", "x"], zmq::DONTWAIT);
        std::thread::sleep(Duration::from_millis(5));
        if edge.poll(0).is_some() {
            std::thread::sleep(Duration::from_millis(20));
            while edge.poll(0).is_some() {}
            return true;
        }
    }
    false
}

#[test]
fn inputs_let_in_listed_keys_only() {
    let (server, listed, stranger) = (keys(), keys(), keys());
    let peers = [(Kind::Sub, zmq::PUB), (Kind::Pull, zmq::PUSH), (Kind::Router, zmq::DEALER)];
    for (kind, peer) in peers {
        let authorized = Authorized::Keys(vec![keys().public_key, listed.public_key]);
        let edge = Edge::start(&[guarded(kind, &server, authorized)], 1, 4096);
        assert!(!gets_through(&edge, &connect(&edge, peer, &server, None)), "{kind:?}: NULL");
        let socket = connect(&edge, peer, &server, Some(&stranger));
        assert!(!gets_through(&edge, &socket), "{kind:?}: stranger");
        // A client that expects another server.
        assert!(!gets_through(&edge, &connect(&edge, peer, &stranger, Some(&listed))));
        let socket = connect(&edge, peer, &server, Some(&listed));
        assert!(gets_through(&edge, &socket), "{kind:?}: listed");
    }
}

#[test]
fn any_key_means_any_key_but_not_none() {
    let (server, stranger) = (keys(), keys());
    let edge = Edge::start(&[guarded(Kind::Pull, &server, Authorized::Any)], 1, 4096);
    assert!(!gets_through(&edge, &connect(&edge, zmq::PUSH, &server, None)));
    assert!(gets_through(&edge, &connect(&edge, zmq::PUSH, &server, Some(&stranger))));
}

#[test]
fn events_go_to_listed_keys_only() {
    let (server, listed, stranger) = (keys(), keys(), keys());
    for kind in [Kind::Pub, Kind::Xpub] {
        let authorized = Authorized::Keys(vec![listed.public_key]);
        let edge = Edge::start(&[guarded(kind, &server, authorized)], 1, 4096);
        let outsiders = [
            connect(&edge, zmq::SUB, &server, None),
            connect(&edge, zmq::SUB, &server, Some(&stranger)),
        ];
        let insider = connect(&edge, zmq::SUB, &server, Some(&listed));
        std::thread::sleep(REFUSED);
        let event = Event {
            kind: EventKind::Connected,
            client: ClientId { node: NodeId(0), shard: ShardId(0), row: 0, generation: 0 },
            personal: None,
            device: None,
            meta: None,
            shard: ShardId(0),
            sequence: 1,
        };
        edge.tell(0, Outbound::Event(Box::new(event)));
        assert_eq!(insider.recv_multipart(0).unwrap()[0], b"$event.connected");
        for outsider in &outsiders {
            assert_eq!(outsider.recv_bytes(zmq::DONTWAIT), Err(zmq::Error::EAGAIN));
        }
    }
}

#[test]
fn the_edge_as_client() {
    let (server, edge_keys) = (keys(), keys());
    let context = zmq::Context::new();
    let push = context.socket(zmq::PUSH).unwrap();
    push.set_linger(0).unwrap();
    push.set_curve_server(true).unwrap();
    push.set_curve_secretkey(&server.secret_key).unwrap();
    push.bind("tcp://127.0.0.1:*").unwrap();
    let curve = Curve::Client {
        public_key: edge_keys.public_key,
        secret_key: edge_keys.secret_key,
        server_key: server.public_key,
    };
    let address = push.get_last_endpoint().unwrap().unwrap();
    let pull = Endpoint::new(Kind::Pull, &address);
    let edge = Edge::start(&[Endpoint { bind: false, curve: Some(curve), ..pull }], 1, 16);
    push.send_multipart(["news", "secret"], 0).unwrap();
    assert_eq!(payload(&edge.command().1).1, "secret");
}
