//! Who a client is, as other clients see it in presence, joins, leaves and publications.

use crate::model::ClientId;

/// One connection of a user in a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientInfo {
    /// The connection.
    pub client: ClientId,
    /// Its user; empty for an anonymous one.
    pub user: Box<str>,
    /// What its connection token says of it, as JSON.
    pub connection: Option<Box<str>>,
    /// What its subscription token says of it in this channel, as JSON.
    pub channel: Option<Box<str>>,
}
