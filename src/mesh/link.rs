//! One link: a bounded FIFO queue from one thread to another, and the inbox at its end.

use std::io;
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use crate::mesh::Bell;

/// The sending end. Not clonable: a link has one producer.
#[derive(Debug)]
pub struct Link<T> {
    queue: Arc<ArrayQueue<T>>,
    bell: Arc<Bell>,
}

/// The receiving end, held by an [`Inbox`].
#[derive(Debug)]
pub struct Receiver<T> {
    queue: Arc<ArrayQueue<T>>,
}

/// A link of at most `capacity` messages whose receiver is woken by `bell`.
pub fn link<T>(capacity: usize, bell: &Arc<Bell>) -> (Link<T>, Receiver<T>) {
    let queue = Arc::new(ArrayQueue::new(capacity));
    (Link { queue: Arc::clone(&queue), bell: Arc::clone(bell) }, Receiver { queue })
}

impl<T> Link<T> {
    /// Adds a message at the end, or gives it back when the link is full. The receiver is not
    /// woken: call [`Link::ring`] after the batch.
    pub fn try_send(&self, message: T) -> Result<(), T> {
        self.queue.push(message)
    }

    /// Wakes the receiver if it sleeps.
    pub fn ring(&self) {
        self.bell.ring();
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
