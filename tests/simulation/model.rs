//! Who is subscribed to what, and what that promises: a second, much simpler hub.
//!
//! The model sees each envelope at the moment at which a shard handles it, and the hub's effects;
//! from these alone it follows exactly who is owed which publication, how many sessions an answer
//! must count, and which shards the home must pass a publication on to. It knows nothing of logs,
//! rounds, batches or sockets.

use std::collections::{BTreeMap, HashMap};

use tidegate::hub::Session;
use tidegate::mesh::{Envelope, Handle};
use tidegate::model::{
    Answer, ChannelName, ClientId, Command, CommandError, Event, EventKind, Publication, Target,
};

use crate::checker::{Channel, EVERYONE, History, Library};
use crate::coverage::Coverage;

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It has not asked for a session, or was refused one.
    New,
    /// Its channels are being joined.
    Opening,
    /// Subscribed to all it asked for.
    Open,
    /// Closing or closed.
    Gone,
}

/// An interest in a channel.
#[derive(Debug)]
struct Stay {
    /// Which one of all.
    number: u64,
    /// Whether somebody has been told that nothing will be missed from now on.
    is_confirmed: bool,
}

/// A connection as its subscriptions see it.
#[derive(Debug)]
pub(crate) struct Subscriber {
    /// Its identity.
    pub(crate) client: ClientId,
    /// Where it is in its life.
    pub(crate) phase: Phase,
    /// The channel of its user.
    pub(crate) personal: Option<Channel>,
    /// Its device.
    pub(crate) device: Option<Box<str>>,
    /// Whether it takes no part in broadcasts to everybody.
    pub(crate) is_apart: bool,
    /// Whether backends know of it.
    is_announced: bool,
    /// What it got.
    pub(crate) history: History,
    stays: BTreeMap<Channel, Stay>,
}

/// A command that somebody waits for.
#[derive(Debug, Default)]
struct Request {
    firsts: i64,
    awaiting: i64,
    sessions: u64,
    unknown: u64,
    /// Bounds of the sessions that must be counted: a session may be closed by the very message.
    least: u64,
    most: u64,
    unknown_expected: u64,
    confirms: Vec<(usize, Channel, u64)>,
}

/// Publications that a home must pass on to a shard, and the stays that rely on it.
type Passages = HashMap<(u32, Channel, usize), Vec<(usize, u64)>>;

/// All subscriptions, and what they promise.
#[derive(Debug)]
pub(crate) struct Model {
    /// The connections, in the order in which they came.
    pub(crate) subscribers: Vec<Subscriber>,
    /// All messages.
    pub(crate) library: Library,
    /// What the run met.
    pub(crate) coverage: Coverage,
    /// How many deliveries each shard owed so far, at most, and how many of them are in doubt:
    /// a list's message in one channel may close a connection before it comes to the next.
    pub(crate) owed: Vec<(u64, u64)>,
    /// How many events each shard raised.
    events: Vec<u64>,
    /// The users who are online as far as backends were told.
    online: std::collections::HashSet<Channel>,
    names: HashMap<ChannelName, Channel>,
    clients: HashMap<ClientId, usize>,
    live: Vec<Vec<usize>>,
    handles: HashMap<(usize, u32), (u32, Channel)>,
    passages: Passages,
    requests: HashMap<u32, Request>,
    next_number: u64,
}

/// Who got the publications of one envelope, and for whom they were counted.
#[derive(Debug, Default)]
pub(crate) struct Handled {
    ticket: Option<u32>,
    recipients: Vec<usize>,
    is_list: bool,
}

impl Model {
    /// Nobody is there.
    pub(crate) fn new(shards: usize, names: &[ChannelName]) -> Self {
        Self {
            subscribers: Vec::new(),
            library: Library::default(),
            coverage: Coverage::default(),
            owed: vec![(0, 0); shards],
            events: vec![0; shards],
            online: std::collections::HashSet::new(),
            names: names.iter().cloned().zip(0..).collect(),
            clients: HashMap::new(),
            live: vec![Vec::new(); shards],
            handles: HashMap::new(),
            passages: Passages::new(),
            requests: HashMap::new(),
            next_number: 0,
        }
    }

    /// A socket has been accepted.
    pub(crate) fn attached(&mut self, client: ClientId) {
        self.clients.insert(client, self.subscribers.len());
        self.subscribers.push(Subscriber {
            client,
            phase: Phase::New,
            personal: None,
            device: None,
            is_apart: false,
            is_announced: false,
            history: History::default(),
            stays: BTreeMap::new(),
        });
    }

