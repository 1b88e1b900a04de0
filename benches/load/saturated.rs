//! What comes out when publications go in as fast as they are taken.
//!
//! PUSH and DEALER wait while the edge does not read (a DEALER also for answers, of which a bounded
//! number may be outstanding): every message must arrive. PUB sends in bursts and does not wait:
//! what it drops must be missing at every receiver, and counted as a gap by the edge. The yardstick
//! is the floor's one send for each message. Queues on the way in are short here, because what
//! waits in them is most of the latency. Core 1 has the receivers and the publisher; how busy it is
//! says whether they were what limited the rate.

use std::io;
use std::time::{Duration, Instant};

use tidegate::load::Tally;
use tidegate::load::message::Message;
use tidegate::sys::Clock;

use crate::cpu::{Bill, Used};
use crate::fan_out::{CHANNEL, FloorPasses};
use crate::receiver::Receiver;
use crate::server::{Server, Setup};
use crate::{Options, RECEIVER_CORE, SENDER_CORE};

const SUBSCRIBERS: [usize; 2] = [1000, 10_000];
const PUBLISHING: Duration = Duration::from_secs(5);

/// Messages that wait in each of libzmq's queues, at most.
const HIGH_WATER_MARK: i32 = 256;

/// Messages that wait on the link to the shard, at most.
const LINK_CAPACITY: usize = 1024;

/// What the kernel holds for the publisher, at most.
const SEND_BUFFER_BYTES: i32 = 32 * 1024;

/// Questions without an answer, at most. libzmq may learn of half a queue's messages late that they
/// are gone, and an answer that does not fit is lost.
const WINDOW: usize = HIGH_WATER_MARK as usize / 2;

/// PUB sends several times what fits into the queues at once, and then rests so that the receivers,
/// which share its core, are not what limits the rate.
const BURST: usize = 1000;
const PAUSE: Duration = Duration::from_millis(20);

/// How long a socket may be stuck before something is wrong.
const PATIENCE_MILLIS: i32 = 60_000;

/// Each entrance with some subscribers, then with many.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    let counts = match (options.connections, options.is_trial) {
        (Some(count), _) => vec![count],
        (None, true) => vec![50],
        (None, false) => SUBSCRIBERS.to_vec(),
    };
    for connections in counts {
        let bytes = options.bytes_or_usual();
        let floor = FloorPasses::start(connections)?.median(bytes, options.rounds)?.cpu;
        println!(
            "\nsaturated, {connections} subscribers, {bytes} bytes; the floor is {floor:.0} ns of \
             CPU per delivery"
        );
        for entrance in [Entrance::Push, Entrance::Dealer, Entrance::Pub] {
            Run::start(entrance, connections, options)?.report(floor)?;
        }
    }
    Ok(())
}

/// How publications come in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entrance {
    Push,
    Dealer,
    Pub,
}

struct Run {
    entrance: Entrance,
    connections: usize,
    bytes: usize,
    publishing: Duration,
    server: Server,
    receivers: Receiver,
    socket: zmq::Socket,
    published: u32,
}

impl Run {
    fn start(entrance: Entrance, connections: usize, options: &Options) -> io::Result<Self> {
        let high_water_mark = HIGH_WATER_MARK as usize;
        let setup = Setup { high_water_mark, link_capacity: LINK_CAPACITY, ..Setup::default() };
        let server = Server::with(setup)?;
        let path = format!("/websocket?channels={CHANNEL}");
        let receivers = Receiver::start(&server.public, &path, connections)?;
        let socket = open(entrance, &server).map_err(io::Error::other)?;
        let publishing = if options.is_trial { PUBLISHING / 50 } else { PUBLISHING };
        let bytes = options.bytes_or_usual();
        Ok(Self {
            entrance,
            connections,
            bytes,
            publishing,
            server,
            receivers,
            socket,
            published: 0,
        })
    }

    fn report(mut self, floor: f64) -> io::Result<()> {
        let begin = Clock::shared_nanos();
        let server = Bill::open(self.server.pid(), SENDER_CORE)?;
        let receivers = Bill::open(self.receivers.pid(), RECEIVER_CORE)?;
        let publisher = Bill::open(std::process::id(), RECEIVER_CORE)?;
        match self.entrance {
            Entrance::Push => self.push()?,
            Entrance::Dealer => self.ask()?,
            Entrance::Pub => self.broadcast()?,
        }
        let seen = self.receivers.settle()?;
        let clients = receivers.close()?.total() + publisher.close()?.others as f64;
        let used = server.close()?;
        let wall = (seen.last_nanos - begin) as f64;
        let missing = self.check(&seen)?;
        self.print(&Figures { seen, used, floor, wall, clients, missing })
    }

