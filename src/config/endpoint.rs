//! ZeroMQ endpoints: the options of one socket, and the sockets that exist when none is written.
//!
//! The edge binds by default, because backends come and go and edges have an address.

use std::time::Duration;

use crate::config::codec::{
    Codec, Flag, Number, OneOf, Optional, Size, Time, Words, choices, quote,
};
use crate::config::group::{Group, GroupReader, Reader, Rendered, options};
use crate::config::key::{Key, Keys, PublicKey, SecretKey};
use crate::config::node::{Node, Value};

/// Most endpoints: libzmq stops at 1023 sockets, and one thread serves them all.
const ENDPOINTS_MAX: usize = 256;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

choices! {
    /// Kind of a ZeroMQ socket.
    SocketKind {
        /// Receives from PUB: every edge gets every message, and a slow one loses some.
        Sub = "sub",
        /// Receives from PUSH: one edge gets each message, and a full one makes the sender wait.
        Pull = "pull",
        /// Receives from DEALER or REQ and answers each message.
        Router = "router",
        /// Sends events to SUB.
        Pub = "pub",
        /// Sends events to SUB and learns what is subscribed to.
        Xpub = "xpub",
    }
}

choices! {
    /// Which side listens.
    Mode {
        /// The edge listens.
        Bind = "bind",
        /// The edge connects to a backend that listens.
        Connect = "connect",
    }
}

choices! {
    /// Format of the messages on an endpoint. It is never guessed from a message.
    Format {
        /// Topic, payload, meta.
        Native = "native",
    }
}

choices! {
    /// Side of the CURVE handshake, independent of which side listens.
    CurveRole {
        /// Proves its key to clients and checks theirs.
        Server = "server",
        /// Knows the server's key and shows its own.
        Client = "client",
    }
}

options! {
    /// One ZeroMQ socket.
    Endpoint requires [kind, endpoint] {
        /// Kind of the socket.
        restart kind: SocketKind as OneOf = SocketKind::Sub;
        /// Where: tcp://HOST:PORT or ipc://PATH; a bound HOST may be * for all interfaces, IPv4 and
        /// IPv6, and a bound PORT may be * for any free one.
        restart endpoint: String as Location = "tcp://127.0.0.1:5562".to_owned();
        /// Whether the edge listens or connects.
        restart mode: Mode as OneOf = Mode::Bind;
        /// Format of the messages.
        restart format: Format as OneOf = Format::Native;
        /// Prefixes of the topics that a sub socket asks for; "" means all.
        restart topics: Vec<String> as Words = vec![String::new()];
        /// Messages that wait in memory per peer; fewer where they may be long, so that they have
        /// no more than 128 MiB on their way in, and events no more than 256 MiB. Past it sub,
        /// pub and xpub lose messages, and pull and router make the sender wait.
        restart high_water_mark: u32 as Number = 10_000, 1..=10_000_000;
        /// Longest message part. The peer of a longer one is disconnected. Where it is not
        /// written it is at most half of slow.lag_bytes_max, as it must be.
        restart message_bytes_max: usize as Size = MIB, KIB..=1024 * MIB;
        /// Connections that it has at most. At the bound the oldest that has not finished its
        /// handshake gives way. Each takes two descriptors; there are fewer places where those of
        /// all endpoints would take more than a quarter of the descriptors.
        restart peers_max: u32 as Number = 1024, 1..=100_000;
        /// Who on this machine may connect to a bound ipc:// path, as the mode of a file;
        /// without it the edge's own user.
        restart ipc_mode: Option<u32> as Optional<FileMode> = None;
        /// Silence after which a peer is pinged; one of pull and sub, which may be closed and have
        /// messages on their way, is asked by TCP alone.
        restart heartbeat_interval: Duration as Time = 10 * SECOND, SECOND / 10..=60 * MINUTE;
        /// Time after that in which a sign of life must come.
        restart heartbeat_timeout: Duration as Time = 30 * SECOND, SECOND / 10..=60 * MINUTE;
        /// Wait before the first attempt to connect again.
        restart reconnect_interval: Duration as Time = SECOND / 10, SECOND / 1000..=10 * MINUTE;
        /// Longest wait between attempts; it doubles up to here.
        restart reconnect_interval_max: Duration as Time = 5 * SECOND, SECOND / 1000..=60 * MINUTE;
        /// Encryption and authentication; without it the endpoint is in the clear.
        restart curve: Option<Curve> as CurveTable = None;
    }
}

options! {
    /// CURVE encryption and authentication (CurveZMQ, ZeroMQ RFC 26).
    Curve requires [role] {
        /// Side of the handshake.
        restart role: CurveRole as OneOf = CurveRole::Server;
        /// This edge's public key. A client needs it; a server may leave it out.
        restart public_key: Option<PublicKey> as Optional<Key> = None;
        /// This edge's secret key; better as "file:PATH" than here. Both roles need it.
        restart secret_key: Option<SecretKey> as Optional<Key> = None;
        /// The server's public key. A client needs it.
        restart server_key: Option<PublicKey> as Optional<Key> = None;
        /// Public keys of the clients that a server lets in.
        restart authorized_keys: Vec<PublicKey> as Keys = Vec::new();
        /// Whether a server lets in every client that knows its public key.
        restart any_client: bool as Flag = false;
    }
}

