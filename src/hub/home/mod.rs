//! The home side of channels: which shards have subscribers, the stream and its history, who is
//! there by name, the keys of publications, and the sessions of users.
//!
//! One shard owns all of it for each channel, so there is no lock and one order of everything.

mod attend;
pub(super) mod epochs;
pub(super) mod history;
mod member;
mod payers;
mod publish;
mod query;
mod record;
pub(super) mod repeats;
pub(super) mod roll;
pub(super) mod session;
pub(super) mod stream;

pub(super) use record::Record;
