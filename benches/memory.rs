//! What the hub keeps in memory for a subscription, a remembered publication, an entry of presence.
//!
//! Figures are bytes in use as they were asked for, divided by a number of things that is a power
//! of two: then tables that double are just full, and hash tables, which keep an eighth of their
//! room free, are half full. A shard that knows its limit has room in its tables from the start,
//! which costs address space and no memory. What the allocator adds by rounding sizes up is not
//! counted.

mod allocation;
mod stage;

use std::sync::Arc;

use allocation::{Allocations, print_allocations};
use stage::{Stage, channel};
use tidegate::model::{Namespace, Publication, Variant};

/// Channels of a connection that has several.
const SEVERAL: u32 = 8;

const PAYLOAD_BYTES: usize = 128;

fn main() {
    let is_trial = !std::env::args().any(|argument| argument == "--bench");
    let count = if is_trial { 1 << 8 } else { 1 << 16 };
    let mut stage = None;
    print_allocations("an empty hub", || stage = Some(Stage::new(Namespace::default())));
    subscriptions(count);
    publications(count);
    presence(count);
}

/// The bytes in use that something leaves behind, for each of so many.
fn kept_each(count: u32, stage: &mut Stage, run: impl FnOnce(&mut Stage)) -> f64 {
    Allocations::of(|| run(stage)).kept as f64 / f64::from(count)
}

/// What each of so many connections takes that subscribe to the same channels.
fn connection(count: u32, variant: Variant, channels: u32) -> f64 {
    let mut stage = Stage::new(Namespace::default());
    kept_each(count, &mut stage, |stage| {
        for _ in 0..count {
            stage.enter(variant, "", (0..channels).map(channel).collect());
        }
    })
}

fn subscriptions(count: u32) {
    println!("\n{count} connections, shared channels, bytes of each");
    println!("                    connection  first channel  each further  first and further");
    println!("                                                                beyond the raw");
    let mut raw = (0.0, 0.0);
    for variant in Variant::ALL {
        let [none, one, several] =
            [0, 1, SEVERAL].map(|channels| connection(count, variant, channels));
        let (first, further) = (one - none, (several - one) / f64::from(SEVERAL - 1));
        if variant == Variant::Raw {
            raw = (first, further);
        }
        let beyond = (first - raw.0, further - raw.1);
        println!(
            "  {:16}  {none:10.1}  {first:13.1}  {further:12.1}  {:7.1} {:9.1}",
            format!("{variant:?}"),
            beyond.0,
            beyond.1
        );
    }
}

fn publications(count: u32) {
    println!(
        "\n{count} remembered publications of {PAYLOAD_BYTES} bytes, bytes beyond the payload"
    );
    let audiences: [(&str, &[Variant]); 5] = [
        ("no subscribers", &[]),
        ("raw subscribers", &[Variant::Raw]),
        ("JSON", &[Variant::Json]),
        ("protobuf", &[Variant::Protobuf]),
        ("all three", &Variant::ALL),
    ];
    for (name, variants) in audiences {
        let rules = Namespace { history_size: count as usize, ..Namespace::default() };
        let mut stage = Stage::new(rules);
        for &variant in variants {
            stage.enter(variant, "", vec![channel(0)]);
        }
        let kept = kept_each(count, &mut stage, |stage| {
            let payload = format!("{:?}", "x".repeat(PAYLOAD_BYTES - 2));
            for _ in 0..count {
                let publication = Arc::new(Publication::new(true, payload.as_bytes(), 0));
                stage.publish(&channel(0), &publication);
                stage.flush();
            }
        });
        println!("  {name:16}  {:10.1}", kept - PAYLOAD_BYTES as f64);
    }
}

fn presence(count: u32) {
    println!("\n{count} entries of presence in a channel, bytes of each");
    for (name, variant, users) in [
        ("raw, a user each", Variant::Raw, count),
        ("JSON, a user each", Variant::Json, count),
        ("JSON, one user", Variant::Json, 1),
    ] {
        let [without, with] = [false, true].map(|presence| {
            let mut stage = Stage::new(Namespace { presence, ..Namespace::default() });
            kept_each(count, &mut stage, |stage| {
                for client in 0..count {
                    stage.enter(variant, &format!("user-{}", client % users), vec![channel(0)]);
                }
            })
        });
        println!("  {name:20}  {:6.1}", with - without);
    }
}
