//! What backends say to the edge and hear from it: names, publications, commands, events.
//!
//! Everything here is plain data and pure functions. The same [`Command`] comes out of every
//! entrance (ZeroMQ now, HTTP beside it), so that there is one meaning for each operation.

mod channel;
mod client;
mod command;
mod event;
mod publication;

pub use channel::{ChannelName, NameError};
pub use client::{ClientId, ClientIdError, ShardId};
pub use command::{Answer, Command, CommandError, Target, Ticket};
pub use event::{Event, EventKind};
pub use publication::Publication;
