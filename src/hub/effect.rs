//! What the hub asks of its shell.

use std::sync::Arc;

use crate::mesh::{Envelope, Outbound, Refusal};
use crate::metrics::ShardMetrics;
use crate::model::{ChannelName, ShardId};
use crate::protocol::centrifuge::Request;
use crate::settings::ShardSettings;
use crate::ws::close::CloseCode;

/// One thing to do, in the order in which the hub decided it.
#[derive(Debug)]
pub enum Effect {
    /// Pass an envelope to another shard.
    Send(ShardId, Envelope),
    /// Tell an asker something; the number is the asker's place.
    Tell(u8, Outbound),
    /// All channels of the connection are joined: complete its opening handshake.
    Opened(u32),
    /// The session is not admitted: refuse the opening handshake.
    Refused(u32, Refusal),
    /// A close frame stands in the connection's outbox, which is all that is left to send.
    Closing(u32, CloseCode, Cause),
    /// A managed connection's `connect` was answered.
    Connected(u32),
    /// The moment at which a connection or a subscription of it expires has changed.
    Expiry(u32),
    /// A command's token is to be verified: [`crate::hub::Hub::verified`] says what it is then.
    Verify(u32, Box<Request>),
    /// Tokens of the user of a personal channel, or of one of its devices, that were made up to
    /// this Unix second are to be refused.
    Revoke(ChannelName, Option<Box<str>>, u64),
    /// A connection that was not to be read may be again: [`crate::hub::Hub::is_audible`].
    Audible(u32),
    /// The connection's socket is full: say when it is writable, and watch its age.
    Blocked(u32),
    /// Take other settings.
    Configure(Arc<ShardSettings>),
}

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The peer closed, or answered our close.
    Peer,
    /// The socket broke or ended without a closing handshake.
    Lost,
    /// The peer broke the protocol.
    ProtocolError,
    /// The peer did not take what it was sent.
    Slow,
    /// It held more than others of the memory for what waits, which is used up.
    Hoarding,
    /// A message of it came in part only, for too long or while the memory for such was used up.
    HalfRead,
    /// A backend said so.
    Command,
    /// Its token, or what a backend set for it, has expired.
    Expired,
    /// A newer session of the user took its place.
    Evicted,
    /// The edge is shutting down.
    Drained,
}

impl Cause {
    /// Counts publications that a connection is owed and will not get.
    pub(super) fn count_dropped(self, metrics: &ShardMetrics, count: u64) {
        match self {
            Self::Slow | Self::Hoarding => metrics.deliveries_slow.add(count),
            _ => metrics.deliveries_abandoned.add(count),
        }
    }
}
