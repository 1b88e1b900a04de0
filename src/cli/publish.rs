//! `tidegate publish`: messages for a running edge over ZeroMQ, for trying and for scripts.
//!
//! By default a DEALER asks the edge's ROUTER and waits for each answer. PUSH and XPUB have no
//! answers; there, done means handed to a connected peer. XPUB instead of PUB, because it hears
//! the subscription arrive: a PUB socket would lose the first messages in silence.

use std::io::{self, Read as _};
use std::net::ToSocketAddrs as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use crate::cli::{fail, print};
use crate::sys::zeromq;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The channel, or $cmd for commands without one.
    channel: String,
    /// The payload; - reads it from standard input.
    payload: String,
    /// The edge's ZeroMQ endpoint [default: its default one for the socket].
    #[arg(long)]
    endpoint: Option<String>,
    /// How to talk to the edge.
    #[arg(long, value_enum, default_value = "router-dealer")]
    socket: Socket,
    /// The meta part: a JSON object such as '{"ct":"json"}'.
    #[arg(long, value_name = "JSON", value_parser = parse_meta)]
    meta: Option<Map<String, Value>>,
    /// The operation, as meta's op: pub, broadcast, user, all, subscribe, unsubscribe or
    /// disconnect.
    #[arg(long)]
    op: Option<String>,
    /// How many times to publish it.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Publications per second; without it as fast as the edge takes them.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    rate: Option<u32>,
    /// Seconds to wait for the edge.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3600))]
    timeout: u32,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Socket {
    /// DEALER to the edge's ROUTER: every publication is answered.
    RouterDealer,
    /// PUSH to the edge's PULL: one edge gets it.
    Push,
    /// PUB to the edge's SUB: every connected edge gets it.
    Pub,
}

/// Requests on the way at the same time: enough to hide the round trip, and far below every
/// high-water mark.
const OUTSTANDING_MAX: u64 = 512;

/// Longest payload that is read from standard input.
const PAYLOAD_BYTES_MAX: u64 = 64 << 20;

/// An address that libzmq could connect to, or what to write instead.
fn check_endpoint(endpoint: &str) -> Result<(), String> {
    let has_port = endpoint.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let form = match endpoint.split_once("://") {
        Some(("tcp", _)) if has_port => return Ok(()),
        Some(("ipc", path)) if !path.is_empty() => return Ok(()),
        None if has_port => format!("tcp://{endpoint}"),
        _ => "tcp://HOST:PORT or ipc://PATH".to_owned(),
    };
    Err(format!("cannot connect to {endpoint}: write {form}"))
}

/// Refuses a host that nobody knows, which libzmq would look up until the end of time.
fn check_host(endpoint: &str) -> Result<(), String> {
    let Some(place) = endpoint.strip_prefix("tcp://") else { return Ok(()) };
    match place.to_socket_addrs() {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("cannot find the host of {endpoint} ({error}): check its name")),
    }
}

fn parse_meta(text: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(meta)) => Ok(meta),
        Ok(_) => Err("must be a JSON object".to_owned()),
        Err(error) => Err(format!("not JSON: {error}")),
    }
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let result = Publisher::connect(arguments).and_then(|mut publisher| match arguments.socket {
        Socket::RouterDealer => publisher.request_all(),
        Socket::Push | Socket::Pub => publisher.send_all(),
    });
    result.unwrap_or_else(|reason| fail(&reason))
}

/// One run of the command.
struct Publisher<'a> {
    arguments: &'a Arguments,
    endpoint: &'a str,
    payload: Vec<u8>,
    socket: zmq::Socket,
    start: Instant,
    sent: u64,
    answered: u64,
    refused: u64,
}

impl<'a> Publisher<'a> {
    fn connect(arguments: &'a Arguments) -> Result<Self, String> {
        let (kind, default) = match arguments.socket {
            Socket::RouterDealer => (zmq::DEALER, "tcp://127.0.0.1:5563"),
            Socket::Push => (zmq::PUSH, "tcp://127.0.0.1:5560"),
            Socket::Pub => (zmq::XPUB, "tcp://127.0.0.1:5562"),
        };
        let endpoint = arguments.endpoint.as_deref().unwrap_or(default);
        check_endpoint(endpoint)?;
        let payload = read_payload(&arguments.payload)?;
        let timeout = i32::try_from(arguments.timeout * 1000).unwrap_or(i32::MAX);
        let open = || -> io::Result<zmq::Socket> {
            let mut socket = zeromq::socket(&zmq::Context::new(), kind)?;
            // Without this a DEALER or PUSH would queue for an edge that is not there.
            socket.set_immediate(true)?;
            socket.set_sndtimeo(timeout)?;
            socket.set_rcvtimeo(timeout)?;
            socket.set_linger(timeout)?;
            zeromq::connect(&mut socket, endpoint)?;
            Ok(socket)
        };
        check_host(endpoint)?;
        let socket = open().map_err(|error| format!("cannot connect to {endpoint}: {error}"))?;
        let start = Instant::now();
        Ok(Self { arguments, endpoint, payload, socket, start, sent: 0, answered: 0, refused: 0 })
    }

