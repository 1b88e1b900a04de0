//! Load: many WebSocket clients that verify everything, and the runs that `tidegate bench` makes.
//!
//! Each message carries its number, a checksum and the time when it was published, and each client
//! knows which numbers it has had. So a figure that was measured here is the figure of complete and
//! correct delivery, or it says what was lost. Nothing here prints.
//!
//! ```text
//! command     flags of `tidegate bench`, progress, the report as table and picture
//! run         one run from start to end: servers, workers, load, readings, report
//!   plan      what to run, checked before anything is started
//!   drive     what is published, when, and to whom
//!   workers   processes with a share of the connections each; `share` is what they are told
//!   server    tidegate itself, started for the run
//!   cost      what servers use (`usage`) and the kernel holds (`slab`) at the run's stations
//!   publisher ZeroMQ PUSH, or `post` to servers of other kinds
//! worker      the other side of `workers`: opens a share, plays its part, reports a tally
//!   fleet     many connections in one thread on one io_uring; `opener` opens them at a pace
//!     client  one connection: `handshake`, frames, and `centrifuge` for those that speak it
//!       subscription  its part in one of the `channels`: `sequence`, position
//!   tally     what all of them have seen; processes' tallies are added up
//!   message   the payload; `verified` remembers those that were right
//! ```

mod centrifuge;
mod channels;
mod client;
pub mod command;
mod cost;
mod drive;
mod error;
mod fleet;
mod handshake;
pub mod message;
mod opener;
mod outgoing;
mod plan;
mod post;
mod publisher;
mod report;
mod run;
mod sequence;
mod server;
mod share;
mod slab;
mod subscription;
mod tally;
mod target;
mod usage;
mod verified;
mod worker;
mod workers;

pub use channels::Channels;
pub use cost::{CacheCost, KernelCost, ServerCost};
pub use error::Error;
pub use fleet::{Event, Fleet};
pub use opener::{Opener, open_all};
pub use plan::{Plan, Protocol, Scenario, ServerChoice};
pub use report::{Delivery, Opening, Pings, Quantiles, Recovery, Report, SlowShare};
pub use run::{Progress, run};
pub use server::become_server;
pub use tally::{Latency, Tally};
pub use target::{Door, Target};
pub use worker::work;
