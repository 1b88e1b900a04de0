//! `tidegate default-config`: the defaults as a file to start from.

use std::process::ExitCode;

use crate::cli::print;
use crate::config;

pub(super) fn run() -> ExitCode {
    print(&config::template());
    ExitCode::SUCCESS
}
