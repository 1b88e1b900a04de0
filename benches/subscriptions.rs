//! What a command about one channel costs a client that is subscribed to many, and what a
//! publication for it costs.
//!
//! A hub without sockets; every send is taken whole. The client speaks JSON, and everything is
//! about the channel that it joined first. Each command is begun, answered and sent.
#![allow(missing_docs, reason = "the macros of criterion make public items")]

mod stage;

use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use stage::{Stage, channel, subscribe};
use tidegate::hub::Asked;
use tidegate::model::{Namespace, Permission, Publication, Variant};

const SUBSCRIPTIONS: [u32; 4] = [1, 100, 1000, 16_000];

const DATA: &[u8] = br#"{"text":"hello"}"#;

/// What is measured, for the client of a row.
type Run = fn(&mut Stage, u32);

const RUNS: [(&str, Run); 4] = [
    ("publish", |stage, row| {
        stage.hub.ask(row, Asked::Publish(1, channel(0), Bytes::from_static(DATA)));
    }),
    ("presence", |stage, row| stage.hub.ask(row, Asked::Presence(1, channel(0)))),
    ("unsubscribe and subscribe", |stage, row| {
        stage.hub.ask(row, Asked::Unsubscribe(1, channel(0)));
        stage.hub.ask(row, Asked::Subscribe(2, Box::new(subscribe(channel(0)))));
    }),
    ("a backend's publication", |stage, _| {
        stage.publish(&channel(0), &Arc::new(Publication::new(true, DATA, 0)));
    }),
];

fn commands(criterion: &mut Criterion) {
    let rules = Namespace {
        publish: Permission::Everybody,
        presence: true,
        read_presence: Some(Permission::Everybody),
        ..Namespace::default()
    };
    for (name, run) in RUNS {
        for count in SUBSCRIPTIONS {
            let mut stage = Stage::new(rules.clone());
            let row = stage.enter(Variant::Json, "", Vec::new());
            for channel in (0..count).map(channel) {
                stage.hub.ask(row, Asked::Subscribe(2, Box::new(subscribe(channel))));
                stage.flush();
            }
            criterion.bench_function(&format!("{name}, {count} subscriptions"), |bencher| {
                bencher.iter(|| {
                    run(&mut stage, row);
                    while stage.hub.poll_effect().is_some() {}
                    assert!(stage.flush() > 0, "everything is answered");
                });
            });
        }
    }
}

criterion_group!(subscriptions, commands);
criterion_main!(subscriptions);
