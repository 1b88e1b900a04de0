//! What to run, and everything about it that can be checked before anything is started.

use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::channels::Channels;
use crate::error::Error;
use crate::handshake;
use crate::message::{JSON_BYTES_MIN, Message, PAYLOAD_BYTES_MIN};
use crate::post::{BASE64, CHANNEL, Post};
use crate::publisher::Publisher;
use crate::share::{Part, Share};
use crate::target::{Door, Target};
use tidegate_doctor::{Finding, Sockets, Tree, Verdict, examine_load};
use tidegate_limits::{CHANNELS_PER_CONNECTION_MAX, DESCRIPTORS_RESERVED};
use tidegate_sys::Clock;
use tidegate_sys::host::raise_descriptor_limit;

/// Descriptors of a process that are no connections. The server's own reserve is the larger one,
/// with places for a few backends, and one number for both keeps a process of connections for
/// each server.
const RESERVED: u64 = DESCRIPTORS_RESERVED as u64 + 88;

/// Most messages of a run: each has its place in a table and its number 32 bits.
const MESSAGES_MAX: f64 = 10_000_000.0;

/// Most channels of a run.
const CHANNELS_MAX: u32 = 10_000_000;

/// The longest history that a server can be told to keep for a channel.
const HISTORY_MAX: u32 = 100_000;

/// How long a server may take to accept the first connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is done with the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// They are held.
    Idle,
    /// Every message goes to all of them.
    Fanout,
    /// Every message goes to the personal channel of one of them.
    Unicast,
    /// Messages to one of them, first alone and then while every other message goes to all.
    Mixed,
    /// What they send comes back.
    Echo,
    /// They are opened and closed at a rate.
    Churn,
    /// All drop and come back at once.
    Storm,
    /// All drop, and come back for what was published meanwhile.
    Recover,
    /// A fan-out during which some do not read.
    Slow,
}

impl Scenario {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Fanout => "fanout",
            Self::Unicast => "unicast",
            Self::Mixed => "mixed",
            Self::Echo => "echo",
            Self::Churn => "churn",
            Self::Storm => "storm",
            Self::Recover => "recover",
            Self::Slow => "slow",
        }
    }

    /// Whether messages are published.
    #[must_use]
    pub fn publishes(self) -> bool {
        matches!(self, Self::Fanout | Self::Unicast | Self::Mixed | Self::Slow | Self::Recover)
    }

    /// Whether it publishes to channels that one connection each is in.
    fn has_own_channels(self) -> bool {
        matches!(self, Self::Unicast | Self::Mixed)
    }

    fn default_path(self) -> &'static str {
        match self {
            Self::Unicast => "/websocket/{number}",
            Self::Mixed => "/websocket/{number}?channels={channels}",
            Self::Echo => "/echo",
            _ => "/websocket?channels={channels}",
        }
    }
}

/// What connections speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Each message is a frame, and the URL says what is subscribed.
    Raw,
    /// The Centrifuge client protocol, in JSON.
    Json,
}

/// Which server is put under load.
#[derive(Clone, Debug)]
pub enum ServerChoice {
    /// A tidegate that is started for the run, or several.
    Serve {
        /// Its options, each `SECTION.KEY=VALUE`.
        options: Vec<String>,
    },
    /// One that runs already.
    Running {
        /// `ws://host:port/path`; without a path the scenario's own.
        url: String,
        /// Where its PULL socket is, or the `http://` address that it takes messages at.
        endpoint: String,
        /// What is posted to the latter, with the message as `{base64}`; none means the message.
        body: Option<String>,
        /// Its processes, to be measured.
        pids: Vec<u32>,
    },
}

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is done.
    pub scenario: Scenario,
    /// What connections speak; none means what the scenario needs.
    pub protocol: Option<Protocol>,
    /// How many connections; in `churn` how many are held at the same time.
    pub connections: u32,
    /// Processes to spread them over; none means as many as descriptors demand.
    pub processes: Option<u32>,
    /// How long the server must do next to nothing once all are open: memory that was needed only
    /// while opening goes back to the system with some delay, and not every server has subscribed
    /// who is open.
    pub settle_seconds: f64,
    /// How long. A storm may take so long.
    pub seconds: u32,
    /// Publications per second, or connections per second in `churn`.
    pub rate: f64,
    /// Bytes of a payload.
    pub bytes: usize,
    /// Messages of each connection on the way at the same time, in `echo`.
    pub in_flight: u32,
    /// Which part of the connections does not read, in `slow`.
    pub slow_share: f64,
    /// Openings per second; none means as fast as they are taken.
    pub open_rate: Option<f64>,
    /// Source addresses to use in turn.
    pub sources: Vec<IpAddr>,
    /// Whether the server may be on another machine.
    pub allows_remote: bool,
    /// The channel that is published to, or what the names of several begin with.
    pub channel: String,
    /// How many channels connections are spread over.
    pub channels: u32,
    /// How many of them each connection is in.
    pub channels_each: u32,
    /// The server.
    pub server: ServerChoice,
}

