//! What clients have sent that is not carried out: requests and messages that have come in part,
//! and commands that wait. For how long it may stay so, and who gives it up when all of it takes
//! too much memory.
//!
//! Those of whom most is kept go first, and of those of whom about as much is kept the one that was
//! heard least recently. So a connection of which little is kept is closed only when nobody has
//! sent more, whoever of them is read at that moment.

use std::sync::Arc;

use crate::http::handshake::Accepted;
use crate::http::{About, Refusal};
use crate::hub::{Cause, Id, Place, Ranked, Ranks, Rows, SIZES, size_rank};
use crate::settings::{Allowance, Budget};
use crate::shard::socket::{Socket, State};
use crate::shard::{Net, Shard};
use crate::wheel::Tick;
use crate::ws::close::CloseCode;
use crate::ws::inbound::Inbound;

/// A message that is not whole at its deadline has another one if so much of it came meanwhile.
const PROGRESS_BYTES_MIN: usize = 64 * 1024;

/// What somebody is told whose request is given up.
const TOO_MUCH: Refusal =
    Refusal::unavailable(About::Limit, "Too many requests have come in part.", 1);

/// What is half read of a connection; exists only while something is.
#[derive(Debug, Default)]
pub(super) enum Half {
    /// The row is free.
    #[default]
    Nothing,
    /// The head of a request as far as it came.
    Head(Vec<u8>),
    /// A valid request whose answer waits for the hub, and what the client sent right after it.
    Accepted(Box<(Accepted, Vec<u8>)>),
    /// What a client has sent that must wait: right behind its request until the connection's turn
    /// to be read, or commands until there is time for them, and what is behind them.
    Early(Box<Early>),
    /// A frame or message as far as it came.
    Message(Box<Message>),
}

/// What has come and must wait.
#[derive(Debug, Default)]
pub(super) struct Early {
    /// The rest of a message whose first commands were heard.
    pub(super) commands: Option<Commands>,
    /// How much there was before `bytes` of the frame or message that they go on with.
    pub(super) inbound: Inbound,
    /// What was not looked at.
    pub(super) bytes: Vec<u8>,
    /// How much memory commands take that were heard before it and wait too.
    pub(super) parked: usize,
}

/// A message of commands of which some were heard.
#[derive(Debug)]
pub(super) struct Commands {
    /// What was left of it when it was kept.
    pub(super) message: Vec<u8>,
    /// How much of that has been heard since.
    pub(super) heard: usize,
    /// How many commands of the message were heard.
    pub(super) count: usize,
}

/// A frame or message as far as it came.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) inbound: Inbound,
    /// When it began, or was granted more time.
    pub(super) since: Tick,
    /// How much of it had come by then.
    seen: usize,
}

impl Message {
    /// A message that begins, or goes on after what was kept elsewhere.
    pub(super) fn new(inbound: Inbound, now: Tick) -> Self {
        Self { inbound, since: now, seen: 0 }
    }

    /// The message is whole; what follows is another one.
    pub(super) fn end(&mut self, now: Tick) {
        (self.since, self.seen) = (now, 0);
    }
}

impl Half {
    /// How much memory it takes.
    fn held(&self) -> Held {
        let mut held = Held::default();
        match self {
            Self::Nothing => {}
            Self::Head(head) => held.heads = head.capacity(),
            Self::Accepted(accepted) => held.heads = accepted.1.capacity(),
            Self::Early(early) => {
                held.messages = early.inbound.bytes() + early.bytes.capacity();
                let commands = early.commands.as_ref();
                held.commands = early.parked;
                held.commands += commands.map_or(0, |commands| commands.message.capacity());
            }
            Self::Message(message) => held.messages = message.inbound.bytes(),
        }
        held
    }
}

/// How much memory is taken by what.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    heads: usize,
    messages: usize,
    commands: usize,
}

impl Held {
    fn sum(self) -> usize {
        self.heads + self.messages + self.commands
    }
}

/// What is kept, and of whom.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) half: Half,
    connection: u32,
    place: Place<Self>,
}

impl Ranked for Kept {
    fn place(&mut self) -> &mut Place<Self> {
        &mut self.place
    }
}

/// What is half read of all connections.
#[derive(Debug)]
pub(super) struct Halves {
    pub(super) rows: Rows<Kept>,
    ranks: Ranks<Kept, SIZES>,
    /// How much memory all of them take.
    held: Held,
    /// How much they may take.
    allowance: Allowance,
}

impl Halves {
    /// Nothing, and what it may become.
    pub(super) fn new(allowance: Allowance) -> Self {
        let (rows, ranks, held) = (Rows::default(), Ranks::default(), Held::default());
        Self { rows, ranks, held, allowance }
    }

    /// So much may be kept from here on.
    pub(super) fn configure(&mut self, budget: &Arc<Budget>) {
        self.allowance.configure(budget);
    }

    /// Gives back what is not needed of what was borrowed from other shards.
    pub(super) fn give_back(&mut self) {
        self.allowance.give_back(self.held.sum());
    }
}

