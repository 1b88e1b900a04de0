//! The slots of a wheel, and a row for each timer.
//!
//! A slot is a bag of ids in blocks of one cache line, so filling and emptying it touches one line
//! per 15 ids and none of a neighbour's. The row of a timer says when it fires and where its entry
//! is. An entry is never searched for: a timer that is cancelled leaves it behind to be used again,
//! and one that moves to an earlier slot gets another entry there. What a slot holds counts only if
//! the row still says that it is there; the rest is forgotten when the slot is emptied.
//!
//! Invariant: a timer whose row names a slot has an entry in it, and a bit of `occupied` is set
//! exactly when that slot has an entry.

use crate::wheel::tick::Tick;

/// How many levels there are.
pub(super) const LEVELS: usize = 11;

/// Slots of one level: one word of occupancy bits.
pub(super) const SLOTS: usize = 64;

const NIL: u32 = u32::MAX;
const NOWHERE: u16 = u16::MAX;

/// Ids of a block.
const BLOCK_IDS: usize = 15;

/// Some ids of a slot, and where more of them are.
#[derive(Clone)]
#[repr(align(64))]
struct Block {
    ids: [u32; BLOCK_IDS],
    next: u32,
}

const _: () = assert!(size_of::<Block>() == 64);

/// The blocks of one slot. All but the first are full.
#[derive(Clone, Copy)]
struct Slot {
    first: u32,
    first_len: u32,
}

const EMPTY: Slot = Slot { first: NIL, first_len: 0 };

/// One timer.
#[derive(Clone)]
struct Row {
    deadline: Tick,
    /// Where its entry is.
    slot: u16,
    is_armed: bool,
}

const _: () = assert!(size_of::<Row>() + size_of::<Block>().div_ceil(BLOCK_IDS) <= 16);

const UNARMED: Row = Row { deadline: Tick(0), slot: NOWHERE, is_armed: false };

/// All rows and all slots.
pub(super) struct Slots {
    rows: Vec<Row>,
    blocks: Vec<Block>,
    /// The first of the blocks that no slot uses.
    free: u32,
    slots: [Slot; LEVELS * SLOTS],
    occupied: [u64; LEVELS],
}

impl Slots {
    pub(super) fn with_capacity(count: usize) -> Self {
        // Each slot has at most one block that is not full.
        let blocks = if count == 0 { 0 } else { count / BLOCK_IDS + LEVELS * SLOTS };
        Self {
            rows: Vec::with_capacity(count),
            blocks: Vec::with_capacity(blocks),
            free: NIL,
            slots: [EMPTY; LEVELS * SLOTS],
            occupied: [0; LEVELS],
        }
    }

    /// Arms a timer, or changes its deadline if it is armed. Returns whether it was, and the slot
    /// that its entry is in, if it has one.
    pub(super) fn arm(&mut self, id: u32, deadline: Tick) -> (bool, Option<u16>) {
        let place = id as usize;
        if place >= self.rows.len() {
            self.rows.resize(place + 1, UNARMED);
        }
        let row = &mut self.rows[place];
        let was_armed = std::mem::replace(&mut row.is_armed, true);
        row.deadline = deadline;
        (was_armed, (row.slot != NOWHERE).then_some(row.slot))
    }

    /// Disarms a timer; false if it was not armed.
    pub(super) fn disarm(&mut self, id: u32) -> bool {
        self.rows.get_mut(id as usize).is_some_and(|row| std::mem::take(&mut row.is_armed))
    }

    /// Gives a timer that has a row an entry in a slot, which is its only one that counts.
    pub(super) fn put(&mut self, id: u32, slot: u16) {
        self.rows[id as usize].slot = slot;
        let Slot { first, first_len } = self.slots[usize::from(slot)];
        if first == NIL || first_len as usize == BLOCK_IDS {
            let block = self.take_block(first);
            self.blocks[block as usize].ids[0] = id;
            self.slots[usize::from(slot)] = Slot { first: block, first_len: 1 };
            self.occupied[level_of(slot)] |= bit_of(slot);
        } else {
            self.blocks[first as usize].ids[first_len as usize] = id;
            self.slots[usize::from(slot)].first_len += 1;
        }
    }

    /// Takes an id out of a slot, and its deadline if the timer is there and armed.
    pub(super) fn pop(&mut self, slot: u16) -> Option<(u32, Option<Tick>)> {
        let Slot { first, first_len } = self.slots[usize::from(slot)];
        if first == NIL {
            return None;
        }
        let id = self.blocks[first as usize].ids[first_len as usize - 1];
        if first_len == 1 {
            self.drop_block(slot);
        } else {
            self.slots[usize::from(slot)].first_len -= 1;
        }
        Some((id, self.leave(id, slot)))
    }

