//! The rows of the hub: a connection, its subscriptions, and a channel's members.

use crate::hub::delivery::channel::Channel;
use crate::hub::delivery::outbox::Outbox;
use crate::hub::rows::Id;
use crate::model::Variant;

/// One connection as the hub sees it.
#[derive(Debug)]
pub(in crate::hub) struct Connection {
    /// The shell's word for its socket; the hub only hands it back.
    pub(in crate::hub) token: i32,
    /// Which occupant of the row this is.
    pub(in crate::hub) generation: u32,
    /// The first of its subscriptions, which are a ring.
    pub(in crate::hub) subscriptions: Id<Subscription>,
    /// Its outbox, while something waits for its socket.
    pub(in crate::hub) outbox: Id<Outbox>,
    /// How many subscriptions there are.
    pub(in crate::hub) subscription_count: u16,
    /// The batch it was last part of: it may be in each only once.
    pub(in crate::hub) batch: u16,
    /// Where it is in its life.
    pub(in crate::hub) phase: Phase,
    /// The wire variant it is sent things in.
    pub(in crate::hub) variant: Variant,
    /// What else is true of it.
    pub(in crate::hub) flags: u8,
}

const _: () = assert!(size_of::<Connection>() <= 24, "a row of the hub per connection");

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::hub) enum Phase {
    /// The row is free.
    #[default]
    Free,
    /// The opening handshake has not been read.
    Attached,
    /// Its channels are being joined.
    Joining,
    /// Messages flow.
    Open,
    /// Only its outbox is still to be sent.
    Closing,
    /// It has no socket, and channels left to leave.
    Gone,
}

/// The socket is full: the shell waits until it is writable.
pub(in crate::hub) const BLOCKED: u8 = 0x01;
/// It stands in the queue of connections that catch up.
pub(in crate::hub) const CATCHING_UP: u8 = 0x02;
/// Its first subscription is its user's personal channel.
pub(in crate::hub) const HAS_USER: u8 = 0x04;
/// It takes no part in broadcasts to everybody and raises no events.
pub(in crate::hub) const IS_DETACHED_FROM_ALL: u8 = 0x08;
/// Backends have heard that it is connected.
pub(in crate::hub) const ANNOUNCED: u8 = 0x10;
/// Nothing is sent until the reply to its `connect` can be.
pub(in crate::hub) const HELD: u8 = 0x20;

impl Default for Connection {
    fn default() -> Self {
        Self {
            token: -1,
            generation: 0,
            subscriptions: Id::NONE,
            outbox: Id::NONE,
            subscription_count: 0,
            batch: 0,
            phase: Phase::Free,
            variant: Variant::Raw,
            flags: 0,
        }
    }
}

impl Connection {
    /// Whether a flag is set.
    pub(in crate::hub) fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Sets or clears a flag.
    pub(in crate::hub) fn set(&mut self, flag: u8, value: bool) {
        if value {
            self.flags |= flag;
        } else {
            self.flags &= !flag;
        }
    }
}

/// A connection's interest in a channel, as a link of the connection's ring.
#[derive(Clone, Copy, Debug)]
pub(in crate::hub) struct Subscription {
    /// The channel.
    pub(in crate::hub) channel: Id<Channel>,
    /// Its place among the members of the channel.
    pub(in crate::hub) member: u32,
    /// The connection's next subscription.
    pub(in crate::hub) next: Id<Self>,
}

impl Default for Subscription {
    fn default() -> Self {
        Self { channel: Id::NONE, member: u32::MAX, next: Id::NONE }
    }
}

/// A channel's subscriber: 16 bytes, walked in order by each round.
#[derive(Clone, Copy, Debug)]
pub(in crate::hub) struct Member {
    /// The connection.
    pub(in crate::hub) connection: Id<Connection>,
    /// The subscription that knows this place; none in a broadcast to everybody.
    pub(in crate::hub) subscription: Id<Subscription>,
    /// How far it has sent.
    pub(in crate::hub) cursor: Cursor,
}

const _: () = assert!(size_of::<Member>() == 16, "a round walks members in order");

/// A position in a log, and whether the member lags: then it is served when its socket is
/// writable, and rounds pass it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hub) struct Cursor(u64);

impl Cursor {
    const LAGS: u64 = 1 << 63;

    /// The cursor of a subscription that has not begun: beyond any head, so that nothing is owed.
    pub(in crate::hub) const BEYOND: Self = Self(Self::LAGS - 1);

    /// A cursor that does not lag.
    pub(in crate::hub) fn at(position: u64) -> Self {
        Self(position)
    }

    /// The position.
    pub(in crate::hub) fn position(self) -> u64 {
        self.0 & !Self::LAGS
    }

    /// Whether the member lags.
    pub(in crate::hub) fn lags(self) -> bool {
        self.0 & Self::LAGS != 0
    }

    /// The same position, lagging or not.
    pub(in crate::hub) fn with_lag(self, lags: bool) -> Self {
        Self(self.position() | if lags { Self::LAGS } else { 0 })
    }

    /// Moves it, lagging or not as before.
    pub(super) fn move_to(&mut self, position: u64) {
        self.0 = position | (self.0 & Self::LAGS);
    }
}
