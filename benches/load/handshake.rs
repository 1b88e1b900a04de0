//! What opening handshakes cost, and how many there are per second, against the epoll server.
//!
//! Visitors connect, upgrade, and close with a closing handshake at once, some of them at the same
//! time, from several source addresses. Whoever visits the edge gets a user with a personal
//! channel, or a shared channel; the epoll server parses the request, computes the same answer and
//! notes the user in a hash table. Both answer the Close frame, shut their direction down and wait
//! for the visitor's end. The visitors' core may be the busier one: then the rates are those of the
//! visitors, and CPU is what tells the servers apart.

use std::io::{self, BufRead};
use std::net::SocketAddr;
use std::ops::Range;

use tidegate::load::{Door, Event, Fleet, Opener, Target};
use tidegate::sys::Clock;

use crate::cpu::Bill;
use crate::epoll::EpollServer;
use crate::report::{Spread, print_heading};
use crate::role::{Role, pin};
use crate::server::Server;
use crate::{Options, RECEIVER_CORE, SENDER_CORE};

/// Visitors of a round.
const VISITORS: usize = 4000;

/// How many of them are opening at the same time.
const IN_FLIGHT: usize = 64;

/// Interleaved rounds for each kind of visitor.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    let count = options.connections_or(VISITORS);
    for (name, path) in
        [("a shared channel", "/websocket?channels=bench"), ("a user each", "/websocket/{number}")]
    {
        let server = Server::start()?;
        let baseline = EpollServer::start()?;
        let mut visitors = Visitors::start(&server.public, path)?;
        let mut baseline_visitors = Visitors::start(&baseline.address, path)?;
        visitors.visit(server.pid(), count)?;
        baseline_visitors.visit(baseline.pid(), count)?;
        let (mut costs, mut floors, mut ratios) = (vec![], vec![], vec![]);
        let (mut rates, mut floor_rates, mut rate_ratios) = (vec![], vec![], vec![]);
        let mut busy = vec![];
        for _ in 0..options.rounds {
            let cost = visitors.visit(server.pid(), count)?;
            let floor = baseline_visitors.visit(baseline.pid(), count)?;
            costs.push(cost.cpu);
            floors.push(floor.cpu);
            ratios.push(cost.cpu / floor.cpu);
            rates.push(cost.per_second);
            floor_rates.push(floor.per_second);
            rate_ratios.push(cost.per_second / floor.per_second);
            busy.push(cost.busy * 100.0);
        }
        let rounds = options.rounds;
        let at_once = format!("{count} visitors, {IN_FLIGHT} opening at a time");
        print_heading(&format!("handshakes, {name}, {at_once}, {rounds} rounds"));
        println!("  server CPU each, ns                    {}", Spread::of(costs));
        println!("  epoll server, ns                       {}", Spread::of(floors));
        println!("  ratio of CPU                           {}", Spread::of(ratios));
        println!("  handshakes per second                  {}", Spread::of(rates));
        println!("  epoll server                           {}", Spread::of(floor_rates));
        println!("  ratio of rates                         {}", Spread::of(rate_ratios));
        println!("  visitors busy meanwhile, %             {}", Spread::of(busy));
    }
    Ok(())
}

/// Clients that come and go.
struct Visitors {
    role: Role,
    visited: usize,
}

/// What a round cost, each.
struct Cost {
    cpu: f64,
    per_second: f64,
    /// CPU of the visitors over the time it took.
    busy: f64,
}

impl Visitors {
    fn start(address: &str, path: &str) -> io::Result<Self> {
        let role = Role::start("visitors", &[address, path])?;
        Ok(Self { role, visited: 0 })
    }

    /// So many come and go, each with a source address and a number that were not used lately.
    fn visit(&mut self, server: u32, count: usize) -> io::Result<Cost> {
        let bill = Bill::open(server, SENDER_CORE)?;
        let own = Bill::open(self.role.pid(), RECEIVER_CORE)?;
        let begin = Clock::shared_nanos();
        self.role.say(&format!("{} {}", self.visited, self.visited + count))?;
        self.visited += count;
        let word = self.role.hear()?;
        if word != "done" {
            return Err(io::Error::other(word));
        }
        let wall = (Clock::shared_nanos() - begin) as f64;
        Ok(Cost {
            cpu: bill.close()?.total() / count as f64,
            per_second: count as f64 / wall * 1e9,
            busy: own.close()?.total() / wall,
        })
    }
}

/// Plays the visitors.
pub(crate) fn play(address: &str, path: &str) -> io::Result<()> {
    pin([RECEIVER_CORE]);
    let address: SocketAddr = address.parse().expect("an address");
    let mut fleet = Fleet::new(Target::new(address, Door::WebSocket(path.to_owned())), false)?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (first, end) = line.split_once(' ').expect("two numbers");
        let number = |text: &str| text.parse().expect("a number");
        println!("{}", open_and_close(&mut fleet, number(first)..number(end))?);
    }
    Ok(())
}

fn open_and_close(fleet: &mut Fleet, numbers: Range<u32>) -> io::Result<String> {
    let end = u64::from(numbers.end);
    let mut opener = Opener::new(numbers, IN_FLIGHT, None);
    while !opener.has_begun_all() || fleet.held() > 0 {
        let wait = opener.go_on(fleet);
        fleet.poll(wait)?;
        while let Some(event) = fleet.next_event() {
            match event {
                Event::Opened { row } => fleet.close(row)?,
                Event::Failed { reason, .. } => return Ok(reason),
            }
        }
    }
    let tally = fleet.tally();
    let is_whole = tally.opened == end && tally.closed_by_us == end && tally.is_clean();
    Ok(if is_whole { "done".to_owned() } else { format!("not all closed well: {tally:?}") })
}
