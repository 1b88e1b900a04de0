//! Every entrance, odd messages, answers, counters of publishers.

use super::*;
use crate::model::{ChannelName, Epoch, Outcome, Position};

#[test]
fn push_publishes() {
    let (edge, push) = Edge::with_peer(Kind::Pull, zmq::PUSH, 2);
    push.send_multipart(["news", "hello"], 0).unwrap();
    let (shard, command, ticket) = edge.command();
    assert_eq!(payload(&command), ("news".into(), "hello".into()));
    assert_eq!(ticket, None);
    let news = ChannelName::parse(b"news").unwrap();
    assert_eq!(shard, edge.shards[0].homes.of(&news).index());
    assert_eq!(edge.metrics.messages_pull.value(), 1);
    assert_eq!(edge.metrics.bytes.value(), 9);
}

#[test]
fn pub_publishes_in_order_and_filters_by_prefix() {
    let mut sub = endpoint(Kind::Sub);
    sub.topics = vec!["h".into(), "n".into()];
    let edge = Edge::start(&[sub], 1, 4096);
    let publisher = edge.socket(zmq::PUB);
    publisher.set_sndhwm(10_000).unwrap();
    publisher.connect(&edge.addresses[0]).unwrap();
    join(&edge, &publisher);
    for number in 0..1000 {
        publisher.send_multipart(["other", "x"], 0).unwrap();
        publisher.send_multipart(["news", &number.to_string()], 0).unwrap();
    }
    for number in 0..1000 {
        assert_eq!(payload(&edge.command().1), ("news".into(), number.to_string()));
    }
}

#[test]
fn an_edge_that_connects() {
    let context = zmq::Context::new();
    let push = context.socket(zmq::PUSH).unwrap();
    push.set_linger(0).unwrap();
    push.bind("tcp://127.0.0.1:*").unwrap();
    let address = push.get_last_endpoint().unwrap().unwrap();
    let mut pull = Endpoint::new(Kind::Pull, &address);
    pull.bind = false;
    let edge = Edge::start(&[pull], 1, 16);
    push.send_multipart(["news", "hello"], 0).unwrap();
    assert_eq!(payload(&edge.command().1).1, "hello");
}

