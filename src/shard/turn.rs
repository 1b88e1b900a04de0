//! One turn of a shard: a bounded amount of each kind of work, in a fixed order.

use std::io;

use crate::hub::{Effect, Now};
use crate::mesh::{Asker, Envelope, Outbound};
use crate::model::ShardId;
use crate::shard::{Net, Shard, Work};
use crate::sys::ring::{Completion, Kind};

/// What a shard does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Something is left to do: another turn.
    More,
    /// What is left to do waits for room on another thread's link: another turn in a moment.
    Retry,
    /// Sleep until something happens.
    Idle,
    /// Every shard has closed its connections.
    Drained,
}

/// How many completions, envelopes of one link and ready sockets one turn handles, and how many
/// batches it sends. A batch takes a third of a millisecond, so nothing waits long for a turn. Each
/// channel of a list counts as an envelope.
const COMPLETIONS_PER_TURN: usize = 512;
const ENVELOPES_PER_LINK: u64 = 256;
const READS_PER_TURN: usize = 64;

/// With so many envelopes that wait for room on a link, clients are not read: their commands and
/// their comings make more of them. What shards send is taken all the same. What that adds answers
/// questions of connections elsewhere, of which each has a limited number.
const PARKED_PAUSE: usize = 256;

/// Commands of an asker are taken while one part in so many of the link for their answers is free.
pub(super) const ANSWER_RESERVE: usize = 8;

/// With so many envelopes on the link to a shard, commands that make more of them wait: what the
/// shards say to each other should not wait long behind publications.
const COMMANDS_PAUSE: usize = 256;

/// For so long a turn hears clients that have just become readable, and for so long those that
/// wait for their turn. Commands take from less than a microsecond to milliseconds, and a flood of
/// them should not keep others waiting.
const CLIENTS_NANOS: u64 = 1_000_000;

/// So many commands begin before the clock is looked at again.
const COMMANDS_PER_LOOK: u32 = 32;

/// For so long a turn lets connections that have ended leave their channels.
const LEAVE_NANOS: u64 = 500_000;

const BATCHES_PER_TURN: usize = 8;

/// After its first batch a turn begins others for so long: one of large messages takes
/// milliseconds.
const FLUSH_NANOS: u64 = 3_000_000;

impl<N: Net> Shard<N> {
    /// Does what there is to do, as far as one turn has time for it.
    pub fn turn(&mut self) -> io::Result<Turn> {
        self.work.now_nanos = self.net.now_nanos();
        self.work.now = crate::shard::tick_of(self.work.now_nanos);
        self.work.unix = self.net.unix_seconds();
        let Work { now_nanos: nanos, now: tick, unix, .. } = self.work;
        self.hub.advance(Now { nanos, tick, unix });
        self.begin_hearing(self.work.now_nanos);
        self.net.enter()?;
        for _ in 0..COMPLETIONS_PER_TURN {
            let Some(completion) = self.net.poll_completion() else { break };
            self.handle_completion(completion);
        }
        self.hear_waiting();
        self.take_envelopes();
        self.verify_some();
        self.run_timers();
        self.drain_some();
        self.perform_effects();
        self.let_leave();
        self.flush_some()?;
        let is_crowded = self.hub.is_congested() || self.are_links_crowded();
        self.port.inbox.bell().set_crowded(is_crowded);
        self.finish_farewells();
        self.send_answers();
        self.wake_receivers();
        self.give_back_memory();
        Ok(self.next_turn())
    }

    fn next_turn(&self) -> Turn {
        if self.draining.is_over() && !self.has_answers() && !self.has_envelopes() {
            Turn::Drained
        } else if self.net.has_completions()
            || self.hub.has_work()
            || self.hub.has_latecomers()
            || self.hub.has_leavers() && !self.are_links_full()
            || self.has_readable()
            || self.work.are_timers_left
            || self.hub.is_behind()
            || !self.work.unverified.is_empty()
            || self.has_envelopes()
        {
            Turn::More
        } else if self.waits_for_room() {
            Turn::Retry
        } else {
            Turn::Idle
        }
    }

