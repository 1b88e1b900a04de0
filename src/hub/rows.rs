//! Rows with stable numbers: what per-connection state is kept in.
//!
//! A freed row is reused before the table grows. Numbers of four bytes instead of pointers of
//! eight are half of what makes a connection small. The numbers of each table are a type of their
//! own, so that none is taken for one of another.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

use crate::sys::memory::give_back_spare;

/// The number of a row in a table of `T`.
pub struct Id<T>(u32, PhantomData<fn() -> T>);

impl<T> Id<T> {
    /// "No row": the end of a list, or nothing there.
    pub const NONE: Self = Self::new(u32::MAX);

    /// The row with a number, as it came from outside.
    pub const fn new(number: u32) -> Self {
        Self(number, PhantomData)
    }

    /// The number, as it goes outside.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The place in the table.
    fn index(self) -> usize {
        self.0 as usize
    }
}

// Derived, these would ask the same of `T`.
impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Id<T> {}

impl<T> Default for Id<T> {
    fn default() -> Self {
        Self::NONE
    }
}

impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Id<T> {}

impl<T> Hash for Id<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NONE { f.write_str("none") } else { self.0.fmt(f) }
    }
}

/// A table of rows.
#[derive(Debug)]
pub struct Rows<T> {
    rows: Vec<T>,
    free: Vec<u32>,
}

/// A table that was higher than this gives its memory back when its last row is freed.
const KEPT_ROWS: usize = 4096;

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl<T> Rows<T> {
    /// A table with room for some rows. Room that is not used costs address space and no memory,
    /// while growing would copy the table and leave its old place behind.
    pub fn with_capacity(expected: usize) -> Self {
        Self { rows: Vec::with_capacity(expected), free: Vec::new() }
    }
}

impl<T: Default> Rows<T> {
    /// Puts a value into a free row, or a new one.
    pub fn insert(&mut self, value: T) -> Id<T> {
        if let Some(row) = self.free.pop() {
            self.rows[row as usize] = value;
            return Id::new(row);
        }
        let row = u32::try_from(self.rows.len()).expect("a table has fewer than 2^32 rows");
        assert!(row != u32::MAX, "a table has fewer than 2^32 - 1 rows");
        self.rows.push(value);
        Id::new(row)
    }

    /// Takes a value out; the row may be reused from now on.
    pub fn remove(&mut self, row: Id<T>) -> T {
        let value = std::mem::take(&mut self.rows[row.index()]);
        self.free.push(row.number());
        if self.free.len() == self.rows.len() {
            let is_large = self.rows.len() > KEPT_ROWS;
            self.rows.clear();
            self.free.clear();
            if is_large {
                self.free = Vec::new();
                give_back_spare(&mut self.rows);
            }
        }
        value
    }

    /// The rows in use and the free ones, as a number of the highest row so far plus one.
    pub fn height(&self) -> u32 {
        self.rows.len() as u32
    }

    /// Every row up to the highest so far, whether it is in use or free.
    pub fn ids(&self) -> impl Iterator<Item = Id<T>> + use<T> {
        (0..self.height()).map(Id::new)
    }

    /// How many rows are in use.
    pub fn len(&self) -> usize {
        self.rows.len() - self.free.len()
    }

    /// Whether no row is in use.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The row, if the table is that high. A free row reads as the default value.
    pub fn get(&self, row: Id<T>) -> Option<&T> {
        self.rows.get(row.index())
    }
}

impl<T> std::ops::Index<Id<T>> for Rows<T> {
    type Output = T;

    fn index(&self, row: Id<T>) -> &T {
        &self.rows[row.index()]
    }
}

impl<T> std::ops::IndexMut<Id<T>> for Rows<T> {
    fn index_mut(&mut self, row: Id<T>) -> &mut T {
        &mut self.rows[row.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_reused() {
        let mut rows = Rows::default();
        let (a, b) = (rows.insert('a'), rows.insert('b'));
        assert_eq!(rows.remove(a), 'a');
        assert_eq!((rows.insert('c'), rows[a], rows[b], rows.len()), (a, 'c', 'b', 2));
        rows.remove(a);
        rows.remove(b);
        assert_eq!((rows.height(), rows.is_empty()), (0, true));
    }
}
