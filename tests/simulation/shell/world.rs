//! Whole shards behind a simulated network, links between them, and backends that ask them.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidegate::hub::Site;
use tidegate::mesh::{self, AskerPort, Envelope, Outbound};
use tidegate::metrics::ShardMetrics;
use tidegate::model::{
    Answer, ChannelName, ClientId, Command, Event, EventKind, Outcome, Publication, Ticket,
};
use tidegate::settings::ShardSettings;
use tidegate::shard::{Drain, Shard, Start, Turn};
use tidegate::sys::ring;

use super::kernel::{BEGINNING, Kernel, Wired};
use super::ledger::{Channel, Ledger};
use super::peer::{Nature, Peer, Stage};
use super::setup::{self, EVERYONE};
use super::wire::End;
use crate::bounds::most_of_one;
use crate::coverage::Coverage;
use crate::random::Random;

const MILLISECOND: u64 = 1_000_000;

/// While time passes, eager clients are never left alone for longer.
const STRIDE: u64 = 25 * MILLISECOND;

/// So many turns in a row a shard has at most before somebody else has one.
const TURNS_MAX: usize = 40;

/// A client and its connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) peer: Peer,
    pub(crate) wire: usize,
    /// Its user, and the second in which its token was made.
    pub(crate) user: Option<(usize, u64)>,
    /// The second in which its token expires, if it has one.
    pub(crate) expires: Option<u64>,
    /// How much it reads at once, and how much of what it says arrives at once; all if it is eager.
    pub(crate) pace: Option<(usize, usize)>,
    pub(crate) is_gone: bool,
    /// How the server's half has ended, if it has.
    pub(crate) end: Option<End>,
    /// How many messages it has sent.
    pub(crate) said: u64,
}

/// A request of a backend without its whole answer.
#[derive(Debug)]
struct Request {
    publication: Option<(Channel, usize)>,
    /// First answers that have not come.
    firsts: i64,
    /// Further ones; below zero when some of them came before the first.
    further: i64,
}

fn queues(count: usize) -> Vec<VecDeque<Envelope>> {
    (0..count).map(|_| VecDeque::new()).collect()
}

/// Everything.
pub(crate) struct World {
    pub(crate) kernel: Rc<RefCell<Kernel>>,
    pub(crate) random: Random,
    pub(crate) ledger: Ledger,
    pub(crate) clients: Vec<Client>,
    pub(crate) coverage: Coverage,
    pub(crate) settings: Arc<ShardSettings>,
    /// What may be half read, and what may be held for all, whichever settings are in force.
    bounds: [usize; 2],
    /// Until then backends hear nothing.
    pub(crate) jammed_until: u64,
    pub(crate) drain: Arc<Drain>,
    shards: Vec<Shard<Wired>>,
    turns: Vec<Turn>,
    pub(crate) metrics: Vec<Arc<ShardMetrics>>,
    askers: Vec<AskerPort>,
    /// By asker and shard: what waits for room on a link.
    unsent: Vec<Vec<VecDeque<Envelope>>>,
    requests: HashMap<u32, Request>,
    /// Answers that were asked for their content.
    pub(crate) outcomes: HashMap<u32, Outcome>,
    last_request: u32,
    has_left: Arc<AtomicBool>,
    /// Who is connected as backends hear it, and how many messages of each client they heard.
    connected: HashSet<ClientId>,
    heard: HashMap<u64, u64>,
    /// How connections ended as backends hear it.
    pub(crate) codes: HashMap<String, u16>,
}

