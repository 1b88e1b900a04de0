//! The life of a connection: attached, joining its channels, open, closing, gone.

use std::sync::Arc;

use crate::hub::delivery::connection::{
    ANNOUNCED, BLOCKED, Connection, HAS_USER, IS_DETACHED_FROM_ALL, Phase,
};
use crate::hub::rows::Id;
use crate::hub::{Cause, Effect, Hub, Joining, Then};
use crate::mesh::{Enter, Envelope, Refusal};
use crate::model::{ChannelGrant, ChannelName, ClientId, CommandError, EventKind, Overrides};
use crate::ws::close::{CloseCode, encode_close};
use crate::ws::frame::{Opcode, encode_frame};

/// What a connection asks for in its opening handshake.
#[derive(Debug, Default)]
pub struct Session {
    /// The personal channel of its user.
    pub personal: Option<ChannelName>,
    /// Which of the user's devices it is.
    pub device: Option<Box<str>>,
    /// The channels it joins, without duplicates.
    pub channels: Vec<ChannelName>,
    /// Those of them that it has otherwise than their namespace says.
    pub overrides: Vec<(ChannelName, Overrides)>,
    /// What its token says for backends alone, as JSON.
    pub meta: Option<Arc<str>>,
    /// The Unix second in which its token was made, 0 if the token does not say; `None` without a
    /// token.
    pub issued_at: Option<u64>,
    /// The Unix second at which it expires, if it does.
    pub expires_at: Option<u64>,
    /// Whether it stays out of broadcasts to everybody and raises no events (the echo door).
    pub is_apart: bool,
}

impl Hub {
    /// A socket has been accepted; `token` is the shell's word for it.
    pub fn attach(&mut self, token: i32) -> u32 {
        let generation = self.delivery.next_generation();
        let connection =
            Connection { token, generation, phase: Phase::Attached, ..Connection::default() };
        self.delivery.connections.insert(connection).number()
    }

    /// A valid opening handshake has been read. [`Effect::Opened`] follows when every home has
    /// confirmed: whatever is published after the client sees its handshake completed reaches it.
    pub fn enter(&mut self, row: u32, session: Session) {
        let row = Id::new(row);
        let joining_row = self.joinings.insert(Joining::new(Then::Open(row)));
        self.openings.insert(row, joining_row);
        let connection = &mut self.delivery.connections[row];
        connection.phase = Phase::Joining;
        connection.set(IS_DETACHED_FROM_ALL, session.is_apart);
        connection.set(HAS_USER, session.personal.is_some());
        if let Some(device) = &session.device {
            self.devices.insert(row, device.clone());
        }
        if let Some(meta) = session.meta {
            self.metas.insert(row, meta);
        }
        if let Some(at) = session.expires_at {
            self.raw_expiries.insert(row, at);
        }
        if let Some(personal) = session.personal {
            let joining = &mut self.joinings[joining_row];
            joining.remaining += 1;
            joining.awaits_entry = true;
            self.begin_session(row, personal.clone(), session.device, session.issued_at);
            self.subscribe(row, personal, &ChannelGrant::default(), joining_row);
        }
        for channel in session.channels {
            let overrides = session.overrides.iter().find(|(name, _)| *name == channel);
            let overrides = overrides.map(|(_, overrides)| *overrides).unwrap_or_default();
            let grant = ChannelGrant { overrides, ..ChannelGrant::default() };
            self.subscribe(row, channel, &grant, joining_row);
        }
        self.arrive(joining_row);
        self.run_local();
    }

    /// Asks the user's home to admit a session.
    pub(super) fn begin_session(
        &mut self,
        row: Id<Connection>,
        personal: ChannelName,
        device: Option<Box<str>>,
        issued_at: Option<u64>,
    ) {
        let client = self.identity(row);
        let home = self.context.site.homes.of(&personal);
        let enter = Enter { personal, client, device, issued_at };
        self.context.post(home, Envelope::Enter(Box::new(enter)));
    }

