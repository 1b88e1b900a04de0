//! Many WebSocket clients in one thread: what benches and load tests are made of.
//!
//! The clients verify everything: each message carries its number, a checksum and the time when it
//! was published, and each client knows which number comes next. So a figure that was measured
//! with them is the figure of complete and correct delivery, or it says what was lost.
//!
//! `message` is the payload, `open` makes the connections, `receiver` holds and verifies them.

pub mod message;
mod open;
mod receiver;

pub use open::{Opening, Target, open};
pub use receiver::{Receiver, Tally};
