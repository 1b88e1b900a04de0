//! No wake-up is lost: single messages to a thread that sleeps as a shard does.
//!
//! The sleeper has no tick that would wake it later, so one lost wake-up ends the test. Senders
//! spin until a message is confirmed and then pause for a random moment, from nanoseconds on, so
//! the next one meets the sleeper wide awake, asleep and at every step between the two.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tidegate::mesh::{Bell, Inbox, link};
use tidegate::sys::ring::{Kind, Ring, Size};
use tidegate::sys::socket::receive;

const MESSAGES: u32 = 40_000;

/// Far longer than any wake-up takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest pause before a message is two to this power, in nanoseconds.
const PAUSE_BITS: u32 = 15;

/// What the sleeper listens to.
struct Sleeper {
    inbox: Inbox<u32>,
    stream: UnixStream,
    heard: Arc<Heard>,
}

/// How many messages the sleeper has got.
#[derive(Default)]
struct Heard {
    over_link: AtomicU32,
    over_socket: AtomicU32,
}

impl Sleeper {
    /// Hears messages of both senders until it has so many.
    fn run(&self, awaited: u32) {
        let mut ring = Ring::new(Size::FULL).expect("a ring");
        ring.watch_event(self.inbox.bell().as_raw_fd());
        ring.watch_readable(self.stream.as_raw_fd(), 0, 0);
        let mut count = 0;
        while count < awaited {
            ring.enter().expect("a ring that works");
            while let Some(completion) = ring.poll_completion() {
                assert!(completion.has_more, "watches go on: {completion:?}");
                if completion.kind == Kind::Readable {
                    let bytes = receive(self.stream.as_raw_fd(), &mut [0; 64]).unwrap_or(0) as u32;
                    self.heard.over_socket.fetch_add(bytes, Ordering::Release);
                    count += bytes;
                }
            }
            while self.inbox.receive(0).is_some() {
                self.heard.over_link.fetch_add(1, Ordering::Release);
                count += 1;
            }
            if count < awaited {
                self.inbox.sleep(|| ring.sleep()).expect("a ring that works");
            }
        }
    }
}

/// Sends one message after the other, each when the one before was heard.
fn send_singly(count: u32, heard: &AtomicU32, mut send: impl FnMut(u32)) {
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    for number in 1..=count {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let pause = (random >> 32) % (1 << (random % u64::from(PAUSE_BITS)));
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_nanos(pause) {}
        send(number);
        let begin = Instant::now();
        while heard.load(Ordering::Acquire) != number {
            assert!(begin.elapsed() < PATIENCE, "message {number} did not wake its receiver");
            if begin.elapsed() > Duration::from_micros(100) {
                std::thread::yield_now();
            }
        }
    }
}

/// Wakes a sleeper so often from another thread and so often over a socket, both at once.
fn wake(from_link: u32, from_socket: u32) {
    let bell = Arc::new(Bell::new().expect("an eventfd"));
    let (sender, receiver) = link(1, &bell);
    let (mut peer, stream) = UnixStream::pair().expect("two sockets");
    let heard = Arc::new(Heard::default());
    let inbox = Inbox::new(bell, vec![receiver]);
    let sleeper = Sleeper { inbox, stream, heard: Arc::clone(&heard) };
    // Not scoped: a sleeper that is never woken must not keep the test from failing.
    let sleeper = std::thread::spawn(move || sleeper.run(from_link + from_socket));
    let heard_by = Arc::clone(&heard);
    let over_link = std::thread::spawn(move || {
        send_singly(from_link, &heard_by.over_link, |number| {
            sender.try_send(number).expect("the link is empty");
            sender.ring();
        });
    });
    send_singly(from_socket, &heard.over_socket, |_| {
        peer.write_all(&[7]).expect("room for a byte");
    });
    over_link.join().expect("every message was heard");
    sleeper.join().expect("its watches went on");
}

// One after the other: senders and sleeper want a core each.
#[test]
fn another_thread_and_a_socket_wake_the_sleeper_each_time() {
    wake(MESSAGES, 0);
    wake(0, MESSAGES);
    wake(MESSAGES, MESSAGES);
}
