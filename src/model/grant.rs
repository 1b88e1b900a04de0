//! What a subscription is given along, by a token or by a backend.

use crate::model::PositionClaim;
use crate::token::Overrides;

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
