//! tidegate: an io_uring WebSocket push edge for Linux. This file is the map of the house.

pub mod config;
pub mod http;
pub mod limits;
pub mod wheel;
pub mod ws;
