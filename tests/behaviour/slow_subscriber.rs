//! The promise: a peer that does not read costs bounded memory, is closed with code 3008 once it
//! is past a limit, sees whole frames until then, and nobody else notices it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::harness::{Client, Edge, HMAC_SECRET, Heard, Raw, eventually, frame, token};

const MEGABYTE: usize = 1_000_000;
const SLOW: &str = "tidegate_connections_closed_total{reason=\"slow\"";
const HOARDING: &str = "tidegate_connections_closed_total{reason=\"hoarding\"";

/// A peer that the kernel can hold little for.
fn narrow(edge: &Edge, path: &str) -> Raw {
    Raw::connect_narrow(edge.public).upgrade(path)
}

/// A megabyte that begins with its number.
fn numbered(number: usize) -> Vec<u8> {
    let mut bytes = vec![b'.'; MEGABYTE];
    bytes[..8].copy_from_slice(format!("{number:08}").as_bytes());
    bytes
}

fn number_of(payload: &[u8]) -> usize {
    assert_eq!(payload.len(), MEGABYTE);
    std::str::from_utf8(&payload[..8]).unwrap().parse().unwrap()
}

/// Reads whole frames, numbered from zero, until the close frame; tells how many there were.
fn read_until_slow(peer: &mut Raw) -> usize {
    for number in 0.. {
        let heard = peer.hear().expect("a close frame comes before the end");
        if heard.first == 0x88 {
            assert_eq!(heard.payload[..2], 3008u16.to_be_bytes());
            assert!(heard.payload[2..].starts_with(b"slow: "));
            return number;
        }
        assert_eq!(number_of(&heard.payload), number);
    }
    unreachable!("frames end")
}

#[test]
fn a_peer_that_never_reads_is_closed_and_others_get_everything() {
    const MESSAGES: usize = 30;
    let options = ["slow.lag_bytes_max=4MiB", "websocket.close_deadline=30s", "shards.count=1"];
    let edge = Edge::with(&options);
    let mut slow = narrow(&edge, "/websocket/slow?channels=c");
    let others: Vec<Client> = (0..5).map(|n| edge.connect(&n.to_string(), &["c"])).collect();
    for number in 0..MESSAGES {
        edge.publish("c", numbered(number));
        for other in &others {
            let Heard::Text(text) = other.hear() else { panic!("not a text") };
            assert_eq!(number_of(text.as_bytes()), number);
        }
    }
    edge.expect_metric(SLOW, 1);
    let whole = read_until_slow(&mut slow);
    assert!((1..MESSAGES).contains(&whole), "{whole} frames before the close");
    slow.send_frame(0x88, &3008u16.to_be_bytes());
    slow.expect_end();
    drop(slow);
    let dropped = edge.metric("tidegate_deliveries_dropped_total{reason=\"slow\"");
    assert!(dropped >= 1, "{dropped} dropped");
    assert!(edge.metric("tidegate_sends_refused_total") >= 1);
    edge.expect_metric("tidegate_connections", 5);
    edge.expect_metric("tidegate_connections_lagging", 0);
    edge.expect_metric("tidegate_log_bytes", 0);
    edge.expect_metric("tidegate_outbox_bytes", 0);
}

#[test]
fn a_peer_that_takes_nothing_for_too_long_is_closed() {
    let options = ["slow.lag_bytes_max=64MiB", "slow.age_max=1s", "websocket.close_deadline=30s"];
    let edge = Edge::with(&options);
    let events = edge.events();
    let mut slow = narrow(&edge, "/websocket/slow?channels=c");
    for number in 0..10 {
        edge.publish("c", numbered(number));
    }
    edge.expect_metric(SLOW, 1);
    events.expect("connected", "slow");
    assert_eq!(events.expect("disconnected", "slow").meta["code"], 3008);
    let whole = read_until_slow(&mut slow);
    assert!((1..10).contains(&whole), "{whole} frames before the close");
}

