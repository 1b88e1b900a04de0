//! tidegate: an io_uring WebSocket push edge for Linux. This file is the map of the house.

pub mod api;
pub mod cli;
pub mod config;
pub mod edge;
pub mod http;
pub mod hub;
pub mod ingest;
pub mod limits;
pub mod load;
pub mod mesh;
pub mod metrics;
pub mod protocol;
pub mod shard;
pub mod sys;
pub mod wheel;
pub mod ws;
