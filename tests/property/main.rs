//! Properties of the sans-IO leaves over generated input: one binary, one file per part.
//!
//! Each compares the code with something simpler: its inverse, a scalar twin, the standard
//! library, or itself on another cut of the same bytes.

// Where the fuzz targets look for the macro that declares them.
extern crate self as libfuzzer_sys;

mod frame;
mod fuzz_targets;
mod handshake;
mod inbound;
mod mask;
mod peer;
mod utf8;
