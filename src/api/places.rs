//! The places for HTTP connections, and when a connection loses its place.
//!
//! Whoever connects is taken in at once, because a probe cannot be told from anything else
//! before it has said what it wants. So that there is always a place, only requests to the API
//! count against a bound of their own (`server`), and whoever is not being served gives way
//! when all places are taken: the one first that has been doing what it does for longest, be
//! that nothing, a request head that does not come to an end, or an answer that it does not
//! take. If there is none of these, whoever has been sending a body for longest does. So do
//! those who have stopped reading a large answer when the memory for answers is short.
//!
//! All of this is of one thread, so nothing here needs a lock.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::api::Timing;
use crate::api::room::{ROOM_BYTES, SMALL_BYTES};
use crate::api::unread::Unread;
use crate::metrics::HttpMetrics;

/// Whoever has taken nothing of an answer for so long may have to give way to other answers.
const STOPPED: Duration = Duration::from_secs(1);

/// Probes and scrapes are further apart than this.
const EAGER: Duration = Duration::from_millis(100);

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It waits for the next request.
    Idle,
    /// It sends a request head.
    Head,
    /// It sends a body, or is being served. Whoever serves sees to the time.
    Serving,
    /// It takes an answer.
    Answer,
    /// It sends the rest of a body that nobody wants, behind its last answer.
    Rest,
}

/// Why the edge ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// No further request came.
    Idle,
    /// The head of a request did not come in time.
    SlowHead,
    /// An answer was not taken in time.
    SlowReader,
    /// The rest of a body that nobody wants did not come to an end in time.
    Rest,
    /// Another connection needs the place.
    Displaced,
}

/// One connection's place.
#[derive(Debug)]
pub(super) struct Place {
    phase: Cell<Phase>,
    /// Since when it is in this phase.
    since: Cell<Instant>,
    timing: Timing,
    /// When its last answer was ready.
    answered: Cell<Option<Instant>>,
    /// How long its last answer is, and when something of it was last taken.
    answer_bytes: Cell<usize>,
    taken: Cell<Instant>,
    /// What is left of the body that is sent, or was sent last.
    body: RefCell<Option<Unread>>,
    is_displaced: Cell<bool>,
    changed: Notify,
    flushed: Notify,
}

impl Place {
    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(Instant::now());
        self.changed.notify_one();
    }

    /// Bytes came.
    pub(super) fn note_input(&self) {
        if self.phase.get() == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    /// Everything that was to be sent is sent.
    pub(super) fn note_flush(&self) {
        if self.phase.get() == Phase::Answer {
            self.enter(Phase::Idle);
            self.flushed.notify_one();
        }
    }

    /// Waits until the last answer is taken, so that nobody makes answers pile up.
    pub(super) async fn ready(&self) {
        while self.phase.get() == Phase::Answer {
            self.flushed.notified().await;
        }
    }

    /// Whether this request follows the last answer closely.
    pub(super) fn is_eager(&self) -> bool {
        self.answered.get().is_some_and(|answered| answered.elapsed() < EAGER)
    }

    /// A request is being served, whose body comes.
    pub(super) fn begin(&self, body: Unread) {
        self.body.replace(Some(body));
        self.enter(Phase::Serving);
    }

    /// Whether it has something under way, be it that its body comes.
    fn is_served(&self) -> bool {
        self.phase.get() == Phase::Serving
    }

    /// The answer is ready, and so long.
    pub(super) fn finish(&self, bytes: usize) {
        let now = Instant::now();
        self.answered.set(Some(now));
        self.answer_bytes.set(bytes);
        self.taken.set(now);
        self.enter(Phase::Answer);
    }

    /// Whether something is left of the body that is sent, or was sent last.
    fn has_unread(&self) -> bool {
        self.body.borrow().as_ref().is_some_and(Unread::is_left)
    }

    /// Whether a connection that ends is to be heard out: it may be for as long as a body may take.
    pub(super) fn hears_out(&self) -> bool {
        let has_unread = self.has_unread();
        if has_unread && self.phase.get() != Phase::Rest {
            self.enter(Phase::Rest);
        }
        has_unread
    }

    /// Something of the answer was taken, perhaps.
    pub(super) fn note_output(&self, written: &Poll<io::Result<usize>>) {
        if matches!(written, Poll::Ready(Ok(count)) if *count > 0) {
            self.taken.set(Instant::now());
        }
    }

    /// Whether its client has stopped to read a large answer.
    fn has_stopped(&self) -> bool {
        self.phase.get() == Phase::Answer
            && self.answer_bytes.get() > SMALL_BYTES
            && self.taken.get().elapsed() >= STOPPED
    }

    fn displace(&self) {
        self.is_displaced.set(true);
        self.changed.notify_one();
    }

    /// The moment at which the present phase is over, unless something changes.
    fn deadline(&self) -> Option<Instant> {
        let time_max = match self.phase.get() {
            Phase::Idle => self.timing.idle,
            Phase::Head | Phase::Rest => self.timing.request,
            Phase::Answer => self.timing.reading,
            Phase::Serving => return None,
        };
        Some(self.since.get() + time_max)
    }

    /// Waits until the connection has lost its place.
    pub(super) async fn lost(&self) -> End {
        loop {
            if self.is_displaced.get() {
                return End::Displaced;
            }
            let changed = self.changed.notified();
            let Some(deadline) = self.deadline() else {
                changed.await;
                continue;
            };
            tokio::select! {
                () = changed => {}
                () = sleep_until(deadline) => return match self.phase.get() {
                    Phase::Head => End::SlowHead,
                    Phase::Answer => End::SlowReader,
                    Phase::Rest => End::Rest,
                    Phase::Idle | Phase::Serving => End::Idle,
                },
            }
        }
    }
}

