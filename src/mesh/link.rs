//! One link: a bounded FIFO queue from one thread to another, and the inbox at its end.

use std::io;
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use crate::mesh::Bell;
use crate::mesh::flow::{Flow, Sum, Weight};

/// The sending end. Not clonable: a link has one producer.
#[derive(Debug)]
pub struct Link<T> {
    queue: Arc<ArrayQueue<T>>,
    bell: Arc<Bell>,
    flow: Arc<Flow>,
    most: Weight,
    /// What was taken when the sender last looked: it looks when it has to.
    taken: Sum,
}

/// The receiving end, held by an [`Inbox`].
#[derive(Debug)]
pub struct Receiver<T> {
    queue: Arc<ArrayQueue<T>>,
    flow: Arc<Flow>,
}

/// A link of at most `capacity` messages whose receiver is woken by `bell`.
pub fn link<T>(capacity: usize, bell: &Arc<Bell>) -> (Link<T>, Receiver<T>) {
    link_of(capacity, Weight::UNLIMITED, bell)
}

/// The same, which is heavy while it holds `most` bytes or channels, or more.
pub fn link_of<T>(capacity: usize, most: Weight, bell: &Arc<Bell>) -> (Link<T>, Receiver<T>) {
    let queue = Arc::new(ArrayQueue::new(capacity));
    let flow = Arc::new(Flow::default());
    let receiver = Receiver { queue: Arc::clone(&queue), flow: Arc::clone(&flow) };
    (Link { queue, bell: Arc::clone(bell), flow, most, taken: Sum::default() }, receiver)
}

impl<T> Link<T> {
    /// Adds a message at the end, or gives it back when the link is full. The receiver is not
    /// woken: call [`Link::ring`] after the batch.
    pub fn try_send(&self, message: T) -> Result<(), T> {
        self.queue.push(message)
    }

    /// The same for a message with a weight, which the receiver has to note when it takes it
    /// ([`Inbox::note_taken`]).
    pub fn try_send_weighing(&self, message: T, weight: Weight) -> Result<(), T> {
        self.queue.push(message)?;
        self.flow.note_sent(weight);
        Ok(())
    }

    /// Whether its messages hold so many bytes or channels that no more should be sent.
    pub fn is_heavy(&self) -> bool {
        self.flow.exceeds(self.most, &self.taken)
    }

    /// How many bytes its messages hold.
    pub fn bytes(&self) -> u64 {
        self.flow.held_bytes()
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

    /// A message of such a weight was taken from a queue.
    pub fn note_taken(&self, queue: usize, weight: Weight) {
        self.queues[queue].flow.note_taken(weight);
    }

    /// How many bytes the messages of all queues hold.
    pub fn bytes(&self) -> u64 {
        self.queues.iter().map(|receiver| receiver.flow.held_bytes()).sum()
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

    const MOST: Weight = Weight { bytes: 100, channels: 10 };

    #[test]
    fn a_link_is_heavy_until_bytes_or_channels_are_taken() {
        let bell = Arc::new(Bell::new().unwrap());
        let (link, receiver) = link_of(16, MOST, &bell);
        let inbox = Inbox::new(bell, vec![receiver]);
        let heavy = [Weight { bytes: 1000, channels: 0 }, Weight { bytes: 0, channels: 12 }];
        for (heavy, bytes) in heavy.into_iter().zip([1099, 99]) {
            let light = Weight { bytes: 99, channels: 9 };
            link.try_send_weighing(1, light).unwrap();
            assert!(!link.is_heavy());
            link.try_send_weighing(2, heavy).unwrap();
            link.try_send_weighing(3, Weight::default()).unwrap();
            assert!(link.is_heavy());
            assert_eq!((inbox.bytes(), link.bytes()), (bytes, bytes));
            assert_eq!(inbox.receive(0), Some(1));
            inbox.note_taken(0, light);
            assert!(link.is_heavy());
            assert_eq!(inbox.receive(0), Some(2));
            inbox.note_taken(0, heavy);
            assert!(!link.is_heavy());
            assert_eq!(inbox.receive(0), Some(3));
            assert_eq!(inbox.bytes(), 0);
        }
    }

    #[test]
    fn what_has_no_room_has_no_weight() {
        let bell = Arc::new(Bell::new().unwrap());
        let (link, receiver) = link_of(1, MOST, &bell);
        let inbox = Inbox::new(bell, vec![receiver]);
        link.try_send_weighing(1, Weight { bytes: 50, channels: 5 }).unwrap();
        let heavy = Weight { bytes: 500, channels: 50 };
        assert_eq!(link.try_send_weighing(2, heavy), Err(2));
        assert!(!link.is_heavy());
        assert_eq!(inbox.bytes(), 50);
    }
}
