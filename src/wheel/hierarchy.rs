//! The wheel: eleven levels of 64 slots, a slot of each level four times as long as one below.
//!
//! A timer lies on the lowest level whose 64 slots reach its deadline. When the cursor meets a slot
//! above level 0, its timers cascade, and as the levels overlap they skip at least every other one.
//! Steps of four rather than 64 keep what cascades in one tick small: a slot is at most a fifteenth
//! as long as the wait of the timers put there, so at most a fifteenth of equal heartbeats cascades
//! at once. Occupancy bits find the next slot in one step per level, so a long idle gap costs
//! O(levels), not O(ticks).
//!
//! A deadline that moves later, as a heartbeat's does with every message, is written into the row
//! and the timer stays where it is; it finds its new slot when the cursor meets the old one. So
//! does one that moves earlier while its slot begins early enough. Re-arming touches the row, and
//! one line that many share if the timer needs a slot that begins earlier.
//!
//! Invariant: the slot of an armed timer begins after the cursor (or at it, in the middle of a
//! drain) and not after its deadline. Hence no timer is missed and none fires early. A timer can
//! leave an entry behind only when it moves to a slot that begins earlier, so what it leaves lies
//! in different slots, and each is gone when the cursor has met its slot.

use crate::wheel::slots::{LEVELS, SLOTS, Slots};
use crate::wheel::tick::Tick;

/// A slot of one level is two to this power times as long as a slot of the level below.
const STEP_BITS: usize = 2;

/// Distances of fewer bits than this and a step are a matter for level 0.
const LEVEL_0_BITS: usize = SLOTS.ilog2() as usize - STEP_BITS;

/// The furthest ahead that a timer is placed: 37 days. A later deadline waits in the last slot and
/// is placed again from there.
const SPAN: u32 = 62 << (STEP_BITS * (LEVELS - 1));

/// At most one timer per id, for ids that are small because they are row indices.
pub struct Wheel {
    slots: Slots,
    /// Every slot before this tick is empty. Behind `now` only in the middle of a drain.
    cursor: Tick,
    /// The latest tick passed to `pop_expired`.
    now: Tick,
    len: usize,
}

impl Wheel {
    /// A wheel without timers that stands at `now`.
    pub fn new(now: Tick) -> Self {
        Self::with_capacity(now, 0)
    }

    /// The same with room for timers of ids below `count`.
    pub fn with_capacity(now: Tick, count: usize) -> Self {
        Self { slots: Slots::with_capacity(count), cursor: now, now, len: 0 }
    }

    /// Arms the timer of `id`, or moves it if it is armed. A deadline that is not after the
    /// wheel's current tick counts as the next tick, so a timer that re-arms itself in a drain
    /// never fires twice in it.
    pub fn insert_or_move(&mut self, id: u32, deadline: Tick) {
        let deadline = if deadline.is_after(self.now) { deadline } else { self.now.plus(1) };
        let (was_armed, slot) = self.slots.arm(id, deadline);
        self.len += usize::from(!was_armed);
        if slot.is_none_or(|slot| self.ahead(slot) > deadline.since(self.cursor)) {
            self.slots.put(id, slot_for(self.cursor, deadline));
        }
    }

    /// Disarms the timer of `id`; nothing happens if it is not armed.
    pub fn cancel(&mut self, id: u32) {
        self.len -= usize::from(self.slots.disarm(id));
    }

    /// Disarms and returns one timer whose deadline is not after `now`. Call it until it returns
    /// `None`; arming and cancelling any timer in between is fine. A `now` that lies before an
    /// earlier one counts as that one.
    ///
    /// Each timer that fires, and each few of them that only find a nearer slot, takes one of
    /// `steps`. Without any left the answer is `None` although timers may be due; the next call
    /// goes on from there, so that a million timers of one tick fire in portions, in order.
    pub fn pop_expired(&mut self, now: Tick, steps: &mut u32) -> Option<u32> {
        if now.is_after(self.now) {
            self.now = now;
        }
        while *steps > 0 {
            if self.slots.is_occupied(slot_at(0, self.cursor.0)) {
                *steps -= 1;
                let fired = self.pop_at_cursor();
                if fired.is_some() {
                    return fired;
                }
                continue;
            }
            match self.next_slot() {
                Some((slot, ahead)) if ahead <= self.now.since(self.cursor) => {
                    self.cursor = Tick(self.cursor.0.wrapping_add(ahead));
                    if usize::from(slot) >= SLOTS {
                        *steps -= 1;
                        self.cascade(slot);
                    }
                }
                _ => {
                    self.cursor = self.now;
                    return None;
                }
            }
        }
        None
    }

    /// The tick at which the timer of `id` fires, if it is armed.
    pub fn deadline(&self, id: u32) -> Option<Tick> {
        self.slots.deadline(id)
    }

    /// True exactly when the timer of `id` has been armed and has neither fired nor been cancelled.
    pub fn is_armed(&self, id: u32) -> bool {
        self.deadline(id).is_some()
    }

