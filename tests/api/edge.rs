//! A control plane under test: the real server on a free port, a tiny HTTP client, and the shards'
//! ends of the links, which a thread of the test plays.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tidegate::api::{Access, Control, Facts, Timing, serve};
use tidegate::keys;
use tidegate::mesh::{Asker, AskerPort, Envelope, Outbound, ShardPort, build};
use tidegate::metrics::{IngestMetrics, ShardMetrics, TokenMetrics};
use tidegate::model::{Answer, Command, Ticket};
use tidegate::shard::Drain;
use tokio::sync::oneshot;

const SHARDS: u8 = 2;
/// How many commands a link takes.
pub const LINK_CAPACITY: usize = 4;

const TIMING: Timing = Timing {
    request: Duration::from_millis(400),
    answer: Duration::from_millis(300),
    reading: Duration::from_millis(700),
    idle: Duration::from_millis(1100),
};

/// A control plane on a free port, and the shards' ends of its links.
pub struct Edge {
    pub address: SocketAddr,
    pub shards: Vec<Arc<ShardMetrics>>,
    pub ingest: Arc<IngestMetrics>,
    pub tokens: Arc<TokenMetrics>,
    pub drain: Arc<Drain>,
    pub ports: Vec<ShardPort>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

/// The key of [`Edge::with_key`].
pub const KEY: &str = "a key for backends";

impl Edge {
    /// An edge whose API is open under `dev` and closed otherwise.
    pub fn start(dev: bool) -> Self {
        Self::with_access(dev, if dev { Access::Open } else { Access::Closed })
    }

    /// An edge that asks for [`KEY`].
    pub fn with_key() -> Self {
        Self::with_access(false, Access::Keys(vec![KEY.as_bytes().into()]))
    }

    /// The same, as patient as the real one.
    pub fn patient() -> Self {
        let access = Access::Keys(vec![KEY.as_bytes().into()]);
        Self::with_timing(false, access, Timing::default(), LINK_CAPACITY)
    }

    /// An edge with [`KEY`] whose links are bounded by bytes before they are by commands.
    pub fn with_long_links() -> Self {
        // Long bodies take their time.
        let timing = Timing { request: Duration::from_secs(20), ..TIMING };
        Self::with_timing(false, Access::Keys(vec![KEY.as_bytes().into()]), timing, 1024)
    }

    /// An edge for development with [`KEY`] that waits long for shards, and whose links have room
    /// for hundreds.
    pub fn with_room() -> Self {
        let access = Access::Keys(vec![KEY.as_bytes().into()]);
        Self::with_timing(true, access, Timing::default(), 1024)
    }

    fn with_access(dev: bool, access: Access) -> Self {
        Self::with_timing(dev, access, TIMING, LINK_CAPACITY)
    }

    fn with_timing(dev: bool, access: Access, timing: Timing, link_capacity: usize) -> Self {
        let (ports, mut askers) = build(SHARDS, link_capacity, 1).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shards: Vec<_> = (0..SHARDS).map(|_| Arc::new(ShardMetrics::default())).collect();
        let ingest = Arc::new(IngestMetrics::default());
        let drain = Arc::new(Drain::new(SHARDS.into(), || ()));
        let public = "127.0.0.1:8000".parse().unwrap();
        // The keeper must not set its gauges between a test's setting and its look.
        let keeping = keys::Timing { tick: Duration::from_secs(3600), ..Default::default() };
        let keeper = keys::open(&Default::default(), keeping).unwrap();
        let tokens = keeper.metrics();
        let control = Control {
            facts: Facts {
                version: "1.2.3",
                name: "edge-1".to_owned(),
                uid: "0123".to_owned(),
                public,
                guards_host: false,
                dev,
            },
            access,
            body_bytes_max: 1 << 20,
            shards: shards.clone(),
            ingest: Arc::clone(&ingest),
            keeper,
            port: AskerPort::take(&mut askers, Asker::Control),
            api_port: AskerPort::take(&mut askers, Asker::Api),
            log: Arc::default(),
            drain: Arc::clone(&drain),
            clock: tidegate::sys::Clock::start(),
            timing,
        };
        let (stop, stopped) = oneshot::channel();
        let thread = Some(std::thread::spawn(move || serve(listener, control, stopped)));
        Self { address, shards, ingest, tokens, drain, ports, stop: Some(stop), thread }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Sends bytes and reads until the server closes.
    pub fn exchange(&self, request: &[u8]) -> Response {
        let mut stream = self.connect();
        stream.write_all(request).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        Response::parse(&String::from_utf8(bytes).unwrap())
    }

    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response {
        let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "Host") {
            text += &format!("Host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        self.exchange(text.as_bytes())
    }

    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], "")
    }

