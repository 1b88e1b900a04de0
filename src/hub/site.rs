//! What a hub is, for as long as its process runs.

use crate::mesh::Homes;
use crate::model::{NodeId, ShardId};

/// Where a hub stands, which no settings change.
#[derive(Clone, Debug)]
pub struct Site {
    /// The edge.
    pub node: NodeId,
    /// The shard.
    pub shard: ShardId,
    /// Where channels are at home.
    pub homes: Homes,
    /// What makes the epochs of this run different from those of all others.
    pub epoch_seed: u64,
}

impl Site {
    /// A shard of an edge that is alone, with the epochs of no run in particular.
    pub fn new(shard: ShardId, homes: Homes) -> Self {
        Self { node: NodeId(0), shard, homes, epoch_seed: 0 }
    }
}
