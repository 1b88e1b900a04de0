//! Links between threads, and sockets, in memory: bounded, ordered, and at times in bad shape.
//!
//! A link refuses when it is full or when a fault makes it look full; the sender then parks its
//! envelopes in order, as the shell does, so that a link is FIFO whatever happens. A socket has a
//! send buffer that its peer drains at its own speed; what the buffer took counts as received.

use std::collections::VecDeque;

use crate::random::Random;

/// One bounded link and what its sender holds back.
#[derive(Debug)]
struct Link<T> {
    queue: VecDeque<T>,
    parked: VecDeque<T>,
    /// Until this step the link looks full.
    full_until: u64,
    is_jammed: bool,
}

/// All links into shards, by sender and receiver.
#[derive(Debug)]
pub(crate) struct Network<T> {
    links: Vec<Link<T>>,
    receivers: usize,
    capacity: usize,
}

impl<T> Network<T> {
    /// Links from each of some senders to each of some receivers.
    pub(crate) fn new(senders: usize, receivers: usize, capacity: usize) -> Self {
        let link = || Link {
            queue: VecDeque::new(),
            parked: VecDeque::new(),
            full_until: 0,
            is_jammed: false,
        };
        let links = (0..senders * receivers).map(|_| link()).collect();
        Self { links, receivers, capacity }
    }

    /// Sends a message, or parks it if the link is full or others are parked already. Returns
    /// whether it had to.
    pub(crate) fn send(&mut self, from: usize, to: usize, message: T) -> bool {
        let link = &mut self.links[from * self.receivers + to];
        if link.parked.is_empty() && link.queue.len() < self.capacity && !link.is_jammed {
            link.queue.push_back(message);
            return false;
        }
        link.parked.push_back(message);
        true
    }

    /// Makes a link look full for a while.
    pub(crate) fn jam(&mut self, random: &mut Random, until: u64) {
        let link = random.below(self.links.len());
        (self.links[link].full_until, self.links[link].is_jammed) = (until, true);
    }

    /// The oldest message on one of the links to a receiver.
    pub(crate) fn receive(&mut self, to: usize, random: &mut Random, now: u64) -> Option<T> {
        let senders = self.links.len() / self.receivers;
        let first = random.below(senders);
        for sender in (first..senders).chain(0..first) {
            let link = &mut self.links[sender * self.receivers + to];
            link.is_jammed &= link.full_until > now;
            while !link.is_jammed && link.queue.len() < self.capacity {
                let Some(message) = link.parked.pop_front() else { break };
                link.queue.push_back(message);
            }
            if let Some(message) = link.queue.pop_front() {
                return Some(message);
            }
        }
        None
    }

    /// Whether nothing is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.links.iter().all(|link| link.queue.is_empty() && link.parked.is_empty())
    }
}

/// How the peer of a socket reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// Whatever there is.
    Eager,
    /// At most so many bytes at a time.
    Steady(usize),
    /// One byte at a time.
    Drip,
    /// Nothing, ever.
    Never,
}

/// The sending side of a simulated socket.
#[derive(Debug)]
pub(crate) struct Socket {
    buffered: usize,
    capacity: usize,
    /// How its peer reads.
    pub(crate) reader: Reader,
    /// Whether it is broken: it takes nothing more.
    pub(crate) is_gone: bool,
    /// In so many of a hundred cases it takes less than it could.
    pub(crate) refuses_percent: usize,
}

impl Socket {
    /// A socket in the shape that the seed says.
    pub(crate) fn new(random: &mut Random) -> Self {
        let steady = Reader::Steady(1 + random.below(3000));
        let readers = [Reader::Eager, Reader::Eager, Reader::Eager, steady, steady];
        let reader = match random.below(20) {
            0 => Reader::Never,
            1 => Reader::Drip,
            _ => random.pick(&readers),
        };
        let capacity = random.pick(&[1, 40, 300, 2_000, 30_000, 200_000, 200_000]);
        let refuses_percent = random.pick(&[0, 0, 2, 30]);
        Self { buffered: 0, capacity, reader, is_gone: false, refuses_percent }
    }

    /// Takes some bytes, or fewer; returns how many.
    pub(crate) fn accept(&mut self, length: usize, random: &mut Random) -> usize {
        if self.is_gone {
            return 0;
        }
        let mut count = length.min(self.capacity - self.buffered);
        if self.refuses_percent > 0 && random.chance(self.refuses_percent) {
            count = random.below(count + 1);
        }
        self.buffered += count;
        count
    }

    /// Its peer reads once.
    pub(crate) fn drain(&mut self) {
        let count = match self.reader {
            Reader::Eager => self.buffered,
            Reader::Steady(most) => most,
            Reader::Drip => 1,
            Reader::Never => 0,
        };
        self.buffered = self.buffered.saturating_sub(count);
    }

    /// Whether it would take a byte.
    pub(crate) fn is_writable(&self) -> bool {
        !self.is_gone && self.buffered < self.capacity
    }
}
