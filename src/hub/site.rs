//! What a hub is, for as long as its process runs.

use crate::mesh::Homes;
use crate::model::ShardId;

/// Where a hub stands, which no settings change.
#[derive(Clone, Debug)]
pub struct Site {
    /// The shard.
    pub shard: ShardId,
    /// Where channels are at home.
    pub homes: Homes,
    /// What makes the epochs of this run different from those of all others.
    pub epoch_seed: u64,
}
