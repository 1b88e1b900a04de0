//! The timer wheel of one shard: a deadline per connection row, for millions of rows.
//!
//! Every connection has one deadline at any time (the opening handshake's, the heartbeat's or the
//! close's), so a timer needs no object of its own: it is named by the row index, and costs 13
//! bytes, of which 8 lie in one vector and the rest in a slot. Arming, moving and cancelling are
//! O(1). `tick` is the unit of time, `slots` where timers lie, `hierarchy` the wheel (Varghese and
//! Lauck, "Hashed and hierarchical timing wheels", 1987, scheme 7).
//!
//! Nothing here reads a clock: the shard passes the current tick. What a fired row means, and how
//! deadlines are spread so that a million do not fall into one tick, is the shard's business.

mod hierarchy;
mod slots;
mod tick;

pub use hierarchy::Wheel;
pub use tick::{TICK_MILLIS, Tick};
