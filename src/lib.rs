//! tidegate: an io_uring WebSocket push edge for Linux. This file is the map of the house.

pub mod config;
pub mod http;
pub mod limits;
<<<<<<< HEAD
pub mod mesh;
pub mod metrics;
pub mod protocol;
pub mod sys;
=======
>>>>>>> wt-ws
pub mod wheel;
pub mod ws;