impl World {
    /// An edge without clients.
    pub(crate) fn new(
        seed: u64,
        count: usize,
        settings: impl Fn(&mut Random) -> ShardSettings,
    ) -> Self {
        let mut random = Random::new(seed);
        let capacity = random.pick(&[16, 16, 64, 1024]);
        let (ports, askers) = mesh::build(count as u8, capacity, random.next()).expect("eventfds");
        let settings = Arc::new(settings(&mut random));
        let epoch_seed = random.next();
        let kernel = Rc::new(RefCell::new(Kernel::new(count, random.next())));
        let metrics: Vec<_> = (0..count).map(|_| Arc::new(ShardMetrics::default())).collect();
        let has_left = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&has_left);
        let drain = Arc::new(Drain::new(count, move || told.store(true, Ordering::Release)));
        let authority = setup::authority();
        let shard = |port: mesh::ShardPort| {
            let site = Site { epoch_seed, ..Site::new(port.shard, port.homes.clone()) };
            let settings = Arc::clone(&settings);
            let wired = Wired::new(&kernel, port.shard.index());
            let (metrics, drain) = (metrics.clone(), Arc::clone(&drain));
            let authority = Arc::clone(&authority);
            let (ring, core) = (ring::Size::LEAST, None);
            let start = Start { settings, site, ring, core, port, metrics, drain, authority };
            Shard::new(start, wired)
        };
        Self {
            shards: ports.into_iter().map(shard).collect(),
            turns: vec![Turn::More; count],
            unsent: askers.iter().map(|_| queues(count)).collect(),
            askers,
            kernel,
            random,
            ledger: Ledger::new(setup::channels()),
            clients: Vec::new(),
            coverage: Coverage::default(),
            bounds: [&settings.halves, &settings.hub.slow].map(|it| most_of_one(it, count)),
            settings,
            jammed_until: 0,
            drain,
            metrics,
            requests: HashMap::new(),
            outcomes: HashMap::new(),
            last_request: 0,
            has_left,
            connected: HashSet::new(),
            heard: HashMap::new(),
            codes: HashMap::new(),
        }
    }

    /// The Unix second.
    pub(crate) fn second(&self) -> u64 {
        BEGINNING + self.kernel.borrow().now / 1_000_000_000
    }

    /// A client connects, if somebody listens.
    pub(crate) fn connect(&mut self, nature: Nature, capacity: usize) -> Option<usize> {
        let shard = self.random.below(self.shards.len());
        let wire = self.kernel.borrow_mut().connect(shard, capacity)?;
        let peer = Peer::new(nature, &self.ledger, self.random.next());
        let client = Client {
            peer,
            wire,
            user: None,
            expires: None,
            pace: None,
            is_gone: false,
            end: None,
            said: 0,
        };
        self.clients.push(client);
        Some(self.clients.len() - 1)
    }

    /// A shard has a turn.
    pub(crate) fn turn(&mut self, shard: usize) -> Turn {
        if !self.sleeps(shard) {
            self.turns[shard] = self.shards[shard].turn().expect("a turn");
            self.check_bounds(shard);
            if self.metrics[shard].envelopes_parked.value() > 1 {
                self.coverage.note("parked envelopes");
            }
        }
        self.turns[shard]
    }

    /// Whether a shard sleeps, because it has nothing to do and nothing has come for it, or for
    /// ever.
    fn sleeps(&mut self, shard: usize) -> bool {
        match self.turns[shard] {
            Turn::More | Turn::Retry => return false,
            Turn::Drained => return true,
            Turn::Idle => {}
        }
        self.shards[shard].sleep().expect("a sleep");
        self.kernel.borrow_mut().sleeps(shard)
    }

    /// What holds whatever clients do.
    fn check_bounds(&self, shard: usize) {
        self.shards[shard].audit().unwrap_or_else(|fault| panic!("shard {shard}: {fault}"));
        let metrics = &self.metrics[shard];
        let half = [&metrics.head_bytes, &metrics.half_bytes, &metrics.commands_parked_bytes];
        let half: i64 = half.iter().map(|gauge| gauge.value()).sum();
        let limit = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
        assert!(half <= limit(self.bounds[0]), "{half} bytes half read");
        let held = metrics.log_bytes.value() + metrics.outbox_bytes.value();
        let is_idle = self.turns[shard] == Turn::Idle;
        let is_within = held <= limit(self.bounds[1]);
        assert!(!is_idle || is_within, "{held} bytes in logs and outboxes");
    }

    /// All shards have turns until none has more to do at once.
    pub(crate) fn turn_all(&mut self) {
        for _ in 0..TURNS_MAX {
            let mut has_more = false;
            for shard in 0..self.shards.len() {
                has_more |= self.turn(shard) == Turn::More || !self.sleeps(shard);
            }
            if !has_more {
                return;
            }
        }
    }

    /// Time passes. Eager clients have no part in what is slow.
    pub(crate) fn pass(&mut self, millis: u64) {
        let end = self.kernel.borrow().now + millis * MILLISECOND;
        loop {
            for index in 0..self.clients.len() {
                if self.clients[index].pace.is_none() {
                    self.exchange(index);
                }
            }
            self.turn_all();
            self.ask_and_hear();
            let mut kernel = self.kernel.borrow_mut();
            if kernel.now >= end {
                return;
            }
            kernel.now = (kernel.now + STRIDE).min(end);
        }
    }

    /// A client says what it has to say and hears what there is.
    pub(crate) fn exchange(&mut self, index: usize) {
        let client = &mut self.clients[index];
        if client.is_gone {
            return;
        }
        let (reads, arrives) = client.pace.unwrap_or((usize::MAX, usize::MAX));
        let mut kernel = self.kernel.borrow_mut();
        let (bytes, end) = kernel.hear(client.wire, reads);
        if let Err((fault, text)) = client.peer.hear(&bytes, &mut self.ledger) {
            panic!("client {index}: {fault:?}: {text}\n{client:#?}");
        }
        kernel.say(client.wire, &client.peer.take_output());
        kernel.carry(client.wire, arrives);
        let is_over = matches!(client.peer.stage, Stage::Closed(_) | Stage::Refused(_));
        let may_leave = is_over && client.pace.is_none() && kernel.is_carried(client.wire);
        client.end = end;
        if end.is_some() || may_leave && self.random.chance(20) {
            client.is_gone = true;
            kernel.leave(client.wire);
            kernel.carry(client.wire, usize::MAX);
        }
        for met in client.peer.met.drain(..) {
            self.coverage.note(met);
        }
        if end == Some(End::Torn) {
            self.coverage.note("torn");
        }
    }

    /// Something is published by a backend; each channel has one that publishes there.
    pub(crate) fn publish(&mut self, channel: Channel, size: usize) {
        let (number, payload) = self.ledger.publish(channel, size);
        let publication = Arc::new(Publication::new(true, &payload, 0));
        let wanted = Some((channel, number));
        if channel == EVERYONE {
            let command = || Command::PublishAll { publication: Arc::clone(&publication) };
            let all = 0..self.shards.len();
            self.ask(0, all.map(|shard| (shard, command())).collect(), wanted);
            return;
        }
        let key: Option<Box<str>> = self.random.chance(10).then(|| number.to_string().into());
        // With a key it may be said twice, and counts once.
        for _ in 0..1 + usize::from(key.is_some()) {
            let (channel, publication) = (self.name(channel), Arc::clone(&publication));
            let key = key.clone();
            let asker = wanted.map_or(0, |(channel, _)| channel % self.askers.len());
            self.command(asker, Command::Publish { channel, publication, key }, wanted);
        }
    }

    /// The name of a channel.
    pub(crate) fn name(&self, channel: Channel) -> ChannelName {
        let name = &self.ledger.tracks[channel].name;
        name.strip_prefix('#').map_or_else(
            || ChannelName::parse(name.as_bytes()).expect("a name"),
            |user| ChannelName::personal(user).expect("a user"),
        )
    }

    /// Asks for something that one shard begins; returns the number of the request.
    pub(crate) fn command(
        &mut self,
        asker: usize,
        command: Command,
        publication: Option<(Channel, usize)>,
    ) -> u32 {
        let shard = command.first_shard(&self.askers[asker].homes).expect("one shard").index();
        self.ask(asker, vec![(shard, command)], publication)
    }

    fn ask(
        &mut self,
        asker: usize,
        commands: Vec<(usize, Command)>,
        publication: Option<(Channel, usize)>,
    ) -> u32 {
        self.last_request += 1;
        let number = self.last_request;
        let firsts = commands.len() as i64;
        self.requests.insert(number, Request { publication, firsts, further: 0 });
        for (shard, command) in commands {
            let ticket = Some(Ticket { asker: asker as u8, number });
            let envelope = Envelope::Command { command: Box::new(command), ticket };
            self.unsent[asker][shard].push_back(envelope);
        }
        number
    }

    /// Shards are told other settings.
    pub(crate) fn configure(&mut self, settings: fn(&mut Random, usize) -> ShardSettings) {
        let shards = self.shards.len();
        let settings = settings(&mut self.random, shards);
        for (most, budget) in self.bounds.iter_mut().zip([&settings.halves, &settings.hub.slow]) {
            *most = most_of_one(budget, shards).max(*most);
        }
        self.settings = Arc::new(settings);
        for queue in &mut self.unsent[1] {
            queue.push_back(Envelope::Configure(Arc::clone(&self.settings)));
        }
    }

    /// Backends send what there is room for and hear what there is.
    pub(crate) fn ask_and_hear(&mut self) {
        for asker in 0..self.askers.len() {
            for (link, queue) in self.askers[asker].shards.iter().zip(&mut self.unsent[asker]) {
                while !link.is_heavy()
                    && let Some(envelope) = queue.pop_front()
                {
                    let weight = envelope.weight();
                    if let Err(envelope) = link.try_send_weighing(envelope, weight) {
                        queue.push_front(envelope);
                        break;
                    }
                }
                link.ring();
            }
            if self.jammed_until > self.kernel.borrow().now {
                continue;
            }
            for queue in 0..self.shards.len() {
                while let Some(outbound) = self.askers[asker].inbox.receive(queue) {
                    self.askers[asker].inbox.note_taken(queue, outbound.weight());
                    match outbound {
                        Outbound::Answer(answer) => self.hear_answer(answer),
                        Outbound::Event(event) => self.hear_event(*event),
                        Outbound::Failed(..) => panic!("every command has a ticket"),
                    }
                }
            }
        }
    }

    fn hear_answer(&mut self, answer: Answer) {
        let number = answer.number;
        let request = self.requests.get_mut(&number).expect("an answer to a request");
        request.firsts -= i64::from(answer.firsts);
        request.further += i64::from(answer.further());
        let is_over = (request.firsts, request.further) == (0, 0);
        if is_over {
            if let Some((channel, number)) = request.publication {
                self.ledger.note_handled(channel, number);
            }
            self.requests.remove(&number);
        }
        if let Some(error) = answer.error {
            self.coverage.note(format!("command: {error}"));
        }
        if let Some(outcome) = answer.outcome {
            self.outcomes.insert(number, *outcome);
        }
    }

    fn hear_event(&mut self, event: Event) {
        match event.kind {
            EventKind::Connected => {
                assert!(self.connected.insert(event.client), "connected twice");
            }
            EventKind::Disconnected { code } => {
                let was_connected = self.connected.remove(&event.client);
                assert!(was_connected || self.is_lossy(), "an end without a beginning");
                self.codes.insert(event.client.to_string(), code);
                self.coverage.note(format!("disconnected: {code}"));
            }
            EventKind::Message { payload, .. } => {
                let text = std::str::from_utf8(&payload).expect("a message of ours");
                let (client, number) = text.split_once(' ').expect("a message of ours");
                let number: u64 = number.trim_end_matches('.').parse().expect("a number");
                let next = self.heard.entry(client.parse().expect("a number")).or_default();
                assert_eq!(number, *next, "messages of client {client}, in order");
                *next += 1;
            }
            _ => {}
        }
    }

    /// Whether backends may have missed events.
    fn is_lossy(&self) -> bool {
        self.metrics.iter().any(|metrics| metrics.events_dropped.value() > 0)
    }

    /// What keeps it from being quiet.
    pub(crate) fn unrest(&self) -> String {
        let clients = self.clients.iter().filter(|client| !client.is_gone);
        format!("{:?} {:?} {:#?}", self.turns, self.requests, clients.collect::<Vec<_>>())
    }

    /// Whether somebody who is closing may have lost the rest of a frame, and waits for nothing but
    /// the deadline.
    pub(crate) fn has_dropped(&self) -> bool {
        self.metrics.iter().any(|metrics| metrics.outbox_bytes_dropped.value() > 0)
    }

    /// Nothing is under way and nobody has anything to do.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let are_asleep = (0..self.shards.len()).all(|shard| self.sleeps(shard));
        let kernel = self.kernel.borrow();
        are_asleep
            && self.requests.is_empty()
            && self.clients.iter().filter(|client| !client.is_gone).all(|client| {
                let is_there = client.peer.stage == Stage::Open && client.peer.is_answered();
                is_there && kernel.is_carried(client.wire)
            })
    }

    /// What backends know of who is there, and of what was said, once all is quiet.
    pub(crate) fn check_events(&self) {
        if self.is_lossy() {
            return;
        }
        let is_known = |client: &&Client| {
            !client.is_gone && client.peer.dialect() != super::dialect::Dialect::Echo
        };
        let there = self.clients.iter().filter(is_known).count();
        assert_eq!(self.connected.len(), there, "connections that backends know of");
        for (index, client) in self.clients.iter().enumerate().filter(|(_, it)| !it.is_gone) {
            let heard = self.heard.get(&(index as u64)).copied().unwrap_or(0);
            assert_eq!(heard, client.said, "messages of client {index}");
        }
    }

    /// Whether every shard has told that it has no connection any more.
    pub(crate) fn has_left(&self) -> bool {
        self.has_left.load(Ordering::Acquire)
    }

    /// Whether every shard has ended.
    pub(crate) fn is_drained(&self) -> bool {
        self.turns.iter().all(|&turn| turn == Turn::Drained)
    }

    /// What is remembered for a while is forgotten.
    pub(crate) fn forget(&mut self) {
        for _ in 0..4 {
            self.pass(1_000);
            self.kernel.borrow_mut().now += 3_700_000 * MILLISECOND;
        }
        self.pass(200);
    }

    /// Everybody is gone and everything is forgotten: nothing may be left.
    pub(crate) fn check_empty(&self) {
        for (number, shard) in self.shards.iter().enumerate() {
            assert_eq!(shard.remains(), [""; 0], "what remains of shard {number}");
            let metrics = &self.metrics[number];
            let gauges = [
                &metrics.sockets,
                &metrics.connections,
                &metrics.handshakes_pending,
                &metrics.head_bytes,
                &metrics.half_bytes,
                &metrics.commands_parked_bytes,
                &metrics.log_bytes,
                &metrics.outbox_bytes,
                &metrics.envelopes_parked,
                &metrics.tokens_waiting,
            ];
            assert_eq!(gauges.map(|gauge| gauge.value()), [0; 10], "gauges of shard {number}");
        }
        assert_eq!(self.kernel.borrow().held(), (0, 0), "descriptors and watches");
        assert!(self.is_lossy() || self.connected.is_empty(), "ends that nobody was told of");
    }
}
