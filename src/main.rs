//! The `tidegate` program. Everything it does is in the library: `cli` reads the command line,
//! `edge` runs the server. Only the allocator is chosen here, because that is the one decision
//! which belongs to a program and not to a library.

use std::process::ExitCode;

/// Small size classes and memory that goes back to the system after a peak of connections.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tidegate::cli::main()
}
