//! tidegate: an io_uring WebSocket push edge for Linux. This file is the map of the house.

pub mod api;
pub mod config;
pub mod limits;
pub mod mesh;
pub mod metrics;
pub mod protocol;
pub mod sys;
pub mod wheel;
pub mod ws;