    fn handle_completion(&mut self, completion: Completion) {
        let Completion { kind, row, result, has_more, .. } = completion;
        match kind {
            Kind::Accept => self.handle_accept(result, has_more),
            Kind::Tick => self.handle_tick(),
            Kind::Event => self.handle_event(has_more),
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

    fn begin_hearing(&mut self, now_nanos: u64) {
        self.work.clients_until = now_nanos + CLIENTS_NANOS;
        self.work.is_time_left = true;
        self.hub.allow(COMMANDS_PER_LOOK);
    }

    /// Whether this stage of the turn has time for more of what clients ask.
    pub(super) fn has_time(&mut self) -> bool {
        if self.hub.is_late() && self.work.is_time_left {
            self.work.is_time_left = self.net.now_nanos() < self.work.clients_until;
            if self.work.is_time_left {
                self.hub.allow(COMMANDS_PER_LOOK);
            }
        }
        !self.hub.is_late()
    }

    /// Hears clients that wait for their turn, each in its order.
    fn hear_waiting(&mut self) {
        let mut ready = READS_PER_TURN.min(self.work.ready.len());
        let mut late = self.hub.latecomers();
        if ready == 0 && late == 0 {
            return;
        }
        self.begin_hearing(self.net.now_nanos());
        let mut first = Vec::new();
        while (ready > 0 || late > 0) && self.has_time() {
            if late > 0 {
                late -= 1;
                self.hub.resume_latecomer();
                self.perform_effects();
            }
            if ready > 0 {
                ready -= 1;
                first.extend(self.read_ready());
            }
        }
        for waiting in first.into_iter().rev() {
            self.work.ready.push_front(waiting);
        }
    }

    /// Serves connections.
    fn flush_some(&mut self) -> io::Result<()> {
        let mut end = u64::MAX;
        for _ in 0..BATCHES_PER_TURN {
            if !self.hub.has_work() {
                break;
            }
            let now_nanos = self.flush()?;
            self.perform_effects();
            if now_nanos >= end {
                break;
            }
            end = end.min(now_nanos + FLUSH_NANOS);
        }
        Ok(())
    }

    /// Lets connections that have ended leave their channels.
    fn let_leave(&mut self) {
        if !self.hub.has_leavers() {
            return;
        }
        let end = self.net.now_nanos() + LEAVE_NANOS;
        while self.hub.has_leavers() && !self.are_links_full() {
            self.hub.leave_some();
            self.perform_effects();
            if self.net.now_nanos() >= end {
                return;
            }
        }
    }

    /// Takes envelopes from every link, each turn beginning with another one.
    ///
    /// While rounds have more than enough to do, publications wait, and what is behind them on
    /// their link with them; everything else goes on. Commands of askers also wait while they would
    /// only fill the links between shards or their own link for answers. What shards send is never
    /// held back for the sake of a third one, so no circle of full links can come about.
    fn take_envelopes(&mut self) {
        self.send_parked();
        self.note_crowds();
        let queues = self.port.inbox.queue_count();
        self.work.first_queue = (self.work.first_queue + 1) % queues;
        // Clients and backends take turns in coming first.
        let are_clients_first = self.work.first_queue.is_multiple_of(2);
        if are_clients_first {
            self.hub.resume_publishers();
            self.perform_effects();
        }
        for turn in 0..queues {
            let queue = (self.work.first_queue + turn) % queues;
            let mut left = ENVELOPES_PER_LINK;
            while left > 0 && self.may_take_from(queue) {
                let Some(envelope) = self.take_envelope(queue, &mut left) else { break };
                if self.hub.is_congested() && envelope.is_publication() {
                    self.work.held[queue] = Some(envelope);
                    break;
                }
                self.hub.handle(envelope);
                self.perform_effects();
            }
        }
        if !are_clients_first {
            self.hub.resume_publishers();
            self.perform_effects();
        }
    }

    /// Which shards should get no publications of clients for now.
    fn note_crowds(&mut self) {
        let own = self.port.shard;
        let are_links_crowded = self.are_links_crowded();
        for (shard, link) in (0..).map(ShardId).zip(&self.port.shards) {
            let is_long = link.len() >= COMMANDS_PAUSE || link.is_heavy();
            let is_crowded = link.is_crowded() || is_long;
            self.hub.note_crowded(shard, if shard == own { are_links_crowded } else { is_crowded });
        }
    }

    /// Whether envelopes for other shards wait, so that what makes more of them should wait too.
    fn are_links_crowded(&self) -> bool {
        !self.work.parked.is_empty()
            || self.port.shards.iter().any(|link| link.len() >= COMMANDS_PAUSE || link.is_heavy())
    }

    /// The next envelope of a link, which counts as one or as many as it lists channels.
    fn take_envelope(&mut self, queue: usize, left: &mut u64) -> Option<Envelope> {
        *left -= 1;
        self.work.held[queue].take().or_else(|| {
            let envelope = self.port.inbox.receive(queue)?;
            let weight = envelope.weight();
            *left = left.saturating_sub(weight.channels);
            self.port.inbox.note_taken(queue, weight);
            Some(envelope)
        })
    }

    /// Whether what waits on a link may be taken now.
    fn may_take_from(&self, queue: usize) -> bool {
        let shards = self.port.shards.len();
        let Some(asker) = queue.checked_sub(shards) else { return true };
        let answers = &self.port.askers[asker];
        let waiting = answers.len() + self.work.answers[asker].len();
        !self.are_links_crowded()
            && waiting <= answers.capacity() / ANSWER_RESERVE * (ANSWER_RESERVE - 1)
    }

    /// Whether something waits on a link that may be taken now.
    fn has_envelopes(&self) -> bool {
        (0..self.port.inbox.queue_count()).any(|queue| {
            self.may_take_from(queue)
                && (self.work.held[queue].is_some() || !self.port.inbox.is_empty_at(queue))
        })
    }

    /// Whether something waits for another thread to make room.
    fn waits_for_room(&self) -> bool {
        !self.work.parked.is_empty()
            || self.hub.has_waiting_publishers()
            || self.has_answers()
            || !self.work.ready.is_empty()
            || self.work.held.iter().any(Option::is_some)
            || !self.port.inbox.is_empty()
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
                Effect::Connected(row) => self.handle_connected(row),
                Effect::Expiry(row) => self.handle_expiry(row),
                Effect::Verify(row, request) => self.verify_command(row, *request),
                Effect::Revoke(personal, device, second) => {
                    let user = personal.user().unwrap_or_default();
                    self.authority.revoke(user, device.as_deref(), second);
                }
                Effect::Audible(row) => self.handle_audible(row),
                Effect::Blocked(row) => self.handle_blocked(row),
                Effect::Configure(settings) => self.configure(settings),
            }
        }
    }