    /// One answer that somebody waited for has come.
    pub(super) fn arrive(&mut self, joining: Id<Joining>) {
        self.joinings[joining].remaining -= 1;
        if self.joinings[joining].remaining > 0 {
            return;
        }
        let Joining { then, error, .. } = self.joinings.remove(joining);
        match then {
            Then::Nothing => {}
            Then::Open(row) => self.open(row),
            Then::Connect(row) => self.complete_connect(row),
            Then::Answer(ticket) => self.context.answer(ticket, false, 0, error.map_or(Ok(1), Err)),
        }
    }

    fn open(&mut self, row: Id<Connection>) {
        self.openings.remove(&row);
        let connection = &mut self.delivery.connections[row];
        connection.phase = Phase::Open;
        let is_apart = connection.is(IS_DETACHED_FROM_ALL);
        connection.set(ANNOUNCED, !is_apart);
        let mut next = connection.subscriptions;
        while next != Id::NONE {
            let subscription = self.delivery.subscriptions[next];
            self.delivery.begin_at_head(subscription.channel, subscription.member);
            next = self.delivery.next_of(row, next);
        }
        if !is_apart {
            self.delivery.join_everyone(&self.context, row);
        }
        self.context.effects.push_back(Effect::Opened(row.number()));
        if !is_apart {
            self.report(row, EventKind::Connected);
        }
    }

    /// Member side: the home has answered about a session.
    pub(super) fn handle_entered(&mut self, client: ClientId, refusal: Option<Refusal>) {
        let Some(row) = self.row_of(client) else { return };
        let Some(joining) = self.joining_of(row) else { return };
        match refusal {
            None => {
                self.joinings[joining].awaits_entry = false;
                self.arrive(joining);
            }
            Some(refusal) if self.delivery.connections[row].phase == Phase::Joining => {
                self.refuse(row, refusal);
            }
            Some(Refusal::Revoked) => {
                let code = CloseCode::INVALID_TOKEN;
                self.begin_close(row, code, "invalid token", Cause::ProtocolError);
            }
            Some(Refusal::Disconnected) => {
                let code = CloseCode::FORCE_NO_RECONNECT;
                self.begin_close(row, code, "disconnected", Cause::Command);
            }
            Some(Refusal::SessionLimit | Refusal::SubscriberLimit) => {
                let code = CloseCode::NO_ROOM;
                self.begin_close(row, code, "too many sessions", Cause::Evicted);
            }
        }
    }

    /// What waits for homes before a connection is known to be open or connected.
    fn joining_of(&self, row: Id<Connection>) -> Option<Id<Joining>> {
        self.openings.get(&row).copied().or_else(|| self.connecting(row))
    }

    /// Member side: a home did not admit a raw connection to a channel. One that is still opening
    /// is refused, any other is not subscribed.
    pub(super) fn refuse_joining(
        &mut self,
        row: Id<Connection>,
        channel: &ChannelName,
        error: CommandError,
    ) {
        match self.delivery.connections[row].phase {
            Phase::Joining if error == CommandError::SubscriberLimit => {
                self.refuse(row, Refusal::SubscriberLimit);
            }
            Phase::Open => self.drop_subscription(row, channel, Cause::Command),
            Phase::Free | Phase::Attached | Phase::Joining | Phase::Closing | Phase::Gone => {}
        }
    }

    /// Member side: a newer session takes this one's place.
    pub(super) fn evict(&mut self, client: ClientId) {
        let Some(row) = self.row_of(client) else { return };
        match self.delivery.connections[row].phase {
            Phase::Joining => self.refuse(row, Refusal::SessionLimit),
            Phase::Open => {
                let code = CloseCode::SESSION_EVICTED;
                self.begin_close(row, code, "replaced by a newer session", Cause::Evicted);
            }
            Phase::Free | Phase::Attached | Phase::Closing | Phase::Gone => {}
        }
    }

    /// A raw connection that is still opening is not admitted.
    pub(super) fn refuse(&mut self, row: Id<Connection>, refusal: Refusal) {
        self.abandon_joining(row);
        self.context.effects.push_back(Effect::Refused(row.number(), refusal));
    }

    fn abandon_joining(&mut self, row: Id<Connection>) {
        let Some(joining) = self.openings.remove(&row) else { return };
        self.delivery.connections[row].phase = Phase::Attached;
        self.joinings[joining].then = Then::Nothing;
        if std::mem::take(&mut self.joinings[joining].awaits_entry) {
            self.arrive(joining);
        }
    }