/// All places.
#[derive(Debug)]
pub(super) struct Places {
    taken: RefCell<Vec<Rc<Place>>>,
    /// How many there are.
    most: usize,
    timing: Timing,
    metrics: Arc<HttpMetrics>,
}

impl Places {
    /// So many places.
    pub(super) fn new(most: usize, timing: Timing, metrics: Arc<HttpMetrics>) -> Self {
        Self { taken: RefCell::default(), most, timing, metrics }
    }

    /// A place for a new connection, whose first request is awaited.
    pub(super) fn take(&self) -> Rc<Place> {
        if self.taken.borrow().len() >= self.most {
            self.displace();
        }
        let place = Rc::new(Place {
            phase: Cell::new(Phase::Head),
            since: Cell::new(Instant::now()),
            timing: self.timing,
            answered: Cell::new(None),
            answer_bytes: Cell::new(0),
            taken: Cell::new(Instant::now()),
            body: RefCell::default(),
            is_displaced: Cell::new(false),
            changed: Notify::new(),
            flushed: Notify::new(),
        });
        self.taken.borrow_mut().push(Rc::clone(&place));
        self.metrics.connections.add(1);
        place
    }

    /// The connection of a place is closed: by the edge, or by its client.
    pub(super) fn give_back(&self, place: &Rc<Place>, end: Option<End>) {
        self.taken.borrow_mut().retain(|other| !Rc::ptr_eq(other, place));
        self.metrics.connections.add(-1);
        let counter = match end {
            None | Some(End::Rest) => &self.metrics.closed,
            Some(End::Idle) => &self.metrics.idle,
            Some(End::SlowHead) => &self.metrics.slow_head,
            Some(End::SlowReader) => &self.metrics.slow_reader,
            Some(End::Displaced) => &self.metrics.displaced,
        };
        counter.increment();
    }

    /// Takes its place from the connection that has been in its phase for longest, of those that
    /// have nothing under way, or else of those whose bodies have not come.
    pub(super) fn displace(&self) {
        let mut taken = self.taken.borrow_mut();
        let may_go = |place: &Rc<Place>| !place.is_served() || place.has_unread();
        let others = taken.iter().enumerate().filter(|(_, place)| may_go(place));
        let oldest = others.min_by_key(|(_, place)| (place.is_served(), place.since.get()));
        let oldest = oldest.map(|(at, _)| at);
        if let Some(at) = oldest {
            taken.swap_remove(at).displace();
        }
    }

