//! The program under test: started with its own options, killed by its own pid.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::harness::{Asker, Client, Events, PATIENCE, Raw, eventually, request};

/// What `--dev` switches on and most promises are not about.
const PLAIN: [&str; 4] = [
    "channels.history_size=0",
    "channels.presence=false",
    "personal.history_size=0",
    "personal.presence=false",
];

/// The endpoints of an edge: the order is the one in which it prints their addresses.
pub const ENDPOINTS: &str = r#"ingest.endpoints=[
    {kind="sub",endpoint="tcp://127.0.0.1:*"},{kind="pull",endpoint="tcp://127.0.0.1:*"},
    {kind="router",endpoint="tcp://127.0.0.1:*"},{kind="pub",endpoint="tcp://127.0.0.1:*"}]"#;

/// How much of the log is kept.
const LOG_BYTES_MAX: usize = 64 * 1024;

/// A running edge.
pub struct Edge {
    child: Child,
    stdout: BufReader<ChildStdout>,
    log: Arc<Mutex<String>>,
    /// The door for clients.
    pub public: SocketAddr,
    /// The door for operators.
    pub internal: SocketAddr,
    endpoints: Vec<String>,
    asker: Mutex<Option<Asker>>,
    /// Whether the test has seen it end, as it should.
    has_ended: bool,
}

impl Edge {
    /// With two shards, channels that remember nothing, and otherwise the defaults of `--dev`.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With options, each as `section.key=value`.
    pub fn with(options: &[&str]) -> Self {
        let options: Vec<&str> = PLAIN.iter().chain(options).copied().collect();
        let mut command = command(&["serve", "--dev"], &options);
        command.args(["--public-address", "127.0.0.1:0", "--internal-address", "127.0.0.1:0"]);
        if !options.iter().any(|option| option.starts_with("shards.count")) {
            command.args(["--shards", "2"]);
        }
        if !options.iter().any(|option| option.starts_with("ingest.endpoints")) {
            command.args(["--set", ENDPOINTS]);
        }
        Self::spawn(command)
    }

    /// Without `--dev`: Origin is checked, and there is no `/echo`.
    pub fn strict(options: &[&str]) -> Self {
        let mut command = command(&["serve", "--shards", "2", "--set", ENDPOINTS], options);
        command.args(["--public-address", "127.0.0.1:0", "--internal-address", "127.0.0.1:0"]);
        Self::spawn(command)
    }

    /// The same at a public address: `public.address=…`.
    pub fn strict_at(option: &str) -> Self {
        let mut command = command(&["serve", "--shards", "2", "--set", ENDPOINTS], &[option]);
        command.args(["--internal-address", "127.0.0.1:0"]);
        Self::spawn(command)
    }

    /// With a configuration file, where clients without a token may connect.
    pub fn of_file(path: &std::path::Path) -> Self {
        let options = ["client.anonymous=true", ENDPOINTS];
        let mut command = command(&["serve", "--shards", "2"], &options);
        command.args(["--public-address", "127.0.0.1:0", "--internal-address", "127.0.0.1:0"]);
        command.arg("--config").arg(path);
        Self::spawn(command)
    }

    /// Without `--dev`, and with its log in the test's hands.
    pub fn logging_to(stderr: impl Into<Stdio>, options: &[&str]) -> Self {
        let mut command = command(&["serve", "--shards", "2", "--set", ENDPOINTS], options);
        command.args(["--public-address", "127.0.0.1:0", "--internal-address", "127.0.0.1:0"]);
        Self::spawn_with(command, stderr.into())
    }

    /// From a command of the test.
    pub fn spawn(command: Command) -> Self {
        Self::spawn_with(command, Stdio::piped())
    }

