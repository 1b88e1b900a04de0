//! A tidegate that is started for the run, from the same executable, on ports of its own.
//!
//! It ends with the run, even if the run is killed: the kernel sees to that.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use crate::error::Error;
use crate::fleet::Fleet;
use crate::opener::{IN_FLIGHT, Opener, open_all};
use crate::plan::{Plan, ServerChoice};
use crate::target::Target;
use tidegate_sys::host::end_with_parent;

/// The one entrance that runs publish to.
const ENDPOINTS: &str =
    r#"ingest.endpoints=[{kind = "pull", endpoint = "tcp://127.0.0.1:*", peers_max = 16}]"#;

/// Without these channels would remember under `--dev`, which has a price of its own: what
/// remembers in a run says so.
const PLAIN: [&str; 4] = [
    "channels.history_size=0",
    "channels.presence=false",
    "personal.history_size=0",
    "personal.presence=false",
];

/// Connections that warm up a server.
const WARMING: u32 = 10;

/// A running server.
pub(super) struct Server {
    child: Child,
    pub(super) public: SocketAddr,
    pub(super) pull: String,
}

impl Server {
    /// Starts it with further options, each `SECTION.KEY=VALUE`.
    pub(super) fn start(options: &[String]) -> Result<Self, Error> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench-worker", "serve", "--dev", "--public-address", "127.0.0.1:0"]);
        command.args(["--internal-address", "127.0.0.1:0", "--log-level", "error"]);
        // What its user has set is for a server of the user's own, such as the keys of tokens.
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_option(name)) {
            command.env_remove(name);
        }
        let fixed = [ENDPOINTS].into_iter().chain(PLAIN);
        for option in fixed.chain(options.iter().map(String::as_str)) {
            command.args(["--set", option]);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut output = BufReader::new(child.stdout.take().expect("it was piped"));
        let addresses = read_addresses(&mut output);
        let Some((public, pull)) = addresses else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(Error::Server("its reason stands above".to_owned()));
        };
        Ok(Self { child, public, pull })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

/// The servers of a run.
pub(super) struct Servers {
    /// Those that were started for it.
    pub(super) started: Vec<Server>,
    /// Their public doors.
    pub(super) targets: Vec<Target>,
    /// Their PULL sockets.
    pub(super) endpoints: Vec<String>,
    /// Their processes, as far as they are known.
    pub(super) pids: Vec<u32>,
}

impl Servers {
    /// Starts as many, or looks for the one that runs.
    pub(super) fn of(plan: &Plan, count: u32) -> Result<Self, Error> {
        match &plan.server {
            ServerChoice::Serve { options } => {
                let options = [plan.server_options(), options.clone()].concat();
                let started: Vec<Server> =
                    (0..count).map(|_| Server::start(&options)).collect::<Result<_, _>>()?;
                Ok(Self {
                    targets: started.iter().map(|server| plan.target_at(server.public)).collect(),
                    endpoints: started.iter().map(|server| server.pull.clone()).collect(),
                    pids: started.iter().map(Server::pid).collect(),
                    started,
                })
            }
            ServerChoice::Running { url, endpoint, pids, .. } => Ok(Self {
                started: Vec::new(),
                targets: vec![plan.target(url)?],
                endpoints: vec![endpoint.clone()],
                pids: pids.clone(),
            }),
        }
    }

    /// Opens a few connections and drops them, so that what a server makes only once belongs to
    /// its base and not to the connections that are measured.
    pub(super) fn warm_up(&self) -> Result<(), Error> {
        for target in &self.targets {
            let mut fleet = Fleet::new(target.clone(), false)?;
            open_all(&mut fleet, Opener::new(0..WARMING, IN_FLIGHT, None), |_| {})?;
            fleet.drop_all()?;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether `serve` reads a variable.
fn is_option(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"TIDEGATE_")
}

/// What `serve` says when it is ready.
fn read_addresses(output: &mut impl BufRead) -> Option<(SocketAddr, String)> {
    let (mut public, mut pull) = (None, None);
    for line in output.lines().map_while(Result::ok) {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("clients"), Some(url)) => {
                let address = url.trim_start_matches("ws://").split('/').next()?;
                public = Some(address.parse().ok()?);
            }
            (Some("ZeroMQ"), Some(endpoint)) => pull = Some(endpoint.to_owned()),
            (Some("operators"), _) => break,
            _ => {}
        }
    }
    Some((public?, pull?))
}

/// Turns this process into `tidegate` with these arguments, which ends with its parent.
///
/// # Errors
/// Why it could not; else this function does not return.
pub fn become_server(arguments: &[String]) -> io::Error {
    if let Err(error) = end_with_parent() {
        return error;
    }
    match std::env::current_exe() {
        Ok(path) => Command::new(path).args(arguments).exec(),
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_what_serve_says() {
        let text = "tidegate 0 serves\n  clients    ws://127.0.0.1:7/websocket/{user}\n  \
                    ZeroMQ     tcp://127.0.0.1:8\n  operators  http://127.0.0.1:9/metrics\n";
        let expected = ("127.0.0.1:7".parse().unwrap(), "tcp://127.0.0.1:8".to_owned());
        assert_eq!(read_addresses(&mut text.as_bytes()), Some(expected));
        assert_eq!(read_addresses(&mut &b"tidegate: no\n"[..]), None);
    }
}
