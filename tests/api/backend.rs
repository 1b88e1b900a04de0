//! Promises: the API asks for its key; every method becomes its command and its outcome the reply
//! that published clients read; what fails says so with the protocol's codes; nothing is half
//! done.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate::mesh::{Asker, Envelope, ShardPort};
use tidegate::model::{
    Answer, ChannelName, ClientId, ClientInfo, Command, CommandError, Epoch, NodeId, Outcome,
    Position, Publication, Push, PushBody, ShardId, Target,
};

use crate::edge::{Edge, KEY, LINK_CAPACITY, Response, command, say};

pub const POSITION: Position = Position { offset: 7, epoch: Epoch(0xab) };
const CLIENT: ClientId = ClientId { node: NodeId(0), shard: ShardId(1), row: 2, generation: 3 };

/// Plays a shard that does what it is asked: channels of the namespace `gone` do not exist, those
/// of `plain` have no history.
pub fn shard(port: &ShardPort, envelope: Envelope) {
    let (command, ticket) = command(envelope);
    let mut answer = Answer {
        number: ticket.number,
        firsts: 1,
        awaiting: 0,
        sessions: 1,
        error: None,
        outcome: None,
    };
    match outcome(command, port.shard) {
        Ok(outcome) => answer.outcome = outcome.map(Box::new),
        Err((outcome, error)) => (answer.outcome, answer.error) = (outcome, Some(error)),
    }
    say(port, ticket, answer);
}

type Failed = (Option<Box<Outcome>>, CommandError);

fn outcome(command: Command, shard: ShardId) -> Result<Option<Outcome>, Failed> {
    let namespace = |channel: &ChannelName| channel.namespace().unwrap_or_default().to_owned();
    let place = |channel: ChannelName| {
        let position = (namespace(&channel) != "plain").then_some(POSITION);
        (channel, position)
    };
    let without = match &command {
        Command::Presence { .. } | Command::PresenceStats { .. } => CommandError::NoPresence,
        _ => CommandError::NoHistory,
    };
    let exists = |channel: &ChannelName| match &*namespace(channel) {
        "gone" => Err((None, CommandError::UnknownNamespace)),
        "plain" => Err((None, without)),
        _ => Ok(()),
    };
    Ok(match command {
        Command::Publish { channel, .. } if namespace(&channel) == "gone" => {
            return Err((None, CommandError::UnknownNamespace));
        }
        Command::Publish { channel, .. } => Some(Outcome::Published(vec![place(channel)])),
        Command::Broadcast { channels, .. } => {
            let count = channels.len();
            let there = channels.into_iter().filter(|channel| namespace(channel) != "gone");
            let published: Vec<_> = there.map(place).collect();
            let is_whole = published.len() == count;
            let published = Outcome::Published(published);
            if !is_whole {
                return Err((Some(Box::new(published)), CommandError::UnknownNamespace));
            }
            Some(published)
        }
        Command::History { channel, filter } => {
            exists(&channel)?;
            if filter.since.is_some_and(|(epoch, _)| !epoch.admits(POSITION.epoch)) {
                return Err((None, CommandError::UnrecoverablePosition(POSITION.epoch)));
            }
            let publication = Publication::new(true, b"{\"a\":1}", 0).into();
            let body = PushBody::Publication { publication, offset: 7 };
            let pushes = vec![Push::new(channel, body).into(); filter.limit.unwrap_or(9).min(1)];
            Some(Outcome::History(pushes, POSITION))
        }
        Command::Presence { channel } => {
            exists(&channel)?;
            let (user, connection) = ("42".into(), Some("{\"name\":\"Ann\"}".into()));
            let info = ClientInfo { client: CLIENT, user, connection, channel: None };
            Some(Outcome::Presence(vec![info.into()]))
        }
        Command::PresenceStats { channel } => {
            exists(&channel)?;
            Some(Outcome::PresenceStats(3, 2))
        }
        Command::HistoryRemove { channel } => {
            exists(&channel)?;
            None
        }
        Command::UserStatus { .. } => Some(Outcome::UserStatus(vec![(CLIENT, None)])),
        Command::Channels { pattern } => {
            let all = ["news", "chat:1", "chat:2"].into_iter();
            let names = all.filter(|name| pattern.is_none() || name.starts_with("chat:"));
            let count = u32::from(shard.0) + 1;
            let name = |name: &str| (ChannelName::parse(name.as_bytes()).unwrap(), count);
            Some(Outcome::Channels(names.map(name).collect()))
        }
        Command::Disconnect { target: Target::Client(client), .. } if client != CLIENT => {
            return Err((None, CommandError::UnknownClient));
        }
        _ => None,
    })
}