    /// Every number stands in exactly one place: received everywhere, or a gap that was counted.
    fn check(&self, seen: &Tally) -> io::Result<u64> {
        let connections = self.connections as u64;
        let gaps = self.server.metric("tidegate_ingest_gaps_total")?;
        let published = u64::from(self.published);
        if self.entrance != Entrance::Pub && gaps > 0 {
            return Err(io::Error::other(format!("{gaps} were lost on a way that waits")));
        }
        if seen.lost != gaps * connections || seen.received + seen.lost != published * connections {
            return Err(io::Error::other(format!(
                "{published} published, {gaps} gaps counted; {connections} receivers have {} and \
                 lack {}",
                seen.received, seen.lost
            )));
        }
        Ok(gaps)
    }

    fn print(&self, figures: &Figures) -> io::Result<()> {
        let Figures { seen, used, floor, wall, clients, missing } = figures;
        let name = match self.entrance {
            Entrance::Push => "PUSH to PULL",
            Entrance::Dealer => "DEALER to ROUTER",
            Entrance::Pub => "PUB to SUB",
        };
        let stalls = self.server.metric("tidegate_ingest_link_stalls_total")?;
        let refused = self.server.metric("tidegate_sends_refused_total")?;
        let cost = used.total() / seen.received as f64;
        let entrance = used.others as f64 / (u64::from(self.published) - missing) as f64;
        println!("{name}");
        println!(
            "  {} published, {missing} lost on the way and counted, {} delivered, each verified; \
             ingest held back {stalls} times, sockets full {refused} times",
            self.published, seen.received
        );
        println!(
            "  {:.0} publications/s, {:.0} deliveries/s; server busy {:.0} %, receivers and \
             publisher {:.0} %",
            seen.received as f64 / self.connections as f64 / wall * 1e9,
            seen.received as f64 / wall * 1e9,
            used.total() / wall * 100.0,
            clients / wall * 100.0,
        );
        println!(
            "  CPU {cost:.0} ns per delivery, {:.4} of the floor: {:.0} times as many; ingest and \
             ZeroMQ {entrance:.0} ns per publication",
            cost / floor,
            floor / cost,
        );
        print!("  latency, ms:");
        for (name, quantile) in
            [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)]
        {
            print!(" {name} {:.1}", seen.latency.0.value_at_quantile(quantile) as f64 / 1e6);
        }
        println!();
        Ok(())
    }

    fn push(&mut self) -> io::Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < self.publishing {
            self.send("")?;
        }
        Ok(())
    }

    /// Asks and waits for answers, each of which names the number of subscribers.
    fn ask(&mut self) -> io::Result<()> {
        let begin = Instant::now();
        let right = format!("\"ok\":true,\"sessions\":{}}}", self.connections);
        let mut awaited = 0;
        loop {
            while awaited < WINDOW && begin.elapsed() < self.publishing {
                self.send(&format!("\"rid\":{},", self.published))?;
                awaited += 1;
            }
            if awaited == 0 {
                return Ok(());
            }
            let answer = self.socket.recv_bytes(0).map_err(io::Error::other)?;
            let answer = String::from_utf8_lossy(&answer);
            if !answer.ends_with(&right) {
                return Err(io::Error::other(format!("answered {answer}")));
            }
            awaited -= 1;
        }
    }

    /// Never waits for the edge. A last message, sent when all others have passed, shows what is
    /// missing before it.
    fn broadcast(&mut self) -> io::Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < self.publishing {
            for _ in 0..BURST {
                self.send("")?;
            }
            std::thread::sleep(PAUSE);
        }
        self.receivers.settle()?;
        self.send("")
    }

    fn send(&mut self, more_meta: &str) -> io::Result<()> {
        let number = self.published;
        let payload = Message { number, published_nanos: Clock::shared_nanos() }.encode(self.bytes);
        let meta = format!("{{{more_meta}\"src\":\"bench\",\"seq\":{number}}}");
        let parts = [CHANNEL.as_bytes(), &payload, meta.as_bytes()];
        self.socket.send_multipart(parts, 0).map_err(io::Error::other)?;
        self.published += 1;
        Ok(())
    }
}

struct Figures {
    seen: Tally,
    used: Used,
    floor: f64,
    wall: f64,
    clients: f64,
    missing: u64,
}

/// A socket that is ready: the first message through it will not be lost.
fn open(entrance: Entrance, server: &Server) -> zmq::Result<zmq::Socket> {
    let context = zmq::Context::new();
    let (kind, endpoint) = match entrance {
        Entrance::Push => (zmq::PUSH, &server.pull),
        Entrance::Dealer => (zmq::DEALER, &server.router),
        // A PUB that sees who has subscribed.
        Entrance::Pub => (zmq::XPUB, &server.sub),
    };
    let socket = context.socket(kind)?;
    socket.set_sndhwm(HIGH_WATER_MARK)?;
    socket.set_sndbuf(SEND_BUFFER_BYTES)?;
    socket.set_linger(0)?;
    socket.set_sndtimeo(PATIENCE_MILLIS)?;
    socket.set_rcvtimeo(PATIENCE_MILLIS)?;
    socket.connect(endpoint)?;
    if entrance == Entrance::Pub {
        socket.recv_bytes(0)?;
    }
    Ok(socket)
}