#[test]
fn dealer_and_req_are_answered() {
    let (edge, dealer) = Edge::with_peer(Kind::Router, zmq::DEALER, 2);
    dealer.send_multipart(["news", "a", r#"{"rid":5}"#], 0).unwrap();
    let (shard, command, ticket) = edge.command();
    assert_eq!(payload(&command).1, "a");
    edge.answer(shard, ticket, (true, 0, 3));
    let parts = dealer.recv_multipart(0).unwrap();
    assert_eq!(parts, [br#"{"rid":5,"ok":true,"sessions":3}"#]);

    let req = edge.connect(zmq::REQ, 0);
    req.send_multipart(["news", "b"], 0).unwrap();
    let (shard, command, ticket) = edge.command();
    assert_eq!(payload(&command).1, "b");
    edge.answer(shard, ticket, (true, 0, 0));
    assert_eq!(req.recv_multipart(0).unwrap(), [br#"{"ok":true,"sessions":0}"#]);
    wait_for_count(&edge.metrics.answers, 2);
}

#[test]
fn several_shards_make_one_answer() {
    let (edge, dealer) = Edge::with_peer(Kind::Router, zmq::DEALER, 4);
    let channels: Vec<_> = (0..64).map(|number| format!("c{number}")).collect();
    let meta = serde_json::json!({"op": "broadcast", "channels": channels, "rid": "b"});
    dealer.send_multipart(["$cmd", "x", &meta.to_string()], 0).unwrap();
    let mut names = Vec::new();
    let mut parts: Vec<_> = (0..4).map(|_| edge.command()).collect();
    for (shard, command, _) in &parts {
        let Command::Broadcast { channels, .. } = command else { panic!("{command:?}") };
        assert!(channels.iter().all(|name| edge.shards[0].homes.of(name).index() == *shard));
        names.extend(channels.iter().map(ChannelName::to_string));
    }
    names.sort();
    let mut expected = channels;
    expected.sort();
    assert_eq!(names, expected);
    // Shard 0 passes on to shard 3, whose answer overtakes everything.
    parts.sort_by_key(|part| part.0);
    let ticket = parts[0].2;
    edge.answer(3, ticket, (false, 0, 1000));
    for (shard, _, ticket) in parts {
        edge.answer(shard, ticket, (true, i32::from(shard == 0), 1));
    }
    assert_eq!(reply(&dealer), r#"{"rid":"b","ok":true,"sessions":1004}"#);

    dealer.send_multipart(["$cmd", "x", r#"{"op":"all"}"#], 0).unwrap();
    for _ in 0..4 {
        let (shard, command, ticket) = edge.command();
        assert!(matches!(command, Command::PublishAll { .. }));
        edge.answer(shard, ticket, (true, 0, 1));
    }
    assert_eq!(reply(&dealer), r#"{"ok":true,"sessions":4}"#);
}

#[test]
fn errors_are_answered_with_the_identity_of_the_request() {
    let (edge, dealer) = Edge::with_peer(Kind::Router, zmq::DEALER, 1);
    let code = |parts: &[&str]| {
        dealer.send_multipart(parts, 0).unwrap();
        let answer: serde_json::Value = serde_json::from_str(&reply(&dealer)).unwrap();
        assert_eq!(answer["ok"], false);
        (answer["rid"].clone(), answer["error"]["code"].as_str().unwrap().to_owned())
    };
    let meta = r#"{"qos":1,"rid":"r"}"#;
    assert_eq!(code(&["news", "", meta]), ("r".into(), "unsupported".into()));
    assert_eq!(code(&["news"]), (serde_json::Value::Null, "missing_payload".into()));
    assert_eq!(code(&[""]).1, "missing_payload");
    assert_eq!(edge.metrics.malformed.value(), 3);
    // A client identity whose shard this edge does not have.
    let meta = r#"{"op":"disconnect","client":"0000ff0000000000000000"}"#;
    assert_eq!(code(&["$cmd", "", meta]).1, "unknown_client");
    // What shards refuse.
    let meta = r#"{"op":"disconnect","client":"0000000000000000000000"}"#;
    dealer.send_multipart(["$cmd", "", meta], 0).unwrap();
    let (_, _, ticket) = edge.command();
    let error = Some(crate::model::CommandError::UnknownClient);
    let number = ticket.unwrap().number;
    let answer = Answer { number, firsts: 1, awaiting: 0, sessions: 0, error, outcome: None };
    edge.tell(0, Outbound::Answer(answer));
    assert!(reply(&dealer).contains(r#""code":"unknown_client""#));
}

#[test]
fn odd_messages_are_counted_and_harm_nobody() {
    let (edge, push) = Edge::with_peer(Kind::Pull, zmq::PUSH, 1);
    push.send_multipart(["only a topic"], 0).unwrap();
    push.send("", 0).unwrap();
    push.send_multipart([&b"\xff\xfe"[..], b"x"], 0).unwrap();
    push.send_multipart(["$cmd", "x"], 0).unwrap();
    push.send_multipart(["news", "x", "not json"], 0).unwrap();
    let mut parts = vec!["news", "many", ""];
    parts.resize(300, "surplus");
    push.send_multipart(&parts, 0).unwrap();
    push.send_multipart(["news", "last"], 0).unwrap();
    assert_eq!(payload(&edge.command().1).1, "many");
    assert_eq!(payload(&edge.command().1).1, "last");
    assert_eq!(edge.metrics.malformed.value(), 5);
    assert_eq!(edge.metrics.surplus_parts.value(), 297);
    assert_eq!(edge.metrics.messages_pull.value(), 7);
}

#[test]
fn surplus_parts_of_requests() {
    for kind in [zmq::DEALER, zmq::REQ] {
        let (edge, peer) = Edge::with_peer(Kind::Router, kind, 1);
        peer.send_multipart(["news", "x", "{}", "4", "5"], 0).unwrap();
        assert_eq!(payload(&edge.command().1).1, "x");
        assert_eq!(edge.metrics.surplus_parts.value(), 2);
    }
}

#[test]
fn the_peer_of_an_oversize_message_is_disconnected_and_others_live() {
    let mut pull = endpoint(Kind::Pull);
    pull.message_bytes_max = 1000;
    let edge = Edge::start(&[pull], 1, 16);
    let (bad, good) = (edge.connect(zmq::PUSH, 0), edge.connect(zmq::PUSH, 0));
    good.send_multipart(["news", "before"], 0).unwrap();
    assert_eq!(payload(&edge.command().1).1, "before");
    bad.send_multipart(["news", &"x".repeat(1001)], 0).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    good.send_multipart(["news", &"y".repeat(1000)], 0).unwrap();
    assert_eq!(payload(&edge.command().1).1, "y".repeat(1000));
    assert_eq!(edge.metrics.messages_pull.value(), 2);
}

#[test]
fn counters_of_publishers() {
    let (edge, push) = Edge::with_peer(Kind::Pull, zmq::PUSH, 1);
    for number in [1, 2, 5, 5, 6, 1, 2] {
        let meta = format!(r#"{{"src":"shop","seq":{number}}}"#);
        push.send_multipart(["news", &number.to_string(), &meta], 0).unwrap();
    }
    // A message that is refused was received all the same.
    push.send_multipart(["news", "x", r#"{"src":"shop","seq":3,"oops":1}"#], 0).unwrap();
    push.send_multipart(["news", "4", r#"{"src":"shop","seq":4}"#], 0).unwrap();
    // The second 5 was dropped; the second 1 and 2 belong to another life of the publisher.
    for number in [1, 2, 5, 6, 1, 2, 4] {
        assert_eq!(payload(&edge.command().1).1, number.to_string());
    }
    let metrics = &edge.metrics;
    let counts = (metrics.gaps.value(), metrics.duplicates.value(), metrics.restarts.value());
    assert_eq!(counts, (2, 1, 1));
}

#[test]
fn duplicates_are_answered() {
    let (edge, dealer) = Edge::with_peer(Kind::Router, zmq::DEALER, 1);
    for rid in 0..3 {
        let meta = format!(r#"{{"src":"shop","seq":7,"rid":{rid}}}"#);
        dealer.send_multipart(["news", "x", &meta], 0).unwrap();
    }
    for rid in 1..3 {
        let answer = reply(&dealer);
        let begin = format!(r#"{{"rid":{rid},"ok":false,"error":{{"code":"duplicate""#);
        assert!(answer.starts_with(&begin), "{answer}");
    }
    let (_, _, ticket) = edge.command();
    edge.answer(0, ticket, (true, 0, 1));
    assert_eq!(reply(&dealer), r#"{"rid":0,"ok":true,"sessions":1}"#);
    assert!(edge.poll(0).is_none());
}

#[test]
fn answers_say_where_publications_stand() {
    let (edge, dealer) = Edge::with_peer(Kind::Router, zmq::DEALER, 1);
    let name = |name: &str| ChannelName::parse(name.as_bytes()).unwrap();
    let at = |offset| Some(Position { offset, epoch: Epoch(0xe) });
    let answer = |places: Vec<(ChannelName, Option<Position>)>| {
        let (_, command, ticket) = edge.command();
        let number = ticket.unwrap().number;
        let outcome = Some(Box::new(Outcome::Published(places)));
        let answer = Answer { number, firsts: 1, awaiting: 0, sessions: 1, error: None, outcome };
        edge.tell(0, Outbound::Answer(answer));
        command
    };
    dealer.send_multipart(["a:b", "x", r#"{"id":"k","tags":{"lang":"en"}}"#], 0).unwrap();
    let command = answer(vec![(name("a:b"), at(7))]);
    let Command::Publish { publication, key, .. } = command else { panic!("{command:?}") };
    assert_eq!(key.as_deref(), Some("k"));
    assert_eq!(publication.tags(), [("lang".into(), "en".into())]);
    assert_eq!(reply(&dealer), r#"{"ok":true,"sessions":1,"offset":7,"epoch":"e"}"#);
    // Asked for with a list, answered with a list; "c" has no history.
    dealer.send_multipart(["$cmd", "x", r#"{"op":"broadcast","channels":["b","c"]}"#], 0).unwrap();
    answer(vec![(name("b"), at(1)), (name("c"), None)]);
    let positions = r#"[{"channel":"b","offset":1,"epoch":"e"}]"#;
    assert_eq!(reply(&dealer), format!(r#"{{"ok":true,"sessions":1,"positions":{positions}}}"#));
}

#[test]
fn an_answer_whose_peer_is_gone_is_counted() {
    let (edge, dealer) = Edge::with_peer(Kind::Router, zmq::DEALER, 1);
    dealer.send_multipart(["news", "x"], 0).unwrap();
    let (_, _, ticket) = edge.command();
    drop(dealer);
    std::thread::sleep(Duration::from_millis(200));
    edge.answer(0, ticket, (true, 0, 1));
    wait_for_count(&edge.metrics.answers_lost, 1);
    assert_eq!(edge.metrics.answers.value(), 0);
}

#[test]
fn start_up_errors_name_the_endpoint() {
    let error = |endpoint: Endpoint| {
        let (_, mut askers) = mesh::build(1, 16, 7).unwrap();
        let port = AskerPort::take(&mut askers, Asker::Ingest);
        let bound = Ingest::bind(&[endpoint], port, Arc::default(), Box::new(|| 0));
        bound.unwrap_err().to_string()
    };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", taken.local_addr().unwrap());
    let in_use = error(Endpoint::new(Kind::Pull, &address));
    assert!(in_use.contains(&address) && in_use.contains("in use"), "{in_use}");
    for address in
        ["tcp://1.2.3.4:5560", "tcp://nowhere", "udp://x:1", "ipc:///no/such/folder/x", "a\0b", ""]
    {
        let text = error(Endpoint::new(Kind::Pull, address));
        assert!(text.contains(&address.escape_debug().to_string()), "{text}");
    }
}

#[test]
fn ipv6_and_ipc() {
    let path = std::env::temp_dir().join(format!("tidegate-ingest-{}", std::process::id()));
    let ipc = Endpoint::new(Kind::Pull, &format!("ipc://{}", path.display()));
    let edge = Edge::start(&[ipc, Endpoint::new(Kind::Pull, "tcp://[::1]:*")], 1, 16);
    let by_ipc = edge.connect(zmq::PUSH, 0);
    by_ipc.send_multipart(["news", "ipc"], 0).unwrap();
    let push = edge.socket(zmq::PUSH);
    push.set_ipv6(true).unwrap();
    push.connect(&edge.addresses[1]).unwrap();
    push.send_multipart(["news", "ipv6"], 0).unwrap();
    let mut heard = [payload(&edge.command().1).1, payload(&edge.command().1).1];
    heard.sort();
    assert_eq!(heard, ["ipc", "ipv6"]);
    drop(edge);
    let _ = std::fs::remove_file(path);
}
