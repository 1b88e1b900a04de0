//! The words of the domain: channels and their rules, clients, publications and pushes, commands
//! and what they bring, events.
//!
//! Everything here is plain data and pure functions, in no form in which it travels: `protocol`
//! reads and writes the forms, and adds to these types what only a form can tell, such as the frame
//! of a [`Push`].

mod channel;
mod client;
mod command;
mod event;
mod excerpt;
mod grant;
mod info;
mod lack;
mod namespace;
mod outcome;
mod pattern;
mod position;
mod publication;
mod push;
mod reply;

pub(crate) use excerpt::excerpt;

pub use channel::{ChannelName, NameError};
pub use client::{ClientId, ClientIdError, NodeId, ShardId};
pub use command::{Answer, Command, CommandError, HistoryFilter, Outcome, Target, Ticket};
pub use event::{Event, EventKind};
pub use grant::{ChannelGrant, Overrides, SubscribeOptions};
pub use info::ClientInfo;
pub use lack::Lack;
pub use namespace::{
    NAMESPACE_NAME_FORM, Namespace, Namespaces, Permission, WhenSlow, is_namespace_name,
};
pub use pattern::{PATTERN_FORM, Pattern};
pub use position::{Epoch, EpochClaim, EpochError, Position, PositionClaim};
pub use publication::{Publication, Version};
pub use push::{EncodedPush, Push, PushBody, Variant};
pub use reply::{ClientError, ClientFault, ConnectResult, PersonalPush, Reply, SubscribeResult};