    /// How many timers are armed.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True exactly when no timer is armed.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes a timer out of the cursor's slot of level 0, and disarms and returns it if it is due.
    /// One that was put off since it came here is placed again.
    fn pop_at_cursor(&mut self) -> Option<u32> {
        let (id, deadline) = self.slots.pop(slot_at(0, self.cursor.0))?;
        let deadline = deadline?;
        if deadline == self.cursor {
            self.cancel(id);
            return Some(id);
        }
        self.slots.put(id, slot_for(self.cursor, deadline));
        None
    }

    /// Empties a part of a slot above level 0 that begins at the cursor. None of its timers can
    /// come back to it: it is the one slot of its level that `slot_for` never chooses now.
    fn cascade(&mut self, slot: u16) {
        let cursor = self.cursor;
        self.slots.pop_block(slot, |slots, id, deadline| {
            slots.put(id, slot_for(cursor, deadline));
        });
    }

    /// How many ticks after the cursor a slot with an entry begins.
    fn ahead(&self, slot: u16) -> u32 {
        let level = usize::from(slot) / SLOTS;
        let digits = self.cursor.0 >> (STEP_BITS * level);
        let distance = u32::from(slot).wrapping_sub(digits) % SLOTS as u32;
        let start = digits.wrapping_add(distance) << (STEP_BITS * level);
        // The cursor's own slot of a level has an entry only while it is being emptied.
        if distance == 0 { 0 } else { start.wrapping_sub(self.cursor.0) }
    }

    /// The occupied slot that begins first, and how many ticks after the cursor.
    fn next_slot(&self) -> Option<(u16, u32)> {
        let first_of_level = |level| {
            let digits = self.cursor.0 >> (STEP_BITS * level);
            let distance = self.slots.distance_to_occupied(level, digits)?;
            let digits = digits.wrapping_add(distance);
            let start = Tick(digits << (STEP_BITS * level));
            Some((slot_at(level, digits), start.since(self.cursor)))
        };
        (0..LEVELS).filter_map(first_of_level).min_by_key(|(_, ahead)| *ahead)
    }
}

/// The slot for a deadline that is not before the cursor.
///
/// On level `n` the slot must lie 1 to 63 slots after the cursor's own: with none it would have
/// begun already, with 64 it would be the cursor's again. So a level takes distances up to about
/// `62 * 4^n` ticks, and none that a lower level takes; adding a thirty-second to the distance
/// turns that bound into the power of two that `ilog2` finds.
fn slot_for(cursor: Tick, deadline: Tick) -> u16 {
    let distance = deadline.since(cursor).min(SPAN);
    let rounded = (distance + (distance >> 5)) | (1 << LEVEL_0_BITS);
    let level = (rounded.ilog2() as usize - LEVEL_0_BITS) / STEP_BITS;
    slot_at(level, cursor.plus(distance).0 >> (STEP_BITS * level))
}

