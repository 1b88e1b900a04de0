//! Connections that speak the client protocol: from messages to commands, tokens, and their timer.
//!
//! The hub carries commands out; what needs a clock or a key is done here before. A managed client
//! is pinged in its own protocol, and at the same interval however much it sends: it takes silence
//! of ours for a broken connection (protocol fact).

use crate::hub::{Asked, Cause, Grant, Renewal, Subscribe, Wishes};
use crate::model::{ChannelGrant, ChannelName, ClientError, ClientFault, Variant};
use crate::protocol::centrifuge::{
    ConnectRequest, Method, Request, Requests, SubscribeRequest, decode_requests, ping_frame,
    resume_requests,
};
use crate::shard::half::Commands;
use crate::shard::life::first_ping;
use crate::shard::report::TokenFault;
use crate::shard::socket::{FIRST_PING_DUE as PING_DUE, PINGED, State};
use crate::shard::verify::Unverified;
use crate::shard::{Net, Shard};
use crate::token::{ConnectionClaims, Json, SubscriptionClaims, TokenError};
use crate::wheel::Tick;
use crate::ws::close::CloseCode;

/// The emulated header in which a client names its device.
const DEVICE_HEADER: &str = "x-device";

/// Reading so many bytes of commands counts as a command more.
const COMMAND_UNIT_BYTES: usize = 4 * 1024;

/// A longer publication counts against the rate once for each so many bytes of it.
const PUBLISH_UNIT_BYTES: usize = 4 * 1024;

/// Bit 1 of the flags of `subscribe`: what cannot be recovered is an error.
const REJECT_UNRECOVERED: i64 = 2;

