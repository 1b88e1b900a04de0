//! The control plane over real HTTP, with shards that are played by a thread of the test.
//!
//! Promises: metrics are complete and well-formed; health tells the drain; the try page is locked
//! in by its policy; publishing reaches the right shards, adds their answers up, and fails with the
//! right status; hostile HTTP clients cannot hang the server.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate::api::{Control, Facts, Timing, serve};
use tidegate::mesh::{Asker, Envelope, Outbound, ShardPort, build};
use tidegate::metrics::{self, FAN_OUT_BOUNDS_NANOS, IngestMetrics, ShardMetrics};
use tidegate::protocol::{Answer, Command, CommandError, Ticket};
use tokio::sync::oneshot;

const SHARDS: u8 = 2;
const LINK_CAPACITY: usize = 4;

/// A control plane on a free port, and the shards' ends of its links.
struct Edge {
    address: SocketAddr,
    shards: Vec<Arc<ShardMetrics>>,
    ingest: Arc<IngestMetrics>,
    draining: Arc<AtomicBool>,
    ports: Vec<ShardPort>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Edge {
    fn start(dev: bool) -> Self {
        let (ports, mut askers) = build(SHARDS, LINK_CAPACITY, 1).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shards: Vec<_> = (0..SHARDS).map(|_| Arc::new(ShardMetrics::default())).collect();
        let ingest = Arc::new(IngestMetrics::default());
        let draining = Arc::new(AtomicBool::new(false));
        let public = "127.0.0.1:8000".parse().unwrap();
        let control = Control {
            facts: Facts { version: "1.2.3", public, dev },
            shards: shards.clone(),
            ingest: Arc::clone(&ingest),
            port: askers.swap_remove(usize::from(Asker::Control.place())),
            draining: Arc::clone(&draining),
            clock: || 77,
            timing: Timing {
                request: Duration::from_millis(400),
                answer: Duration::from_millis(300),
            },
        };
        let (stop, stopped) = oneshot::channel();
        let thread = Some(std::thread::spawn(move || serve(listener, control, stopped)));
        Self { address, shards, ingest, draining, ports, stop: Some(stop), thread }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    /// Sends bytes and reads until the server closes.
    fn exchange(&self, request: &[u8]) -> Response {
        let mut stream = self.connect();
        stream.write_all(request).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        Response::parse(&String::from_utf8(bytes).unwrap())
    }

    fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
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

    fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], "")
    }

    fn publish(&self, body: &Value) -> Response {
        let headers = [("Content-Type", "application/json")];
        self.request("POST", "/try/publish", &headers, &body.to_string())
    }

    /// Plays the shards until the body returns: `play` is given every envelope.
    fn with_shards<T>(
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
            result = Some(body(self));
            done.store(true, Ordering::Relaxed);
            shards.join().unwrap();
        });
        self.ports = ports;
        result.unwrap()
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

#[derive(Debug)]
struct Response {
    status: u16,
    head: String,
    body: String,
}

impl Response {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.unwrap_or_else(|| panic!("not a response: {text:?}"));
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    #[track_caller]
    fn assert_error(&self, status: u16, code: &str) {
        let error = &self.json()["error"];
        assert_eq!((self.status, error["code"].as_str()), (status, Some(code)), "{self:?}");
        assert!(error["message"].as_str().is_some_and(|message| message.len() > 8), "{self:?}");
    }
}

fn answer(port: &ShardPort, ticket: Ticket, is_first: bool, awaiting: u32, sessions: u32) {
    let number = ticket.number;
    say(port, ticket, Answer { number, is_first, awaiting, sessions, error: None });
}

fn say(port: &ShardPort, ticket: Ticket, answer: Answer) {
    let link = &port.askers[usize::from(ticket.asker)];
    link.try_send(Outbound::Answer(answer)).unwrap();
    link.ring();
}

fn command(envelope: Envelope) -> (Command, Ticket) {
    let Envelope::Command { command, ticket: Some(ticket) } = envelope else {
        panic!("unexpected: {envelope:?}")
    };
    assert_eq!(ticket.asker, Asker::Control.place());
    (*command, ticket)
}

// ---- Metrics

