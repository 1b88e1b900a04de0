//! The processes of the bench: this executable again, in a role that its first argument names.
//!
//! They speak lines over their standard input and output, and end with the one that started them.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use tidegate::load::message::Message;
use tidegate::load::{Door, Fleet, Opener, Target, open_all};
use tidegate::sys::Clock;
use tidegate::ws::frame::{Header, Opcode, encode_frame};

use crate::{RECEIVER_CORE, SENDER_CORE};

/// How long a round may take before something is wrong.
const PATIENCE: Duration = Duration::from_secs(120);

/// Keeps this process, and those that it starts, on one core.
pub(crate) fn pin(core: usize) {
    monoio::utils::bind_to_cpu_set([core]).expect("this machine has two cores to measure on");
}

/// A process that is ended with this value.
struct Role {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Role {
    fn start(role: &str, arguments: &[&str]) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(format!("--role={role}"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().expect("it was piped");
        let output = BufReader::new(child.stdout.take().expect("it was piped"));
        Ok(Self { child, input, output })
    }

    fn say(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.input, "{line}")
    }

    fn hear(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        if line.is_empty() {
            return Err(io::Error::other("a process of the bench has ended"));
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server under test.
pub(crate) struct Server {
    role: Role,
    /// Where clients connect.
    pub(crate) public: String,
    /// The PULL endpoint.
    pub(crate) pull: String,
}

impl Server {
    /// Starts it on the senders' core.
    pub(crate) fn start() -> io::Result<Self> {
        Self::start_with(&[])
    }

    /// Starts it with further options, each `SECTION.KEY=VALUE`.
    pub(crate) fn start_with(options: &[&str]) -> io::Result<Self> {
        let mut role = Role::start("server", options)?;
        let (mut public, mut pull) = (None, None);
        while public.is_none() || pull.is_none() {
            let line = role.hear()?;
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("clients"), Some(url)) => {
                    let address = url.trim_start_matches("ws://").split('/').next();
                    public = address.map(str::to_owned);
                }
                (Some("ZeroMQ"), Some(endpoint)) => pull = Some(endpoint.to_owned()),
                _ => {}
            }
        }
        Ok(Self { role, public: public.expect("seen"), pull: pull.expect("seen") })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.role.child.id()
    }
}

/// Receivers of one server.
pub(crate) struct Receiver(Role);

/// What receivers have seen.
pub(crate) struct Seen {
    /// When the latest message arrived.
    pub(crate) last_nanos: u64,
    /// Half of the messages took at most so long.
    pub(crate) p50_nanos: u64,
    /// All but one in a hundred took at most so long.
    pub(crate) p99_nanos: u64,
    /// The slowest took so long.
    pub(crate) max_nanos: u64,
}

impl Receiver {
    /// Opens connections from the receivers' core.
    pub(crate) fn start(address: &str, path: &str, count: usize) -> io::Result<Self> {
        let mut role = Role::start("receiver", &[address, path, &count.to_string()])?;
        role.hear()?;
        Ok(Self(role))
    }

    /// Begins to receive, until every connection has this many messages.
    pub(crate) fn expect(&mut self, messages: u32) -> io::Result<()> {
        self.0.say(&format!("expect {messages}"))
    }

    /// Waits until every connection has what was expected, each message verified.
    pub(crate) fn finish(&mut self) -> io::Result<Seen> {
        let line = self.0.hear()?;
        let numbers: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        let &[last_nanos, p50_nanos, p99_nanos, max_nanos] = &numbers[..] else {
            return Err(io::Error::other(line));
        };
        Ok(Seen { last_nanos, p50_nanos, p99_nanos, max_nanos })
    }

    /// Forgets the latencies so far.
    pub(crate) fn reset_latency(&mut self) -> io::Result<()> {
        self.0.say("reset")
    }
}

/// The floor: a plain loop of `send(2)`.
pub(crate) struct Floor {
    role: Role,
    /// Where its receivers connect.
    pub(crate) address: String,
}

impl Floor {
    /// Starts it on the senders' core.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let mut role = Role::start("floor", &[&count.to_string()])?;
        let address = role.hear()?;
        Ok(Self { role, address })
    }

    /// Sends one frame to every socket.
    pub(crate) fn pass(&mut self, number: u32, bytes: usize) -> io::Result<()> {
        self.role.say(&format!("{number} {bytes}"))
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.role.child.id()
    }
}

/// The baseline of echo.
pub(crate) struct EpollServer {
    role: Role,
    /// Where its clients connect.
    pub(crate) address: String,
}

impl EpollServer {
    /// Starts it on the senders' core.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let mut role = Role::start("epoll", &[&count.to_string()])?;
        let address = role.hear()?;
        Ok(Self { role, address })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.role.child.id()
    }
}

/// Clients that send and wait for the return.
pub(crate) struct EchoClients(Role);

impl EchoClients {
    /// Opens connections from the receivers' core.
    pub(crate) fn start(address: &str, count: usize) -> io::Result<Self> {
        let mut role = Role::start("echo", &[address, &count.to_string()])?;
        role.hear()?;
        Ok(Self(role))
    }

    /// Lets every client send so often, and wait for each return.
    pub(crate) fn run(&mut self, turns: usize, bytes: usize) -> io::Result<()> {
        self.0.say(&format!("{turns} {bytes}"))?;
        self.0.hear().map(drop)
    }
}

