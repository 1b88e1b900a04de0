//! Whole shards under seeds: real doors, handshakes, timers, back-pressure and drains, with a
//! network and a clock that are simulated.
//!
//! Clients of all dialects come, are slow, break off at any byte and come back; backends publish,
//! dismiss and ask. What a client hears is held against what was published (`ledger`), with no
//! knowledge of how the edge does it. At rest every promise is due; in the end nothing may be left.

mod backends;
mod course;
mod cuts;
mod dialect;
mod heartbeat;
mod kernel;
mod ledger;
#[path = "../../centrifuge/message.rs"]
mod message;
mod peer;
mod regression;
mod setup;
mod wire;
mod world;
mod wrong;

pub(crate) use course::{Course, SITUATIONS as SHELL_SITUATIONS};
