//! What a message there and back costs, against a server on epoll that does nothing else.
//!
//! Every client sends one message and waits for its return, all clients at once: the server has
//! one read and one send to do for each. Rounds of the two servers are interleaved, and CPU is
//! billed as for fan-out.

use std::io;

use crate::cpu::Bill;
use crate::process::{EchoClients, EpollServer, Server};
use crate::report::Spread;
use crate::{Options, SENDER_CORE};

const CONNECTIONS: usize = 1000;

/// How often each client sends in a round.
const TURNS: usize = 20;

/// Rounds with many clients, then with a single one, which wakes the server for each message.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    let many = options.connections_or(CONNECTIONS);
    for (connections, turns) in [(many, TURNS), (1, many.min(CONNECTIONS) * TURNS / 4)] {
        let server = Server::start()?;
        let baseline = EpollServer::start(connections)?;
        let mut clients = EchoClients::start(&server.public, connections)?;
        let mut baseline_clients = EchoClients::start(&baseline.address, connections)?;
        clients.run(1, options.bytes)?;
        baseline_clients.run(1, options.bytes)?;
        let (mut costs, mut floors, mut ratios) = (vec![], vec![], vec![]);
        for _ in 0..options.rounds {
            let messages = (turns * connections) as f64;
            let bill = Bill::open(server.pid(), SENDER_CORE)?;
            clients.run(turns, options.bytes)?;
            let cost = bill.close()? as f64 / messages;
            let bill = Bill::open(baseline.pid(), SENDER_CORE)?;
            baseline_clients.run(turns, options.bytes)?;
            let floor = bill.close()? as f64 / messages;
            costs.push(cost);
            floors.push(floor);
            ratios.push(cost / floor);
        }
        println!(
            "\necho, {connections} connections, {} rounds          min  median     max",
            costs.len()
        );
        println!("  server CPU per message, ns            {}", Spread::of(costs));
        println!("  epoll server, ns                      {}", Spread::of(floors));
        println!("  ratio of CPU                          {}", Spread::of(ratios));
    }
    Ok(())
}
