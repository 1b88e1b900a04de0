//! `tidegate bench`: the command line of a run, its progress bar, its table and its picture.

mod plot;
mod progress;
mod table;

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::{Plan, Protocol, Scenario, ServerChoice};

/// Flags of the command.
#[derive(Debug, Args)]
pub struct Arguments {
    /// What to do.
    #[arg(value_enum)]
    scenario: Name,
    /// Start `tidegate serve --dev` for the run, on free ports, and end it afterwards.
    #[arg(long, conflicts_with_all = ["url", "endpoint", "server_pid"])]
    serve: bool,
    /// An option of the server that --serve starts; may be repeated.
    #[arg(long, value_name = "SECTION.KEY=VALUE", requires = "serve")]
    set: Vec<String>,
    /// What connections speak [default: raw, but json in recover].
    #[arg(long, value_enum)]
    protocol: Option<Language>,
    /// The server; in the path {number} is the connection's number and {channels} the names of its
    /// channels [default path: the scenario's].
    #[arg(long, default_value = "ws://127.0.0.1:8000")]
    url: String,
    /// The server's ZeroMQ PULL endpoint, for scenarios that publish; or http://HOST:PORT/PATH of a
    /// server of another kind, to which each message is posted.
    #[arg(long, default_value = "tcp://127.0.0.1:5560")]
    endpoint: String,
    /// What to post to an http endpoint, such as '{"channel":"{channel}","b64data":"{base64}"}',
    /// with the channel's name and the message as base64 [default: the message itself].
    #[arg(long, value_name = "TEMPLATE", conflicts_with = "serve")]
    publish_body: Option<String>,
    /// A process of the server, or a kernel thread that works for it, to measure its memory and
    /// CPU; may be repeated.
    #[arg(long, value_name = "PID")]
    server_pid: Vec<u32>,
    /// Allow a server that is not on loopback. Its owner should know.
    #[arg(long)]
    allow_remote: bool,
    /// Connections; in churn those held at the same time.
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 1000)]
    connections: u32,
    /// Processes that share the connections [default: as many as descriptors demand].
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1024))]
    processes: Option<u32>,
    /// Connections opened per second [default: as fast as the server takes them].
    #[arg(long, value_name = "RATE")]
    open_rate: Option<f64>,
    /// Source addresses to use in turn [default: 127.1.x.y towards loopback].
    #[arg(long, value_name = "IP,IP", value_delimiter = ',')]
    sources: Vec<IpAddr>,
    /// Seconds for which the server must be quiet between the last opening and the begin; if it
    /// never is, the run begins all the same after 5.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.5)]
    settle: f64,
    /// How long to run; for a storm how long it may take.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Publications per second; in churn connections per second.
    #[arg(long, default_value_t = 100.0)]
    rate: f64,
    /// Bytes of a message.
    #[arg(long, default_value_t = 128)]
    bytes: usize,
    /// Channel to publish to; with --channels what the names begin with, before a hyphen and a
    /// number.
    #[arg(long, default_value = "bench")]
    channel: String,
    /// Channels that the connections are spread over and that publications go round.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    channels: u32,
    /// How many of them each connection is in.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    channels_each: u32,
    /// Messages of each connection on the way at the same time, in echo.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    in_flight: u32,
    /// Part of the connections that does not read, in slow.
    #[arg(long, value_name = "PART", default_value_t = 0.1)]
    slow_share: f64,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
    /// Show what each of the kernel's memory caches holds for connections.
    #[arg(long, conflicts_with = "json")]
    slabs: bool,
    /// Draw the latencies by percentile, or in idle the pings over time, into an SVG file.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Name {
    /// Hold connections: memory and CPU of the server.
    Idle,
    /// Publish to a channel that all are subscribed to.
    Fanout,
    /// Publish to random users.
    Unicast,
    /// Publish to random users, alone and then while broadcasts to all are under way.
    Mixed,
    /// Send messages that come back.
    Echo,
    /// Open and close connections.
    Churn,
    /// Drop all connections and open them again at once.
    Storm,
    /// A fan-out that cuts all off after a quarter, lets them back after half, and they recover.
    Recover,
    /// A fan-out while some clients do not read.
    Slow,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Language {
    /// Each message is a frame; the URL says what is subscribed.
    Raw,
    /// The Centrifuge client protocol in JSON.
    Json,
}

impl From<Language> for Protocol {
    fn from(language: Language) -> Self {
        match language {
            Language::Raw => Self::Raw,
            Language::Json => Self::Json,
        }
    }
}

impl From<Name> for Scenario {
    fn from(name: Name) -> Self {
        match name {
            Name::Idle => Self::Idle,
            Name::Fanout => Self::Fanout,
            Name::Unicast => Self::Unicast,
            Name::Mixed => Self::Mixed,
            Name::Echo => Self::Echo,
            Name::Churn => Self::Churn,
            Name::Storm => Self::Storm,
            Name::Recover => Self::Recover,
            Name::Slow => Self::Slow,
        }
    }
}

impl Arguments {
    /// What was asked for, of which program, and where.
    fn subtitle(&self) -> String {
        let load = match self.scenario {
            Name::Idle | Name::Storm => String::new(),
            Name::Churn => format!("{} connections/s, ", self.rate),
            Name::Echo => format!("{} bytes, {} in flight, ", self.bytes, self.in_flight),
            _ => format!("{} messages/s, {} bytes, ", self.rate, self.bytes),
        };
        let version = env!("CARGO_PKG_VERSION");
        format!(
            "{load}{} s, tidegate {version} bench on {}",
            self.seconds,
            tidegate_sys::host::name()
        )
    }

    fn plan(&self) -> Plan {
        let server = if self.serve {
            ServerChoice::Serve { options: self.set.clone() }
        } else {
            ServerChoice::Running {
                url: self.url.clone(),
                endpoint: self.endpoint.clone(),
                body: self.publish_body.clone(),
                pids: self.server_pid.clone(),
            }
        };
        Plan {
            scenario: self.scenario.into(),
            protocol: self.protocol.map(Protocol::from),
            connections: self.connections,
            processes: self.processes,
            settle_seconds: self.settle,
            seconds: self.seconds,
            rate: self.rate,
            bytes: self.bytes,
            in_flight: self.in_flight,
            slow_share: self.slow_share,
            open_rate: self.open_rate,
            sources: self.sources.clone(),
            allows_remote: self.allow_remote,
            channel: self.channel.clone(),
            channels: self.channels,
            channels_each: self.channels_each,
            server,
        }
    }
}

/// Makes the run and hands `print` what it found.
///
/// # Errors
/// Why there was no run, or what was not flawless in it.
pub fn run(arguments: &Arguments, print: impl Fn(&str)) -> Result<(), String> {
    let mut bar = progress::Bar::new();
    let report = crate::run(&arguments.plan(), &mut |progress| bar.show(progress));
    bar.clear();
    let report = report.map_err(|error| error.to_string())?;
    if arguments.json {
        let text = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
        print(&format!("{text}\n"));
    } else {
        print(&table::render(&report, arguments.slabs));
    }
    if let Some(path) = &arguments.plot {
        plot::draw(&report, &arguments.subtitle(), path)
            .map_err(|reason| format!("cannot draw {}: {reason}", path.display()))?;
    }
    if report.problems.is_empty() { Ok(()) } else { Err(report.problems.join(", ")) }
}
