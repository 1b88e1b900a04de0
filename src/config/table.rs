//! The table of options: the one place where an option is declared, in the order in which the
//! template prints them.
//!
//! An option must change behaviour that two real deployments would set differently; every other
//! number is a constant in `limits`. The sentence above an option is the documentation that
//! rustdoc, the template and the reference share.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::config::api_key::{ApiKey, ApiKeys};
use crate::config::channel::NamedRules;
use crate::config::codec::{
    Address, DrainCode, Flag, Number, OneOf, Optional, Size, Time, choices,
};
use crate::config::endpoint::{Endpoint, Endpoints, default_endpoints};
use crate::config::group::{Described, Group, GroupReader, Reader, nearest, options};
use crate::config::node::Node;
use crate::config::secret::{
    KeySetFile, Name, PublicKeyPem, PublicKeys, Secret, SharedSecrets, WebAddress,
};
use crate::config::web::{Subprotocols, WebOrigins};
use crate::limits::{CHANNELS_PER_CLIENT_MAX, SHARDS_MAX};
use crate::model::Namespace;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;

/// The longest duration that an option takes: past it a number is a mistake, not a wish.
const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

/// Longest durations of what concerns tokens and channels, not connections.
const DAY: Duration = Duration::from_secs(24 * 3600);

options! {
    /// The threads of the data plane.
    Shards {
        /// Number of shards; 0 means one per core that this process may use, or as many as whole
        /// cores fit into the quota of its control groups.
        restart count: usize as Number = 0, 0..=SHARDS_MAX;
        /// Whether each shard stays on one core; never under a quota.
        restart pin: bool as Flag = true;
    }
}

options! {
    /// Edges that serve the same backends.
    Cluster {
        /// Number of this edge among those that serve the same backends, another one for each: it
        /// stands in front of every client's identity, so that a command for a client may go to
        /// every edge and acts on one. 0 is for an edge alone.
        restart node: u16 as Number = 0, 0..=u16::MAX;
    }
}

options! {
    /// The door for clients.
    Public {
        /// Address and port for clients.
        restart address: SocketAddr as Address = loopback(8000);
        /// Connections that the kernel may hold ready for one shard to accept. The system's
        /// net.core.somaxconn is an upper bound too.
        restart backlog: u32 as Number = 4096, 1..=65_535;
        /// Most connections at the same time; 0 means as many as the descriptor limit allows.
        live connections_max: usize as Number = 0, 0..=100_000_000;
        /// Values of the Origin header that may connect. An empty list means the host that the
        /// Host header names and no other; "https://*.example.org" means every name below
        /// example.org, "*" means any. Apps in a WebView send their own, such as
        /// "capacitor://localhost", local files "null" or "file://".
        live allowed_origins: Vec<String> as WebOrigins = Vec::new();
        /// Whether clients may come from elsewhere than this machine, through another address than
        /// loopback or a proxy, although they need no token: no key is set, or client.insecure is.
        /// Whoever reaches the address may take any user name.
        live allow_anonymous: bool as Flag = false;
        /// Subprotocols that raw clients may offer instead of "tidegate": one that a client offers
        /// is taken, and a client that offers none of them is refused.
        live subprotocols: Vec<String> as Subprotocols = Vec::new();
        /// Whether /echo answers every message with the same message, for tests and benches.
        live echo: bool as Flag = false;
    }
}

options! {
    /// Tokens (JWT) of clients: which keys sign them and what they must say.
    Token {
        /// Secret of HS256, HS384 and HS512; better as "file:PATH" than here. Of several in a list
        /// any may have signed a token, so that a new one can come before the old one goes.
        restart hmac_secret: Vec<Secret> as SharedSecrets = Vec::new();
        /// Public keys in PEM, better as "file:PATH" than here: RSA for RS256, RS384 and RS512,
        /// P-256 for ES256, P-384 for ES384, Ed25519 for EdDSA.
        restart public_keys: Vec<PublicKeyPem> as PublicKeys = Vec::new();
        /// File with a key set (JWKS, RFC 7517), which is read again and again.
        restart jwks_file: Option<PathBuf> as Optional<KeySetFile> = None;
        /// Address of a key set, which is fetched again and again.
        restart jwks_url: Option<String> as Optional<WebAddress> = None;
        /// Time after which a key set is read or fetched again. A token that names a key which is
        /// not in the set hastens that.
        restart jwks_refresh: Duration as Time = 600 * SECOND, 10 * SECOND..=DAY;
        /// What the claim aud of a token must be or contain; without it aud is not looked at.
        restart audience: Option<String> as Optional<Name> = None;
        /// What the claim iss of a token must be; without it iss is not looked at.
        restart issuer: Option<String> as Optional<Name> = None;
        /// How far clocks may be apart: for so long a token is taken before nbf and after exp.
        restart leeway: Duration as Time = Duration::ZERO, Duration::ZERO..=300 * SECOND;
        /// How long a revoked user's older tokens are refused: at least the lifetime of a token.
        restart revocation_ttl: Duration as Time = DAY, SECOND..=DAY.saturating_mul(30);
    }
}

