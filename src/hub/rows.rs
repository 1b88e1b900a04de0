//! Rows with stable `u32` numbers: what per-connection state is kept in.
//!
//! A freed row is reused before the table grows. Numbers of four bytes instead of pointers of
//! eight are half of what makes a connection small.

use crate::sys::memory::give_back_spare;

/// "No row": the end of a list, or nothing there.
pub const NONE: u32 = u32::MAX;

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
    pub fn insert(&mut self, value: T) -> u32 {
        if let Some(row) = self.free.pop() {
            self.rows[row as usize] = value;
            return row;
        }
        let row = u32::try_from(self.rows.len()).expect("a table has fewer than 2^32 rows");
        assert!(row != NONE, "a table has fewer than 2^32 - 1 rows");
        self.rows.push(value);
        row
    }

    /// Takes a value out; the row may be reused from now on.
    pub fn remove(&mut self, row: u32) -> T {
        let value = std::mem::take(&mut self.rows[row as usize]);
        self.free.push(row);
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

    /// How many rows are in use.
    pub fn len(&self) -> usize {
        self.rows.len() - self.free.len()
    }

    /// Whether no row is in use.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The row, if the table is that high. A free row reads as the default value.
    pub fn get(&self, row: u32) -> Option<&T> {
        self.rows.get(row as usize)
    }
}

impl<T> std::ops::Index<u32> for Rows<T> {
    type Output = T;

    fn index(&self, row: u32) -> &T {
        &self.rows[row as usize]
    }
}

impl<T> std::ops::IndexMut<u32> for Rows<T> {
    fn index_mut(&mut self, row: u32) -> &mut T {
        &mut self.rows[row as usize]
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
