//! What a lone broadcast costs, by the size of the message, against the floor with the same size.
//!
//! Ratios below one are cheaper than the floor. The time is that to the last receiver.

use std::io;

use crate::fan_out::{FanOut, FloorPasses};
use crate::report::{Spread, print_heading};
use crate::server::Server;
use crate::{Options, RECEIVER_CORE, SENDER_CORE};

const SIZES: [usize; 4] = [16, 128, 1024, 16 * 1024];

/// Interleaved rounds of each size.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    let connections = options.connections_or(10_000);
    let mut fan_out = FanOut::start(Server::start()?, connections)?;
    let mut floor = FloorPasses::start(connections)?;
    let rounds = options.rounds;
    print_heading(&format!(
        "lone broadcasts to {connections} connections, {rounds} interleaved rounds; server and \
         floor on core {SENDER_CORE}, receivers on core {RECEIVER_CORE}"
    ));
    for bytes in options.bytes.map_or_else(|| SIZES.to_vec(), |bytes| vec![bytes]) {
        let (mut costs, mut floors, mut ratios, mut walls) = (vec![], vec![], vec![], vec![]);
        // The first round of a size grows socket buffers.
        for round in 0..=options.rounds {
            let cost = fan_out.broadcast(bytes)?;
            let least = floor.pass(bytes)?;
            if round > 0 {
                costs.push(cost.cpu);
                floors.push(least.cpu);
                ratios.push(cost.cpu / least.cpu);
                walls.push(cost.wall / least.wall);
            }
        }
        println!("{bytes} bytes");
        println!("  server CPU per delivery, ns            {}", Spread::of(costs));
        println!("  floor: send(2) per delivery, ns        {}", Spread::of(floors));
        println!("  ratio of CPU                           {}", Spread::of(ratios));
        println!("  ratio of time to the last receiver     {}", Spread::of(walls));
    }
    Ok(())
}
