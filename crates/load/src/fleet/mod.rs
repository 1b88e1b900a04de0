//! Many connections in one thread, on one io_uring: multishot polls, and batches of sends.
//!
//! A row of the table is a connection; its generation tells late completions from those of the
//! row's next occupant. A fleet that is not polled does not read: that is what a slow client is.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind};
use std::time::Duration;

use crate::client::{Client, Echo, Phase, Round, frame};
use crate::handshake;
use crate::outgoing::Outgoing;
use crate::subscription::Subscription;
use crate::tally::{Latency, Tally};
use crate::target::{Door, Target};
use crate::verified::Verified;
use tidegate_sys::Clock;
use tidegate_sys::ring::{Completion, Kind, Ring, Size};
use tidegate_sys::socket::{receive, send};
use tidegate_ws::frame::Opcode;

/// How much one read can bring.
const INPUT_BYTES: usize = 256 * 1024;

/// How long an opening may take before it has failed.
const PATIENCE_NANOS: u64 = 30_000_000_000;

/// The Close frame's payload: 1000, nothing is wrong.
const NORMAL: [u8; 2] = 1000u16.to_be_bytes();

/// What became of a connection.
#[derive(Debug)]
pub enum Event {
    /// It is open.
    Opened {
        /// Its row.
        row: u32,
    },
    /// It could not be opened.
    Failed {
        /// Its number.
        number: u32,
        /// Why.
        reason: String,
    },
}

/// Connections and what they have received.
pub struct Fleet {
    ring: Ring,
    target: Target,
    clients: Vec<Client>,
    free: Vec<u32>,
    /// Rows, generations and begins of openings, oldest first, and some that have ended.
    attempts: VecDeque<(u32, u32, u64)>,
    opening: usize,
    open: usize,
    input: Vec<u8>,
    replies: Vec<u8>,
    outgoing: Outgoing,
    events: VecDeque<Event>,
    tally: Tally,
    verified: Verified,
    echo: Option<Echo>,
    notes_receivers: bool,
    /// What those had who are gone, by number, if whoever comes back shall go on with it.
    left: Option<HashMap<u32, Box<[Subscription]>>>,
}

impl Fleet {
    /// A fleet without connections. `notes_receivers`: see [`Tally::last_receivers`].
    pub fn new(target: Target, notes_receivers: bool) -> io::Result<Self> {
        Ok(Self {
            ring: Ring::new(Size::FULL)?,
            target,
            clients: Vec::new(),
            free: Vec::new(),
            attempts: VecDeque::new(),
            opening: 0,
            open: 0,
            input: vec![0; INPUT_BYTES],
            replies: Vec::new(),
            outgoing: Outgoing::default(),
            events: VecDeque::new(),
            tally: Tally::default(),
            verified: Verified::new(),
            echo: None,
            notes_receivers,
            left: None,
        })
    }

    /// Whoever comes back goes on where it stopped, and recovers what it missed.
    pub fn keep_positions(&mut self) {
        self.left = Some(HashMap::new());
    }

    /// Begins to open a connection; an event says how that ends.
    pub fn connect(&mut self, number: u32) {
        let socket = match self.target.connect(number) {
            Ok(socket) => socket,
            Err(error) => return self.note_failure(number, describe(&error)),
        };
        let row = self.free.pop().unwrap_or_else(|| {
            self.clients.push(Client::free(0));
            self.clients.len() as u32 - 1
        });
        let now = Clock::shared_nanos();
        let client = &mut self.clients[row as usize];
        client.socket = Some(socket);
        (client.number, client.phase, client.began_nanos) = (number, Phase::Connecting, now);
        client.subscriptions =
            self.left.as_mut().and_then(|left| left.remove(&number)).unwrap_or_else(|| {
                (0..self.target.channels.subscriptions()).map(|_| Subscription::new()).collect()
            });
        let fd = client.fd().expect("it was put there");
        self.ring.watch_writable(fd, row, client.generation);
        self.attempts.push_back((row, client.generation, now));
        self.opening += 1;
    }

    /// Does whatever there is to do; waits at most for `timeout` if there is nothing.
    pub fn poll(&mut self, timeout: Duration) -> io::Result<()> {
        self.ring.wait(timeout)?;
        while let Some(completion) = self.ring.poll_completion() {
            let is_known = self
                .clients
                .get(completion.row as usize)
                .is_some_and(|client| completion.is_of(client.generation));
            match completion.kind {
                Kind::Writable if is_known => self.handle_writable(completion.row)?,
                Kind::Readable if is_known => self.handle_readable(&completion)?,
                _ => {}
            }
        }
        self.expire_attempts();
        self.flush()
    }

    /// What became of connections since the last call.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Begins a closing handshake.
    pub fn close(&mut self, row: u32) -> io::Result<()> {
        let client = &mut self.clients[row as usize];
        if client.phase == Phase::Open {
            client.phase = Phase::Closing;
            self.open -= 1;
            frame(Opcode::Close, &NORMAL, &mut self.replies);
            self.send_replies(row)?;
        }
        Ok(())
    }

