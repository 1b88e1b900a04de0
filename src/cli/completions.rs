//! `tidegate completions SHELL`: what a shell needs to complete this program's command lines.

use std::process::ExitCode;

use clap::{Args, CommandFactory as _};
use clap_complete::{Shell, generate};

use crate::cli::print;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// For example: `tidegate completions bash > /etc/bash_completion.d/tidegate`.
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let mut script = Vec::new();
    generate(arguments.shell, &mut crate::cli::Arguments::command(), "tidegate", &mut script);
    print(&String::from_utf8_lossy(&script));
    ExitCode::SUCCESS
}
