//! SIGTERM and SIGINT: the first begins the drain, the second ends the process at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::shard::Drain;

/// Watches from a thread of its own, which ends with the process.
pub(super) fn watch(drain: &Arc<Drain>, draining: Arc<AtomicBool>) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let drain = Arc::clone(drain);
    Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            if drain.has_begun() {
                tracing::warn!(signal, "second signal: ending at once");
                std::process::exit(1);
            }
            tracing::info!(signal, "draining; a second signal ends at once");
            draining.store(true, Ordering::Release);
            drain.begin();
        }
    })?;
    Ok(())
}
