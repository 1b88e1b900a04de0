//! What backends say to the edge and hear from it: names, publications, commands, events.
//!
//! Everything here is plain data and pure functions. The same [`Command`] comes out of every
//! entrance (ZeroMQ in `decode`, HTTP in `http_api`), so that there is one meaning for each
//! operation.

mod argument;
pub mod centrifuge;
mod channel;
mod client;
mod command;
mod decode;
mod encode;
mod event;
mod grant;
pub mod http_api;
mod info;
mod lack;
mod meta;
mod namespace;
mod outcome;
mod pattern;
mod position;
mod publication;
mod push;
mod refusal;
mod value;

pub use argument::{DISCONNECT_CODE, DISCONNECT_REASON};
pub use channel::{ChannelName, NameError};
pub use client::{ClientId, ClientIdError, ShardId};
pub use command::{Answer, Command, CommandError, HistoryFilter, Outcome, Target, Ticket};
pub use decode::{COMMAND_TOPIC, Decoded, decode_parts};
pub use encode::{Accepted, EncodedEvent, encode_answer, encode_event};
pub use event::{Event, EventKind};
pub use grant::{ChannelGrant, SubscribeOptions};
pub use info::ClientInfo;
pub use lack::Lack;
pub use meta::RequestId;
pub use namespace::{Namespace, Namespaces, Permission, WhenSlow};
pub use pattern::Pattern;
pub use position::{Epoch, EpochClaim, EpochError, Position};
pub use publication::{Publication, Version};
pub use push::{EncodedPush, Push, PushBody, Variant};
pub use refusal::{DecodeError, LABEL_BYTES_MAX, META_BYTES_MAX, Malformed, REASON_BYTES_MAX};
