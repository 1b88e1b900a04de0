//! Full links, requests that nobody answers, and the end of the thread.

use super::*;

#[test]
fn a_full_link_loses_nothing() {
    const MESSAGES: usize = 5000;
    let mut pull = endpoint(Kind::Pull);
    pull.high_water_mark = 10;
    let edge = Edge::start(&[pull], 2, 4);
    let push = edge.connect(zmq::PUSH, 0);
    let sender = std::thread::spawn(move || {
        for number in 0..MESSAGES {
            let channels = ["a", "b", "c", "d", "e", "f"];
            let meta = serde_json::json!({"op": "broadcast", "channels": channels}).to_string();
            match number % 3 {
                0 => push.send_multipart(["$cmd", &number.to_string(), &meta], 0).unwrap(),
                _ => push.send_multipart(["a", &number.to_string()], 0).unwrap(),
            }
        }
        push
    });
    wait_for(|| (edge.metrics.link_stalls.value() > 0).then_some(()));
    std::thread::sleep(Duration::from_millis(50));
    // Stalled: it reads no more, whatever arrives.
    let read = edge.metrics.messages_pull.value();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(edge.metrics.messages_pull.value(), read);
    assert!(read < 20);
    // Channel "a" gets every message, in order.
    let mut next = 0;
    while next < MESSAGES {
        let (_, command, _) = edge.command();
        let (has_a, publication) = match command {
            Command::Publish { channel, publication, .. } => (channel.as_str() == "a", publication),
            Command::Broadcast { channels, publication, .. } => {
                (channels.iter().any(|channel| channel.as_str() == "a"), publication)
            }
            other => panic!("{other:?}"),
        };
        if has_a {
            assert_eq!(publication.payload(), next.to_string());
            next += 1;
        }
    }
    sender.join().unwrap();
    assert_eq!(edge.metrics.messages_pull.value(), MESSAGES as u64);
}

#[test]
fn a_link_holds_no_more_than_some_bytes() {
    const MESSAGES: u64 = 300;
    let edge = Edge::start(&[endpoint(Kind::Pull)], 1, 4096);
    let push = edge.connect(zmq::PUSH, 0);
    push.set_sndhwm(1).unwrap();
    let sender = std::thread::spawn(move || {
        let payload = vec![b'x'; 1_000_000];
        for _ in 0..MESSAGES {
            push.send_multipart([b"a", &payload[..]], 0).unwrap();
        }
        push
    });
    wait_for(|| (edge.metrics.link_stalls.value() > 0).then_some(()));
    // The link has room for thousands more, of which none is read.
    let read = edge.metrics.messages_pull.value();
    assert!(read < 70, "{read}");
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(edge.metrics.messages_pull.value(), read);
    (0..MESSAGES).for_each(|_| drop(edge.command()));
    sender.join().unwrap();
    assert_eq!(edge.metrics.messages_pull.value(), MESSAGES);
}

