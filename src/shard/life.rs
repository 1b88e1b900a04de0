//! A connection's timers and its end.
//!
//! Each connection has one timer, which is moved only when it fires: hearing from a peer just notes
//! the tick. When it fires the state says what is due: the handshake's deadline, a ping, a missing
//! pong, the age of what the peer does not take, or the end of a closing handshake.

use crate::hub::{Age, Cause};
use crate::shard::socket::{
    FIRST_PING_DUE, IS_COUNTED, IS_READY, OWES, PEER_CLOSED, PINGED, Socket, State,
};
use crate::shard::{KEPT_ROWS, Net, Shard};
use crate::sys::memory::{give_back, give_back_spare};
use crate::sys::ring::Kind;
use crate::wheel::{Tick, Wheel};
use crate::ws::close::{CloseCode, encode_close};
use crate::ws::frame::{Opcode, encode_frame};

/// How many timers one turn runs. A ping takes some microseconds, and equal heartbeats of a million
/// connections should not keep their messages waiting.
const TIMERS_PER_TURN: u32 = 128;

impl<N: Net> Shard<N> {
    /// Runs timers that are due, in order and no more than a turn's worth of them.
    pub(super) fn run_timers(&mut self) {
        self.admit_waiting();
        let mut steps = TIMERS_PER_TURN;
        while let Some(row) = self.wheel.pop_expired(self.work.now, &mut steps) {
            match self.sockets[row as usize].state {
                State::Free => {}
                State::Handshake | State::Joining => {
                    self.metrics.handshakes_timed_out.increment();
                    self.teardown(row);
                }
                State::Open => self.run_open_timer(row),
                State::Closing | State::Lingering => self.teardown(row),
            }
        }
        self.work.are_timers_left = steps == 0;
    }

    fn run_open_timer(&mut self, row: u32) {
        let now = self.work.now;
        if !self.check_age(row) || !self.check_message(row) || self.expire(row) {
            return;
        }
        if self.hub.variant(row).is_managed() {
            return self.run_managed_timer(row);
        }
        if self.sockets[row as usize].is(PINGED) {
            // A pong may lie unread: because much else was to be done, or because nobody was read.
            self.read(row, true);
        }
        let socket = &mut self.sockets[row as usize];
        if socket.state != State::Open {
            return;
        }
        let interval = self.settings.ping_interval.0;
        let silent = now.since(socket.last_seen);
        let is_first = socket.is(FIRST_PING_DUE) && silent >= first_ping(row, interval);
        socket.set(FIRST_PING_DUE, false);
        let deadline = self.settings.pong_deadline.0;
        let half = (deadline / 2).clamp(1, interval);
        let pinged = socket.last_seen.plus(interval);
        let (again_due, pong_due) = (pinged.plus(half), pinged.plus(deadline));
        let mut due = socket.last_seen.plus(interval);
        if socket.is(PINGED) {
            if !pong_due.is_after(now) && self.is_heard(row) {
                return self.give_up(row);
            }
            due = if again_due.is_after(now) {
                again_due
            } else if pong_due.is_after(now) {
                // Some clients, libcurl's among them, answer when the next frame comes.
                self.ping(row);
                pong_due
            } else {
                now.plus(interval)
            };
        } else if is_first || silent >= interval {
            socket.set(PINGED, true);
            // The pong's deadline counts from the ping, however late that is.
            socket.last_seen = Tick(now.0.wrapping_sub(interval));
            due = now.plus(half);
            self.ping(row);
        }
        self.arm_expiring_timer(row, due);
    }

    /// Ends what has expired. Returns whether that was the connection itself.
    fn expire(&mut self, row: u32) -> bool {
        self.hub.expire(row);
        self.perform_effects();
        self.sockets[row as usize].state != State::Open
    }

    /// Whether a pong would have been heard by now.
    pub(super) fn is_heard(&self, row: u32) -> bool {
        self.hub.is_audible(row) && !self.sockets[row as usize].is(IS_READY)
    }

    /// Arms the one timer of an open connection for the next thing that is due.
    pub(super) fn arm_open_timer(&mut self, row: u32, due: Tick) {
        let socket = &self.sockets[row as usize];
        let age_due = socket.is(OWES).then_some(socket.age_due);
        let mut due = due;
        for other in age_due.into_iter().chain(self.message_due(row)) {
            due = if due.is_after(other) { other } else { due };
        }
        if socket.state == State::Open {
            self.wheel.insert_or_move(row, due);
        }
    }

