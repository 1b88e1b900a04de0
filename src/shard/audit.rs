//! What is always true between the tables of a shard, and what is left in them: for simulations,
//! which look after each turn.

use std::collections::HashSet;

use crate::shard::answers::Answers;
use crate::shard::socket::{IS_READY, State};
use crate::shard::{Net, Shard, Work};

impl<N: Net> Shard<N> {
    /// Whether the tables agree with each other, or where they do not. Holds between turns.
    pub fn audit(&self) -> Result<(), String> {
        self.hub.audit()?;
        self.halves.audit(&self.sockets)?;
        let waiting = self.waiting_rows();
        let (mut open, mut half_open) = (0, 0);
        for (row, socket) in (0..).zip(&self.sockets) {
            let is_free = socket.state == State::Free;
            if is_free != (socket.fd < 0) {
                return Err(format!("connection {row} is free and has a socket, or neither"));
            }
            if is_free == self.wheel.is_armed(row) {
                return Err(format!("connection {row} has no deadline, or is free and has one"));
            }
            if !is_free && socket.is(IS_READY) != waiting.contains(&row) {
                return Err(format!("connection {row} waits to be read, or only says so"));
            }
            open += i64::from(!is_free);
            half_open += usize::from(socket.state == State::Handshake);
        }
        if open != self.metrics.sockets.value() {
            return Err(format!("{open} sockets are open, and others are counted"));
        }
        if !self.admission.has_half_open(half_open) {
            return Err(format!("{half_open} are half open, and others are counted"));
        }
        Ok(())
    }

    /// The rows that will be read, or looked at, without a word of the network.
    fn waiting_rows(&self) -> HashSet<u32> {
        let is_current =
            |&&(row, generation): &&(u32, u32)| self.hub.client_id(row).generation == generation;
        let is_half_open = |&&(row, generation): &&(u32, u32)| self.is_half_open(row, generation);
        let ready = self.work.ready.iter().filter(is_current);
        let queued = ready.chain(self.admission.waiting().iter().filter(is_half_open));
        queued.map(|&(row, _)| row).chain(self.work.paused.iter().copied()).collect()
    }

    /// What is left of connections, commands and answers, by what it is: nothing where all are gone
    /// and what is remembered for a while is forgotten.
    pub fn remains(&self) -> Vec<&'static str> {
        let Work { ready, paused, unverified, farewells, .. } = &self.work;
        let Work { held, parked, answers, failures, .. } = &self.work;
        let parts = [
            ("the hub", self.hub.is_empty()),
            ("sockets", self.sockets.iter().all(|socket| socket.state == State::Free)),
            ("what is half read", self.halves.rows.is_empty()),
            ("timers", self.wheel.is_empty()),
            ("half-open connections", self.admission.has_half_open(0)),
            ("connections to read", ready.is_empty() && paused.is_empty()),
            ("tokens", unverified.is_empty()),
            ("farewells", farewells.is_empty()),
            ("envelopes", parked.is_empty() && held.iter().all(Option::is_none)),
            ("answers", answers.iter().all(Answers::is_empty) && failures.is_empty()),
        ];
        parts.into_iter().filter(|&(_, is_empty)| !is_empty).map(|(what, _)| what).collect()
    }
}
