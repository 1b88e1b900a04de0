//! Rows in queues of different rank: who gives first when memory is needed.
//!
//! A row stands in one queue at most. Its neighbours are numbers in the row itself, so that every
//! change takes constant time, and what is in no queue costs nothing but these numbers.

use crate::hub::rows::{Id, Rows};

/// As many ranks as what a row holds has powers of two that occur.
pub const SIZES: usize = 48;

/// The rank of so many bytes; nothing has none.
pub fn size_rank(bytes: usize) -> Option<u8> {
    bytes.checked_ilog2().map(|rank| rank.min(SIZES as u32 - 1) as u8)
}

/// In no queue.
const NOWHERE: u8 = u8::MAX;

/// Where a row stands.
#[derive(Debug)]
pub struct Place<T> {
    older: Id<T>,
    newer: Id<T>,
    rank: u8,
}

impl<T> Default for Place<T> {
    fn default() -> Self {
        Self { older: Id::NONE, newer: Id::NONE, rank: NOWHERE }
    }
}

impl<T> Place<T> {
    /// The rank of the row, if it stands in a queue.
    pub fn rank(&self) -> Option<u8> {
        (self.rank != NOWHERE).then_some(self.rank)
    }
}

/// A row that may stand in a queue.
pub trait Ranked: Default {
    /// Where it stands.
    fn place(&mut self) -> &mut Place<Self>;
}

/// One queue for each rank below `N`, which is at most 64.
#[derive(Debug)]
pub struct Ranks<T, const N: usize> {
    /// The oldest and the newest row of each queue.
    ends: [(Id<T>, Id<T>); N],
    /// A bit for each queue that has a row.
    occupied: u64,
}

impl<T, const N: usize> Default for Ranks<T, N> {
    fn default() -> Self {
        const { assert!(N <= u64::BITS as usize, "a bit for each queue") };
        Self { ends: [(Id::NONE, Id::NONE); N], occupied: 0 }
    }
}

impl<T: Ranked, const N: usize> Ranks<T, N> {
    /// Gives a row a rank, or none. It comes to the end of the queue, unless it is in it already.
    pub fn set(&mut self, rows: &mut Rows<T>, row: Id<T>, rank: Option<u8>) {
        let rank = rank.unwrap_or(NOWHERE);
        if rows[row].place().rank != rank {
            self.remove(rows, row);
            self.push(rows, row, rank);
        }
    }

    /// Moves a row to the end of its queue.
    pub fn renew(&mut self, rows: &mut Rows<T>, row: Id<T>) {
        let &mut Place { newer, rank, .. } = rows[row].place();
        if newer != Id::NONE {
            self.remove(rows, row);
            self.push(rows, row, rank);
        }
    }

    /// Takes a row out of its queue.
    pub fn remove(&mut self, rows: &mut Rows<T>, row: Id<T>) {
        let Place { older, newer, rank } = std::mem::take(rows[row].place());
        if rank == NOWHERE {
            return;
        }
        let (oldest, newest) = &mut self.ends[usize::from(rank)];
        if older == Id::NONE {
            *oldest = newer;
        } else {
            rows[older].place().newer = newer;
        }
        if newer == Id::NONE {
            *newest = older;
        } else {
            rows[newer].place().older = older;
        }
        if *oldest == Id::NONE {
            self.occupied &= !(1 << rank);
        }
    }

    /// The highest rank that a row has, and the row that has had it for longest.
    pub fn first(&self) -> Option<(u8, Id<T>)> {
        let rank = self.occupied.checked_ilog2()?;
        Some((rank as u8, self.ends[rank as usize].0))
    }

    /// The row that has had a rank for longest.
    pub fn oldest(&self, rank: u8) -> Option<Id<T>> {
        Some(self.ends[usize::from(rank)].0).filter(|&row| row != Id::NONE)
    }

    fn push(&mut self, rows: &mut Rows<T>, row: Id<T>, rank: u8) {
        if rank == NOWHERE {
            return;
        }
        let (oldest, newest) = &mut self.ends[usize::from(rank)];
        let older = std::mem::replace(newest, row);
        if older == Id::NONE {
            *oldest = row;
        } else {
            rows[older].place().newer = row;
        }
        *rows[row].place() = Place { older, newer: Id::NONE, rank };
        self.occupied |= 1 << rank;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Row(Place<Self>);

    impl Ranked for Row {
        fn place(&mut self) -> &mut Place<Self> {
            &mut self.0
        }
    }

    /// The queues as lists: rank by rank, oldest first.
    fn listed(ranks: &Ranks<Row, 4>, rows: &mut Rows<Row>) -> Vec<Vec<u32>> {
        let list = |&(oldest, newest): &(Id<Row>, Id<Row>)| {
            let (mut list, mut at, mut before) = (Vec::new(), oldest, Id::NONE);
            while at != Id::NONE {
                let &mut Place { older, newer, .. } = rows[at].place();
                assert_eq!(older, before);
                list.push(at.number());
                (before, at) = (at, newer);
            }
            assert_eq!(newest, before);
            list
        };
        ranks.ends.iter().map(list).collect()
    }

    #[test]
    fn queues_are_lists() {
        let (mut rows, mut ranks) = (Rows::<Row>::default(), Ranks::<Row, 4>::default());
        let mut model: Vec<Vec<u32>> = vec![Vec::new(); 4];
        for _ in 0..8 {
            rows.insert(Row::default());
        }
        // A walk that is the same every time and meets every rank, row and move.
        let mut state = 1u32;
        for _ in 0..5000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (row, rank) = (state >> 29, (state >> 20) as u8 % 6);
            let at = Id::new(row);
            let before = rows[at].place().rank();
            match rank {
                0..4 => ranks.set(&mut rows, at, Some(rank)),
                4 => ranks.renew(&mut rows, at),
                _ => ranks.remove(&mut rows, at),
            }
            let after = [Some(rank), before, None][usize::from(rank.saturating_sub(3))];
            if after != before || rank == 4 {
                model.iter_mut().for_each(|queue| queue.retain(|&other| other != row));
                if let Some(rank) = after {
                    model[usize::from(rank)].push(row);
                }
            }
            assert_eq!(listed(&ranks, &mut rows), model);
            let first = (0..4).rev().find_map(|rank| Some((rank as u8, *model[rank].first()?)));
            assert_eq!(ranks.first().map(|(rank, row)| (rank, row.number())), first);
        }
    }
}
