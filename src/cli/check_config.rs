//! `tidegate check-config`: would `serve` start with this file? The environment and the flags
//! count, because they count for `serve`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::cli::{Overrides, fail, print, remark};
use crate::config::Config;
use crate::edge;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file to check, instead of --config.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Configuration file in TOML; without one the defaults hold.
    #[arg(long, value_name = "FILE", env = "TIDEGATE_CONFIG")]
    config: Option<OsString>,
    /// Print every option as it is in effect, each with where it was written.
    #[arg(long)]
    print: bool,
    #[command(flatten)]
    overrides: Overrides,
}

pub(super) fn run(arguments: Arguments) -> ExitCode {
    let named = arguments.config.filter(|path| !path.is_empty()).map(PathBuf::from);
    let file = arguments.file.or(named);
    let name =
        file.as_ref().map_or_else(|| "defaults".to_owned(), |file| file.display().to_string());
    match Config::effective(&arguments.overrides.sources(file)) {
        Ok((config, effective)) => {
            print(&if arguments.print { effective } else { format!("{name}: ok\n") });
            for lack in edge::examine(&config) {
                remark(&format!("`serve` would fail here, as things are, for this user: {lack}"));
            }
            ExitCode::SUCCESS
        }
        Err(errors) => {
            let count = errors.0.len();
            let noun = if count == 1 { "mistake" } else { "mistakes" };
            fail(&format!("{name}: {count} {noun}\n{errors}"))
        }
    }
}
