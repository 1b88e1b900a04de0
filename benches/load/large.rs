//! What a lone broadcast costs to more connections than one process may have descriptors for.
//!
//! As in `fan_out`, but server, floor and receivers are as many processes as the limit demands,
//! side by side: all servers on one core, all floors there too, all receivers on the other. Where
//! the limit is high enough each is one process.

use std::io;

use tidegate::doctor::{Sockets, Tree, Verdict, examine_load};
use tidegate::load::message::Message;
use tidegate::sys::Clock;
use tidegate::sys::host::raise_descriptor_limit;

use crate::cpu::Bill;
use crate::fan_out::AFTERMATH;
use crate::process::{Floor, Receiver, Server};
use crate::report::Spread;
use crate::{Options, SENDER_CORE};

/// How many connections there are unless the command line says so.
const CONNECTIONS: [usize; 3] = [10_000, 100_000, 250_000];

/// Descriptors of a process that are no connections, generously.
const RESERVED: u64 = 600;

/// Pings are work of the server that the floor does not have, so there are none.
const QUIET: &str = "heartbeat.ping_interval=1h";

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
    rounds: u32,
    deliveries: f64,
}

impl Side {
    fn new(pids: Vec<u32>, receivers: Vec<Receiver>, connections: usize) -> Self {
        Self { pids, receivers, rounds: 0, deliveries: connections as f64 }
    }

    /// One message to all; CPU nanoseconds per delivery and nanoseconds to the last receiver.
    fn round(&mut self, mut send: impl FnMut(Message) -> io::Result<()>) -> io::Result<(f64, f64)> {
        let bill = Bill::open_all(self.pids.clone(), SENDER_CORE)?;
        for receiver in &mut self.receivers {
            receiver.expect(self.rounds + 1)?;
        }
        let start = Clock::shared_nanos();
        send(Message { number: self.rounds, published_nanos: start })?;
        let mut last = start;
        for receiver in &mut self.receivers {
            last = last.max(receiver.finish()?.last_nanos);
        }
        std::thread::sleep(AFTERMATH);
        self.rounds += 1;
        Ok((bill.close()? as f64 / self.deliveries, (last - start) as f64))
    }

    /// Opens everything and lets rounds of the two sides alternate.
    fn measure(options: &Options, connections: usize, processes: usize) -> io::Result<()> {
        let counts: Vec<usize> = (0..processes).map(|at| (connections + at) / processes).collect();
        let context = zmq::Context::new();
        let (mut servers, mut pushes, mut receivers) = (vec![], vec![], vec![]);
        for &count in &counts {
            let server = Server::start_with(&[QUIET])?;
            let push = context.socket(zmq::PUSH).map_err(io::Error::other)?;
            push.connect(&server.pull).map_err(io::Error::other)?;
            receivers.push(Receiver::start(&server.public, "/websocket?channels=bench", count)?);
            pushes.push(push);
            servers.push(server);
        }
        let mut side = Self::new(servers.iter().map(Server::pid).collect(), receivers, connections);
        let (mut floors, mut receivers) = (vec![], vec![]);
        for &count in &counts {
            let floor = Floor::start(count)?;
            receivers.push(Receiver::start(&floor.address, "plain", count)?);
            floors.push(floor);
        }
        let mut floor_side =
            Self::new(floors.iter().map(Floor::pid).collect(), receivers, connections);
        let bytes = options.bytes;
        let mut broadcast = |message: Message| {
            let payload = message.encode(bytes);
            let to = |push: &zmq::Socket| push.send_multipart([&b"bench"[..], &payload], 0);
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
    fn add(&mut self, (cost, wall): (f64, f64), (floor, floor_wall): (f64, f64)) {
        self.costs.push(cost);
        self.floors.push(floor);
        self.ratios.push(cost / floor);
        self.seconds.push(wall / 1e9);
        self.walls.push(wall / floor_wall);
    }

    fn print(self, title: &str) {
        println!("\nlone broadcasts to {title}, {} rounds", self.costs.len());
        println!("                                             min  median     max");
        println!("  server CPU per delivery, ns            {}", Spread::of(self.costs));
        println!("  floor: send(2) per delivery, ns        {}", Spread::of(self.floors));
        println!("  ratio of CPU                           {}", Spread::of(self.ratios));
        println!("  seconds to the last receiver           {}", Spread::of(self.seconds));
        println!("  ratio of time to the last receiver     {}", Spread::of(self.walls));
    }
}
