//! What the client protocol costs: a push in each form, commands, replies that repeat publications,
//! and a channel whose subscribers need several forms.
//!
//! A push is encoded once for each form that some subscriber needs, however many there are. Its
//! payload is JSON. The commands are those of `tests/centrifuge/golden`. Times come from criterion.
//! Before them, each operation runs once under a counting allocator. At the end a whole hub
//! publishes to a dozen subscribers of one, two or all three forms, in interleaved rounds: what a
//! form more costs is its encoding, its log, and its entry at the home.
#![allow(missing_docs, reason = "the macros of criterion make public items")]

mod allocation;
mod rounds;
mod stage;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use allocation::print_allocations;
use criterion::{Criterion, criterion_group, criterion_main};
use rounds::{Contestant, compare};
use stage::Stage;
use tidegate::model::{
    ChannelName, Epoch, Namespace, Position, Publication, Push, PushBody, Reply, SubscribeResult,
    Variant,
};
use tidegate::protocol::centrifuge::{decode_requests, encode_push, encode_reply};

const COMMANDS: &str = include_str!("../tests/centrifuge/golden/commands.txt");
/// What is repeated in replies; pushes are of all sizes.
const PAYLOAD_BYTES: usize = 128;
const SIZES: [usize; 3] = [PAYLOAD_BYTES, 1024, 16 * 1024];
const RECOVERED: u64 = 100;

/// Subscribers of a channel: a number that can be shared out evenly.
const SUBSCRIBERS: usize = 12;

/// What a channel with history remembers.
const REMEMBERED: usize = 100;

/// Publications of a round.
const PUBLICATIONS: u32 = 2000;

fn channel() -> ChannelName {
    ChannelName::parse(b"news").expect("a valid name")
}

fn payload(bytes: usize) -> String {
    let around = r#"{"price":100.25,"text":""}"#;
    let text = "x".repeat(bytes - around.len());
    let payload = around.replace(r#""""#, &format!(r#""{text}""#));
    assert_eq!(payload.len(), bytes);
    payload
}

fn body(bytes: usize, offset: u64) -> PushBody {
    let publication = Arc::new(Publication::new(true, payload(bytes).as_bytes(), 0));
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

/// Encodes a push once in each form.
fn pushes(criterion: &mut Criterion) {
    for bytes in SIZES {
        let payload = payload(bytes);
        measure(criterion, &format!("push of {bytes} bytes, Raw"), || {
            Publication::new(true, black_box(payload.as_bytes()), 0).frame().len()
        });
        for variant in [Variant::Json, Variant::Protobuf] {
            let (channel, body) = (channel(), body(bytes, 300));
            measure(criterion, &format!("push of {bytes} bytes, {variant:?}"), || {
                encode_push(variant, black_box(&channel), black_box(&body)).frame.len()
            });
        }
    }
}

fn commands_and_replies(criterion: &mut Criterion) {
    for variant in [Variant::Json, Variant::Protobuf] {
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
    let push = |offset| Arc::new(Push::new(channel(), body(PAYLOAD_BYTES, offset)));
    SubscribeResult {
        position: Some(Position { offset: 0, epoch: Epoch(0xbeef) }),
        recovered: true,
        publications: (1..=RECOVERED).map(push).collect(),
        ..SubscribeResult::default()
    }
}

/// Publishes to subscribers of several forms, without history and with it.
fn audiences(_: &mut Criterion) {
    use Variant::{Json, Protobuf, Raw};
    let audiences: [&[Variant]; 5] =
        [&[Raw], &[Json], &[Protobuf], &[Raw, Json], &[Raw, Json, Protobuf]];
    for bytes in SIZES {
        let mut contestants = Vec::new();
        for (history_size, history) in [(0, ""), (REMEMBERED, ", history")] {
            for variants in audiences {
                let rules = Namespace { history_size, ..Namespace::default() };
                contestants.push(audience(rules, variants, history, payload(bytes)));
            }
        }
        let title = format!("publishing {bytes} bytes to {SUBSCRIBERS} subscribers in the hub");
        compare(&title, PUBLICATIONS, &mut contestants);
    }
}

fn audience(
    rules: Namespace,
    variants: &[Variant],
    history: &str,
    payload: String,
) -> Contestant<'static> {
    let mut stage = Stage::new(rules);
    let channel = stage::channel(0);
    for place in 0..SUBSCRIBERS {
        stage.enter(variants[place % variants.len()], "", vec![channel.clone()]);
    }
    let run = move |count| {
        let begin = Instant::now();
        for _ in 0..count {
            let publication = Arc::new(Publication::new(true, payload.as_bytes(), 0));
            stage.publish(&channel, &publication);
            assert!(stage.flush() > 0);
        }
        begin.elapsed()
    };
    (format!("{variants:?}{history}"), Box::new(run))
}

criterion_group!(centrifuge, pushes, commands_and_replies, audiences);
criterion_main!(centrifuge);
