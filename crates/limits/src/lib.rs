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

/// Most channels that a URL or a token may name, the personal channel among them.
pub const CHANNELS_PER_CONNECTION_MAX: usize = 128;

/// Most channels that one `broadcast`, `subscribe` or `unsubscribe` command may name.
pub const CHANNELS_PER_COMMAND_MAX: usize = 1024;

/// Most commands in one `batch` of the HTTP API.
pub const BATCH_COMMANDS_MAX: usize = 256;

/// Longest `info` or `data` of a subscription in bytes: no token could bring more.
pub const GRANT_BYTES_MAX: usize = TOKEN_BYTES_MAX;

/// Most tags that one publication may have.
pub const TAGS_MAX: usize = 32;

/// Descriptors that are kept for everything but clients and backends: rings, listeners, the
/// internal address.
pub const DESCRIPTORS_RESERVED: usize = 512;

/// Descriptors of one connection of a backend: libzmq's and the edge's own.
pub const DESCRIPTORS_PER_PEER: usize = 2;

/// Of all descriptors, backends have one in so many at most.
const DESCRIPTORS_PER_ONE_OF_PEERS: usize = 4;

/// Of so many descriptors, those that backends have if they may take as many as this.
#[must_use]
pub const fn descriptors_of_peers(limit: usize, asked: usize) -> usize {
    let most = limit / DESCRIPTORS_PER_ONE_OF_PEERS;
    if asked < most { asked } else { most }
}

/// Of so many descriptors, those that are left for clients.
#[must_use]
pub const fn descriptors_of_clients(limit: usize, asked_for_peers: usize) -> usize {
    let kept = DESCRIPTORS_RESERVED + descriptors_of_peers(limit, asked_for_peers);
    limit.saturating_sub(kept)
}

/// Places of an endpoint with so many peers: some more than that, for those that come while others
/// are being ended for them.
#[must_use]
pub const fn peer_places(peers_max: usize) -> usize {
    peers_max + peers_max / 16 + 4
}

/// The most peers that have no more than so many places.
#[must_use]
pub const fn peers_in(places: usize) -> usize {
    places.saturating_sub(4) / 17 * 16
}

/// Most shards one process runs: a shard number fits a byte of a client identity, and beside the
/// askers a byte of a ticket.
pub const SHARDS_MAX: usize = 253;

/// The most that `client.channels_max` may be.
pub const CHANNELS_PER_CLIENT_MAX: usize = 16_384;

/// How many channels a connection that ends leaves at once: a quarter of a millisecond's work.
pub const CHANNELS_LEFT_AT_ONCE: usize = 64;

/// Most commands in one frame of a managed client. Clients that come back put a subscription to
/// each of their channels into one, and whatever the application has asked meanwhile.
pub const COMMANDS_PER_FRAME_MAX: usize = 2 * CHANNELS_PER_CLIENT_MAX;

/// Longest connect command in bytes: a token, data and positions of as many channels as a token may
/// name fit. Its maps take microseconds for each entry, and it comes before anybody has shown who
/// they are.
pub const CONNECT_BYTES_MAX: usize = 128 << 10;

/// How many bytes a connection may make the edge hold for it before it can be closed because the
/// memory for all of them is short, as long as anybody holds more.
pub const CONNECTION_SHARE_BYTES: usize = 16 << 10;

/// Longest token in bytes.
pub const TOKEN_BYTES_MAX: usize = 16 << 10;

/// Longest key set in bytes: certificates that some providers add make them long.
pub const KEY_SET_BYTES_MAX: usize = 256 << 10;

/// Most keys of one key set.
pub const KEYS_PER_SET_MAX: usize = 64;

/// Most revocations that are remembered.
pub const REVOCATIONS_MAX: usize = 65_536;
