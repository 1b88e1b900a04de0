//! What tidegate promises, checked from outside: the real program on free ports, an independent
//! WebSocket client, a client that speaks raw bytes, and ZeroMQ backends.
//!
//! One file per promise. Each test has an edge of its own (two shards unless it says otherwise)
//! and waits for conditions, never for a time. An edge that ends or panics fails its test, and
//! what it logged is shown.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod harness;

mod answers;
mod backends;
mod beside;
mod closing;
mod comebacks;
mod commands;
mod containers;
mod cost;
mod events;
mod examples;
mod fairness;
mod fan_out;
mod framing;
mod handshake;
mod heartbeat;
mod hostile;
mod info;
mod log_sinks;
mod managed;
mod memory;
mod metrics;
mod overrides;
mod permissions;
mod publish;
mod reconnect;
mod refusals;
mod rude_peers;
mod sessions;
mod shutdown;
mod slow_subscriber;
mod start_up;
mod tokens;
mod zeromq;
