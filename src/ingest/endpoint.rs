//! One ZeroMQ endpoint as plain data: what `socket` opens.

use std::fmt;
use std::time::Duration;

/// Permissions of a bound `ipc://` path unless others are asked for: its owner alone may connect.
pub const IPC_MODE: u32 = 0o600;

/// One socket to open.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Kind of the socket.
    pub kind: Kind,
    /// Where, as libzmq writes it: `tcp://HOST:PORT` or `ipc://PATH`.
    pub address: String,
    /// Whether the edge listens there; otherwise it connects.
    pub bind: bool,
    /// Prefixes of the topics that a SUB socket asks for; the empty one means all.
    pub topics: Vec<String>,
    /// Messages that wait in memory per peer and direction.
    pub high_water_mark: u32,
    /// Longest message part; the peer of a longer one is disconnected.
    pub message_bytes_max: usize,
    /// Connections that it has at most.
    pub peers_max: usize,
    /// Permissions of a bound `ipc://` path.
    pub ipc_mode: u32,
    /// Silence after which a peer is pinged.
    pub heartbeat_interval: Duration,
    /// Time after a ping in which a sign of life must come.
    pub heartbeat_timeout: Duration,
    /// Wait before the first attempt to connect again.
    pub reconnect_interval: Duration,
    /// Longest wait between attempts.
    pub reconnect_interval_max: Duration,
    /// Encryption and authentication.
    pub curve: Option<Curve>,
}

/// Kind of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Receives from PUB.
    Sub,
    /// Receives from PUSH.
    Pull,
    /// Receives from DEALER and REQ, and answers.
    Router,
    /// Sends events.
    Pub,
    /// Sends events and hears of subscriptions.
    Xpub,
}

/// One side of CURVE (ZeroMQ RFC 26), with binary keys.
#[derive(Clone)]
pub enum Curve {
    /// Proves its key to clients, and checks theirs.
    Server {
        /// The edge's secret key.
        secret_key: [u8; 32],
        /// Who gets in.
        authorized: Authorized,
    },
    /// Knows the server's key and shows its own.
    Client {
        /// The edge's public key.
        public_key: [u8; 32],
        /// The edge's secret key.
        secret_key: [u8; 32],
        /// The server's public key.
        server_key: [u8; 32],
    },
}

/// The clients that a CURVE server lets in.
#[derive(Clone, Debug)]
pub enum Authorized {
    /// Everybody who knows the server's public key.
    Any,
    /// The owners of these public keys.
    Keys(Vec<[u8; 32]>),
}

impl Endpoint {
    /// An endpoint that binds, with the defaults of the configuration.
    pub fn new(kind: Kind, address: &str) -> Self {
        Self {
            kind,
            address: address.to_owned(),
            bind: true,
            topics: vec![String::new()],
            high_water_mark: 10_000,
            message_bytes_max: 1024 * 1024,
            peers_max: 1024,
            ipc_mode: IPC_MODE,
            heartbeat_interval: Duration::from_secs(10),
            heartbeat_timeout: Duration::from_secs(30),
            reconnect_interval: Duration::from_millis(100),
            reconnect_interval_max: Duration::from_secs(5),
            curve: None,
        }
    }
}

impl Kind {
    /// Whether the edge receives commands on it.
    pub fn is_input(self) -> bool {
        matches!(self, Self::Sub | Self::Pull | Self::Router)
    }
}

/// Secret keys stay out of logs.
impl fmt::Debug for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server { .. } => "Server",
            Self::Client { .. } => "Client",
        })
    }
}
