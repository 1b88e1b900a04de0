//! What the ingest thread does in one turn: hears shards, receives from backends, answers.

use std::sync::Arc;

use crate::ingest::event::Outputs;
use crate::ingest::monitor::Monitor;
use crate::ingest::peers::Peers;
use crate::ingest::pending::{Asked, Expiry, REQUESTS_MAX, Request};
use crate::ingest::receive::{Received, Receiver};
use crate::ingest::source::Sources;
use crate::ingest::{Clock, Kind};
use crate::mesh::{Failure, Inbox, Outbound, Requester, Weight};
use crate::metrics::{Counter, IngestMetrics};
use crate::model::{Command, CommandError};
use crate::protocol::{Accepted, DecodeError, Decoded, Malformed, decode_parts, encode_answer};
use crate::sys::Complaints;

/// How much one socket may deliver in one turn: messages, their bytes, and the channels that they
/// name, of which each takes about as long as a message. Then the next socket has its chance.
const MESSAGES_PER_TURN: usize = 64;
const BYTES_PER_TURN: usize = 1 << 20;
const CHANNELS_PER_TURN: usize = 1024;

/// At the end: how many turns at once, before anybody else has one.
const FAREWELL_TURNS: usize = 16;

/// Most answers and events that are taken from one shard in one turn.
const HEARD_PER_TURN: usize = 1024;

/// A socket that commands come in on.
pub(super) struct Input {
    pub(super) socket: zmq::Socket,
    pub(super) kind: Kind,
    pub(super) address: String,
    /// Its place among all endpoints.
    pub(super) endpoint: usize,
}

/// Everything the thread keeps between turns but the sockets, which waiting has to borrow.
pub(super) struct State {
    pub(super) requester: Requester<Request>,
    pub(super) expiry: Expiry,
    /// How many channels lists have named since the present socket's share began.
    pub(super) share: usize,
    pub(super) inbox: Inbox<Outbound>,
    pub(super) clock: Clock,
    pub(super) sources: Sources,
    pub(super) complaints: Complaints,
    pub(super) peers: Peers,
    pub(super) metrics: Arc<IngestMetrics>,
    /// Whether clients are gone, and what comes is refused.
    pub(super) is_ending: bool,
}

/// The codes and texts of answers that the ingest thread itself gives.
const OVERLOADED: (&str, &str) =
    ("overloaded", "too many requests wait for their answer; send again later");
const DUPLICATE: (&str, &str) =
    ("duplicate", "a message with this `seq` of its `src` came before; this one does nothing");
const TIMEOUT: (&str, &str) =
    ("timeout", "not every shard answered in time; the command may have been carried out");

impl State {
    /// Takes in what shards said, and passes on what waits for them.
    pub(super) fn exchange(&mut self, inputs: &[Input], outputs: &Outputs) {
        self.hear(inputs, outputs);
        self.expire(inputs);
        self.requester.retry();
        self.requester.ring();
    }

    /// Takes in what shards said.
    pub(super) fn hear(&mut self, inputs: &[Input], outputs: &Outputs) {
        for queue in 0..self.inbox.queue_count() {
            for _ in 0..HEARD_PER_TURN {
                match self.inbox.receive(queue) {
                    Some(Outbound::Answer(answer)) => {
                        if let Some((request, gathered)) = self.requester.hear(answer) {
                            let (asked, result) = request.answered(gathered);
                            self.answer_command(inputs, &asked, &result);
                        }
                    }
                    Some(Outbound::Failed(failure, count)) => self.note_failure(&failure, count),
                    Some(Outbound::Event(event)) => {
                        self.inbox.note_taken(queue, Weight::of_bytes(event.bytes()));
                        outputs.publish(&event, &self.metrics);
                    }
                    // Whoever asked for the drain waits for it; events may follow from others.
                    None => break,
                }
            }
        }
    }

