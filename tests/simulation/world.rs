//! The shell of the simulation: hubs, sockets and links, and one seeded step after another.
//!
//! It does for each hub what its documentation asks of a shell, at a pace and with faults that the
//! seed decides, and shows the model and the histories everything that happens. An effect is
//! carried out right after the call that caused it, so the model's order of things is the hub's.

use std::collections::HashMap;
use std::sync::Arc;

use tidegate::hub::{Age, BATCH_MAX, Batch, Cause, Effect, Hub, Session, Site};
use tidegate::mesh::{Asker, Envelope, Homes, Outbound};
use tidegate::metrics::ShardMetrics;
use tidegate::model::{ChannelName, ShardId};
use tidegate::settings::{Budget, HubSettings};
use tidegate::ws::CloseCode;
use tidegate::ws::frame::{Opcode, encode_frame};

use crate::model::{Model, Phase};
use crate::network::{Network, Reader, Socket};
use crate::random::Random;

/// How many steps a backlog may age, and how many a closing connection may take.
const AGE_STEPS: u64 = 150;

/// How long a world may take to become quiet.
const SETTLE_ROUNDS: usize = 20_000;

/// One shard.
#[derive(Debug)]
pub(crate) struct Shard {
    /// Its state.
    pub(crate) hub: Hub,
    /// What it counts.
    pub(crate) metrics: Arc<ShardMetrics>,
    /// Which connection is in which row.
    rows: HashMap<u32, usize>,
    /// Whether a connection went away with bytes in its outbox.
    lost_an_outbox: bool,
    /// The settings that it has.
    pub(crate) settings: Arc<HubSettings>,
    /// Those that what it holds came by.
    pub(crate) lenient: HubSettings,
}

/// One connection as its shell sees it.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Its shard.
    pub(crate) shard: usize,
    /// Its row there.
    pub(crate) row: u32,
    /// Its socket.
    pub(crate) socket: Socket,
    /// What it will ask for, until it has.
    pub(crate) session: Option<Session>,
    /// Where the shell has it.
    pub(crate) state: State,
    watches_writable: bool,
    age_due: Option<u64>,
}

/// Where the shell has a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Handshake not read, or its channels being joined.
    Opening,
    /// Messages flow.
    Open,
    /// The close frame is in the outbox; at the step it is given up.
    Closing(u64),
    /// The handshake was refused.
    Refused,
    /// Detached.
    Detached,
}

/// Everything.
#[derive(Debug)]
pub(crate) struct World {
    /// What decides.
    pub(crate) random: Random,
    /// Number of the step: the virtual clock, in microseconds.
    pub(crate) now: u64,
    /// The shards.
    pub(crate) shards: Vec<Shard>,
    /// The links: from shards, then from askers.
    pub(crate) network: Network<Envelope>,
    /// All connections ever.
    pub(crate) connections: Vec<Connection>,
    /// Those that are not detached.
    pub(crate) present: Vec<usize>,
    /// What should be.
    pub(crate) model: Model,
    /// The channels: those of users first.
    pub(crate) names: Vec<ChannelName>,
    /// Where they are at home.
    pub(crate) homes: Homes,
    /// The settings that hubs are told.
    pub(crate) settings: Arc<HubSettings>,
    /// Replies so far.
    replies: u64,
}

impl World {
    /// A world without connections, of a shape that the seed decides.
    pub(crate) fn new(seed: u64, names: Vec<ChannelName>) -> Self {
        let mut random = Random::new(seed);
        let count = 1 + random.below(4);
        let homes = Homes::new(count as u8, random.next());
        let settings = Arc::new(HubSettings {
            sessions_per_user_max: 1 + random.below(6),
            evict_oldest: random.chance(60),
            lag_bytes_max: random.pick(&[1_000, 1_000, 20_000, 10_000_000]),
            outbox_bytes_max: random.pick(&[500, 5_000, 100_000, 10_000_000]),
            connections_max: 1000,
            slow: Budget::new(random.pick(&crate::bounds::MEMORY), count).into(),
            ..HubSettings::unlimited()
        });
        let shard = |shard| {
            let metrics = Arc::new(ShardMetrics::default());
            let site = Site::new(ShardId(shard as u8), homes.clone());
            let hub = Hub::new(site, Arc::clone(&settings), Arc::clone(&metrics));
            let (settings, lenient) = (Arc::clone(&settings), HubSettings::clone(&settings));
            let rows = HashMap::new();
            Shard { hub, metrics, rows, lost_an_outbox: false, settings, lenient }
        };
        let capacity = random.pick(&[1, 4, 64]);
        Self {
            now: 0,
            shards: (0..count).map(shard).collect(),
            network: Network::new(count + Asker::ALL.len(), count, capacity),
            connections: Vec::new(),
            present: Vec::new(),
            model: Model::new(count, &names),
            names,
            homes,
            settings,
            replies: 0,
            random,
        }
    }

