//! The connections of all ZeroMQ endpoints: which there are, which were ended and why, and how many
//! bytes of theirs wait in libzmq.
//!
//! A message of several parts arrives whole, so libzmq keeps the parts of one that is not complete,
//! however many they are. A peer that goes on and on is found by what the kernel has given to
//! libzmq of it while no message of it came out, and is disconnected, which frees what it brought.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use crate::ingest::Endpoint;
use crate::ingest::monitor::{Happening, Monitor};
use crate::ingest::peer::{Peer, Reason};
use crate::metrics::IngestMetrics;
use crate::sys::incoming::{self, Door, GREETING_BYTES};
use crate::sys::{Complaints, memory};

const SECOND_NANOS: u64 = 1_000_000_000;

/// How often connections are looked at while there are any, and while one is watched.
const INTERVAL_NANOS: u64 = 100_000_000;
const WATCH_INTERVAL_NANOS: u64 = 10_000_000;

/// What a peer may send in a second beside messages: heartbeats.
const FREE_BYTES_PER_SECOND: u64 = 256;

/// Most that comes of a peer which greets and goes: the kernel counts the end as a byte.
const GREETED_BYTES: u64 = GREETING_BYTES + 1;

/// With more unfinished handshakes than so many, messages say whose is finished.
const SHAKING_FEW: usize = 8;

/// When so many bytes have come and few more come, memory that they took is given back.
const GIVE_BACK_BYTES: u64 = 8 << 20;
const QUIET_BYTES: u64 = 64 << 10;

/// How long libzmq may take to free what a connection has brought that has ended.
const FREEING_NANOS: u64 = SECOND_NANOS;

/// All connections, by endpoint.
pub(super) struct Peers {
    sockets: Vec<Watched>,
    metrics: Arc<IngestMetrics>,
    checked_nanos: u64,
    next_check_nanos: u64,
    /// Bytes that waited when that was looked at last.
    queued: u64,
    /// Bytes that have come since memory was given back.
    unreturned: u64,
    /// When it may be given back.
    give_back_nanos: u64,
}

/// What is known of the connection that ends next.
#[derive(Clone, Copy)]
enum Ending {
    /// Nothing.
    Unknown,
    /// The peer went, or was silent, before it might send messages.
    Left,
    /// It may not be, and why.
    Refused(Reason),
}

/// One endpoint.
struct Watched {
    is_input: bool,
    address: String,
    message_bytes_max: u64,
    heartbeat_timeout: Duration,
    door: Option<Door>,
    peers_max: usize,
    peers: HashMap<RawFd, Peer>,
    /// Connections that may not send messages yet, the oldest first.
    shaking: Vec<RawFd>,
    /// What is known of the connection that ends next.
    ending: Ending,
    /// Whose a routing id is.
    routing_ids: HashMap<Box<[u8]>, RawFd>,
    is_watching: bool,
    /// Whether what a peer brought that has ended in a message, or that the edge has ended, was
    /// freed of late.
    has_freed: bool,
    /// Whether all messages that had arrived at the last check have been received since.
    is_drained: bool,
    /// Bytes that came in, as far as they were measured, and that went out since it was empty.
    arrived: u64,
    delivered: u64,
}

impl Peers {
    pub(super) fn new(
        endpoints: &[Endpoint],
        doors: Vec<Option<Door>>,
        metrics: Arc<IngestMetrics>,
    ) -> Self {
        let sockets = endpoints.iter().zip(doors).map(|(endpoint, door)| Watched {
            is_input: endpoint.kind.is_input(),
            address: endpoint.address.clone(),
            message_bytes_max: endpoint.message_bytes_max as u64,
            heartbeat_timeout: endpoint.heartbeat_timeout,
            door,
            peers_max: endpoint.peers_max,
            peers: HashMap::new(),
            shaking: Vec::new(),
            ending: Ending::Unknown,
            routing_ids: HashMap::new(),
            is_watching: false,
            has_freed: false,
            is_drained: false,
            arrived: 0,
            delivered: 0,
        });
        let sockets = sockets.collect();
        Self {
            sockets,
            metrics,
            checked_nanos: 0,
            next_check_nanos: 0,
            queued: 0,
            unreturned: 0,
            give_back_nanos: 0,
        }
    }

