//! What a timer costs: arming, moving and firing among a million, and the allocations each makes.
//!
//! Times come from criterion. Before them, each operation runs once under a counting allocator;
//! the wheel promises no allocation once the largest id is known. Then comes the slowest tick, in
//! which a slot of level 2 cascades: a mean hides it. Each tick's fastest run of several heartbeats
//! counts, which leaves out what other processes do to the clock. `touch a node` is the floor of
//! whatever goes to a random timer. Targets: at most 25 ns to re-arm and 16 bytes a timer.
#![allow(missing_docs, reason = "the macros of criterion make public items")]

mod allocation;

use std::hint::black_box;
use std::time::{Duration, Instant};

use allocation::print_allocations;
use criterion::{Criterion, criterion_group, criterion_main};
use tidegate::wheel::{TICK_MILLIS, Tick, Wheel};

const TIMERS: u32 = 1 << 20;

/// Ticks of the heartbeat over which the timers are spread: 25 s.
const SPREAD: u32 = 25_000 / TICK_MILLIS;

/// Ticks after which a heartbeat meets the slots of level 2, which are 16 ticks long, in the same
/// places again.
const PERIOD: u32 = 4 * SPREAD;

/// Xorshift: random enough to miss the caches, cheap enough not to show in the figures.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (((self.0 >> 32) * u64::from(bound)) >> 32) as u32
    }
}

fn spread_wheel() -> Wheel {
    let mut wheel = Wheel::new(Tick(0));
    // The largest id first: the vector is allocated once, as a shard that knows its limit does.
    for id in (0..TIMERS).rev() {
        wheel.insert_or_move(id, Tick(1 + id.wrapping_mul(2_654_435_761) % SPREAD));
    }
    wheel
}

/// Fires one tick, and re-arms whatever fired as a heartbeat does.
fn heartbeat_tick(wheel: &mut Wheel, now: Tick) -> u32 {
    let mut fired_count = 0;
    while let Some(id) = wheel.pop_expired(now) {
        wheel.insert_or_move(id, now.plus(SPREAD));
        fired_count += 1;
    }
    fired_count
}

fn allocations(_: &mut Criterion) {
    let mut random = Random(0x9E37_79B9);
    let mut wheel = None;
    print_allocations("arm 2^20 timers", || wheel = Some(spread_wheel()));
    let mut wheel = wheel.expect("it has just been made");
    print_allocations("re-arm 2^20 times", || {
        for _ in 0..TIMERS {
            wheel.insert_or_move(random.below(TIMERS), Tick(1 + random.below(SPREAD)));
        }
    });
    print_allocations("cancel and arm 2^20 times", || {
        for _ in 0..TIMERS {
            let id = random.below(TIMERS);
            wheel.cancel(id);
            wheel.insert_or_move(id, Tick(1 + random.below(SPREAD)));
        }
    });
    let mut ticks = vec![Duration::MAX; PERIOD as usize];
    print_allocations("fire and re-arm over many heartbeats", || {
        for now in 1..=4 * PERIOD {
            let begin = Instant::now();
            heartbeat_tick(&mut wheel, Tick(now));
            let fastest = &mut ticks[(now % PERIOD) as usize];
            *fastest = begin.elapsed().min(*fastest);
        }
    });
    ticks.sort_unstable();
    let (median, slowest) = (ticks[ticks.len() / 2], ticks[ticks.len() - 1]);
    println!("ticks with 2^20 timers over 25 s: median {median:?}, slowest {slowest:?}");
}

fn times(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wheel");
    let mut random = Random(0x9E37_79B9);

    let mut wheel = Wheel::new(Tick(0));
    group.bench_function("insert + cancel, one timer", |bencher| {
        bencher.iter(|| {
            wheel.insert_or_move(black_box(7), Tick(black_box(500)));
            wheel.cancel(black_box(7));
        });
    });

    let mut nodes = vec![0_u128; TIMERS as usize];
    group.bench_function("touch a node, random of 2^20", |bencher| {
        bencher.iter(|| nodes[random.below(TIMERS) as usize] += 1);
    });
    drop(nodes);

    let mut wheel = spread_wheel();
    let mut later = 1;
    group.bench_function("put off, random of 2^20", |bencher| {
        bencher.iter(|| {
            later += 1;
            wheel.insert_or_move(random.below(TIMERS), Tick(SPREAD).plus(later >> 8));
        });
    });

    let mut wheel = spread_wheel();
    group.bench_function("re-arm at random, random of 2^20", |bencher| {
        bencher.iter(|| {
            wheel.insert_or_move(random.below(TIMERS), Tick(1 + random.below(SPREAD)));
        });
    });
    group.bench_function("cancel + insert, random of 2^20", |bencher| {
        bencher.iter(|| {
            let id = random.below(TIMERS);
            wheel.cancel(id);
            wheel.insert_or_move(id, Tick(1 + random.below(SPREAD)));
        });
    });

    let mut wheel = spread_wheel();
    let mut now = Tick(0);
    group.bench_function("tick with 2^20 timers over 25 s, 2097 fire", |bencher| {
        bencher.iter(|| {
            now = now.plus(1);
            heartbeat_tick(&mut wheel, now)
        });
    });
    let mut idle = Wheel::new(Tick(0));
    idle.insert_or_move(0, Tick(Tick::DISTANCE_MAX));
    let mut now = Tick(0);
    group.bench_function("tick in which nothing is due", |bencher| {
        bencher.iter(|| {
            now = Tick((now.0 + 1) & 0xFF_FFFF);
            idle.pop_expired(black_box(now))
        });
    });
    group.finish();
}

criterion_group! {
    name = wheel;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1));
    targets = allocations, times
}
criterion_main!(wheel);