#[test]
fn metrics_show_every_line_of_the_tables() {
    let edge = Edge::start(false);
    let mut expected = Vec::new();
    let mut value = 0;
    for (shard, table) in edge.shards.iter().enumerate() {
        expect_lines(&table.metrics(), Some(shard), &mut value, &mut expected);
    }
    expect_lines(&edge.ingest.metrics(), None, &mut value, &mut expected);
    let response = edge.get("/metrics");
    assert_eq!(response.status, 200);
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(response.header("content-type"), Some(content_type));
    for line in &expected {
        let count = response.body.lines().filter(|other| other == line).count();
        assert_eq!(count, 1, "{line} in\n{}", response.body);
    }
    let example = r#"tidegate_handshakes_total{result="accepted",shard="0"} 3"#;
    assert!(response.body.contains(example), "{}", response.body);
    assert!(response.body.contains("\ntidegate_build_info{version=\"1.2.3\"} 1\n"));
    assert!(response.body.ends_with("\n# EOF\n"));
}

/// Gives each metric a value of its own and notes the lines that must show it.
fn expect_lines(
    table: &[metrics::Metric<'_>],
    shard: Option<usize>,
    next: &mut u64,
    lines: &mut Vec<String>,
) {
    for metric in table {
        *next += 1;
        let own = metric.label.map(|(name, value)| format!("{name}=\"{value}\""));
        let shard = shard.map(|shard| format!("shard=\"{shard}\""));
        let labels: Vec<_> = own.into_iter().chain(shard).collect();
        let labels = labels.join(",");
        let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let name = metric.name;
        match metric.value {
            metrics::Value::Counter(counter) => {
                counter.add(*next);
                lines.push(format!("{name}_total{braced} {next}"));
            }
            metrics::Value::Gauge(gauge) => {
                gauge.set(-(*next as i64));
                lines.push(format!("{name}{braced} -{next}"));
            }
            metrics::Value::Histogram(histogram) => {
                histogram.record(FAN_OUT_BOUNDS_NANOS[0]);
                histogram.record(FAN_OUT_BOUNDS_NANOS[2]);
                histogram.record(60_000_000_000);
                lines.push(format!("{name}_sum{braced} 60.0006"));
                lines.push(format!("{name}_count{braced} 3"));
                for (bound, count) in
                    [("0.0001", 1), ("0.00025", 1), ("0.0005", 2), ("30.0", 2), ("+Inf", 3)]
                {
                    let label = format!("le=\"{bound}\",{labels}");
                    lines.push(format!("{name}_bucket{{{label}}} {count}"));
                }
            }
        }
    }
}

#[test]
fn metrics_are_well_formed_families() {
    let edge = Edge::start(false);
    let body = edge.get("/metrics").body;
    let mut family = ("", "");
    let mut seen = HashSet::new();
    for line in body.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(help.ends_with('.') && !help.ends_with(".."), "{line}");
            assert!(seen.insert(name), "the family is torn: {name}");
            family = (name, "");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, family.0);
            family.1 = kind;
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let name = sample.split('{').next().unwrap();
            let suffix = name.strip_prefix(family.0).unwrap_or_else(|| panic!("{line}"));
            let suffixes: &[&str] = match family.1 {
                "counter" => &["_total"],
                "gauge" => &[""],
                "info" => &["_info"],
                "histogram" => &["_sum", "_count", "_bucket"],
                kind => panic!("unknown type {kind}"),
            };
            assert!(suffixes.contains(&suffix), "{line}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
    for name in [
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
        "process_cpu_seconds",
    ] {
        assert!(seen.contains(name), "{name} is missing");
    }
}

// ---- Health and the page

#[test]
fn health_fails_once_the_drain_began() {
    let edge = Edge::start(false);
    edge.shards[0].connections.set(3);
    edge.shards[1].connections.set(4);
    let response = edge.get("/health");
    assert_eq!(response.status, 200);
    let expected = json!({"status": "ok", "version": "1.2.3", "shards": 2, "connections": 7});
    assert_eq!(response.json(), expected);
    edge.draining.store(true, Ordering::Relaxed);
    let response = edge.get("/health");
    assert_eq!((response.status, response.json()["status"].as_str()), (503, Some("draining")));
}

#[test]
fn the_page_is_locked_in() {
    let edge = Edge::start(false);
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/app.css", "text/css; charset=utf-8"),
    ] {
        let response = edge.get(path);
        assert_eq!((response.status, response.header("content-type")), (200, Some(content_type)));
        assert!(!response.body.is_empty());
        for foreign in ["https://", "http://", "style=", " onclick", "innerHTML"] {
            assert!(!response.body.contains(foreign), "{path} has {foreign}");
        }
    }
    for path in ["/", "/info", "/metrics", "/health", "/nothing"] {
        let response = edge.get(path);
        let policy = "default-src 'none'; script-src 'self'; style-src 'self'; \
            connect-src 'self' ws://127.0.0.1:8000; base-uri 'none'; form-action 'none'; \
            frame-ancestors 'none'";
        assert_eq!(response.header("content-security-policy"), Some(policy), "{path}");
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(response.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(response.header("access-control-allow-origin"), None, "{path}");
    }
    let info = json!({
        "version": "1.2.3", "shards": 2, "websocket": "ws://127.0.0.1:8000", "dev": false,
    });
    assert_eq!(edge.get("/info").json(), info);
}

#[test]
fn unknown_paths_and_methods_are_json_errors() {
    let edge = Edge::start(true);
    edge.get("/nothing").assert_error(404, "not_found");
    edge.get("/try/publish").assert_error(405, "method_not_allowed");
    let response = edge.request("POST", "/metrics", &[], "");
    response.assert_error(405, "method_not_allowed");
    assert_eq!(response.header("allow"), Some("GET,HEAD"));
    Edge::start(false).publish(&json!({"all": true, "data": ""})).assert_error(404, "not_found");
}

// ---- Publishing

#[test]
fn publishing_reaches_the_home_shard_and_adds_answers_up() {
    let mut edge = Edge::start(true);
    let homes = edge.ports[0].homes.clone();
    let mut deliveries = Vec::new();
    let play = |port: &ShardPort, envelope| {
        let (command, ticket) = command(envelope);
        match command {
            Command::Publish { channel, publication } => {
                assert_eq!(homes.of(&channel), port.shard);
                assert_eq!(publication.received_nanos(), 77);
                deliveries.push((channel.to_string(), publication.payload()));
                // The answer of a member shard may overtake that of the home.
                answer(port, ticket, false, 0, 30);
                answer(port, ticket, true, 1, 4);
            }
            Command::PublishAll { .. } => answer(port, ticket, true, 0, 100),
            other => panic!("unexpected: {other:?}"),
        }
    };
    edge.with_shards(play, |edge| {
        for (body, sessions) in [
            (json!({"channel": "news", "data": "häl\"lo"}), 34),
            (json!({"user": "42", "data": "x"}), 34),
            (json!({"all": true, "data": "x"}), 200),
        ] {
            let response = edge.publish(&body);
            assert_eq!(response.status, 200, "{response:?}");
            assert_eq!(response.json(), json!({"sessions": sessions}), "{body}");
        }
    });
    let deliveries: Vec<_> = deliveries.iter().map(|(name, data)| (&name[..], &data[..])).collect();
    assert_eq!(deliveries, [("news", "häl\"lo".as_bytes()), ("#42", b"x")]);
}

#[test]
fn many_publications_at_once_get_their_own_answers() {
    let mut edge = Edge::start(true);
    let play = |port: &ShardPort, envelope| {
        let (command, ticket) = command(envelope);
        let Command::Publish { publication, .. } = command else { panic!("not a publish") };
        let text = String::from_utf8(publication.payload().to_vec()).unwrap();
        answer(port, ticket, true, 0, text.parse().unwrap());
    };
    edge.with_shards(play, |edge| {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    for number in 0..25 {
                        let number = thread * 1000 + number;
                        let data = number.to_string();
                        let response = edge.publish(&json!({"channel": data, "data": data}));
                        assert_eq!(response.json(), json!({"sessions": number}));
                    }
                });
            }
        });
    });
}

