//! RFC 6455 as bytes and state machines: no sockets, no clock, no async (sans-IO).
//!
//! A shard may hold a million connections, so an idle one owns nothing here. Whole frames are
//! read in place from the shard's receive buffer; [`Inbound`] exists only while a frame or a
//! fragmented message is half-received. Server frames are encoded once into plain bytes that
//! the log of a channel can hold and cut at frame boundaries.
//!
//! - [`frame`]: section 5.2, the header in both directions.
//! - [`mask`]: section 5.3.
//! - [`inbound`]: sections 5.4 to 5.6, what a client may send, with limits.
//! - [`utf8`]: section 8.1 across fragments.
//! - [`close`]: section 7.4, close codes and reasons.
//!
//! Not here: the opening handshake, sockets and timeouts (the server's `http` and `shard`);
//! compression (RFC 7692).

pub mod close;
mod error;
pub mod frame;
pub mod inbound;
pub mod mask;
pub mod utf8;

pub use close::CloseCode;
pub use error::Error;
pub use frame::{Header, Opcode};
pub use inbound::{Inbound, Item, Limits};
