//! What it costs to pass a message from one thread to another, asleep or awake.
//!
//! Bursts: one thread sends as fast as the other takes. Single messages: the receiver sleeps in a
//! ring that watches its bell, as a shard does, against the same dance with a futex (thread parking
//! of the standard library), which is the floor for waking a thread. Time counts from before the
//! message is sent until the sender sees that it arrived, and every message finds its receiver
//! asleep: on the sender's core, because the sender runs only when the receiver sleeps, so this is
//! what the two of them and the kernel compute; on another core, because the sender pauses first,
//! so this is a latency, with what it costs to wake that core.
#![allow(missing_docs, reason = "the macros of criterion make public items")]

mod allocation;

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

use allocation::print_allocations;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tidegate::mesh::{Bell, Inbox, Link, link};
use tidegate::sys::ring::{Ring, Size};

/// What links carry: as large as an envelope.
type Message = [u64; 6];

const BURST: u64 = 100_000;
const CAPACITY: usize = 4096;

const SENDER_CORE: usize = 0;
const OTHER_CORE: usize = 1;

/// How long the sender lets a receiver on another core fall asleep.
const PAUSE: Duration = Duration::from_micros(20);

fn pair() -> (Link<Message>, Inbox<Message>) {
    let bell = Arc::new(Bell::new().expect("an eventfd"));
    let (sender, receiver) = link(CAPACITY, &bell);
    (sender, Inbox::new(bell, vec![receiver]))
}

fn send(link: &Link<Message>, number: u64) {
    let mut message = [number; 6];
    while let Err(back) = link.try_send(message) {
        message = back;
        std::thread::yield_now();
    }
}

fn receive(inbox: &Inbox<Message>) -> Message {
    loop {
        if let Some(message) = inbox.receive(0) {
            return message;
        }
        std::thread::yield_now();
    }
}

/// Sends a burst through a link to another thread, which adds it up.
fn burst(count: u64) {
    let (sender, inbox) = pair();
    std::thread::scope(|scope| {
        scope.spawn(move || (0..count).for_each(|number| send(&sender, number)));
        let sum: u64 = (0..count).map(|_| receive(&inbox)[0]).sum();
        assert_eq!(sum, count * (count - 1) / 2, "every message once");
    });
}

/// Times messages to a thread on some core, of which each finds it asleep. `receive` stores the
/// number of each message that it got, beginning with 0, which is not timed.
fn time_wakes(
    count: u64,
    core: usize,
    receive: impl FnOnce(&AtomicU64) + Send,
    mut send: impl FnMut(&Thread, u64),
) -> Duration {
    let seen = AtomicU64::new(u64::MAX);
    let mut elapsed = Duration::ZERO;
    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            pin(core);
            receive(&seen);
        });
        for number in 0..=count {
            let pause = Instant::now();
            while core != SENDER_CORE && pause.elapsed() < PAUSE {
                std::hint::spin_loop();
            }
            let begin = Instant::now();
            send(receiver.thread(), number);
            while seen.load(Ordering::Acquire) != number {
                if core == SENDER_CORE {
                    std::thread::yield_now();
                }
            }
            elapsed += if number == 0 { Duration::ZERO } else { begin.elapsed() };
        }
    });
    elapsed
}

fn pin(core: usize) {
    monoio::utils::bind_to_cpu_set([core]).expect("this machine has two cores to measure on");
}

/// Single messages over a link to a thread that sleeps in a ring.
fn wake_by_link(count: u64, core: usize) -> Duration {
    let (sender, inbox) = pair();
    let receive = |seen: &AtomicU64| {
        let mut ring = Ring::new(Size::FULL).expect("a ring");
        ring.watch_event(inbox.bell().as_raw_fd());
        for number in 0..=count {
            while inbox.receive(0).is_none() {
                inbox.sleep(|| ring.sleep()).expect("a signal");
                while ring.poll_completion().is_some() {}
            }
            seen.store(number, Ordering::Release);
        }
    };
    time_wakes(count, core, receive, |_, number| {
        send(&sender, number);
        sender.ring();
    })
}

/// The same with a flag and thread parking, which is a futex.
fn wake_by_futex(count: u64, core: usize) -> Duration {
    let flag = AtomicBool::new(false);
    let receive = |seen: &AtomicU64| {
        for number in 0..=count {
            while !flag.swap(false, Ordering::AcqRel) {
                std::thread::park();
            }
            seen.store(number, Ordering::Release);
        }
    };
    time_wakes(count, core, receive, |receiver, _| {
        flag.store(true, Ordering::Release);
        receiver.unpark();
    })
}

fn bench(criterion: &mut Criterion) {
    print_allocations("a link of 4096, a thread and a burst of 100,000", || burst(BURST));
    let mut group = criterion.benchmark_group("link");
    group.throughput(Throughput::Elements(1));
    group.bench_function("message in a burst", |bencher| {
        bencher.iter_custom(|count| {
            let begin = Instant::now();
            burst(count.max(2));
            begin.elapsed()
        });
    });
    pin(SENDER_CORE);
    for (place, core) in [("on its core", SENDER_CORE), ("on another core", OTHER_CORE)] {
        group.bench_function(format!("message that wakes its receiver {place}"), |bencher| {
            bencher.iter_custom(|count| wake_by_link(count, core));
        });
        group.bench_function(format!("futex that wakes its receiver {place} (floor)"), |bencher| {
            bencher.iter_custom(|count| wake_by_futex(count, core));
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
