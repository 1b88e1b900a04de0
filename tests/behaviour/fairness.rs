//! The promise: whoever hoards pays. When the memory for what waits is used up, those who hold most
//! of it are closed, and clients beside them that read what they are sent notice nothing.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Edge, Managed, Raw, eventually, frame};

const MEGABYTE: usize = 1 << 20;
const HOARDING: &str = "tidegate_connections_closed_total{reason=\"hoarding\"";
const HALF_READ: &str = "tidegate_connections_closed_total{reason=\"half_read\"";

/// What a short history says.
const LITTLE: &str = "small";

/// A client that connects, subscribes, hears a publication and publishes itself.
fn be_polite(edge: &Edge, number: usize) {
    let client = Managed::connect(edge);
    let channel = format!("open:{number}");
    client.done("subscribe", json!({ "channel": channel }));
    assert_eq!(edge.publish(&channel, "\"from a backend\""), 1);
    assert_eq!(client.data(), "from a backend");
    client.done("publish", json!({ "channel": channel, "data": "mine" }));
    assert_eq!(client.data(), "mine");
    let history = client.done("history", json!({ "channel": "little", "limit": -1 }));
    assert_eq!(history["publications"][0]["data"].as_str().unwrap().trim_end(), LITTLE);
}

/// A peer that asks for as much history as it gets, again and again, and reads nothing.
fn hoard(edge: &Edge) -> Raw {
    let mut peer = Raw::connect_narrow(edge.public).upgrade("/connection/websocket");
    let mut commands = "{\"id\":1,\"connect\":{}}".to_owned();
    for id in 2..12 {
        commands += &format!(
            "\n{{\"id\":{id},\"history\":{{\"channel\":\"much\",\"limit\":-1}}}}\n\
             {{\"id\":{},\"history\":{{\"channel\":\"much\",\"limit\":-1}}}}",
            id + 100
        );
    }
    peer.send_frame(0x81, commands.as_bytes());
    peer
}

#[test]
fn hoarders_of_replies_are_closed_and_polite_clients_are_not() {
    const MEMORY_MAX: usize = 3 * MEGABYTE;
    let edge = Edge::with(&[
        "shards.count=1",
        "slow.memory_max=3MiB",
        "client.reply_bytes_max=1536KiB",
        // Nobody is closed for anything else.
        "slow.age_max=1h",
        "websocket.close_deadline=1h",
        "heartbeat.pong_deadline=1h",
        "channels.history_size=1000",
        "namespaces.open.publish=everybody",
    ]);
    for _ in 0..40 {
        edge.publish("much", format!("\"{}\"", "x".repeat(8000)));
    }
    edge.publish("little", format!("\"{LITTLE:4000}\""));
    let before = edge.memory();
    let mut hoarders: Vec<Raw> = (0..60).map(|_| hoard(&edge)).collect();
    // Others take in small bites what is left.
    for number in 0..8 {
        let mut peer = Raw::connect_narrow(edge.public).upgrade("/echo");
        peer.flood(&frame(0x82, &[7; 1000]), 64 * MEGABYTE, Duration::from_millis(300));
        hoarders.push(peer);
        be_polite(&edge, number);
    }
    // They were in need of more memory than there is.
    eventually("hoarders are closed", || edge.metric(HOARDING) >= 10);
    let held = edge.metric("tidegate_outbox_bytes") + edge.metric("tidegate_log_bytes");
    assert!(held as usize <= MEMORY_MAX, "{held} bytes held");
    let grown = edge.memory().saturating_sub(before);
    assert!(grown < 8 * MEMORY_MAX, "{grown} bytes more");
    for number in 8..30 {
        be_polite(&edge, number);
    }
    drop(hoarders);
    edge.expect_metric("tidegate_outbox_bytes", 0);
}

#[test]
fn hoarders_of_half_messages_are_closed_and_polite_clients_are_not() {
    let edge = Edge::with(&["websocket.memory_max=1MiB", "shards.count=1"]);
    let mut polite: Vec<Raw> = (0..20).map(|_| edge.raw("/echo")).collect();
    let mut hoarders: Vec<Raw> = (0..40).map(|_| edge.raw("/echo")).collect();
    let small = frame(0x82, &[7; 10_000]);
    let large = frame(0x82, &[8; 60_000]);
    let read = |edge: &Edge| edge.metric("tidegate_received_bytes_total");
    // What a polite client gives back when its message is whole, hoarders take at once.
    for step in 0..25 {
        let before = read(&edge);
        let sent = hoarders.iter_mut().map(|it| it.try_send(&large[step * 2000..][..2000]));
        assert!(sent.count() > 0);
        for peer in &mut polite {
            peer.send(&small[..9000]);
        }
        eventually("they are read", || read(&edge) >= before + 20 * 9000);
        for peer in &mut polite {
            peer.send(&small[9000..]);
            peer.expect(0x82, &[7; 10_000]);
        }
    }
    let closed = edge.metric(HALF_READ);
    assert!((10..40).contains(&closed), "{closed} hoarders closed");
    let held = edge.metric("tidegate_half_read_bytes");
    assert!((512 << 10..=1 << 20).contains(&held), "{held} bytes");
    drop(hoarders);
    edge.expect_metric("tidegate_half_read_bytes", 0);
}

