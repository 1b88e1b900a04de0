//! The doors of the public address: which request leads where.
//!
//! `/websocket/{user}` subscribes to the user's personal channel, `/websocket` to none; both join
//! the channels of `?channels=a,b` and take `?device=`. `/connection/websocket` is for clients that
//! speak the client protocol. `/echo` returns every message to its sender. Anything else is 404.
//!
//! Where tokens can be verified a raw client needs one too: as `?token=`, or, because a browser can
//! send no header of its own, among the subprotocols that it offers: `tidegate`, `token.JWT`.

use crate::http::request::{HEAD_BYTES_MAX, HeaderTable};
use crate::http::uri::{path_segments, query_pairs};
use crate::http::{Head, Refusal};
use crate::hub::{NONE, Session};
use crate::limits::{CHANNELS_PER_CONNECTION_MAX, DEVICE_BYTES_MAX};
use crate::mesh;
use crate::protocol::{ChannelName, Permission, Variant};
use crate::shard::Shard;
use crate::shard::life::first_ping;
use crate::shard::socket::{FIRST_PING_DUE, Half, IS_COUNTED, IS_ECHO, PEER_CLOSED, State};
use crate::shard::verify::Unverified;
use crate::sys::Clock;
use crate::token::{ConnectionClaims, Overrides, TokenError};
use crate::ws::Inbound;
use crate::ws::handshake::{Accepted, Policy, accept, write_accept};

