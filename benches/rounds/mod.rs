//! Rounds in which contestants take turns, so that whatever else the machine does hits all alike.
//!
//! The first contestant is the baseline: the figures of the others are ratios to its figures of the
//! same round. Allocations are those of one more round.

#[path = "../load/report.rs"]
mod report;

use std::time::Duration;

use crate::allocation::Allocations;
use report::{Spread, print_heading};

/// One of those that are compared: its name, and what does something so often and says how long
/// that took.
pub(crate) type Contestant<'a> = (String, Box<dyn FnMut(u32) -> Duration + 'a>);

/// Whether the bench runs only to see that it works, as `cargo test` does.
pub(crate) fn is_trial() -> bool {
    !std::env::args().any(|argument| argument == "--bench")
}

/// Lets all contestants do what they do `count` times in every round, and prints what once costs.
pub(crate) fn compare(title: &str, count: u32, contestants: &mut [Contestant<'_>]) {
    let (rounds, count) = if is_trial() { (2, 3) } else { (15, count) };
    let mut figures = vec![Vec::new(); contestants.len()];
    // The first round warms caches and grows tables.
    for round in 0..=rounds {
        for ((_, run), figures) in contestants.iter_mut().zip(&mut figures) {
            let nanos = run(count).as_nanos() as f64 / f64::from(count);
            if round > 0 {
                figures.push(nanos);
            }
        }
    }
    let baseline = figures[0].clone();
    print_heading(&format!("{title}, {rounds} rounds of {count}, ns and allocations of each"));
    for (place, ((name, run), figures)) in contestants.iter_mut().zip(figures).enumerate() {
        let made = Allocations::of(|| {
            run(count);
        });
        let each = |sum: u64| sum as f64 / f64::from(count);
        let (allocations, bytes) = (each(made.count), each(made.bytes));
        let ratios = figures.iter().zip(&baseline).map(|(figure, least)| figure / least).collect();
        let spread = Spread::of(figures);
        println!("  {name:38} {spread}   {allocations:.1} ({bytes:.0} B)");
        if place > 0 {
            println!("    ratio                                {}", Spread::of(ratios));
        }
    }
}