impl Halves {
    /// Whether each is of a connection that knows of it, and counted.
    pub(super) fn audit(&self, sockets: &[Socket]) -> Result<(), String> {
        let (mut count, mut held) = (0, 0);
        for (row, socket) in (0..).zip(sockets).filter(|(_, it)| it.half != Id::NONE) {
            let kept = self.rows.get(socket.half).filter(|kept| kept.connection == row);
            let Some(kept) = kept else {
                return Err(format!("connection {row} has what is half read of another"));
            };
            count += 1;
            held += kept.half.held().sum();
        }
        if (count, held) == (self.rows.len(), self.held.sum()) {
            return Ok(());
        }
        Err(format!("{held} bytes are half read of {count}, and others are counted"))
    }
}

impl<N: Net> Shard<N> {
    /// Keeps what is half read of a connection. If all of it is too much, those with most of it are
    /// closed.
    pub(super) fn keep_half(&mut self, row: u32, half: Half) {
        self.put_half(row, half);
        self.limit_halves(row);
    }

    /// What is half read of a connection has become more.
    pub(super) fn limit_halves(&mut self, row: u32) {
        self.arm_message_deadline(row);
        self.shed_halves();
    }

    /// While what is half read takes too much memory, closes those with most of it.
    pub(super) fn shed_halves(&mut self) {
        while !self.halves.allowance.covers(self.halves.held.sum())
            && let Some((_, largest)) = self.halves.ranks.first()
        {
            self.give_up_half(self.halves.rows[largest].connection);
        }
    }

    fn give_up_half(&mut self, row: u32) {
        self.take_half(row);
        match self.sockets[row as usize].state {
            State::Handshake => self.refuse(row, &TOO_MUCH),
            // Channels are being joined: there is nothing to answer yet.
            State::Joining => {
                self.metrics.handshakes_displaced.increment();
                self.teardown(row);
            }
            State::Free | State::Open | State::Closing | State::Lingering => {
                let reason = "too much has come in part or waits";
                self.end_by_peer(row, CloseCode::TRY_AGAIN_LATER, reason, Cause::HalfRead);
            }
        }
    }

    /// Keeps what is half read of a connection.
    pub(super) fn put_half(&mut self, row: u32, half: Half) {
        let held = half.held();
        let socket = &mut self.sockets[row as usize];
        let mut before = Held::default();
        if socket.half == Id::NONE {
            let kept = Kept { half, connection: row, place: Place::default() };
            socket.half = self.halves.rows.insert(kept);
        } else {
            let kept = &mut self.halves.rows[socket.half];
            before = std::mem::replace(&mut kept.half, half).held();
        }
        self.halves.ranks.set(&mut self.halves.rows, socket.half, size_rank(held.sum()));
        self.note_held(before, held);
    }

    /// What is half read of a connection, which holds nothing from here on.
    pub(super) fn take_half(&mut self, row: u32) -> Option<Half> {
        let half = std::mem::replace(&mut self.sockets[row as usize].half, Id::NONE);
        if half == Id::NONE {
            return None;
        }
        self.halves.ranks.remove(&mut self.halves.rows, half);
        let half = self.halves.rows.remove(half).half;
        self.note_held(half.held(), Held::default());
        Some(half)
    }

    fn note_held(&mut self, before: Held, after: Held) {
        let (held, metrics) = (&mut self.halves.held, &self.metrics);
        for (sum, before, after, gauge) in [
            (&mut held.heads, before.heads, after.heads, &metrics.head_bytes),
            (&mut held.messages, before.messages, after.messages, &metrics.half_bytes),
            (&mut held.commands, before.commands, after.commands, &metrics.commands_parked_bytes),
        ] {
            if before != after {
                *sum = *sum + after - before;
                gauge.set(*sum as i64);
            }
        }
    }

    /// When a message that has begun must be whole.
    pub(super) fn message_due(&self, row: u32) -> Option<Tick> {
        let half = self.sockets[row as usize].half;
        match self.halves.rows.get(half)?.half {
            Half::Message(ref message) => {
                Some(message.since.plus(self.settings.message_deadline.0))
            }
            _ => None,
        }
    }

    fn arm_message_deadline(&mut self, row: u32) {
        if self.sockets[row as usize].state == State::Open
            && let Some(due) = self.message_due(row)
            && self.wheel.deadline(row).is_some_and(|armed| armed.is_after(due))
        {
            self.wheel.insert_or_move(row, due);
        }
    }

    /// Looks at the age of a message that has come in part, if that is due. Returns false if the
    /// connection was closed for it.
    pub(super) fn check_message(&mut self, row: u32) -> bool {
        if self.message_due(row).is_none_or(|due| due.is_after(self.work.now)) {
            return true;
        }
        let is_heard = self.is_heard(row);
        let half = self.sockets[row as usize].half;
        let Half::Message(message) = &mut self.halves.rows[half].half else { return true };
        let received = message.inbound.received();
        if !is_heard || received >= message.seen + PROGRESS_BYTES_MIN {
            (message.since, message.seen) = (self.work.now, received);
            return true;
        }
        self.take_half(row);
        let reason = "a message took too long";
        self.end_by_peer(row, CloseCode::POLICY_VIOLATION, reason, Cause::HalfRead);
        self.perform_effects();
        false
    }
}