/// How a connection ends that broke the rules.
type End = (CloseCode, &'static str, Cause);

const BAD_REQUEST: End = (CloseCode::BAD_REQUEST, "bad request", Cause::ProtocolError);
const INVALID_TOKEN: End = (CloseCode::INVALID_TOKEN, "invalid token", Cause::ProtocolError);
const EXPIRED_TOKEN: End = (CloseCode::EXPIRED, "token expired", Cause::Expired);

/// Why a token or a name in a command leads to nothing.
enum Denial {
    /// The command is answered with an error.
    Error(ClientFault),
    /// The connection is closed.
    End(End),
}

impl Denial {
    /// Another one if the token has expired.
    fn or_if_expired(self, other: Self) -> Self {
        match self {
            Self::Error(fault) if fault.error == ClientError::TokenExpired => other,
            denial => denial,
        }
    }
}

impl From<ClientError> for Denial {
    fn from(error: ClientError) -> Self {
        Self::Error(error.into())
    }
}

impl<N: Net> Shard<N> {
    /// A message of a managed client: one or more commands. Returns how to close if it breaks the
    /// rules.
    pub(super) fn hear_managed(
        &mut self,
        row: u32,
        variant: Variant,
        message: &[u8],
    ) -> Option<End> {
        let mut requests = decode_requests(variant, message);
        let end = self.hear_requests(row, variant, &mut requests);
        let is_open = self.sockets[row as usize].state == State::Open;
        if end.is_none() && is_open && !requests.rest().is_empty() {
            let (message, count) = (requests.rest().to_vec(), requests.taken());
            self.work.unheard = Some(Commands { message, heard: 0, count });
        }
        end
    }

    /// Goes on with a message of which some commands were heard.
    pub(super) fn hear_rest(&mut self, row: u32, mut commands: Commands) -> Option<End> {
        let variant = self.hub.variant(row);
        let rest = &commands.message[commands.heard..];
        let mut requests = resume_requests(variant, rest, commands.count);
        let end = self.hear_requests(row, variant, &mut requests);
        let (left, count) = (requests.rest().len(), requests.taken());
        let is_open = self.sockets[row as usize].state == State::Open;
        if end.is_none() && is_open && left > 0 {
            commands.heard = commands.message.len() - left;
            commands.count = count;
            self.work.unheard = Some(commands);
        }
        end
    }

    /// Hears commands as long as there is time for them and none waits.
    fn hear_requests(
        &mut self,
        row: u32,
        variant: Variant,
        requests: &mut Requests<'_>,
    ) -> Option<End> {
        while self.sockets[row as usize].state == State::Open {
            let before = requests.rest().len();
            let Ok(request) = requests.next()? else { return Some(BAD_REQUEST) };
            // One takes time for what it brings, and the very short ones still take some.
            self.work.command_bytes = before - requests.rest().len();
            let units = self.work.command_bytes.div_ceil(COMMAND_UNIT_BYTES);
            self.hub.note_work(units as u32);
            let end = self.hear_request(row, variant, request);
            self.perform_effects();
            if end.is_some() || !self.may_go_on(row) {
                return end;
            }
        }
        None
    }

    fn hear_request(&mut self, row: u32, variant: Variant, request: Request) -> Option<End> {
        let is_first = self.hub.is_unknown(row) && !self.hub.is_verifying(row);
        if is_first && !matches!(request.method, Method::Connect(_) | Method::Pong) {
            return Some(BAD_REQUEST);
        }
        let Request { id, method } = request;
        let is_send = matches!(method, Method::Send { .. });
        self.metrics.messages_received.add(u64::from(is_send));
        let publishes = match &method {
            Method::Publish { data, .. } => data.len().div_ceil(PUBLISH_UNIT_BYTES).max(1),
            _ => 0,
        };
        let is_counted = !matches!(method, Method::Connect(_) | Method::Pong);
        if is_counted && let Err(error) = self.hub.spend(row, publishes as u32) {
            if !is_send {
                self.hub.ask(row, Asked::Refused(id, error.into()));
            }
            return None;
        }
        let asked = match method {
            Method::Pong => return None,
            Method::Send { data } => {
                let text = variant == Variant::Json || simdutf8::basic::from_utf8(&data).is_ok();
                Ok(Asked::Send(text, data))
            }
            method @ (Method::Connect(_) | Method::Refresh { .. }) => {
                Ok(Asked::Shown(None, Box::new(Request { id, method })))
            }
            Method::Subscribe(request) => is_offered(request.unsupported)
                .and_then(|()| channel_of(&request.channel))
                .map(|channel| {
                    let method = Method::Subscribe(request);
                    Asked::Shown(Some(channel), Box::new(Request { id, method }))
                }),
            Method::SubRefresh { channel: name, token, unsupported } => {
                is_offered(unsupported).and_then(|()| channel_of(&name)).map(|channel| {
                    let method = Method::SubRefresh { channel: name, token, unsupported };
                    Asked::Shown(Some(channel), Box::new(Request { id, method }))
                })
            }
            Method::Unsubscribe { channel } => {
                channel_of(&channel).map(|channel| Asked::Unsubscribe(id, channel))
            }
            Method::Publish { channel, data, unsupported } => is_offered(unsupported)
                .and_then(|()| has_data(&data))
                .and_then(|()| channel_of(&channel))
                .map(|channel| Asked::Publish(id, channel, data)),
            Method::Presence { channel } => {
                channel_of(&channel).map(|channel| Asked::Presence(id, channel))
            }
            Method::PresenceStats { channel } => {
                channel_of(&channel).map(|channel| Asked::PresenceStats(id, channel))
            }
            Method::History(request) => {
                channel_of(&request.channel).map(|channel| Asked::History(id, channel, request))
            }
            Method::Rpc { .. } => Err(ClientError::NotAvailable.with("there is nobody to call")),
            Method::Ping => Err(ClientError::MethodNotFound.into()),
        };
        self.hub.ask(row, asked.unwrap_or_else(|error| Asked::Refused(id, error)));
        None
    }

    /// The turn of a command with a token has come: if that costs much, it waits for one more.
    pub(super) fn verify_command(&mut self, row: u32, request: Request) {
        let token = match &request.method {
            Method::Connect(request) => &request.token,
            Method::Subscribe(request) => &request.token,
            Method::Refresh { token } | Method::SubRefresh { token, .. } => token,
            _ => "",
        };
        if !self.hub.is_verifying(row) {
            // It was closed in between.
        } else if !token.is_empty() && self.authority.is_costly(token) {
            self.await_verification(row, Unverified::Command(Box::new(request)));
        } else {
            self.conclude(row, request);
        }
    }

    /// Verifies the token of a command and carries it out as far as that allows it.
    pub(super) fn conclude(&mut self, row: u32, request: Request) {
        let Request { id, method } = request;
        let asked = match method {
            // What a second one shows is not looked at: it ends the connection.
            Method::Connect(_) if !self.hub.is_unknown(row) => {
                Ok(Asked::Connect(id, Box::default()))
            }
            Method::Connect(request) => {
                self.grant(&request).map(|grant| Asked::Connect(id, Box::new(grant)))
            }
            Method::Subscribe(request) => self
                .subscription(row, *request)
                .map(|subscribe| Asked::Subscribe(id, Box::new(subscribe))),
            Method::Refresh { token } => {
                self.renewal(row, &token).map(|renewal| Asked::Refresh(id, renewal))
            }
            Method::SubRefresh { channel, token, .. } => self
                .sub_renewal(row, &channel, &token)
                .map(|(channel, renewal)| Asked::SubRefresh(id, channel, renewal)),
            _ => Err(ClientError::Internal.into()),
        };
        match asked {
            Ok(asked) => self.hub.verified(row, asked),
            Err(Denial::Error(error)) => self.hub.verified(row, Asked::Refused(id, error)),
            Err(Denial::End((code, reason, cause))) => self.end_by_peer(row, code, reason, cause),
        }
    }

    /// Who a client is, by its token or by the settings for those without one.
    fn grant(&self, request: &ConnectRequest) -> Result<Grant, Denial> {
        let device = request
            .headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(DEVICE_HEADER))
            .map(|(_, device)| device.as_str())
            .filter(|device| !device.is_empty());
        if device.is_some_and(|device| !crate::shard::visitor::is_device(device)) {
            return Err(ClientError::BadRequest.into());
        }
        let mut grant = Grant {
            device: device.map(Box::from),
            is_insecure: self.settings.insecure,
            ..Grant::default()
        };
        for (name, claim) in &request.subs {
            if let Ok(channel) = ChannelName::parse(name.as_bytes()) {
                grant.positions.push((channel, claim.clone()));
            }
        }
        if request.token.is_empty() {
            let may_enter = self.settings.anonymous || self.settings.insecure;
            return if may_enter {
                Ok(grant)
            } else {
                self.report_token(TokenFault::Missing, None);
                Err(ClientError::Unauthorized.into())
            };
        }
        let now = self.work.unix;
        match self.authority.verify_connection(&request.token, device, now) {
            Ok(claims) if claims.is_of_device(device) => fill(grant, claims),
            Ok(_) => Err(self.deny(TokenFault::Foreign, Denial::End(INVALID_TOKEN))),
            Err(error) => Err(self.deny(TokenFault::Error(error), Denial::End(INVALID_TOKEN))),
        }
    }

    fn subscription(&self, row: u32, request: SubscribeRequest) -> Result<Subscribe, Denial> {
        let channel = channel_of(&request.channel).map_err(Denial::Error)?;
        let grant = if request.token.is_empty() {
            None
        } else {
            self.hub.check_subscribe(row, &channel).map_err(Denial::Error)?;
            let claims = self.subscription_claims(row, channel.as_str(), &request.token)?;
            Some(ChannelGrant {
                info: claims.info.map(text),
                data: None,
                expires_at: claims.expires_at,
                overrides: claims.overrides,
            })
        };
        let wishes = Wishes {
            positioned: request.positioned,
            recoverable: request.recoverable || request.position.recover,
            join_leave: request.join_leave,
        };
        Ok(Subscribe {
            channel,
            position: request.position,
            wishes,
            rejects_unrecovered: request.flag & REJECT_UNRECOVERED != 0,
            grant,
        })
    }

    /// What a subscription token says, if it is this client's, for this channel.
    fn subscription_claims(
        &self,
        row: u32,
        channel: &str,
        token: &str,
    ) -> Result<SubscriptionClaims, Denial> {
        let denied = || Denial::from(ClientError::PermissionDenied);
        let device = self.hub.device(row);
        let claims = self
            .authority
            .verify_subscription(token, device, self.work.unix)
            .map_err(|error| self.deny(TokenFault::Error(error), denied()))?;
        // The hub knows whose token it must be from the moment that it is asked to connect.
        let info = self.hub.info(row).ok_or_else(denied)?;
        let client = info.client.to_string();
        let is_its_own = claims.channel == channel
            && claims.user == *info.user
            && (claims.device.is_none() || claims.device.as_deref() == device)
            && claims.client.as_ref().is_none_or(|named| *named == client);
        if is_its_own { Ok(claims) } else { Err(self.deny(TokenFault::Foreign, denied())) }
    }

    /// What a new connection token of the same user says.
    fn renewal(&self, row: u32, token: &str) -> Result<Renewal, Denial> {
        let device = self.hub.device(row);
        let verified = self.authority.verify_connection(token, device, self.work.unix);
        let invalid = || Denial::End(INVALID_TOKEN);
        // To SDKs an error would be final. After this code they connect again, and ask for a token
        // when they are told that theirs has expired.
        let claims = verified.map_err(|error| {
            let denial = self.deny(TokenFault::Error(error), invalid());
            denial.or_if_expired(Denial::End(EXPIRED_TOKEN))
        })?;
        // A token that names a device is not for a client that does not say which it is: this one
        // is known already.
        let is_its_own = self.hub.info(row).is_some_and(|info| *info.user == claims.user)
            && (claims.device.is_none() || claims.device.as_deref() == device);
        if is_its_own {
            Ok(Renewal { expires_at: claims.expires_at, info: claims.info.map(text) })
        } else {
            Err(self.deny(TokenFault::Foreign, invalid()))
        }
    }

    /// The same for a subscription token, and its channel.
    fn sub_renewal(
        &self,
        row: u32,
        name: &str,
        token: &str,
    ) -> Result<(ChannelName, Renewal), Denial> {
        let channel = channel_of(name).map_err(Denial::Error)?;
        self.hub.check_sub_refresh(row, &channel)?;
        let claims = self.subscription_claims(row, channel.as_str(), token);
        let claims =
            claims.map_err(|denial| denial.or_if_expired(ClientError::RenewalExpired.into()))?;
        let info = claims.info.map(text);
        Ok((channel, Renewal { expires_at: claims.expires_at, info }))
    }

    /// What follows from a token that is not believed; `wrong` if it is wrong and stays wrong.
    fn deny(&self, fault: TokenFault, wrong: Denial) -> Denial {
        self.report_token(fault, None);
        match fault {
            TokenFault::Error(TokenError::Expired) => ClientError::TokenExpired.into(),
            // By the time the client tries again the key set may be fetched, or the time have come.
            TokenFault::Error(TokenError::UnknownKey | TokenError::NotYet) => {
                ClientError::Internal.into()
            }
            _ => wrong,
        }
    }

    /// The opening handshake is complete: the client has some time to say who it is.
    pub(super) fn await_connect(&mut self, row: u32) {
        let due = self.work.now.plus(self.settings.connect_deadline.0);
        self.wheel.insert_or_move(row, due);
    }

    /// `connect` is answered: pings begin, the first one somewhere in the interval.
    pub(super) fn handle_connected(&mut self, row: u32) {
        self.sockets[row as usize].set(PING_DUE, true);
        let first = first_ping(row, self.settings.ping_interval.0);
        self.arm_expiring_timer(row, self.work.now.plus(first));
    }

    /// The timer of an open managed connection has fired.
    pub(super) fn run_managed_timer(&mut self, row: u32) {
        if self.hub.is_unknown(row) && self.hub.is_verifying(row) {
            // It has said who it is, and we have not looked yet.
            return self.await_connect(row);
        }
        if self.hub.is_unknown(row) {
            let (code, reason) = (CloseCode::CONNECT_TIMEOUT, "no connect command in time");
            self.hub.close(row, code, reason, Cause::ProtocolError);
            return self.perform_effects();
        }
        let now = self.work.now;
        let interval = self.settings.ping_interval.0;
        let deadline = self.settings.pong_deadline.0.min(interval);
        let is_heard = self.is_heard(row);
        let socket = &mut self.sockets[row as usize];
        let pong_due = socket.last_seen.plus(interval).plus(deadline);
        let due = if socket.is(PINGED) && pong_due.is_after(now) {
            pong_due
        } else if socket.is(PINGED) && is_heard {
            return self.give_up(row);
        } else if socket.is(PING_DUE) {
            socket.set(PING_DUE, false);
            socket.set(PINGED, true);
            // The pong's deadline counts from the ping.
            socket.last_seen = Tick(now.0.wrapping_sub(interval));
            self.metrics.pings_sent.increment();
            let variant = self.hub.variant(row);
            self.reply(row, ping_frame(variant));
            now.plus(deadline)
        } else {
            self.sockets[row as usize].set(PING_DUE, true);
            now.plus((interval - deadline).max(1))
        };
        self.arm_expiring_timer(row, due);
    }
}

