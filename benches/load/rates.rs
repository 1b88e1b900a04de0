//! What a delivery costs, and how long it takes, when publications come at rising rates.
//!
//! Publications that come during a round share the sends of the next one, so the cost of a delivery
//! falls as the rate rises. Whoever is published just after its round has begun waits for two
//! rounds; a pass of the floor over as many sockets, measured in the same run, is the yardstick.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use crate::cpu::Bill;
use crate::fan_out::{FanOut, FloorPasses};
use crate::server::Server;
use crate::{Options, SENDER_CORE};

/// Publications per second, and for how many seconds.
const RATES: [(u32, u32); 5] = [(1, 10), (10, 5), (100, 5), (400, 5), (1000, 5)];

/// One rate after the other.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    let (connections, bytes) = (options.connections_or(10_000), options.bytes_or_usual());
    let mut fan_out = FanOut::start(Server::start()?, connections)?;
    let mut floor = FloorPasses::start(connections)?;
    let before = floor.median(bytes, options.rounds)?;
    println!(
        "\npublications of {bytes} bytes per second to {connections} connections, every delivery \
         verified;\na pass of the floor takes {:.1} ms and {:.0} ns of CPU per delivery",
        before.wall / 1e6,
        before.cpu
    );
    println!(
        "  rate  CPU ns/delivery  of floor  deliveries/s  p50 ms  p99 ms  max ms  p99 of a pass"
    );
    for (rate, seconds) in RATES {
        let count = if options.is_trial { 2 } else { rate * seconds };
        fan_out.receivers.reset_latency()?;
        let deliveries = u64::from(count) * connections as u64;
        fan_out.receivers.expect(deliveries)?;
        let bill = Bill::open(fan_out.server.pid(), SENDER_CORE)?;
        let begin = Instant::now();
        for turn in 0..count {
            let due = Duration::from_secs(1) * turn / rate;
            std::thread::sleep(due.saturating_sub(begin.elapsed()));
            fan_out.publish(bytes)?;
        }
        let seen = fan_out.receivers.finish()?;
        let wall = begin.elapsed().as_secs_f64();
        let cost = bill.close()?.total() / deliveries as f64;
        let latency = |quantile| seen.latency.0.value_at_quantile(quantile) as f64;
        println!(
            "  {rate:4}  {cost:15.0}  {:8.3}  {:12.0}  {:6.1}  {:6.1}  {:6.1}  {:13.2}",
            cost / before.cpu,
            deliveries as f64 / wall,
            latency(0.5) / 1e6,
            latency(0.99) / 1e6,
            latency(1.0) / 1e6,
            latency(0.99) / before.wall,
        );
        io::stdout().flush()?;
    }
    let after = floor.median(bytes, options.rounds)?;
    println!(
        "  afterwards a pass takes {:.1} ms and {:.0} ns per delivery",
        after.wall / 1e6,
        after.cpu
    );
    Ok(())
}