fn slot_at(level: usize, digits: u32) -> u16 {
    (level * SLOTS + digits as usize % SLOTS) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(wheel: &mut Wheel, now: Tick) -> Vec<u32> {
        let mut steps = u32::MAX;
        let mut fired: Vec<u32> =
            std::iter::from_fn(|| wheel.pop_expired(now, &mut steps)).collect();
        fired.sort_unstable();
        fired
    }

    #[test]
    fn every_distance_has_a_slot_that_begins_between_cursor_and_deadline() {
        for cursor in [0, 1, 4095, 0x0123_4567, u32::MAX - 1, u32::MAX].map(Tick) {
            let edges = (0..25).flat_map(|bit| (0..70_u32).map(move |slots| slots << bit));
            for distance in edges.flat_map(|edge| [edge.saturating_sub(1), edge, edge + 1]) {
                let distance = distance.min(SPAN);
                let slot = usize::from(slot_for(cursor, cursor.plus(distance)));
                let level = slot / SLOTS;
                let cursor_digits = cursor.0 >> (STEP_BITS * level);
                let ahead = (slot as u32).wrapping_sub(cursor_digits) % SLOTS as u32;
                assert!(level == 0 || ahead > 0, "{distance} ahead of {cursor:?}");
                let start = Tick(cursor_digits.wrapping_add(ahead) << (STEP_BITS * level));
                let late = cursor.plus(distance).since(start);
                assert!(late < 1 << (STEP_BITS * level), "{distance} ahead of {cursor:?}");
            }
        }
    }

    #[test]
    fn every_distance_fires_exactly_at_its_tick() {
        for start in [0, 63, 4095, 1_000_003, u32::MAX - 70, u32::MAX] {
            let mut wheel = Wheel::new(Tick(start));
            for distance in 1..5000 {
                wheel.insert_or_move(distance, Tick(start).plus(distance));
            }
            for distance in 1..5000 {
                assert_eq!(drain(&mut wheel, Tick(start).plus(distance)), [distance]);
            }
            assert!(wheel.is_empty());
        }
    }

    #[test]
    fn powers_of_two_up_to_the_horizon_fire_exactly_across_gaps() {
        for start in [5, u32::MAX - 9] {
            let mut wheel = Wheel::new(Tick(start));
            let distance_of = |id: u32| (1_u32 << id).min(Tick::DISTANCE_MAX);
            for id in 0..32 {
                wheel.insert_or_move(id, Tick(start).plus(distance_of(id)));
            }
            for id in 1..32 {
                let due = Tick(start).plus(distance_of(id));
                drain(&mut wheel, Tick(due.0.wrapping_sub(1)));
                assert_eq!(wheel.len(), 32 - id as usize, "nothing fires early");
                assert_eq!(drain(&mut wheel, due), [id]);
            }
        }
    }

    #[test]
    fn one_jump_over_everything_fires_everything_once() {
        let mut wheel = Wheel::new(Tick(77));
        for id in 0..1000 {
            wheel.insert_or_move(id, Tick(77).plus(1 + id * id * 997));
        }
        let fired = drain(&mut wheel, Tick(77).plus(Tick::DISTANCE_MAX));
        assert_eq!(fired, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn a_deadline_that_has_passed_fires_in_the_next_tick() {
        let mut wheel = Wheel::new(Tick(10));
        wheel.insert_or_move(1, Tick(3));
        assert_eq!(wheel.deadline(1), Some(Tick(11)));
        assert_eq!(wheel.pop_expired(Tick(10), &mut 9), None);
        assert_eq!(wheel.pop_expired(Tick(11), &mut 9), Some(1));
        assert!(!wheel.is_armed(1));
    }

    #[test]
    fn a_timer_that_rearms_itself_ends_the_drain() {
        let mut wheel = Wheel::new(Tick(0));
        wheel.insert_or_move(1, Tick(1));
        let now = Tick(5000);
        let mut fired_count = 0;
        let mut steps = u32::MAX;
        while let Some(id) = wheel.pop_expired(now, &mut steps) {
            fired_count += 1;
            wheel.insert_or_move(id, Tick(2));
        }
        assert_eq!(fired_count, 1);
        assert_eq!(wheel.deadline(1), Some(Tick(5001)));
    }

    #[test]
    fn a_drain_may_cancel_and_put_off_what_is_still_due() {
        let mut wheel = Wheel::new(Tick(0));
        for id in 0..4 {
            wheel.insert_or_move(id, Tick(100));
        }
        let first = wheel.pop_expired(Tick(100), &mut 99).expect("four timers are due");
        let others: Vec<u32> = (0..4).filter(|id| *id != first).collect();
        wheel.cancel(others[0]);
        wheel.insert_or_move(others[1], Tick(164));
        assert_eq!(drain(&mut wheel, Tick(100)), [others[2]]);
        assert_eq!(drain(&mut wheel, Tick(164)), [others[1]]);
        assert_eq!(wheel.len(), 0);
    }

    #[test]
    fn moving_forth_and_back_leaves_one_timer() {
        let mut wheel = Wheel::new(Tick(0));
        for deadline in [10, 500, 20, 100_000, 30] {
            wheel.insert_or_move(4, Tick(deadline));
            assert_eq!(wheel.deadline(4), Some(Tick(deadline)));
            assert_eq!(wheel.len(), 1);
        }
        assert!(drain(&mut wheel, Tick(29)).is_empty());
        assert_eq!(drain(&mut wheel, Tick(30)), [4]);
    }

    #[test]
    fn a_clock_that_steps_back_is_ignored() {
        let mut wheel = Wheel::new(Tick(100));
        wheel.insert_or_move(1, Tick(110));
        assert_eq!(wheel.pop_expired(Tick(50), &mut 9), None);
        wheel.insert_or_move(2, Tick(60));
        assert_eq!(wheel.deadline(2), Some(Tick(101)));
        assert_eq!(drain(&mut wheel, Tick(110)), [1, 2]);
    }

    #[test]
    fn a_million_timers_of_a_tick_fire_in_portions_and_in_order() {
        let (mut wheel, due) = (Wheel::new(Tick(0)), 500);
        for id in 0..1_000_000 {
            wheel.insert_or_move(id, Tick(due + id % 2));
        }
        let (mut fired_count, mut portions) = (0, 0);
        let (mut now, mut last) = (Tick(due), Tick(due));
        while !wheel.is_empty() {
            let mut steps = 1000;
            while let Some(id) = wheel.pop_expired(now, &mut steps) {
                let deadline = Tick(due + id % 2);
                assert!(!last.is_after(deadline), "{id} fires after one that is due later");
                last = deadline;
                fired_count += 1;
            }
            assert!(steps == 0 || wheel.is_empty(), "a portion is filled");
            portions += 1;
            now = now.plus(u32::from(portions % 100 == 0));
        }
        assert_eq!(fired_count, 1_000_000);
        assert!((1000..1500).contains(&portions), "{portions}");
    }

    #[test]
    fn moving_back_and_forth_leaves_no_more_than_the_slots_in_between() {
        let mut wheel = Wheel::new(Tick(0));
        for step in 0..100_000 {
            wheel.insert_or_move(7, Tick(if step % 2 == 0 { 500 } else { 20 }));
            wheel.cancel(7);
        }
        let mut steps = 10;
        assert_eq!(wheel.pop_expired(Tick(600), &mut steps), None);
        assert!(steps > 5, "what it left behind was met in a few steps");
    }
}