    /// Asks, with several requests on the way, until each has its answer.
    fn request_all(&mut self) -> Result<ExitCode, String> {
        while self.answered < self.arguments.count {
            let may_send = self.sent < self.arguments.count
                && self.sent - self.answered < OUTSTANDING_MAX
                && self.wait_for_turn().is_zero();
            if may_send {
                self.send()?;
            }
            let must_wait = !may_send && self.sent > self.answered;
            self.receive_answers(must_wait)?;
            if self.sent == self.answered {
                std::thread::sleep(self.wait_for_turn());
            }
        }
        if self.arguments.count > 1 {
            let (answered, refused) = (self.answered, self.refused);
            let seconds = self.start.elapsed().as_secs_f64();
            print(&format!("{answered} answered, {refused} refused, {seconds:.3} s\n"));
        }
        Ok(if self.refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Takes the answers that are there; with `must_wait` at least one, unless it is time to send.
    fn receive_answers(&mut self, must_wait: bool) -> Result<(), String> {
        let more_to_send =
            self.sent < self.arguments.count && self.sent - self.answered < OUTSTANDING_MAX;
        let all = Duration::from_secs(self.arguments.timeout.into());
        let wait = if more_to_send { self.wait_for_turn().min(all) } else { all };
        let wait = if must_wait { i64::try_from(wait.as_millis()).unwrap_or(0) } else { 0 };
        let ready = self.socket.poll(zmq::POLLIN, wait).map_err(|error| error.to_string())?;
        if ready == 0 {
            return if must_wait && !more_to_send { Err(self.unanswered()) } else { Ok(()) };
        }
        loop {
            match self.socket.recv_multipart(zmq::DONTWAIT) {
                Ok(parts) => self.take_answer(&parts),
                Err(zmq::Error::EAGAIN) => return Ok(()),
                Err(error) => return Err(format!("cannot receive an answer: {error}")),
            }
        }
    }

    fn take_answer(&mut self, parts: &[Vec<u8>]) {
        self.answered += 1;
        let answer = parts.last().map_or(&[][..], Vec::as_slice);
        let is_ok = serde_json::from_slice::<Value>(answer)
            .is_ok_and(|answer| answer.get("ok") == Some(&Value::Bool(true)));
        self.refused += u64::from(!is_ok);
        if !is_ok || self.arguments.count == 1 {
            print(&format!("{}\n", String::from_utf8_lossy(answer)));
        }
    }

    /// Sends all without answers.
    fn send_all(&mut self) -> Result<ExitCode, String> {
        if matches!(self.arguments.socket, Socket::Pub) {
            self.await_subscription()?;
        }
        while self.sent < self.arguments.count {
            std::thread::sleep(self.wait_for_turn());
            self.send()?;
        }
        print(&format!("{} sent\n", self.sent));
        Ok(ExitCode::SUCCESS)
    }

    /// Waits until the peer asked for a prefix of the channel (ZeroMQ RFC 29: 1, then the prefix).
    fn await_subscription(&self) -> Result<(), String> {
        loop {
            let left = Duration::from_secs(self.arguments.timeout.into())
                .saturating_sub(self.start.elapsed());
            let wait = i64::try_from(left.as_millis()).unwrap_or(0);
            let ready = self.socket.poll(zmq::POLLIN, wait).map_err(|error| error.to_string())?;
            if ready == 0 {
                let (endpoint, channel) = (self.endpoint, &self.arguments.channel);
                return Err(format!(
                    "nobody at {endpoint} subscribed to {channel:?} within {} s: check that the \
                     edge runs, that its sub endpoint is there and that its topics cover the \
                     channel",
                    self.arguments.timeout
                ));
            }
            let message = self.socket.recv_bytes(0).map_err(|error| error.to_string())?;
            if let Some((1, prefix)) = message.split_first()
                && self.arguments.channel.as_bytes().starts_with(prefix)
            {
                return Ok(());
            }
        }
    }

    fn send(&mut self) -> Result<(), String> {
        let meta = self.meta();
        let mut parts = vec![self.arguments.channel.as_bytes(), &self.payload];
        if !meta.is_empty() {
            parts.push(meta.as_bytes());
        }
        match self.socket.send_multipart(parts, 0) {
            Ok(()) => {
                self.sent += 1;
                Ok(())
            }
            Err(zmq::Error::EAGAIN) => Err(format!(
                "nobody at {} took the message within {} s: check that the edge runs, that \
                 --endpoint is one of its endpoints and that --socket fits it",
                self.endpoint, self.arguments.timeout
            )),
            Err(error) => Err(format!("cannot send to {}: {error}", self.endpoint)),
        }
    }

    /// The meta part, with the number of the request where an answer is expected.
    fn meta(&self) -> String {
        let mut meta = self.arguments.meta.clone().unwrap_or_default();
        if let Some(op) = &self.arguments.op {
            meta.insert("op".to_owned(), json!(op));
        }
        if matches!(self.arguments.socket, Socket::RouterDealer) {
            let number = self.sent + 1;
            meta.entry("rid").or_insert_with(|| json!(number.to_string()));
        }
        if meta.is_empty() { String::new() } else { Value::Object(meta).to_string() }
    }

    fn unanswered(&self) -> String {
        format!(
            "no answer from {} within {} s ({} of {} answered): check that it is the edge's \
             router endpoint and that its curve settings allow plain clients",
            self.endpoint, self.arguments.timeout, self.answered, self.arguments.count
        )
    }

    /// Time until the next publication is due at the asked rate.
    fn wait_for_turn(&self) -> Duration {
        let Some(rate) = self.arguments.rate else { return Duration::ZERO };
        let due = Duration::from_secs_f64(self.sent as f64 / f64::from(rate));
        due.saturating_sub(self.start.elapsed())
    }
}

fn read_payload(argument: &str) -> Result<Vec<u8>, String> {
    if argument != "-" {
        return Ok(argument.as_bytes().to_vec());
    }
    let mut payload = Vec::new();
    io::stdin()
        .lock()
        .take(PAYLOAD_BYTES_MAX + 1)
        .read_to_end(&mut payload)
        .map_err(|error| format!("cannot read the payload from standard input: {error}"))?;
    if payload.len() as u64 > PAYLOAD_BYTES_MAX {
        return Err(format!("the payload is longer than {} MiB", PAYLOAD_BYTES_MAX >> 20));
    }
    Ok(payload)
}
