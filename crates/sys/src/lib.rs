//! The remaining system calls, and with them the `unsafe` that no crate takes off our hands.
//!
//! Each file offers a safe function or type around one kernel facility.
#![allow(unsafe_code)]

pub mod clock;
pub mod complaint;
pub mod epoll;
pub mod eventfd;
pub mod host;
pub mod incoming;
pub mod memlock;
pub mod memory;
pub mod ring;
pub mod socket;
mod symbol;
pub mod zeromq;

pub use clock::Clock;
pub use complaint::Complaints;
pub use eventfd::EventFd;