    /// Ends every connection as a network does that goes away: without a closing handshake.
    pub fn drop_all(&mut self) -> io::Result<()> {
        (0..self.clients.len() as u32).for_each(|row| self.vacate(row));
        self.ring.enter()
    }

    /// Every open connection sends `in_flight` messages, and one more for each that comes back.
    pub fn begin_echo(&mut self, bytes: usize, in_flight: u32, until: u64) -> io::Result<()> {
        self.echo = Some(Echo { bytes, until_nanos: until });
        for row in 0..self.clients.len() {
            let client = &mut self.clients[row];
            if client.phase != Phase::Open {
                continue;
            }
            for _ in 0..in_flight {
                client.speak(bytes, Clock::shared_nanos(), &mut self.tally, &mut self.replies);
            }
            self.send_replies(row as u32)?;
        }
        self.flush()
    }

    /// The run has had so many messages. What is missing where the server refused to recover has
    /// not been lost.
    pub fn finish(&mut self, messages: u32) {
        let channels = &self.target.channels;
        for client in &mut self.clients {
            let shared = channels.of_client(client.number);
            for (channel, subscription) in shared.zip(&mut client.subscriptions) {
                subscription.finish(channels.messages_in(channel, messages), &mut self.tally);
            }
        }
    }

    /// Forgets the latencies, so that the next phase has its own.
    pub fn reset_latency(&mut self) {
        self.tally.latency = Latency::default();
    }

    /// Forgets the durations of handshakes.
    pub fn reset_handshakes(&mut self) {
        self.tally.handshake = Latency::default();
    }

    /// What has happened so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Takes what has happened; the connections stay.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// How many connections are being opened.
    pub fn opening(&self) -> usize {
        self.opening
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.open
    }

    /// Rows of connections that are not gone, whatever their phase.
    pub fn held(&self) -> usize {
        self.clients.len() - self.free.len()
    }

    /// The server never answered our Close frames on what is held still.
    pub fn abandon_closing(&mut self) {
        for client in &self.clients {
            if client.phase == Phase::Closing {
                self.tally.note_close("our Close frame was not answered");
            }
        }
    }

    fn handle_writable(&mut self, row: u32) -> io::Result<()> {
        let client = &mut self.clients[row as usize];
        let Some(fd) = client.fd() else { return Ok(()) };
        if client.phase != Phase::Connecting {
            let frames = std::mem::take(&mut client.unsent);
            let sent = send(fd, &frames).unwrap_or(0);
            self.keep_unsent(row, &frames[sent..]);
            return Ok(());
        }
        let socket = client.socket.as_ref().expect("it has a descriptor");
        if let Some(error) = socket.take_error()? {
            self.end(row, &describe(&error));
            return Ok(());
        }
        self.ring.watch_readable(fd, row, client.generation);
        let request = match &self.target.door {
            Door::Plain => {
                client.phase = Phase::Open;
                client.subscriptions.iter_mut().for_each(|it| it.join(true, &mut self.tally));
                self.note_open(row);
                return Ok(());
            }
            Door::WebSocket(path) | Door::Json(path) => {
                handshake::request(&self.target, path, client.number)
            }
        };
        client.phase = Phase::Shaking;
        self.replies.extend_from_slice(request.as_bytes());
        self.send_replies(row)
    }

    fn handle_readable(&mut self, completion: &Completion) -> io::Result<()> {
        let row = completion.row;
        // Bytes and the end behind them may come as one event: then no other will follow.
        let ends = i32::from(libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR);
        self.read(row, completion.result & ends != 0)?;
        let client = &self.clients[row as usize];
        if let Some(fd) = client.fd()
            && !completion.has_more
            && completion.is_of(client.generation)
        {
            self.ring.watch_readable(fd, row, client.generation);
        }
        Ok(())
    }

