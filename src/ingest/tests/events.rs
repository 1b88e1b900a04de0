//! Events on PUB and XPUB.

use super::*;
use crate::model::{ChannelName, ClientId, Event, EventKind, NodeId, ShardId};

fn event(sequence: u64) -> Event {
    Event {
        kind: EventKind::Message { text: true, payload: "hi".into() },
        client: ClientId { node: NodeId(0), shard: ShardId(0), row: 0, generation: 0 },
        personal: Some(ChannelName::personal("42").unwrap()),
        device: None,
        meta: None,
        shard: ShardId(0),
        sequence,
    }
}

#[test]
fn subscribers_hear_events() {
    let mut edge = Edge::start(&[endpoint(Kind::Pub), endpoint(Kind::Xpub)], 1, 1024);
    let subscribers = [edge.connect(zmq::SUB, 0), edge.connect(zmq::SUB, 1)];
    for subscriber in &subscribers {
        subscriber.set_subscribe(b"$event.message").unwrap();
    }
    std::thread::sleep(Duration::from_millis(200));
    edge.tell(0, Outbound::Event(Box::new(Event { kind: EventKind::Connected, ..event(1) })));
    edge.tell(0, Outbound::Event(Box::new(event(2))));
    for subscriber in &subscribers {
        let parts = subscriber.recv_multipart(0).unwrap();
        assert_eq!(parts[0], b"$event.message");
        assert_eq!(parts[1], b"hi");
        let meta =
            r#"{"client":"0000000000000000000000","user":"42","shard":0,"seq":2,"ct":"text"}"#;
        assert_eq!(parts[2], meta.as_bytes());
    }
    wait_for_count(&edge.metrics.events_sent, 4);
    // What shards said before the end is heard after it.
    for sequence in 3..1003 {
        edge.tell(0, Outbound::Event(Box::new(event(sequence))));
    }
    edge.stop();
    for subscriber in &subscribers {
        for sequence in 3..1003 {
            let parts = subscriber.recv_multipart(0).unwrap();
            let meta = String::from_utf8(parts[2].clone()).unwrap();
            assert!(meta.contains(&format!("\"seq\":{sequence},")), "{meta}");
        }
    }
}