    /// If answers hold more than half of the memory that there is for them, takes their places from
    /// those who have stopped to read, the one first that has for longest.
    pub(super) fn relieve(&self, held: usize) {
        let mut surplus = held.saturating_sub(ROOM_BYTES / 2);
        let mut taken = self.taken.borrow_mut();
        while surplus > 0 {
            let stopped = taken.iter().enumerate().filter(|(_, place)| place.has_stopped());
            let oldest = stopped.min_by_key(|(_, place)| place.taken.get()).map(|(at, _)| at);
            let Some(at) = oldest else { return };
            let place = taken.swap_remove(at);
            place.displace();
            surplus = surplus.saturating_sub(place.answer_bytes.get());
        }
    }

    /// Whether anybody waits for an answer or takes one.
    pub(super) fn is_anybody_served(&self) -> bool {
        let taken = self.taken.borrow();
        taken.iter().any(|place| matches!(place.phase.get(), Phase::Serving | Phase::Answer))
    }

    /// Whether there are so few places left that connections should end with their next answer.
    pub(super) fn are_scarce(&self) -> bool {
        self.taken.borrow().len() >= self.most - self.most / 10
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn places(most: usize) -> Places {
        Places::new(most, Timing::default(), Arc::default())
    }

    fn poll<T>(future: impl Future<Output = T>) -> Poll<T> {
        pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn who_is_served_keeps_the_place_and_the_oldest_other_gives_way() {
        let places = places(3);
        let (served, old, young) = (places.take(), places.take(), places.take());
        served.begin(Unread::of(false));
        old.finish(0);
        young.finish(0);
        assert!(places.is_anybody_served());
        let newest = places.take();
        let is_displaced = [&served, &old, &young, &newest].map(|place| place.is_displaced.get());
        assert_eq!(is_displaced, [false, true, false, false]);
        places.give_back(&old, Some(End::Displaced));
        assert_eq!(places.metrics.displaced.value(), 1);
        assert_eq!(places.metrics.connections.value(), 3);
        assert!(places.are_scarce());
        places.give_back(&young, None);
        assert!(!places.are_scarce());
    }

    #[test]
    fn who_sends_a_body_gives_way_after_all_who_have_nothing_under_way() {
        let places = places(3);
        let (sending, served, idle) = (places.take(), places.take(), places.take());
        sending.begin(Unread::of(true));
        served.begin(Unread::of(false));
        idle.finish(0);
        let all = [&sending, &served, &idle];
        let displaced = || all.map(|place| place.is_displaced.get());
        places.displace();
        assert_eq!(displaced(), [false, false, true]);
        places.displace();
        assert_eq!(displaced(), [true, false, true]);
        places.displace();
        assert_eq!(displaced(), [true, false, true]);
    }

    #[test]
    fn the_next_request_waits_until_the_last_answer_is_taken() {
        let places = places(3);
        let place = places.take();
        assert_eq!(poll(place.ready()), Poll::Ready(()));
        place.begin(Unread::of(false));
        // Whoever is served has no deadline here.
        assert_eq!(place.deadline(), None);
        assert!(!place.is_eager());
        place.finish(0);
        assert_eq!(poll(place.ready()), Poll::Pending);
        place.note_flush();
        assert_eq!(poll(place.ready()), Poll::Ready(()));
        assert!(place.is_eager());
    }

    #[test]
    fn who_has_stopped_to_read_gives_way_when_memory_is_short() {
        let places = places(9);
        let ago = |place: &Rc<Place>, seconds| {
            place.taken.set(Instant::now() - Duration::from_secs(seconds));
        };
        let (small, old, older, reading) =
            (places.take(), places.take(), places.take(), places.take());
        for (place, bytes, seconds) in [
            (&small, SMALL_BYTES, 9),
            (&old, 8 << 20, 5),
            (&older, 8 << 20, 7),
            (&reading, 8 << 20, 0),
        ] {
            place.finish(bytes);
            ago(place, seconds);
        }
        let all = [&small, &old, &older, &reading];
        let displaced = || all.map(|place| place.is_displaced.get());
        places.relieve(ROOM_BYTES / 2);
        assert_eq!(displaced(), [false; 4]);
        places.relieve(ROOM_BYTES / 2 + 1);
        assert_eq!(displaced(), [false, false, true, false]);
        places.relieve(ROOM_BYTES);
        assert_eq!(displaced(), [false, true, true, false]);
        reading.note_output(&Poll::Ready(Ok(1)));
        assert!(!reading.has_stopped());
    }
}
