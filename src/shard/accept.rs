//! New connections: how many may be half open, and how fast they become whole ones.
//!
//! After a restart of the edge or of a network everybody comes back at once. Accepting is cheap and
//! goes on; reading requests is what costs, so that is what waits for its turn.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use crate::http::{About, Refusal};
use crate::metrics::ShardMetrics;
use crate::settings::{ShardSettings, Ticks};
use crate::shard::socket::{IS_ADMITTED, IS_READY, Socket, State};
use crate::shard::{Net, Shard};
use crate::sys::Complaints;
use crate::wheel::{TICK_MILLIS, Tick};

/// How long accepting pauses when the process is out of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// Most connections of the process that may linger after they were told that it is full: they are
/// beyond `connections_max`.
const TOLD_MAX: usize = 64;

const FULL: Refusal = Refusal::unavailable(About::Full, "This server is full.", 5);

/// A descriptor that is of no other use.
fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Who may come in when.
#[derive(Debug)]
pub(super) struct Admission {
    /// Rows and generations of half-open connections, oldest first, and some that are whole or
    /// gone by now.
    half_open: VecDeque<(u32, u32)>,
    half_open_count: usize,
    /// Connections whose request waits until more handshakes are due.
    waiting: VecDeque<(u32, u32)>,
    /// How many handshakes may be completed now, in fractions of one tick's share.
    credit: u64,
    credit_per_tick: u64,
    refilled: Tick,
    /// Rows and generations of connections that were told that this server is full, oldest first.
    told: VecDeque<(u32, u32)>,
    /// A descriptor that is given up where there are no others, for somebody who is told so.
    spare: Option<File>,
    /// The spare one is given up: whoever is accepted now has its place.
    has_lent: bool,
    /// When accepting goes on after a failure.
    paused_until: Option<Tick>,
    /// Lines about failures.
    complaints: Complaints,
}

/// One handshake in units of credit.
const HANDSHAKE: u64 = 1000;

fn credit_per_tick(settings: &ShardSettings) -> u64 {
    u64::from(settings.handshakes_per_second) * u64::from(TICK_MILLIS)
}

impl Admission {
    pub(super) fn new(settings: &ShardSettings, complaints: Complaints) -> Self {
        let credit_per_tick = credit_per_tick(settings);
        Self {
            half_open: VecDeque::new(),
            half_open_count: 0,
            waiting: VecDeque::new(),
            credit: credit_per_tick,
            credit_per_tick,
            refilled: Tick(0),
            told: VecDeque::new(),
            spare: spare(),
            has_lent: false,
            paused_until: None,
            complaints,
        }
    }

    /// So many handshakes are completed in a second from here on.
    pub(super) fn configure(&mut self, settings: &ShardSettings) {
        self.credit_per_tick = credit_per_tick(settings);
    }

    /// Whether another request may be read now. Zero per second means no limit.
    pub(super) fn has_credit(&self) -> bool {
        self.credit_per_tick == 0 || self.credit >= HANDSHAKE
    }

    /// A connection's request is read from now on.
    pub(super) fn spend(&mut self) {
        self.credit = self.credit.saturating_sub(HANDSHAKE);
    }

    /// What is told of connections that find no place.
    pub(super) fn complaints(&self) -> &Complaints {
        &self.complaints
    }

    /// Gives the spare descriptor up for the next connection, if there is one.
    fn lend_spare(&mut self) -> bool {
        self.has_lent = self.spare.take().is_some();
        self.has_lent
    }

    /// A connection waits for credit.
    pub(super) fn wait(&mut self, row: u32, generation: u32) {
        self.waiting.push_back((row, generation));
    }

    /// Whether so many are half open, as far as is counted here.
    pub(super) fn has_half_open(&self, count: usize) -> bool {
        self.half_open_count == count && (count > 0 || self.half_open.is_empty())
    }

    /// Those whose request waits until more handshakes are due.
    pub(super) fn waiting(&self) -> &VecDeque<(u32, u32)> {
        &self.waiting
    }

    /// Nobody is left.
    pub(super) fn forget(&mut self) {
        self.half_open = VecDeque::new();
        self.waiting = VecDeque::new();
        self.told = VecDeque::new();
    }

    /// Time has passed. At most a second's share gathers.
    fn refill(&mut self, now: Tick) {
        let ticks = u64::from(now.since(self.refilled)).min(u64::from(1000 / TICK_MILLIS));
        self.refilled = now;
        let most = self.credit_per_tick * u64::from(1000 / TICK_MILLIS);
        self.credit = (self.credit + ticks * self.credit_per_tick).min(most);
    }
}

impl<N: Net> Shard<N> {
    pub(super) fn handle_accept(&mut self, result: i32, has_more: bool) {
        let is_out = matches!(-result, libc::EMFILE | libc::ENFILE);
        if result >= 0 && self.has_room_after_all() {
            self.admit(result);
        } else if result >= 0 {
            self.turn_away(result);
        } else if is_out && !has_more && self.admission.lend_spare() {
            self.accept_again();
            return;
        } else if result != -libc::ECANCELED {
            self.metrics.accept_errors.increment();
            if let Some(suppressed) = self.admission.complaints.admit(self.work.now_nanos) {
                let error = std::io::Error::from_raw_os_error(-result);
                let shard = self.port.shard.0;
                tracing::warn!(shard, %error, suppressed, "cannot accept");
            }
        }
        if !has_more && self.net.is_listening() {
            if result >= 0 {
                self.accept_again();
            } else {
                let pause = Ticks::from(PAUSE).0;
                self.admission.paused_until = Some(self.work.now.plus(pause));
            }
        }
    }