#[test]
fn a_closed_peer_that_still_does_not_read_is_dropped() {
    let options =
        ["slow.lag_bytes_max=64MiB", "slow.age_max=500ms", "websocket.close_deadline=500ms"];
    let edge = Edge::with(&options);
    let slow = narrow(&edge, "/websocket/slow?channels=c");
    for number in 0..10 {
        edge.publish("c", numbered(number));
    }
    edge.expect_metric(SLOW, 1);
    edge.expect_metric("tidegate_connections", 0);
    edge.expect_metric("tidegate_outbox_bytes", 0);
    drop(slow);
}

#[test]
fn a_peer_that_reads_slowly_but_steadily_stays() {
    const MESSAGES: usize = 40;
    let options = ["slow.lag_bytes_max=64MiB", "slow.age_max=2s"];
    let edge = Edge::with(&options);
    let mut slow = narrow(&edge, "/websocket/slow?channels=c");
    // It lags for several times the longest age, but nothing waits for it so long: 8 MB in a
    // second are read, and no more than 6 MB wait.
    let mut published = 0;
    let start = Instant::now();
    let mut read = 0;
    while read < MESSAGES * MEGABYTE {
        while published < MESSAGES && published * MEGABYTE < read + 6 * MEGABYTE {
            edge.publish("c", numbered(published));
            published += 1;
        }
        let ahead = Duration::from_millis((read / 8000) as u64).saturating_sub(start.elapsed());
        std::thread::sleep(ahead);
        let count = slow.read_away(64 * 1024);
        assert!(count > 0, "closed after {read} bytes");
        read += count;
    }
    for number in 0..MESSAGES {
        assert_eq!(number_of(&slow.hear().unwrap().payload), number);
    }
    assert!(start.elapsed() > Duration::from_secs(4), "it was slow");
    assert_eq!(edge.metric(SLOW), 0);
    edge.publish("c", "caught up");
    slow.expect(0x81, b"caught up");
    edge.expect_metric("tidegate_log_bytes", 0);
}

#[test]
fn memory_for_slow_peers_is_bounded() {
    const MEMORY_MAX: usize = 32 << 20;
    let options = ["slow.lag_bytes_max=16MiB", "slow.memory_max=32MiB", "shards.count=1"];
    let edge = Edge::with(&options);
    let before = edge.memory();
    // Each lags in a channel of its own and alone stays below its own limit.
    let channels = ["a", "b", "c", "d", "e", "f"];
    let slow: Vec<Raw> = channels
        .iter()
        .map(|channel| narrow(&edge, &format!("/websocket?channels={channel}")))
        .collect();
    let reader = edge.connect("reader", &channels);
    let mut most = 0;
    for number in 0..14 {
        for channel in channels {
            edge.publish(channel, numbered(number));
            assert!(matches!(reader.hear(), Heard::Text(_)));
            let held = edge.metric("tidegate_log_bytes") + edge.metric("tidegate_outbox_bytes");
            most = most.max(held as usize);
        }
    }
    assert!(most <= MEMORY_MAX + 4 * MEGABYTE, "{most} bytes held");
    assert!(most >= MEMORY_MAX / 2, "the peers lagged: {most}");
    assert!(edge.metric(HOARDING) >= 1, "the slowest were closed");
    let grown = edge.memory().saturating_sub(before);
    assert!(grown < 4 * MEMORY_MAX, "{grown} bytes more");
    drop(slow);
}

