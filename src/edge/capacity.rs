//! How many shards this process has room for, on which cores, and with which rings.

use crate::config::Config;
use crate::doctor::{Tree, quota};
use crate::edge::Error;
use crate::limits::SHARDS_MAX;
use crate::sys::host;
use crate::sys::memlock::{self, Rings};
use crate::sys::ring::Size;

/// The shards of a run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Capacity {
    /// How many there are.
    pub(super) shards: usize,
    /// The cores that they are pinned to, in turn; none if they are not.
    pub(super) cores: Vec<usize>,
}

impl Capacity {
    /// For this process.
    pub(super) fn new(config: &Config) -> Self {
        let (cores, quota) = (host::allowed_cpus(), quota(&Tree::host()));
        let quota = quota.and_then(|cores| usize::try_from(cores).ok());
        if let Some(quota) = quota.filter(|quota| *quota < cores.len()) {
            let cores = cores.len();
            tracing::info!(cores, quota, "a quota allows less than all cores: nothing is pinned");
        }
        Self::of(config, cores, quota)
    }

    /// Under a quota the scheduler chooses the cores: others that share the host would have chosen
    /// the same ones.
    fn of(config: &Config, mut cores: Vec<usize>, quota: Option<usize>) -> Self {
        let usable = quota.map_or(cores.len(), |quota| quota.min(cores.len()));
        let shards = if config.shards.count == 0 { usable } else { config.shards.count };
        if !config.shards.pin || usable < cores.len() {
            cores.clear();
        }
        Self { shards: shards.clamp(1, SHARDS_MAX), cores }
    }
}

/// Descriptors that a process has open before anybody comes, and those that it takes for moments:
/// of itself, and of each shard and endpoint.
const OF_PROCESS: u64 = 32;
const OF_SHARD: u64 = 5;
const OF_ENDPOINT: u64 = 4;

/// Descriptors for the first who come, without which an edge is of no use.
const OF_CALLERS: u64 = 32;

/// Refuses to start what would fail half-way for want of descriptors; libzmq ends the process.
pub(super) fn check_descriptors(config: &Config, shards: usize) -> Result<(), Error> {
    let endpoints = config.ingest.endpoints.len();
    let parts = OF_SHARD * shards as u64 + OF_ENDPOINT * endpoints as u64;
    let (needed, limit) = (OF_PROCESS + OF_CALLERS + parts, host::descriptor_limit());
    if needed <= limit {
        return Ok(());
    }
    Err(Error::Descriptors { shards, endpoints, needed, limit })
}

/// The largest data rings for which so many shards have locked memory.
pub(super) fn ring_size(shards: usize) -> Result<Size, Error> {
    let limits = memlock::raise_limit().and_then(|limit| Ok((limit, memlock::ask()?)));
    let limit = match limits {
        Ok((limit, Rings::Count)) => limit,
        Ok((_, Rings::AreFree)) => return Ok(Size::FULL),
        Err(error) => {
            tracing::warn!(%error, "the limit of locked memory is not known");
            return Ok(Size::FULL);
        }
    };
    let size = Size::fitting(limit / shards as u64).ok_or_else(|| no_locked_memory(shards))?;
    if size != Size::FULL {
        let needed = Size::FULL.shard_bytes() * shards as u64;
        tracing::warn!(
            setting = "LimitMEMLOCK",
            value = limit,
            needed,
            remedy = "see `tidegate doctor`",
            "there is less locked memory than rings of full size take: smaller ones cost more calls"
        );
    }
    Ok(size)
}

/// The error for shards that do not get their rings.
pub(super) fn no_locked_memory(shards: usize) -> Error {
    let count = shards as u64;
    Error::LockedMemory {
        shards,
        least: Size::LEAST.shard_bytes() * count,
        full: Size::FULL.shard_bytes() * count,
        limit: memlock::raise_limit().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity(count: usize, cores: usize, quota: Option<usize>) -> (usize, usize) {
        let mut config = Config::default();
        config.shards.count = count;
        let capacity = Capacity::of(&config, (0..cores).collect(), quota);
        (capacity.shards, capacity.cores.len())
    }

    #[test]
    fn shards_are_as_many_as_the_cores_or_what_a_quota_leaves_of_them() {
        assert_eq!(capacity(0, 4, None), (4, 4));
        assert_eq!(capacity(0, 4, Some(1)), (1, 0));
        assert_eq!(capacity(0, 4, Some(9)), (4, 4));
        assert_eq!(capacity(3, 4, Some(1)), (3, 0), "who writes a number means it");
        assert_eq!(capacity(0, 1000, None), (SHARDS_MAX, 1000));
    }
}
