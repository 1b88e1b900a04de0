//! Hearing connections: bytes in, messages to backends, replies out.

use std::io::ErrorKind;

use bytes::Bytes;

use crate::http::request::HEAD_BYTES_MAX;
use crate::hub::Cause;
use crate::mesh::Asker;
use crate::model::EventKind;
use crate::shard::half::{Commands, Early, Half, Message};
use crate::shard::socket::{IS_ADMITTED, IS_ECHO, IS_READY, PEER_CLOSED, PINGED, State};
use crate::shard::turn::ANSWER_RESERVE;
use crate::shard::{INPUT_BYTES, Net, Shard};
use crate::ws::close::CloseCode;
use crate::ws::frame::{Opcode, encode_frame};
use crate::ws::inbound::{Inbound, Item};

/// After so many full reads the other connections come first.
const READS_MAX: usize = 4;

/// One part in so many of the link to the ingest thread is kept from clients' messages, for answers
/// and for events that cannot wait.
const EVENT_RESERVE: usize = 4;

const _: () = assert!(EVENT_RESERVE < ANSWER_RESERVE, "messages never hold up commands");

/// How much is read of a connection at once while others wait: it may be hundreds of messages.
const SHARED_INPUT_BYTES: usize = 2 * 1024;

/// A full read counts as so many commands: what it brought may be thousands of messages.
const READ_WORK: u32 = 32;

/// How much is read of a managed connection at once: it may be hundreds of commands.
const MANAGED_INPUT_BYTES: usize = 8 * 1024;

/// About how much memory a command takes that waits, beside what its client has sent.
const COMMAND_BYTES: usize = 256;

/// The shortest message on the wire: an empty masked frame.
const MESSAGE_BYTES_MIN: usize = 6;

/// What the hub's close code is called when the peer gave none (RFC 6455 section 7.1.5).
const NO_STATUS: CloseCode = CloseCode(1005);

impl<N: Net> Shard<N> {
    /// A watched connection is readable, or its watch ended.
    pub(super) fn handle_readable(&mut self, row: u32, result: i32, has_more: bool) {
        if result < 0 {
            return self.lose(row);
        }
        if !has_more {
            let generation = self.hub.client_id(row).generation;
            self.net.watch_readable(self.sockets[row as usize].fd, row, generation);
        }
        let may_be_at_end = result as i16 & !libc::POLLIN != 0;
        if self.are_others_ready() && self.sockets[row as usize].state == State::Open {
            // Others have waited longer.
            return self.make_ready(row);
        }
        self.read(row, may_be_at_end);
    }

    /// Reads a connection that is to be read although no watch says so. Gives it back if that must
    /// wait for room, so that it keeps its place before those that have taken what there was.
    pub(super) fn read_ready(&mut self) -> Option<(u32, u32)> {
        let (row, generation) = self.work.ready.pop_front()?;
        if self.hub.client_id(row).generation != generation {
            return None;
        }
        if self.sockets[row as usize].state == State::Open && self.lacks_room() {
            self.metrics.reads_deferred.increment();
            return Some((row, generation));
        }
        self.sockets[row as usize].set(IS_READY, false);
        self.read(row, true);
        None
    }

    /// Queues a connection to be read.
    pub(super) fn make_ready(&mut self, row: u32) {
        let socket = &mut self.sockets[row as usize];
        if socket.state != State::Free && !socket.is(IS_READY) {
            socket.set(IS_READY, true);
            self.work.ready.push_back((row, self.hub.client_id(row).generation));
        }
    }

    /// Whether a connection that waits to be read could be read now.
    pub(super) fn has_readable(&self) -> bool {
        !self.work.ready.is_empty() && !self.lacks_room()
    }

    /// Whether there is no room for what open connections ask.
    fn lacks_room(&self) -> bool {
        self.are_events_full() || self.are_links_full()
    }