#[test]
fn a_message_that_never_ends_is_closed_at_its_deadline() {
    let options = ["websocket.message_deadline=1s", "websocket.message_bytes_max=16MiB"];
    let edge = Edge::with(&options);
    let mut dribble = edge.raw("/websocket/dribble");
    let mut steady = edge.raw("/echo");
    let whole = frame(0x82, &vec![9; 4 * MEGABYTE]);
    let (mut sent, start) = (0, Instant::now());
    dribble.send(&frame(0x82, &[7; 1000])[..100]);
    while edge.metric(HALF_READ) == 0 || start.elapsed() < Duration::from_secs(3) {
        // A byte now and then keeps no message alive, and neither does a ping; progress does.
        dribble.try_send(b"x");
        let end = (sent + 20_000).min(whole.len() - 1);
        steady.send(&whole[sent..end]);
        sent = end;
        std::thread::sleep(Duration::from_millis(20));
        assert!(start.elapsed() < Duration::from_secs(20), "the dribble goes on");
    }
    dribble.expect_close(1008);
    steady.send(&whole[sent..]);
    assert_eq!(steady.hear().unwrap().payload.len(), 4 * MEGABYTE);
    assert_eq!(edge.metric(HALF_READ), 1);
}

/// So many publications in one frame, with numbers from 1000 on.
fn publications(count: u32, size: usize) -> String {
    let data = "x".repeat(size);
    let publish = |id: u32| {
        let publish = json!({ "channel": "flood", "data": data });
        json!({ "id": id, "publish": publish }).to_string()
    };
    (1000..1000 + count).map(publish).collect::<Vec<_>>().join("\n")
}

/// How many replies of so many are error 111.
fn refused(client: &Managed, count: u32) -> usize {
    (0..count).filter(|_| client.hear()["error"]["code"] == 111).count()
}

#[test]
fn a_client_publishes_no_more_than_so_much_in_a_second() {
    let edge = Edge::with(&["channels.publish=everybody", "websocket.message_bytes_max=1MiB"]);
    let client = Managed::connect(&edge);
    client.say(&publications(400, 10));
    // A second may have ended in between.
    let refusals = refused(&client, 400);
    assert!((250..=350).contains(&refusals), "{refusals}");
    let other = Managed::connect(&edge);
    other.say(&publications(20, 40_000));
    let refusals = refused(&other, 20);
    assert!((5..=15).contains(&refusals), "each counts for ten: {refusals}");
    let over_rate = edge.metric("tidegate_client_commands_over_rate_total");
    let events = edge.events();
    for number in 0..200 {
        other.say(&json!({ "send": { "data": number } }).to_string());
    }
    for number in 0..200 {
        while events.next().payload != number.to_string().as_bytes() {}
    }
    assert_eq!(edge.metric("tidegate_client_commands_over_rate_total"), over_rate);
}

#[test]
fn a_flood_of_publications_closes_no_reader_and_holds_up_no_other_channel() {
    const FLOODERS: usize = 8;
    const FRAMES: usize = 8;
    const READERS: usize = 16;
    let edge = Edge::with(&["channels.publish=everybody", "client.publishes_per_second=0"]);
    let (edge, is_over) = (&edge, std::sync::atomic::AtomicUsize::new(0));
    let ready = std::sync::Barrier::new(FLOODERS + READERS);
    std::thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                let reader = Managed::connect(edge);
                reader.done("subscribe", json!({ "channel": "flood" }));
                ready.wait();
                for _ in 0..FLOODERS * FRAMES * 100 {
                    reader.data();
                }
            });
        }
        for _ in 0..FLOODERS {
            scope.spawn(|| {
                let flooder = Managed::connect(edge);
                let frame = publications(100, 200);
                ready.wait();
                for _ in 0..FRAMES {
                    flooder.say(&frame);
                }
                assert_eq!(refused(&flooder, 100 * FRAMES as u32), 0);
                is_over.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            });
        }
        let calm = Managed::connect(edge);
        calm.done("subscribe", json!({ "channel": "calm" }));
        let mut rounds = 0;
        while is_over.load(std::sync::atomic::Ordering::Relaxed) < FLOODERS {
            calm.done("publish", json!({ "channel": "calm", "data": rounds }));
            assert_eq!(calm.data(), rounds);
            rounds += 1;
        }
    });
    assert_eq!(edge.metric("tidegate_deliveries_dropped_total"), 0);
    edge.expect_metric("tidegate_client_commands_parked", 0);
}

#[test]
fn a_flood_of_commands_holds_up_no_other_client() {
    const FLOODERS: u32 = 16;
    const FRAMES: u32 = 4;
    const COMMANDS: u32 = 900;
    let edge = &Edge::with(&["shards.count=1", "channels.presence=true"]);
    let over = &std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        let polite = Managed::connect(edge);
        for _ in 0..FLOODERS {
            let client = Managed::connect(edge);
            scope.spawn(move || {
                let command = |id: u32| {
                    let channel = json!({ "channel": format!("flood-{}", id / 2 % 50) });
                    let method = if id.is_multiple_of(2) { "subscribe" } else { "unsubscribe" };
                    json!({ "id": id, method: channel }).to_string()
                };
                let frame = (1000..1000 + COMMANDS).map(command).collect::<Vec<_>>().join("\n");
                for _ in 0..FRAMES {
                    client.say(&frame);
                }
                for number in 0..FRAMES * COMMANDS {
                    assert_eq!(client.hear()["id"], 1000 + number % COMMANDS);
                }
                over.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            });
        }
        let mut rounds = 0;
        while over.load(std::sync::atomic::Ordering::Relaxed) < FLOODERS {
            polite.refused("rpc", json!({ "method": "any" }));
            rounds += 1;
        }
        // Behind whole frames of the others it has its turn once in some thousand commands.
        let frames = FLOODERS * FRAMES;
        assert!(rounds > frames, "{rounds} while {frames} frames were carried out");
    });
    edge.expect_metric("tidegate_client_commands_parked", 0);
}
