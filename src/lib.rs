//! tidegate: an io_uring WebSocket push edge for Linux. This file is the map of the house.

pub mod cli;
pub mod config;
pub mod edge;
pub mod limits;
pub mod sys;
pub mod wheel;
pub mod ws;