    /// Ends an open connection: nothing but a close frame (after the rest of a frame that the
    /// socket took in part) will be sent. The shell hears of it as [`Effect::Closing`].
    pub fn close(&mut self, row: u32, code: CloseCode, reason: &str, cause: Cause) {
        self.begin_close(Id::new(row), code, reason, cause);
        self.run_local();
    }

    pub(super) fn begin_close(
        &mut self,
        row: Id<Connection>,
        code: CloseCode,
        reason: &str,
        cause: Cause,
    ) {
        if self.delivery.connections[row].phase != Phase::Open {
            return;
        }
        self.delivery.finish_partial_frame(&self.context, row);
        self.end(row, code, cause);
        let mut frame = Vec::with_capacity(4 + reason.len());
        if code.is_valid_on_wire() {
            encode_close(code, reason, &mut frame);
        } else {
            // The peer gave no code, so the answer has none (RFC 6455 section 7.1.5).
            encode_frame(Opcode::Close, &[], &mut frame);
        }
        self.delivery.append(&self.context, row, &frame);
    }

    /// Ends an open connection without a word: it is owed nothing more.
    pub(super) fn end(&mut self, row: Id<Connection>, code: CloseCode, cause: Cause) {
        self.context.effects.push_back(Effect::Closing(row.number(), code, cause));
        self.abandon_connect(row);
        self.announce_end(row, code.0);
        self.drop_subscriptions(row, cause);
        self.delivery.leave_everyone(&self.context, row, cause);
        self.delivery.connections[row].phase = Phase::Closing;
    }

    /// The socket is closed: the row is free for the next connection, or will be when it has left
    /// all its channels. `code` is what backends hear if they were not told of the end already.
    pub fn detach(&mut self, row: u32, code: u16) {
        let row = Id::new(row);
        self.abandon_joining(row);
        self.abandon_connect(row);
        let outbox = self.delivery.connections[row].outbox;
        if self.delivery.outboxes.get(outbox).is_some_and(|outbox| outbox.unfinished.is_some()) {
            self.context.metrics.deliveries_abandoned.increment();
        }
        self.announce_end(row, code);
        self.drop_subscriptions(row, Cause::Lost);
        self.delivery.leave_everyone(&self.context, row, Cause::Lost);
        if outbox != Id::NONE {
            self.delivery.remove_outbox(&self.context, outbox);
        }
        self.devices.remove(&row);
        self.metas.remove(&row);
        self.raw_expiries.remove(&row);
        self.managed.remove(&row);
        if self.delivery.connections[row].is(BLOCKED) {
            self.context.metrics.lagging.add(-1);
        }
        if self.leavers.has(row) {
            self.delivery.connections[row].phase = Phase::Gone;
            self.delivery.connections[row].outbox = Id::NONE;
        } else {
            self.delivery.connections.remove(row);
        }
        self.run_local();
    }

    /// Backends hear of the end once, while it is still known whose session it was.
    fn announce_end(&mut self, row: Id<Connection>, code: u16) {
        if self.delivery.connections[row].is(ANNOUNCED) {
            self.report(row, EventKind::Disconnected { code });
            self.delivery.connections[row].set(ANNOUNCED, false);
        }
    }

    /// The personal channel of a connection that has a user.
    pub(super) fn personal_of(&self, row: Id<Connection>) -> Option<ChannelName> {
        let connection = &self.delivery.connections[row];
        if !connection.is(HAS_USER) || connection.subscriptions == Id::NONE {
            return None;
        }
        let channel = self.delivery.subscriptions[connection.subscriptions].channel;
        crate::hub::named::Named::name(&self.delivery.channels.rows[channel]).cloned()
    }

    /// Tells backends about something that happened to a connection.
    pub fn raise(&mut self, row: u32, kind: EventKind) {
        self.report(Id::new(row), kind);
    }

    pub(super) fn report(&mut self, row: Id<Connection>, kind: EventKind) {
        if self.delivery.connections[row].is(IS_DETACHED_FROM_ALL) {
            return;
        }
        let mut event = self.context.event(self.identity(row), self.personal_of(row), kind);
        event.device = self.devices.get(&row).cloned();
        event.meta = self.metas.get(&row).cloned();
        self.context.tell(event);
    }
}