#[track_caller]
fn assert_result(response: &Response, result: Value) {
    assert_eq!((response.status, response.json()), (200, json!({ "result": result })));
    assert_eq!(response.header("content-type"), Some("application/json"));
}

#[test]
fn every_method_is_answered_as_published_clients_expect() {
    let client = CLIENT.to_string();
    let info = json!({"client": client, "user": "42", "conn_info": {"name": "Ann"}});
    let place = json!({"offset": 7, "epoch": "ab"});
    let cases = [
        (
            "publish",
            json!({"channel": "news", "data": {"a": 1}, "tags": {"t": "1"}}),
            json!({"offset": 7, "epoch": "ab", "sessions": 1}),
        ),
        ("publish", json!({"channel": "plain:a", "b64data": "AA=="}), json!({"sessions": 1})),
        ("subscribe", json!({"user": "42", "channel": "news"}), json!({"sessions": 1})),
        ("unsubscribe", json!({"user": "42", "channel": "news"}), json!({"sessions": 1})),
        ("disconnect", json!({"user": "42", "client": client}), json!({"sessions": 1})),
        ("refresh", json!({"user": "42", "expired": true}), json!({"sessions": 1})),
        (
            "history",
            json!({"channel": "news", "limit": 5}),
            json!({
                "publications": [{"offset": 7, "data": {"a": 1}}], "offset": 7, "epoch": "ab",
            }),
        ),
        (
            "history",
            json!({"channel": "news"}),
            json!({"publications": [], "offset": 7, "epoch": "ab"}),
        ),
        ("history_remove", json!({"channel": "news"}), json!({})),
        ("presence", json!({"channel": "news"}), json!({"presence": {&client: info}})),
        ("presence_stats", json!({"channel": "news"}), json!({"num_clients": 3, "num_users": 2})),
        (
            "user_status",
            json!({"user": "42"}),
            json!({"user": "42", "online": true, "sessions": [{"client": client}]}),
        ),
        (
            "channels",
            json!({"pattern": "chat:*"}),
            json!({"channels": {"chat:1": {"num_clients": 3}, "chat:2": {"num_clients": 3}}}),
        ),
    ];
    let mut edge = Edge::with_key();
    edge.with_shards(shard, |edge| {
        for (method, body, result) in cases {
            assert_result(&edge.call(method, &body.to_string()), result);
        }
        let body = json!({"channels": ["plain:a", "gone:b", "news", "plain:a"], "data": 1});
        let response = edge.call("broadcast", &body.to_string()).json();
        let responses = response["result"]["responses"].as_array().unwrap().clone();
        assert_eq!(responses[0], json!({"result": {}}));
        assert_eq!(responses[1]["error"]["code"], 102);
        assert_eq!((&responses[2], &responses[3]), (&json!({"result": place}), &responses[0]));
    });
}

#[test]
fn info_tells_of_the_one_node() {
    let edge = Edge::with_key();
    for (shard, count) in edge.shards.iter().zip([3, 4]) {
        shard.connections.set(count);
        shard.subscriptions.set(10 * count);
        shard.users.set(count - 1);
        shard.channels.set(2);
    }
    let node = json!({
        "uid": "0123", "name": "edge-1", "version": "1.2.3", "uptime": 0,
        "num_clients": 7, "num_users": 5, "num_subs": 70, "num_channels": 4,
    });
    for body in ["", "{}"] {
        let mut result = edge.call("info", body).json()["result"].clone();
        let process = result["nodes"][0].as_object_mut().unwrap().remove("process").unwrap();
        assert!(process["rss"].as_u64().unwrap() > 100_000, "{process}");
        assert_eq!(result, json!({ "nodes": [node] }));
    }
}