    /// Whether there is anybody to look at from time to time, and if so how often.
    pub(super) fn interval_nanos(&self) -> Option<u64> {
        if self.sockets.iter().any(|socket| socket.is_watching) {
            return Some(WATCH_INTERVAL_NANOS);
        }
        let is_anybody = self.sockets.iter().any(|socket| !socket.peers.is_empty());
        let has_freed = self.sockets.iter().any(|socket| socket.has_freed);
        let is_anything = has_freed || self.queued > 0 || self.unreturned >= GIVE_BACK_BYTES;
        (is_anybody || is_anything).then_some(INTERVAL_NANOS)
    }

    /// Takes in what happened at an endpoint.
    pub(super) fn hear(
        &mut self,
        monitor: &Monitor,
        place: usize,
        (complaints, now_nanos): (&Complaints, u64),
    ) {
        while let Some(happening) = monitor.next() {
            let socket = &mut self.sockets[place];
            let ended = match happening {
                Happening::Connected(fd) => {
                    socket.begin(fd, now_nanos);
                    None
                }
                Happening::Disconnected(fd) => socket.end(fd, now_nanos),
                Happening::Admitted => {
                    socket.admit();
                    None
                }
                Happening::Left => {
                    socket.ending = Ending::Left;
                    None
                }
                Happening::Refused(reason) => {
                    socket.ending = Ending::Refused(reason);
                    None
                }
                Happening::NotAccepted(_) if socket.is_closed() => None,
                Happening::NotAccepted(reason) => Some((reason, String::new())),
            };
            if let Some((reason, peer)) = ended {
                let address = &socket.address;
                say(reason, address, &peer, &self.metrics, (complaints, now_nanos));
            }
        }
        let socket = &mut self.sockets[place];
        if let Some(door) = &socket.door {
            door.set_open(socket.peers.len());
        }
        while let Some(peer) = socket.make_room(now_nanos) {
            let (address, noted) = (&socket.address, (complaints, now_nanos));
            say(Reason::Full, address, &peer, &self.metrics, noted);
        }
        let count: usize = self.sockets.iter().map(|socket| socket.peers.len()).sum();
        self.metrics.peers.set(count as i64);
    }

    /// Looks at all connections, when it is time.
    pub(super) fn check(&mut self, (complaints, now_nanos): (&Complaints, u64)) {
        let Some(interval) = self.interval_nanos() else { return };
        if now_nanos < self.next_check_nanos {
            return;
        }
        self.next_check_nanos = now_nanos + interval;
        let elapsed = now_nanos - std::mem::replace(&mut self.checked_nanos, now_nanos);
        let free_bytes = elapsed.min(SECOND_NANOS) * FREE_BYTES_PER_SECOND / SECOND_NANOS;
        let (mut queued, mut moved) = (0, 0);
        for socket in &mut self.sockets {
            let (bytes, endless) = socket.measure(free_bytes);
            for (reason, peer) in endless {
                say(reason, &socket.address, &peer, &self.metrics, (complaints, now_nanos));
            }
            if std::mem::take(&mut socket.has_freed) {
                self.unreturned += GIVE_BACK_BYTES;
                self.give_back_nanos = now_nanos + FREEING_NANOS;
            }
            queued += socket.queued();
            moved += bytes;
        }
        self.queued = queued;
        self.metrics.queued_bytes.set(queued as i64);
        self.unreturned += moved;
        let is_quiet = moved < QUIET_BYTES && queued == 0 && now_nanos >= self.give_back_nanos;
        if self.unreturned >= GIVE_BACK_BYTES && is_quiet {
            self.unreturned = 0;
            memory::give_back_all();
        }
    }

    /// Ends all connections of an endpoint that listens, and lets nobody in any more; what is on
    /// its way comes still.
    pub(super) fn dismiss(&mut self, place: usize) {
        let socket = &mut self.sockets[place];
        let Some(door) = &socket.door else { return };
        door.close();
        socket.peers.values_mut().for_each(Peer::dismiss);
    }

    /// Ends all connections that an endpoint still has, at once.
    pub(super) fn cut_off(&mut self, place: usize) {
        self.sockets[place].peers.values_mut().for_each(Peer::shut);
    }