    /// Messages of clients become events; while those cannot be passed on, nobody is read, and
    /// TCP slows the clients down.
    fn are_events_full(&self) -> bool {
        let (room, reserve) = self.event_room();
        room < reserve || self.port.askers[usize::from(Asker::Ingest.place())].is_heavy()
    }

    /// How many events the link to the ingest thread takes, and how many of them are reserved.
    fn event_room(&self) -> (usize, usize) {
        let link = &self.port.askers[usize::from(Asker::Ingest.place())];
        let reserve = link.capacity() / EVENT_RESERVE;
        (link.capacity().saturating_sub(link.len()), reserve)
    }

    /// How much may be read of a connection at once: of an open one no more than what makes as many
    /// events as the link takes.
    fn input_max(&self, row: u32) -> usize {
        let socket = &self.sockets[row as usize];
        match socket.state {
            State::Handshake => HEAD_BYTES_MAX,
            State::Open if self.hub.variant(row).is_managed() => MANAGED_INPUT_BYTES,
            State::Open if !socket.is(IS_ECHO) => {
                let (room, reserve) = self.event_room();
                let most = if self.are_others_ready() { SHARED_INPUT_BYTES } else { INPUT_BYTES };
                (room.saturating_sub(reserve / 2).max(1) * MESSAGE_BYTES_MIN).min(most)
            }
            _ => INPUT_BYTES,
        }
    }

    /// Whether connections wait for their turn to be read.
    fn are_others_ready(&self) -> bool {
        !self.work.ready.is_empty()
    }

    /// Takes a part of what came right behind the request. Returns false if there is nothing.
    fn read_early(&mut self, row: u32, count_max: usize) -> bool {
        let half = self.sockets[row as usize].half;
        let kept = self.halves.rows.get(half);
        if kept.is_none_or(|kept| !matches!(kept.half, Half::Early(_))) {
            return false;
        }
        let Some(Half::Early(early)) = self.take_half(row) else { return false };
        let Early { commands, inbound, mut bytes, .. } = *early;
        if let Some(commands) = commands {
            let end = self.hear_rest(row, commands);
            let commands = self.work.unheard.take();
            if let Some((code, reason, cause)) = end {
                self.end_by_peer(row, code, reason, cause);
                self.perform_effects();
            } else if self.sockets[row as usize].state != State::Free {
                self.put_early(row, Early { commands, inbound, bytes, parked: 0 });
            }
            return true;
        }
        let rest = bytes.split_off(count_max.min(bytes.len()));
        if !inbound.is_idle() {
            let message = Message::new(inbound, self.work.now);
            self.put_half(row, Half::Message(Box::new(message)));
        }
        self.read_frames(row, &mut bytes);
        if !rest.is_empty() && self.sockets[row as usize].state == State::Open {
            let mut early = match self.take_half(row) {
                Some(Half::Early(early)) => early,
                Some(Half::Message(message)) => {
                    Box::new(Early { inbound: message.inbound, ..Early::default() })
                }
                _ => Box::default(),
            };
            early.bytes.extend_from_slice(&rest);
            self.put_half(row, Half::Early(early));
        }
        true
    }

    /// Keeps what is left behind commands that were heard, if anything is.
    fn put_early(&mut self, row: u32, mut early: Early) {
        let parked = self.hub.parked_count(row);
        if parked > 0 {
            early.parked = parked * COMMAND_BYTES + self.work.command_bytes;
        }
        if early.commands.is_some() || !early.bytes.is_empty() || parked > 0 {
            self.put_half(row, Half::Early(Box::new(early)));
        } else if !early.inbound.is_idle() {
            let message = Message::new(early.inbound, self.work.now);
            self.put_half(row, Half::Message(Box::new(message)));
        }
    }

