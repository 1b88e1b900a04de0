//! The doors of the public address: which request leads where.
//!
//! `/websocket/{user}` subscribes to the user's personal channel, `/websocket` to none; both join
//! the channels of `?channels=a,b` and take `?device=`. `/echo` returns every message to its
//! sender. Anything else is 404.

use crate::http::request::{HEAD_BYTES_MAX, HeaderTable};
use crate::http::uri::{path_segments, query_pairs};
use crate::http::{Head, Refusal};
use crate::hub::{NONE, Session};
use crate::limits::{CHANNELS_PER_CONNECTION_MAX, DEVICE_BYTES_MAX};
use crate::mesh;
use crate::protocol::ChannelName;
use crate::shard::Shard;
use crate::shard::life::first_ping;
use crate::shard::socket::{FIRST_PING_DUE, Half, IS_COUNTED, IS_ECHO, PEER_CLOSED, State};
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
        let mut table = HeaderTable::default();
        match Head::parse(bytes, &mut table) {
            Err(refusal) => self.refuse(row, &refusal),
            Ok(None) => {
                let head = Half::Head(bytes.to_vec());
                self.put_half(row, head);
            }
            Ok(Some((head, size))) => {
                let opened = self.request(&head);
                let early = bytes[size..].to_vec();
                match opened {
                    Err(refusal) => self.refuse(row, &refusal),
                    Ok((accepted, session)) => self.begin_joining(row, accepted, session, early),
                }
            }
        }
    }

    /// What a request asks for.
    fn request(&self, head: &Head<'_, '_>) -> Result<(Accepted, Session), Refusal> {
        let mut segments = Vec::with_capacity(3);
        for segment in path_segments(head.path).take(3) {
            segments.push(segment?);
        }
        let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
        let session = match segments[..] {
            ["websocket"] => session(None, head.query)?,
            ["websocket", user] => session(Some(user), head.query)?,
            ["echo"] if self.settings.echo => Session { is_apart: true, ..Session::default() },
            _ => return Err(Refusal::not_found("Connect to /websocket/{user}?channels=a,b")),
        };
        let policy = Policy { origin: self.settings.origins.clone(), subprotocols: &[] };
        Ok((accept(head, &policy)?, session))
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
        let first_ping = first_ping(row, self.settings.ping_interval.0);
        self.wheel.insert_or_move(row, self.work.now.plus(first_ping));
        self.reply(row, &response);
        if !early.is_empty() && self.sockets[row as usize].state == State::Open {
            self.put_half(row, Half::Early(Box::new((Inbound::default(), early))));
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
        }
    }

    /// Answers a request with an error and closes.
    pub(super) fn refuse(&mut self, row: u32, refusal: &Refusal) {
        if self.sockets[row as usize].state == State::Handshake {
            self.leave_half_open(row, State::Lingering);
        }
        self.take_half(row);
        self.metrics.handshakes_refused.increment();
        let mut response = Vec::with_capacity(256);
        crate::http::write_response(refusal, &mut response);
        let socket = &mut self.sockets[row as usize];
        socket.state = State::Lingering;
        socket.set(PEER_CLOSED, true);
        // A response that does not fit an empty socket buffer has no reader.
        let _ = crate::sys::socket::send(socket.fd, &response);
        crate::sys::socket::shutdown_write(socket.fd);
        let deadline = self.settings.close_deadline.0;
        self.wheel.insert_or_move(row, self.work.now.plus(deadline));
        self.make_ready(row);
    }
}

/// The session of a raw connection.
fn session(user: Option<&str>, query: &str) -> Result<Session, Refusal> {
    let personal = match user {
        None => None,
        Some(user) => Some(ChannelName::personal(user).map_err(|_| {
            Refusal::bad_request("The user must be 1 to 254 bytes without control characters.")
        })?),
    };
    let mut session = Session { personal, ..Session::default() };
    for pair in query_pairs(query) {
        let (name, value) = pair?;
        match name.as_ref() {
            "channels" => session.channels = channels(&value)?,
            "device" if value.len() > DEVICE_BYTES_MAX || value.chars().any(char::is_control) => {
                return Err(Refusal::bad_request("The device must be at most 128 plain bytes."));
            }
            "device" if !value.is_empty() => session.device = Some(value.as_ref().into()),
            _ => {}
        }
    }
    Ok(session)
}

fn channels(list: &str) -> Result<Vec<ChannelName>, Refusal> {
    let mut channels: Vec<ChannelName> = Vec::new();
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
    Ok(channels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_channels_and_a_device() {
        let session = session(Some("42"), "channels=a,b,,a&device=phone&token=x").unwrap();
        let names: Vec<_> = session.channels.iter().map(ChannelName::as_str).collect();
        assert_eq!((names, session.device.as_deref()), (vec!["a", "b"], Some("phone")));
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