    /// The same for a connection that may expire.
    pub(super) fn arm_expiring_timer(&mut self, row: u32, due: Tick) {
        let expiry = self.hub.expiry_of(row).map(|at| {
            let left = at.saturating_sub(self.work.unix).max(1);
            self.work.now.plus_millis(left.saturating_mul(1000))
        });
        let due = match expiry {
            Some(expiry) if due.is_after(expiry) => expiry,
            _ => due,
        };
        self.arm_open_timer(row, due);
    }

    /// The moment at which something of a connection expires has changed.
    pub(super) fn handle_expiry(&mut self, row: u32) {
        if let Some(due) = self.wheel.deadline(row) {
            self.arm_expiring_timer(row, due);
        }
    }

    fn ping(&mut self, row: u32) {
        self.metrics.pings_sent.increment();
        let mut frame = Vec::with_capacity(2);
        encode_frame(Opcode::Ping, &[], &mut frame);
        self.reply(row, &frame);
    }

    /// A pinged peer has been silent for too long. It will hardly read the reason.
    pub(super) fn give_up(&mut self, row: u32) {
        self.metrics.closed_no_pong.increment();
        self.sockets[row as usize].close_code = CloseCode::NO_PONG.0;
        if self.hub.is_clear(row) {
            let mut frame = Vec::with_capacity(16);
            encode_close(CloseCode::NO_PONG, "no pong", &mut frame);
            self.reply(row, &frame);
        }
        self.teardown(row);
    }

    /// The peer does not take what it is sent: measure for how long.
    pub(super) fn handle_blocked(&mut self, row: u32) {
        let generation = self.hub.client_id(row).generation;
        let socket = &mut self.sockets[row as usize];
        if socket.state == State::Free {
            return;
        }
        self.net.watch_writable(socket.fd, row, generation);
        if !socket.is(OWES) {
            socket.set(OWES, true);
            socket.age_due = self.work.now.plus(self.settings.age_max.0);
            let armed = self.wheel.deadline(row);
            self.hub.check_age(row);
            self.arm_open_timer(row, armed.unwrap_or(self.work.now));
        }
    }

    /// Looks at the age of what a connection is owed, if that is due. Returns false if it was
    /// closed for it.
    fn check_age(&mut self, row: u32) -> bool {
        let socket = &mut self.sockets[row as usize];
        if !socket.is(OWES) || socket.age_due.is_after(self.work.now) {
            return true;
        }
        match self.hub.check_age(row) {
            Age::Nothing => socket.set(OWES, false),
            Age::Renewed => socket.age_due = self.work.now.plus(self.settings.age_max.0),
            Age::Expired => {
                let reason = "slow: not read for too long";
                self.hub.close(row, CloseCode::SLOW, reason, Cause::Slow);
                self.perform_effects();
                return false;
            }
        }
        true
    }

    /// A close frame is on its way.
    pub(super) fn handle_closing(&mut self, row: u32, code: CloseCode, cause: Cause) {
        let socket = &mut self.sockets[row as usize];
        if socket.state != State::Open {
            return;
        }
        socket.state = State::Closing;
        if cause != Cause::Peer {
            socket.close_code = code.0;
        }
        if socket.is(PEER_CLOSED) {
            self.work.farewells.push((row, self.hub.client_id(row).generation));
        }
        let metrics = &self.metrics;
        match cause {
            Cause::Peer => metrics.closed_by_peer.increment(),
            Cause::Lost => metrics.closed_lost.increment(),
            Cause::ProtocolError => metrics.closed_protocol_error.increment(),
            Cause::Slow => metrics.closed_slow.increment(),
            Cause::Hoarding => metrics.closed_hoarding.increment(),
            Cause::HalfRead => metrics.closed_half_read.increment(),
            Cause::Command => metrics.closed_by_command.increment(),
            Cause::Expired => metrics.closed_expired.increment(),
            Cause::Evicted => metrics.closed_evicted.increment(),
            Cause::Drained => metrics.closed_drained.increment(),
        }
        self.wheel.insert_or_move(row, self.work.now.plus(self.settings.close_deadline.0));
        self.handle_audible(row);
    }

