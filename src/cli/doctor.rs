//! `tidegate doctor`: is this host fit for so many connections? Exit status: 0 fit, 1 not fit,
//! 2 the question itself was wrong: flags, configuration, or files that may not be written.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, value_parser};

use crate::cli::{Overrides, fail, print};
use crate::config::Config;
use crate::doctor::{self, Plan, Tree, Wanted};
use crate::sys;
use crate::sys::memlock::Rings;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Planned connections [default: public.connections_max, or what the descriptor limit leaves].
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u64).range(1..=100_000_000))]
    connections: Option<u64>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Write 99-tidegate.conf (for sysctl.d) and tidegate.service.d/limits.conf (for systemd) into
    /// this folder. Nothing of the host is changed.
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    /// Replace files that the doctor did not write.
    #[arg(long, requires = "write")]
    force: bool,
    /// Read /proc and /sys below this folder, such as a copy of another host's.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Configuration file, as for serve.
    #[arg(long, value_name = "FILE", env = "TIDEGATE_CONFIG")]
    config: Option<OsString>,
    #[command(flatten)]
    overrides: Overrides,
}

/// The status of a wrong question, which clap uses too.
const WRONG_USE: u8 = 2;

pub(super) fn run(arguments: Arguments) -> ExitCode {
    match examine(arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => {
            fail(&reason);
            ExitCode::from(WRONG_USE)
        }
    }
}

/// What the kernel says of io_uring. A limit that it does not tell is taken for one.
fn rings() -> Result<Rings, sys::host::Error> {
    sys::host::check().map(|()| sys::memlock::ask().unwrap_or(Rings::Count))
}

/// What a configuration asks of the host; a number of connections from a flag comes first.
pub(super) fn wanted(config: &Config, connections: Option<u64>) -> Wanted {
    let budgets = [config.slow.memory_max, config.websocket.memory_max, config.history.memory_max];
    let named = |number: usize| (number > 0).then_some(number as u64);
    Wanted {
        connections: connections.or_else(|| named(config.public.connections_max)),
        shards: named(config.shards.count),
        backlog: config.public.backlog.into(),
        backends: config.peer_descriptors() as u64,
        budgets: budgets.map(|bytes| bytes as u64).into_iter().sum(),
    }
}

/// Whether the host is fit.
fn examine(arguments: Arguments) -> Result<bool, String> {
    let file = arguments.config.filter(|path| !path.is_empty()).map(PathBuf::from);
    let config = Config::load(&arguments.overrides.sources(file))
        .map_err(|errors| format!("the configuration cannot be used\n{errors}"))?;
    // The kernel that runs here says nothing about another host.
    let (tree, ring) = match &arguments.root {
        Some(root) if root.is_dir() => (Tree::at(root), None),
        Some(root) => return Err(format!("--root {}: there is no such folder", root.display())),
        None => (Tree::host(), Some(rings())),
    };
    let plan = Plan::new(&wanted(&config, arguments.connections), &tree);
    let report = doctor::examine(&tree, &plan, ring);
    let written = match &arguments.write {
        Some(folder) => doctor::write_files(folder, (&plan, &tree), arguments.force)
            .map_err(|error| error.to_string())?,
        None => Vec::new(),
    };
    if arguments.json {
        print(&format!("{:#}\n", report.json()));
    } else {
        print(&report.text());
        for path in written {
            print(&format!("Written: {}\n", path.display()));
        }
    }
    Ok(report.is_fit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_come_from_the_flag_then_the_configuration() {
        let mut config = Config::default();
        assert_eq!(wanted(&config, None).connections, None);
        config.public.connections_max = 7;
        assert_eq!(wanted(&config, None).connections, Some(7));
        assert_eq!(wanted(&config, Some(9)).connections, Some(9));
    }

    #[test]
    fn all_else_comes_from_the_configuration() {
        let mut config = Config::default();
        let of_defaults = wanted(&config, None);
        assert_eq!((of_defaults.shards, of_defaults.backends), (None, 8_736));
        config.shards.count = 3;
        config.ingest.endpoints.clear();
        config.public.backlog = 5;
        config.slow.memory_max = 6;
        config.websocket.memory_max = 50;
        config.history.memory_max = 400;
        let Wanted { shards, backlog, backends, budgets, .. } = wanted(&config, None);
        assert_eq!((shards, backlog, backends, budgets), (Some(3), 5, 0, 456));
    }
}
