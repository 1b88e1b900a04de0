//! `tidegate serve`: configuration, log, host check, descriptors, and then the edge.
//!
//! Whatever would make the edge fail under load is found here, before it listens.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::Builder;

use clap::Args;

use crate::cli::doctor::wanted;
use crate::cli::{Overrides, announcement, fail};
use crate::config::{Config, Sources};
use crate::log::Logger;
use crate::{doctor, edge, sys};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Configuration file in TOML; without one the defaults hold.
    #[arg(long, value_name = "FILE", env = "TIDEGATE_CONFIG")]
    config: Option<OsString>,
    #[command(flatten)]
    overrides: Overrides,
}

impl Arguments {
    pub(super) fn sources(self) -> Sources {
        // An empty variable is how a unit file or a compose file says "none".
        let file = self.config.filter(|path| !path.is_empty()).map(PathBuf::from);
        self.overrides.sources(file)
    }
}

pub(super) fn run(arguments: Arguments) -> ExitCode {
    let sources = arguments.sources();
    let config = Config::load(&sources);
    let log = config.as_ref().map_or_else(|_| Config::load_log(&sources), |it| it.log.clone());
    let logger = match Logger::start(&log) {
        Ok(logger) => logger,
        Err(error) => return fail(&format!("cannot start a log thread: {error}")),
    };
    let served = config
        .map_err(|errors| format!("the configuration cannot be used\n{errors}"))
        .and_then(|config| serve(&config, sources.file.as_deref(), &logger));
    match served {
        Ok(()) => {
            logger.flush();
            ExitCode::SUCCESS
        }
        Err(reason) => {
            logger.fail(&reason);
            ExitCode::FAILURE
        }
    }
}

/// Runs the edge to its end, or says why that was no good one.
fn serve(config: &Config, file: Option<&Path>, logger: &Logger) -> Result<(), String> {
    sys::host::check().map_err(|error| error.to_string())?;
    match sys::host::raise_descriptor_limit() {
        Ok(limit) => tracing::info!(descriptors = limit, "descriptor limit"),
        Err(error) => tracing::warn!(%error, "the descriptor limit stays as it is"),
    }
    if !sys::epoll::is_in_force() {
        tracing::warn!("a peer that floods a ZeroMQ endpoint and resets can end this process");
    }
    if !sys::incoming::is_in_force() {
        tracing::warn!("nothing bounds the connections of ZeroMQ endpoints in this process");
    }
    if let Err(error) = sys::host::use_small_pages() {
        tracing::warn!(%error, "idle connections will take more memory");
    }
    warn_of_host(config);
    edge::run(config, logger, |addresses| announce(announcement::text(addresses, config, file)))
        .map_err(|error| error.to_string())
}

/// Says what the host will cut, while somebody is still looking at the log.
fn warn_of_host(config: &Config) {
    for finding in doctor::examine_start(&doctor::Tree::host(), &wanted(config, None)) {
        tracing::warn!(
            setting = finding.setting,
            value = finding.value,
            needed = finding.needed,
            remedy = finding.remedy,
            "{}",
            finding.breaks
        );
    }
}

/// Says on standard output where to go from here. On a thread of its own, which a standard output
/// that takes nothing holds up alone.
fn announce(text: String) {
    let write = move || {
        let mut stdout = std::io::stdout().lock();
        // An edge that nobody listens to serves all the same.
        let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    };
    if let Err(error) = Builder::new().name("announcement".to_owned()).spawn(write) {
        tracing::warn!(%error, "no thread can announce the addresses");
    }
}