    /// Closing handshakes that are over but for what the outbox held: our direction ends, and
    /// the peer's end is waited for, so that it reads our close frame before the socket is gone.
    pub(super) fn finish_farewells(&mut self) {
        let mut farewells = std::mem::take(&mut self.work.farewells);
        farewells.retain(|&(row, generation)| {
            let is_current = self.hub.client_id(row).generation == generation
                && self.sockets[row as usize].state == State::Closing;
            if !is_current {
                return false;
            }
            if !self.hub.is_clear(row) {
                return true;
            }
            self.net.shutdown_write(self.sockets[row as usize].fd);
            self.sockets[row as usize].state = State::Lingering;
            self.take_half(row);
            self.make_ready(row);
            false
        });
        self.work.farewells.append(&mut farewells);
    }

    /// The peer has ended its direction.
    pub(super) fn handle_end(&mut self, row: u32) {
        match self.sockets[row as usize].state {
            State::Handshake => {
                self.metrics.handshakes_aborted.increment();
                self.teardown(row);
            }
            State::Open => self.lose(row),
            State::Free | State::Joining => {}
            State::Closing if !self.hub.is_clear(row) => self.hear_out(row),
            State::Closing | State::Lingering => self.teardown(row),
        }
    }

    /// A peer that has said all still reads our close frame, which is on its way.
    fn hear_out(&mut self, row: u32) {
        let socket = &mut self.sockets[row as usize];
        if !socket.is(PEER_CLOSED) {
            socket.set(PEER_CLOSED, true);
            self.work.farewells.push((row, self.hub.client_id(row).generation));
        }
    }

    /// The connection is broken.
    pub(super) fn lose(&mut self, row: u32) {
        match self.sockets[row as usize].state {
            State::Free => return,
            State::Handshake | State::Joining => self.metrics.handshakes_aborted.increment(),
            State::Open => self.metrics.closed_lost.increment(),
            State::Closing | State::Lingering => {}
        }
        self.teardown(row);
    }

    /// After the last of many connections the tables that they filled are emptied. Only at the
    /// end of a turn, when nothing refers to a row by its number alone.
    pub(super) fn give_back_memory(&mut self) {
        if self.hub.connection_count() == 0 && self.sockets.len() > KEPT_ROWS {
            self.sockets.clear();
            give_back_spare(&mut self.sockets);
            // Only when the old one is gone can the new one have its place.
            self.wheel = Wheel::new(self.work.now);
            self.wheel = Wheel::with_capacity(self.work.now, self.sockets.capacity());
            self.admission.forget();
            give_back();
        }
    }

    /// Closes the socket and frees everything that was kept for it.
    pub(super) fn teardown(&mut self, row: u32) {
        if self.sockets[row as usize].state == State::Free {
            return;
        }
        let generation = self.hub.client_id(row).generation;
        self.take_half(row);
        self.work.paused.remove(&row);
        let socket = std::mem::replace(&mut self.sockets[row as usize], Socket::FREE);
        if socket.state == State::Handshake {
            self.count_half_open_gone();
        }
        self.net.cancel(Kind::Readable, row, generation);
        if socket.is(OWES) {
            self.net.cancel(Kind::Writable, row, generation);
        }
        self.wheel.cancel(row);
        self.hub.detach(row, socket.close_code);
        self.net.close(socket.fd);
        self.metrics.sockets.add(-1);
        if socket.is(IS_COUNTED) {
            self.metrics.connections.add(-1);
        }
        self.perform_effects();
    }
}

/// How many ticks after opening a connection is pinged for the first time, from one to the whole of
/// an interval. Multiples of the golden ratio fill the interval evenly whichever run of rows takes
/// part, so clients that all came at once are not pinged at once, then or later.
pub(super) fn first_ping(row: u32, interval: u32) -> u32 {
    const GOLDEN_RATIO: u32 = 0x9e37_79b9;
    let part = row.wrapping_add(1).wrapping_mul(GOLDEN_RATIO);
    ((u64::from(part) * u64::from(interval)) >> u32::BITS) as u32 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_pings_fill_the_interval_evenly() {
        for (first, count, interval) in [(0, 20_000, 500), (700_000, 20_000, 500), (3, 40, 20)] {
            let mut pings = vec![0u32; interval as usize];
            for row in first..first + count {
                pings[first_ping(row, interval) as usize - 1] += 1;
            }
            let each = count / interval;
            let is_even = pings.iter().all(|pings| pings.abs_diff(each) <= 2);
            assert!(is_even, "{count} rows from {first}: {pings:?}");
        }
        assert_eq!(first_ping(u32::MAX, 500), 1);
    }
}