#[test]
fn nobody_gets_in_without_the_key() {
    let edge = Edge::with_key();
    let bearer = format!("Bearer {KEY}");
    for (name, value, word) in [
        ("X-API-Key", "wrong", "not the one"),
        ("Authorization", "apikey wrong", "not the one"),
        ("Authorization", &*bearer, "apikey KEY"),
        ("X-Other", KEY, "no key was sent"),
    ] {
        for path in ["/api", "/api/info", "/api/publish", "/api/nothing"] {
            let response = edge.request("POST", path, &[(name, value)], "{}");
            response.assert_fault(401, 101, word);
            assert_eq!(response.header("www-authenticate"), Some("apikey"));
        }
    }
    let key = format!("apikey {KEY}");
    let response = edge.request("POST", "/api/info", &[("Authorization", &key)], "{}");
    assert_eq!(response.status, 200);
    let closed = Edge::start(false);
    closed.call("info", "{}").assert_fault(401, 101, "api.key");
    // Operators' paths ask for none.
    assert_eq!((closed.get("/health").status, closed.get("/metrics").status), (200, 200));
}

#[test]
fn an_open_api_is_closed_to_foreign_pages() {
    let edge = Edge::start(true);
    let json = ("Content-Type", "application/json");
    let info = |headers: &[(&str, &str)]| edge.request("POST", "/api/info", headers, "{}");
    assert_eq!(info(&[json]).status, 200);
    info(&[json, ("Host", "evil.example")]).assert_fault(403, 103, "Host");
    info(&[json, ("Origin", "http://evil.example")]).assert_fault(403, 103, "origins");
    info(&[("Content-Type", "text/plain")]).assert_fault(415, 107, "application/json");
    let metrics = edge.get("/metrics").body;
    assert!(metrics.contains("tidegate_api_errors_total{code=\"103\"} 2\n"), "{metrics}");
    assert!(metrics.contains("tidegate_api_requests_total{method=\"info\"} 1\n"), "{metrics}");
}

