//! The promise: connections may come and go without end and leave nothing behind.

use std::net::TcpListener;

use crate::harness::{Client, Edge, Raw, request};

#[test]
fn thousands_of_connections_leave_nothing() {
    // What each may leave, which is nothing: less than the smallest object of a connection.
    const BYTES_MAX: usize = 32;
    let edge = Edge::start();
    let ways = 500;
    let churn = || {
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let edge = &edge;
                scope.spawn(move || {
                    for n in 0..ways {
                        let path = format!("/websocket/{}?channels=a,b{n}", n % 50 + thread * 50);
                        let mut peer = Raw::open(edge.public, &path);
                        match n % 3 {
                            0 => peer.reset(),
                            1 => drop(peer),
                            _ => {
                                peer.send_frame(0x88, &1000u16.to_be_bytes());
                                peer.expect_close(1000);
                            }
                        }
                    }
                });
            }
        });
        for gauge in ["connections", "subscriptions", "channels", "handshakes_pending"] {
            edge.expect_metric(&format!("tidegate_{gauge}"), 0);
        }
    };
    churn();
    let descriptors = edge.descriptors();
    // The allocator settles within some churns; a leak makes all of them grow, as much each time.
    let grown: Vec<usize> = (0..8)
        .map(|_| {
            let before = edge.memory();
            churn();
            edge.memory().saturating_sub(before)
        })
        .collect();
    let bound = 2 * ways * BYTES_MAX;
    let settled = grown.windows(3).any(|three| three.iter().all(|&bytes| bytes <= bound));
    assert!(settled, "1,000 connections each leave so many bytes: {grown:?}");
    assert!(edge.descriptors() <= descriptors + 8, "descriptors are closed");
    edge.expect_metric("tidegate_handshakes_total{result=\"accepted\"", 9000);
}

#[test]
fn a_user_that_comes_back_is_reached_at_once() {
    let edge = Edge::start();
    for round in 0..200 {
        let client = edge.connect("u", &["c"]);
        let text = round.to_string();
        assert!(edge.publish("#u", &text) >= 1);
        client.expect(&text);
    }
}

#[test]
fn an_address_is_free_again_after_the_end() {
    // Not of those that the kernel gives to others when it is free for a moment.
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let port = (20_000..30_000).find(is_free).unwrap();
    let option = format!("public.address=127.0.0.1:{port}");
    let mut edge = Edge::strict_at(&option);
    let address = edge.public;
    let mut raw = Raw::connect(address);
    raw.send(request("/websocket/u", &[]).as_bytes());
    raw.expect_open();
    edge.signal("KILL");
    edge.wait();
    drop(raw);
    let mut peers = Vec::new();
    let again = Edge::strict_at(&option);
    for _ in 0..20 {
        peers.push(Client::open(address, "/websocket/u"));
    }
    let mut raw = Raw::connect(again.public);
    raw.send(request("/websocket/v", &[]).as_bytes());
    raw.expect_open();
}