    fn pass_on(&mut self, shard: ShardId, envelope: Envelope) {
        self.work.is_touched[shard.index()] = true;
        let link = &self.port.shards[shard.index()];
        let is_long = link.len() >= COMMANDS_PAUSE || link.is_heavy();
        if is_long && matches!(envelope, Envelope::Command { .. }) {
            self.hub.note_crowded(shard, true);
        }
        let envelope = if self.work.parked.is_empty() {
            let weight = envelope.weight();
            let refused = link.try_send_weighing(envelope, weight).err();
            let Some(envelope) = refused else { return };
            self.metrics.envelopes_deferred.increment();
            envelope
        } else {
            envelope
        };
        self.work.parked.push_back((shard, envelope));
        self.metrics.envelopes_parked.add(1);
    }

    /// Whether so much waits for room on links that clients are not to add to it.
    pub(super) fn are_links_full(&self) -> bool {
        self.work.parked.len() >= PARKED_PAUSE
    }

    /// Tries again to pass on what did not fit. One full link holds all of them back, which keeps
    /// the order of every link.
    fn send_parked(&mut self) {
        while let Some((shard, envelope)) = self.work.parked.pop_front() {
            self.work.is_touched[shard.index()] = true;
            let (link, weight) = (&self.port.shards[shard.index()], envelope.weight());
            if let Err(envelope) = link.try_send_weighing(envelope, weight) {
                self.work.parked.push_front((shard, envelope));
                break;
            }
            self.metrics.envelopes_parked.add(-1);
        }
    }

    fn tell(&mut self, asker: u8, outbound: Outbound) {
        let event = match outbound {
            Outbound::Answer(answer) => {
                return self.work.answers[usize::from(asker)].add(answer);
            }
            Outbound::Failed(failure, _) => return self.work.failures.add(failure),
            Outbound::Event(_) if !self.settings.has_event_endpoint => {
                return self.metrics.events_unheard.increment();
            }
            event @ Outbound::Event(_) => event,
        };
        self.work.is_asker_touched[usize::from(asker)] = true;
        let (link, weight) = (&self.port.askers[usize::from(asker)], event.weight());
        if link.try_send_weighing(event, weight).is_err() {
            self.metrics.events_dropped.increment();
        }
    }

    /// Sends what the turn has answered, as far as there is room; the rest goes with what the next
    /// turns answer.
    fn send_answers(&mut self) {
        let mut waiting = 0;
        let told = self.work.answers.iter_mut().zip(&mut self.work.is_asker_touched);
        for (link, (answers, is_touched)) in self.port.askers.iter().zip(told) {
            *is_touched |= !answers.is_empty();
            answers.send(link);
            waiting += answers.len();
        }
        self.metrics.answers_waiting.set(waiting as i64);
        let ingest = usize::from(Asker::Ingest.place());
        self.work.is_asker_touched[ingest] |= !self.work.failures.is_empty();
        self.work.failures.send(&self.port.askers[ingest]);
    }

    /// Whether answers wait for room on the link to an asker.
    fn has_answers(&self) -> bool {
        self.work.answers.iter().any(|answers| !answers.is_empty())
            || !self.work.failures.is_empty()
    }

    fn wake_receivers(&mut self) {
        for (link, touched) in self.port.shards.iter().zip(&mut self.work.is_touched) {
            if std::mem::take(touched) {
                link.ring();
            }
        }
        for (link, touched) in self.port.askers.iter().zip(&mut self.work.is_asker_touched) {
            if std::mem::take(touched) {
                link.ring();
            }
        }
    }
}