#[test]
fn failures_stand_in_the_body_or_in_the_status() {
    let cases = [
        ("publish", r#"{"channel":"gone:a","data":1}"#, 102, 404, "[namespaces.gone]"),
        ("publish", r#"{"channel":"news","data":1,"delta":true}"#, 107, 400, "delta"),
        ("publish", "{", 107, 400, "object"),
        ("presence", r#"{"channel":"plain:a"}"#, 108, 400, "namespaces.plain.presence"),
        ("presence_stats", r#"{"channel":"plain:a"}"#, 108, 400, "namespaces.plain.presence"),
        ("history", r#"{"channel":"news","since":{"offset":1,"epoch":"1"}}"#, 112, 416, "epoch"),
        ("history_remove", r#"{"channel":"plain:a"}"#, 108, 400, "namespaces.plain.history_size"),
        ("broadcast", r#"{"channels":[""],"data":1}"#, 107, 400, "channels"),
    ];
    let mut edge = Edge::with_key();
    edge.with_shards(shard, |edge| {
        for (method, body, code, status, word) in cases {
            edge.call(method, body).assert_fault(200, code, word);
            let headers = [("X-API-Key", KEY), ("X-Centrifugo-Error-Mode", "transport")];
            let path = format!("/api/{method}");
            edge.request("POST", &path, &headers, body).assert_fault(status, code, word);
        }
        // Nobody is there to disconnect: shards say so, and none is the shard of the second.
        // An identity of another kind of server is nobody's either.
        let foreign = "0194ce2b-3b0e-7b9c-a1a8-2b7c6f1e0d55";
        for client in ["0000010000000900000001", "0000ff0000000900000001", foreign] {
            let response = edge.call("disconnect", &json!({ "client": client }).to_string());
            assert_result(&response, json!({"sessions": 0}));
        }
    });
    for path in ["nothing", "publish/twice", "%ff"] {
        edge.call(path, "{}").assert_fault(404, 104, "openapi.json");
    }
    let response = edge.get("/api/publish");
    response.assert_fault(405, 104, "POST");
    assert_eq!(response.header("allow"), Some("POST"));
    let metrics = edge.get("/metrics").body;
    for line in [
        "tidegate_api_requests_total{method=\"publish\"} 6\n",
        "tidegate_api_requests_total{method=\"disconnect\"} 3\n",
        "tidegate_api_errors_total{code=\"102\"} 2\n",
        "tidegate_api_errors_total{code=\"104\"} 4\n",
        "tidegate_api_errors_total{code=\"108\"} 6\n",
        "tidegate_api_errors_total{code=\"112\"} 2\n",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
}

#[test]
fn bodies_have_a_limit_and_a_deadline() {
    let edge = Edge::with_key();
    let head = |rest: &str| {
        format!(
            "POST /api/publish HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             X-API-Key: {KEY}\r\n{rest}\r\n\r\n"
        )
    };
    let long = head("Content-Length: 1048577");
    edge.exchange(long.as_bytes()).assert_fault(
        413,
        106,
        "1048576 bytes: that is api.message_bytes_max",
    );
    let chunked = |size: &str, chunk: &str| {
        head("Transfer-Encoding: chunked") + size + "\r\n" + chunk + "\r\n0\r\n\r\n"
    };
    let chunk = " ".repeat(1_048_577);
    edge.exchange(chunked("100001", &chunk).as_bytes()).assert_fault(
        413,
        106,
        "1048576 bytes: that is api.message_bytes_max",
    );
    edge.exchange(chunked("x", "{").as_bytes()).assert_fault(400, 107, "chunks");
    let slow = head("Content-Length: 10") + "{";
    edge.exchange(slow.as_bytes()).assert_fault(408, 107, "in time");
}

#[test]
fn overload_and_silence_have_a_status() {
    let edge = Edge::with_key();
    let body = r#"{"pattern":""}"#;
    for _ in 0..LINK_CAPACITY {
        edge.call("channels", body).assert_fault(504, 100, "may still");
    }
    let full = edge.call("channels", body);
    full.assert_fault(503, 111, "nothing was sent");
    assert_eq!(full.header("retry-after"), Some("1"));
    edge.drain.begin();
    let draining = edge.call("channels", body);
    draining.assert_fault(503, 111, "draining");
    assert_eq!(draining.header("retry-after"), Some("1"));
}

/// The links to two shards hold 32 MiB each.
#[test]
fn a_link_that_is_full_in_bytes_is_an_overload() {
    const BYTES: usize = 1_000_000;
    let edge = Edge::with_long_links();
    let body = json!({"channel": "c", "data": "x".repeat(BYTES)}).to_string();
    let most = (32 << 20) / BYTES + 1;
    let mut held = 0;
    loop {
        let answer = edge.call("publish", &body);
        if answer.json()["error"]["code"] == 111 {
            answer.assert_fault(503, 111, "nothing was sent");
            assert_eq!(answer.header("retry-after"), Some("1"));
            break;
        }
        answer.assert_fault(504, 100, "may still");
        held += 1;
        assert!(held <= most, "{held} megabytes are on a link");
    }
    assert!(held >= most / 2, "{held} megabytes are too many");
}

#[test]
fn a_batch_is_answered_in_its_order() {
    let mut edge = Edge::with_key();
    let commands = json!([
        {"publish": {"channel": "news", "data": 1}},
        {"publish": {"channel": "gone:a", "data": 1}},
        {"info": {}},
        {"nothing": {}},
        {"presence_stats": {"channel": "news"}},
        {"disconnect": {"client": "0000ff0000000900000001"}},
    ]);
    edge.with_shards(shard, |edge| {
        for parallel in [false, true] {
            let body = json!({"commands": commands, "parallel": parallel});
            let response = edge.call("batch", &body.to_string());
            assert_eq!(response.status, 200, "{response:?}");
            let response = response.json();
            let replies = response["replies"].as_array().unwrap();
            assert_eq!(replies.len(), 6, "{response}");
            assert_eq!(replies[0]["publish"]["offset"], 7);
            assert_eq!(replies[1]["error"]["code"], 102);
            assert_eq!(replies[2]["info"]["nodes"][0]["name"], "edge-1");
            assert_eq!(replies[3]["error"]["code"], 104);
            assert_eq!(replies[4], json!({"presence_stats": {"num_clients": 3, "num_users": 2}}));
            assert_eq!(replies[5], json!({"disconnect": {"sessions": 0}}));
        }
        let info = edge.call("batch", r#"{"commands":[{"info":{}}],"parallel":true}"#);
        assert_eq!(info.json()["replies"][0]["info"]["nodes"][0]["uid"], "0123");
    });
    let many = vec![json!({"info": {}}); 257];
    for (body, code, word) in [
        ("{}".to_owned(), 107, "commands"),
        (r#"{"commands":[]}"#.to_owned(), 107, "at least one"),
        (json!({ "commands": many }).to_string(), 106, "256"),
    ] {
        edge.call("batch", &body).assert_fault(400, code, word);
    }
}

/// Every body that Go's published client (gocent 3.2) sends, byte for byte, and its reply.
#[test]
fn lines_are_answered_as_the_client_of_go_expects() {
    let mut edge = Edge::with_key();
    let info = format!(r#"{{"client":"{CLIENT}","user":"42","conn_info":{{"name":"Ann"}}}}"#);
    let presence = format!(r#"{{"presence":{{"{CLIENT}":{info}}}}}"#);
    let subscribe = concat!(
        r#"{"channel":"news","user":"42","info":{"a":1},"presence":true,"join_leave":true,"#,
        r#""position":true,"recover":true,"data":{"b":2},"#,
        r#""recover_since":{"offset":7,"epoch":"ab"}}"#
    );
    let with_client = format!(r#"{{"channel":"news","user":"42","client":"{CLIENT}"}}"#);
    let disconnect = concat!(
        r#"{"user":"42","Disconnect":{"code":4500,"reason":"bye","reconnect":false},"#,
        r#""ClientWhitelist":["0000010000000200000003","0194ce2b-3b0e-7b9c-a1a8-2b7c6f1e0d55"]}"#
    );
    let place = r#"{"offset":7,"epoch":"ab","sessions":1}"#;
    let one = r#"{"sessions":1}"#;
    let publications = r#"{"publications":[{"offset":7,"data":{"a":1}}],"offset":7,"epoch":"ab"}"#;
    let cases = [
        ("publish", r#"{"channel":"news","data":{"a":1}}"#, place),
        ("publish", r#"{"channel":"news","data":1,"skip_history":true}"#, place),
        (
            "broadcast",
            r#"{"channels":["news","sport"],"data":1}"#,
            concat!(
                r#"{"responses":[{"result":{"offset":7,"epoch":"ab"}},"#,
                r#"{"result":{"offset":7,"epoch":"ab"}}],"sessions":"#
            ),
        ),
        ("subscribe", r#"{"channel":"news","user":"42"}"#, one),
        ("subscribe", subscribe, one),
        ("subscribe", &with_client, one),
        ("unsubscribe", r#"{"channel":"news","user":"42"}"#, one),
        ("disconnect", r#"{"user":"42","Disconnect":null,"ClientWhitelist":null}"#, one),
        ("disconnect", disconnect, one),
        ("presence", r#"{"channel":"news"}"#, &presence),
        ("presence_stats", r#"{"channel":"news"}"#, r#"{"num_clients":3,"num_users":2}"#),
        (
            "history",
            r#"{"channel":"news","since":{"offset":5,"epoch":"ab"},"limit":-1,"reverse":true}"#,
            publications,
        ),
        ("history", r#"{"channel":"news"}"#, r#"{"publications":[],"offset":7,"epoch":"ab"}"#),
        ("history_remove", r#"{"channel":"news"}"#, "{}"),
        ("channels", "{}", r#"{"channels":{"chat:1":{"num_clients":3}"#),
        ("channels", r#"{"pattern":"chat:*"}"#, r#"{"channels":{"chat:1":{"num_clients":3}"#),
        ("info", "{}", r#"{"nodes":[{"uid":"0123","name":"edge-1","version":"1.2.3""#),
    ];
    edge.with_shards(shard, |edge| {
        for (method, params, result) in cases {
            let response = edge.lines(&line(method, params));
            assert_eq!(response.status, 200, "{method}: {response:?}");
            let expected = format!("{{\"result\":{result}");
            assert!(response.body.starts_with(&expected), "{method} {params}: {response:?}");
            assert!(response.body.ends_with('}'), "{response:?}");
        }
    });
}

/// A command as the client of Go writes it.
fn line(method: &str, params: &str) -> String {
    format!("{{\"method\":\"{method}\",\"params\":{params}}}\n")
}

#[test]
fn several_lines_are_answered_in_their_order() {
    let mut edge = Edge::with_key();
    let pipe = line("publish", r#"{"channel":"news","data":1}"#)
        + &line("nothing", "{}")
        + &line("history_remove", r#"{"channel":"plain:a"}"#)
        + &line("info", "{}");
    edge.with_shards(shard, |edge| {
        let response = edge.lines(&pipe);
        let replies: Vec<Value> =
            response.body.split('\n').map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(replies.len(), 4, "{response:?}");
        assert_eq!(replies[0]["result"]["offset"], 7);
        assert_eq!(replies[1]["error"]["code"], 104);
        let error = &replies[2]["error"];
        assert_eq!(error["code"], 108);
        assert!(error["message"].as_str().unwrap().starts_with("not available: "), "{error}");
        assert!(replies[3]["result"]["nodes"].is_array());
        assert_eq!(edge.request("POST", "/api/", &[("X-API-Key", KEY)], &pipe).status, 200);
    });
    let many = line("info", "{}").repeat(257);
    for (body, code, word) in [("", 107, "at least one"), ("{", 107, "EOF"), (&*many, 106, "256")] {
        edge.lines(body).assert_fault(400, code, word);
    }
    assert_eq!(edge.get("/api").header("allow"), Some("POST"));
}

#[test]
fn messages_begin_with_the_words_of_the_protocol() {
    let mut edge = Edge::with_key();
    edge.with_shards(shard, |edge| {
        for (method, body, words) in [
            ("publish", r#"{"channel":"gone:a","data":1}"#, "unknown channel: "),
            ("publish", "{}", "bad request: "),
            ("nothing", "{}", "method not found: "),
            ("presence", r#"{"channel":"plain:a"}"#, "not available: "),
            (
                "history",
                r#"{"channel":"a","since":{"offset":1,"epoch":"1"}}"#,
                "unrecoverable position: ",
            ),
        ] {
            let error = edge.call(method, body).json()["error"].clone();
            assert!(error["message"].as_str().unwrap().starts_with(words), "{error}");
        }
        let error = edge.request("POST", "/api/info", &[], "{}").json()["error"].clone();
        assert!(error["message"].as_str().unwrap().starts_with("unauthorized: "), "{error}");
    });
}

#[test]
fn a_session_names_a_connection() {
    let mut edge = Edge::with_key();
    edge.with_shards(shard, |edge| {
        let own = CLIENT.to_string();
        for (client, session, sessions) in [
            (own.as_str(), own.as_str(), 1),
            ("", own.as_str(), 1),
            (own.as_str(), "", 1),
            (own.as_str(), "4b1c", 0),
            ("", "4b1c", 0),
        ] {
            let body = json!({"user": "42", "client": client, "session": session});
            let result = json!({ "sessions": sessions });
            assert_result(&edge.call("disconnect", &body.to_string()), result);
        }
    });
}

#[test]
fn each_command_of_a_parallel_batch_says_whether_it_was_begun() {
    let edge = Edge::with_key();
    // One part for each link and command: one more than fits.
    let commands = vec![json!({"channels": {}}); LINK_CAPACITY + 1];
    let body = json!({"commands": commands, "parallel": true}).to_string();
    let replies = edge.call("batch", &body).json();
    for (place, reply) in replies["replies"].as_array().unwrap().iter().enumerate() {
        let (code, word) =
            if place < LINK_CAPACITY { (100, "may still") } else { (111, "nothing") };
        assert_eq!(reply["error"]["code"], code, "{replies}");
        assert!(reply["error"]["message"].as_str().unwrap().contains(word), "{replies}");
    }
    edge.call("batch", &body).assert_fault(503, 111, "nothing was sent");
}

#[test]
fn a_batch_in_order_ends_where_one_does_not_get_through() {
    let mut edge = Edge::with_key();
    let play = |port: &ShardPort, envelope: Envelope| {
        let Envelope::Command { command, .. } = &envelope else { panic!("not a command") };
        // The third command is never answered.
        if !matches!(**command, Command::PresenceStats { .. }) {
            shard(port, envelope);
        }
    };
    let body = json!({"commands": [
        {"publish": {"channel": "news", "data": 1}},
        {"publish": {"channel": "gone:a", "data": 1}},
        {"presence_stats": {"channel": "news"}},
        {"publish": {"channel": "news", "data": 2}},
    ]});
    edge.with_shards(play, |edge| {
        let begin = std::time::Instant::now();
        let response = edge.call("batch", &body.to_string()).json();
        assert!(begin.elapsed() < Duration::from_secs(5));
        let codes = [1, 2, 3].map(|place| response["replies"][place]["error"]["code"].clone());
        assert_eq!(response["replies"][0]["publish"]["offset"], 7, "{response}");
        assert_eq!(codes, [json!(102), json!(100), json!(111)], "{response}");
        // Where nothing was begun the whole request has failed.
        let body = json!({"commands": [{"presence_stats": {"channel": "news"}}]});
        edge.call("batch", &body.to_string()).assert_fault(504, 100, "may still");
    });
}

#[test]
fn publications_of_a_batch_in_order_are_begun_together() {
    let mut edge = Edge::with_key();
    let mut held = Vec::new();
    let mut heard = String::new();
    let play = |port: &ShardPort, envelope: Envelope| {
        let Envelope::Command { command, .. } = &envelope else { panic!("not a command") };
        let is_read = matches!(**command, Command::History { .. });
        heard.push(if is_read { 'h' } else { 'p' });
        held.push(envelope);
        // The first three are answered when all of them are there.
        if held.len() == 3 || heard.len() > 3 {
            held.drain(..).for_each(|envelope| shard(port, envelope));
        }
    };
    let publish = json!({"publish": {"channel": "news", "data": 1}});
    let broadcast = json!({"broadcast": {"channels": ["news"], "data": 1}});
    let history = json!({"history": {"channel": "news"}});
    let commands = [&publish, &broadcast, &publish, &history, &publish, &history, &publish];
    let response = edge.with_shards(play, |edge| {
        edge.call("batch", &json!({ "commands": commands }).to_string()).json()
    });
    let replies = response["replies"].as_array().unwrap();
    assert!(replies.iter().all(|reply| reply.get("error").is_none()), "{response}");
    assert!(replies[1].get("broadcast").is_some() && replies[3].get("history").is_some());
    assert_eq!(heard, "ppphphp");
}

#[test]
fn short_publications_are_carried_out_where_they_are_read() {
    let mut edge = Edge::with_key();
    let mut askers = Vec::new();
    let play = |port: &ShardPort, envelope: Envelope| {
        let Envelope::Command { ticket: Some(ticket), .. } = &envelope else { panic!("no ticket") };
        askers.push(ticket.asker);
        shard(port, envelope);
    };
    let publish = |bytes| json!({"channel": "news", "data": "x".repeat(bytes)});
    edge.with_shards(play, |edge| {
        for (method, body) in [
            ("publish", publish(10)),
            ("broadcast", json!({"channels": ["news"], "data": 1})),
            ("publish", publish(5000)),
            ("batch", json!({"commands": [{"publish": publish(10)}]})),
            ("history", json!({"channel": "news"})),
        ] {
            let response = edge.call(method, &body.to_string());
            assert_eq!((response.status, &response.json()["error"]), (200, &Value::Null));
        }
    });
    let [near, far] = [Asker::Control, Asker::Api].map(Asker::place);
    assert_eq!(askers, [near, near, far, far, far]);
}

#[test]
fn long_answers_are_refused() {
    let push = |megabytes: usize| {
        let payload = format!("\"{}\"", "x".repeat(megabytes << 20));
        let publication = Publication::new(true, payload.as_bytes(), 0).into();
        let body = PushBody::Publication { publication, offset: 7 };
        Arc::new(Push::new(ChannelName::parse(b"news").unwrap(), body))
    };
    let (long, short) = (vec![push(17)], vec![push(1); 17]);
    let play = |port: &ShardPort, envelope: Envelope| {
        let (command, ticket) = command(envelope);
        let is_long = command.channel().unwrap().as_str() == "news";
        let pushes = if is_long { &long } else { &short };
        let outcome = Outcome::History(pushes.clone(), POSITION);
        let answer = Answer {
            number: ticket.number,
            firsts: 1,
            awaiting: 0,
            sessions: 0,
            error: None,
            outcome: Some(Box::new(outcome)),
        };
        say(port, ticket, answer);
    };
    let mut edge = Edge::with_key();
    edge.with_shards(play, |edge| {
        edge.call("history", r#"{"channel":"news","limit":-1}"#).assert_fault(200, 106, "too long");
        let body = r#"{"commands":[{"info":{}},{"history":{"channel":"news"}},{"info":{}}]}"#;
        let replies = edge.call("batch", body).json()["replies"].clone();
        assert_eq!(replies[1]["error"]["code"], 106);
        assert!(replies[0]["info"].is_object() && replies[2]["info"].is_object());
        // Those of several that fit are given, and the others are asked for by position.
        let history = edge.call("history", r#"{"channel":"many","limit":-1}"#).json();
        assert_eq!(history["result"]["publications"].as_array().unwrap().len(), 9);
        let two = r#"{"commands":[{"history":{"channel":"many"}},{"history":{"channel":"many"}}]}"#;
        let replies = edge.call("batch", two).json()["replies"].clone();
        let count = |at: usize| replies[at]["history"]["publications"].as_array().unwrap().len();
        assert_eq!((count(0), count(1)), (9, 5));
    });
}