options! {
    /// The door for operators and backends: metrics, health, the HTTP API and the try page.
    Internal {
        /// Address and port for operators and for the HTTP API.
        restart address: SocketAddr as Address = loopback(9000);
        /// Whether requests may come from elsewhere than this machine: the address may be other
        /// than loopback, and Host any name. Only the HTTP API asks for a key: everybody who
        /// reaches the address reads the metrics.
        restart allow_remote: bool as Flag = false;
    }
}

options! {
    /// The HTTP API of backends, on the internal address.
    Api {
        /// What backends show in the header X-API-Key; better as "file:PATH" than here. Of several
        /// each opens, so that a new one can come before the old one goes. Without any the API is
        /// closed.
        restart key: Vec<ApiKey> as ApiKeys = Vec::new();
        /// Whether the API takes requests without a key; on loopback only. The pages of other
        /// sites stay locked out, everything else on this host may publish.
        restart insecure: bool as Flag = false;
        /// Most bytes of a request's body. Where it is not written it is at most half of
        /// slow.lag_bytes_max.
        restart message_bytes_max: usize as Size = MIB, KIB..=64 * MIB;
    }
}

options! {
    /// Opening handshakes.
    Handshake {
        /// Time in which a connection must have sent its whole request.
        live deadline: Duration as Time = 10 * SECOND, Duration::from_millis(100)..=HOUR;
        /// Opening handshakes per second and shard that are completed; 0 means no limit. Further
        /// connections wait with their request unread, which flattens reconnect storms.
        live rate: u32 as Number = 5000, 0..=10_000_000;
        /// Most connections per shard that have not finished their handshake. One more takes
        /// the place of the oldest.
        live pending_max: usize as Number = 16_384, 1..=10_000_000;
    }
}

options! {
    /// Messages from clients (RFC 6455).
    Websocket {
        /// Longest message from a client, all fragments together. Longer ones close the
        /// connection with code 1009. Where it is not written it has room for 512 bytes for each
        /// of client.channels_max, but where clients may publish it is at most half of
        /// slow.lag_bytes_max, as it must be.
        restart message_bytes_max: usize as Size = 64 * KIB, 125..=GIB;
        /// Most memory of the process for messages and opening handshakes that have come in part
        /// and for commands that wait. A shard is sure of its part of one half and may borrow from
        /// the other. Past it those of the shard of whom most is kept are closed with code 1013 or
        /// refused with 503.
        live memory_max: usize as Size = 256 * MIB, MIB..=1024 * GIB;
        /// Most fragments of one message. More close the connection with code 1008.
        live fragments_max: usize as Number = 256, 1..=1_000_000;
        /// Time in which a message that a client has begun must be whole, or another 64 KiB of it
        /// there. After that the connection is closed with code 1008.
        live message_deadline: Duration as Time = 30 * SECOND, Duration::from_millis(100)..=HOUR;
        /// Time that a client has to answer a Close frame.
        live close_deadline: Duration as Time = 5 * SECOND, Duration::from_millis(100)..=HOUR;
    }
}

options! {
    /// How dead connections are found. Any byte from a client counts as life.
    Heartbeat {
        /// Silence after which a connection is pinged.
        restart ping_interval: Duration as Time = 25 * SECOND, SECOND..=HOUR;
        /// Time after a ping in which a sign of life must come.
        live pong_deadline: Duration as Time = 10 * SECOND, SECOND..=HOUR;
    }
}