    pub(super) fn read(&mut self, row: u32, may_be_at_end: bool) {
        for _ in 0..READS_MAX {
            if !self.may_read(row) {
                return;
            }
            let input_max = self.input_max(row);
            if self.read_early(row, input_max) {
                continue;
            }
            let mut input = std::mem::take(&mut self.work.input);
            let fd = self.sockets[row as usize].fd;
            let result = self.net.receive(fd, &mut input[..input_max]);
            let is_last = match result {
                Ok(0) => {
                    self.handle_end(row);
                    true
                }
                Ok(count) => {
                    if count == input_max {
                        self.hub.note_work(READ_WORK);
                    }
                    self.hear(row, &mut input[..count]);
                    count < input_max && !may_be_at_end
                }
                Err(error) => {
                    if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) {
                        self.lose(row);
                    }
                    true
                }
            };
            self.work.input = input;
            if is_last {
                return;
            }
            if self.are_others_ready() {
                break;
            }
        }
        self.make_ready(row);
    }

    fn may_read(&mut self, row: u32) -> bool {
        let socket = &mut self.sockets[row as usize];
        match socket.state {
            State::Free | State::Joining => return false,
            State::Handshake if !socket.is(IS_ADMITTED) => {
                if !self.admission.has_credit() {
                    if !socket.is(IS_READY) {
                        socket.set(IS_READY, true);
                        self.admission.wait(row, self.hub.client_id(row).generation);
                    }
                    return false;
                }
                socket.set(IS_ADMITTED, true);
                self.admission.spend();
            }
            State::Handshake | State::Open | State::Closing | State::Lingering => {}
        }
        let must_wait = match self.sockets[row as usize].state {
            State::Open => !self.has_time_for(row) || self.lacks_room(),
            State::Handshake => self.are_links_full(),
            _ => false,
        };
        if must_wait {
            self.metrics.reads_deferred.increment();
            self.make_ready(row);
            return false;
        }
        let may_read = self.hub.is_audible(row) || self.sockets[row as usize].state != State::Open;
        if !may_read && !self.sockets[row as usize].is(IS_READY) {
            self.metrics.reads_paused.increment();
            self.sockets[row as usize].set(IS_READY, true);
            self.work.paused.insert(row);
        }
        may_read
    }

    /// A connection that was not to be read may be again.
    pub(super) fn handle_audible(&mut self, row: u32) {
        let is_open = self.sockets[row as usize].state == State::Open;
        if (!is_open || self.hub.is_audible(row)) && self.work.paused.remove(&row) {
            self.sockets[row as usize].set(IS_READY, false);
            self.make_ready(row);
        }
    }

    /// Whether this turn has time to hear more of a connection.
    fn has_time_for(&mut self, row: u32) -> bool {
        self.has_time() && !(self.hub.variant(row).is_managed() && self.hub.has_had_share(row))
    }

    /// Whether more of the commands that a connection has sent are to be heard in this turn.
    pub(super) fn may_go_on(&mut self, row: u32) -> bool {
        !self.hub.variant(row).is_managed() || self.has_time_for(row) && self.hub.is_audible(row)
    }

    fn hear(&mut self, row: u32, input: &mut [u8]) {
        self.metrics.bytes_received.add(input.len() as u64);
        let socket = &mut self.sockets[row as usize];
        socket.last_seen = self.work.now;
        socket.set(PINGED, false);
        match socket.state {
            State::Handshake => self.read_head(row, input),
            State::Open => self.read_frames(row, input),
            State::Closing if !socket.is(PEER_CLOSED) => self.read_frames(row, input),
            State::Free | State::Joining | State::Closing | State::Lingering => {}
        }
    }

    /// Takes the frames of some input, in order.
    pub(super) fn read_frames(&mut self, row: u32, mut input: &mut [u8]) {
        let now = self.work.now;
        let mut message = match self.take_half(row) {
            Some(Half::Message(message)) => message,
            _ => Box::new(Message::new(Inbound::default(), now)),
        };
        let mut replies = std::mem::take(&mut self.work.replies);
        let limits = self.settings.limits;
        let (mut end, mut waits) = (None, false);
        while end.is_none() && !waits {
            match message.inbound.read(input, &limits) {
                Err(error) => {
                    end = Some((error.close_code(), error.reason(), Cause::ProtocolError));
                    break;
                }
                Ok(step) => {
                    let consumed = step.consumed;
                    let Some(item) = step.item else { break };
                    let is_whole = matches!(item, Item::Message { .. });
                    end = self.handle_item(row, &item, &mut replies);
                    if is_whole {
                        message.end(now);
                    }
                    input = &mut input[consumed..];
                    if self.sockets[row as usize].is(PEER_CLOSED) {
                        break;
                    }
                    waits = end.is_none() && !self.may_go_on(row);
                }
            }
        }
        // Nothing follows a close frame that the hub has queued meanwhile.
        if !replies.is_empty() && self.sockets[row as usize].state == State::Open {
            self.reply(row, &replies);
        }
        replies.clear();
        self.work.replies = replies;
        let commands = self.work.unheard.take();
        match end {
            Some((code, reason, cause)) => self.end_by_peer(row, code, reason, cause),
            None if self.sockets[row as usize].fd < 0 => {}
            None if waits => self.wait_behind(row, message.inbound, commands, input),
            None if !message.inbound.is_idle() => self.keep_half(row, Half::Message(message)),
            None => {}
        }
        self.perform_effects();
    }

    /// Commands wait: so does what is behind them.
    fn wait_behind(
        &mut self,
        row: u32,
        inbound: Inbound,
        commands: Option<Commands>,
        input: &[u8],
    ) {
        let inbound = if inbound.is_idle() { Inbound::default() } else { inbound };
        let early = Early { commands, inbound, bytes: input.to_vec(), parked: 0 };
        self.put_early(row, early);
        self.limit_halves(row);
        self.make_ready(row);
    }

    /// One message or control frame. Returns how to close if it asks for that.
    fn handle_item(
        &mut self,
        row: u32,
        item: &Item<'_>,
        replies: &mut Vec<u8>,
    ) -> Option<(CloseCode, &'static str, Cause)> {
        let socket = self.sockets[row as usize];
        let is_open = socket.state == State::Open;
        match *item {
            Item::Message { text, payload } if is_open => {
                self.metrics.messages_received.increment();
                let variant = self.hub.variant(row);
                if variant.is_managed() {
                    return self.hear_managed(row, variant, payload);
                } else if socket.is(IS_ECHO) {
                    let opcode = if text { Opcode::Text } else { Opcode::Binary };
                    encode_frame(opcode, payload, replies);
                } else {
                    let payload = Bytes::copy_from_slice(payload);
                    self.hub.raise(row, EventKind::Message { text, payload });
                    self.perform_effects();
                }
            }
            // RFC 6455 §5.5.2: a pong has the payload of its ping.
            Item::Ping(payload) if is_open => encode_frame(Opcode::Pong, payload, replies),
            Item::Message { .. } | Item::Ping(_) | Item::Pong(_) => {}
            Item::Close { code, .. } => {
                // RFC 6455 §5.5.1: the answer echoes the code.
                self.sockets[row as usize].set(PEER_CLOSED, true);
                if is_open {
                    self.sockets[row as usize].close_code = code.unwrap_or(NO_STATUS.0);
                }
                return Some((code.map_or(NO_STATUS, CloseCode), "", Cause::Peer));
            }
        }
        None
    }

    pub(super) fn end_by_peer(&mut self, row: u32, code: CloseCode, reason: &str, cause: Cause) {
        let socket = &mut self.sockets[row as usize];
        socket.set(PEER_CLOSED, true);
        match socket.state {
            State::Open => self.hub.close(row, code, reason, cause),
            State::Closing => self.work.farewells.push((row, self.hub.client_id(row).generation)),
            State::Free | State::Handshake | State::Joining | State::Lingering => {}
        }
    }
}