    /// A socket is accepted by some shard.
    pub(crate) fn attach(&mut self, session: Session) {
        let shard = self.random.below(self.shards.len());
        let index = self.connections.len();
        let row = self.shards[shard].hub.attach(index as i32);
        assert!(self.shards[shard].rows.insert(row, index).is_none(), "a row in use");
        self.model.attached(self.shards[shard].hub.client_id(row));
        self.present.push(index);
        self.connections.push(Connection {
            shard,
            row,
            socket: Socket::new(&mut self.random),
            session: Some(session),
            state: State::Opening,
            watches_writable: false,
            age_due: None,
        });
    }

    /// Its opening handshake is read.
    pub(crate) fn enter(&mut self, index: usize) {
        let Connection { shard, row, .. } = self.connections[index];
        let Some(session) = self.connections[index].session.take() else { return };
        self.model.entering(index, &session);
        self.shards[shard].hub.enter(row, session);
        self.carry_out(shard);
    }

    /// The shell closes an open connection.
    pub(crate) fn close(&mut self, index: usize, code: CloseCode, cause: Cause) {
        let Connection { shard, row, .. } = self.connections[index];
        let reason = if cause == Cause::Slow { "slow: too old" } else { "closed" };
        self.shards[shard].hub.close(row, code, reason, cause);
        self.carry_out(shard);
    }

    /// The socket is closed, in whatever state the connection is.
    pub(crate) fn detach(&mut self, index: usize) {
        let Connection { shard, row, .. } = self.connections[index];
        let place = &mut self.shards[shard];
        place.lost_an_outbox |= place.hub.outbox_bytes(row) > 0;
        self.model.closed(index);
        place.hub.detach(row, 1006);
        place.rows.remove(&row);
        self.connections[index].state = State::Detached;
        self.present.retain(|&other| other != index);
        self.carry_out(shard);
    }

    /// Answers a client with a pong, inline where the hub allows it.
    pub(crate) fn reply(&mut self, index: usize, size: usize) {
        let Connection { shard, row, state, .. } = self.connections[index];
        if state != State::Open {
            return;
        }
        self.replies += 1;
        let payload = format!("{}{}", self.replies, ".".repeat(size));
        self.model.subscribers[index].history.owe_reply(payload.as_bytes());
        let mut frame = Vec::new();
        encode_frame(Opcode::Pong, payload.as_bytes(), &mut frame);
        if self.shards[shard].hub.is_clear(row) && self.random.chance(80) {
            let count = self.write(index, &frame);
            if count < frame.len() {
                self.shards[shard].hub.push_refused(row, &frame, count);
            }
        } else {
            self.shards[shard].hub.push(row, &frame);
        }
        self.carry_out(shard);
    }

    fn write(&mut self, index: usize, bytes: &[u8]) -> usize {
        let count = self.connections[index].socket.accept(bytes.len(), &mut self.random);
        let history = &mut self.model.subscribers[index].history;
        if count < bytes.len() {
            let situation = ["short write", "short write in a large frame"];
            self.model.coverage.note(situation[usize::from(bytes.len() >= 16_384)]);
        }
        let verdict = history.receive(&self.model.library, &bytes[..count]);
        if let Some(reason) = history.close_reason.take() {
            self.model.coverage.note(format!("close frame: {reason}"));
        }
        verdict
            .unwrap_or_else(|fault| panic!("connection {index} at step {}: {fault:?}", self.now));
        count
    }

    /// A shard handles an envelope, if there is one and the shard takes any.
    pub(crate) fn receive(&mut self, shard: usize) {
        if self.shards[shard].hub.is_congested() {
            self.model.coverage.note("congested shard");
            return;
        }
        let envelope = self.network.receive(shard, &mut self.random, self.now);
        let Some(envelope) = envelope else { return };
        self.model.settle_requests();
        let handled = self.model.handling(shard, &envelope);
        if matches!(envelope, Envelope::Joined { .. }) {
            self.model.coverage.note("confirmation by another shard");
        }
        self.shards[shard].hub.handle(envelope);
        self.carry_out(shard);
        self.model.handled(shard, &handled);
        self.model.settle_requests();
    }

