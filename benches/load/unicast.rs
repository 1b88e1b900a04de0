//! What a message to one user costs, against a plain `send(2)` and against an epoll server.
//!
//! Messages go to random users: in bulk, and at a pace that lets the shard sleep in between. The
//! floor sends frames that were made beforehand. The epoll server gets the same users and payloads
//! as records on one TCP connection, finds the user's socket in a hash table, writes the frame and
//! sends it, all in one thread. The edge has its ingest thread and libzmq's beside the shard, with
//! multipart messages, JSON, sequence of endpoints and a link; so the shard's thread is what
//! compares with the two, and the others are billed apart.

use std::io::{self, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::cpu::{Bill, Used};
use crate::epoll::{EpollServer, encode_command};
use crate::fan_out::AFTERMATH;
use crate::floor::Floor;
use crate::mail::Mail;
use crate::receiver::Receiver;
use crate::report::{Spread, print_heading};
use crate::server::Server;
use crate::{Options, SENDER_CORE};

const USERS: [usize; 2] = [1000, 10_000];

/// Messages of a round in bulk.
const BULK: usize = 20_000;

/// Messages of a round at a pace, and how many go per second.
const PACED: usize = 2000;
const PACE: u32 = 2000;

/// As much is written to the epoll server at once as libzmq puts into one write.
const WRITE_BYTES: usize = 8192;

/// A thousand users, then ten thousand.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    let counts = match (options.connections, options.is_trial) {
        (Some(count), _) => vec![count],
        (None, true) => vec![50],
        (None, false) => USERS.to_vec(),
    };
    for users in counts {
        let mut edge = Edge::start(Server::start()?, users)?;
        let mut baseline = Baseline::start(users)?;
        let mut floor = FloorMail::start(users)?;
        let share = if options.is_trial { 100 } else { 1 };
        let bulk = Load { messages: BULK / share, bytes: options.bytes_or_usual(), pace: None };
        let paced = Load { messages: PACED / share, pace: Some(PACE), ..bulk };
        // A first round warms caches and grows socket buffers.
        edge.round(&bulk)?;
        baseline.round(&bulk)?;
        floor.round(&bulk)?;
        for (name, load, rounds) in [
            ("as fast as they are taken", bulk, options.rounds),
            ("2000 a second", paced, options.rounds.div_ceil(3)),
        ] {
            print_heading(&format!("messages to {users} random users, {name}, {rounds} rounds"));
            let (mut all, mut shards, mut ingests) = (vec![], vec![], vec![]);
            let (mut floors, mut epolls) = (vec![], vec![]);
            for _ in 0..rounds {
                let each = |nanos: f64| nanos / load.messages as f64;
                let used = edge.round(&load)?.used;
                all.push(each(used.total()));
                shards.push(each(used.serving()));
                ingests.push(each(used.others as f64));
                epolls.push(each(baseline.round(&load)?.total()));
                floors.push(each(floor.round(&load)?.total()));
            }
            let ratios = |of: &[f64]| {
                Spread::of(shards.iter().zip(of).map(|(shard, least)| shard / least).collect())
            };
            println!("  shard, CPU per message, ns             {}", Spread::of(shards.clone()));
            println!("  floor: send(2) in bulk, ns             {}", Spread::of(floors.clone()));
            println!("  epoll server, ns                       {}", Spread::of(epolls.clone()));
            println!("  ratio of shard to floor                {}", ratios(&floors));
            println!("  ratio of shard to epoll server         {}", ratios(&epolls));
            println!("  ingest and ZeroMQ, ns                  {}", Spread::of(ingests));
            println!("  whole server, ns                       {}", Spread::of(all));
        }
    }
    Ok(())
}

/// Messages of one round.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    /// Per second; none means as fast as they are taken.
    pub(crate) pace: Option<u32>,
}