    /// Whether libzmq has something to read at an endpoint that messages come in on, be it an end
    /// that the edge has made.
    pub(super) fn is_anything_unread(&self) -> bool {
        let inputs = self.sockets.iter().filter(|socket| socket.is_input);
        let mut peers = inputs.flat_map(|socket| socket.peers.values());
        peers.any(|peer| peer.is_shut || peer.has_unread())
    }

    /// Whether it matters whose the message is that came out; the routing id is that of a ROUTER.
    pub(super) fn asks_for_source(&self, place: usize, routing_id: Option<&[u8]>) -> bool {
        let socket = &self.sockets[place];
        let is_asked = socket.is_watching || socket.shaking.len() > SHAKING_FEW;
        is_asked || routing_id.is_some_and(is_chosen)
    }

    /// A message came out.
    pub(super) fn note_message(&mut self, place: usize, bytes: usize) {
        self.sockets[place].delivered += bytes as u64;
    }

    /// It came over this connection.
    pub(super) fn note_source(
        &mut self,
        place: usize,
        (fd, routing_id): (RawFd, Option<&[u8]>),
        (complaints, now_nanos): (&Complaints, u64),
    ) {
        let socket = &mut self.sockets[place];
        if let Some(peer) = socket.peers.get_mut(&fd) {
            peer.has_completed = true;
        }
        socket.settle(fd);
        let id = routing_id.filter(|id| is_chosen(id));
        if let Some((reason, peer)) = id.and_then(|id| socket.claim(id, fd)) {
            say(reason, &socket.address, &peer, &self.metrics, (complaints, now_nanos));
        }
    }

    /// There is no message left.
    pub(super) fn note_empty(&mut self, place: usize) {
        let socket = &mut self.sockets[place];
        (socket.is_drained, socket.arrived, socket.delivered) = (true, 0, 0);
    }
}

/// An end that the edge made, and of whom.
type Ended = (Reason, String);

impl Watched {
    fn begin(&mut self, fd: RawFd, now_nanos: u64) {
        self.shaking.push(fd);
        let own = match &self.door {
            Some(door) => door.take(fd),
            None => Peer::of_connecting(fd),
        };
        // One that is gone already, or for which no descriptor was left, will be told of next.
        if let Some(Ok(peer)) = own.map(|own| Peer::on(own, fd, now_nanos)) {
            self.peers.insert(fd, peer);
        }
    }

    /// Ends the oldest connection that has not finished its handshake, which may be the one that
    /// came last, if there are too many; gives whose it was. All that happened has been heard: a
    /// descriptor that libzmq has closed, and the process may have given to others, is not among
    /// those that are ended.
    fn make_room(&mut self, now_nanos: u64) -> Option<String> {
        while self.has_too_many() && !self.shaking.is_empty() {
            let fd = self.shaking.remove(0);
            // libzmq ends those whose handshake takes long, so that this one has finished it.
            if let Some(peer) = self.peers.get(&fd).filter(|peer| !peer.is_old(now_nanos)) {
                let name = peer.name.clone();
                self.shut(fd);
                return Some(name);
            }
        }
        None
    }

    /// Whether more connections are here than may be; those that the edge has ended do not count.
    fn has_too_many(&self) -> bool {
        let open = || self.peers.values().filter(|peer| !peer.is_shut).count();
        self.peers.len() > self.peers_max && open() > self.peers_max
    }

    /// Whether nobody is let in any more.
    fn is_closed(&self) -> bool {
        self.door.as_ref().is_some_and(Door::is_closed)
    }

    /// Ends a connection; libzmq finds that out by itself.
    fn shut(&mut self, fd: RawFd) {
        if let Some(peer) = self.peers.get_mut(&fd) {
            peer.shut();
        }
    }

    /// Its handshake is finished.
    fn settle(&mut self, fd: RawFd) -> bool {
        let place = self.shaking.iter().position(|&shaking| shaking == fd);
        place.map(|place| self.shaking.remove(place)).is_some()
    }

    /// libzmq does not say which: one that has said all that a handshake takes, or if that cannot
    /// be known the one that has said most.
    fn admit(&mut self) {
        let said = |fd: &RawFd| {
            let taken = self.peers.get(fd).map_or(0, Peer::taken);
            (incoming::has_said_first(*fd), taken)
        };
        let most = self.shaking.iter().enumerate().max_by_key(|(_, fd)| said(fd));
        if let Some(place) = most.map(|(place, _)| place) {
            self.shaking.remove(place);
        }
    }