#[test]
fn a_stalled_thread_sleeps_and_still_answers() {
    let mut edge = Edge::start(&[endpoint(Kind::Router)], 1, 1);
    let dealer = edge.connect(zmq::DEALER, 0);
    for _ in 0..3 {
        dealer.send_multipart(["news", "x"], 0).unwrap();
    }
    wait_for_count(&edge.metrics.link_stalls, 1);
    let (_, _, ticket) = edge.command();
    edge.answer(0, ticket, (true, 0, 1));
    assert_eq!(reply(&dealer), r#"{"ok":true,"sessions":1}"#);
    // Nobody takes the others: the end does not wait for them for ever, and says so.
    assert!(edge.stop() < Duration::from_secs(4));
    // Of the last the thread may not have read anything when it was told to end.
    let said = [reply(&dealer), reply(&dealer)];
    let is = |said: &String, code| said.contains(&format!(r#""code":"{code}""#));
    assert!(said.iter().all(|said| is(said, "timeout") || is(said, "draining")), "{said:?}");
    assert!(said.iter().any(|said| is(said, "timeout")), "{said:?}");
}

#[test]
fn what_comes_when_clients_are_gone_is_refused_and_counted() {
    const MESSAGES: u64 = 500;
    let mut edge = Edge::start(&[endpoint(Kind::Pull), endpoint(Kind::Router)], 1, 1);
    let (push, dealer) = (edge.connect(zmq::PUSH, 0), edge.connect(zmq::DEALER, 1));
    for number in 0..MESSAGES {
        push.send_multipart(["a", &number.to_string()], 0).unwrap();
    }
    wait_for(|| (edge.metrics.link_stalls.value() > 0).then_some(()));
    let begun = edge.metrics.messages_pull.value();
    assert!(begun < MESSAGES, "the link is full");
    for _ in 0..MESSAGES {
        dealer.send_multipart(["b", "x"], 0).unwrap();
    }
    edge.stop.finish();
    (0..begun).for_each(|_| drop(edge.command()));
    for _ in 0..MESSAGES {
        assert!(reply(&dealer).contains(r#""code":"draining""#));
    }
    wait_for_count(&edge.metrics.refused_draining, 2 * MESSAGES - begun);
    assert_eq!(edge.metrics.messages_pull.value(), MESSAGES);
    // What is sent from now on waits for whoever has the address next.
    push.send_multipart(["a", "late"], 0).unwrap();
    let address = edge.addresses[0].clone();
    edge.stop();
    assert_eq!(edge.metrics.messages_pull.value(), MESSAGES);
    let pull = edge.socket(zmq::PULL);
    pull.bind(&address).unwrap();
    assert_eq!(pull.recv_multipart(0).unwrap(), [&b"a"[..], b"late"]);
}

#[test]
fn what_is_sent_behind_the_end_waits_where_the_edge_connects() {
    let context = zmq::Context::new();
    let push = context.socket(zmq::PUSH).unwrap();
    push.set_linger(0).unwrap();
    push.bind("tcp://127.0.0.1:*").unwrap();
    let address = push.get_last_endpoint().unwrap().unwrap();
    let connecting = Endpoint { bind: false, ..Endpoint::new(Kind::Pull, &address) };
    let mut edge = Edge::start(&[connecting], 1, 64);
    push.send_multipart(["a", "early"], 0).unwrap();
    assert!(matches!(edge.command(), (0, Command::Publish { .. }, None)));
    edge.stop.finish();
    wait_for(|| edge.has_finished.load(Ordering::Relaxed).then_some(()));
    // Until shards have ended the thread goes on, and takes nothing that nobody would hear of.
    wait_for(|| {
        let sent = push.send_multipart(["a", "late"], zmq::DONTWAIT);
        (sent == Err(zmq::Error::EAGAIN)).then_some(())
    });
    edge.stop();
}

#[test]
fn too_many_requests_are_refused() {
    let mut router = endpoint(Kind::Router);
    router.high_water_mark = 200_000;
    let edge = Edge::start(&[router], 1, 100_000);
    let dealer = edge.socket(zmq::DEALER);
    dealer.set_sndhwm(200_000).unwrap();
    dealer.connect(&edge.addresses[0]).unwrap();
    for _ in 0..crate::ingest::pending::REQUESTS_MAX {
        dealer.send_multipart(["news", "x"], 0).unwrap();
    }
    let numbered = ["news", "x", r#"{"src":"shop","seq":2}"#];
    dealer.send_multipart(numbered, 0).unwrap();
    assert!(reply(&dealer).contains(r#""code":"overloaded""#));
    assert_eq!(edge.metrics.requests_refused.value(), 1);
    // Everybody who waits is answered in the end.
    let (_, _, ticket) = edge.command();
    edge.answer(0, ticket, (true, 0, 1));
    assert_eq!(reply(&dealer), r#"{"ok":true,"sessions":1}"#);
    // What was refused did not use up its number.
    dealer.send_multipart(numbered, 0).unwrap();
    wait_for_count(&edge.metrics.messages_router, crate::ingest::pending::REQUESTS_MAX as u64 + 2);
    assert_eq!((edge.metrics.requests_refused.value(), edge.metrics.duplicates.value()), (1, 0));
}

/// Processor time of a thread, in clock ticks of 10 ms.
fn ticks_of_thread(name: &str) -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let stats =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
    let stat = stats.into_iter().find(|stat| stat.contains(&format!("({name})"))).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_waiting_thread_does_not_spin() {
    let name = "ingest-waiting";
    let endpoints = [endpoint(Kind::Router), endpoint(Kind::Xpub)];
    let edge = Edge::start_named(&endpoints, 1, 1, name);
    let dealer = edge.connect(zmq::DEALER, 0);
    let subscriber = edge.connect(zmq::SUB, 1);
    subscriber.set_subscribe(b"$event").unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let before_idle = ticks_of_thread(name);
    std::thread::sleep(Duration::from_millis(400));
    assert!(ticks_of_thread(name) - before_idle <= 5, "idle");
    for _ in 0..100 {
        dealer.send_multipart(["news", "x"], 0).unwrap();
    }
    wait_for_count(&edge.metrics.link_stalls, 1);
    let before_stall = ticks_of_thread(name);
    std::thread::sleep(Duration::from_millis(400));
    assert!(ticks_of_thread(name) - before_stall <= 10, "stalled");
}

#[test]
fn an_idle_thread_ends_at_once() {
    let kinds = [Kind::Sub, Kind::Pull, Kind::Router, Kind::Pub, Kind::Xpub];
    let endpoints: Vec<_> = kinds.into_iter().map(endpoint).collect();
    let mut edge = Edge::start(&endpoints, 1, 16);
    assert!(edge.stop() < Duration::from_secs(1));
}
