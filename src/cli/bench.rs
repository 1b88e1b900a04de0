//! `tidegate bench`, and the processes that it starts of this same program: what they do is in
//! `load`. Exit status 0 only if the run was flawless.

use std::io;
use std::process::ExitCode;

use clap::Args;

use crate::cli::{fail, print};
use crate::load::{self, command};

pub(super) fn run(arguments: &command::Arguments) -> ExitCode {
    match command::run(arguments, print) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => fail(&reason),
    }
}

#[derive(Debug, Args)]
pub(super) struct WorkerArguments {
    /// Become tidegate with these arguments instead.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    become_server: Vec<String>,
}

/// Runs a process of a bench.
pub(super) fn work(arguments: &WorkerArguments) -> ExitCode {
    if !arguments.become_server.is_empty() {
        return fail(&load::become_server(&arguments.become_server).to_string());
    }
    match load::work(io::BufReader::new(io::stdin()), io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever started this has gone, so there is nobody to complain to.
        Err(_) => ExitCode::FAILURE,
    }
}
