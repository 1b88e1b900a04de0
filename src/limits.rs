//! Compile-time limits: numbers that no two deployments would set differently.
//!
//! A number that a deployment does set differently is an option in `config`. Everything that a
//! peer can make grow has its bound either there or here.

/// Longest channel name in bytes (Centrifugo's limit, which client SDKs expect).
pub const CHANNEL_NAME_BYTES_MAX: usize = 255;

/// Longest user identity in bytes: its personal channel `#user` must be a valid channel name.
pub const USER_BYTES_MAX: usize = CHANNEL_NAME_BYTES_MAX - 1;

/// Longest name of a device in bytes.
pub const DEVICE_BYTES_MAX: usize = 128;

/// Most channels that one connection may join, its personal channel among them.
pub const CHANNELS_PER_CONNECTION_MAX: usize = 128;

/// Most channels that one `broadcast`, `subscribe` or `unsubscribe` command may name.
pub const CHANNELS_PER_COMMAND_MAX: usize = 1024;

/// Most commands in one `batch` of the HTTP API.
pub const BATCH_COMMANDS_MAX: usize = 256;

/// Descriptors that are kept for everything but clients: rings, ZeroMQ, the internal address.
pub const DESCRIPTORS_RESERVED: usize = 512;

/// Most shards one process runs: a shard number fits a byte of a client identity.
pub const SHARDS_MAX: usize = 255;