    /// Carries out the effects of a hub.
    fn carry_out(&mut self, shard: usize) {
        while let Some(effect) = self.shards[shard].hub.poll_effect() {
            match effect {
                Effect::Send(to, envelope) => {
                    assert_ne!(to.index(), shard, "a shard has no link to itself");
                    match &envelope {
                        Envelope::Join { channel, handle, .. } => {
                            self.model.note_stay(shard, channel, *handle, true);
                        }
                        Envelope::Leave { channel, handle, .. } => {
                            self.model.note_stay(shard, channel, *handle, false);
                        }
                        _ => {}
                    }
                    if self.network.send(shard, to.index(), envelope) {
                        self.model.coverage.note("parked envelope");
                    }
                }
                Effect::Tell(_, Outbound::Answer(answer)) => self.model.answered(&answer),
                Effect::Tell(_, Outbound::Failed(failure, _)) => {
                    self.model.coverage.note(format!("failed: {}", failure.error.code()));
                }
                Effect::Tell(_, Outbound::Event(event)) => self.model.event(shard, &event),
                Effect::Opened(row) => {
                    let index = self.shards[shard].rows[&row];
                    self.model.opened(index);
                    self.connections[index].state = State::Open;
                }
                Effect::Refused(row, _) => {
                    self.model.coverage.note("refused session");
                    let index = self.shards[shard].rows[&row];
                    assert_eq!(self.connections[index].state, State::Opening);
                    self.connections[index].state = State::Refused;
                    self.model.refused(index);
                }
                Effect::Closing(row, _, cause) => {
                    self.model.coverage.note(format!("closing: {cause:?}"));
                    let index = self.shards[shard].rows[&row];
                    assert_eq!(self.connections[index].state, State::Open);
                    self.model.closed(index);
                    self.connections[index].state = State::Closing(self.now + 2 * AGE_STEPS);
                }
                Effect::Connected(_)
                | Effect::Expiry(_)
                | Effect::Verify(..)
                | Effect::Revoke(..) => {
                    panic!("every connection is a raw one");
                }
                Effect::Audible(_) => {}
                Effect::Configure(settings) => self.shards[shard].configure(&settings),
                Effect::Blocked(row) => {
                    let index = self.shards[shard].rows[&row];
                    let connection = &mut self.connections[index];
                    assert!(!connection.watches_writable, "told twice that a socket is full");
                    connection.watches_writable = true;
                    if connection.age_due.is_none() {
                        connection.age_due = Some(self.now + AGE_STEPS);
                        self.shards[shard].hub.check_age(row);
                    }
                }
            }
        }
    }

    /// One batch of sends of a shard.
    pub(crate) fn flush(&mut self, shard: usize) {
        let mut batch = Batch::default();
        self.shards[shard].hub.poll_batch(&mut batch);
        if batch.entries.len() == BATCH_MAX {
            self.model.coverage.note("full batch");
        }
        let mut seen = std::collections::HashSet::new();
        for place in 0..batch.entries.len() {
            let entry = batch.entries[place];
            assert!(seen.insert(entry.row), "a connection occurs twice in a batch");
            let index = self.shards[shard].rows[&entry.row];
            assert_eq!(entry.token, index as i32, "another socket");
            let bytes = self.shards[shard].hub.bytes(&entry).to_vec();
            assert_eq!((bytes.len(), bytes.is_empty()), (entry.length as usize, false));
            batch.entries[place].sent = self.write(index, &bytes) as u32;
        }
        self.shards[shard].hub.finish_batch(&mut batch, self.now * 1000);
        self.carry_out(shard);
        self.check_bounds(shard);
    }

    /// Peers read, and the shell hears which sockets are writable again.
    pub(crate) fn drain(&mut self) {
        for index in self.present.clone() {
            let connection = &mut self.connections[index];
            connection.socket.drain();
            if connection.watches_writable && connection.socket.is_writable() {
                connection.watches_writable = false;
                let (shard, row) = (connection.shard, connection.row);
                self.shards[shard].hub.handle_writable(row);
                self.carry_out(shard);
            }
        }
    }

    /// Timers fire, and connections that are done go away.
    pub(crate) fn tend(&mut self) {
        for index in self.present.clone() {
            let Connection { shard, row, state, age_due, .. } = self.connections[index];
            let hub = &mut self.shards[shard].hub;
            if state == State::Open && age_due.is_some_and(|due| due <= self.now) {
                let age = hub.check_age(row);
                let next = (age != Age::Nothing).then_some(self.now + AGE_STEPS);
                self.connections[index].age_due = next;
                if age == Age::Expired {
                    self.close(index, CloseCode::SLOW, Cause::Slow);
                }
            }
            let is_done = match state {
                State::Opening | State::Open => self.connections[index].socket.is_gone,
                State::Closing(deadline) => {
                    deadline <= self.now || self.shards[shard].hub.outbox_bytes(row) == 0
                }
                State::Refused | State::Detached => true,
            };
            if is_done && self.connections[index].state != State::Detached {
                self.detach(index);
            }
        }
    }