    fn end(&mut self, fd: RawFd, now_nanos: u64) -> Option<Ended> {
        let is_shaking = self.settle(fd);
        let peer = self.peers.remove(&fd);
        if let Some(id) = peer.as_ref().and_then(|peer| peer.routing_id.as_ref()) {
            self.routing_ids.remove(id);
        }
        let is_shut = peer.as_ref().is_some_and(|peer| peer.is_shut);
        let has_left = peer.as_ref().is_some_and(|peer| peer.unfinished() >= QUIET_BYTES);
        self.has_freed |= is_shut || has_left;
        let foreign = peer.as_ref().and_then(Peer::foreign);
        let is_old = peer.as_ref().is_some_and(|peer| peer.is_old(now_nanos));
        let why = || peer.as_ref().and_then(|peer| peer.why_ended(self.heartbeat_timeout));
        let reason = match std::mem::replace(&mut self.ending, Ending::Unknown) {
            // That was said when the edge ended it.
            _ if is_shut => None,
            _ if foreign.is_some() => foreign,
            Ending::Refused(reason) => Some(reason),
            Ending::Left if is_old => Some(Reason::Handshake),
            // It only knocked, or did not like the greeting, or was told the kind of the socket.
            Ending::Left => match peer.as_ref().map(Peer::received) {
                Some(0) => None,
                Some(received) if received > GREETED_BYTES => Some(Reason::WrongSocket),
                _ => Some(Reason::Left),
            },
            // The only refusal in a handshake of which libzmq says nothing.
            Ending::Unknown if is_shaking => Some(Reason::WrongSocket),
            Ending::Unknown => why(),
        };
        Some((reason?, peer.map_or_else(String::new, |peer| peer.name)))
    }

    /// Whose the routing id of a message is now; ends the connection that had it before. libzmq
    /// hears it no more, and would not tell its peer.
    fn claim(&mut self, id: &[u8], fd: RawFd) -> Option<Ended> {
        let before = self.routing_ids.get(id).copied();
        if before == Some(fd) {
            return None;
        }
        self.peers.get_mut(&fd)?.routing_id = Some(id.into());
        self.routing_ids.insert(id.into(), fd);
        let name = self.peers.get(&before?)?.name.clone();
        self.shut(before?);
        Some((Reason::Replaced, name))
    }

    /// Measures every peer; gives how many bytes came, and ends those that go on and on.
    fn measure(&mut self, free_bytes: u64) -> (u64, Vec<Ended>) {
        let was_drained = std::mem::take(&mut self.is_drained);
        let (most, mut bytes) = (self.message_bytes_max, 0);
        let mut endless = Vec::new();
        for peer in self.peers.values_mut() {
            let (came, is_endless) = match self.is_input {
                true => peer.measure(most, free_bytes, was_drained),
                false => (0, peer.measure_subscriptions(free_bytes)),
            };
            bytes += came;
            if is_endless {
                peer.shut();
                let reason = if self.is_input { Reason::Unfinished } else { Reason::Subscriptions };
                endless.push((reason, peer.name.clone()));
            }
        }
        // Where nothing was left and nothing has come out since, they had come out before.
        if !was_drained || self.delivered > 0 {
            self.arrived += bytes;
        }
        self.is_watching = self.peers.values().any(|peer| peer.is_watched);
        (bytes, endless)
    }

    fn queued(&self) -> u64 {
        self.arrived.saturating_sub(self.delivered)
    }
}

/// Whether a peer chose its routing id: those that libzmq makes up begin with zero.
fn is_chosen(routing_id: &[u8]) -> bool {
    routing_id.first().is_some_and(|&first| first != 0)
}

/// Counts the end of a peer and says why, if it was not said often of late.
pub(super) fn say(
    reason: Reason,
    address: &str,
    peer: &str,
    metrics: &IngestMetrics,
    (complaints, now_nanos): (&Complaints, u64),
) {
    reason.counter(metrics).increment();
    if let Some(suppressed) = complaints.admit(now_nanos) {
        let text = reason.text();
        tracing::warn!(endpoint = address, peer, suppressed, "ZeroMQ peer refused: {text}");
    }
}
