//! Hubs, links, sockets and clients, and one seeded step after another.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tidegate::hub::{Asked, Batch, Cause, Effect, Grant, Hub, Now, Site, Subscribe, Wishes};
use tidegate::mesh::{Asker, Envelope, Homes, Outbound};
use tidegate::metrics::ShardMetrics;
use tidegate::model::{
    ChannelGrant, ChannelName, Command, Namespace, Namespaces, Outcome, Overrides, PositionClaim,
    Publication, ShardId, Target, Ticket, Variant,
};
use tidegate::protocol::centrifuge::HistoryRequest;
use tidegate::settings::{Budget, HubSettings};
use tidegate::token::Revocations;
use tidegate::wheel::Tick;
use tidegate::ws::CloseCode;

use crate::client::{Client, Heard};
use crate::network::Network;
use crate::random::Random;

const STEPS: usize = 1500;
const STEPS_PER_TICK: u64 = 3;
const STEPS_PER_SECOND: u64 = 60;

/// How many steps a full socket may stay full.
const AGE_STEPS: u64 = 200;

/// How often each situation was met.
#[derive(Debug, Default)]
pub(crate) struct Met(BTreeMap<&'static str, u64>);

const SITUATIONS: [&str; 19] = [
    "recovered something",
    "recovered nothing, as there was nothing",
    "could not recover",
    "told to subscribe again",
    "taken away",
    "taken away before it was there",
    "left",
    "told where a channel stands",
    "closed as slow",
    "closed for hoarding",
    "lost with bytes unread",
    "evicted",
    "the oldest evicted",
    "expired",
    "history of all published",
    "revoked while connecting",
    "revoked when connected",
    "gone with channels left to leave",
    "commands waited for time",
];

impl Met {
    fn note(&mut self, situation: &'static str) {
        *self.0.entry(situation).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (situation, count) in &other.0 {
            *self.0.entry(situation).or_default() += count;
        }
    }

    pub(crate) fn check(&self) {
        for situation in SITUATIONS {
            assert!(self.0.get(situation).is_some_and(|&count| count > 1), "never: {situation}");
        }
    }
}

/// One connection of a client.
#[derive(Debug)]
struct Connection {
    client: usize,
    shard: usize,
    row: u32,
    capacity: usize,
    reads: usize,
    /// The second in which the token was made that it showed.
    issued_at: u64,
    blocked_since: Option<u64>,
    closing_since: Option<u64>,
}

pub(crate) struct World {
    random: Random,
    now: u64,
    hubs: Vec<(Hub, Arc<ShardMetrics>)>,
    network: Network<Envelope>,
    homes: Homes,
    names: Vec<ChannelName>,
    numbers: HashMap<String, usize>,
    clients: Vec<Client>,
    /// What clients have otherwise than the namespace says, by client and channel.
    overrides: HashMap<(usize, usize), Overrides>,
    connections: Vec<Option<Connection>>,
    /// What was published: by channel, epoch and offset.
    published: HashMap<(usize, String), Vec<u64>>,
    under_way: HashMap<u32, (usize, u64)>,
    presence: HashMap<u32, usize>,
    present: HashMap<usize, HashSet<String>>,
    /// Whose tokens of which second and before are refused: what all shards look at.
    revocations: Revocations,
    next: u32,
    is_calm: bool,
    met: Met,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let shards = 1 + random.below(3);
        let homes = Homes::new(shards as u8, random.next());
        let users = 1 + random.below(4);
        let rooms = 1 + random.below(4);
        let names = names(users, rooms);
        let rules = Namespace {
            history_size: random.pick(&[3, 20, 1000]),
            history_ttl: random.pick(&[1, 1000]),
            presence: true,
            join_leave: random.chance(50),
            ..Namespace::default()
        };
        let named = HashMap::from([("room".into(), rules.clone())]);
        let namespaces = Arc::new(Namespaces::new(Namespace::default(), rules, named));
        let memory_max = random.pick(&[30_000, 10_000_000]);
        let settings = Arc::new(HubSettings {
            namespaces,
            lag_bytes_max: random.pick(&[2_000, 10_000_000]),
            outbox_bytes_max: random.pick(&[4_000, 10_000_000]),
            slow: Budget::new(memory_max, shards).into(),
            // As the configuration has it: one reply alone may not be too much.
            reply_bytes_max: (memory_max / 2).min(random.pick(&[3_000, 10_000_000])),
            history: Budget::new(random.pick(&[3_000, 10_000, 30_000, 10_000_000]), shards).into(),
            history_meta_ttl: random.pick(&[1, 1000]),
            recovery_publications_max: random.pick(&[5, 1000]),
            leave_max: random.pick(&[1, 2, usize::MAX]),
            ..HubSettings::unlimited()
        });
        let epoch_seed = random.next();
        let hub = |shard| {
            let metrics = Arc::new(ShardMetrics::default());
            let site = Site { epoch_seed, ..Site::new(ShardId(shard as u8), homes.clone()) };
            (Hub::new(site, Arc::clone(&settings), Arc::clone(&metrics)), metrics)
        };
        let clients: Vec<Client> = (0..2 + random.below(6))
            .map(|_| {
                let user = random.below(users);
                let mut wanted = vec![user];
                wanted.extend((users..users + rooms).filter(|_| random.chance(60)));
                Client::new(user.to_string(), wanted)
            })
            .collect();
        let overrides = some_overrides(&clients, &mut random);
        let capacity = random.pick(&[1, 4, 64]);
        Self {
            now: 0,
            hubs: (0..shards).map(hub).collect(),
            network: Network::new(shards + Asker::ALL.len(), shards, capacity),
            homes,
            numbers: names.iter().enumerate().map(|(at, it)| (it.to_string(), at)).collect(),
            names,
            connections: clients.iter().map(|_| None).collect(),
            clients,
            overrides,
            published: HashMap::new(),
            under_way: HashMap::new(),
            presence: HashMap::new(),
            present: HashMap::new(),
            revocations: Revocations::new(u64::MAX),
            next: 0,
            is_calm: false,
            met: Met::default(),
            random,
        }
    }

    pub(crate) fn run(mut self) -> Met {
        for _ in 0..STEPS {
            let before = self.evicted();
            self.step();
            self.audit();
            let after = self.evicted();
            if after.0 > before.0 && after.1 == before.1 {
                self.met.note("the oldest evicted");
            }
        }
        self.settle();
        self.check();
        self.end();
        self.met
    }

    /// Publications that were forgotten to make room, and streams that lost all.
    fn evicted(&self) -> (u64, u64) {
        let metrics = self.hubs.iter().map(|(_, metrics)| metrics);
        metrics.fold((0, 0), |(publications, streams), metrics| {
            let (more, all) = (&metrics.publications_evicted, &metrics.streams_evicted);
            (publications + more.value(), streams + all.value())
        })
    }

    /// What must hold after every step.
    fn audit(&self) {
        for (number, (hub, _)) in self.hubs.iter().enumerate() {
            let verdict = hub.audit();
            verdict.unwrap_or_else(|fault| panic!("shard {number} at step {}: {fault}", self.now));
        }
    }

    fn step(&mut self) {
        self.now += 1;
        let client = self.random.below(self.clients.len());
        match self.random.below(100) {
            0..25 => self.publish(),
            25..32 if self.connections[client].is_none() => self.connect(client),
            32..34 => self.lose(client),
            34..36 => self.network.jam(&mut self.random, self.now + 40),
            36 => self.revoke(client),
            37..60 => self.receive(),
            60..80 => self.flush(),
            80..93 => self.read(client),
            93..95 => self.take_away(client),
            95 => self.leave(client),
            96..98 => self.ask_where(client),
            _ => self.ask_for_all(client),
        }
        self.tend();
    }

    fn publish(&mut self) {
        let channel = self.random.below(self.names.len());
        self.next += 1;
        let payload = u64::from(self.next);
        let size = self.random.pick(&[0, 0, 0, 300, 300, 20_000]);
        let text = format!("{}{payload}", " ".repeat(size));
        let publication = Arc::new(Publication::new(true, text.as_bytes(), 0));
        self.under_way.insert(self.next, (channel, payload));
        let name = self.names[channel].clone();
        self.command(Command::Publish { channel: name, publication, key: None });
    }

    fn command(&mut self, command: Command) {
        let home = command.first_shard(&self.homes).expect("one channel");
        let ticket = Some(Ticket { asker: Asker::Control.place(), number: self.next });
        let envelope = Envelope::Command { command: Box::new(command), ticket };
        self.network.send(self.hubs.len(), home.index(), envelope);
    }

    /// A backend ends all sessions of a user, whose tokens are refused from then on.
    fn revoke(&mut self, index: usize) {
        let personal = self.names[self.clients[index].wanted[0]].clone();
        let home = self.homes.of(&personal);
        let target = Target::User { personal, device: None };
        let reason = "revoked".into();
        let command =
            Command::Disconnect { target, code: 3503, reason, revoke: true, except: Vec::new() };
        let envelope = Envelope::Command { command: Box::new(command), ticket: None };
        self.network.send(self.hubs.len(), home.index(), envelope);
    }

    /// The Unix second.
    fn second(&self) -> u64 {
        self.now / STEPS_PER_SECOND
    }

    fn connect(&mut self, index: usize) {
        // Tokens are used for a while after they were made.
        let issued_at = self.second().saturating_sub(self.random.pick(&[0, 1, 5]));
        if self.revocations.covers(&self.clients[index].user, None, Some(issued_at)) {
            return;
        }
        let shard = self.random.below(self.hubs.len());
        let row = self.hubs[shard].0.attach(index as i32);
        self.connections[index] = Some(Connection {
            client: index,
            shard,
            row,
            capacity: self.random.pick(&[50, 500, 100_000]),
            reads: self.random.pick(&[10, 200, 100_000]),
            issued_at,
            blocked_since: None,
            closing_since: None,
        });
        self.hubs[shard].0.open_managed(row, Variant::Json);
        let client = &mut self.clients[index];
        let personal = client.wanted[0];
        let user = client.user.as_str().into();
        let mut grant = Grant { user, issued_at: Some(issued_at), ..Grant::default() };
        if let Some(claim) = claim(client, personal) {
            grant.positions.push((self.names[personal].clone(), claim));
        }
        let asked = Asked::Connect(client.next_id(), Box::new(grant));
        self.hubs[shard].0.ask(row, asked);
        self.carry_out(shard);
        if self.random.chance(70) {
            self.ask_for_all(index);
        }
    }

    /// Subscribes to all that is wanted and not there.
    fn ask_for_all(&mut self, index: usize) {
        let Some(connection) = &self.connections[index] else { return };
        let (shard, row) = (connection.shard, connection.row);
        if connection.closing_since.is_some() {
            return;
        }
        for place in 1..self.clients[index].wanted.len() {
            let client = &mut self.clients[index];
            let channel = client.wanted[place];
            let position = claim(client, channel).unwrap_or_default();
            let subscription = client.subscriptions.get_mut(&channel).expect("wanted");
            let is_leaving = subscription.leaving.is_some();
            if subscription.is_live || subscription.asked.is_some() || is_leaving {
                continue;
            }
            let id = client.next_id();
            client.subscriptions.get_mut(&channel).expect("wanted").asked = Some(id);
            let subscribe = Subscribe {
                channel: self.names[channel].clone(),
                position,
                wishes: Wishes::default(),
                rejects_unrecovered: false,
                grant: Some(ChannelGrant {
                    overrides: self.overrides[&(index, channel)],
                    ..ChannelGrant::default()
                }),
            };
            self.hubs[shard].0.ask(row, Asked::Subscribe(id, Box::new(subscribe)));
            self.carry_out(shard);
        }
    }

    /// A client asks where a channel stands that it has not heard yet. What it is told is the
    /// position from which it recovers when it subscribes, and perhaps another client's first.
    fn ask_where(&mut self, index: usize) {
        let Some(connection) = &self.connections[index] else { return };
        let client = &mut self.clients[index];
        if connection.closing_since.is_some() || !client.is_connected {
            return;
        }
        let is_unheard = |channel: &&usize| {
            let subscription = &client.subscriptions[*channel];
            subscription.position.is_none()
                && subscription.asked.is_none()
                && subscription.asking.is_none()
        };
        let Some(&channel) = client.wanted[1..].iter().find(is_unheard) else { return };
        let id = client.next_id();
        client.subscriptions.get_mut(&channel).expect("wanted").asking = Some(id);
        let request = HistoryRequest { limit: 0, ..HistoryRequest::default() };
        let (shard, row) = (connection.shard, connection.row);
        let asked = Asked::History(id, self.names[channel].clone(), Box::new(request));
        self.hubs[shard].0.ask(row, asked);
        self.carry_out(shard);
    }

    /// A client leaves a channel, perhaps before it is there.
    fn leave(&mut self, index: usize) {
        let Some(connection) = &self.connections[index] else { return };
        let client = &mut self.clients[index];
        let mut rooms = client.wanted[1..].iter();
        let is_there = |channel: &&usize| {
            let subscription = &client.subscriptions[*channel];
            let is_wanted = subscription.is_live || subscription.asked.is_some();
            is_wanted && subscription.leaving.is_none()
        };
        let Some(&channel) = rooms.find(is_there) else { return };
        let id = client.next_id();
        client.subscriptions.get_mut(&channel).expect("wanted").leaving = Some(id);
        let (shard, row) = (connection.shard, connection.row);
        self.hubs[shard].0.ask(row, Asked::Unsubscribe(id, self.names[channel].clone()));
        self.carry_out(shard);
    }

    /// A backend takes a room from a client.
    fn take_away(&mut self, index: usize) {
        let Some(connection) = &self.connections[index] else { return };
        let Some(&room) = self.clients[index].wanted.last() else { return };
        if room == self.clients[index].wanted[0] {
            return;
        }
        let client = self.hubs[connection.shard].0.client_id(connection.row);
        let channels = vec![self.names[room].clone()];
        let command = Command::Unsubscribe { target: Target::Client(client), channels };
        let envelope = Envelope::Command { command: Box::new(command), ticket: None };
        self.network.send(self.hubs.len(), connection.shard, envelope);
    }

    fn lose(&mut self, index: usize) {
        let Some(connection) = self.connections[index].take() else { return };
        if !self.clients[index].pipe.is_empty() {
            self.met.note("lost with bytes unread");
        }
        self.clients[index].disconnect();
        self.hubs[connection.shard].0.detach(connection.row, 1006);
        if self.hubs[connection.shard].0.has_leavers() {
            self.met.note("gone with channels left to leave");
        }
        self.carry_out(connection.shard);
    }

    /// A shard has time for some commands, and for those who wait.
    fn spend_time(&mut self) {
        let shard = self.random.below(self.hubs.len());
        let hub = &mut self.hubs[shard].0;
        hub.allow(if self.is_calm { u32::MAX } else { self.random.pick(&[0, 1, 40, 40]) });
        if hub.has_latecomers() {
            self.met.note("commands waited for time");
        }
        hub.resume_latecomer();
        if self.is_calm || self.random.chance(30) {
            hub.leave_some();
        }
        self.carry_out(shard);
    }

    fn receive(&mut self) {
        let shard = self.random.below(self.hubs.len());
        let tick = Tick((self.now / STEPS_PER_TICK) as u32);
        let now = Now { nanos: self.now * 1000, tick, unix: self.second() };
        self.hubs[shard].0.advance(now);
        self.carry_out(shard);
        if self.hubs[shard].0.is_congested() {
            return;
        }
        let Some(envelope) = self.network.receive(shard, &mut self.random, self.now) else {
            return;
        };
        self.hubs[shard].0.handle(envelope);
        self.carry_out(shard);
    }

    fn carry_out(&mut self, shard: usize) {
        while let Some(effect) = self.hubs[shard].0.poll_effect() {
            match effect {
                Effect::Send(to, envelope) => {
                    self.network.send(shard, to.index(), envelope);
                }
                Effect::Tell(_, Outbound::Answer(answer)) if answer.firsts > 0 => {
                    assert_eq!(answer.error, None);
                    self.hear_answer(answer.number, *answer.outcome.expect("an outcome"));
                }
                Effect::Closing(row, code, cause) => {
                    let token = self.connection_of(shard, row);
                    let connection = self.connections[token].as_mut().expect("it is there");
                    connection.closing_since = Some(self.now);
                    match code.0 {
                        3008 if cause == Cause::Hoarding => self.met.note("closed for hoarding"),
                        3008 => self.met.note("closed as slow"),
                        3500 => self.met.note("revoked while connecting"),
                        3503 => self.met.note("revoked when connected"),
                        _ => {}
                    }
                }
                Effect::Revoke(personal, device, second) => {
                    let user = personal.user().expect("a personal channel");
                    self.revocations.revoke(user, device.as_deref(), second);
                }
                Effect::Blocked(row) => {
                    let token = self.connection_of(shard, row);
                    let connection = self.connections[token].as_mut().expect("it is there");
                    connection.blocked_since.get_or_insert(self.now);
                }
                Effect::Tell(..)
                | Effect::Connected(_)
                | Effect::Expiry(_)
                | Effect::Audible(_)
                | Effect::Configure(_) => {}
                other => panic!("not of managed connections: {other:?}"),
            }
        }
    }

    fn connection_of(&self, shard: usize, row: u32) -> usize {
        let is_it = |it: &&Connection| it.shard == shard && it.row == row;
        self.connections.iter().flatten().find(is_it).expect("a connection").client
    }

    fn hear_answer(&mut self, number: u32, outcome: Outcome) {
        match outcome {
            Outcome::Published(positions) => {
                let (channel, payload) = self.under_way.remove(&number).expect("published once");
                let position = positions[0].1.expect("a channel with history");
                let stream = self.published.entry((channel, position.epoch.to_string()));
                let stream = stream.or_default();
                stream.push(payload);
                assert_eq!(stream.len() as u64, position.offset, "offsets are consecutive");
            }
            Outcome::Presence(list) => {
                let channel = self.presence.remove(&number).expect("asked once");
                let clients = list.iter().map(|info| info.client.to_string()).collect();
                self.present.insert(channel, clients);
            }
            other => panic!("not asked for: {other:?}"),
        }
    }

    fn flush(&mut self) {
        let shard = self.random.below(self.hubs.len());
        let mut batch = Batch::default();
        self.hubs[shard].0.poll_batch(&mut batch);
        for place in 0..batch.entries.len() {
            let entry = batch.entries[place];
            let bytes = self.hubs[shard].0.bytes(&entry).to_vec();
            let index = self.connection_of(shard, entry.row);
            let connection = self.connections[index].as_ref().expect("it is there");
            let pipe = &mut self.clients[index].pipe;
            let room = connection.capacity.saturating_sub(pipe.len());
            let count = room.min(bytes.len());
            pipe.extend(&bytes[..count]);
            batch.entries[place].sent = count as u32;
        }
        self.hubs[shard].0.finish_batch(&mut batch, self.now * 1000);
        self.carry_out(shard);
    }

    /// A client reads, and its socket may be writable again.
    fn read(&mut self, index: usize) {
        let Some(connection) = &mut self.connections[index] else { return };
        let count = if self.is_calm { usize::MAX } else { connection.reads };
        let heard = self.clients[index].read(count, &self.numbers);
        let has_room = self.clients[index].pipe.len() < connection.capacity;
        if has_room && connection.blocked_since.take().is_some() {
            let (shard, row) = (connection.shard, connection.row);
            self.hubs[shard].0.handle_writable(row);
            self.carry_out(shard);
        }
        for heard in heard {
            match heard {
                Heard::Publication(channel, epoch, offset, payload) => {
                    let stream = &self.published[&(channel, epoch)];
                    assert_eq!(stream[offset as usize - 1], payload, "another publication");
                }
                Heard::Recovered(0) => self.met.note("recovered nothing, as there was nothing"),
                Heard::Recovered(_) => self.met.note("recovered something"),
                Heard::NotRecovered => self.met.note("could not recover"),
                Heard::CutOff => self.met.note("told to subscribe again"),
                Heard::TakenAway(false) => self.met.note("taken away"),
                Heard::TakenAway(true) => self.met.note("taken away before it was there"),
                Heard::Left => self.met.note("left"),
                Heard::Stands => self.met.note("told where a channel stands"),
                Heard::Connected => {}
                Heard::Closed => return self.lose(index),
            }
        }
    }

    /// Connections that are slow or done go away.
    fn tend(&mut self) {
        self.spend_time();
        for index in 0..self.connections.len() {
            let Some(connection) = &self.connections[index] else { continue };
            let is_old = |since: Option<u64>| since.is_some_and(|at| self.now - at > AGE_STEPS);
            if is_old(connection.closing_since) {
                self.lose(index);
            } else if is_old(connection.blocked_since) {
                let (shard, row) = (connection.shard, connection.row);
                self.hubs[shard].0.close(row, CloseCode::SLOW, "slow: too old", Cause::Slow);
                self.carry_out(shard);
            }
        }
    }

    /// Everybody comes back, and everything arrives.
    fn settle(&mut self) {
        self.is_calm = true;
        for _ in 0..4000 {
            self.now += 1;
            for index in 0..self.clients.len() {
                if self.connections[index].is_none() {
                    self.connect(index);
                }
                self.ask_for_all(index);
                if let Some(connection) = &mut self.connections[index] {
                    connection.capacity = 1 << 20;
                }
                self.read(index);
            }
            for _ in 0..20 {
                self.receive();
                self.flush();
            }
            self.tend();
            self.audit();
            let is_there = |client: &Client| {
                client.is_connected
                    && client.is_answered()
                    && client.subscriptions.values().all(|it| it.is_live)
            };
            // One that was closed in the middle of a frame hears of it by the end of its stream.
            let is_closing = |connection: &Connection| connection.closing_since.is_some();
            if self.network.is_empty()
                && !self.connections.iter().flatten().any(is_closing)
                && self.hubs.iter().all(|(hub, _)| !hub.has_work() && !hub.has_leavers())
                && self.clients.iter().all(|client| is_there(client) && client.pipe.is_empty())
            {
                return;
            }
        }
        panic!("the world never becomes quiet: {:?}", self.clients);
    }

    fn check(&mut self) {
        assert!(self.under_way.is_empty(), "every publication was answered");
        for client in &self.clients {
            for (channel, subscription) in &client.subscriptions {
                let Some((epoch, offset)) = &subscription.position else { continue };
                let stream = self.published.get(&(*channel, epoch.clone()));
                let last = stream.map_or(0, Vec::len) as u64;
                assert_eq!(*offset, last, "{} lacks something of {channel}", client.user);
                self.met.note("history of all published");
            }
        }
        for connection in self.connections.iter().flatten() {
            let (user, second) = (&self.clients[connection.client].user, connection.issued_at);
            let is_revoked = self.revocations.covers(user, None, Some(second));
            assert!(!is_revoked, "{user} is connected by a token that was revoked");
        }
        for (_, metrics) in &self.hubs {
            if metrics.streams_evicted.value() > 0 {
                self.met.note("evicted");
            }
        }
        for channel in 0..self.names.len() {
            self.next += 1;
            self.presence.insert(self.next, channel);
            let name = self.names[channel].clone();
            self.command(Command::Presence { channel: name });
        }
        while !self.network.is_empty() {
            self.now += 1;
            self.receive();
            self.flush();
        }
        for channel in 0..self.names.len() {
            let clients = self
                .connections
                .iter()
                .flatten()
                .filter(|connection| self.clients[connection.client].wanted.contains(&channel))
                .filter(|connection| {
                    let overrides = self.overrides.get(&(connection.client, channel));
                    overrides.is_none_or(|overrides| overrides.presence != Some(false))
                });
            let expected: HashSet<String> =
                clients.map(|it| self.hubs[it.shard].0.client_id(it.row).to_string()).collect();
            assert_eq!(self.present[&channel], expected, "who is in channel {channel}");
        }
    }

    /// Everybody leaves; streams expire; nothing remains.
    fn end(&mut self) {
        for index in 0..self.clients.len() {
            self.lose(index);
        }
        for _ in 0..4000 {
            self.receive();
            self.flush();
            self.spend_time();
        }
        let streams: i64 = self.hubs.iter().map(|(_, metrics)| metrics.streams.value()).sum();
        if streams > 0 {
            self.met.note("expired");
        }
        for _ in 0..20 {
            self.now += 1000 * 20 * STEPS_PER_TICK;
            for _ in 0..8 * self.hubs.len() {
                self.receive();
            }
        }
        for (hub, metrics) in &self.hubs {
            assert!(hub.is_empty(), "something remains: {hub:?}");
            let held = [&metrics.history_bytes, &metrics.streams, &metrics.enrolled];
            assert_eq!(held.map(|gauge| gauge.value()), [0; 3], "history, streams, presence");
        }
    }
}

/// The channels: those of users first.
fn names(users: usize, rooms: usize) -> Vec<ChannelName> {
    let personal = (0..users).map(|user| ChannelName::personal(&user.to_string()));
    let personal = personal.map(|name| name.expect("a name"));
    let room = |room| ChannelName::parse(format!("room:{room}").as_bytes()).expect("a name");
    personal.chain((0..rooms).map(room)).collect()
}

/// Where a client stood, as it says when it comes back.
fn claim(client: &Client, channel: usize) -> Option<PositionClaim> {
    let (epoch, offset) = client.subscriptions[&channel].position.clone()?;
    Some(PositionClaim { recover: true, epoch, offset })
}

/// What some subscriptions have otherwise than the namespace says.
fn some_overrides(clients: &[Client], random: &mut Random) -> HashMap<(usize, usize), Overrides> {
    let mut overrides = HashMap::new();
    for (index, client) in clients.iter().enumerate() {
        for &channel in client.wanted.iter().skip(1) {
            let mut any = || random.pick(&[None, None, Some(false), Some(true)]);
            let some = Overrides {
                presence: any(),
                join_leave: any(),
                force_push_join_leave: any(),
                ..Overrides::default()
            };
            overrides.insert((index, channel), some);
        }
    }
    overrides
}