/// Plays a role until the standard input ends.
pub(crate) fn play(role: &str, arguments: &[String]) -> io::Result<()> {
    match role {
        "server" => play_server(arguments),
        "epoll" => play_epoll(arguments[0].parse().expect("a count")),
        "echo" => play_echo(&arguments[0], arguments[1].parse().expect("a count")),
        "floor" => play_floor(arguments[0].parse().expect("a count")),
        _ => play_receiver(&arguments[0], &arguments[1], arguments[2].parse().expect("a count")),
    }
}

fn play_server(options: &[String]) -> io::Result<()> {
    pin(SENDER_CORE);
    let endpoints = r#"ingest.endpoints=[{kind = "pull", endpoint = "tcp://127.0.0.1:*"}]"#;
    let error = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["serve", "--dev", "--public-address", "127.0.0.1:0"])
        .args(["--internal-address", "127.0.0.1:0", "--log-level", "warn", "--set", endpoints])
        .args(["--set", "handshake.rate=0", "--set", "slow.lag_bytes_max=16MiB"])
        .args(options.iter().flat_map(|option| ["--set", option]))
        .exec();
    Err(error)
}

fn play_floor(count: usize) -> io::Result<()> {
    pin(SENDER_CORE);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let (socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        sockets.push(socket);
    }
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (number, bytes) = line.split_once(' ').expect("a number and a size");
        let number = number.parse().expect("a number");
        let message = Message { number, published_nanos: Clock::shared_nanos() };
        let payload = message.encode(bytes.parse().expect("a size"));
        let mut frame = Vec::new();
        encode_frame(Opcode::Binary, &payload, &mut frame);
        for socket in &sockets {
            let sent = tidegate::sys::socket::send(socket.as_raw_fd(), &frame)?;
            assert_eq!(sent, frame.len(), "the floor never fills a socket");
        }
    }
    Ok(())
}

fn play_epoll(count: usize) -> io::Result<()> {
    pin(SENDER_CORE);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    crate::epoll::serve(&listener, count)
}

fn play_echo(address: &str, count: usize) -> io::Result<()> {
    pin(RECEIVER_CORE);
    let address: SocketAddr = address.parse().expect("an address");
    let mut streams =
        (0..count).map(|_| open_echo(address)).collect::<io::Result<Vec<TcpStream>>>()?;
    println!("open");
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (turns, bytes) = line.split_once(' ').expect("turns and a size");
        let bytes: usize = bytes.parse().expect("a size");
        for turn in 0..turns.parse().expect("a number") {
            echo_once(&mut streams, &vec![turn as u8; bytes])?;
        }
        println!("done");
    }
    Ok(())
}

/// Opens a connection whose client waits in its reads.
fn open_echo(address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    write!(
        stream,
        "GET /echo HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n\r\n"
    )?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend_from_slice(&byte);
    }
    Ok(stream)
}

fn echo_once(streams: &mut [TcpStream], payload: &[u8]) -> io::Result<()> {
    let header = Header {
        fin: true,
        opcode: Opcode::Binary,
        mask: Some([0; 4]),
        payload_length: payload.len() as u64,
    };
    let (mut request, mut expected) = (Vec::new(), Vec::new());
    header.encode(&mut request);
    request.extend_from_slice(payload);
    encode_frame(Opcode::Binary, payload, &mut expected);
    for stream in &mut *streams {
        stream.write_all(&request)?;
    }
    let mut reply = vec![0; expected.len()];
    for stream in streams {
        stream.read_exact(&mut reply)?;
        assert!(reply == expected, "what was sent comes back");
    }
    Ok(())
}

fn play_receiver(address: &str, path: &str, count: usize) -> io::Result<()> {
    pin(RECEIVER_CORE);
    let address: SocketAddr = address.parse().expect("an address");
    let door = match path {
        "plain" => Door::Plain,
        path => Door::WebSocket(path.to_owned()),
    };
    let mut fleet = Fleet::new(Target::new(address, door), false)?;
    // One after the other: the server's handshake is the measure, not the generator's.
    let opener = Opener::new(0..count as u32, 1, None);
    open_all(&mut fleet, opener, |_| {}).map_err(io::Error::other)?;
    println!("open");
    for line in io::stdin().lock().lines() {
        let line = line?;
        match line.split_once(' ') {
            Some(("expect", messages)) => {
                let messages: u64 = messages.parse().expect("a number");
                println!("{}", expect(&mut fleet, messages * count as u64)?);
            }
            _ => fleet.reset_latency(),
        }
    }
    Ok(())
}

fn expect(fleet: &mut Fleet, deliveries: u64) -> io::Result<String> {
    let begin = Instant::now();
    while fleet.tally().received < deliveries && begin.elapsed() < PATIENCE {
        fleet.poll(Duration::from_millis(100))?;
    }
    let tally = fleet.tally();
    if tally.received != deliveries || !tally.is_clean() {
        return Ok(format!("of {deliveries} deliveries: {tally:?}"));
    }
    let latency = &tally.latency.0;
    let (p50, p99) = (latency.value_at_quantile(0.5), latency.value_at_quantile(0.99));
    Ok(format!("{} {p50} {p99} {}", tally.last_nanos, latency.max()))
}
