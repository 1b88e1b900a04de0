//! The remaining system calls, and with them the `unsafe` that no crate takes off our hands.
//!
//! Each file offers a safe function or type around one kernel facility.
#![allow(unsafe_code)]

pub mod eventfd;

pub use eventfd::EventFd;
