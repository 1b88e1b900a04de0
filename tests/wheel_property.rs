//! The timer wheel against a `BTreeMap`: the same random operations, the same timers fired.
//!
//! The model keeps time in `u64`, which never wraps, and scans all timers; the wheel sees the same
//! ticks modulo 2^32. Starts lie around the wrap and gaps reach over several levels. While a drain
//! runs, fired timers re-arm themselves and disturb others, as the shard does.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tidegate::wheel::{Tick, Wheel};

/// Few ids, so that operations meet the same timer often.
const IDS: u32 = 24;

#[derive(Clone, Debug)]
enum Operation {
    Arm { id: u32, distance: u64 },
    ArmInThePast { id: u32, distance: u64 },
    Cancel { id: u32 },
    Advance { gap: u64, reactions: Vec<Reaction> },
}

/// What the shard does when the n-th timer of a drain has fired.
#[derive(Clone, Debug)]
enum Reaction {
    Nothing,
    Rearm { distance: u64 },
    RearmNotAfterNow { distance: u64 },
    CancelOther { id: u32 },
    MoveOther { id: u32, distance: u64 },
}

/// Distances of every order of magnitude, with the edges of slots and levels among them.
fn distance() -> impl Strategy<Value = u64> {
    prop_oneof![
        1..130_u64,
        1..10_000_u64,
        (0..31_u32, 0..3_u64).prop_map(|(bit, more)| ((1_u64 << bit) + more).saturating_sub(1)),
        Just(u64::from(Tick::DISTANCE_MAX)),
    ]
    .prop_map(|ticks| ticks.clamp(1, u64::from(Tick::DISTANCE_MAX)))
}

fn reaction() -> impl Strategy<Value = Reaction> {
    prop_oneof![
        Just(Reaction::Nothing),
        distance().prop_map(|distance| Reaction::Rearm { distance }),
        (0..5000_u64).prop_map(|distance| Reaction::RearmNotAfterNow { distance }),
        (0..IDS).prop_map(|id| Reaction::CancelOther { id }),
        (0..IDS, distance()).prop_map(|(id, distance)| Reaction::MoveOther { id, distance }),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (0..IDS, distance()).prop_map(|(id, distance)| Operation::Arm { id, distance }),
        1 => (0..IDS, 0..5000_u64)
            .prop_map(|(id, distance)| Operation::ArmInThePast { id, distance }),
        1 => (0..IDS).prop_map(|id| Operation::Cancel { id }),
        4 => (prop_oneof![3 => 0..3_u64, 1 => distance()], prop::collection::vec(reaction(), 0..8))
            .prop_map(|(gap, reactions)| Operation::Advance { gap, reactions }),
    ]
}

struct Pair {
    wheel: Wheel,
    model: BTreeMap<u32, u64>,
    now: u64,
}

fn tick(time: u64) -> Tick {
    Tick(time as u32)
}

impl Pair {
    fn new(now: u64) -> Self {
        Self { wheel: Wheel::new(tick(now)), model: BTreeMap::new(), now }
    }

    fn arm(&mut self, id: u32, deadline: u64) {
        self.wheel.insert_or_move(id, tick(deadline));
        self.model.insert(id, deadline.max(self.now + 1));
    }

    fn cancel(&mut self, id: u32) {
        self.wheel.cancel(id);
        self.model.remove(&id);
    }

    fn advance(&mut self, gap: u64, reactions: &[Reaction]) {
        self.now += gap;
        let mut reactions = reactions.iter();
        let mut fired_before = BTreeSet::new();
        let mut steps = 0;
        while let Some(id) = self.pop_expired(&mut steps) {
            let deadline = self.model.remove(&id).expect("an unarmed timer fired");
            assert!(deadline <= self.now, "{id} fired {} ticks early", deadline - self.now);
            assert!(fired_before.insert(id), "{id} fired twice in a drain");
            self.react(id, reactions.next().unwrap_or(&Reaction::Nothing));
            self.check();
        }
        let late: Vec<_> = self.model.iter().filter(|(_, due)| **due <= self.now).collect();
        assert!(late.is_empty(), "not fired by {}: {late:?}", self.now);
    }

    /// The next timer that fires, however many portions that takes.
    fn pop_expired(&mut self, steps: &mut u32) -> Option<u32> {
        loop {
            let fired = self.wheel.pop_expired(tick(self.now), steps);
            if fired.is_some() || *steps > 0 {
                return fired;
            }
            *steps = 3;
        }
    }

    fn react(&mut self, fired: u32, reaction: &Reaction) {
        match *reaction {
            Reaction::Nothing => {}
            Reaction::Rearm { distance } => self.arm(fired, self.now + distance),
            Reaction::RearmNotAfterNow { distance } => self.arm(fired, self.now - distance),
            Reaction::CancelOther { id } => self.cancel(id),
            Reaction::MoveOther { id, distance } => self.arm(id, self.now + distance),
        }
    }

    fn check(&self) {
        assert_eq!(self.wheel.len(), self.model.len());
        assert_eq!(self.wheel.is_empty(), self.model.is_empty());
        for id in 0..IDS {
            let deadline = self.model.get(&id).map(|due| tick(*due));
            assert_eq!(self.wheel.deadline(id), deadline, "timer {id}");
            assert_eq!(self.wheel.is_armed(id), deadline.is_some(), "timer {id}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_wheel_fires_what_the_model_fires(
        start in prop_oneof![
            Just(1_u64 << 32),
            (1_u64 << 32) - 200..(1_u64 << 32) + 200,
            (1_u64 << 31) - 5000..(1_u64 << 31) + 5000,
            10_000..1_u64 << 33,
        ],
        operations in prop::collection::vec(operation(), 1..120),
    ) {
        let mut pair = Pair::new(start);
        for operation in &operations {
            match operation {
                Operation::Arm { id, distance } => pair.arm(*id, pair.now + distance),
                Operation::ArmInThePast { id, distance } => pair.arm(*id, pair.now - distance),
                Operation::Cancel { id } => pair.cancel(*id),
                Operation::Advance { gap, reactions } => pair.advance(*gap, reactions),
            }
            pair.check();
        }
    }

    #[test]
    fn a_timer_that_is_put_off_again_and_again_fires_once(
        start in any::<u32>(),
        steps in prop::collection::vec((1..60_u32, 1..700_u32), 1..200),
    ) {
        let mut pair = Pair::new((1_u64 << 32) + u64::from(start));
        for (gap, wait) in steps {
            pair.arm(0, pair.now + u64::from(wait));
            for _ in 0..gap {
                pair.advance(1, &[]);
            }
        }
    }
}