#[test]
fn silent_shards_are_a_timeout_and_full_links_an_overload() {
    let edge = Edge::start(true);
    let body = json!({"all": true, "data": "x"});
    for _ in 0..LINK_CAPACITY {
        edge.publish(&body).assert_error(504, "timeout");
    }
    let response = edge.publish(&body);
    response.assert_error(503, "overloaded");
    assert_eq!(response.header("retry-after"), Some("1"));
}

#[test]
fn late_answers_disturb_nobody() {
    let mut edge = Edge::start(true);
    let body = json!({"channel": "news", "data": "x"});
    edge.publish(&body).assert_error(504, "timeout");
    let play = |port: &ShardPort, envelope| {
        let (_, ticket) = command(envelope);
        answer(port, ticket, true, 0, 1);
        answer(port, Ticket { number: 999, ..ticket }, true, 0, 1);
    };
    edge.with_shards(play, |edge| {
        for _ in 0..3 {
            assert_eq!(edge.publish(&body).json(), json!({"sessions": 1}));
        }
    });
}

#[test]
fn draining_refuses_commands() {
    let mut edge = Edge::start(true);
    let body = json!({"channel": "news", "data": "x"});
    let play = |port: &ShardPort, envelope| {
        let (_, ticket) = command(envelope);
        let error = Some(CommandError::Draining);
        let answer =
            Answer { number: ticket.number, is_first: true, awaiting: 0, sessions: 0, error };
        say(port, ticket, answer);
    };
    edge.with_shards(play, |edge| edge.publish(&body).assert_error(503, "draining"));
    edge.draining.store(true, Ordering::Relaxed);
    edge.publish(&body).assert_error(503, "draining");
}

