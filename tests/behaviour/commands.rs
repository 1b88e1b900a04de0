//! The promise: every command of a managed client is answered once, in good time and in bounded
//! memory, whatever others do meanwhile.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::harness::{Edge, HMAC_SECRET, Managed, frame, token};

/// Reads replies until every command of a range has one; pushes are passed over.
#[track_caller]
fn replies(client: &Managed, numbers: std::ops::Range<u64>) -> Vec<Value> {
    let mut missing: HashSet<u64> = numbers.collect();
    let mut replies = Vec::new();
    while !missing.is_empty() {
        let message = client.hear();
        if message["push"].is_object() {
            continue;
        }
        let id = message["id"].as_u64().expect("an id");
        assert!(missing.remove(&id), "a second reply: {message}");
        replies.push(message);
    }
    replies
}

#[test]
fn a_subscribe_is_answered_although_a_backend_takes_the_channel_away() {
    let edge = Edge::with(&[HMAC_SECRET]);
    let client = Managed::connect_as(&edge, "42");
    let channels: Vec<String> = (0..40).map(|n| format!("c{n}")).collect();
    let list = json!(channels);
    let frame_of = |method: &str, first: u64| {
        let command = |(channel, id): (&String, u64)| {
            json!({ "id": id, method: { "channel": channel } }).to_string()
        };
        channels.iter().zip(first..).map(command).collect::<Vec<_>>().join("\n")
    };
    let mut refused = 0;
    for round in 0..50 {
        let first = 100 + 80 * round;
        client.say(&frame_of("subscribe", first));
        edge.command("", &format!(r#"{{"op":"unsubscribe","user":"42","channels":{list}}}"#));
        for reply in replies(&client, first..first + 40) {
            let is_subscribed = reply["subscribe"].is_object();
            assert!(is_subscribed || reply["error"]["code"] == 103, "{reply}");
            refused += u32::from(!is_subscribed);
        }
        client.say(&frame_of("unsubscribe", first + 40));
        replies(&client, first + 40..first + 80);
    }
    println!("{refused} were taken away before they were there");
}

#[test]
fn an_empty_epoch_is_the_present_one() {
    let edge = Edge::with(&["channels.history_size=10"]);
    for payload in ["1", "2", "3"] {
        edge.publish("news", payload);
    }
    let client = Managed::connect(&edge);
    let history = |since: Value| json!({ "channel": "news", "limit": -1, "since": since });
    for since in [json!({ "offset": 1, "epoch": "" }), json!({ "offset": 1 })] {
        let result = client.done("history", history(since));
        let data: Vec<_> = result["publications"].as_array().unwrap().iter().collect();
        assert_eq!((&data[0]["data"], &data[1]["data"]), (&json!(2), &json!(3)));
    }
    for epoch in ["beef", "not one of ours"] {
        let since = json!({ "offset": 1, "epoch": epoch });
        assert_eq!(client.refused("history", history(since)), 112, "{epoch}");
    }
    let request = json!({ "channel": "news", "recover": true, "offset": 1, "epoch": "" });
    let result = client.done("subscribe", request);
    assert_eq!(result["recovered"], true, "{result}");
    assert_eq!(result["publications"].as_array().unwrap().len(), 2);
}

#[test]
fn users_are_counted_once() {
    let edge = Edge::with(&[HMAC_SECRET]);
    let clients = ["42", "42", "43"].map(|user| Managed::connect_as(&edge, user));
    let _nobody = Managed::connect(&edge);
    edge.expect_metric("tidegate_users", 2);
    drop(clients);
    edge.expect_metric("tidegate_users", 0);
}

/// Fills channels with so many publications of 10 KB each.
fn fill(edge: &Edge, channels: &[&str], count: usize) {
    for channel in channels {
        for n in 0..count {
            edge.publish(channel, format!("\"{n}{}\"", "x".repeat(10_000)));
        }
    }
}

/// Whether a subscription has all that it asked for; otherwise it has nothing and says so.
#[track_caller]
fn is_recovered(result: &Value, count: usize) -> bool {
    let publications = result["publications"].as_array().map_or(0, Vec::len);
    let is_recovered = result["recovered"] == true;
    assert_eq!(publications, if is_recovered { count } else { 0 }, "never a part");
    assert_eq!(result["was_recovering"], true);
    is_recovered
}

#[test]
fn recoveries_come_one_by_one_and_those_of_connect_as_far_as_there_is_room() {
    let room = "client.reply_bytes_max=1MiB";
    let edge = Edge::with(&[HMAC_SECRET, "channels.history_size=100", room]);
    let channels: Vec<String> = (0..20).map(|n| format!("c{n}")).collect();
    let names: Vec<&str> = channels.iter().map(String::as_str).collect();
    fill(&edge, &names, 10);
    let client = Managed::connect_as(&edge, "42");
    let subscribe = |(channel, id): (&&str, u32)| {
        let request = json!({ "channel": channel, "recover": true, "epoch": "", "offset": 0 });
        json!({ "id": id, "subscribe": request }).to_string()
    };
    let frame: Vec<String> = names.iter().zip(100..).map(subscribe).collect();
    client.say(&frame.join("\n"));
    let replies = replies(&client, 100..120);
    assert!(replies.iter().all(|reply| is_recovered(&reply["subscribe"], 10)));

    let other = Managed::open(&edge);
    let position = json!({ "recover": true, "epoch": "", "offset": 0 });
    let positions: serde_json::Map<_, _> =
        channels.iter().map(|channel| (channel.clone(), position.clone())).collect();
    let token = token(json!({ "sub": "43", "channels": channels }));
    let result = other.done("connect", json!({ "token": token, "subs": positions }));
    let subs = names.iter().filter(|name| is_recovered(&result["subs"][**name], 10)).count();
    assert_eq!(subs, 10, "a megabyte of them");
    let lost = names.iter().find(|name| result["subs"][**name]["recovered"] != true).unwrap();
    assert_eq!(result["subs"][*lost]["offset"], 10, "it goes on from here");
    edge.expect_metric("tidegate_recoveries_total{result=\"recovered\"", 30);
}

#[test]
fn a_long_history_comes_in_parts() {
    let edge = Edge::with(&["channels.history_size=600"]);
    fill(&edge, &["news"], 600);
    let client = Managed::connect(&edge);
    let (mut offset, mut parts) = (0, 0);
    while offset < 600 {
        let since = json!({ "offset": offset, "epoch": "" });
        let request = json!({ "channel": "news", "limit": -1, "since": since });
        let result = client.done("history", request);
        assert_eq!(result["offset"], 600);
        for publication in result["publications"].as_array().unwrap() {
            offset += 1;
            assert_eq!(publication["offset"], offset);
        }
        parts += 1;
        assert!(parts < 10, "no progress");
    }
    assert!(parts > 1, "{parts} parts");
}

/// A frame of commands that leave a channel.
fn commands(numbers: std::ops::Range<u64>) -> Vec<u8> {
    let line = |id| json!({ "id": id, "unsubscribe": { "channel": "a" } }).to_string();
    frame(0x81, numbers.map(line).collect::<Vec<_>>().join("\n").as_bytes())
}

#[test]
fn what_waits_behind_connect_is_a_frame_and_no_more() {
    let edge = Edge::with(&[HMAC_SECRET, "websocket.memory_max=1MiB"]);
    for user in 0..16 {
        let mut peer = edge.raw("/connection/websocket");
        let token = token(json!({ "sub": user.to_string() }));
        let connect = json!({ "id": 1, "connect": { "token": token } }).to_string();
        let mut frames = vec![frame(0x81, connect.as_bytes()), commands(2..900)];
        frames.extend((4000..5000).map(|id| commands(id..id + 1)));
        peer.send(&frames.concat());
        for id in (1..900_u64).chain(4000..5000) {
            let reply = peer.hear().unwrap();
            let reply: Value = serde_json::from_slice(&reply.payload).unwrap();
            assert_eq!(reply["id"], id);
        }
    }
    // For some of the users another shard had to answer first.
    assert!(edge.metric("tidegate_reads_paused_total") > 0);
    edge.expect_metric("tidegate_client_commands_parked", 0);
    edge.expect_metric("tidegate_half_read_bytes", 0);
}

#[test]
fn full_links_between_shards_slow_clients_down_and_lose_nothing() {
    // Clients are read one after the other, so on a slow machine the last ones wait long.
    let patience = ["heartbeat.ping_interval=10m", "slow.age_max=10m"];
    let edge =
        Edge::with(&[&["links.capacity=16", "channels.history_size=1"], &patience[..]].concat());
    let clients: Vec<Managed> = (0..40).map(|_| Managed::connect(&edge)).collect();
    for client in &clients {
        let ask = |id: u64| {
            let channel = format!("c{}", id % 10);
            json!({ "id": id, "history": { "channel": channel } }).to_string()
        };
        client.say(&(10..1010).map(ask).collect::<Vec<_>>().join("\n"));
    }
    for client in &clients {
        assert!(replies(client, 10..1010).iter().all(|reply| reply["history"].is_object()));
    }
    assert!(edge.metric("tidegate_link_deferrals_total") > 0);
    edge.expect_metric("tidegate_link_parked", 0);
}