    /// A connection asks for a session.
    pub(crate) fn entering(&mut self, connection: usize, session: &Session) {
        let named = session.personal.iter().chain(&session.channels);
        let channels: Vec<Channel> = named.map(|name| self.names[name]).collect();
        let subscriber = &mut self.subscribers[connection];
        subscriber.phase = Phase::Opening;
        subscriber.personal = session.personal.as_ref().map(|name| self.names[name]);
        subscriber.device.clone_from(&session.device);
        subscriber.is_apart = session.is_apart;
        for channel in channels {
            self.stay(connection, channel);
        }
    }

    fn stay(&mut self, connection: usize, channel: Channel) -> u64 {
        self.next_number += 1;
        let stay = Stay { number: self.next_number, is_confirmed: false };
        self.subscribers[connection].stays.entry(channel).or_insert(stay).number
    }

    /// A connection is open: everything published from now on reaches it.
    pub(crate) fn opened(&mut self, connection: usize) {
        let subscriber = &mut self.subscribers[connection];
        assert!(subscriber.phase == Phase::Opening, "opened twice, or after it was closed");
        subscriber.phase = Phase::Open;
        subscriber.stays.values_mut().for_each(|stay| stay.is_confirmed = true);
        self.live[subscriber.client.shard.index()].push(connection);
    }

    /// A session is not admitted.
    pub(crate) fn refused(&mut self, connection: usize) {
        self.subscribers[connection].phase = Phase::New;
    }

    /// A connection is owed nothing more.
    pub(crate) fn closed(&mut self, connection: usize) {
        let subscriber = &mut self.subscribers[connection];
        if subscriber.phase == Phase::Open {
            self.live[subscriber.client.shard.index()].retain(|&other| other != connection);
        }
        subscriber.phase = Phase::Gone;
        subscriber.stays.clear();
    }

    /// A command is on its way in so many envelopes, and its asker waits.
    pub(crate) fn asked(&mut self, ticket: u32, envelopes: usize) {
        let request = Request { firsts: envelopes as i64, ..Request::default() };
        self.requests.insert(ticket, request);
    }

    /// A shard is about to handle an envelope.
    pub(crate) fn handling(&mut self, shard: usize, envelope: &Envelope) -> Handled {
        match envelope {
            Envelope::Command { command, ticket } => {
                let ticket = ticket.map(|ticket| ticket.number);
                let recipients = self.command(shard, command, ticket);
                let is_list = matches!(**command, Command::Broadcast { .. });
                Handled { ticket, recipients, is_list }
            }
            Envelope::Deliver { handle, push, ticket } => {
                let publication = push.publication().expect("nobody hears of joins and leaves");
                let ticket = ticket.map(|ticket| ticket.number);
                let recipients = match self.handles.get(&(shard, handle.row)) {
                    Some(&(generation, channel)) if generation == handle.generation => {
                        self.deliver(shard, channel, publication)
                    }
                    _ => {
                        self.coverage.note("publication for a stay that has ended");
                        Vec::new()
                    }
                };
                Handled { ticket, recipients, is_list: false }
            }
            Envelope::Apply { client, command, ticket } => {
                let ticket = ticket.map(|ticket| ticket.number);
                self.apply(*client, command, ticket);
                Handled::default()
            }
            _ => Handled::default(),
        }
    }

    /// The shard has handled it, and its effects are known.
    pub(crate) fn handled(&mut self, shard: usize, handled: &Handled) {
        let is_open = |&&connection: &&usize| self.subscribers[connection].phase == Phase::Open;
        let most = handled.recipients.len() as u64;
        let least = handled.recipients.iter().filter(is_open).count() as u64;
        if handled.is_list {
            self.owed[shard].1 += most - least;
        }
        if let Some(request) = handled.ticket.and_then(|ticket| self.requests.get_mut(&ticket)) {
            request.most += most;
            request.least += least;
        }
    }

