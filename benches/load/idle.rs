//! What an idle connection costs in user-space memory, and that it is given back.
//!
//! Method: the server's resident memory (`VmRSS`) is read with no connection, with all of them
//! open and quiet, and after they have closed; the difference of the first two is divided by the
//! number of connections. Code, stacks and rings are there from the start and not counted. Kernel
//! memory (sockets, their buffers, the pending poll) is not part of `VmRSS`.

use std::fs;
use std::io;
use std::time::Duration;

use crate::Options;
use crate::receiver::Receiver;
use crate::server::Server;

/// Enough for allocators and page tables to show what they really do.
const CONNECTIONS: usize = 15_000;

/// Memory that is free goes back to the system with some delay.
const SETTLE: Duration = Duration::from_millis(1500);

/// Bare connections, then connections of users.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    let connections = options.connections_or(CONNECTIONS);
    println!(
        "\n{connections} idle connections              bytes each     RSS KiB: before, open, closed"
    );
    let doors = [
        ("one shared channel", "/websocket?channels=bench"),
        ("user, personal and shared", "/websocket/user-{number}?channels=bench"),
    ];
    for (name, path) in doors {
        let server = Server::start()?;
        // A few connections first: lazily made structures belong to the base.
        drop(Receiver::start(&server.public, path, 10)?);
        std::thread::sleep(SETTLE);
        let before = resident_kib(server.pid())?;
        let clients = Receiver::start(&server.public, path, connections)?;
        std::thread::sleep(SETTLE);
        let open = resident_kib(server.pid())?;
        drop(clients);
        std::thread::sleep(2 * SETTLE);
        let closed = resident_kib(server.pid())?;
        let each = (open.saturating_sub(before) * 1024) as f64 / connections as f64;
        println!("  {name:32}  {each:10.0}                   {before}, {open}, {closed}");
    }
    Ok(())
}

fn resident_kib(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let value = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    value.ok_or_else(|| io::Error::other("the server has no VmRSS: it has ended"))
}
