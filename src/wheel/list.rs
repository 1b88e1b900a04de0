//! The linked lists of a wheel's slots, with all nodes in one vector indexed by timer id.
//!
//! Links are `u32` indices, which halves the node against pointers and makes the whole structure
//! safe code. A list is doubly linked so that a cancelled timer leaves in O(1), and has a head
//! only: the order inside a slot means nothing. One bit per slot says whether it is occupied, so
//! the wheel finds its next slot with one instruction per level.
//!
//! Invariant: a node is in exactly one list, that of its `slot`, unless `slot` is `UNARMED`; and a
//! bit of `occupied` is set exactly when that slot's head is not `NIL`.

use super::tick::Tick;

/// How many levels there are.
pub(super) const LEVELS: usize = 11;

/// Slots of one level: one word of occupancy bits.
pub(super) const SLOTS: usize = 64;

const NIL: u32 = u32::MAX;
const UNARMED: u16 = u16::MAX;

/// One timer. The spare half-word is padding that alignment would add anyway.
#[derive(Clone)]
struct Node {
    next: u32,
    prev: u32,
    deadline: Tick,
    slot: u16,
    _spare: u16,
}

const _: () = assert!(size_of::<Node>() == 16);

const UNARMED_NODE: Node =
    Node { next: NIL, prev: NIL, deadline: Tick(0), slot: UNARMED, _spare: 0 };

/// All nodes and the heads of all slots.
pub(super) struct Lists {
    nodes: Vec<Node>,
    heads: [u32; LEVELS * SLOTS],
    occupied: [u64; LEVELS],
}

impl Lists {
    pub(super) fn with_capacity(count: usize) -> Self {
        Self {
            nodes: Vec::with_capacity(count),
            heads: [NIL; LEVELS * SLOTS],
            occupied: [0; LEVELS],
        }
    }

    /// Adds an unarmed timer to a slot, and makes room for its node if this is the largest id yet.
    pub(super) fn link(&mut self, id: u32, deadline: Tick, slot: u16) {
        let row = id as usize;
        if row >= self.nodes.len() {
            assert!(id != NIL, "the largest u32 marks the end of a list");
            self.nodes.resize(row + 1, UNARMED_NODE);
        }
        let next = std::mem::replace(&mut self.heads[usize::from(slot)], id);
        if next == NIL {
            self.occupied[level_of(slot)] |= bit_of(slot);
        } else {
            self.nodes[next as usize].prev = id;
        }
        self.nodes[row] = Node { next, prev: NIL, deadline, slot, _spare: 0 };
    }

    /// Takes a timer out of its slot; false if it was not armed.
    pub(super) fn unlink(&mut self, id: u32) -> bool {
        let Some(node) = self.nodes.get_mut(id as usize) else { return false };
        let Node { next, prev, slot, .. } = *node;
        if slot == UNARMED {
            return false;
        }
        node.slot = UNARMED;
        if next != NIL {
            self.nodes[next as usize].prev = prev;
        }
        if prev != NIL {
            self.nodes[prev as usize].next = next;
        } else {
            self.heads[usize::from(slot)] = next;
            if next == NIL {
                self.occupied[level_of(slot)] &= !bit_of(slot);
            }
        }
        true
    }

    /// Takes any timer out of a slot.
    pub(super) fn pop(&mut self, slot: u16) -> Option<(u32, Tick)> {
        let id = self.heads[usize::from(slot)];
        if id == NIL {
            return None;
        }
        let deadline = self.nodes[id as usize].deadline;
        self.unlink(id);
        Some((id, deadline))
    }

    /// The deadline of an armed timer, to read or to put off in place.
    pub(super) fn deadline_mut(&mut self, id: u32) -> Option<&mut Tick> {
        let node = self.nodes.get_mut(id as usize)?;
        (node.slot != UNARMED).then_some(&mut node.deadline)
    }

    pub(super) fn deadline(&self, id: u32) -> Option<Tick> {
        let node = self.nodes.get(id as usize)?;
        (node.slot != UNARMED).then_some(node.deadline)
    }

    /// How many slots of a level lie between `from` and its first occupied slot, cyclically.
    pub(super) fn distance_to_occupied(&self, level: usize, from: u32) -> Option<u32> {
        let occupied = self.occupied[level];
        (occupied != 0).then(|| occupied.rotate_right(from % SLOTS as u32).trailing_zeros())
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

    #[test]
    fn any_position_of_a_list_can_leave() {
        for leaving in 0..3 {
            let mut lists = Lists::with_capacity(0);
            for id in 0..3 {
                lists.link(id, Tick(id), 70);
            }
            assert!(lists.unlink(leaving));
            assert!(!lists.unlink(leaving), "it is gone already");
            let mut rest: Vec<u32> =
                std::iter::from_fn(|| lists.pop(70)).map(|(id, _)| id).collect();
            rest.sort_unstable();
            assert_eq!(rest, (0..3).filter(|id| *id != leaving).collect::<Vec<_>>());
            assert_eq!(lists.distance_to_occupied(1, 0), None, "an empty slot clears its bit");
        }
    }

    #[test]
    fn an_unknown_id_is_unarmed() {
        let mut lists = Lists::with_capacity(0);
        assert!(!lists.unlink(9));
        assert_eq!(lists.deadline(9), None);
        lists.link(9, Tick(4), 0);
        assert_eq!(lists.deadline(8), None, "rows below a new largest id come into being unarmed");
        assert_eq!(lists.deadline(9), Some(Tick(4)));
    }

    #[test]
    fn occupied_slots_are_found_around_the_end_of_a_level() {
        let mut lists = Lists::with_capacity(0);
        lists.link(1, Tick(0), 3);
        assert_eq!(lists.distance_to_occupied(0, 3), Some(0));
        assert_eq!(lists.distance_to_occupied(0, 60), Some(7));
        assert_eq!(lists.distance_to_occupied(1, 0), None);
    }
}
