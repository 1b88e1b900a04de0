//! A moment as a count of 50 ms ticks that wraps.
//!
//! A `u32` keeps the timer node at 16 bytes, and it wraps after 6.8 years. So two ticks are never
//! compared as numbers: `is_after` looks at their difference, as TCP does with sequence numbers
//! (RFC 1982). That is right as long as they are less than 2^31 ticks, 3.4 years, apart, which
//! holds for any uptime since all ticks in use are near the current one. `Ord` is missing on
//! purpose: an order that wraps is not an order.

/// Milliseconds in one tick. Heartbeats and handshakes need no finer time, and a shard that wakes
/// 20 times a second for its timers costs nothing measurable.
pub const TICK_MILLIS: u32 = 50;

/// A moment in ticks since an origin that the shard chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tick(pub u32);

impl Tick {
    /// The largest distance between two ticks that still compare correctly.
    pub const DISTANCE_MAX: u32 = (1 << 31) - 1;

    /// The tick that has begun `millis` after the origin; wraps.
    pub fn from_millis(millis: u64) -> Self {
        Self((millis / u64::from(TICK_MILLIS)) as u32)
    }

    /// The tick `ticks` after this one; a longer time than `DISTANCE_MAX` is cut to it.
    #[must_use]
    pub fn plus(self, ticks: u32) -> Self {
        Self(self.0.wrapping_add(ticks.min(Self::DISTANCE_MAX)))
    }

    /// The tick `millis` after this one, rounded up to a whole tick. As this tick may be almost
    /// over already, the time that really passes can be up to one tick shorter.
    #[must_use]
    pub fn plus_millis(self, millis: u64) -> Self {
        let ticks = millis.div_ceil(u64::from(TICK_MILLIS));
        self.plus(u32::try_from(ticks).unwrap_or(Self::DISTANCE_MAX))
    }

    /// True exactly when this tick comes later than `other`.
    pub fn is_after(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0).wrapping_sub(1) < Self::DISTANCE_MAX
    }

    /// Ticks from `earlier` to this one, modulo 2^32.
    pub fn since(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn millis_round_down_for_now_and_up_for_a_wait() {
        assert_eq!(Tick::from_millis(99), Tick(1));
        assert_eq!(Tick(1).plus_millis(1), Tick(2));
        assert_eq!(Tick(1).plus_millis(100), Tick(3));
    }

    #[test]
    fn the_order_survives_the_wrap() {
        let before = Tick(u32::MAX);
        let after = before.plus(1);
        assert_eq!(after, Tick(0));
        assert!(after.is_after(before));
        assert!(!before.is_after(after));
        assert!(!after.is_after(after));
        assert_eq!(after.since(before), 1);
    }

    #[test]
    fn a_wait_is_cut_to_the_largest_distance() {
        let far = Tick(7).plus_millis(u64::MAX);
        assert_eq!(far.since(Tick(7)), Tick::DISTANCE_MAX);
        assert!(far.is_after(Tick(7)));
    }

    #[test]
    fn the_clock_may_run_past_the_wrap() {
        let wrap_millis = (1_u64 << 32) * u64::from(TICK_MILLIS);
        assert_eq!(Tick::from_millis(wrap_millis + 120), Tick(2));
    }
}
