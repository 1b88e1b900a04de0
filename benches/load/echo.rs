//! What a message there and back costs, against a server on epoll that does nothing else.
//!
//! Every client sends one message and waits for its return, all clients at once: the server has
//! one read and one send to do for each. Rounds of the two servers are interleaved, and CPU is
//! billed as for fan-out.

use std::io::{self, BufRead, Read, Write};
use std::net::{SocketAddr, TcpStream};

use tidegate::ws::frame::{Header, Opcode, encode_frame};

use crate::cpu::Bill;
use crate::epoll::EpollServer;
use crate::report::{Spread, print_heading};
use crate::role::{Role, pin};
use crate::server::Server;
use crate::{Options, RECEIVER_CORE, SENDER_CORE};

const CONNECTIONS: usize = 1000;

/// An empty ping as servers send it.
const PING: [u8; 2] = [0x89, 0];

/// An empty pong as clients send it, with a mask of zeros.
const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];

/// How often each client sends in a round.
const TURNS: usize = 20;

/// Rounds with many clients, then with a single one, which wakes the server for each message.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    let many = options.connections_or(CONNECTIONS);
    for (connections, turns) in [(many, TURNS), (1, many.min(CONNECTIONS) * TURNS / 4)] {
        let server = Server::start()?;
        let baseline = EpollServer::start()?;
        let mut clients = Clients::start(&server.public, connections)?;
        let mut baseline_clients = Clients::start(&baseline.address, connections)?;
        clients.run(1, options.bytes_or_usual())?;
        baseline_clients.run(1, options.bytes_or_usual())?;
        let (mut costs, mut floors, mut ratios) = (vec![], vec![], vec![]);
        for _ in 0..options.rounds {
            let messages = (turns * connections) as f64;
            let bill = Bill::open(server.pid(), SENDER_CORE)?;
            clients.run(turns, options.bytes_or_usual())?;
            let cost = bill.close()?.total() / messages;
            let bill = Bill::open(baseline.pid(), SENDER_CORE)?;
            baseline_clients.run(turns, options.bytes_or_usual())?;
            let floor = bill.close()?.total() / messages;
            costs.push(cost);
            floors.push(floor);
            ratios.push(cost / floor);
        }
        let rounds = options.rounds;
        print_heading(&format!("echo, {connections} connections, {rounds} rounds"));
        println!("  server CPU per message, ns            {}", Spread::of(costs));
        println!("  epoll server, ns                      {}", Spread::of(floors));
        println!("  ratio of CPU                          {}", Spread::of(ratios));
    }
    Ok(())
}

/// Clients that send and wait for the return.
struct Clients(Role);

impl Clients {
    /// Opens connections from the receivers' core.
    fn start(address: &str, count: usize) -> io::Result<Self> {
        let mut role = Role::start("echo", &[address, &count.to_string()])?;
        role.hear()?;
        Ok(Self(role))
    }

    /// Lets every client send so often, and wait for each return.
    fn run(&mut self, turns: usize, bytes: usize) -> io::Result<()> {
        self.0.say(&format!("{turns} {bytes}"))?;
        self.0.hear().map(drop)
    }
}

/// Plays the clients.
pub(crate) fn play(address: &str, count: usize) -> io::Result<()> {
    pin([RECEIVER_CORE]);
    let address: SocketAddr = address.parse().expect("an address");
    let mut streams = (0..count).map(|_| open(address)).collect::<io::Result<Vec<TcpStream>>>()?;
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
fn open(address: SocketAddr) -> io::Result<TcpStream> {
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
        read_reply(stream, &mut reply)?;
        assert!(reply == expected, "what was sent comes back");
    }
    Ok(())
}

/// Reads what came back, and answers the server's pings before it.
fn read_reply(stream: &mut TcpStream, reply: &mut [u8]) -> io::Result<()> {
    let (header, rest) = reply.split_at_mut(PING.len());
    loop {
        stream.read_exact(header)?;
        if header != PING {
            return stream.read_exact(rest);
        }
        stream.write_all(&PONG)?;
    }
}