    fn command(&mut self, shard: usize, command: &Command, ticket: Option<u32>) -> Vec<usize> {
        let mut recipients = Vec::new();
        match command {
            Command::Publish { channel, publication, .. } => {
                recipients = self.publish(shard, self.names[channel], publication);
            }
            Command::Broadcast { channels, publication, .. } => {
                for channel in channels {
                    recipients.extend(self.publish(shard, self.names[channel], publication));
                }
            }
            Command::PublishAll { publication } => {
                recipients = self.deliver(shard, EVERYONE, publication);
            }
            Command::Subscribe { target, .. }
            | Command::Unsubscribe { target, .. }
            | Command::Disconnect { target, .. } => match target {
                Target::Client(client) => self.apply(*client, command, ticket),
                Target::User { personal, .. } => {
                    let personal = Some(self.names[personal]);
                    let is_session = |subscriber: &&Subscriber| {
                        subscriber.client.shard.index() == shard
                            && subscriber.personal == personal
                            && matches!(subscriber.phase, Phase::Opening | Phase::Open)
                    };
                    let sessions = self.subscribers.iter().filter(is_session);
                    let clients: Vec<_> = sessions.map(|subscriber| subscriber.client).collect();
                    for client in clients {
                        self.apply(client, command, ticket);
                    }
                }
            },
            other => panic!("the workload has no such command: {other:?}"),
        }
        recipients
    }

    /// The home takes a publication.
    fn publish(&mut self, home: usize, channel: Channel, publication: &Publication) -> Vec<usize> {
        let number = Library::number_of(&publication.payload()).expect("we wrote it");
        for shard in (0..self.live.len()).filter(|&shard| shard != home) {
            let mut relying = Vec::new();
            for connection in self.recipients(shard, channel, publication) {
                let stay = &self.subscribers[connection].stays[&channel];
                if stay.is_confirmed {
                    relying.push((connection, stay.number));
                }
            }
            if !relying.is_empty() {
                self.passages.insert((number, channel, shard), relying);
            }
        }
        self.deliver(home, channel, publication)
    }

    fn recipients(&self, shard: usize, channel: Channel, message: &Publication) -> Vec<usize> {
        let gets = |&connection: &usize| {
            let subscriber = &self.subscribers[connection];
            let is_there = match channel {
                EVERYONE => !subscriber.is_apart,
                _ => subscriber.stays.contains_key(&channel),
            };
            is_there
                && message.except() != Some(subscriber.client)
                && message
                    .device()
                    .is_none_or(|device| subscriber.device.as_deref() == Some(device))
        };
        self.live[shard].iter().copied().filter(gets).collect()
    }

    /// A shard hands a publication to its subscribers.
    fn deliver(&mut self, shard: usize, channel: Channel, message: &Publication) -> Vec<usize> {
        let number = Library::number_of(&message.payload()).expect("we wrote it");
        self.passages.remove(&(number, channel, shard));
        let recipients = self.recipients(shard, channel, message);
        if message.except().is_some_and(|client| client.shard.index() == shard) {
            self.coverage.note("publication not for everybody");
        }
        for &connection in &recipients {
            self.subscribers[connection].history.owe(channel, number);
        }
        self.owed[shard].0 += recipients.len() as u64;
        recipients
    }

    fn apply(&mut self, client: ClientId, command: &Command, ticket: Option<u32>) {
        let connection = self.clients[&client];
        let mut request = ticket.map(|ticket| self.requests.remove(&ticket).expect("it was asked"));
        let (target, channels): (_, &[ChannelName]) = match command {
            Command::Subscribe { target, channels, .. } => (target, channels),
            Command::Unsubscribe { target, channels } => (target, channels),
            Command::Disconnect { target, .. } => (target, &[]),
            _ => unreachable!("publications are not applied to single sessions"),
        };
        let subscriber = &self.subscribers[connection];
        let is_meant = match target {
            Target::User { device: Some(device), .. } => {
                subscriber.device.as_deref() == Some(&**device)
            }
            _ => true,
        };
        let is_there = match subscriber.phase {
            Phase::Open => true,
            Phase::Opening => matches!(command, Command::Disconnect { .. }),
            Phase::New | Phase::Gone => false,
        };
        if is_there && is_meant {
            for name in channels {
                let channel = self.names[name];
                if matches!(command, Command::Unsubscribe { .. }) {
                    self.subscribers[connection].stays.remove(&channel);
                    continue;
                }
                let number = self.stay(connection, channel);
                if let Some(request) = &mut request {
                    request.confirms.push((connection, channel, number));
                }
            }
            if let Some(request) = &mut request {
                request.least += 1;
                request.most += 1;
            }
        } else if matches!(target, Target::Client(_))
            && let Some(request) = &mut request
        {
            self.coverage.note("unknown client");
            request.unknown_expected += 1;
        }
        self.requests.extend(ticket.zip(request));
    }