options! {
    /// Managed clients: those that speak the Centrifuge protocol.
    Client {
        /// Whether clients may connect without a token, as nobody in particular. --dev sets it.
        live anonymous: bool as Flag = false;
        /// Whether clients may do everything, without a token too, for tests. A token that is shown
        /// is checked all the same.
        live insecure: bool as Flag = false;
        /// Time in which a client must have sent its connect command.
        live connect_deadline: Duration as Time = 15 * SECOND, Duration::from_millis(100)..=HOUR;
        /// Time after the end of its token in which a client must have sent a new one, or a backend
        /// must have moved the end.
        live refresh_grace: Duration as Time = 25 * SECOND, SECOND..=HOUR;
        /// Most channels that one connection may be subscribed to.
        live channels_max: usize as Number = 128, 1..=CHANNELS_PER_CLIENT_MAX;
        /// Most bytes of replies with publications or lists of clients that may wait for one
        /// connection, beside slow.outbox_bytes_max. A longer recovery fails, a longer history is
        /// cut, a longer presence is an error.
        live reply_bytes_max: usize as Size = 4 * MIB, 4 * KIB..=GIB;
        /// Commands per second that one connection may send, publications among them; 0 means
        /// no limit. The commands of one second may come at once.
        live commands_per_second: u32 as Number = 0, 0..=1_000_000;
        /// Publications per second that one connection may send, one of more than 4 KiB counting
        /// once for each 4 KiB; 0 means no limit.
        live publishes_per_second: u32 as Number = 50, 0..=1_000_000;
        /// Commands per second that all connections of one user to one shard may send together;
        /// 0 means no limit. A user on several shards may send so many to each: up to
        /// shards.count times as many.
        live user_commands_per_second: u32 as Number = 0, 0..=1_000_000;
        /// Publications per second that all connections of one user to one shard may send
        /// together; 0 means no limit. A user on several shards may send so many to each.
        live user_publishes_per_second: u32 as Number = 0, 0..=1_000_000;
    }
}

options! {
    /// What channels with history remember, all together.
    History {
        /// Most memory of the process for the publications that it remembers, and for the keys of
        /// recent ones. A shard is sure of its part of one half and may borrow from the other.
        /// Past it the channels of the shard that hold most forget their oldest publications; one
        /// that holds less than 8 KiB loses its history only when none holds more.
        live memory_max: usize as Size = 256 * MIB, MIB..=1024 * GIB;
        /// Most publications that one recovery brings; a client that missed more is told that
        /// it could not be recovered.
        live recovery_publications_max: usize as Number = 10_000, 1..=100_000;
        /// Time for which a channel without publications and subscribers keeps its offset and
        /// epoch.
        live meta_ttl: Duration as Time = DAY, SECOND..=365 * DAY;
    }
}

options! {
    /// Publications that came before: those whose "id" a backend has used already.
    Idempotency {
        /// Time in which a second publication with the same "id" in the same channel is not
        /// delivered.
        live window: Duration as Time = 300 * SECOND, SECOND..=DAY;
        /// Most of them that a shard remembers; past it, or past half of what it is sure of in
        /// history.memory_max, the oldest is forgotten.
        live keys_max: usize as Number = 65_536, 1..=100_000_000;
    }
}

options! {
    /// Who is subscribed.
    Presence {
        /// Most clients that one answer lists; above that it is an error, and only their number
        /// can be asked for.
        live clients_max: usize as Number = 1000, 1..=100_000;
    }
}

choices! {
    /// What happens when a user with all sessions in use opens another.
    WhenFull {
        /// The oldest session is closed.
        EvictOldest = "evict_oldest",
        /// The new session is refused.
        RefuseNewest = "refuse_newest",
    }
}

options! {
    /// Sessions of a user: tabs and devices.
    Sessions {
        /// Most sessions of one user.
        live per_user_max: usize as Number = 10, 1..=1_000_000;
        /// What happens to one session more.
        live when_full: WhenFull as OneOf = WhenFull::EvictOldest;
    }
}

options! {
    /// Slow connections: what one may lag before it is closed.
    Slow {
        /// Most bytes of a channel that a connection may lag behind. Where it is not written it is
        /// at most half of slow.memory_max.
        live lag_bytes_max: usize as Size = 4 * MIB, 4 * KIB..=GIB;
        /// Most bytes of personal messages that may wait for a connection.
        live outbox_bytes_max: usize as Size = 256 * KIB, 4 * KIB..=GIB;
        /// Time in which a connection whose socket is full must take all that waits for it
        /// then; after that the time begins anew.
        live age_max: Duration as Time = 15 * SECOND, Duration::from_millis(100)..=HOUR;
        /// Most memory of the process for channel logs and outboxes together. A shard is sure of
        /// its part of one half and may borrow from the other. Past it the connections of the
        /// shard that hold most are closed whatever their own limit says, one that holds less than
        /// 16 KiB only when nobody holds more.
        live memory_max: usize as Size = 512 * MIB, MIB..=1024 * GIB;
    }
}

options! {
    /// Links between threads.
    Links {
        /// Messages that one link holds, rounded up to a power of two. A full link makes its
        /// sender wait.
        restart capacity: usize as Number = 4096, 16..=1_048_576;
    }
}

