//! A table of rows that are also found by channel name, without a second copy of the name.

use hashbrown::HashTable;

use crate::hub::rows::{Id, Rows};
use crate::model::ChannelName;

/// A row that has a name. A free row (the default value) has none and is in no index.
pub(super) trait Named: Default {
    /// The name the row is found by.
    fn name(&self) -> Option<&ChannelName>;

    /// What tells rows of the same name apart.
    fn distinction(&self) -> u8 {
        0
    }
}

/// The index has room for at most so many rows from the start. Its room costs a byte for each,
/// used or not; growing a small index would leave its old places behind.
const INDEX_ROWS: usize = 1 << 16;

/// Rows and their index.
#[derive(Debug)]
pub(super) struct NamedRows<T> {
    pub(super) rows: Rows<T>,
    index: HashTable<Id<T>>,
    hasher: ahash::RandomState,
}

impl<T: Named> NamedRows<T> {
    /// An empty table with room for some rows.
    pub(super) fn with_capacity(expected: usize) -> Self {
        Self {
            rows: Rows::with_capacity(expected),
            index: HashTable::with_capacity(expected.min(INDEX_ROWS)),
            hasher: ahash::RandomState::new(),
        }
    }

    /// The row of a name where all rows have the same distinction.
    pub(super) fn find(&self, name: &ChannelName) -> Option<Id<T>> {
        self.find_distinct(name, 0)
    }

    /// The row of a name and a distinction.
    pub(super) fn find_distinct(&self, name: &ChannelName, distinction: u8) -> Option<Id<T>> {
        let [found] = self.find_each(name, [distinction]);
        found
    }

    /// The rows of a name and each of some distinctions.
    pub(super) fn find_each<const N: usize>(
        &self,
        name: &ChannelName,
        distinctions: [u8; N],
    ) -> [Option<Id<T>>; N] {
        let hash = self.hasher.hash_one(name.as_str());
        distinctions.map(|distinction| {
            let is_it = |&row: &Id<T>| {
                let row = &self.rows[row];
                row.distinction() == distinction && row.name() == Some(name)
            };
            self.index.find(hash, is_it).copied()
        })
    }

    /// The rows in use.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.index.iter().map(|&row| &self.rows[row])
    }

    /// Adds a row whose name is not yet there.
    pub(super) fn insert(&mut self, value: T) -> Id<T> {
        let hash_of = |row: &T| self.hasher.hash_one(row.name().map_or("", ChannelName::as_str));
        let hash = hash_of(&value);
        let row = self.rows.insert(value);
        self.index.insert_unique(hash, row, |&row| hash_of(&self.rows[row]));
        row
    }

    /// Removes a row.
    pub(super) fn remove(&mut self, row: Id<T>) -> T {
        let value = self.rows.remove(row);
        let hash = self.hasher.hash_one(value.name().map_or("", ChannelName::as_str));
        if let Ok(entry) = self.index.find_entry(hash, |&indexed| indexed == row) {
            entry.remove();
        }
        if self.index.is_empty() && self.index.capacity() > 2 * INDEX_ROWS {
            self.index = HashTable::with_capacity(INDEX_ROWS);
        }
        value
    }
}