impl Load {
    /// Sends each message when it is due.
    fn send(&self, mut send: impl FnMut() -> io::Result<()>) -> io::Result<()> {
        let begin = Instant::now();
        for turn in 0..self.messages as u32 {
            if let Some(pace) = self.pace {
                let due = Duration::from_secs(1) * turn / pace;
                std::thread::sleep(due.saturating_sub(begin.elapsed()));
            }
            send()?;
        }
        Ok(())
    }
}

/// The server under test and users of it.
pub(crate) struct Edge {
    server: Server,
    receivers: Receiver,
    mail: Mail,
    push: zmq::Socket,
}

/// What a round of messages cost the server.
pub(crate) struct Cost {
    pub(crate) used: Used,
    /// Half of the messages took at most so many nanoseconds.
    pub(crate) p50_nanos: u64,
}

impl Edge {
    pub(crate) fn start(server: Server, users: usize) -> io::Result<Self> {
        let receivers = Receiver::start(&server.public, "/websocket/{number}", users)?;
        let push = zmq::Context::new().socket(zmq::PUSH).map_err(io::Error::other)?;
        push.connect(&server.pull).map_err(io::Error::other)?;
        Ok(Self { server, receivers, mail: Mail::new(users), push })
    }

    pub(crate) fn round(&mut self, load: &Load) -> io::Result<Cost> {
        let Self { server, receivers, mail, push } = self;
        receivers.reset_latency()?;
        receivers.expect(load.messages as u64)?;
        let bill = Bill::open(server.pid(), SENDER_CORE)?;
        load.send(|| {
            let (user, payload) = mail.next(load.bytes);
            let meta = format!("{{\"op\":\"user\",\"user\":\"{user}\"}}");
            push.send_multipart([&b"$cmd"[..], &payload, meta.as_bytes()], 0)
                .map_err(io::Error::other)
        })?;
        let seen = receivers.finish()?;
        std::thread::sleep(AFTERMATH);
        let p50_nanos = seen.latency.0.value_at_quantile(0.5);
        Ok(Cost { used: bill.close()?, p50_nanos })
    }
}

/// The epoll server and as many users.
struct Baseline {
    server: EpollServer,
    receivers: Receiver,
    mail: Mail,
    entrance: TcpStream,
}

impl Baseline {
    fn start(users: usize) -> io::Result<Self> {
        let server = EpollServer::start()?;
        let receivers = Receiver::start(&server.address, "/websocket/{number}", users)?;
        let entrance = server.entrance()?;
        Ok(Self { server, receivers, mail: Mail::new(users), entrance })
    }

    fn round(&mut self, load: &Load) -> io::Result<Used> {
        let Self { server, receivers, mail, entrance } = self;
        receivers.expect(load.messages as u64)?;
        let bill = Bill::open(server.pid(), SENDER_CORE)?;
        let mut commands = Vec::new();
        load.send(|| {
            let (user, payload) = mail.next(load.bytes);
            encode_command(&user.to_string(), &payload, &mut commands);
            if load.pace.is_some() || commands.len() >= WRITE_BYTES {
                entrance.write_all(&commands)?;
                commands.clear();
            }
            Ok(())
        })?;
        entrance.write_all(&commands)?;
        receivers.finish()?;
        std::thread::sleep(AFTERMATH);
        bill.close()
    }
}

/// The floor and as many sockets.
struct FloorMail {
    floor: Floor,
    receivers: Receiver,
}

impl FloorMail {
    fn start(users: usize) -> io::Result<Self> {
        let floor = Floor::start(users)?;
        let receivers = Receiver::start(&floor.address, "plain", users)?;
        Ok(Self { floor, receivers })
    }

    fn round(&mut self, load: &Load) -> io::Result<Used> {
        self.floor.prepare(load.messages, load.bytes)?;
        self.receivers.expect(load.messages as u64)?;
        let bill = Bill::open(self.floor.pid(), SENDER_CORE)?;
        self.floor.scatter()?;
        self.receivers.finish()?;
        std::thread::sleep(AFTERMATH);
        bill.close()
    }
}
