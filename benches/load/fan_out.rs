//! What a broadcast costs, against a plain loop of `send(2)` over as many sockets.
//!
//! The server and the floor run on one core, the receivers on another, all in processes of their
//! own, and their rounds are interleaved. CPU is what the process used, all threads, plus what
//! ksoftirqd of its core used: loopback receive work that is put off there is work of the sender.
//! Every message is verified on every connection. Ratios below one are cheaper than the floor.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use tidegate::load::message::Message;
use tidegate::sys::Clock;

use crate::cpu::Bill;
use crate::process::{Floor, Receiver, Server};
use crate::report::Spread;
use crate::{Options, RECEIVER_CORE, SENDER_CORE};

/// Publications per second of the second part, and for how long each rate is held.
const RATES: [u32; 5] = [10, 50, 100, 200, 400];
const RATE_SECONDS: u32 = 3;

/// CPU that is still being used when the last receiver has its message belongs to the round.
pub(crate) const AFTERMATH: Duration = Duration::from_millis(30);

/// Single broadcasts, then publications at several rates.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    let mut bench = Bench::start(options)?;
    bench.single_broadcasts()?;
    if options.is_trial { Ok(()) } else { bench.rates() }
}

struct Bench<'a> {
    options: &'a Options,
    connections: usize,
    server: Server,
    clients: Receiver,
    floor: Floor,
    floor_clients: Receiver,
    push: zmq::Socket,
    published: u32,
    floor_cost: f64,
}

impl<'a> Bench<'a> {
    fn start(options: &'a Options) -> io::Result<Self> {
        let connections = options.connections_or(10_000);
        let server = Server::start()?;
        let path = "/websocket?channels=bench";
        let clients = Receiver::start(&server.public, path, connections)?;
        let floor = Floor::start(connections)?;
        let floor_clients = Receiver::start(&floor.address, "plain", connections)?;
        let push = zmq::Context::new().socket(zmq::PUSH).map_err(io::Error::other)?;
        push.connect(&server.pull).map_err(io::Error::other)?;
        println!(
            "{} connections, {} bytes, server and floor on core {SENDER_CORE}, receivers on \
             core {RECEIVER_CORE}",
            connections, options.bytes
        );
        let mut bench = Self {
            options,
            connections,
            server,
            clients,
            floor,
            floor_clients,
            push,
            published: 0,
            floor_cost: 0.0,
        };
        // The first message warms caches and grows socket buffers; it is not counted.
        bench.broadcast()?;
        bench.floor_pass(0)?;
        Ok(bench)
    }

    /// One broadcast; CPU nanoseconds per delivery and wall nanoseconds to the last receiver.
    fn broadcast(&mut self) -> io::Result<(f64, f64)> {
        let bill = Bill::open(self.server.pid(), SENDER_CORE)?;
        let start = Clock::shared_nanos();
        self.clients.expect(self.published + 1)?;
        self.publish(start)?;
        let seen = self.clients.finish()?;
        std::thread::sleep(AFTERMATH);
        let cost = bill.close()? as f64 / self.connections as f64;
        Ok((cost, (seen.last_nanos - start) as f64))
    }

    fn floor_pass(&mut self, number: u32) -> io::Result<(f64, f64)> {
        let bill = Bill::open(self.floor.pid(), SENDER_CORE)?;
        let start = Clock::shared_nanos();
        self.floor_clients.expect(number + 1)?;
        self.floor.pass(number, self.options.bytes)?;
        let seen = self.floor_clients.finish()?;
        std::thread::sleep(AFTERMATH);
        let cost = bill.close()? as f64 / self.connections as f64;
        Ok((cost, (seen.last_nanos - start) as f64))
    }

    fn publish(&mut self, now: u64) -> io::Result<()> {
        let message = Message { number: self.published, published_nanos: now };
        let payload = message.encode(self.options.bytes);
        self.push.send_multipart([&b"bench"[..], &payload], 0).map_err(io::Error::other)?;
        self.published += 1;
        Ok(())
    }

    fn single_broadcasts(&mut self) -> io::Result<()> {
        let (mut costs, mut floors, mut ratios, mut walls) = (vec![], vec![], vec![], vec![]);
        for round in 0..self.options.rounds {
            let (cost, wall) = self.broadcast()?;
            let (floor, floor_wall) = self.floor_pass(round + 1)?;
            costs.push(cost);
            floors.push(floor);
            ratios.push(cost / floor);
            walls.push(wall / floor_wall);
        }
        let floors = Spread::of(floors);
        self.floor_cost = floors.median;
        println!(
            "\nsingle broadcasts, {} interleaved rounds      min  median     max",
            ratios.len()
        );
        println!("  server CPU per delivery, ns            {}", Spread::of(costs));
        println!("  floor: send(2) per delivery, ns        {floors}");
        println!("  ratio of CPU                           {}", Spread::of(ratios));
        println!("  ratio of time to the last receiver     {}", Spread::of(walls));
        Ok(())
    }

    fn rates(&mut self) -> io::Result<()> {
        println!("\npublications per second, {RATE_SECONDS} s each, every delivery verified");
        println!("  rate  CPU ns/delivery  of floor  deliveries/s  p50 ms  p99 ms  max ms");
        for rate in RATES {
            let count = rate * RATE_SECONDS;
            self.clients.reset_latency()?;
            self.clients.expect(self.published + count)?;
            let bill = Bill::open(self.server.pid(), SENDER_CORE)?;
            let begin = Instant::now();
            for turn in 0..count {
                let due = Duration::from_secs(1) * turn / rate;
                std::thread::sleep(due.saturating_sub(begin.elapsed()));
                self.publish(Clock::shared_nanos())?;
            }
            let seen = self.clients.finish()?;
            let seconds = begin.elapsed().as_secs_f64();
            let deliveries = f64::from(count) * self.connections as f64;
            let cost = bill.close()? as f64 / deliveries;
            println!(
                "  {rate:4}  {cost:15.0}  {:8.3}  {:12.0}  {:6.1}  {:6.1}  {:6.1}",
                cost / self.floor_cost,
                deliveries / seconds,
                seen.p50_nanos as f64 / 1e6,
                seen.p99_nanos as f64 / 1e6,
                seen.max_nanos as f64 / 1e6,
            );
            io::stdout().flush()?;
        }
        Ok(())
    }
}
