//! What a lone broadcast costs to more connections than one process may have descriptors for.
//!
//! As in `sizes`, but server, floor and receivers are as many processes as the limit demands,
//! side by side: all servers on one core, all floors there too, all receivers on the other. Where
//! the limit is high enough each is one process.

use std::io;

use tidegate::doctor::{Sockets, Tree, Verdict, examine_load};
use tidegate::load::message::Message;
use tidegate::sys::Clock;
use tidegate::sys::host::raise_descriptor_limit;

use crate::cpu::Bill;
use crate::fan_out::{AFTERMATH, CHANNEL, Cost};
use crate::floor::Floor;
use crate::receiver::Receiver;
use crate::report::{Spread, print_heading};
use crate::server::{Server, Setup};
use crate::{Options, SENDER_CORE};

/// How many connections there are unless the command line says so.
const CONNECTIONS: [usize; 3] = [10_000, 100_000, 250_000];

/// Descriptors of a process that are no connections, generously.
const RESERVED: u64 = 600;

/// Pings are work of the server that the floor does not have, so there are none.
const PING_SECONDS: usize = 3600;

/// Each count after the other.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    let counts = match (options.connections, options.is_trial) {
        (Some(connections), _) => vec![connections],
        (None, true) => vec![100],
        (None, false) => CONNECTIONS.to_vec(),
    };
    let limit = raise_descriptor_limit()?.saturating_sub(RESERVED).max(1) as usize;
    for connections in counts {
        // A trial shall see several processes, too.
        let processes = if options.is_trial { 2 } else { connections.div_ceil(limit) };
        check_host(connections, processes)?;
        Side::measure(options, connections, processes)?;
    }
    Ok(())
}

/// Server and floor have two ends of each connection here.
fn check_host(connections: usize, processes: usize) -> io::Result<()> {
    let sockets = Sockets { ends: 4 * connections as u64, processes: 4 * processes as u64 };
    let findings = examine_load(&Tree::host(), sockets);
    match findings.iter().find(|finding| finding.verdict == Verdict::Fail) {
        Some(finding) => Err(io::Error::other(format!(
            "this host cannot hold {connections} connections twice, with their clients: {} is {}, \
             needed {}; take a lower --connections",
            finding.setting, finding.value, finding.needed
        ))),
        None => Ok(()),
    }
}

/// Senders of one kind, and those who receive from them.
struct Side {
    pids: Vec<u32>,
    receivers: Vec<Receiver>,
    /// How many connections each of the receivers has.
    counts: Vec<usize>,
    rounds: u32,
}

impl Side {
    /// One message to all.
    fn round(&mut self, mut send: impl FnMut(Message) -> io::Result<()>) -> io::Result<Cost> {
        let bill = Bill::open_all(self.pids.clone(), SENDER_CORE)?;
        for (receiver, &count) in self.receivers.iter_mut().zip(&self.counts) {
            receiver.expect(count as u64)?;
        }
        let start = Clock::shared_nanos();
        send(Message { number: self.rounds, published_nanos: start })?;
        let mut last = start;
        for receiver in &mut self.receivers {
            last = last.max(receiver.finish()?.last_nanos);
        }
        std::thread::sleep(AFTERMATH);
        self.rounds += 1;
        let cpu = bill.close()?.total() / self.counts.iter().sum::<usize>() as f64;
        Ok(Cost { cpu, wall: (last - start) as f64 })
    }

    /// Opens everything and lets rounds of the two sides alternate.
    fn measure(options: &Options, connections: usize, processes: usize) -> io::Result<()> {
        let counts: Vec<usize> = (0..processes).map(|at| (connections + at) / processes).collect();
        let path = format!("/websocket?channels={CHANNEL}");
        let context = zmq::Context::new();
        let (mut servers, mut pushes, mut receivers) = (vec![], vec![], vec![]);
        for &count in &counts {
            let server = Server::with(Setup { ping_seconds: PING_SECONDS, ..Setup::default() })?;
            let push = context.socket(zmq::PUSH).map_err(io::Error::other)?;
            push.connect(&server.pull).map_err(io::Error::other)?;
            receivers.push(Receiver::start(&server.public, &path, count)?);
            pushes.push(push);
            servers.push(server);
        }
        let pids = servers.iter().map(Server::pid).collect();
        let mut side = Self { pids, receivers, counts: counts.clone(), rounds: 0 };
        let (mut floors, mut receivers) = (vec![], vec![]);
        for &count in &counts {
            let floor = Floor::start(count)?;
            receivers.push(Receiver::start(&floor.address, "plain", count)?);
            floors.push(floor);
        }
        let pids = floors.iter().map(Floor::pid).collect();
        let mut floor_side = Self { pids, receivers, counts, rounds: 0 };
        let bytes = options.bytes_or_usual();
        let mut broadcast = |message: Message| {
            let payload = message.encode(bytes);
            let to = |push: &zmq::Socket| push.send_multipart([CHANNEL.as_bytes(), &payload], 0);
            pushes.iter().try_for_each(to).map_err(io::Error::other)
        };
        let mut pass = |message: Message| {
            floors.iter_mut().try_for_each(|floor| floor.pass(message.number, bytes))
        };
        // The first message warms caches and grows socket buffers; it is not counted.
        side.round(&mut broadcast)?;
        floor_side.round(&mut pass)?;
        let mut figures = Figures::default();
        for _ in 0..options.rounds {
            figures.add(side.round(&mut broadcast)?, floor_side.round(&mut pass)?);
        }
        figures
            .print(&format!("{connections} connections over {processes} processes of each kind"));
        Ok(())
    }
}

/// What rounds have brought.
#[derive(Default)]
struct Figures {
    costs: Vec<f64>,
    floors: Vec<f64>,
    ratios: Vec<f64>,
    seconds: Vec<f64>,
    walls: Vec<f64>,
}

impl Figures {
    fn add(&mut self, cost: Cost, floor: Cost) {
        self.costs.push(cost.cpu);
        self.floors.push(floor.cpu);
        self.ratios.push(cost.cpu / floor.cpu);
        self.seconds.push(cost.wall / 1e9);
        self.walls.push(cost.wall / floor.wall);
    }

    fn print(self, title: &str) {
        let rounds = self.costs.len();
        print_heading(&format!("lone broadcasts to {title}, {rounds} interleaved rounds"));
        println!("  server CPU per delivery, ns            {}", Spread::of(self.costs));
        println!("  floor: send(2) per delivery, ns        {}", Spread::of(self.floors));
        println!("  ratio of CPU                           {}", Spread::of(self.ratios));
        println!("  seconds to the last receiver           {}", Spread::of(self.seconds));
        println!("  ratio of time to the last receiver     {}", Spread::of(self.walls));
    }
}
