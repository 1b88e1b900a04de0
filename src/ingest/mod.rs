//! The entrance for backends over ZeroMQ: one thread that owns every ZeroMQ socket.
//!
//! ZeroMQ sockets belong to one thread at a time, so one thread receives in batches, decodes and
//! routes each command to its home shard, and the same thread returns answers and publishes
//! events. When a link to a shard is full it stops reading altogether: the wait reaches PUSH and
//! DEALER publishers as back-pressure, and PUB publishers as loss that `src` and `seq` make
//! visible. Nothing that was read is ever dropped here.
//!
//! Bounds that libzmq keeps: message parts by size, messages by number, not the parts of one
//! message by number. Those are bounded by the edge, over TCP (`peers`). Let only trusted peers in
//! all the same (loopback, or CURVE with listed keys).

mod curve;
mod endpoint;
mod error;
mod event;
mod monitor;
mod path;
mod peer;
mod peers;
mod pending;
mod receive;
mod socket;
mod source;
mod thread;
mod turn;

pub use endpoint::{Authorized, Curve, Endpoint, IPC_MODE, Kind};
pub use error::Error;
pub use socket::examine;
pub use thread::{Clock, Ingest, Stop};

#[cfg(test)]
mod tests;