    fn spawn_with(mut command: Command, stderr: Stdio) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        // The command keeps the other end of pipes open that were handed to it.
        drop(command);
        let log = Arc::new(Mutex::new(String::new()));
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        if let Some(stderr) = child.stderr.take() {
            gather(stderr, Arc::clone(&log));
        }
        let starting = end_unless_dropped(child.id());
        let (mut public, mut internal, mut endpoints) = (None, None, Vec::new());
        while internal.is_none() {
            let mut line = String::new();
            if stdout.read_line(&mut line).unwrap() == 0 {
                child.wait().unwrap();
                std::thread::sleep(Duration::from_millis(200));
                panic!("the edge did not start: {}", log.lock().unwrap());
            }
            let line = line.trim();
            let address = |url: &str| url.split('/').nth(2).unwrap().parse().unwrap();
            match line.split_once(' ').map(|(word, rest)| (word, rest.trim())) {
                Some(("clients", url)) => public = Some(address(url)),
                Some(("operators", url)) => internal = Some(address(url)),
                Some(("ZeroMQ", endpoint)) => {
                    endpoints.extend(endpoint.split_whitespace().next().map(str::to_owned));
                }
                _ => {}
            }
        }
        drop(starting);
        let (public, internal) = (public.unwrap(), internal.unwrap());
        let asker = Mutex::new(None);
        Self { child, stdout, log, public, internal, endpoints, asker, has_ended: false }
    }

    /// A client of a user that joins channels.
    pub fn connect(&self, user: &str, channels: &[&str]) -> Client {
        self.open(&format!("/websocket/{user}?channels={}", channels.join(",")))
    }

    /// A client at a path.
    pub fn open(&self, path: &str) -> Client {
        Client::open(self.public, path)
    }

    /// A peer that speaks bytes, its opening handshake done.
    pub fn raw(&self, path: &str) -> Raw {
        Raw::open(self.public, path)
    }

    /// A TCP connection and no more.
    pub fn tcp(&self) -> Raw {
        Raw::connect(self.public)
    }

    /// Publishes and waits for the answer: how many sessions got it.
    pub fn publish(&self, channel: &str, payload: impl AsRef<[u8]>) -> u64 {
        let answer = self.ask(&[channel.as_bytes(), payload.as_ref()]);
        assert_eq!(answer["ok"], true, "{answer}");
        answer["sessions"].as_u64().unwrap()
    }

    /// A command without a channel of its own; waits for the answer.
    pub fn command(&self, payload: &str, meta: &str) -> serde_json::Value {
        self.ask(&[b"$cmd", payload.as_bytes(), meta.as_bytes()])
    }

    /// Sends any message and waits for the answer.
    pub fn ask(&self, parts: &[&[u8]]) -> serde_json::Value {
        let mut asker = self.asker.lock().unwrap();
        asker.get_or_insert_with(|| Asker::connect(self.endpoint(2))).ask(parts)
    }

    /// A socket connected to the n-th endpoint: sub, pull, router, pub.
    pub fn socket(&self, kind: zmq::SocketType, endpoint: usize) -> zmq::Socket {
        let socket = zmq::Context::new().socket(kind).unwrap();
        socket.set_rcvtimeo(PATIENCE.as_millis() as i32).unwrap();
        socket.set_sndtimeo(PATIENCE.as_millis() as i32).unwrap();
        // What was sent still goes out, but an edge that is gone must not hold up the test.
        socket.set_linger(10_000).unwrap();
        socket.connect(self.endpoint(endpoint)).unwrap();
        socket
    }

    /// A PUSH socket.
    pub fn push(&self) -> zmq::Socket {
        self.socket(zmq::PUSH, 1)
    }

    /// A backend that hears events from now on.
    pub fn events(&self) -> Events {
        Events::listen(self)
    }

    /// The address of an endpoint.
    pub fn endpoint(&self, place: usize) -> &str {
        &self.endpoints[place]
    }

    /// A page of the internal door: status and body.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut peer = Raw::try_connect(self.internal)?;
        peer.send(request(path, &["Connection: close"]).as_bytes());
        let response = peer.response()?;
        Some((response.status, response.body))
    }

    /// A metric summed over its labels, or over those lines that have `label="value"`.
    pub fn metric(&self, name: &str) -> i64 {
        let text = self.get("/metrics").expect("metrics are served").1;
        let (name, label) = name.split_once('{').unwrap_or((name, ""));
        let label = label.trim_end_matches('}');
        let mut found = None;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (key, value) = line.rsplit_once(' ').unwrap();
            let (metric, labels) = key.split_once('{').unwrap_or((key, ""));
            if metric == name && labels.contains(label) {
                *found.get_or_insert(0.0) += value.parse::<f64>().unwrap();
            }
        }
        found.unwrap_or_else(|| panic!("no metric {name}{{{label}}} in\n{text}")) as i64
    }

    /// Waits until a metric has a value.
    pub fn expect_metric(&self, name: &str, value: i64) {
        let mut last = 0;
        let mut is_there = || {
            last = self.metric(name);
            last == value
        };
        let start = std::time::Instant::now();
        while !is_there() && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(last, value, "{name}");
    }

    /// Resident memory in bytes.
    pub fn memory(&self) -> usize {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        let kilobytes: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kilobytes * 1024
    }

    /// Open descriptors.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// Sets a limit of the process that runs, such as `fsize=0`.
    pub fn limit(&self, limit: &str) {
        let pid = self.child.id().to_string();
        let arguments = [format!("--{limit}"), "--pid".to_owned(), pid];
        assert!(Command::new("prlimit").args(arguments).status().unwrap().success());
    }

    /// Lets a thread run only where a shard runs, when nobody else wants to, and somebody always
    /// does until what this returns is dropped.
    pub fn starve(&self, thread: &str) -> Starving {
        let tasks = format!("/proc/{}/task", self.child.id());
        let find = |name: &str| {
            let is_it = |task: &std::path::PathBuf| {
                std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name)
            };
            std::fs::read_dir(&tasks).unwrap().map(|task| task.unwrap().path()).find(is_it)
        };
        // A thread has its name a moment after it has begun.
        let named = |name: &str| {
            eventually(name, || find(name).is_some());
            find(name).expect("it was there")
        };
        let status = std::fs::read_to_string(named("shard").join("status")).unwrap();
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        let thread = named(thread).file_name().unwrap().to_str().unwrap().to_owned();
        for (program, arguments) in
            [("taskset", ["-cp", list.unwrap().trim(), &thread]), ("chrt", ["-ip", "0", &thread])]
        {
            let output = Command::new(program).args(arguments).output().unwrap();
            assert!(output.status.success(), "{program}: {output:?}");
        }
        let busy = ["-c", list.unwrap().trim(), "yes"];
        Starving {
            thread,
            busy: Command::new("taskset").args(busy).stdout(Stdio::null()).spawn().unwrap(),
        }
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap();
        assert!(status.success());
    }

    /// Sends a signal by name again and again until the process has ended.
    pub fn signal_until_ended(&mut self, name: &str) {
        eventually("a signal ends the edge", || {
            let has_ended = self.child.try_wait().unwrap().is_some();
            if !has_ended {
                self.signal(name);
            }
            has_ended
        });
    }

    /// Waits until the process has ended.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the edge has ended", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        self.has_ended = true;
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        status.unwrap()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }
}