    fn accept_again(&mut self) {
        self.net.accept();
    }

    fn admit(&mut self, fd: i32) {
        if self.admission.half_open_count >= self.settings.handshakes_pending_max {
            self.displace_oldest();
        }
        let row = self.hub.attach(fd);
        let generation = self.hub.client_id(row).generation;
        if self.sockets.len() <= row as usize {
            self.sockets.resize(row as usize + 1, Socket::FREE);
        }
        let last_seen = self.work.now;
        let state = State::Handshake;
        self.sockets[row as usize] = Socket { fd, last_seen, state, ..Socket::FREE };
        self.wheel.insert_or_move(row, last_seen.plus(self.settings.handshake_deadline.0));
        self.admission.half_open.push_back((row, generation));
        self.admission.half_open_count += 1;
        self.metrics.handshakes_pending.add(1);
        self.metrics.sockets.add(1);
        self.net.watch_readable(fd, row, generation);
        if self.process_connections() > self.settings.connections_max {
            self.refuse_oldest();
        } else if self.draining.has_begun() {
            let reason = "This server is shutting down.";
            self.refuse(row, &Refusal::unavailable(About::Draining, reason, 1));
        }
    }

    /// How many sockets of clients the process has, half-open and closing ones among them.
    fn process_connections(&self) -> usize {
        let of_shard = |metrics: &Arc<ShardMetrics>| metrics.sockets.value();
        self.all_metrics.iter().map(of_shard).sum::<i64>().max(0) as usize
    }

    /// A connection that may be half open becomes whole, or goes.
    pub(super) fn leave_half_open(&mut self, row: u32, state: State) {
        let before = std::mem::replace(&mut self.sockets[row as usize].state, state);
        if before == State::Handshake {
            self.count_half_open_gone();
        }
    }

    /// The same, where the row has its new state already.
    pub(super) fn count_half_open_gone(&mut self) {
        self.admission.half_open_count -= 1;
        self.metrics.handshakes_pending.add(-1);
        while let Some(&(row, generation)) = self.admission.half_open.front() {
            if self.is_half_open(row, generation) {
                break;
            }
            self.admission.half_open.pop_front();
        }
    }

    fn displace_oldest(&mut self) {
        if let Some((row, _)) = self.pop_oldest() {
            self.metrics.handshakes_displaced.increment();
            self.teardown(row);
        }
    }

    /// This server is full: tells the connection so that has been half open for longest. It has a
    /// moment to read that, as long as few others have.
    fn refuse_oldest(&mut self) {
        let Some((row, generation)) = self.pop_oldest() else { return };
        self.refuse(row, &FULL);
        self.admission.told.push_back((row, generation));
        let most = (TOLD_MAX / self.all_metrics.len()).max(1);
        while self.admission.told.len() > most
            && let Some((row, generation)) = self.admission.told.pop_front()
        {
            let is_here = self.hub.client_id(row).generation == generation;
            if is_here && self.sockets[row as usize].state == State::Lingering {
                self.teardown(row);
            }
        }
    }

    fn pop_oldest(&mut self) -> Option<(u32, u32)> {
        loop {
            let (row, generation) = self.admission.half_open.pop_front()?;
            if self.is_half_open(row, generation) {
                return Some((row, generation));
            }
        }
    }

    /// Whether whoever was accepted need not have the place of the spare descriptor.
    fn has_room_after_all(&mut self) -> bool {
        if !std::mem::take(&mut self.admission.has_lent) {
            return true;
        }
        self.admission.spare = spare();
        self.admission.spare.is_some()
    }

    /// There is no descriptor for a connection but the spare one: says so on it and takes it back.
    fn turn_away(&mut self, fd: RawFd) {
        self.report_refusal(&FULL, None);
        let mut response = Vec::with_capacity(256);
        crate::http::write_response(&FULL, &mut response);
        // What lies unread when a socket is closed makes the peer forget what it was sent.
        let _ = self.net.receive(fd, &mut self.work.input);
        let _ = self.net.send(fd, &response);
        self.net.shutdown_write(fd);
        self.net.close(fd);
        self.admission.spare = spare();
    }

    pub(super) fn is_half_open(&self, row: u32, generation: u32) -> bool {
        self.sockets[row as usize].state == State::Handshake
            && self.hub.client_id(row).generation == generation
    }

    /// Once per tick: admits those who waited, and goes on accepting after a pause.
    pub(super) fn admit_waiting(&mut self) {
        self.admission.refill(self.work.now);
        if self.admission.spare.is_none() && !self.admission.has_lent {
            self.admission.spare = spare();
        }
        while self.admission.has_credit()
            && let Some((row, generation)) = self.admission.waiting.pop_front()
        {
            if self.is_half_open(row, generation) {
                let socket = &mut self.sockets[row as usize];
                socket.set(IS_READY, false);
                socket.set(IS_ADMITTED, true);
                self.admission.spend();
                self.make_ready(row);
            }
        }
        if self.admission.paused_until.is_some_and(|until| !until.is_after(self.work.now)) {
            self.admission.paused_until = None;
            self.accept_again();
        }
    }
}
