//! What it costs to pass a message from one thread to another, asleep or awake.
//!
//! Bursts: one thread sends as fast as the other takes. Single messages: the receiver sleeps in
//! `read(2)` of its bell's eventfd each time, against the same dance with a futex (thread parking
//! of the standard library), which is the floor for waking a thread.
#![allow(missing_docs, reason = "the macros of criterion make public items")]

mod allocation;

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use allocation::print_allocations;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tidegate::mesh::{Bell, Inbox, Link, link};

/// What links carry: as large as an envelope.
type Message = [u64; 6];

const BURST: u64 = 100_000;
const CAPACITY: usize = 4096;

fn pair() -> (Link<Message>, Inbox<Message>) {
    let bell = Arc::new(Bell::new(false).expect("an eventfd"));
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

/// Passes single messages to a thread that sleeps each time, and waits until it has each.
fn single(count: u64) {
    let (sender, inbox) = pair();
    let seen = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let bell = inbox.bell().as_fd().try_clone_to_owned().expect("a descriptor");
            let mut bell = File::from(bell);
            for number in 1..=count {
                while inbox.receive(0).is_none() {
                    inbox.bell().begin_sleep();
                    if inbox.is_empty() {
                        bell.read_exact(&mut [0; 8]).expect("a signal");
                    }
                    inbox.bell().end_sleep();
                }
                seen.store(number, Ordering::Release);
            }
        });
        for number in 1..=count {
            send(&sender, number);
            sender.ring();
            while seen.load(Ordering::Acquire) < number {
                std::thread::yield_now();
            }
        }
    });
}

/// The same with a flag and thread parking, which is a futex.
fn single_futex(count: u64) {
    let (flag, seen) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| {
            for number in 1..=count {
                while !flag.swap(false, Ordering::AcqRel) {
                    std::thread::park();
                }
                seen.store(number, Ordering::Release);
            }
        });
        for number in 1..=count {
            flag.store(true, Ordering::Release);
            sleeper.thread().unpark();
            while seen.load(Ordering::Acquire) < number {
                std::thread::yield_now();
            }
        }
    });
}

fn bench(criterion: &mut Criterion) {
    print_allocations("a link of 4096, a thread and a burst of 100,000", || burst(BURST));
    let mut group = criterion.benchmark_group("link");
    group.throughput(Throughput::Elements(1));
    let timed = |run: fn(u64)| {
        move |bencher: &mut criterion::Bencher<'_>| {
            bencher.iter_custom(|count| {
                let begin = Instant::now();
                run(count.max(2));
                begin.elapsed()
            });
        }
    };
    group.bench_function("message in a burst", timed(burst));
    group.bench_function("message that wakes its receiver", timed(single));
    group.bench_function("futex that wakes its receiver (floor)", timed(single_futex));
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
