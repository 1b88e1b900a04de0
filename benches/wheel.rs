//! What a timer costs: arming, moving and firing among a million, and the allocations each makes.
//!
//! Times come from criterion. Before them, each operation runs once under a counting allocator: the
//! wheel allocates no more than what timers that moved earlier leave behind. Then come the slowest
//! ticks, which a mean hides: those in which a slot of level 2 cascades, and one in which all
//! timers are due; and the slowest portion of them, which is what a turn of a shard takes. Each
//! one's fastest run of several heartbeats counts, without what other processes do to the clock.
//!
//! First of all, interleaved rounds show what it costs to put timers off, as a ratio to the floor
//! of whatever goes to a random timer: what memory costs, at as many places of the size of a
//! timer's row and in the same order. What a shard does for inbound bytes is `hear a peer`, and
//! never the wheel's business; when a timer fires it is armed again, as in `tick with 2^20
//! timers`. The rest happens once or twice in a connection's life. Targets: at most 25 ns to re-
//! arm and 16 bytes a timer.
#![allow(missing_docs, reason = "the macros of criterion make public items")]

mod allocation;
mod rounds;

use std::hint::black_box;
use std::time::{Duration, Instant};

use allocation::print_allocations;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rounds::{Contestant, compare};
use tidegate::wheel::{TICK_MILLIS, Tick, Wheel};

const TIMERS: u32 = 1 << 20;

/// Ticks of the heartbeat over which the timers are spread: 25 s.
const SPREAD: u32 = 25_000 / TICK_MILLIS;

/// What a shard runs in a turn.
const PORTION: u32 = 128;

/// Ticks after which a heartbeat meets the slots of level 2, which are 16 ticks long, in the same
/// places again.
const PERIOD: u32 = 4 * SPREAD;

/// Where the sequence of random timers begins.
const SEED: u64 = 0x9E37_79B9;

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

/// What a tick took, and its slowest portion.
#[derive(Clone, Copy)]
struct TickTimes {
    whole: Duration,
    portion: Duration,
}

impl TickTimes {
    const MAX: Self = Self { whole: Duration::MAX, portion: Duration::MAX };

    fn fastest(self, other: Self) -> Self {
        Self { whole: self.whole.min(other.whole), portion: self.portion.min(other.portion) }
    }

    fn slowest(self, other: Self) -> Self {
        Self { whole: self.whole.max(other.whole), portion: self.portion.max(other.portion) }
    }
}

/// Fires one tick, and re-arms whatever fired as a heartbeat does.
fn heartbeat_tick(wheel: &mut Wheel, now: Tick) -> TickTimes {
    let mut times = TickTimes { whole: Duration::ZERO, portion: Duration::ZERO };
    let mut steps = 0;
    while steps == 0 {
        steps = PORTION;
        let begin = Instant::now();
        while let Some(id) = wheel.pop_expired(now, &mut steps) {
            wheel.insert_or_move(id, now.plus(SPREAD));
        }
        let portion = begin.elapsed();
        times = TickTimes { whole: times.whole + portion, portion: times.portion.max(portion) };
    }
    times
}

/// Writes rows of the size of a timer's at random, then puts timers off in the same order.
fn floor(_: &mut Criterion) {
    let mut rows = vec![0_u64; TIMERS as usize];
    let mut written = 0;
    let write = move |count| {
        let mut random = Random(SEED);
        let begin = Instant::now();
        for _ in 0..count {
            written += 1;
            rows[random.below(TIMERS) as usize] = written;
        }
        black_box(&mut rows);
        begin.elapsed()
    };
    let mut wheel = spread_wheel();
    let mut later = 1;
    let put_off = move |count| {
        let mut random = Random(SEED);
        let begin = Instant::now();
        for _ in 0..count {
            later += 1;
            wheel.insert_or_move(random.below(TIMERS), Tick(SPREAD).plus(later >> 8));
        }
        begin.elapsed()
    };
    let mut contestants: [Contestant<'_>; 2] = [
        ("write a row, random of 2^20 (floor)".to_owned(), Box::new(write)),
        ("put off, random of 2^20".to_owned(), Box::new(put_off)),
    ];
    compare("wheel", TIMERS, &mut contestants);
}