options! {
    /// ZeroMQ, the entrance for backends.
    Ingest {
        /// Whether an endpoint without CURVE may bind to an address other than loopback.
        /// Everybody who reaches it may publish.
        restart allow_remote_plaintext: bool as Flag = false;
        /// The sockets. When one is written, none of the defaults exists; `endpoints = []`
        /// means none at all.
        restart endpoints: Vec<Endpoint> as Endpoints = default_endpoints();
    }
}

options! {
    /// The orderly end: connections are closed in paced batches, then the process exits.
    Drain {
        /// Time for which clients are served and accepted as before, while /health fails already,
        /// so that balancers send nobody else here. --dev sets it to 0s.
        restart delay: Duration as Time = 5 * SECOND, Duration::ZERO..=HOUR;
        /// Time over which the closes are spread.
        live window: Duration as Time = 10 * SECOND, Duration::ZERO..=HOUR;
        /// Close code that clients see.
        live close_code: u16 as DrainCode = 1012;
    }
}

choices! {
    /// How much is logged.
    LogLevel {
        /// Nothing.
        Off = "off",
        /// What went wrong.
        Error = "error",
        /// And what may go wrong.
        Warn = "warn",
        /// And the life cycle.
        Info = "info",
        /// And decisions.
        Debug = "debug",
        /// And steps.
        Trace = "trace",
    }
}

choices! {
    /// The form of a log line.
    LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object per line, for collectors.
        Json = "json",
    }
}

options! {
    /// Logs, written to standard error.
    Log {
        /// The least important lines that are written.
        restart level: LogLevel as OneOf = LogLevel::Info;
        /// Lines for people or for collectors.
        restart format: LogFormat as OneOf = LogFormat::Text;
    }
}

/// Makes `Config` of the sections, each once.
macro_rules! sections {
    ($($(#[doc = $about:literal])* $section:ident: $type:ident,)+) => {
        /// Everything that an operator may set. `Config::load` makes it.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Config {
            $(#[doc = concat!("The section `", stringify!($section), "`.")]
            pub $section: $type,)+
            /// Set by the flag `--dev` alone: for trying out, on loopback only.
            pub dev: bool,
        }

        impl Config {
            /// Reads one section of a file.
            pub(super) fn read_section(&mut self, name: &str, node: &Node, reader: &mut Reader) {
                reader.within(name, |reader| match name {
                    $(stringify!($section) => self.$section.read_table(node, reader),)+
                    _ => reader.unknown(node, nearest_section(name)),
                });
            }

            /// Reads one option of a variable or flag; false exactly when there is no such key.
            pub(super) fn read_option(
                &mut self,
                (section, key): (&str, &str),
                node: &Node,
                reader: &mut Reader,
            ) -> bool {
                reader.within(section, |reader| reader.within(key, |reader| match section {
                    $(stringify!($section) => self.$section.read_key(key, node, reader),)+
                    _ => false,
                }))
            }

            /// Every section: name, what it is about, its options.
            pub(super) fn describe(&self) -> Vec<(&'static str, &'static str, Vec<Described>)> {
                vec![$({
                    // Two sections of one type differ in what they are about.
                    let own = concat!($($about, "\n"),*);
                    let about = if own.is_empty() { $type::ABOUT } else { own };
                    (stringify!($section), about, self.$section.describe())
                },)+]
            }

            /// Every option as `section.key`.
            pub(super) fn keys() -> Vec<String> {
                let mut keys = Vec::new();
                $(keys.extend(
                    $type::KEYS.iter().map(|key| format!("{}.{key}", stringify!($section))),
                );)+
                keys
            }
        }

        const SECTIONS: &[&str] = &[$(stringify!($section)),+];
    };
}

sections! {
    shards: Shards,
    cluster: Cluster,
    public: Public,
    token: Token,
    internal: Internal,
    api: Api,
    handshake: Handshake,
    websocket: Websocket,
    heartbeat: Heartbeat,
    client: Client,
    channels: Namespace,
    /// Rules of personal channels, "#user": the keys of [channels] with the same defaults.
    personal: Namespace,
    namespaces: NamedRules,
    history: History,
    idempotency: Idempotency,
    presence: Presence,
    sessions: Sessions,
    slow: Slow,
    links: Links,
    ingest: Ingest,
    drain: Drain,
    log: Log,
}

/// The section, or the option that somebody wrote without its section.
fn nearest_section(name: &str) -> Option<String> {
    let keys = Config::keys();
    let known = SECTIONS.iter().copied().chain(keys.iter().map(String::as_str));
    nearest(name, known)
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}
