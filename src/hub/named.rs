//! A table of rows that are also found by channel name, without a second copy of the name.

use hashbrown::HashTable;

use crate::hub::rows::Rows;
use crate::protocol::ChannelName;

/// A row that has a name. A free row (the default value) has none and is in no index.
pub(super) trait Named: Default {
    /// The name the row is found by.
    fn name(&self) -> Option<&ChannelName>;
}

/// Rows and their index.
#[derive(Debug)]
pub(super) struct NamedRows<T> {
    pub(super) rows: Rows<T>,
    index: HashTable<u32>,
    hasher: ahash::RandomState,
}

impl<T: Named> NamedRows<T> {
    /// An empty table.
    pub(super) fn new() -> Self {
        Self { rows: Rows::default(), index: HashTable::new(), hasher: ahash::RandomState::new() }
    }

    /// The row of a name.
    pub(super) fn find(&self, name: &ChannelName) -> Option<u32> {
        let hash = self.hasher.hash_one(name.as_str());
        self.index.find(hash, |&row| self.rows[row].name() == Some(name)).copied()
    }

    /// Adds a row whose name is not yet there.
    pub(super) fn insert(&mut self, value: T) -> u32 {
        let hash_of = |row: &T| self.hasher.hash_one(row.name().map_or("", ChannelName::as_str));
        let hash = hash_of(&value);
        let row = self.rows.insert(value);
        self.index.insert_unique(hash, row, |&row| hash_of(&self.rows[row]));
        row
    }

    /// Removes a row.
    pub(super) fn remove(&mut self, row: u32) -> T {
        let value = self.rows.remove(row);
        let hash = self.hasher.hash_one(value.name().map_or("", ChannelName::as_str));
        if let Ok(entry) = self.index.find_entry(hash, |&indexed| indexed == row) {
            entry.remove();
        }
        if self.index.is_empty() {
            self.index = HashTable::new();
        }
        value
    }
}
