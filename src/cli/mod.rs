//! The command line: one file per command.
//!
//! Flags only carry text to `config`, which checks it, so that a mistake reads the same wherever
//! it was written. Exit status: 0 done, 1 refused or failed (one sentence per reason on standard
//! error), 2 the command line itself is wrong. `doctor` has its own reading of 1: not fit.

use std::ffi::OsString;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Setting, Sources};
use crate::load;

mod announcement;
mod bench;
mod check_config;
mod checktoken;
mod completions;
mod default_config;
mod doctor;
mod gentoken;
mod man;
mod publish;
mod serve;

/// A WebSocket push edge for Linux: backends publish over ZeroMQ, every open subscriber gets every
/// message.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the edge until SIGTERM or SIGINT, then drain it.
    Serve(serve::Arguments),
    /// Check a configuration as `serve` would read it, or print what is in effect.
    CheckConfig(check_config::Arguments),
    /// Print all options with documentation and defaults as a configuration file.
    DefaultConfig,
    /// Print a token (JWT) signed with the configuration's secret or with a private key.
    #[command(name = "gentoken")]
    GenToken(gentoken::Arguments),
    /// Check a token as `serve` would, and show what it says or why it is refused.
    #[command(name = "checktoken")]
    CheckToken(checktoken::Arguments),
    /// Check whether this host is fit for a number of connections, and say what to set.
    Doctor(doctor::Arguments),
    /// Publish over ZeroMQ to a running edge, for trying and for scripts.
    Publish(publish::Arguments),
    /// Put a server under load, and verify and measure what it delivers.
    Bench(Box<load::command::Arguments>),
    /// Print a script that completes command lines in a shell.
    Completions(completions::Arguments),
    /// Write man pages into a folder.
    Man(man::Arguments),
    /// A process of a bench: started by it, and told by it what to do.
    #[command(hide = true)]
    BenchWorker(bench::WorkerArguments),
}

/// Flags that set options, on top of the file and the environment.
#[derive(Debug, Default, Args)]
struct Overrides {
    /// For trying out, on loopback only: opens /echo and the HTTP API, takes any Origin and
    /// clients without a token, lets the page on the internal address publish, and gives channels
    /// a history of 100 publications and presence, unless an option says otherwise.
    #[arg(long)]
    dev: bool,
    /// Number of shards (shards.count).
    #[arg(long, value_name = "COUNT", allow_hyphen_values = true)]
    shards: Option<String>,
    /// Address for clients (public.address).
    #[arg(long, value_name = "IP:PORT")]
    public_address: Option<String>,
    /// Address for operators (internal.address).
    #[arg(long, value_name = "IP:PORT")]
    internal_address: Option<String>,
    /// off, error, warn, info, debug or trace (log.level).
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Any other option; may be repeated.
    #[arg(long, value_name = "SECTION.KEY=VALUE", value_parser = parse_set)]
    set: Vec<(String, String)>,
}

impl Overrides {
    /// The sources that `serve` and `check-config` read.
    fn sources(self, file: Option<PathBuf>) -> Sources {
        let named = [
            ("--shards", "shards.count", self.shards),
            ("--public-address", "public.address", self.public_address),
            ("--internal-address", "internal.address", self.internal_address),
            ("--log-level", "log.level", self.log_level),
        ];
        let named = named.into_iter().filter_map(|(flag, key, value)| {
            Some(Setting { flag: flag.to_owned(), key: key.to_owned(), value: value? })
        });
        let set = self.set.into_iter().map(|(key, value)| Setting {
            flag: format!("--set {key}"),
            key,
            value,
        });
        Sources {
            file,
            variables: std::env::vars_os().collect::<Vec<(OsString, OsString)>>(),
            settings: named.chain(set).collect(),
            dev: self.dev,
        }
    }
}

/// The configuration for a command that needs only a few of its options.
#[derive(Debug, Args)]
struct Configuration {
    /// Configuration file in TOML; without one the defaults hold.
    #[arg(long, value_name = "FILE", env = "TIDEGATE_CONFIG")]
    config: Option<OsString>,
    /// Any option; may be repeated.
    #[arg(long, value_name = "SECTION.KEY=VALUE", value_parser = parse_set)]
    set: Vec<(String, String)>,
}

impl Configuration {
    fn load(self) -> Result<Config, String> {
        let file = self.config.filter(|path| !path.is_empty()).map(PathBuf::from);
        let overrides = Overrides { set: self.set, ..Overrides::default() };
        Config::load(&overrides.sources(file))
            .map_err(|errors| format!("the configuration cannot be used\n{errors}"))
    }
}

fn parse_set(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) => Ok((key.trim().to_owned(), value.trim().to_owned())),
        None => Err("write it as SECTION.KEY=VALUE, for example log.format=json".to_owned()),
    }
}

/// Runs the command of this process's command line.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(instead) => return tell(&instead),
    };
    match arguments.command {
        Command::Serve(arguments) => serve::run(arguments),
        Command::CheckConfig(arguments) => check_config::run(arguments),
        Command::DefaultConfig => default_config::run(),
        Command::GenToken(arguments) => gentoken::run(arguments),
        Command::CheckToken(arguments) => checktoken::run(arguments),
        Command::Doctor(arguments) => doctor::run(arguments),
        Command::Publish(arguments) => publish::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Man(arguments) => man::run(&arguments),
        Command::BenchWorker(arguments) => bench::work(&arguments),
    }
}

/// Says what is said instead of running a command: help, the version, or what is wrong with the
/// command line.
fn tell(instead: &clap::Error) -> ExitCode {
    let written = instead.print();
    if !instead.use_stderr() {
        check_written(written.and_then(|()| std::io::stdout().flush()));
    }
    ExitCode::from(u8::try_from(instead.exit_code()).unwrap_or(u8::MAX))
}

/// Writes to standard output.
fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    check_written(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()));
}

/// A reader that went away (`| head`) is no failure of ours; what could not be written for another
/// reason, such as a full disk, ends the command.
fn check_written(written: std::io::Result<()>) {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            fail(&format!("cannot write to standard output: {error}"));
            std::process::exit(1);
        }
        _ => {}
    }
}

/// Says on standard error why the command fails.
fn fail(reason: &str) -> ExitCode {
    remark(reason);
    ExitCode::FAILURE
}

/// Says something to whoever has called the program.
fn remark(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "tidegate: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn flags_become_settings_of_their_option() {
        let line = ["tidegate", "serve", "--shards", "2", "--set", "log.format=json"];
        let Command::Serve(arguments) = Arguments::parse_from(line).command else { panic!() };
        let sources = arguments.sources();
        let settings: Vec<_> = sources
            .settings
            .iter()
            .map(|s| (s.flag.as_str(), s.key.as_str(), s.value.as_str()))
            .collect();
        assert_eq!(
            settings,
            [("--shards", "shards.count", "2"), ("--set log.format", "log.format", "json")]
        );
    }
}
