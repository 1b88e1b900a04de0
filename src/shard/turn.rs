//! One turn of a shard: a bounded amount of each kind of work, in a fixed order.

use std::io;

use crate::hub::Effect;
use crate::mesh::Outbound;
use crate::shard::Shard;
use crate::sys::ring::{Completion, Kind};

/// What a shard does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Something is left to do: another turn.
    More,
    /// Sleep until something happens.
    Idle,
    /// Every shard has closed its connections.
    Drained,
}

/// How many completions, envelopes of one link and ready sockets one turn handles, and how many
/// batches it sends. A batch takes a third of a millisecond, so nothing waits long for a turn.
const COMPLETIONS_PER_TURN: usize = 512;
const ENVELOPES_PER_LINK: usize = 256;
const READS_PER_TURN: usize = 64;
const BATCHES_PER_TURN: usize = 8;

impl Shard {
    pub(super) fn turn(&mut self) -> io::Result<Turn> {
        self.work.now_nanos = self.clock.now_nanos();
        self.work.now = super::tick_of(self.work.now_nanos);
        self.ring.enter()?;
        for _ in 0..COMPLETIONS_PER_TURN {
            let Some(completion) = self.ring.poll_completion() else { break };
            self.handle_completion(completion);
        }
        for _ in 0..READS_PER_TURN.min(self.work.ready.len()) {
            self.read_ready();
        }
        self.take_envelopes();
        self.run_timers();
        self.drain_some();
        self.perform_effects();
        for _ in 0..BATCHES_PER_TURN {
            if !self.hub.has_work() {
                break;
            }
            self.flush()?;
            self.perform_effects();
        }
        self.resume_paused();
        self.finish_farewells();
        self.wake_receivers();
        self.give_back_memory();
        Ok(self.next_turn())
    }

    fn next_turn(&self) -> Turn {
        if self.draining.is_over() {
            Turn::Drained
        } else if self.ring.has_completions()
            || self.hub.has_work()
            || self.has_readable()
            || self.may_take_envelopes() && !self.port.inbox.is_empty()
        {
            Turn::More
        } else {
            Turn::Idle
        }
    }

    fn handle_completion(&mut self, completion: Completion) {
        let Completion { kind, row, result, has_more, .. } = completion;
        match kind {
            Kind::Accept => self.handle_accept(result, has_more),
            Kind::Tick => self.handle_tick(),
            Kind::Readable | Kind::Writable => {
                let is_current = (row as usize) < self.sockets.len()
                    && completion.is_of(self.hub.client_id(row).generation)
                    && self.sockets[row as usize].fd >= 0;
                if is_current && kind == Kind::Readable {
                    self.handle_readable(row, result, has_more);
                } else if is_current {
                    self.handle_writable(row);
                }
            }
            Kind::Send | Kind::Cancel => {}
        }
    }

    /// Publications wait on their links while rounds have more than enough to do, and commands
    /// while envelopes that follow from earlier ones cannot be passed on. What other shards sent
    /// is taken in any case when links are full: it never has to wait for a third shard.
    fn may_take_envelopes(&self) -> bool {
        !self.hub.is_congested() && self.work.parked.is_empty()
    }

    fn take_envelopes(&mut self) {
        self.send_parked();
        let shards = self.port.shards.len();
        for queue in 0..self.port.inbox.queue_count() {
            for _ in 0..ENVELOPES_PER_LINK {
                let is_from_shard = queue < shards;
                if self.hub.is_congested() || !is_from_shard && !self.work.parked.is_empty() {
                    break;
                }
                let Some(envelope) = self.port.inbox.receive(queue) else { break };
                self.hub.handle(envelope);
                self.perform_effects();
            }
        }
    }

    /// Carries out what the hub asks for. Some of it makes the hub ask for more.
    pub(super) fn perform_effects(&mut self) {
        while let Some(effect) = self.hub.poll_effect() {
            match effect {
                Effect::Send(shard, envelope) => self.pass_on(shard, envelope),
                Effect::Tell(asker, outbound) => self.tell(asker, outbound),
                Effect::Opened(row) => self.complete_handshake(row),
                Effect::Refused(row, refusal) => self.refuse_session(row, refusal),
                Effect::Closing(row, code, cause) => self.handle_closing(row, code, cause),
                Effect::Blocked(row) => self.handle_blocked(row),
            }
        }
    }

    fn pass_on(&mut self, shard: crate::protocol::ShardId, envelope: crate::mesh::Envelope) {
        self.work.is_touched[shard.index()] = true;
        if self.work.parked.is_empty() {
            if let Err(envelope) = self.port.shards[shard.index()].try_send(envelope) {
                self.metrics.envelopes_deferred.increment();
                self.work.parked.push_back((shard, envelope));
            }
        } else {
            self.work.parked.push_back((shard, envelope));
        }
    }

    /// Tries again to pass on what did not fit. One full link holds all of them back, which keeps
    /// the order of every link.
    fn send_parked(&mut self) {
        while let Some((shard, envelope)) = self.work.parked.pop_front() {
            self.work.is_touched[shard.index()] = true;
            if let Err(envelope) = self.port.shards[shard.index()].try_send(envelope) {
                self.work.parked.push_front((shard, envelope));
                break;
            }
        }
    }

    fn tell(&mut self, asker: u8, outbound: Outbound) {
        let is_event = matches!(outbound, Outbound::Event(_));
        let told = self.port.askers[usize::from(asker)].try_send(outbound);
        self.work.are_askers_touched = true;
        if told.is_err() {
            let metrics = &self.metrics;
            let lost = if is_event { &metrics.events_dropped } else { &metrics.answers_dropped };
            lost.increment();
        }
    }

    fn wake_receivers(&mut self) {
        for (link, touched) in self.port.shards.iter().zip(&mut self.work.is_touched) {
            if std::mem::take(touched) {
                link.ring();
            }
        }
        if std::mem::take(&mut self.work.are_askers_touched) {
            for link in &self.port.askers {
                link.ring();
            }
        }
    }
}
