//! `tidegate serve`: configuration, log, host check, descriptors, and then the edge.
//!
//! Whatever would make the edge fail under load is found here, before it listens.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{Overrides, fail, logging};
use crate::config::{Config, Sources};
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
    let config = match Config::load(&arguments.sources()) {
        Ok(config) => config,
        Err(errors) => return fail(&format!("the configuration cannot be used\n{errors}")),
    };
    logging::start(&config.log);
    if let Err(error) = sys::host::check() {
        return fail(&error.to_string());
    }
    match sys::host::raise_descriptor_limit() {
        Ok(limit) => tracing::info!(descriptors = limit, "descriptor limit"),
        Err(error) => tracing::warn!(%error, "the descriptor limit stays as it is"),
    }
    if let Err(error) = sys::host::use_small_pages() {
        tracing::warn!(%error, "idle connections will take more memory");
    }
    warn_of_host(&config);
    let page = config.dev;
    match edge::run(&config, |addresses| announce(addresses, page)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

/// Says what the host will cut, while somebody is still looking at the log.
fn warn_of_host(config: &Config) {
    for finding in doctor::examine_start(&doctor::Tree::host(), config) {
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

/// Says on standard output where to go from here.
fn announce(addresses: &edge::Addresses, page: bool) {
    println!("tidegate {} serves", env!("CARGO_PKG_VERSION"));
    println!("  clients    ws://{}/websocket/{{user}}?channels=a,b", addresses.public);
    for endpoint in &addresses.ingest {
        println!("  ZeroMQ     {endpoint}");
    }
    println!("  operators  http://{}/metrics", addresses.internal);
    if page {
        println!("Try it: http://{}/", addresses.internal);
    }
}