impl Plan {
    /// How many messages are published.
    pub(super) fn messages(&self) -> u32 {
        (self.rate * f64::from(self.seconds)) as u32
    }

    /// Whether the options make sense together.
    pub(super) fn check(&self) -> Result<(), Error> {
        let must =
            |holds: bool, otherwise| if holds { Ok(()) } else { Err(Error::Options(otherwise)) };
        must(self.connections > 0, "--connections must be at least 1")?;
        must((1..=3600).contains(&self.seconds), "--seconds must be from 1 to 3600")?;
        let settles = (0.0..=3600.0).contains(&self.settle_seconds);
        must(settles, "--settle must be from 0 to 3600")?;
        must(self.rate > 0.0 && self.rate.is_finite(), "--rate must be above zero")?;
        let messages = self.rate * f64::from(self.seconds);
        must(messages <= MESSAGES_MAX, "--rate times --seconds must be at most 10,000,000")?;
        must(messages >= 1.0, "--rate times --seconds must be at least 1")?;
        let sizes = PAYLOAD_BYTES_MIN..=16 << 20;
        must(sizes.contains(&self.bytes), "--bytes must be from 16 to 16777216")?;
        let fits = !self.is_json() || self.bytes >= JSON_BYTES_MIN;
        must(fits, "--bytes must be at least 40 with --protocol json")?;
        must((1..=1024).contains(&self.in_flight), "--in-flight must be from 1 to 1024")?;
        let has_readers = self.slow_share > 0.0 && self.slow_share < 1.0;
        must(has_readers, "--slow-share must be above 0 and below 1")?;
        must(self.open_rate.is_none_or(|rate| rate > 0.0), "--open-rate must be above zero")?;
        self.check_channels()
    }

    /// Whether the scenario goes with the protocol and the number of channels.
    fn check_channels(&self) -> Result<(), Error> {
        let must =
            |holds: bool, otherwise| if holds { Ok(()) } else { Err(Error::Options(otherwise)) };
        let Self { scenario, channels, channels_each, .. } = *self;
        must(
            scenario != Scenario::Echo || !self.is_json(),
            "echo has no JSON door: run it with --protocol raw",
        )?;
        must(
            scenario != Scenario::Recover || self.is_json(),
            "raw connections have no position to recover from: run recover with --protocol json",
        )?;
        let counts = (1..=CHANNELS_MAX).contains(&channels);
        must(counts, "--channels must be from 1 to 10,000,000")?;
        let most = channels.min(CHANNELS_PER_CONNECTION_MAX as u32);
        must(
            (1..=most).contains(&channels_each),
            "--channels-each must be from 1 to 128 and at most --channels",
        )?;
        must(
            channels == 1 || !(scenario.has_own_channels() || scenario == Scenario::Echo),
            "--channels does not go with unicast, mixed or echo: run it with fanout",
        )
    }

    pub(super) fn is_json(&self) -> bool {
        let is_needed = self.scenario == Scenario::Recover;
        self.protocol.map_or(is_needed, |protocol| protocol == Protocol::Json)
    }

    /// What connections are subscribed to.
    pub(super) fn channels(&self) -> Channels {
        let each = if self.scenario == Scenario::Unicast { 0 } else { self.channels_each };
        let has_own = self.scenario.has_own_channels();
        Channels { name: self.channel.clone(), count: self.channels, each, has_own }
    }

    /// The channel that only the connection with this number hears.
    pub(super) fn own_channel(&self, user: u32) -> String {
        if self.is_json() { self.channels().own_name(user) } else { format!("#{user}") }
    }

    /// A message that is published now.
    pub(super) fn payload(&self, number: u32) -> Vec<u8> {
        let message = Message { number, published_nanos: Clock::shared_nanos() };
        if self.is_json() { message.encode_json(self.bytes) } else { message.encode(self.bytes) }
    }

