//! `tidegate check-config FILE`: would `serve` start with this file? The environment and the
//! flags count, because they count for `serve`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{Overrides, fail, print};
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file to check.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    overrides: Overrides,
}

pub(super) fn run(arguments: Arguments) -> ExitCode {
    let name = arguments.file.display().to_string();
    match Config::load(&arguments.overrides.sources(Some(arguments.file))) {
        Ok(_) => {
            print(&format!("{name}: ok\n"));
            ExitCode::SUCCESS
        }
        Err(errors) => {
            let count = errors.0.len();
            let noun = if count == 1 { "mistake" } else { "mistakes" };
            fail(&format!("{name}: {count} {noun}\n{errors}"))
        }
    }
}