    /// A shard stays in a channel from now on, as its envelope to the home says, or no longer.
    pub(crate) fn note_stay(
        &mut self,
        shard: usize,
        channel: &ChannelName,
        handle: Handle,
        is_join: bool,
    ) {
        let channel = self.names[channel];
        if is_join {
            self.handles.insert((shard, handle.row), (handle.generation, channel));
        } else {
            self.handles.remove(&(shard, handle.row));
        }
    }

    /// A part of an answer has come.
    pub(crate) fn answered(&mut self, answer: &Answer) {
        let request = self.requests.get_mut(&answer.number).expect("an answer too many");
        request.firsts -= i64::from(answer.firsts);
        request.awaiting += i64::from(answer.further());
        request.sessions += u64::from(answer.sessions);
        match answer.error {
            Some(CommandError::UnknownClient) => request.unknown += 1,
            Some(error) => panic!("{error}"),
            None => {}
        }
    }

    /// Looks which requests are answered completely, and whether rightly.
    pub(crate) fn settle_requests(&mut self) {
        let is_done = |request: &Request| request.firsts == 0 && request.awaiting == 0;
        let done = self.requests.extract_if(|_, request| is_done(request));
        for (number, request) in done.collect::<Vec<_>>() {
            let is_right = (request.least..=request.most).contains(&request.sessions)
                && request.unknown == request.unknown_expected;
            assert!(is_right, "the answer {number} counts wrongly: {request:?}");
            for (connection, channel, number) in request.confirms {
                let stay = self.subscribers[connection].stays.get_mut(&channel);
                if let Some(stay) = stay.filter(|stay| stay.number == number) {
                    stay.is_confirmed = true;
                }
            }
        }
    }

    /// A shard raised an event.
    pub(crate) fn event(&mut self, shard: usize, event: &Event) {
        self.events[shard] += 1;
        assert_eq!(event.sequence, self.events[shard], "events are numbered one by one");
        let subscriber = &mut self.subscribers[self.clients[&event.client]];
        let personal = event.personal.as_ref().map(|name| self.names[name]);
        assert_eq!(personal, subscriber.personal, "the user in {event:?}");
        assert_eq!(event.device, subscriber.device, "the device in {event:?}");
        let user = subscriber.personal;
        match event.kind {
            EventKind::UserOnline => {
                assert!(self.online.insert(user.expect("a user")), "online twice: {event:?}");
                return;
            }
            EventKind::UserOffline => {
                assert!(self.online.remove(&user.expect("a user")), "offline twice: {event:?}");
                return;
            }
            _ => {}
        }
        assert!(!subscriber.is_apart, "{event:?} of a connection that raises none");
        let is_connected = matches!(event.kind, EventKind::Connected);
        let before = std::mem::replace(&mut subscriber.is_announced, is_connected);
        assert_ne!(before, is_connected, "each end is told once, after the beginning: {event:?}");
    }

    /// Everything under way has arrived: promises are due.
    pub(crate) fn check_quiet(&mut self, sessions_max: usize) {
        for subscriber in &self.subscribers {
            let is_known = subscriber.phase == Phase::Open && !subscriber.is_apart;
            assert_eq!(subscriber.is_announced, is_known, "{:?}", subscriber.client);
        }
        assert!(self.requests.is_empty(), "never answered: {:?}", self.requests);
        for ((number, channel, shard), relying) in self.passages.drain() {
            for (connection, stay) in relying {
                let stays = &self.subscribers[connection].stays;
                let is_same = stays.get(&channel).is_some_and(|now| now.number == stay);
                assert!(!is_same, "{number} of {channel} did not reach shard {shard}");
            }
        }
        let mut sessions: HashMap<Channel, usize> = HashMap::new();
        for &connection in self.live.iter().flatten() {
            let subscriber = &mut self.subscribers[connection];
            subscriber.stays.values_mut().for_each(|stay| stay.is_confirmed = true);
            if let Some(user) = subscriber.personal {
                *sessions.entry(user).or_default() += 1;
            }
        }
        assert!(sessions.values().all(|&count| count <= sessions_max), "too many: {sessions:?}");
        let with_sessions: std::collections::HashSet<_> = sessions.into_keys().collect();
        assert_eq!(self.online, with_sessions, "who is online");
    }

    /// How many subscriptions and channels the open connections of a shard have.
    pub(crate) fn subscriptions(&self, shard: usize) -> (usize, usize) {
        let stays = || self.live[shard].iter().map(|&index| &self.subscribers[index].stays);
        let channels: std::collections::HashSet<_> =
            stays().flat_map(|stays| stays.keys()).collect();
        (stays().map(BTreeMap::len).sum(), channels.len())
    }
}