/// The sockets that exist when the configuration names none.
pub(super) fn default_endpoints() -> Vec<Endpoint> {
    let endpoint = |kind, port: u16| Endpoint {
        kind,
        endpoint: format!("tcp://127.0.0.1:{port}"),
        ..Endpoint::default()
    };
    vec![
        endpoint(SocketKind::Sub, 5562),
        endpoint(SocketKind::Pull, 5560),
        endpoint(SocketKind::Router, 5563),
        endpoint(SocketKind::Pub, 5564),
    ]
}

impl Endpoint {
    /// Whether the edge receives commands on it.
    pub(super) fn is_input(&self) -> bool {
        matches!(self.kind, SocketKind::Sub | SocketKind::Pull | SocketKind::Router)
    }

    /// The one address at which it listens; none where the system chooses.
    pub(super) fn listens_at(&self) -> Option<&str> {
        let is_chosen = self.endpoint.ends_with('*') || self.endpoint.ends_with(":0");
        (self.mode == Mode::Bind && !is_chosen).then_some(&self.endpoint)
    }

    /// Whether it listens at a path.
    pub(super) fn has_path(&self) -> bool {
        let path = self.endpoint.strip_prefix("ipc://");
        self.mode == Mode::Bind && path.is_some_and(|path| !path.starts_with('@'))
    }

    /// The host of a tcp endpoint.
    pub(super) fn host(&self) -> Option<&str> {
        Some(self.endpoint.strip_prefix("tcp://")?.rsplit_once(':')?.0)
    }

    /// True when nobody outside this machine can reach the endpoint.
    #[must_use]
    pub fn is_local(&self) -> bool {
        let Some(host) = self.host() else { return true };
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || host == "lo"
            || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// A ZeroMQ endpoint.
pub(super) struct Location;

impl Codec<String> for Location {
    fn parse(node: &Node) -> Option<String> {
        let Value::Text(text) = &node.value else { return None };
        let plain = text.len() <= 256 && !text.contains(|c: char| c.is_control() || c == ' ');
        let known = match (text.strip_prefix("ipc://"), text.strip_prefix("tcp://")) {
            (Some(path), _) => !path.is_empty(),
            (_, Some(rest)) => rest.rsplit_once(':').is_some_and(|(host, port)| {
                let bracketed = host.starts_with('[') && host.ends_with(']');
                let host_is_plain = bracketed || !host.contains([':', '/']);
                !host.is_empty() && host_is_plain && (port == "*" || port.parse::<u16>().is_ok())
            }),
            _ => false,
        };
        (plain && known).then(|| text.clone())
    }

    fn expected() -> String {
        "\"tcp://HOST:PORT\" or \"ipc://PATH\"".to_owned()
    }

    fn render(value: &String) -> Rendered {
        Rendered::Inline(quote(value))
    }
}

/// The permissions of a socket file, in octal digits.
pub(super) struct FileMode;

impl Codec<u32> for FileMode {
    fn parse(node: &Node) -> Option<u32> {
        let Value::Text(text) = &node.value else { return None };
        let digits = text.strip_prefix('0')?;
        let is_octal = digits.len() == 3 && digits.bytes().all(|digit| digit.is_ascii_digit());
        is_octal.then(|| u32::from_str_radix(digits, 8).ok())?
    }

    fn expected() -> String {
        "a mode of a file in octal digits such as \"0660\"".to_owned()
    }

    fn render(value: &u32) -> Rendered {
        Rendered::Inline(format!("\"{value:04o}\""))
    }
}

/// The list of endpoints.
pub(super) struct Endpoints;

impl Codec<Vec<Endpoint>> for Endpoints {
    /// The value may hold keys.
    const SECRET: bool = true;

    fn parse(_: &Node) -> Option<Vec<Endpoint>> {
        None
    }

    fn expected() -> String {
        "a list of tables, each written as [[ingest.endpoints]]".to_owned()
    }

    fn render(value: &Vec<Endpoint>) -> Rendered {
        Rendered::Tables(value.iter().map(Group::describe).collect())
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Vec<Endpoint>> {
        let Value::Array(nodes) = &node.value else {
            reader.reject(node, node.describe(Self::SECRET), Self::expected());
            return None;
        };
        if nodes.len() > ENDPOINTS_MAX {
            let found = format!("a list of {}", nodes.len());
            reader.reject(node, found, format!("at most {ENDPOINTS_MAX} endpoints"));
            return None;
        }
        let read = |(index, node): (usize, &Node)| {
            reader.within(&format!("[{index}]"), |reader| {
                let mut endpoint = Endpoint::default();
                reader.origins.insert(reader.path().to_owned(), node.origin.clone());
                endpoint.read_table(node, reader);
                endpoint
            })
        };
        Some(nodes.iter().enumerate().map(read).collect())
    }
}

/// The table `curve` of an endpoint.
pub(super) struct CurveTable;

impl Codec<Option<Curve>> for CurveTable {
    const SECRET: bool = true;

    fn parse(_: &Node) -> Option<Option<Curve>> {
        None
    }

    fn expected() -> String {
        "a table with the keys below".to_owned()
    }

    fn render(value: &Option<Curve>) -> Rendered {
        match value {
            None => Rendered::AbsentTable(Curve::default().describe()),
            Some(curve) => Rendered::Table(curve.describe()),
        }
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Option<Curve>> {
        let mut curve = Curve::default();
        curve.read_table(node, reader);
        Some(Some(curve))
    }
}
