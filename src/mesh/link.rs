//! One link: a bounded FIFO queue from one thread to another, and the inbox at its end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_queue::ArrayQueue;

use crate::mesh::Bell;

/// Bytes that have gone into a link or come out of it. Each has one writer, who needs no lock
/// prefix to add to it, and a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Bytes(AtomicU64);

impl Bytes {
    fn add(&self, bytes: usize) {
        self.0.store(self.get().wrapping_add(bytes as u64), Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What went in and what came out.
#[derive(Debug, Default)]
struct Flow {
    sent: Bytes,
    taken: Bytes,
}

impl Flow {
    fn held(&self) -> u64 {
        // What was taken may be counted before it is counted as sent.
        let taken = self.taken.get();
        self.sent.get().saturating_sub(taken)
    }
}

/// The sending end. Not clonable: a link has one producer.
#[derive(Debug)]
pub struct Link<T> {
    queue: Arc<ArrayQueue<T>>,
    bell: Arc<Bell>,
    flow: Arc<Flow>,
    bytes_max: u64,
    /// What `flow.taken` was when the sender last looked: it looks when it has to.
    taken: AtomicU64,
}

/// The receiving end, held by an [`Inbox`].
#[derive(Debug)]
pub struct Receiver<T> {
    queue: Arc<ArrayQueue<T>>,
    flow: Arc<Flow>,
}

/// A link of at most `capacity` messages whose receiver is woken by `bell`.
pub fn link<T>(capacity: usize, bell: &Arc<Bell>) -> (Link<T>, Receiver<T>) {
    link_of(capacity, u64::MAX, bell)
}

/// The same, which is heavy while it holds `bytes_max` bytes or more.
pub fn link_of<T>(capacity: usize, bytes_max: u64, bell: &Arc<Bell>) -> (Link<T>, Receiver<T>) {
    let queue = Arc::new(ArrayQueue::new(capacity));
    let flow = Arc::new(Flow::default());
    let receiver = Receiver { queue: Arc::clone(&queue), flow: Arc::clone(&flow) };
    (Link { queue, bell: Arc::clone(bell), flow, bytes_max, taken: AtomicU64::new(0) }, receiver)
}

impl<T> Link<T> {
    /// Adds a message at the end, or gives it back when the link is full. The receiver is not
    /// woken: call [`Link::ring`] after the batch.
    pub fn try_send(&self, message: T) -> Result<(), T> {
        self.queue.push(message)
    }

    /// The same for a message that holds so many bytes, which the receiver has to note when it
    /// takes it ([`Inbox::note_taken`]).
    pub fn try_send_bytes(&self, message: T, bytes: usize) -> Result<(), T> {
        self.queue.push(message)?;
        if bytes > 0 {
            self.flow.sent.add(bytes);
        }
        Ok(())
    }

    /// Whether its messages hold so many bytes that no more should be sent.
    pub fn is_heavy(&self) -> bool {
        let sent = self.flow.sent.get();
        if sent.saturating_sub(self.taken.load(Ordering::Relaxed)) < self.bytes_max {
            return false;
        }
        let taken = self.flow.taken.get();
        self.taken.store(taken, Ordering::Relaxed);
        sent.saturating_sub(taken) >= self.bytes_max
    }

    /// Wakes the receiver if it sleeps.
    pub fn ring(&self) {
        self.bell.ring();
    }

    /// Whether the receiver has more to do than it should.
    pub fn is_crowded(&self) -> bool {
        self.bell.is_crowded()
    }

    /// Whether the next [`Link::try_send`] would fail.
    pub fn is_full(&self) -> bool {
        self.queue.is_full()
    }

    /// How many messages fit.
    pub fn capacity(&self) -> usize {
        self.queue.capacity()
    }

    /// How many messages wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether no message waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

/// Everything that other threads send to this one.
#[derive(Debug)]
pub struct Inbox<T> {
    bell: Arc<Bell>,
    queues: Vec<Receiver<T>>,
}

impl<T> Inbox<T> {
    /// An inbox of some queues that share a bell.
    pub fn new(bell: Arc<Bell>, queues: Vec<Receiver<T>>) -> Self {
        Self { bell, queues }
    }

    /// The oldest message of one queue.
    pub fn receive(&self, queue: usize) -> Option<T> {
        self.queues[queue].queue.pop()
    }

    /// A message of so many bytes was taken from a queue.
    pub fn note_taken(&self, queue: usize, bytes: usize) {
        if bytes > 0 {
            self.queues[queue].flow.taken.add(bytes);
        }
    }

    /// How many bytes the messages of all queues hold.
    pub fn bytes(&self) -> u64 {
        self.queues.iter().map(|receiver| receiver.flow.held()).sum()
    }

    /// How many queues there are.
    pub fn queue_count(&self) -> usize {
        self.queues.len()
    }

    /// Whether no queue has a message.
    pub fn is_empty(&self) -> bool {
        self.queues.iter().all(|receiver| receiver.queue.is_empty())
    }

    /// Whether one queue has no message.
    pub fn is_empty_at(&self, queue: usize) -> bool {
        self.queues[queue].queue.is_empty()
    }

    /// Sleeps by calling `wait`, unless a message is there. Until it returns, senders that ring the
    /// bell signal its eventfd, which must end the wait.
    pub fn sleep(&self, wait: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        self.bell.begin_sleep();
        let result = if self.is_empty() { wait() } else { Ok(()) };
        self.bell.end_sleep();
        result
    }

    /// The bell of this inbox.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_heavy_until_bytes_are_taken() {
        let bell = Arc::new(Bell::new().unwrap());
        let (link, receiver) = link_of(16, 100, &bell);
        let inbox = Inbox::new(bell, vec![receiver]);
        link.try_send_bytes(1, 99).unwrap();
        assert!(!link.is_heavy());
        link.try_send_bytes(2, 1000).unwrap();
        link.try_send_bytes(3, 0).unwrap();
        assert!(link.is_heavy());
        assert_eq!(inbox.bytes(), 1099);
        assert_eq!(inbox.receive(0), Some(1));
        inbox.note_taken(0, 99);
        assert!(link.is_heavy());
        assert_eq!(inbox.receive(0), Some(2));
        inbox.note_taken(0, 1000);
        assert!(!link.is_heavy());
        assert_eq!(inbox.bytes(), 0);
    }

    #[test]
    fn what_has_no_room_has_no_weight() {
        let bell = Arc::new(Bell::new().unwrap());
        let (link, receiver) = link_of(1, 100, &bell);
        let inbox = Inbox::new(bell, vec![receiver]);
        link.try_send_bytes(1, 50).unwrap();
        assert_eq!(link.try_send_bytes(2, 500), Err(2));
        assert!(!link.is_heavy());
        assert_eq!(inbox.bytes(), 50);
    }
}