#[test]
fn a_lagging_peer_that_goes_leaves_nothing() {
    let edge = Edge::with(&["slow.lag_bytes_max=64MiB"]);
    for way in ["reset", "end", "drop"] {
        let peer = narrow(&edge, "/websocket/u?channels=c");
        for number in 0..8 {
            edge.publish("c", numbered(number));
            edge.publish("#u", numbered(number));
        }
        edge.expect_metric("tidegate_connections_lagging", 1);
        match way {
            "reset" => peer.reset(),
            "end" => peer.shut_down_write(),
            _ => drop(peer),
        }
        edge.expect_metric("tidegate_connections", 0);
        edge.expect_metric("tidegate_connections_lagging", 0);
        edge.expect_metric("tidegate_log_bytes", 0);
        edge.expect_metric("tidegate_outbox_bytes", 0);
        edge.expect_metric("tidegate_channels", 0);
    }
    let accepted = edge.metric("tidegate_publications_total");
    let delivered = edge.metric("tidegate_deliveries_total");
    let dropped = edge.metric("tidegate_deliveries_dropped_total");
    assert_eq!(delivered + dropped, accepted, "{delivered} delivered, {dropped} dropped");
}

#[test]
fn leaving_a_channel_keeps_what_was_published_before() {
    let edge = Edge::with(&["slow.lag_bytes_max=64MiB", "slow.outbox_bytes_max=64MiB"]);
    let mut peer = narrow(&edge, "/websocket/u?channels=c");
    for number in 0..10 {
        edge.publish("c", numbered(number));
    }
    edge.expect_metric("tidegate_connections_lagging", 1);
    // In the middle of a frame.
    edge.command("", r#"{"op":"unsubscribe","user":"u","channels":["c"]}"#);
    assert_eq!(edge.publish("c", "no longer"), 0);
    edge.publish("#u", "end");
    for number in 0..10 {
        assert_eq!(number_of(&peer.hear().unwrap().payload), number);
    }
    peer.expect(0x81, b"end");
    edge.expect_metric("tidegate_deliveries_total", 11);
    edge.expect_metric("tidegate_outbox_bytes", 0);
}

#[test]
fn leaving_a_channel_with_too_much_owed_closes() {
    let options = ["slow.lag_bytes_max=64MiB", "websocket.close_deadline=30s"];
    let edge = Edge::with(&options);
    let mut peer = stuck(&edge, "/websocket/u?channels=c,d");
    for _ in 0..3 {
        edge.publish("c", numbered(0));
    }
    // More than an outbox may hold, and behind a frame of another channel that is cut.
    edge.command("", r#"{"op":"unsubscribe","user":"u","channels":["c","d"]}"#);
    edge.expect_metric(SLOW, 1);
    edge.expect_metric("tidegate_subscriptions", 0);
    let last = loop {
        let heard = peer.hear().expect("a close frame comes");
        if heard.first == 0x88 {
            break heard;
        }
        number_of(&heard.payload);
    };
    assert_eq!(last.payload[..2], 3008u16.to_be_bytes());
}

/// A peer whose socket is full in the middle of a frame of its user's own channel.
fn stuck(edge: &Edge, path: &str) -> Raw {
    let peer = narrow(edge, path);
    let user = path.split(['/', '?']).nth(2).unwrap();
    for number in 0.. {
        edge.publish(&format!("#{user}"), numbered(number));
        if edge.metric("tidegate_connections_lagging") > 0 {
            return peer;
        }
    }
    unreachable!("sockets are finite")
}

#[test]
fn leaving_out_a_slow_peer_does_not_leave_out_others() {
    let options = ["slow.lag_bytes_max=64MiB", "websocket.close_deadline=30s", "shards.count=1"];
    let edge = Edge::with(&options);
    let events = edge.events();
    for publish in [
        (|edge, text, _, except| {
            edge_all(edge, text, except);
        }) as fn(&Edge, &str, &str, &str),
        |edge, text, channel, except| {
            let meta = format!("{{{}}}", except.trim_start_matches(','));
            edge.ask(&[channel.as_bytes(), text.as_bytes(), meta.as_bytes()]);
        },
    ] {
        let peer = stuck(&edge, "/websocket/slow?channels=c");
        let id = events.expect("connected", "slow").meta["client"].as_str().unwrap().to_owned();
        let other = edge.connect("other", &["c"]);
        events.expect("connected", "other");
        for number in 0..3 {
            let text = String::from_utf8(numbered(number)).unwrap();
            publish(&edge, &text, "c", "");
            assert_eq!(other.hear(), Heard::Text(text));
        }
        edge.expect_metric("tidegate_connections_lagging", 1);
        publish(&edge, "for the other", "c", &format!(r#","except":"{id}""#));
        other.expect("for the other");
        publish(&edge, "after it", "c", "");
        other.expect("after it");
        peer.reset();
        drop(other);
        edge.expect_metric("tidegate_connections", 0);
        while events.next().name != "disconnected" {}
        while events.next().name != "disconnected" {}
    }
}

fn edge_all(edge: &Edge, text: &str, except: &str) {
    let answer = edge.command(text, &format!(r#"{{"op":"all"{except}}}"#));
    assert_eq!(answer["ok"], true, "{answer}");
}

#[test]
fn a_slow_peer_with_a_channel_of_its_own_is_closed() {
    let options = ["slow.lag_bytes_max=96KiB", "shards.count=1"];
    let edge = Edge::with(&options);
    let reader = edge.connect("reader", &["c"]);
    let push = edge.push();
    for round in 0..5 {
        let slow = narrow(&edge, "/websocket/slow");
        let subscribe = r#"{"op":"subscribe","user":"slow","channels":["c"]}"#;
        edge.command("", subscribe);
        while edge.metric("tidegate_connections_lagging") == 0 {
            edge.publish("#slow", [b'x'; 30_000]);
        }
        // In one turn: too much of a shared channel, and something of the one that is only its.
        for _ in 0..4 {
            push.send_multipart([&b"c"[..], &[b'y'; 40_000]], 0).unwrap();
        }
        push.send_multipart([&b"#slow"[..], b"z"], 0).unwrap();
        for _ in 0..4 {
            assert!(matches!(reader.hear(), Heard::Text(text) if text.len() == 40_000));
        }
        edge.expect_metric(SLOW, round + 1);
        drop(slow);
        edge.expect_metric("tidegate_connections", 1);
    }
    edge.expect_metric("tidegate_log_bytes", 0);
    edge.expect_metric("tidegate_connections_lagging", 0);
}

#[test]
fn an_echo_flood_without_reading_is_paused() {
    let edge = Edge::with(&["slow.age_max=30s", "shards.count=1"]);
    let before = edge.memory();
    let mut peer = edge.raw("/echo");
    let message = frame(0x82, &[7; 1000]);
    let sent = peer.flood(&message, 64 * MEGABYTE, Duration::from_secs(1));
    assert!(sent < 64 * MEGABYTE, "the flood was taken without end");
    assert!(edge.metric("tidegate_outbox_bytes") < 256 * 1024);
    let grown = edge.memory().saturating_sub(before);
    assert!(grown < 16 * MEGABYTE, "{grown} bytes more");
    assert_eq!(edge.metric(SLOW), 0);
    edge.expect_metric("tidegate_connections", 1);
    // Meanwhile others are served.
    let other = edge.open("/echo");
    other.say("hello");
    other.expect("hello");
    // Whoever reads at last gets every answer.
    let mut answers = 0;
    while answers < sent / message.len() {
        let heard = peer.hear().expect("the connection is open");
        // There may be a ping among them.
        if heard.first != 0x89 {
            assert_eq!((heard.first, &heard.payload[..]), (0x82, &[7; 1000][..]));
            answers += 1;
        }
    }
    edge.expect_metric("tidegate_outbox_bytes", 0);
}

#[test]
fn a_flood_of_pings_without_reading_is_closed_by_age() {
    let edge = Edge::with(&["slow.age_max=1s", "websocket.close_deadline=500ms"]);
    let mut peer = narrow(&edge, "/websocket/a");
    let ping = frame(0x89, &[7; 125]);
    // Until the edge ends it, however slow the machine is.
    let sent = peer.flood(&ping, 64 * MEGABYTE, Duration::from_secs(10));
    assert!(sent < 64 * MEGABYTE, "the flood was taken without end");
    assert!(edge.metric("tidegate_outbox_bytes") < 256 * 1024);
    edge.expect_metric(SLOW, 1);
    edge.expect_metric("tidegate_connections", 0);
    eventually("nothing waits", || edge.metric("tidegate_outbox_bytes") == 0);
}

/// The next JSON message that is not a ping.
fn hear_json(peer: &mut Raw) -> serde_json::Value {
    loop {
        let heard = peer.hear().expect("the connection stays open");
        assert_eq!(heard.first, 0x81, "{heard:?}");
        if heard.payload != b"{}" {
            return serde_json::from_slice(&heard.payload).unwrap();
        }
    }
}

#[test]
fn a_managed_client_subscribes_again_and_misses_nothing() {
    const MESSAGES: u64 = 2000;
    let options = [
        "slow.lag_bytes_max=64KiB",
        // Publishing all of it may take long.
        "slow.age_max=1h",
        "client.reply_bytes_max=128MiB",
        "channels.history_size=2000",
        "history.recovery_publications_max=2000",
    ];
    let edge = Edge::with(&options);
    let mut peer = narrow(&edge, "/connection/websocket");
    peer.send_frame(
        0x81,
        b"{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"c\"}}",
    );
    assert!(hear_json(&mut peer)["connect"].is_object());
    let epoch = hear_json(&mut peer)["subscribe"]["epoch"].clone();
    for number in 1..=MESSAGES {
        edge.publish("c", format!("{number:8192}"));
    }
    edge.expect_metric("tidegate_subscriptions_cut_off_total", 1);
    let mut seen = 0;
    let mut see = |publication: &serde_json::Value| {
        seen += 1;
        assert_eq!((&publication["offset"], &publication["data"]), (&seen.into(), &seen.into()));
        seen
    };
    let mut last = 0;
    let unsubscribed = loop {
        let message = hear_json(&mut peer);
        if message["push"]["pub"].is_null() {
            break message;
        }
        last = see(&message["push"]["pub"]);
    };
    assert_eq!(unsubscribed["push"]["unsubscribe"]["code"], 2500);
    assert!((1..MESSAGES).contains(&last), "{last} before that");
    let again = json!({ "channel": "c", "recover": true, "epoch": epoch, "offset": last });
    let again = json!({ "id": 3, "subscribe": again });
    peer.send_frame(0x81, again.to_string().as_bytes());
    let result = hear_json(&mut peer)["subscribe"].clone();
    assert_eq!(result["recovered"], true);
    for publication in result["publications"].as_array().unwrap() {
        last = see(publication);
    }
    assert_eq!(last, MESSAGES);
}

#[test]
fn a_subscription_that_expires_in_the_middle_of_a_frame_ends_behind_it() {
    let options = [HMAC_SECRET, "client.refresh_grace=1s", "slow.lag_bytes_max=64MiB"];
    let edge = Edge::with(&options);
    let mut peer = narrow(&edge, "/connection/websocket");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let connection = token(json!({ "sub": "42" }));
    let subscription = token(json!({ "sub": "42", "channel": "c", "exp": now + 3 }));
    let connect = json!({ "id": 1, "connect": { "token": connection } });
    let subscribe = json!({ "channel": "c", "token": subscription });
    let subscribe = json!({ "id": 2, "subscribe": subscribe });
    peer.send_frame(0x81, format!("{connect}\n{subscribe}").as_bytes());
    assert!(hear_json(&mut peer)["connect"].is_object());
    assert!(hear_json(&mut peer)["subscribe"].is_object());
    while edge.metric("tidegate_connections_lagging") == 0 {
        edge.publish("c", [b'1'; 50_000]);
    }
    edge.expect_metric("tidegate_subscriptions", 1);
    let push = loop {
        let push = hear_json(&mut peer)["push"].take();
        if push["pub"].is_null() {
            break push;
        }
    };
    assert_eq!(push["unsubscribe"]["code"], 2501);
}
