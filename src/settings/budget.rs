//! Memory budgets of the process, shared out among its shards without a lock.
//!
//! Half of a budget is divided: each shard is sure of its share, whatever the others hold. The
//! other half is a pool, from which a shard that needs more than its share borrows in portions, and
//! to which it gives back what it no longer needs. So all shards together never hold more than the
//! budget, and one that is busy among idle ones may hold half of it and its share. As long as a
//! shard stays within what it has, nothing that it shares with others is touched.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is borrowed at once: at least so much, and at most one part in so many of what a shard
/// would have of the pool, so that little lies idle where it was borrowed.
const PORTION_BYTES_MIN: usize = 64 * 1024;
const PORTIONS: usize = 8;

/// A budget for all shards together.
#[derive(Debug)]
pub struct Budget {
    /// What each shard is sure of.
    share: usize,
    portion: usize,
    /// What nobody has borrowed.
    left: AtomicUsize,
}

impl Budget {
    /// So many bytes for so many shards.
    pub fn new(bytes: usize, shards: usize) -> Self {
        let shards = shards.max(1);
        let share = bytes / 2 / shards;
        let pool = bytes - share * shards;
        let portion = (pool / shards / PORTIONS).max(PORTION_BYTES_MIN);
        Self { share, portion, left: AtomicUsize::new(pool) }
    }

    /// What each shard is sure of.
    pub fn share(&self) -> usize {
        self.share
    }

    /// Takes as much as is wanted of the pool, or all that is left.
    fn take(&self, wanted: usize) -> usize {
        let rest = |left: usize| Some(left.saturating_sub(wanted));
        let before = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest);
        before.unwrap_or_else(|left| left).min(wanted)
    }

    fn give(&self, bytes: usize) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// What one shard may hold of a budget.
#[derive(Debug)]
pub struct Allowance {
    budget: Arc<Budget>,
    /// Its share, and what it has borrowed.
    bytes: usize,
}

impl Allowance {
    /// A share.
    pub fn new(budget: Arc<Budget>) -> Self {
        Self { bytes: budget.share, budget }
    }

    /// Whether the shard may hold so much, which it may have to borrow.
    pub fn covers(&mut self, held: usize) -> bool {
        held <= self.bytes || self.borrow(held)
    }

    #[cold]
    fn borrow(&mut self, held: usize) -> bool {
        let wanted = (held - self.bytes).max(self.budget.portion);
        self.bytes += self.budget.take(wanted);
        held <= self.bytes
    }

    /// Gives back what is not needed to hold so much, but for one portion: now and then.
    pub fn give_back(&mut self, held: usize) {
        let needed = held.max(self.budget.share).saturating_add(self.budget.portion);
        let spare = self.bytes.saturating_sub(needed);
        if spare > 0 {
            self.bytes -= spare;
            self.budget.give(spare);
        }
    }

    /// Has a share of another budget from here on.
    pub fn configure(&mut self, budget: &Arc<Budget>) {
        if !Arc::ptr_eq(&self.budget, budget) {
            self.budget.give(self.bytes - self.budget.share);
            *self = Self::new(Arc::clone(budget));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn shards(bytes: usize, count: usize) -> Vec<Allowance> {
        let budget = Arc::new(Budget::new(bytes, count));
        (0..count).map(|_| Allowance::new(Arc::clone(&budget))).collect()
    }

    /// The most that a shard may hold.
    fn most(shard: &mut Allowance) -> usize {
        while shard.covers(shard.bytes + 1) {}
        shard.bytes
    }

    #[test]
    fn a_shard_among_idle_ones_has_half_of_it_and_its_share() {
        for (count, parts) in [(1, [1, 1]), (2, [3, 4]), (16, [17, 32]), (64, [65, 128])] {
            let mut all = shards(512 * MIB, count);
            assert_eq!(most(&mut all[0]), 512 * MIB * parts[0] / parts[1], "of {count} shards");
        }
    }

    #[test]
    fn all_together_have_no_more_than_it_and_each_has_its_share() {
        for bytes in [MIB, 512 * MIB, 512 * MIB + 7] {
            let mut all = shards(bytes, 16);
            let held: Vec<usize> = all.iter_mut().map(most).collect();
            assert_eq!(held.iter().sum::<usize>(), bytes);
            assert!(held.iter().all(|&held| held >= bytes / 32));
        }
    }

    #[test]
    fn what_is_not_needed_goes_back_to_the_others() {
        let mut all = shards(512 * MIB, 4);
        let most_alone = most(&mut all[0]);
        assert!(!all[1].covers(65 * MIB), "it is sure of 64 MiB, and the pool is empty");
        all[0].give_back(100 * MIB);
        assert!(all[0].covers(100 * MIB) && all[1].covers(65 * MIB));
        for shard in &mut all {
            shard.give_back(0);
        }
        let kept: usize = all.iter().map(|shard| shard.bytes - shard.budget.share).sum();
        assert!(kept <= 2 * all[0].budget.portion, "of those who had borrowed, a portion each");
        assert!(most(&mut all[2]) >= most_alone - kept);
    }

    #[test]
    fn another_budget_takes_the_place_of_one() {
        let mut all = shards(512 * MIB, 2);
        let old = Arc::clone(&all[0].budget);
        most(&mut all[0]);
        let new = Arc::new(Budget::new(8 * MIB, 2));
        all[0].configure(&new);
        assert_eq!((all[0].bytes, old.left.load(Ordering::Relaxed)), (2 * MIB, 256 * MIB));
        most(&mut all[0]);
        all[0].configure(&new);
        assert_eq!(all[0].bytes, 6 * MIB, "the same is no other");
    }
}
