//! What a subscription is given along, by a token or by a backend.

use crate::model::PositionClaim;

/// What a verified subscription token says, a connection token of one channel, or a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelGrant {
    /// What others in the channel see of the subscriber, as JSON.
    pub info: Option<Box<str>>,
    /// What the client is told, as JSON.
    pub data: Option<Box<str>>,
    /// The Unix second at which it expires.
    pub expires_at: Option<u64>,
    /// What it has otherwise than the namespace says.
    pub overrides: Overrides,
}

/// How a backend wants connections to be subscribed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// What it gives along.
    pub grant: ChannelGrant,
    /// Where the clients stand in the channel, if they are to get what they missed.
    pub position: PositionClaim,
}

/// Options of a channel that one subscription has otherwise; `None` leaves them as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Whether the subscriber is in the channel's presence, where there is one.
    pub presence: Option<bool>,
    /// Whether its join and leave are made known.
    pub join_leave: Option<bool>,
    /// Whether it can recover what it misses without asking for that.
    pub force_recovery: Option<bool>,
    /// Whether it has a position without asking for that.
    pub force_positioning: Option<bool>,
    /// Whether it is told of joins and leaves without asking for that.
    pub force_push_join_leave: Option<bool>,
}