    /// Options of a server that is started for the run, before those that the caller gives.
    pub(super) fn server_options(&self) -> Vec<String> {
        if self.scenario != Scenario::Recover {
            return Vec::new();
        }
        // Nobody is to miss more than is remembered.
        let most = self.messages().div_ceil(self.channels).clamp(1, HISTORY_MAX);
        let options = ["channels.history_size", "history.recovery_publications_max"];
        options.map(|option| format!("{option}={most}")).to_vec()
    }

    /// How many processes hold the connections.
    pub(super) fn processes(&self) -> Result<u32, Error> {
        let limit = raise_descriptor_limit()?;
        let each = u32::try_from(limit.saturating_sub(RESERVED)).unwrap_or(u32::MAX).max(1);
        let needed = self.connections.div_ceil(each);
        match self.processes {
            Some(asked) if asked < needed => {
                Err(Error::Descriptors { connections: self.connections, needed, limit })
            }
            Some(asked) => Ok(asked.min(self.connections)),
            None => Ok(needed),
        }
    }

    /// What the host lacks for as many sockets, if it is not so much that the run cannot be made.
    pub(super) fn check_host(&self, processes: u32) -> Result<Vec<Finding>, Error> {
        // The server of a run that may be remote is most likely there.
        let ends = if self.allows_remote { 1 } else { 2 };
        let sides = if matches!(self.server, ServerChoice::Serve { .. }) { 2 } else { 1 };
        let sockets = Sockets {
            ends: u64::from(self.connections) * ends,
            processes: u64::from(processes) * sides,
        };
        let mut findings = examine_load(&Tree::host(), sockets);
        match findings.first() {
            Some(worst) if worst.verdict == Verdict::Fail => Err(Error::Host {
                connections: self.connections,
                finding: Box::new(findings.swap_remove(0)),
            }),
            _ => Ok(findings),
        }
    }

    /// The servers of a running one's address, after a look whether it is there.
    pub(super) fn target(&self, url: &str) -> Result<Target, Error> {
        let (address, host, path) = self.locate("ws://", url)?;
        let mut target = self.target_at(address);
        host.clone_into(&mut target.host);
        if path.len() > 1 {
            target.door = self.door(path);
        }
        if let Door::WebSocket(path) = &target.door {
            if self.scenario.has_own_channels() && !path.contains(handshake::USER) {
                return Err(Error::Options(
                    "the path of --url needs {number} where the user stands",
                ));
            }
            if self.channels > 1 && !path.contains(handshake::CHANNELS) {
                return Err(Error::Options(
                    "the path of --url needs {channels} where the names of channels stand",
                ));
            }
        }
        TcpStream::connect_timeout(&address, PATIENCE).map(drop).map_err(|error| {
            let reason = error.to_string();
            Error::Absent { address: address.to_string(), reason }
        })?;
        Ok(target)
    }

