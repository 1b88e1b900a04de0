//! What waits for the answers of homes.

use crate::hub::delivery::connection::Connection;
use crate::hub::rows::Id;
use crate::model::{CommandError, Ticket};

/// Somebody waits until homes have answered.
#[derive(Debug, Default)]
pub(super) struct Joining {
    pub(super) remaining: u32,
    /// Whether the answer about the session is among what remains.
    pub(super) awaits_entry: bool,
    /// Why a home let nobody in.
    pub(super) error: Option<CommandError>,
    pub(super) then: Then,
}

impl Joining {
    /// Waits for whoever began it, who arrives last.
    pub(super) fn new(then: Then) -> Self {
        Self { remaining: 1, then, ..Self::default() }
    }
}

/// What to do when all homes have answered.
#[derive(Debug, Default)]
pub(super) enum Then {
    /// Whoever waited is gone.
    #[default]
    Nothing,
    /// Open the connection.
    Open(Id<Connection>),
    /// Answer the `connect` of a managed connection.
    Connect(Id<Connection>),
    /// Tell the asker of a command.
    Answer(Option<Ticket>),
}