    /// Receives a batch from one socket, until a link is full. Returns how many messages it has.
    // HOT PATH 1/6: a batch of messages, in parts that are used again.
    pub(super) fn receive(
        &mut self,
        receiver: &mut Receiver,
        inputs: &[Input],
        place: usize,
    ) -> usize {
        let input = &inputs[place];
        let now_nanos = (self.clock)();
        let mut bytes_left = BYTES_PER_TURN;
        self.share = 0;
        for count in 0..MESSAGES_PER_TURN {
            let Some(received) = receiver.receive(&input.socket, input.kind) else {
                self.peers.note_empty(input.endpoint);
                return count;
            };
            match input.kind {
                Kind::Sub => self.metrics.messages_sub.increment(),
                Kind::Pull => self.metrics.messages_pull.increment(),
                Kind::Router | Kind::Pub | Kind::Xpub => self.metrics.messages_router.increment(),
            }
            self.metrics.bytes.add(received.bytes as u64);
            self.metrics.surplus_parts.add(received.surplus as u64);
            self.handle_message(inputs, place, &received, now_nanos);
            let bytes = received.bytes;
            self.peers.note_message(input.endpoint, bytes);
            let routing_id = received.sender.map(|sender| sender.identity);
            if self.peers.asks_for_source(input.endpoint, routing_id) {
                let routing_id = routing_id.map(Box::<[u8]>::from);
                if let Some(fd) = receiver.source() {
                    let source = (fd, routing_id.as_deref());
                    self.peers.note_source(input.endpoint, source, (&self.complaints, now_nanos));
                }
            }
            bytes_left = bytes_left.saturating_sub(bytes);
            let is_stalled = self.requester.is_stalled() && !self.is_ending;
            self.metrics.link_stalls.add(u64::from(is_stalled));
            if is_stalled || self.share >= CHANNELS_PER_TURN || bytes_left == 0 {
                return count + 1;
            }
        }
        MESSAGES_PER_TURN
    }

    fn handle_message(
        &mut self,
        inputs: &[Input],
        place: usize,
        received: &Received<'_>,
        now_nanos: u64,
    ) {
        let asked = |rid| {
            received.sender.as_ref().map(|sender| Asked {
                input: place,
                identity: sender.identity.into(),
                delimiter: sender.delimiter,
                rid,
            })
        };
        match decode_parts(&received.parts[..received.part_count], now_nanos) {
            Ok(Decoded { rid, .. }) if self.is_ending => match asked(rid) {
                Some(asked) => self.answer_command(inputs, &asked, &Err(CommandError::Draining)),
                None => self.metrics.refused_draining.increment(),
            },
            Ok(Decoded { command, rid, source, .. }) => {
                let asked = asked(rid);
                if let Some(asked) = &asked
                    && self.requester.len() >= REQUESTS_MAX
                {
                    // Its number is not noted, so that it may be sent again as it was.
                    self.metrics.requests_refused.increment();
                    return self.answer(inputs, asked, Err(OVERLOADED));
                }
                let is_new = source.is_none_or(|(source, sequence)| {
                    self.sources.observe(source, sequence, &self.metrics)
                });
                match asked {
                    Some(asked) if is_new => self.ask(inputs, asked, command, now_nanos),
                    Some(asked) => self.answer(inputs, &asked, Err(DUPLICATE)),
                    None if is_new => self.tell(command),
                    None => {}
                }
            }
            Err(Malformed { error, rid, source }) => {
                if let Some((source, sequence)) = source {
                    self.sources.observe(source, sequence, &self.metrics);
                }
                self.metrics.malformed.increment();
                match asked(rid) {
                    Some(asked) => {
                        let message = error.to_string();
                        self.answer(inputs, &asked, Err((error.code(), message.as_str())));
                    }
                    None => self.complain(&inputs[place], &error, now_nanos),
                }
            }
        }
    }

    /// Sends a command on its way for somebody who waits for its answer.
    fn ask(&mut self, inputs: &[Input], asked: Asked, command: Command, now_nanos: u64) {
        self.share += command.listed_channels();
        let is_broadcast = matches!(command, Command::Broadcast { .. });
        let request = Request::new(asked, is_broadcast, now_nanos);
        if let Err((request, error)) = self.requester.ask(command, request) {
            self.answer_command(inputs, &request.refused(), &Err(error));
        }
    }

    /// Sends a command on its way that nobody waits for.
    fn tell(&mut self, command: Command) {
        self.share += command.listed_channels();
        if let Err(error) = self.requester.tell(command) {
            self.note_failure(&Failure { error, channel: None }, 1);
        }
    }

    /// Answers requests that have waited too long.
    pub(super) fn expire(&mut self, inputs: &[Input]) {
        if self.requester.is_empty() {
            return;
        }
        for asked in self.expiry.expire(&mut self.requester, (self.clock)()) {
            self.metrics.refused_timeout.increment();
            self.answer(inputs, &asked, Err(TIMEOUT));
        }
    }

    /// Takes in what libzmq tells of an endpoint's connections.
    pub(super) fn hear_monitor(&mut self, monitor: &Monitor, place: usize) {
        let now_nanos = (self.clock)();
        self.peers.hear(monitor, place, (&self.complaints, now_nanos));
    }

    /// Looks at all connections now and then.
    pub(super) fn check_peers(&mut self) {
        let now_nanos = (self.clock)();
        self.peers.check((&self.complaints, now_nanos));
    }