    pub fn publish(&self, body: &Value) -> Response {
        let headers = [("Content-Type", "application/json")];
        self.request("POST", "/try/publish", &headers, &body.to_string())
    }

    /// Posts lines of commands with the key, as Go's client does.
    pub fn lines(&self, body: &str) -> Response {
        let key = format!("apikey {KEY}");
        let headers = [("Authorization", &*key), ("Content-Type", "application/json")];
        self.request("POST", "/api", &headers, body)
    }

    /// Calls a method of the API with the key.
    pub fn call(&self, method: &str, body: &str) -> Response {
        let headers = [("X-API-Key", KEY)];
        self.request("POST", &format!("/api/{method}"), &headers, body)
    }

    /// Plays the shards until the body returns: `play` is given every envelope.
    pub fn with_shards<T>(
        &mut self,
        mut play: impl FnMut(&ShardPort, Envelope) + Send,
        body: impl FnOnce(&Self) -> T,
    ) -> T {
        let ports = std::mem::take(&mut self.ports);
        let done = AtomicBool::new(false);
        let mut result = None;
        std::thread::scope(|scope| {
            let shards = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    for port in &ports {
                        for queue in 0..port.inbox.queue_count() {
                            while let Some(envelope) = port.inbox.receive(queue) {
                                play(port, envelope);
                            }
                        }
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            // Set however the body ends: a failed test must not wait for its shards.
            let ending = SetOnDrop(&done);
            result = Some(body(self));
            drop(ending);
            shards.join().unwrap();
        });
        self.ports = ports;
        result.unwrap()
    }
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.stop.take().unwrap().send(()).ok();
        let result = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            result.unwrap().unwrap();
        }
    }
}

/// What came back over HTTP.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Response {
    pub fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.unwrap_or_else(|| panic!("not a response: {text:?}"));
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// A failed call of the API, with a word of the message.
    #[track_caller]
    pub fn assert_fault(&self, status: u16, code: u32, word: &str) {
        let error = &self.json()["error"];
        assert_eq!((self.status, error["code"].as_u64()), (status, Some(code.into())), "{self:?}");
        let message = error["message"].as_str().unwrap_or_default();
        assert!(message.contains(word), "{self:?} lacks {word}");
    }

    #[track_caller]
    pub fn assert_error(&self, status: u16, code: &str) {
        let error = &self.json()["error"];
        assert_eq!((self.status, error["code"].as_str()), (status, Some(code)), "{self:?}");
        assert!(error["message"].as_str().is_some_and(|message| message.len() > 8), "{self:?}");
    }
}

/// Sends one part of an answer without an error.
pub fn answer(port: &ShardPort, ticket: Ticket, is_first: bool, awaiting: i32, sessions: u32) {
    let number = ticket.number;
    say(
        port,
        ticket,
        Answer { number, firsts: u32::from(is_first), awaiting, sessions, ..Answer::default() },
    );
}

/// Sends one part of an answer.
pub fn say(port: &ShardPort, ticket: Ticket, answer: Answer) {
    let link = &port.askers[usize::from(ticket.asker)];
    link.try_send(Outbound::Answer(answer)).unwrap();
    link.ring();
}

/// What a shard was sent, which must be a command that the control plane awaits.
pub fn command(envelope: Envelope) -> (Command, Ticket) {
    let Envelope::Command { command, ticket: Some(ticket) } = envelope else {
        panic!("unexpected: {envelope:?}")
    };
    let threads = [Asker::Control, Asker::Api].map(Asker::place);
    assert!(threads.contains(&ticket.asker), "{ticket:?}");
    (*command, ticket)
}
