//! The hand-made synchronisation between threads, in every order that the memory model allows.
//!
//! `src/mesh/doze.rs` and `src/mesh/flow.rs` are compiled here once more, with the atomics of loom.
//! Between them are a queue, which has no order at all here, and an eventfd, of which the kernel's
//! lock is left.

#![expect(
    clippy::duplicate_mod,
    dead_code,
    unreachable_pub,
    reason = "files of the server, of which not everything is used here"
)]

use loom::model::Builder;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread::{spawn, yield_now};

use crate::mesh::flow::{Flow, Sum, Weight};

mod mesh;
mod unfenced;

/// All orders in which no thread is interrupted more often than that: of more there are millions.
fn bounded() -> Builder {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder
}

/// How many messages were pushed, and what the receiver sleeps on.
struct Shared<Doze> {
    pushed: AtomicU32,
    doze: Doze,
    event: Mutex<u32>,
    signalled: Condvar,
}

/// One thread receives what others send, and sleeps in between. If it is not woken although there
/// is something, no thread can go on.
macro_rules! senders_wake_the_receiver {
    ($doze:ty, $senders:expr, $each:expr) => {
        bounded().check(|| {
            let shared = Arc::new(Shared {
                pushed: AtomicU32::new(0),
                doze: <$doze>::new(),
                event: Mutex::new(0),
                signalled: Condvar::new(),
            });
            let send = |shared: Arc<Shared<$doze>>| {
                move || {
                    for _ in 0..$each {
                        shared.pushed.fetch_add(1, Ordering::Relaxed);
                        if shared.doze.must_wake() {
                            *shared.event.lock().unwrap() += 1;
                            shared.signalled.notify_one();
                        }
                    }
                }
            };
            let senders: Vec<_> = (0..$senders).map(|_| spawn(send(shared.clone()))).collect();
            let mut received = 0;
            while received < $senders * $each {
                shared.doze.begin();
                if shared.pushed.load(Ordering::Relaxed) == received {
                    let mut event = shared.event.lock().unwrap();
                    while *event == 0 {
                        event = shared.signalled.wait(event).unwrap();
                    }
                    *event = 0;
                }
                shared.doze.end();
                received = shared.pushed.load(Ordering::Relaxed);
            }
            senders.into_iter().for_each(|sender| sender.join().unwrap());
        });
    };
}

#[test]
fn no_wake_up_is_lost() {
    senders_wake_the_receiver!(mesh::doze::Doze, 1, 2);
    senders_wake_the_receiver!(mesh::doze::Doze, 2, 1);
}

#[test]
#[should_panic = "deadlock"]
fn without_fences_one_is() {
    senders_wake_the_receiver!(unfenced::doze::Doze, 1, 1);
}

#[test]
fn what_is_under_way_is_never_more_than_was_sent_and_nothing_at_the_end() {
    const WEIGHT: Weight = Weight { bytes: 60, channels: 1 };
    const MOST: Weight = Weight { bytes: 100, channels: 9 };
    bounded().check(|| {
        let (flow, queue) = (Arc::new(Flow::default()), Arc::new(AtomicU32::new(0)));
        let receiver = {
            let (flow, queue) = (flow.clone(), queue.clone());
            spawn(move || {
                for taken in 0..2 {
                    while queue.load(Ordering::Acquire) == taken {
                        yield_now();
                    }
                    flow.note_taken(WEIGHT);
                }
            })
        };
        let known = Sum::default();
        for sent in 1..=2 {
            queue.fetch_add(1, Ordering::Release);
            flow.note_sent(WEIGHT);
            assert!(flow.held_bytes() <= sent * WEIGHT.bytes);
            assert!(sent == 2 || !flow.exceeds(MOST, &known));
        }
        receiver.join().unwrap();
        assert_eq!(flow.held_bytes(), 0);
        assert!(!flow.exceeds(MOST, &known));
    });
}
