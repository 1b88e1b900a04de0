//! Shutting down: nobody new, everybody closed at an even pace, and only then the end.
//!
//! Closing a million connections at once would bring a million clients to the next edge at once.
//! Shards wait for each other, because each is home to channels of the others, and for those who
//! have asked them something and are to have an answer.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::http::{About, Refusal};
use crate::hub::Cause;
use crate::shard::socket::State;
use crate::shard::{Net, Shard};
use crate::wheel::Tick;
use crate::ws::close::CloseCode;

/// The signal to shut down, and how far that is.
pub struct Drain {
    announced: AtomicBool,
    begun: AtomicBool,
    busy_shards: AtomicUsize,
    when_all_left: Box<dyn Fn() + Send + Sync>,
    over: AtomicBool,
}

impl Drain {
    /// For a number of shards. The last one that has no connection any more calls `when_all_left`.
    pub fn new(shards: usize, when_all_left: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            announced: AtomicBool::new(false),
            begun: AtomicBool::new(false),
            busy_shards: AtomicUsize::new(shards),
            when_all_left: Box::new(when_all_left),
            over: AtomicBool::new(false),
        }
    }

    /// Says that the drain will begin, for those who choose where clients connect. Everybody is
    /// served as before.
    pub fn announce(&self) {
        self.announced.store(true, Ordering::Release);
    }

    /// Whether the drain was announced, or has begun.
    pub fn is_announced(&self) -> bool {
        self.announced.load(Ordering::Acquire)
    }

    /// Begins the drain. Shards see it within a tick.
    pub fn begin(&self) {
        self.announce();
        self.begun.store(true, Ordering::Release);
    }

    /// Whether the drain has begun.
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Says that nobody asks shards any more. They end within a tick.
    pub fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    /// A shard has no connection any more.
    fn note_left(&self) {
        if self.busy_shards.fetch_sub(1, Ordering::AcqRel) == 1 {
            (self.when_all_left)();
        }
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain").field("begun", &self.begun).finish_non_exhaustive()
    }
}

/// How far one shard is.
#[derive(Debug)]
pub(super) struct Progress {
    drain: Arc<Drain>,
    /// When the last connection is told to close, once the drain has begun.
    until: Option<Tick>,
    /// When connections were told last.
    told: Tick,
    /// The row that is told next.
    next: u32,
    is_done: bool,
}

impl Progress {
    pub(super) fn new(drain: Arc<Drain>) -> Self {
        Self { drain, until: None, told: Tick(0), next: 0, is_done: false }
    }

    /// Whether the drain has begun.
    pub(super) fn has_begun(&self) -> bool {
        self.until.is_some()
    }

    /// Whether nobody needs this shard any more.
    pub(super) fn is_over(&self) -> bool {
        self.is_done && self.drain.over.load(Ordering::Acquire)
    }
}

impl<N: Net> Shard<N> {
    /// Once per tick of a drain: closes the share of connections that is due.
    pub(super) fn drain_some(&mut self) {
        if !self.draining.drain.has_begun() || self.draining.is_done {
            return;
        }
        let now = self.work.now;
        let Some(until) = self.draining.until else { return self.begin_drain() };
        if !now.is_after(self.draining.told) {
            return;
        }
        self.draining.told = now;
        let ticks_left = if until.is_after(now) { until.since(now) as usize } else { 0 };
        if !until.plus(self.settings.close_deadline.0).is_after(now) {
            for row in 0..self.sockets.len() {
                self.teardown(row as u32);
            }
        }
        // Some have still channels to leave.
        if self.hub.connection_count() == 0 {
            self.draining.is_done = true;
            self.draining.drain.note_left();
            return;
        }
        let mut quota = self.metrics.connections.value().max(0) as usize / (ticks_left + 1) + 1;
        while quota > 0 && (self.draining.next as usize) < self.sockets.len() {
            quota -= usize::from(self.send_away(self.draining.next));
            self.draining.next += 1;
        }
        // Whoever was joining when its row was passed is open by now.
        if self.draining.next as usize >= self.sockets.len() {
            self.draining.next = 0;
        }
    }

    fn begin_drain(&mut self) {
        self.draining.until = Some(self.work.now.plus(self.settings.drain_window.0));
        // The other shards stop to listen within a tick: nobody who is sent away comes back to one.
        self.draining.told = self.work.now.plus(2);
        self.net.stop_listening();
    }

    /// Tells one connection to go. Returns whether it was open.
    fn send_away(&mut self, row: u32) -> bool {
        match self.sockets[row as usize].state {
            State::Handshake => {
                let reason = "This server is shutting down.";
                self.refuse(row, &Refusal::unavailable(About::Draining, reason, 1));
                false
            }
            State::Open => {
                let code = CloseCode(self.settings.drain_code);
                self.hub.close(row, code, "the server is shutting down", Cause::Drained);
                self.perform_effects();
                true
            }
            State::Free | State::Joining | State::Closing | State::Lingering => false,
        }
    }
}