    /// Lets everything that is under way arrive, without faults.
    pub(crate) fn settle(&mut self) {
        // Jams last a while in steps; the clock jumps over them.
        self.now += AGE_STEPS;
        for index in self.present.clone() {
            let socket = &mut self.connections[index].socket;
            if socket.reader != Reader::Never {
                socket.reader = Reader::Eager;
            }
            socket.refuses_percent = 0;
            if self.connections[index].session.is_some() {
                self.enter(index);
            }
        }
        for _ in 0..SETTLE_ROUNDS {
            // With nothing to move, only timers are waited for.
            let is_idle =
                self.network.is_empty() && self.shards.iter().all(|shard| !shard.hub.has_work());
            self.now += if is_idle { AGE_STEPS / 3 } else { 1 };
            for shard in 0..self.shards.len() {
                for _ in 0..8 {
                    self.receive(shard);
                }
                self.flush(shard);
            }
            self.drain();
            self.tend();
            self.audit();
            if self.is_quiet() {
                return;
            }
        }
        panic!("the world never becomes quiet");
    }

    fn is_quiet(&mut self) -> bool {
        self.model.settle_requests();
        let is_idle = |&index: &usize| {
            let connection = &self.connections[index];
            matches!(connection.state, State::Open) && !connection.watches_writable
        };
        self.network.is_empty()
            && self.shards.iter().all(|shard| !shard.hub.has_work())
            && self.present.iter().all(is_idle)
    }

    /// What must hold after every step.
    pub(crate) fn audit(&self) {
        for (number, shard) in self.shards.iter().enumerate() {
            let verdict = shard.hub.audit();
            verdict.unwrap_or_else(|fault| panic!("shard {number} at step {}: {fault}", self.now));
        }
    }

    /// What must hold when the world is quiet.
    pub(crate) fn check_quiet(&mut self) {
        let sessions = self.shards.iter().map(|shard| shard.lenient.sessions_per_user_max);
        self.model.check_quiet(sessions.max().expect("a shard"));
        for &index in &self.present {
            let subscriber = &self.model.subscribers[index];
            assert_eq!(subscriber.phase, Phase::Open);
            let verdict = subscriber.history.finish(&self.model.library);
            verdict.unwrap_or_else(|fault| panic!("connection {index} at rest: {fault:?}"));
        }
        for (number, Shard { metrics, .. }) in self.shards.iter().enumerate() {
            let held = [&metrics.log_bytes, &metrics.outbox_bytes, &metrics.lagging];
            assert_eq!(held.map(|gauge| gauge.value()), [0; 3], "logs, outboxes, lagging");
            let there = [&metrics.subscriptions, &metrics.channels].map(|gauge| gauge.value());
            let (subscriptions, channels) = self.model.subscriptions(number);
            assert_eq!(there, [subscriptions as i64, channels as i64], "subscriptions, channels");
            let delivered = metrics.deliveries.value();
            let dropped = metrics.deliveries_abandoned.value() + metrics.deliveries_slow.value();
            let (owed, in_doubt) = self.model.owed[number];
            let counted = delivered + dropped;
            let is_right = (owed - in_doubt..=owed).contains(&counted);
            assert!(is_right, "each delivery is counted once: {counted} of {owed} - {in_doubt}");
        }
        self.check_received();
    }

    /// Deliveries are what sockets took; an outbox that was dropped counts as sent.
    fn check_received(&self) {
        let mut received = vec![0; self.shards.len()];
        for (connection, subscriber) in self.connections.iter().zip(&self.model.subscribers) {
            received[connection.shard] += subscriber.history.publications;
        }
        for (shard, received) in self.shards.iter().zip(received) {
            let delivered = shard.metrics.deliveries.value();
            assert!(delivered >= received, "{delivered} counted, {received} received");
            let is_lost = shard.lost_an_outbox || shard.metrics.outbox_bytes_dropped.value() > 0;
            assert!(is_lost || delivered == received, "{delivered} not {received}");
        }
    }

    /// Everybody leaves: nothing may remain.
    pub(crate) fn end(&mut self) {
        while let Some(&index) = self.present.first() {
            self.detach(index);
        }
        self.settle();
        self.check_quiet();
        for shard in &self.shards {
            assert!(shard.hub.is_empty(), "something remains: {:?}", shard.hub);
        }
    }
}
