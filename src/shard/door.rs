//! The doors of the public address: which request leads where.
//!
//! `/websocket/{user}` subscribes to the user's personal channel, `/websocket` to none; both join
//! the channels of `?channels=a,b` and take `?device=`. `/connection/websocket` is for clients that
//! speak the client protocol. `/echo` returns every message to its sender. Anything else is 404.
//!
//! Who a raw client is, and what it may join, is found out in `visitor`.

use arcstr::{ArcStr, literal};

use crate::http::handshake::{Accepted, Policy, accept, write_accept};
use crate::http::request::{HEAD_BYTES_MAX, HeaderTable};
use crate::http::uri::{path_segments, query_pairs};
use crate::http::{About, Head, Refusal};
use crate::hub::{Id, Session};
use crate::mesh;
use crate::model::Variant;
use crate::shard::half::{Early, Half};
use crate::shard::life::first_ping;
use crate::shard::report::TokenFault;
use crate::shard::socket::{
    FIRST_PING_DUE, IS_ADMITTED, IS_COUNTED, IS_ECHO, IS_READY, PEER_CLOSED, State,
};
use crate::shard::verify::Unverified;
use crate::shard::visitor::INVALID_TOKEN;
use crate::shard::{Net, Shard};
use crate::token::TokenError;

impl<N: Net> Shard<N> {
    /// More of an opening handshake has come.
    pub(super) fn read_head(&mut self, row: u32, input: &[u8]) {
        let half = self.sockets[row as usize].half;
        let gathered;
        let bytes: &[u8] = if half == Id::NONE {
            input
        } else {
            let Some(Half::Head(mut head)) = self.take_half(row) else {
                unreachable!("a handshake gathers a head and nothing else")
            };
            head.extend_from_slice(input);
            if head.len() < HEAD_BYTES_MAX && !input.contains(&b'\n') {
                return self.keep_half(row, Half::Head(head));
            }
            gathered = head;
            &gathered
        };
        self.answer_head(row, bytes, false);
    }

    /// Answers a request as far as it came. `is_its_turn` if a token in it may cost much.
    pub(super) fn answer_head(&mut self, row: u32, bytes: &[u8], is_its_turn: bool) {
        let mut table = HeaderTable::default();
        match Head::parse(bytes, &mut table) {
            Err(refusal) => self.refuse(row, &refusal),
            Ok(None) => {
                self.keep_half(row, Half::Head(bytes.to_vec()));
            }
            Ok(Some((head, _))) if !is_its_turn && self.shows_costly_token(&head) => {
                self.leave_half_open(row, State::Joining);
                self.await_verification(row, Unverified::Head);
                self.keep_half(row, Half::Head(bytes.to_vec()));
            }
            Ok(Some((head, size))) => {
                let opened = self.request(&head);
                let early = bytes[size..].to_vec();
                match opened {
                    Err(refusal) => self.refuse_request(row, &refusal, Some(&head)),
                    Ok((accepted, Opening::Raw(session))) => {
                        self.begin_joining(row, accepted, session, early);
                    }
                    Ok((accepted, Opening::Managed(variant))) => {
                        self.leave_half_open(row, State::Joining);
                        self.put_half(row, Half::Accepted(Box::new((accepted, early))));
                        self.hub.open_managed(row, variant);
                        self.complete_handshake(row);
                    }
                }
            }
        }
    }

    /// What a request asks for.
    fn request(&self, head: &Head<'_, '_>) -> Result<(Accepted, Opening), Refusal> {
        let mut segments = Vec::with_capacity(3);
        for segment in path_segments(head.path).take(3) {
            segments.push(segment?);
        }
        let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
        let is_managed = segments[..] == ["connection", "websocket"];
        let (subprotocols, foreign_subprotocol) = if is_managed {
            (&MANAGED_SUBPROTOCOLS[..], FOREIGN_TO_MANAGED)
        } else {
            (&self.settings.subprotocols[..], FOREIGN_TO_RAW)
        };
        let policy = Policy {
            origin: &self.settings.origins,
            own_page_port: Some(self.settings.internal_port),
            guards_host: self.settings.guards_host,
            subprotocols,
            foreign_subprotocol,
        };
        let opening = match segments[..] {
            ["websocket"] => Opening::Raw(self.session(None, head)?),
            ["websocket", user] => Opening::Raw(self.session(Some(user), head)?),
            ["connection", "websocket"] => Opening::Managed(Variant::Json),
            ["echo"] if self.settings.echo => {
                Opening::Raw(Session { is_apart: true, ..Session::default() })
            }
            ["api" | "metrics" | "health" | "info", ..] => {
                let reason = "This is the address of clients. The HTTP API, metrics and health are \
                              at internal.address, port";
                return Err(Refusal::elsewhere(reason, self.settings.internal_port));
            }
            _ => return Err(Refusal::not_found("Connect to /websocket/{user}?channels=a,b")),
        };
        let accepted = accept(head, &policy)?;
        let is_protobuf = accepted.subprotocol == Some(PROTOBUF) || asks_for_protobuf(head.query)?;
        match opening {
            Opening::Managed(_) if is_protobuf => {
                Ok((accepted, Opening::Managed(Variant::Protobuf)))
            }
            opening => Ok((accepted, opening)),
        }
    }

