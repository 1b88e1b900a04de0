//! A deterministic simulation of managed clients: reconnects, recovery, presence, eviction.
//!
//! Real hubs behind simulated links and sockets; clients that keep positions as published SDKs do;
//! and a record of what was published under which offset. Every publication that a client sees must
//! be the next one of its position, whatever was lost on the way, or the client must have been told
//! that it could not recover. `SIMULATION_SEEDS=1000 cargo test --test recovery` runs more seeds,
//! `SIMULATION_SEED=42` only that one.

mod client;
mod leaving;
#[path = "../simulation/network.rs"]
#[expect(dead_code, reason = "the sockets of this simulation keep their bytes")]
mod network;
mod pending;
#[path = "../simulation/random.rs"]
mod random;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::world::{Met, World};

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

fn run(seed: u64) -> Met {
    let result = catch_unwind(AssertUnwindSafe(|| World::new(seed).run()));
    result.unwrap_or_else(|_| {
        panic!("seed {seed} fails: SIMULATION_SEED={seed} cargo test --test recovery")
    })
}

#[test]
fn nothing_is_lost_unawares() {
    if let Some(seed) = number("SIMULATION_SEED") {
        println!("{:?}", run(seed));
        return;
    }
    let mut met = Met::default();
    let count = number("SIMULATION_SEEDS").unwrap_or(150);
    for seed in 0..count {
        met.add(&run(seed));
    }
    println!("{met:#?}");
    if count >= 150 {
        met.check();
    }
}
