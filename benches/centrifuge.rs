//! What the client protocol costs: a push in each form, commands, and replies that repeat
//! publications.
//!
//! A push is encoded once for each form that some subscriber needs, however many there are. Its
//! payload is JSON of 128 bytes. The commands are those of `tests/centrifuge/golden`. Times come
//! from criterion. Before them, each operation runs once under a counting allocator.
#![allow(missing_docs, reason = "the macros of criterion make public items")]

mod allocation;

use std::hint::black_box;
use std::sync::Arc;

use allocation::print_allocations;
use criterion::{Criterion, criterion_group, criterion_main};
use tidegate::protocol::centrifuge::{
    Reply, SubscribeResult, decode_requests, encode_push, encode_reply,
};
use tidegate::protocol::{ChannelName, Epoch, Position, Publication, Push, PushBody, Variant};

const COMMANDS: &str = include_str!("../tests/centrifuge/golden/commands.txt");
const PAYLOAD_BYTES: usize = 128;
const RECOVERED: u64 = 100;

fn channel() -> ChannelName {
    ChannelName::parse(b"news").expect("a valid name")
}

fn body(offset: u64) -> PushBody {
    let around = r#"{"price":100.25,"text":""}"#;
    let text = "x".repeat(PAYLOAD_BYTES - around.len());
    let payload = around.replace(r#""""#, &format!(r#""{text}""#));
    assert_eq!(payload.len(), PAYLOAD_BYTES);
    let publication = Arc::new(Publication::new(true, payload.as_bytes(), 0));
    PushBody::Publication { publication, offset }
}

/// A frame with one command of each method, by its name.
fn command(name: &str, variant: Variant) -> Vec<u8> {
    let mut lines = COMMANDS.lines();
    let wanted = format!(r#","{name}":"#);
    let json = lines.find(|line| line.contains(&wanted)).expect("one of each method");
    let hex = lines.next().expect("the same in protobuf");
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    match variant {
        Variant::Protobuf => (0..hex.len()).step_by(2).map(byte).collect(),
        Variant::Raw | Variant::Json => json.into(),
    }
}

/// Prints what an operation allocates, then how long it takes.
fn measure(criterion: &mut Criterion, name: &str, mut run: impl FnMut() -> usize) {
    assert!(run() > 0);
    print_allocations(name, || {
        black_box(run());
    });
    criterion.bench_function(name, |bencher| bencher.iter(&mut run));
}

fn bench(criterion: &mut Criterion) {
    for variant in [Variant::Json, Variant::Protobuf] {
        let (channel, body) = (channel(), body(300));
        measure(criterion, &format!("push, {variant:?}"), || {
            encode_push(variant, black_box(&channel), black_box(&body)).frame.len()
        });
        for name in ["connect", "subscribe", "publish"] {
            let frame = command(name, variant);
            measure(criterion, &format!("{name} command, {variant:?}"), || {
                decode_requests(variant, black_box(&frame)).filter(Result::is_ok).count()
            });
        }
        let mut out = Vec::new();
        measure(criterion, &format!("publish reply, {variant:?}"), || {
            out.clear();
            encode_reply(variant, black_box(7), &Reply::Publish, &mut out);
            out.len()
        });
        let result = recovery();
        let mut out = Vec::new();
        measure(criterion, &format!("subscribe reply, {RECOVERED} recovered, {variant:?}"), || {
            out.clear();
            encode_reply(variant, 7, &Reply::Subscribe(black_box(&result)), &mut out);
            out.len()
        });
    }
}

fn recovery() -> SubscribeResult {
    let push = |offset| Arc::new(Push::new(channel(), body(offset)));
    SubscribeResult {
        position: Some(Position { offset: 0, epoch: Epoch(0xbeef) }),
        recovered: true,
        publications: (1..=RECOVERED).map(push).collect(),
        ..SubscribeResult::default()
    }
}

criterion_group!(centrifuge, bench);
criterion_main!(centrifuge);
