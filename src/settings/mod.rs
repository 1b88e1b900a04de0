//! What a shard is told of how to serve, in the units that it works with.
//!
//! Settings are immutable: a shard and its hub hold one `Arc` each, read it at every use, and keep
//! nothing of it that a replacement would not reach. So a running shard can be told
//! anew, by [`crate::mesh::Envelope::Configure`], and connections stay as they are: what they may
//! do from then on follows the new settings. What a replacement must leave as it is says
//! [`HubSettings::may_follow`].
//!
//! Not here: what a shard is for as long as it runs, which is its site
//! ([`crate::hub::Site`]) and what its thread is started with.

mod budget;
mod hub;
mod shard;

pub use budget::{Allowance, Budget};
pub use hub::{HubSettings, Rates};
pub use shard::{ShardSettings, Ticks};