    fn read(&mut self, row: u32, is_ending: bool) -> io::Result<()> {
        while let Some(fd) = self.clients[row as usize].fd() {
            match receive(fd, &mut self.input) {
                Ok(0) => self.end(row, "ended without a Close frame"),
                Ok(count) => {
                    self.hear(row, count)?;
                    if count < INPUT_BYTES && !is_ending {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => self.end(row, &describe(&error)),
            }
        }
        Ok(())
    }

    fn hear(&mut self, row: u32, count: usize) -> io::Result<()> {
        let client = &mut self.clients[row as usize];
        let mut round = Round {
            channels: &self.target.channels,
            is_json: matches!(self.target.door, Door::Json(_)),
            recovers: self.left.is_some(),
            verified: &mut self.verified,
            tally: &mut self.tally,
            replies: &mut self.replies,
            echo: self.echo,
            notes_receivers: self.notes_receivers,
            now: Clock::shared_nanos(),
        };
        let before = client.phase;
        let heard = client.hear(&self.input[..count], &mut round);
        let after = client.phase;
        if before.is_opening() && !after.is_opening() {
            self.note_open(row);
        }
        if (before.is_opening() || before == Phase::Open) && after == Phase::Closed {
            self.open -= 1;
        }
        self.send_replies(row)?;
        if let Err(reason) = heard {
            self.end(row, &reason);
        }
        Ok(())
    }

    fn note_open(&mut self, row: u32) {
        let now = Clock::shared_nanos();
        self.tally.opened += 1;
        self.tally.last_opened_nanos = now;
        let nanos = now.saturating_sub(self.clients[row as usize].began_nanos);
        self.tally.handshake.record(nanos);
        self.opening -= 1;
        self.open += 1;
        self.events.push_back(Event::Opened { row });
    }

    fn note_failure(&mut self, number: u32, reason: String) {
        self.tally.note_failure(&reason);
        self.events.push_back(Event::Failed { number, reason });
    }

    /// The connection is gone, and not by our doing.
    fn end(&mut self, row: u32, reason: &str) {
        let client = &self.clients[row as usize];
        match client.phase {
            phase if phase.is_opening() => {
                self.note_failure(client.number, reason.to_owned());
            }
            Phase::Open | Phase::Closing => self.tally.note_close(reason),
            _ => {}
        }
        self.vacate(row);
    }

    fn vacate(&mut self, row: u32) {
        let client = &mut self.clients[row as usize];
        if client.socket.is_none() {
            return;
        }
        if client.phase.is_opening() {
            self.opening -= 1;
        } else if client.phase == Phase::Open {
            self.open -= 1;
        }
        if client.phase != Phase::Connecting {
            self.ring.cancel(Kind::Readable, row, client.generation);
        }
        if client.phase == Phase::Connecting || !client.unsent.is_empty() {
            self.ring.cancel(Kind::Writable, row, client.generation);
        }
        let next = Client::free(client.generation.wrapping_add(1));
        let former = std::mem::replace(client, next);
        if let Some(left) = &mut self.left {
            let mut subscriptions = former.subscriptions;
            subscriptions.iter_mut().for_each(|it| it.is_joined = false);
            left.insert(former.number, subscriptions);
        }
        self.free.push(row);
    }

    fn expire_attempts(&mut self) {
        let Some(oldest) = Clock::shared_nanos().checked_sub(PATIENCE_NANOS) else { return };
        while let Some(&(row, generation, began)) = self.attempts.front() {
            let client = &self.clients[row as usize];
            let is_pending = client.generation == generation && client.phase.is_opening();
            if is_pending && began > oldest {
                return;
            }
            self.attempts.pop_front();
            if is_pending {
                let reason = match client.phase {
                    Phase::Connecting => "not accepted within 30 seconds",
                    Phase::Joining => "no replies within 30 seconds",
                    _ => "no answer within 30 seconds",
                };
                self.end(row, reason);
            }
        }
    }

    /// Puts what a connection has to say into the batch.
    fn send_replies(&mut self, row: u32) -> io::Result<()> {
        if self.replies.is_empty() {
            return Ok(());
        }
        if !self.outgoing.has_room_for(row) {
            self.flush()?;
        }
        let client = &mut self.clients[row as usize];
        if client.unsent.is_empty() {
            self.outgoing.add(row, &self.replies);
        } else {
            client.unsent.extend_from_slice(&self.replies);
        }
        self.replies.clear();
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.outgoing.is_empty() {
            return Ok(());
        }
        let mut refused = Vec::new();
        let clients = &self.clients;
        // A connection that has ended since is not sent to: its place refuses everything.
        let sends = self
            .outgoing
            .sends()
            .map(|(row, frames)| (clients[row as usize].fd().unwrap_or(-1), frames));
        self.ring.send(sends, |place, result| refused.push((place, result)))?;
        let outgoing = std::mem::take(&mut self.outgoing);
        for (place, result) in refused {
            let (row, frames) = outgoing.at(place);
            let taken = usize::try_from(result).unwrap_or(0);
            if taken > 0 || result == -libc::EAGAIN {
                self.keep_unsent(row, &frames[taken..]);
            }
        }
        self.outgoing = outgoing;
        self.outgoing.clear();
        Ok(())
    }

    fn keep_unsent(&mut self, row: u32, frames: &[u8]) {
        let client = &mut self.clients[row as usize];
        if let Some(fd) = client.fd()
            && !frames.is_empty()
        {
            client.unsent.extend_from_slice(frames);
            self.ring.watch_writable(fd, row, client.generation);
        }
    }
}

/// What the system said, without numbers, so that equal reasons count together.
fn describe(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => "connection refused".to_owned(),
        Some(libc::ECONNRESET | libc::EPIPE) => "connection reset".to_owned(),
        Some(libc::EMFILE | libc::ENFILE) => {
            "no descriptor is left: raise the limit (ulimit -n) or use --processes".to_owned()
        }
        Some(libc::EADDRNOTAVAIL) => {
            "no source port is left: list more addresses with --sources".to_owned()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
