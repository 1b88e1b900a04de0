//! Settings of a shard's shell.

use std::sync::Arc;
use std::time::Duration;

use arcstr::ArcStr;

use crate::http::OriginPolicy;
use crate::settings::{Budget, HubSettings};
use crate::wheel::TICK_MILLIS;
use crate::ws::Limits;

/// Settings of one shard.
#[derive(Clone, Debug)]
pub struct ShardSettings {
    /// Settings of its hub.
    pub hub: Arc<HubSettings>,
    /// Which pages may connect.
    pub origins: OriginPolicy,
    /// The port of the internal address, for clients that mistake this address for it.
    pub internal_port: u16,
    /// Whether the `Host` must name this machine or an allowed origin, because nothing else keeps
    /// out a page whose name was made to lead here.
    pub guards_host: bool,
    /// The subprotocols of raw clients.
    pub subprotocols: Arc<[ArcStr]>,
    /// Whether `/echo` is open.
    pub echo: bool,
    /// Whether backends can hear events at all.
    pub has_event_endpoint: bool,
    /// What one message of a client may cost.
    pub limits: Limits,
    /// What messages and requests that have come in part, and commands that wait, may take.
    pub halves: Arc<Budget>,
    /// How many connections it holds; more are answered 503.
    pub connections_max: usize,
    /// How many opening handshakes may be incomplete; one more displaces the oldest.
    pub handshakes_pending_max: usize,
    /// How many opening handshakes it completes in a second; the rest wait.
    pub handshakes_per_second: u32,
    /// How long an opening handshake may take.
    pub handshake_deadline: Ticks,
    /// How long a peer may be silent before it is pinged.
    pub ping_interval: Ticks,
    /// How long a pinged peer may be silent before it is closed.
    pub pong_deadline: Ticks,
    /// In what time a message that has begun must be whole, or much more of it there.
    pub message_deadline: Ticks,
    /// How long a closing handshake may take.
    pub close_deadline: Ticks,
    /// How long a peer may not take what it is owed.
    pub age_max: Ticks,
    /// How long a managed client may take to say who it is.
    pub connect_deadline: Ticks,
    /// Whether managed clients without a token are nobody in particular, or refused.
    pub anonymous: bool,
    /// Whether clients may do everything, without a token too.
    pub insecure: bool,
    /// Whether there are keys to verify tokens: then raw clients need one.
    pub has_keys: bool,
    /// How long closing everybody takes at shutdown.
    pub drain_window: Ticks,
    /// The close code at shutdown.
    pub drain_code: u16,
}

impl ShardSettings {
    /// Settings that keep nobody out and limit little.
    pub fn unlimited(hub: Arc<HubSettings>) -> Self {
        Self {
            hub,
            origins: OriginPolicy::Any,
            internal_port: 0,
            guards_host: false,
            subprotocols: Arc::default(),
            echo: true,
            has_event_endpoint: true,
            limits: Limits { message_bytes_max: usize::MAX, fragments_max: u32::MAX },
            halves: Budget::new(usize::MAX, 1).into(),
            connections_max: usize::MAX,
            handshakes_pending_max: usize::MAX,
            handshakes_per_second: 0,
            handshake_deadline: HOUR,
            ping_interval: HOUR,
            pong_deadline: HOUR,
            message_deadline: HOUR,
            close_deadline: HOUR,
            age_max: HOUR,
            connect_deadline: HOUR,
            anonymous: true,
            insecure: true,
            has_keys: false,
            drain_window: Ticks(0),
            drain_code: 1012,
        }
    }
}

const HOUR: Ticks = Ticks(3_600_000 / TICK_MILLIS);

/// A duration in ticks of the timer wheel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticks(pub u32);

impl From<Duration> for Ticks {
    /// Rounds up: nothing happens early.
    fn from(duration: Duration) -> Self {
        let ticks = duration.as_millis().div_ceil(u128::from(TICK_MILLIS));
        Self(u32::try_from(ticks).unwrap_or(u32::MAX >> 2).min(u32::MAX >> 2))
    }
}