    /// Address, host and path of a URL that may be aimed at.
    fn locate<'a>(
        &self,
        scheme: &str,
        url: &'a str,
    ) -> Result<(SocketAddr, &'a str, &'a str), Error> {
        let bad = || Error::Url(url.to_owned());
        let rest = url.strip_prefix(scheme).ok_or_else(bad)?;
        let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let port_follows = host.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok());
        let place = if port_follows { host.to_owned() } else { format!("{host}:80") };
        if host.is_empty() || url.contains(char::is_whitespace) {
            return Err(bad());
        }
        let unknown = || Error::Name(url.to_owned());
        let addresses: Vec<SocketAddr> = place.to_socket_addrs().map_err(|_| unknown())?.collect();
        // `localhost` has two addresses, and servers often listen on the older kind only.
        let address =
            addresses.iter().find(|address| address.is_ipv4()).or_else(|| addresses.first());
        let address = *address.ok_or_else(unknown)?;
        if !address.ip().is_loopback() && !self.allows_remote {
            return Err(Error::Remote(address.to_string()));
        }
        Ok((address, host, path))
    }

    /// What messages are published through.
    pub(super) fn publisher(&self, endpoints: &[String]) -> Result<Publisher, Error> {
        let body = match &self.server {
            ServerChoice::Running { body, .. } => body.clone(),
            ServerChoice::Serve { .. } => None,
        };
        let Some(url) = endpoints.iter().find(|endpoint| endpoint.starts_with("http://")) else {
            if body.is_some() {
                return Err(Error::Options("--publish-body is for an --endpoint with http://"));
            }
            endpoints.iter().try_for_each(|endpoint| self.check_endpoint(endpoint))?;
            return Publisher::connect(endpoints);
        };
        if body.as_ref().is_some_and(|body| !body.contains(BASE64)) {
            return Err(Error::Options("--publish-body needs {base64} where the message stands"));
        }
        let has = |what| url.contains(what) || body.as_ref().is_some_and(|it| it.contains(what));
        let has_user = has(handshake::USER) || has(CHANNEL);
        if self.channels > 1 && !has(CHANNEL) {
            let otherwise = "--endpoint or --publish-body needs {channel} where its name stands";
            return Err(Error::Options(otherwise));
        }
        if self.scenario == Scenario::Mixed {
            return Err(Error::Options("mixed needs a PULL socket as --endpoint: tcp://HOST:PORT"));
        }
        if self.scenario == Scenario::Unicast && !has_user {
            let otherwise = "--endpoint or --publish-body needs {number} where the user stands";
            return Err(Error::Options(otherwise));
        }
        let (address, host, path) = self.locate("http://", url)?;
        let path = if path.is_empty() { "/" } else { path };
        Ok(Publisher::Post(Post::new(address, host, path, body)?))
    }

    /// The scenario's own door of a server.
    pub(super) fn target_at(&self, address: SocketAddr) -> Target {
        let path =
            if self.is_json() { "/connection/websocket" } else { self.scenario.default_path() };
        let mut target = Target::new(address, self.door(path));
        target.channels = self.channels();
        target.sources.clone_from(&self.sources);
        target
    }

    fn door(&self, path: &str) -> Door {
        if self.is_json() { Door::Json(path.to_owned()) } else { Door::WebSocket(path.to_owned()) }
    }

    /// Whether an endpoint may be published to.
    fn check_endpoint(&self, endpoint: &str) -> Result<(), Error> {
        let Some(place) = endpoint.strip_prefix("tcp://") else { return Ok(()) };
        let addresses = place.to_socket_addrs().map_err(|_| Error::Name(endpoint.to_owned()))?;
        let is_remote = addresses.into_iter().any(|address| !address.ip().is_loopback());
        let is_refused = is_remote && !self.allows_remote;
        if is_refused { Err(Error::Remote(endpoint.to_owned())) } else { Ok(()) }
    }

    /// Everybody's share. Processes take the servers in turn.
    pub(super) fn shares(&self, targets: &[Target], processes: u32) -> Result<Vec<Share>, Error> {
        let ports = targets[0].ports().map(|ports| ports.saturating_mul(targets.len()));
        if let Some(ports) = ports.filter(|&ports| ports < self.connections as usize) {
            return Err(Error::Ports { connections: self.connections, ports });
        }
        let mut shares = Vec::new();
        let mut first = 0;
        for index in 0..processes {
            let left = self.connections - first;
            let count = left.div_ceil(processes - index);
            shares.push(Share {
                target: targets[index as usize % targets.len()].clone(),
                first: self.first_number(index, first),
                count,
                open_rate: self.open_rate.map(|rate| rate / f64::from(processes)),
                part: self.part(count, processes),
            });
            first += count;
        }
        Ok(shares)
    }

    /// Churn goes through many numbers, so each process has a range of its own.
    fn first_number(&self, index: u32, first: u32) -> u32 {
        if self.scenario == Scenario::Churn { index << 24 } else { first }
    }

    fn part(&self, count: u32, processes: u32) -> Part {
        let &Self { seconds, bytes, in_flight, .. } = self;
        match self.scenario {
            Scenario::Idle | Scenario::Unicast => Part::Listen { notes_receivers: false },
            Scenario::Fanout | Scenario::Mixed => Part::Listen { notes_receivers: true },
            Scenario::Echo => Part::Echo { in_flight, bytes, seconds },
            Scenario::Churn => {
                Part::Churn { per_second: self.rate / f64::from(processes), seconds }
            }
            Scenario::Storm => Part::Storm { seconds },
            Scenario::Recover => Part::Recover,
            Scenario::Slow => {
                let slow = (f64::from(count) * self.slow_share).round() as u32;
                Part::Slow { count: slow.clamp(1, count.saturating_sub(1)) }
            }
        }
    }
}

impl Share {
    /// How many of its connections receive while messages are published.
    pub(super) fn readers(&self) -> u32 {
        match self.part {
            Part::Slow { count } => self.count - count,
            _ => self.count,
        }
    }

    /// How often the first `messages` to all arrive at those.
    pub(super) fn deliveries(&self, messages: u32) -> u64 {
        let readers = self.first..self.first + self.readers();
        self.target.channels.deliveries(readers, messages)
    }

    /// Whether any of its connections is in a channel.
    pub(super) fn is_in(&self, channel: u32) -> bool {
        self.target.channels.are_in(&(self.first..self.first + self.count), channel)
    }
}
