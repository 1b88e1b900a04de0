//! The server under test, and what its operators' address says.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::role::{Role, pin};

/// What differs from the defaults.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    /// One on each of the first cores.
    pub(crate) shards: usize,
    /// Messages that wait at each ZeroMQ endpoint.
    pub(crate) high_water_mark: usize,
    /// Messages that wait on each link.
    pub(crate) link_capacity: usize,
    /// How often connections are pinged.
    pub(crate) ping_seconds: usize,
    /// Polite clients and others share it: it has the limits of production, and whatever can be
    /// asked for is there.
    pub(crate) is_shared: bool,
}

/// The secret of tokens at a server that is shared.
pub(crate) const SECRET: &str = "a secret of a bench that is long enough to be one";

impl Default for Setup {
    fn default() -> Self {
        Self {
            shards: 1,
            high_water_mark: 10_000,
            link_capacity: 4096,
            ping_seconds: 25,
            is_shared: false,
        }
    }
}

/// The server under test.
pub(crate) struct Server {
    role: Role,
    /// Where clients connect.
    pub(crate) public: String,
    /// The PULL endpoint.
    pub(crate) pull: String,
    /// The ROUTER endpoint.
    pub(crate) router: String,
    /// The SUB endpoint.
    pub(crate) sub: String,
    /// Where operators and backends connect by HTTP.
    pub(crate) internal: String,
}

impl Server {
    /// Starts it with one shard on the senders' core.
    pub(crate) fn start() -> io::Result<Self> {
        Self::with(Setup::default())
    }

    /// Starts it with other settings.
    pub(crate) fn with(setup: Setup) -> io::Result<Self> {
        let Setup { shards, high_water_mark, link_capacity, ping_seconds, is_shared } = setup;
        let is_shared = usize::from(is_shared);
        let numbers = [shards, high_water_mark, link_capacity, ping_seconds, is_shared];
        let numbers = numbers.map(|number| number.to_string());
        let mut role = Role::start("server", &numbers.each_ref().map(String::as_str))?;
        let mut public = None;
        let mut endpoints = Vec::new();
        loop {
            let line = role.hear()?;
            let mut words = line.split_whitespace();
            let name = words.next().unwrap_or_default();
            let address = words.next().unwrap_or_default();
            let host = || address.split('/').nth(2).map(str::to_owned);
            match name {
                "clients" => public = host(),
                "ZeroMQ" => endpoints.push(address.to_owned()),
                "operators" => {
                    let public = public.expect("it is printed first");
                    let internal = host().expect("it is a URL");
                    let [pull, router, sub] = <[String; 3]>::try_from(endpoints)
                        .map_err(|_| io::Error::other("not all endpoints are printed"))?;
                    return Ok(Self { role, public, pull, router, sub, internal });
                }
                _ => {}
            }
        }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.role.pid()
    }

    /// The sum of a metric over its labels.
    pub(crate) fn metric(&self, name: &str) -> io::Result<u64> {
        let mut stream = TcpStream::connect(&self.internal)?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let values = text.lines().filter_map(|line| {
            let (head, value) = line.rsplit_once(' ')?;
            let is_it = head.split('{').next() == Some(name);
            is_it.then(|| value.parse::<f64>().ok())?
        });
        let values: Vec<f64> = values.collect();
        if values.is_empty() {
            return Err(io::Error::other(format!("/metrics has no {name}")));
        }
        Ok(values.iter().sum::<f64>() as u64)
    }
}

/// Becomes the server.
pub(crate) fn play(setup: Setup) -> io::Result<()> {
    pin(0..setup.shards);
    // One endpoint of each kind that commands come in on, in the order of their addresses.
    let endpoints = ["pull", "router", "sub"].map(|kind| {
        let high_water_mark = setup.high_water_mark;
        // Descriptors are for clients.
        let endpoint = r#"endpoint = "tcp://127.0.0.1:*", peers_max = 16"#;
        format!(r#"{{kind = "{kind}", {endpoint}, high_water_mark = {high_water_mark}}}"#)
    });
    let mut settings = vec![
        format!("ingest.endpoints=[{}]", endpoints.join(", ")),
        format!("links.capacity={}", setup.link_capacity),
        format!("heartbeat.ping_interval={}s", setup.ping_seconds),
        // Channels without a namespace are plain, as they are without `--dev`.
        "channels.history_size=0".to_owned(),
        "channels.presence=false".to_owned(),
        "personal.history_size=0".to_owned(),
        "personal.presence=false".to_owned(),
        // Channels that begin with `kept:` have history.
        "namespaces.kept.history_size=100".to_owned(),
    ];
    if setup.is_shared {
        let key = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/p384.public.pem");
        settings.extend([
            format!("token.public_keys=[\"file:{key}\"]"),
            format!("token.hmac_secret={SECRET}"),
            "client.channels_max=16384".to_owned(),
            "channels.publish=everybody".to_owned(),
            "channels.presence=true".to_owned(),
            "namespaces.kept.presence=true".to_owned(),
            // What is remembered there is forgotten at once.
            "namespaces.brief.history_size=100000".to_owned(),
            "namespaces.brief.history_ttl=1s".to_owned(),
            "namespaces.kept.join_leave=true".to_owned(),
        ]);
    } else {
        // Limits that pace handshakes or close slow receivers would measure themselves.
        settings.extend(["handshake.rate=0", "slow.lag_bytes_max=16MiB"].map(str::to_owned));
    }
    let error = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["serve", "--dev", "--public-address", "127.0.0.1:0"])
        .args(["--internal-address", "127.0.0.1:0", "--log-level", "error"])
        .args(settings.iter().flat_map(|setting| ["--set", setting]))
        .exec();
    Err(error)
}