    /// There are no clients any more. Whoever only sends is disconnected: what it has sent by now
    /// comes still, the rest stays with it for the next edge.
    pub(super) fn say_farewell(&mut self, inputs: &[Input]) {
        self.is_ending = true;
        for input in inputs.iter().filter(|input| input.kind != Kind::Router) {
            self.peers.dismiss(input.endpoint);
        }
    }

    /// Receives what has come. Returns whether anything may come at once.
    pub(super) fn refuse_what_came(
        &mut self,
        receiver: &mut Receiver,
        (inputs, monitors): (&[Input], &[Monitor]),
    ) -> bool {
        for (place, monitor) in monitors.iter().enumerate() {
            self.hear_monitor(monitor, place);
        }
        let mut has_come = || {
            let places = 0..inputs.len();
            places.map(|place| self.receive(receiver, inputs, place)).sum::<usize>() > 0
        };
        let turns = (0..FAREWELL_TURNS).take_while(|_| has_come()).count();
        turns > 0 || self.peers.is_anything_unread()
    }

    /// Whether everybody who asked has an answer.
    pub(super) fn has_answered_all(&self) -> bool {
        self.requester.is_empty() && !self.requester.is_stalled() && self.inbox.is_empty()
    }

    /// Answers everybody who still waits when the thread has no more time. If it was not quiet at
    /// last, more was on its way.
    pub(super) fn dismiss(&mut self, inputs: &[Input], is_quiet: bool) {
        let left: Vec<_> = self.requester.give_up(|_| true).map(Request::refused).collect();
        for asked in left {
            self.metrics.refused_timeout.increment();
            self.answer(inputs, &asked, Err(TIMEOUT));
        }
        let count = self.metrics.refused_draining.value();
        if count > 0 {
            tracing::warn!(count, is_quiet, "commands refused: {}", CommandError::Draining);
        }
    }

    fn answer_command(
        &self,
        inputs: &[Input],
        asked: &Asked,
        result: &Result<Accepted, CommandError>,
    ) {
        match result {
            Ok(accepted) => self.answer(inputs, asked, Ok(accepted)),
            Err(error) => {
                refusals(&self.metrics, *error).increment();
                self.answer(inputs, asked, Err((error.code(), &error.to_string())));
            }
        }
    }

    fn answer(&self, inputs: &[Input], asked: &Asked, result: Result<&Accepted, (&str, &str)>) {
        let socket = &inputs[asked.input].socket;
        let body = encode_answer(asked.rid.as_ref(), result);
        // Never waits. Only the first part can fail: the peer is gone, or does not read.
        let sent = socket.send(&*asked.identity, zmq::DONTWAIT | zmq::SNDMORE);
        let sent = match asked.delimiter {
            true => sent.and_then(|()| socket.send("", zmq::DONTWAIT | zmq::SNDMORE)),
            false => sent,
        };
        match sent.and_then(|()| socket.send(body, zmq::DONTWAIT)) {
            Ok(()) => self.metrics.answers.increment(),
            Err(_) => self.metrics.answers_lost.increment(),
        }
    }

    /// Counts commands that failed and that nobody waits for, and says so.
    fn note_failure(&self, failure: &Failure, count: u64) {
        let Failure { error, channel } = failure;
        refusals(&self.metrics, *error).add(count);
        if let Some(suppressed) = self.complaints.admit((self.clock)()) {
            let (code, channel) = (error.code(), channel.as_ref().map(|name| name.as_str()));
            tracing::warn!(code, channel, count, suppressed, "command refused: {error}");
        }
    }

    fn complain(&self, input: &Input, error: &DecodeError, now_nanos: u64) {
        if let Some(suppressed) = self.complaints.admit(now_nanos) {
            let code = error.code();
            tracing::warn!(endpoint = %input.address, code, suppressed, "message refused: {error}");
        }
    }
}

fn refusals(metrics: &IngestMetrics, error: CommandError) -> &Counter {
    match error {
        CommandError::UnknownClient => &metrics.refused_unknown_client,
        CommandError::ChannelLimit => &metrics.refused_channel_limit,
        CommandError::SubscriberLimit => &metrics.refused_subscriber_limit,
        CommandError::UnknownNamespace => &metrics.refused_unknown_namespace,
        CommandError::NoHistory | CommandError::NoPresence => &metrics.refused_not_available,
        CommandError::UnrecoverablePosition(_) => &metrics.refused_position,
        CommandError::TooLarge => &metrics.refused_too_large,
        CommandError::Draining => &metrics.refused_draining,
    }
}