    /// Takes a block of ids out of a slot, and calls `moved` for each armed timer among them that
    /// is there.
    pub(super) fn pop_block(&mut self, slot: u16, mut moved: impl FnMut(&mut Self, u32, Tick)) {
        let Slot { first, first_len } = self.slots[usize::from(slot)];
        if first == NIL {
            return;
        }
        let ids = self.blocks[first as usize].ids;
        self.drop_block(slot);
        for &id in &ids[..first_len as usize] {
            if let Some(deadline) = self.leave(id, slot) {
                moved(self, id, deadline);
            }
        }
    }

    /// The deadline of an armed timer.
    pub(super) fn deadline(&self, id: u32) -> Option<Tick> {
        let row = self.rows.get(id as usize)?;
        row.is_armed.then_some(row.deadline)
    }

    /// Whether a slot has an entry.
    pub(super) fn is_occupied(&self, slot: u16) -> bool {
        self.occupied[level_of(slot)] & bit_of(slot) != 0
    }

    /// How many slots of a level lie between `from` and its first occupied slot, cyclically.
    pub(super) fn distance_to_occupied(&self, level: usize, from: u32) -> Option<u32> {
        let occupied = self.occupied[level];
        (occupied != 0).then(|| occupied.rotate_right(from % SLOTS as u32).trailing_zeros())
    }

    /// An entry of a timer in a slot is gone. Returns the deadline if the entry counted and the
    /// timer is armed.
    fn leave(&mut self, id: u32, slot: u16) -> Option<Tick> {
        let row = &mut self.rows[id as usize];
        if row.slot != slot {
            return None;
        }
        row.slot = NOWHERE;
        row.is_armed.then_some(row.deadline)
    }

    fn take_block(&mut self, next: u32) -> u32 {
        if self.free == NIL {
            self.blocks.push(Block { ids: [0; BLOCK_IDS], next });
            return self.blocks.len() as u32 - 1;
        }
        let block = self.free;
        self.free = std::mem::replace(&mut self.blocks[block as usize].next, next);
        block
    }

    /// Frees the first block of a slot that has one.
    fn drop_block(&mut self, slot: u16) {
        let block = self.slots[usize::from(slot)].first;
        let next = std::mem::replace(&mut self.blocks[block as usize].next, self.free);
        self.free = block;
        if next == NIL {
            self.slots[usize::from(slot)] = EMPTY;
            self.occupied[level_of(slot)] &= !bit_of(slot);
        } else {
            self.slots[usize::from(slot)] = Slot { first: next, first_len: BLOCK_IDS as u32 };
        }
    }
}

fn level_of(slot: u16) -> usize {
    usize::from(slot) / SLOTS
}

fn bit_of(slot: u16) -> u64 {
    1 << (usize::from(slot) % SLOTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn armed(slots: &mut Slots, id: u32, slot: u16) {
        slots.arm(id, Tick(id));
        slots.put(id, slot);
    }

    #[test]
    fn a_slot_gives_back_every_id_and_its_blocks() {
        let mut slots = Slots::with_capacity(0);
        for _ in 0..3 {
            (0..40).for_each(|id| armed(&mut slots, id, 70));
            let mut ids = Vec::new();
            slots.pop_block(70, |_, id, deadline| {
                assert_eq!(deadline, Tick(id));
                ids.push(id);
            });
            ids.extend(std::iter::from_fn(|| slots.pop(70)).map(|(id, _)| id));
            ids.sort_unstable();
            assert_eq!(ids, (0..40).collect::<Vec<_>>());
            assert_eq!(slots.distance_to_occupied(1, 0), None, "an empty slot clears its bit");
        }
        assert_eq!(slots.blocks.len(), 3, "blocks are used again");
    }

    #[test]
    fn an_entry_counts_only_where_the_row_says() {
        let mut slots = Slots::with_capacity(0);
        armed(&mut slots, 5, 70);
        armed(&mut slots, 5, 3);
        assert_eq!(slots.pop(70), Some((5, None)), "it moved away");
        assert!(slots.disarm(5));
        assert!(!slots.disarm(5), "it is disarmed already");
        assert_eq!(slots.pop(3), Some((5, None)), "it was cancelled");
        assert_eq!(slots.arm(5, Tick(9)), (false, None), "nothing of it is left");
    }

    #[test]
    fn an_unknown_id_is_unarmed() {
        let mut slots = Slots::with_capacity(0);
        assert!(!slots.disarm(9));
        assert_eq!(slots.deadline(9), None);
        slots.arm(9, Tick(4));
        assert_eq!(slots.deadline(8), None, "rows below a new largest id come into being unarmed");
        assert_eq!(slots.deadline(9), Some(Tick(4)));
    }

    #[test]
    fn occupied_slots_are_found_around_the_end_of_a_level() {
        let mut slots = Slots::with_capacity(0);
        armed(&mut slots, 1, 3);
        assert_eq!(slots.distance_to_occupied(0, 3), Some(0));
        assert_eq!(slots.distance_to_occupied(0, 60), Some(7));
        assert_eq!(slots.distance_to_occupied(1, 0), None);
    }
}
