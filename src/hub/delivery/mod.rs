//! Who is owed what: the shard's parts of channels with their logs, cursors, rounds and outboxes.
//!
//! Between a subscriber's cursor and the head of its channel's log lies exactly what it is still
//! owed, and the sources of bytes for a socket change only between frames.

pub(super) mod backlog;
pub(super) mod batch;
pub(super) mod channel;
pub(super) mod connection;
mod everyone;
mod flush;
mod gather;
pub(super) mod hoard;
pub(super) mod limit;
mod log;
pub(super) mod outbox;
mod publish;
pub(super) mod ring;
mod stay;
mod tally;