fn channel_of(name: &str) -> Result<ChannelName, ClientFault> {
    ChannelName::parse(name.as_bytes()).map_err(|_| ClientError::BadRequest.into())
}

/// What a connection token grants.
fn fill(grant: Grant, claims: ConnectionClaims) -> Result<Grant, Denial> {
    let mut channels = Vec::with_capacity(claims.channels.len() + claims.subs.len());
    let name =
        |name: &str| ChannelName::parse(name.as_bytes()).map_err(|_| Denial::End(INVALID_TOKEN));
    for channel in &claims.channels {
        channels.push((name(channel)?, ChannelGrant::default()));
    }
    for (channel, options) in claims.subs {
        let grant = ChannelGrant {
            info: options.info.map(text),
            data: options.data.map(text),
            expires_at: None,
            overrides: options.overrides,
        };
        channels.push((name(&channel)?, grant));
    }
    Ok(Grant {
        user: claims.user.into(),
        device: claims.device.map(Into::into).or(grant.device),
        info: claims.info.map(text),
        meta: claims.meta.map(|meta| meta.as_str().into()),
        issued_at: Some(claims.issued_at.unwrap_or_default()),
        expires_at: claims.expires_at,
        channels,
        positions: grant.positions,
        is_insecure: grant.is_insecure,
    })
}

fn text(json: Json) -> Box<str> {
    json.as_str().into()
}

/// Nothing is asked for that there is not: it would pass for given.
fn is_offered(unsupported: Option<&'static str>) -> Result<(), ClientFault> {
    let error = match unsupported {
        None => return Ok(()),
        Some("type") => ClientError::NotAvailable,
        Some(_) => ClientError::BadRequest,
    };
    Err(error.with(format!("`{}` is not supported", unsupported.unwrap_or_default())))
}

fn has_data(data: &[u8]) -> Result<(), ClientFault> {
    if data.is_empty() { Err(ClientError::BadRequest.with("`data` is missing")) } else { Ok(()) }
}