fn allocations(_: &mut Criterion) {
    let mut random = Random(SEED);
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
    let mut wheel = spread_wheel();
    let mut ticks = vec![TickTimes::MAX; PERIOD as usize];
    print_allocations("fire and re-arm over many heartbeats", || {
        for now in 1..=4 * PERIOD {
            let fastest = &mut ticks[(now % PERIOD) as usize];
            *fastest = fastest.fastest(heartbeat_tick(&mut wheel, Tick(now)));
        }
    });
    let TickTimes { whole, portion } =
        ticks.iter().copied().reduce(TickTimes::slowest).expect("there are ticks");
    println!("slowest tick with 2^20 timers over 25 s: {whole:?}, slowest portion {portion:?}");

    let mut wheel = Wheel::with_capacity(Tick(0), TIMERS as usize);
    (0..TIMERS).for_each(|id| wheel.insert_or_move(id, Tick(SPREAD)));
    let mut of_heartbeat = || {
        let begin = wheel.deadline(0).expect("it is armed").0 - SPREAD;
        let ticks = (1..=SPREAD).map(|tick| heartbeat_tick(&mut wheel, Tick(begin + tick)));
        ticks.reduce(TickTimes::slowest).expect("there are ticks")
    };
    let TickTimes { whole, portion } = of_heartbeat().fastest(of_heartbeat());
    println!("slowest tick with 2^20 equal timers: {whole:?}, slowest portion {portion:?}");
}

/// Times moves to slots that begin earlier, all of them random.
fn time_earlier(mut count: u64) -> Duration {
    let mut random = Random(SEED);
    let mut elapsed = Duration::ZERO;
    while count > 0 {
        let mut wheel = Wheel::with_capacity(Tick(0), TIMERS as usize);
        (0..TIMERS).for_each(|id| wheel.insert_or_move(id, Tick(400 + random.below(100))));
        for first in [200, 80, 10] {
            let moves = count.min(u64::from(TIMERS));
            let begin = Instant::now();
            for id in 0..moves as u32 {
                let id = id.wrapping_mul(2_654_435_761) % TIMERS;
                wheel.insert_or_move(id, Tick(first + random.below(50)));
            }
            elapsed += begin.elapsed();
            count -= moves;
        }
    }
    elapsed
}

fn times(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wheel");
    let mut random = Random(SEED);

    let mut wheel = Wheel::new(Tick(0));
    group.bench_function("insert + cancel, one timer", |bencher| {
        bencher.iter(|| {
            wheel.insert_or_move(black_box(7), Tick(black_box(500)));
            wheel.cancel(black_box(7));
        });
    });

    let mut sockets = vec![[0_u32; 5]; TIMERS as usize];
    let mut now = 0;
    group.bench_function("hear a peer, random of 2^20", |bencher| {
        bencher.iter(|| {
            now += 1;
            sockets[random.below(TIMERS) as usize][2] = now;
        });
    });

    group.bench_function("move earlier, random of 2^20", |bencher| {
        bencher.iter_custom(time_earlier);
    });
    let mut wheel = spread_wheel();
    group.bench_function("cancel + insert, random of 2^20", |bencher| {
        bencher.iter(|| {
            let id = random.below(TIMERS);
            wheel.cancel(id);
            wheel.insert_or_move(id, Tick(1 + random.below(SPREAD)));
        });
    });

    let mut wheel = spread_wheel();
    let mut now = Tick(0);
    group.throughput(Throughput::Elements(u64::from(TIMERS / SPREAD)));
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
            idle.pop_expired(black_box(now), &mut PORTION.clone())
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
    targets = floor, allocations, times
}
criterion_main!(wheel);
