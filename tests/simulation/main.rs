//! A deterministic simulation of several shards: whole runs that follow from a seed each.
//!
//! Real hubs, with links, sockets, a clock and a workload that are simulated and full of faults;
//! a model that knows who is owed what; and a checker that reads every byte a socket took.
//! `SIMULATION_SEEDS=1000 cargo test --test simulation` runs more seeds, `SIMULATION_SEED=42` only
//! that one, and `SIMULATION_STEPS` changes the length of each run.

mod checker;
mod model;
mod network;
mod random;
mod workload;
mod world;
mod wrong;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::workload::Run;

/// Seeds that once showed a bug.
const REGRESSION_SEEDS: [u64; 0] = [];

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

fn run(seed: u64) {
    let steps = number("SIMULATION_STEPS").unwrap_or(2000);
    let result = catch_unwind(AssertUnwindSafe(|| Run::new(seed).go(steps as usize)));
    if result.is_err() {
        panic!("seed {seed} fails: SIMULATION_SEED={seed} cargo test --test simulation");
    }
}

#[test]
fn every_seed_keeps_every_promise() {
    if let Some(seed) = number("SIMULATION_SEED") {
        return run(seed);
    }
    let count = number("SIMULATION_SEEDS").unwrap_or(200);
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= count {
                        return;
                    }
                    run(seed);
                }
            });
        }
    });
}

#[test]
fn seeds_that_once_failed() {
    REGRESSION_SEEDS.into_iter().for_each(run);
}
