//! What must hold at any time: nobody holds more than may be, and all together no more than there
//! is.

use std::sync::Arc;

use tidegate::settings::Budget;

use crate::world::{Shard, State, World};

/// What logs and outboxes of all shards may hold.
pub(crate) const MEMORY: [usize; 3] = [3_000, 100_000, 100_000_000];

/// A budget is at most so much more than twice the shares of all shards.
const ROUNDING: usize = 2 * 4;

/// Logs are cut between segments: of 64 KiB, or of one message that is larger.
const SEGMENT_BYTES_MAX: usize = 72_000;

/// What one of some shards may hold of a budget: its share, and all that is lent.
pub(crate) fn most_of_one(budget: &Budget, shards: usize) -> usize {
    budget.share().saturating_mul(shards + 1).saturating_add(ROUNDING)
}

impl World {
    /// All shards together hold no more than the budget that they share.
    fn check_budget(&self) {
        let budget = &self.shards[0].settings.slow;
        let is_same = |shard: &Shard| Arc::ptr_eq(&shard.settings.slow, budget);
        if self.shards.iter().all(|shard| is_same(shard) && !shard.hub.has_work()) {
            let held = self
                .shards
                .iter()
                .map(|shard| shard.metrics.log_bytes.value() + shard.metrics.outbox_bytes.value());
            let (held, most): (i64, _) = (held.sum(), 2 * budget.share() * self.shards.len());
            assert!(held <= (most + ROUNDING) as i64, "{held} bytes of all shards");
        }
    }

    /// What must hold after every batch.
    pub(crate) fn check_bounds(&self, shard: usize) {
        let Shard { hub, metrics, settings, lenient, .. } = &self.shards[shard];
        if !hub.has_work() {
            // Every pass is over: what the logs hold is only held for those that lag. (During a
            // pass the bound is larger by what the pass has still to bring to everybody.)
            let held = metrics.log_bytes.value() + metrics.outbox_bytes.value();
            let most = most_of_one(&settings.slow, self.shards.len());
            assert!(held <= most as i64, "{held} bytes in logs and outboxes");
            self.check_budget();
        }
        for &index in &self.present {
            let connection = &self.connections[index];
            if connection.shard == shard && connection.state == State::Open {
                let waiting = hub.outbox_bytes(connection.row);
                if !hub.has_work() && self.now.is_multiple_of(8) {
                    let history = &self.model.subscribers[index].history;
                    let lag = history.lag(&self.model.library).saturating_sub(waiting);
                    let most = lenient.lag_bytes_max + SEGMENT_BYTES_MAX;
                    assert!(lag <= most, "connection {index} lags {lag} bytes, not {most}");
                }
                assert!(waiting <= lenient.outbox_bytes_max, "{waiting} bytes in an outbox");
            }
        }
    }
}