impl Shard {
    /// More of an opening handshake has come.
    pub(super) fn read_head(&mut self, row: u32, input: &[u8]) {
        let half = self.sockets[row as usize].half;
        let gathered;
        let bytes: &[u8] = if half == NONE {
            input
        } else {
            let Half::Head(mut head) = std::mem::take(&mut self.halves[half]) else {
                unreachable!("a handshake gathers a head and nothing else")
            };
            head.extend_from_slice(input);
            if head.len() < HEAD_BYTES_MAX && !input.contains(&b'\n') {
                self.halves[half] = Half::Head(head);
                return;
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
                let head = Half::Head(bytes.to_vec());
                self.put_half(row, head);
            }
            Ok(Some((head, _))) if !is_its_turn && self.shows_costly_token(&head) => {
                self.leave_half_open(row, State::Joining);
                self.put_half(row, Half::Head(bytes.to_vec()));
                self.await_verification(row, Unverified::Head);
            }
            Ok(Some((head, size))) => {
                let opened = self.request(&head);
                let early = bytes[size..].to_vec();
                match opened {
                    Err(refusal) => self.refuse(row, &refusal),
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
        let subprotocols = if is_managed { MANAGED_SUBPROTOCOLS } else { RAW_SUBPROTOCOLS };
        let policy = Policy { origin: self.settings.origins.clone(), subprotocols };
        let opening = match segments[..] {
            ["websocket"] => Opening::Raw(self.session(None, head)?),
            ["websocket", user] => Opening::Raw(self.session(Some(user), head)?),
            ["connection", "websocket"] => Opening::Managed(Variant::Json),
            ["echo"] if self.settings.echo => {
                Opening::Raw(Session { is_apart: true, ..Session::default() })
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

    /// The session of a raw connection, as far as its token and the namespaces allow it.
    fn session(&self, user: Option<&str>, head: &Head<'_, '_>) -> Result<Session, Refusal> {
        let (mut session, query_token) = session(user, head.query)?;
        let claims = if self.settings.needs_token {
            self.verify(user, session.device.as_deref(), head, query_token.as_deref())?
        } else {
            None
        };
        if let Some(claims) = &claims {
            if session.personal.is_none() && !claims.user.is_empty() {
                session.personal = Some(personal(&claims.user)?);
            }
            session.meta = claims.meta.as_ref().map(|meta| meta.as_str().into());
            session.issued_at = Some(claims.issued_at.unwrap_or_default());
            session.expires_at = claims.expires_at;
            let is_otherwise = |channel: &ChannelName| {
                let sub = claims.subs.iter().find(|(name, _)| name == channel.as_str());
                let overrides = sub.map(|(_, options)| options.overrides)?;
                (overrides != Overrides::default()).then(|| (channel.clone(), overrides))
            };
            session.overrides = session.channels.iter().filter_map(is_otherwise).collect();
        }
        let user = claims.as_ref().map(|claims| claims.user.as_str()).or(user).unwrap_or_default();
        for channel in &session.channels {
            let rules = self.settings.hub.namespaces.of(channel);
            let rules =
                rules.ok_or(Refusal::bad_request("A channel's namespace is not configured."))?;
            let is_granted = claims.as_ref().is_some_and(|claims| claims.names(channel.as_str()));
            let is_allowed =
                is_granted || rules.subscribe == Permission::Everybody && channel.admits(user);
            if !is_allowed && !self.settings.insecure {
                return Err(Refusal::forbidden("A channel needs a token that names it."));
            }
        }
        Ok(session)
    }

    /// Whether the token of a raw client may cost much to verify.
    fn shows_costly_token(&self, head: &Head<'_, '_>) -> bool {
        if !self.settings.needs_token {
            return false;
        }
        let tokens = query_pairs(head.query).flatten().filter(|(name, _)| name == "token");
        let token = tokens.last().map(|(_, token)| token);
        let token = token.as_deref().or_else(|| offered_token(head));
        token.is_some_and(|token| self.authority.is_costly(token))
    }

    /// What the token of a raw client says; `None` for nobody in particular.
    fn verify(
        &self,
        user: Option<&str>,
        device: Option<&str>,
        head: &Head<'_, '_>,
        query_token: Option<&str>,
    ) -> Result<Option<ConnectionClaims>, Refusal> {
        let Some(token) = query_token.or_else(|| offered_token(head)) else {
            return match user {
                None if self.settings.anonymous => Ok(None),
                _ => Err(Refusal::unauthorized("Connect with ?token= and a connection token.")),
            };
        };
        let verified = self.authority.verify_connection(token, device, Clock::unix_seconds());
        let claims = verified.map_err(|error| match error {
            TokenError::Expired => Refusal::unauthorized("The token has expired."),
            TokenError::UnknownKey => {
                Refusal::unavailable("The token's key is not known yet; try again.", 1)
            }
            _ => INVALID_TOKEN,
        })?;
        if user.is_some_and(|user| user != claims.user) {
            return Err(Refusal::forbidden("The token is another user's."));
        }
        Ok(Some(claims))
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
            self.keep_half(row, Half::Early(Box::new((Inbound::default(), early))));
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
            mesh::Refusal::Revoked => self.refuse(row, &INVALID_TOKEN),
            mesh::Refusal::Disconnected => {
                self.refuse(row, &Refusal::forbidden("A backend has ended this session."));
            }
        }
    }

    /// Answers a request with an error and closes.
    pub(super) fn refuse(&mut self, row: u32, refusal: &Refusal) {
        self.leave_half_open(row, State::Lingering);
        self.take_half(row);
        self.metrics.handshakes_refused.increment();
        let mut response = Vec::with_capacity(256);
        crate::http::write_response(refusal, &mut response);
        let socket = &mut self.sockets[row as usize];
        socket.set(PEER_CLOSED, true);
        // A response that does not fit an empty socket buffer has no reader.
        let _ = crate::sys::socket::send(socket.fd, &response);
        crate::sys::socket::shutdown_write(socket.fd);
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

const PROTOBUF: &str = "centrifuge-protobuf";

/// JSON clients of the client protocol mostly offer none (protocol fact).
const MANAGED_SUBPROTOCOLS: &[&str] = &["centrifuge-json", PROTOBUF];

/// A browser closes a connection whose server takes none of the subprotocols that it offers.
const RAW_SUBPROTOCOLS: &[&str] = &["tidegate"];

const INVALID_TOKEN: Refusal = Refusal::unauthorized("The token is not valid.");

/// What stands before a token among the subprotocols.
const TOKEN_SUBPROTOCOL: &[u8] = b"token.";

/// Whether a query asks for the binary form of the client protocol.
fn asks_for_protobuf(query: &str) -> Result<bool, Refusal> {
    for pair in query_pairs(query) {
        let (name, value) = pair?;
        if matches!(name.as_ref(), "format" | "cf_protocol") && value == "protobuf" {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a text may name a device.
pub(super) fn is_device(device: &str) -> bool {
    device.len() <= DEVICE_BYTES_MAX && !device.chars().any(char::is_control)
}

/// The token among the subprotocols that a request offers.
fn offered_token<'b>(head: &Head<'_, 'b>) -> Option<&'b str> {
    let mut offered = head.list("Sec-WebSocket-Protocol");
    let token = offered.find_map(|offered| offered.strip_prefix(TOKEN_SUBPROTOCOL))?;
    std::str::from_utf8(token).ok()
}

fn personal(user: &str) -> Result<ChannelName, Refusal> {
    ChannelName::personal(user).map_err(|_| {
        Refusal::bad_request("The user must be 1 to 254 bytes without control characters.")
    })
}

/// The session that a raw connection asks for, and its token.
fn session(user: Option<&str>, query: &str) -> Result<(Session, Option<String>), Refusal> {
    let personal = user.map(personal).transpose()?;
    let mut session = Session { personal, ..Session::default() };
    let mut token = None;
    for pair in query_pairs(query) {
        let (name, value) = pair?;
        match name.as_ref() {
            "channels" => add_channels(&mut session.channels, &value)?,
            "token" => token = Some(value.into_owned()),
            "device" if !is_device(&value) => {
                return Err(Refusal::bad_request("The device must be at most 128 plain bytes."));
            }
            "device" if !value.is_empty() => session.device = Some(value.as_ref().into()),
            _ => {}
        }
    }
    Ok((session, token))
}

fn add_channels(channels: &mut Vec<ChannelName>, list: &str) -> Result<(), Refusal> {
    for name in list.split(',').filter(|name| !name.is_empty()) {
        let channel = ChannelName::parse(name.as_bytes()).map_err(|_| {
            Refusal::bad_request("A channel must be 1 to 255 plain bytes and not begin with $.")
        })?;
        if channel.user().is_some() {
            return Err(Refusal::forbidden("Personal channels belong to their user alone."));
        }
        if !channels.contains(&channel) {
            channels.push(channel);
        }
        if channels.len() >= CHANNELS_PER_CONNECTION_MAX {
            return Err(Refusal::bad_request("A connection joins at most 127 channels."));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_channels_and_a_device() {
        let (session, token) =
            session(Some("42"), "channels=a,b,,a&device=phone&token=x&channels=b,c").unwrap();
        assert_eq!(token.as_deref(), Some("x"));
        let names: Vec<_> = session.channels.iter().map(ChannelName::as_str).collect();
        assert_eq!((names, session.device.as_deref()), (vec!["a", "b", "c"], Some("phone")));
        assert_eq!(session.personal.unwrap().as_str(), "#42");
    }

    #[test]
    fn wrong_names_are_refused() {
        let status = |user, query: &str| session(user, query).map(drop).map_err(|r| r.status);
        assert_eq!(status(None, "channels=%2342"), Err(403));
        assert_eq!(status(None, "channels=$all"), Err(400));
        assert_eq!(status(None, "channels=a%0Ab"), Err(400));
        assert_eq!(status(Some(""), ""), Err(400));
        assert_eq!(status(None, &format!("device={}", "d".repeat(129))), Err(400));
        let many: Vec<_> = (0..128).map(|n| n.to_string()).collect();
        assert_eq!(status(None, &format!("channels={}", many.join(","))), Err(400));
        assert_eq!(status(None, &format!("channels={}", many[1..].join(","))), Ok(()));
    }
}