    fn begin_joining(&mut self, row: u32, accepted: Accepted, session: Session, early: Vec<u8>) {
        self.leave_half_open(row, State::Joining);
        self.sockets[row as usize].set(IS_ECHO, session.is_apart);
        self.put_half(row, Half::Accepted(Box::new((accepted, early))));
        self.hub.enter(row, session);
        self.perform_effects();
    }

    /// Every channel is joined: from here on nothing published is missed.
    pub(super) fn complete_handshake(&mut self, row: u32) {
        let Some(Half::Accepted(accepted)) = self.take_half(row) else { return };
        let (accepted, early) = *accepted;
        let mut response = Vec::with_capacity(192);
        write_accept(&accepted, &mut response);
        let socket = &mut self.sockets[row as usize];
        socket.state = State::Open;
        socket.last_seen = self.work.now;
        socket.set(FIRST_PING_DUE, true);
        socket.set(IS_COUNTED, true);
        self.metrics.connections.add(1);
        self.metrics.handshakes_accepted.increment();
        if self.hub.variant(row).is_managed() {
            self.await_connect(row);
        } else {
            let first_ping = first_ping(row, self.settings.ping_interval.0);
            self.arm_expiring_timer(row, self.work.now.plus(first_ping));
        }
        self.reply(row, &response);
        if !early.is_empty() && self.sockets[row as usize].state == State::Open {
            let early = Early { bytes: early, ..Early::default() };
            self.keep_half(row, Half::Early(Box::new(early)));
        }
        // What came while the channels were joined was left in the socket.
        self.make_ready(row);
    }

    /// The home of the user did not admit the session.
    pub(super) fn refuse_session(&mut self, row: u32, refusal: mesh::Refusal) {
        match refusal {
            mesh::Refusal::SessionLimit => {
                let reason = "This user has as many sessions as allowed.";
                self.refuse(row, &Refusal::too_many_requests(reason, 30));
            }
            mesh::Refusal::SubscriberLimit => {
                let reason = "A channel has as many subscribers as allowed.";
                self.refuse(row, &Refusal::too_many_requests(reason, 30));
            }
            mesh::Refusal::Revoked => {
                self.report_token(TokenFault::Error(TokenError::Revoked), None);
                self.refuse(row, &INVALID_TOKEN);
            }
            mesh::Refusal::Disconnected => {
                let reason = "A backend has ended this session.";
                self.refuse(row, &Refusal::forbidden(About::Command, reason));
            }
        }
    }

    /// Answers a connection with an error and closes.
    pub(super) fn refuse(&mut self, row: u32, refusal: &Refusal) {
        self.refuse_request(row, refusal, None);
    }

    /// Answers a request, as far as it is known, with an error and closes.
    fn refuse_request(&mut self, row: u32, refusal: &Refusal, head: Option<&Head<'_, '_>>) {
        self.report_refusal(refusal, head);
        self.leave_half_open(row, State::Lingering);
        self.take_half(row);
        let mut response = Vec::with_capacity(256);
        crate::http::write_response(refusal, &mut response);
        let socket = &mut self.sockets[row as usize];
        socket.set(PEER_CLOSED, true);
        if !socket.is(IS_ADMITTED) {
            // It may stand among those whose request waits, where nobody looks for it any more.
            socket.set(IS_READY, false);
        }
        // A response that does not fit an empty socket buffer has no reader.
        let _ = self.net.send(socket.fd, &response);
        self.net.shutdown_write(socket.fd);
        let deadline = self.settings.close_deadline.0;
        self.wheel.insert_or_move(row, self.work.now.plus(deadline));
        self.make_ready(row);
    }
}

/// What a request opens.
enum Opening {
    /// A raw connection.
    Raw(Session),
    /// A connection that speaks the client protocol.
    Managed(Variant),
}

const PROTOBUF: ArcStr = literal!("centrifuge-protobuf");

/// JSON clients of the client protocol mostly offer none (protocol fact).
static MANAGED_SUBPROTOCOLS: [ArcStr; 2] = [literal!("centrifuge-json"), PROTOBUF];

const FOREIGN_TO_MANAGED: &str = "Offer the subprotocol centrifuge-json or centrifuge-protobuf, or \
     none: this door speaks no other.";

const FOREIGN_TO_RAW: &str = "Add tidegate to the subprotocols that you offer, or let the server's \
     option public.subprotocols name one of them.";

/// Whether a query asks for the binary form of the client protocol.
fn asks_for_protobuf(query: &str) -> Result<bool, Refusal> {
    for pair in query_pairs(query) {
        let (name, value) = pair?;
        if matches!(name.as_ref(), "format" | "cf_protocol") && value.text()? == "protobuf" {
            return Ok(true);
        }
    }
    Ok(false)
}
