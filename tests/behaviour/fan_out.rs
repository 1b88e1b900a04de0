//! The promise: a publication reaches every right connection exactly once and in order, whichever
//! shard it is on, and no other.

use std::collections::BTreeMap;

use crate::harness::{Client, Edge, Heard, Raw, parts};

#[test]
fn a_channel_reaches_its_subscribers_and_nobody_else() {
    let edge = Edge::start();
    let clients: Vec<Client> = (0..20).map(|n| edge.connect(&n.to_string(), &["news"])).collect();
    let other = edge.connect("other", &["sport"]);
    assert_eq!(edge.publish("news", "hello"), 20);
    for client in &clients {
        client.expect("hello");
    }
    assert_eq!(edge.publish("sport", "only this"), 1);
    other.expect("only this");
    assert_eq!(edge.publish("new", "a prefix is another channel"), 0);
    assert_eq!(edge.publish("news2", "and so is a longer name"), 0);
    edge.expect_metric("tidegate_deliveries_total", 21);
    edge.expect_metric("tidegate_publications_unheard_total", 2);
}

#[test]
fn what_waits_in_several_channels_goes_out_in_one_send() {
    let edge = Edge::with(&["shards.count=1"]);
    let channels = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let client = edge.connect("1", &channels);
    let other = edge.connect("2", &channels[..1]);
    let before = edge.metric(r#"tidegate_sends_total{shard="0"}"#);
    let list = channels.map(|channel| format!("{channel:?}")).join(",");
    let meta = format!(r#"{{"op":"broadcast","channels":[{list}]}}"#);
    assert_eq!(edge.command("to all eight", &meta)["sessions"], 9);
    for _ in channels {
        client.expect("to all eight");
    }
    other.expect("to all eight");
    edge.expect_metric(r#"tidegate_sends_total{shard="0"}"#, before + 2);
    edge.expect_metric("tidegate_deliveries_total", 9);
    edge.expect_metric("tidegate_outbox_bytes", 0);
}

#[test]
fn a_user_is_reached_on_every_device() {
    let edge = Edge::start();
    let phone = edge.open("/websocket/7?device=phone");
    let laptop = edge.open("/websocket/7?device=laptop");
    let nameless = edge.open("/websocket/7");
    let other = edge.open("/websocket/77?device=phone");
    assert_eq!(edge.publish("#7", "to all"), 3);
    assert_eq!(edge.command("to all too", r#"{"op":"user","user":"7"}"#)["sessions"], 3);
    let one = edge.command("to the phone", r#"{"op":"user","user":"7","device":"phone"}"#);
    assert_eq!(one["sessions"], 1);
    edge.publish("#7", "end");
    for client in [&phone, &laptop, &nameless] {
        client.expect("to all");
        client.expect("to all too");
        if std::ptr::eq(client, &phone) {
            client.expect("to the phone");
        }
        client.expect("end");
    }
    edge.publish("#77", "nothing before");
    other.expect("nothing before");
}

#[test]
fn a_list_of_channels_reaches_each() {
    let edge = Edge::start();
    let a = edge.connect("a", &["x", "y", "z"]);
    let b = edge.connect("b", &["y"]);
    let meta = r##"{"op":"broadcast","channels":["x","y","nobody","x","#b"]}"##;
    // Once for each channel that a connection is in: x and y for a, y and #b for b.
    assert_eq!(edge.command("list", meta)["sessions"], 4);
    for client in [&a, &a, &b, &b] {
        client.expect("list");
    }
    edge.publish("#a", "end a");
    edge.publish("#b", "end b");
    a.expect("end a");
    b.expect("end b");
}

#[test]
fn a_channel_that_does_not_exist_keeps_no_other_from_its_message() {
    let edge = Edge::with(&["shards.count=1"]);
    let client = edge.connect("a", &["x", "y"]);
    let meta = r#"{"op":"broadcast","channels":["x","nowhere:z","y"]}"#;
    assert_eq!(edge.command("list", meta)["error"]["code"], "unknown_namespace");
    client.expect("list");
    client.expect("list");
}

#[test]
fn everybody_is_everybody_but_the_echo_door() {
    let edge = Edge::start();
    let clients: Vec<Client> = (0..30).map(|n| edge.connect(&n.to_string(), &[])).collect();
    let anonymous = edge.open("/websocket");
    let echo = edge.open("/echo");
    for round in 0..20 {
        let answer = edge.command(&format!("to all {round}"), r#"{"op":"all"}"#);
        assert_eq!(answer["sessions"], 31);
    }
    for client in clients.iter().chain([&anonymous]) {
        for round in 0..20 {
            client.expect(format!("to all {round}"));
        }
    }
    echo.say("nothing before");
    echo.expect("nothing before");
    drop(clients);
    edge.expect_metric("tidegate_connections", 2);
    assert_eq!(edge.command("the rest", r#"{"op":"all"}"#)["sessions"], 1);
    anonymous.expect("the rest");
}

#[test]
fn text_and_binary_arrive_as_what_they_are() {
    let edge = Edge::start();
    let a = edge.connect("a", &["c"]);
    edge.publish("c", "text 日本");
    edge.publish("c", b"\xff\x00");
    edge.publish("c", "");
    edge.ask(&parts(&["c", "as binary", r#"{"ct":"binary"}"#]));
    edge.ask(&parts(&["c", "{}", r#"{"ct":"json"}"#]));
    a.expect("text 日本");
    a.expect_binary(b"\xff\x00");
    a.expect("");
    a.expect_binary(b"as binary");
    a.expect("{}");
}

#[test]
fn every_length_form_of_a_frame_is_right() {
    let edge = Edge::start();
    let mut peers: Vec<Raw> = (0..4).map(|_| edge.raw("/websocket?channels=c")).collect();
    let lengths = [0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 1 << 20];
    for length in lengths {
        edge.publish("c", vec![b'x'; length]);
    }
    for peer in &mut peers {
        for length in lengths {
            peer.expect(0x81, &vec![b'x'; length]);
        }
    }
}

#[test]
fn large_messages_arrive_whole_and_in_order() {
    let edge = Edge::with(&["slow.lag_bytes_max=64MiB"]);
    let clients: Vec<Client> = (0..8).map(|n| edge.connect(&n.to_string(), &["c"])).collect();
    let message = |round: u8| format!("{round}").repeat(1 << 20);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..6 {
                assert_eq!(edge.publish("c", message(round)), 8);
            }
        });
        for client in &clients {
            for round in 0..6 {
                assert!(client.hear() == Heard::Text(message(round)), "round {round}");
            }
        }
    });
    edge.expect_metric("tidegate_log_bytes", 0);
}

#[test]
fn many_messages_to_many_connections_exactly_once_in_order() {
    const CONNECTIONS: usize = 200;
    const MESSAGES: usize = 200;
    let edge = Edge::with(&["slow.lag_bytes_max=64MiB"]);
    let channels = ["c0", "c1", "c2", "c3"];
    let of = |n: usize| [channels[n % 4], channels[(n / 4 + n + 1) % 4]];
    let clients: Vec<(usize, Client)> = (0..CONNECTIONS)
        .map(|n| {
            let [mut first, second] = of(n);
            if first == second {
                first = "alone";
            }
            (n, edge.connect(&n.to_string(), &[first, second]))
        })
        .collect();
    let push = edge.push();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..MESSAGES {
                for channel in channels {
                    let text = format!("{channel} {number}");
                    push.send_multipart([channel, &text], 0).unwrap();
                }
            }
        });
        for (n, client) in &clients {
            let [first, second] = of(*n);
            let joined: Vec<&str> =
                if first == second { vec![second] } else { vec![first, second] };
            let mut next: BTreeMap<&str, usize> = joined.iter().map(|name| (*name, 0)).collect();
            for _ in 0..MESSAGES * joined.len() {
                let Heard::Text(text) = client.hear() else { panic!("not a text") };
                let (channel, number) = text.split_once(' ').unwrap();
                let next = next.get_mut(channel).expect("a channel that was joined");
                assert_eq!(number, next.to_string(), "{channel} of connection {n}");
                *next += 1;
            }
        }
    });
    let expected: usize = clients
        .iter()
        .map(|(n, _)| if of(*n)[0] == of(*n)[1] { MESSAGES } else { 2 * MESSAGES })
        .sum();
    edge.expect_metric("tidegate_deliveries_total", expected as i64);
    // Nothing more comes: the next thing is this.
    edge.command("end", r#"{"op":"all"}"#);
    for (_, client) in &clients {
        client.expect("end");
    }
    edge.expect_metric("tidegate_log_bytes", 0);
    edge.expect_metric("tidegate_outbox_bytes", 0);
}

#[test]
fn four_shards_agree_on_one_order() {
    let edge = Edge::with(&["shards.count=4"]);
    let clients: Vec<Client> = (0..16).map(|n| edge.connect(&n.to_string(), &["c"])).collect();
    let pushes = [edge.push(), edge.push(), edge.push()];
    for number in 0..100 {
        for (publisher, push) in pushes.iter().enumerate() {
            let text = format!("{publisher}.{number}");
            push.send_multipart(["c", &text], 0).unwrap();
        }
    }
    let orders: Vec<Vec<Heard>> =
        clients.iter().map(|client| (0..300).map(|_| client.hear()).collect()).collect();
    for order in &orders {
        assert!(*order == orders[0], "every connection sees the home's order");
    }
    for publisher in 0..3 {
        let prefix = format!("{publisher}.");
        let numbers: Vec<String> = orders[0]
            .iter()
            .filter_map(|heard| match heard {
                Heard::Text(text) => text.strip_prefix(&prefix).map(str::to_owned),
                _ => None,
            })
            .collect();
        let expected: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        assert_eq!(numbers, expected);
    }
}
