//! The processes of the bench: this executable again, in a role that its first argument names.
//!
//! They speak lines over their standard input and output, and end with the one that started them.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::server::{self, Setup};
use crate::{echo, epoll, floor, handshake, hoarders, receiver};

/// Keeps this process, and those that it starts, on some cores.
pub(crate) fn pin(cores: impl IntoIterator<Item = usize>) {
    monoio::utils::bind_to_cpu_set(cores).expect("this machine has two cores to measure on");
}

/// A process that is ended with this value.
pub(crate) struct Role {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Role {
    /// Starts this executable in a role.
    pub(crate) fn start(role: &str, arguments: &[&str]) -> io::Result<Self> {
        Self::begin(Command::new(std::env::current_exe()?), role, arguments)
    }

    /// The same for one that lets all others on its core come first.
    pub(crate) fn start_nicely(role: &str, arguments: &[&str]) -> io::Result<Self> {
        let mut command = Command::new("nice");
        command.args(["-n", "19"]).arg(std::env::current_exe()?);
        Self::begin(command, role, arguments)
    }

    fn begin(mut command: Command, role: &str, arguments: &[&str]) -> io::Result<Self> {
        let mut child = command
            .arg(format!("--role={role}"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().expect("it was piped");
        let output = BufReader::new(child.stdout.take().expect("it was piped"));
        Ok(Self { child, input, output })
    }

    /// Writes a line to it.
    pub(crate) fn say(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.input, "{line}")
    }

    /// Waits for a line from it.
    pub(crate) fn hear(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        if line.is_empty() {
            return Err(io::Error::other("a process of the bench has ended"));
        }
        Ok(line.trim_end().to_owned())
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Plays a role until the standard input ends.
pub(crate) fn play(role: &str, arguments: &[String]) -> io::Result<()> {
    let count = |at: usize| arguments[at].parse().expect("a count");
    match role {
        "server" => server::play(Setup {
            shards: count(0),
            high_water_mark: count(1),
            link_capacity: count(2),
            ping_seconds: count(3),
            is_shared: count(4) > 0,
        }),
        "hoarders" => hoarders::play(count(0), &arguments[1..]),
        "floor" => floor::play(count(0)),
        "epoll" => epoll::play(),
        "echo" => echo::play(&arguments[0], count(1)),
        "visitors" => handshake::play(&arguments[0], &arguments[1]),
        _ => receiver::play(&arguments[0], &arguments[1], count(2)),
    }
}
