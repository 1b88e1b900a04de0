//! `tidegate man DIR`: a page for the program and one for each command, from the same texts as
//! their `--help`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _};

use crate::cli::fail;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The folder, which must exist: /usr/local/share/man/man1 for example.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    match clap_mangen::generate_to(crate::cli::Arguments::command(), &arguments.folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{}: {error}", arguments.folder.display())),
    }
}
