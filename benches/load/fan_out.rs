//! Broadcasts to many subscribers, and a plain loop of `send(2)` over as many sockets.
//!
//! What the parts about fan-out share. The server and the floor run on one core, the receivers on
//! another, all in processes of their own, and their rounds are interleaved. CPU is what the
//! process used, all threads, plus what ksoftirqd of its core used: loopback receive work that is
//! put off there is work of the sender. Every message is verified on every connection.

use std::io;
use std::time::Duration;

use tidegate::load::message::Message;
use tidegate::sys::Clock;

use crate::SENDER_CORE;
use crate::cpu::Bill;
use crate::floor::Floor;
use crate::receiver::Receiver;
use crate::report::Spread;
use crate::server::Server;

/// The channel that all receivers are in.
pub(crate) const CHANNEL: &str = "bench";

/// CPU that is still being used when the last receiver has its message belongs to the round.
pub(crate) const AFTERMATH: Duration = Duration::from_millis(30);

/// What one message to all cost.
pub(crate) struct Cost {
    /// CPU nanoseconds per delivery.
    pub(crate) cpu: f64,
    /// Nanoseconds until the last receiver had it.
    pub(crate) wall: f64,
}

/// The server and subscribers of one channel.
pub(crate) struct FanOut {
    pub(crate) server: Server,
    pub(crate) receivers: Receiver,
    pub(crate) connections: usize,
    push: zmq::Socket,
    published: u32,
}

impl FanOut {
    /// Opens connections to a server. The first message warms caches and grows socket buffers; it
    /// is not counted.
    pub(crate) fn start(server: Server, connections: usize) -> io::Result<Self> {
        let path = format!("/websocket?channels={CHANNEL}");
        let receivers = Receiver::start(&server.public, &path, connections)?;
        let push = zmq::Context::new().socket(zmq::PUSH).map_err(io::Error::other)?;
        push.connect(&server.pull).map_err(io::Error::other)?;
        let mut fan_out = Self { server, receivers, connections, push, published: 0 };
        fan_out.broadcast(128)?;
        Ok(fan_out)
    }

    /// Publishes one message.
    pub(crate) fn publish(&mut self, bytes: usize) -> io::Result<()> {
        let message = Message { number: self.published, published_nanos: Clock::shared_nanos() };
        let payload = message.encode(bytes);
        self.push.send_multipart([CHANNEL.as_bytes(), &payload], 0).map_err(io::Error::other)?;
        self.published += 1;
        Ok(())
    }

    /// Publishes to another channel.
    pub(crate) fn fill(&self, channel: &str, count: usize, bytes: usize) -> io::Result<()> {
        let payload = format!("\"{}\"", "x".repeat(bytes));
        for _ in 0..count {
            let parts = [channel.as_bytes(), payload.as_bytes()];
            self.push.send_multipart(parts, 0).map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// A lone message to all.
    pub(crate) fn broadcast(&mut self, bytes: usize) -> io::Result<Cost> {
        let bill = Bill::open(self.server.pid(), SENDER_CORE)?;
        let start = Clock::shared_nanos();
        self.receivers.expect(self.connections as u64)?;
        self.publish(bytes)?;
        let seen = self.receivers.finish()?;
        std::thread::sleep(AFTERMATH);
        let cpu = bill.close()?.total() / self.connections as f64;
        Ok(Cost { cpu, wall: (seen.last_nanos - start) as f64 })
    }
}

/// The floor and as many receivers.
pub(crate) struct FloorPasses {
    floor: Floor,
    receivers: Receiver,
    connections: usize,
    passes: u32,
}

impl FloorPasses {
    /// Opens connections. The first pass warms caches and grows socket buffers; it is not counted.
    pub(crate) fn start(connections: usize) -> io::Result<Self> {
        let floor = Floor::start(connections)?;
        let receivers = Receiver::start(&floor.address, "plain", connections)?;
        let mut passes = Self { floor, receivers, connections, passes: 0 };
        passes.pass(128)?;
        Ok(passes)
    }

    /// One frame to all.
    pub(crate) fn pass(&mut self, bytes: usize) -> io::Result<Cost> {
        let bill = Bill::open(self.floor.pid(), SENDER_CORE)?;
        let start = Clock::shared_nanos();
        self.receivers.expect(self.connections as u64)?;
        self.floor.pass(self.passes, bytes)?;
        self.passes += 1;
        let seen = self.receivers.finish()?;
        std::thread::sleep(AFTERMATH);
        let cpu = bill.close()?.total() / self.connections as f64;
        Ok(Cost { cpu, wall: (seen.last_nanos - start) as f64 })
    }

    /// The medians of several passes.
    pub(crate) fn median(&mut self, bytes: usize, rounds: u32) -> io::Result<Cost> {
        let (mut cpu, mut wall) = (vec![], vec![]);
        for _ in 0..rounds {
            let cost = self.pass(bytes)?;
            cpu.push(cost.cpu);
            wall.push(cost.wall);
        }
        Ok(Cost { cpu: Spread::of(cpu).median, wall: Spread::of(wall).median })
    }
}