#[test]
fn other_sites_cannot_publish() {
    let edge = Edge::start(true);
    let own = format!("http://{}", edge.address);
    let json = ("Content-Type", "application/json");
    for (headers, status, code) in [
        (vec![json, ("Host", "evil.example")], 403, "foreign_host"),
        (vec![json, ("Origin", "http://evil.example")], 403, "foreign_origin"),
        (vec![json, ("Origin", "null")], 403, "foreign_origin"),
        (vec![("Content-Type", "text/plain")], 415, "unsupported_media_type"),
        (vec![], 415, "unsupported_media_type"),
        // All checks pass and the body is looked at.
        (vec![json, ("Origin", &own)], 400, "invalid"),
        (vec![("Content-Type", "application/json; charset=utf-8")], 400, "invalid"),
    ] {
        edge.request("POST", "/try/publish", &headers, "{}").assert_error(status, code);
    }
    let preflight = [("Origin", "http://evil.example"), ("Access-Control-Request-Method", "POST")];
    let response = edge.request("OPTIONS", "/try/publish", &preflight, "");
    response.assert_error(405, "method_not_allowed");
}

// ---- Hostile clients

fn post_head(rest: &str) -> String {
    format!(
        "POST /try/publish HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\n{rest}\r\n\r\n"
    )
}

#[test]
fn bodies_have_a_limit_and_a_deadline() {
    let edge = Edge::start(true);
    let announced = edge.exchange(post_head("Content-Length: 70000").as_bytes());
    announced.assert_error(413, "too_large");
    let chunk = format!("11800\r\n{}\r\n0\r\n\r\n", "x".repeat(0x11800));
    let chunked = edge.exchange((post_head("Transfer-Encoding: chunked") + &chunk).as_bytes());
    chunked.assert_error(413, "too_large");
    let slow = edge.exchange((post_head("Content-Length: 10") + "{").as_bytes());
    slow.assert_error(408, "request_timeout");
}

#[test]
fn slow_and_idle_clients_make_room() {
    let edge = Edge::start(false);
    let head = "GET /health HTTP/1.1\r\nHost: localh";
    for begun in ["", head, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        let mut slow: Vec<_> = (0..300).map(|_| edge.connect()).collect();
        for stream in &mut slow {
            // Some wait for a place, and may be cut off meanwhile.
            stream.write_all(begun.as_bytes()).ok();
        }
        let begin = Instant::now();
        assert_eq!(edge.get("/health").status, 200, "{begun:?}");
        assert!(begin.elapsed() < Duration::from_secs(5), "{begun:?}: {:?}", begin.elapsed());
    }
}

#[test]
fn kept_connections_serve_several_requests_and_nonsense_is_refused() {
    let edge = Edge::start(false);
    let get = "GET /health HTTP/1.1\r\nHost: localhost\r\n";
    let pipelined = edge.exchange(format!("{get}\r\n{get}Connection: close\r\n\r\n").as_bytes());
    assert_eq!(pipelined.body.matches("HTTP/1.1 200 OK").count(), 1, "{pipelined:?}");
    assert_eq!(edge.exchange(b"\x16\x03\x01\x02\x00\r\n\r\n").status, 400);
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(15_000));
    assert_eq!(edge.exchange(long.as_bytes()).status, 200);
    let mut stream = edge.connect();
    // The server may close while this is still being written.
    let _ = stream.write_all(format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(64_000)).as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{answer:?}");
    assert_eq!(edge.get("/health").status, 200);
}