/// Ends an edge that neither starts nor ends, unless what this returns is dropped in time.
fn end_unless_dropped(edge: u32) -> Sender<()> {
    let (starting, started) = channel();
    std::thread::spawn(move || {
        if started.recv_timeout(3 * PATIENCE) == Err(RecvTimeoutError::Timeout) {
            let _ = Command::new("kill").args(["-KILL", &edge.to_string()]).status();
        }
    });
    starting
}

/// Keeps what an edge logs.
fn gather(stderr: ChildStderr, log: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut log = log.lock().unwrap();
            if log.len() < LOG_BYTES_MAX || line.contains("panicked") {
                writeln!(log, "{line}").unwrap();
            }
        }
    });
}

impl Drop for Edge {
    fn drop(&mut self) {
        let ended_early = !self.has_ended && self.child.try_wait().unwrap().is_some();
        // Ends this child and no other process.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- what the edge logged\n{}---", self.log());
            return;
        }
        let has_panicked = self.log().contains("panicked");
        assert!(!ended_early && !has_panicked, "the edge broke down:\n{}", self.log());
    }
}

/// Runs the program to its end.
pub fn run(arguments: &[&str], options: &[&str]) -> Output {
    command(arguments, options).output().unwrap()
}

/// What every edge here has: clients that nobody reads from live as long as their test, however
/// slow the machine, and edges do not all want the first core.
const COMMON: [&str; 2] = ["heartbeat.ping_interval=1h", "shards.pin=false"];

/// The program with arguments and options, in no environment.
pub fn command(arguments: &[&str], options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.env_clear().args(arguments);
    for option in COMMON.iter().chain(options) {
        command.args(["--set", option]);
    }
    command
}

/// A command that runs another one as its last arguments.
pub fn below(words: &[&str], inner: Command) -> Command {
    let mut outer = Command::new(words[0]);
    outer.env_clear().args(&words[1..]).arg(inner.get_program()).args(inner.get_args());
    outer
}

/// A thread that waits for its turn, and a process that always has it.
pub struct Starving {
    thread: String,
    busy: Child,
}

impl Drop for Starving {
    fn drop(&mut self) {
        self.busy.kill().unwrap();
        self.busy.wait().unwrap();
        let status = Command::new("chrt").args(["-op", "0", &self.thread]).status();
        assert!(status.unwrap().success());
    }
}
