//! Signals: the first SIGTERM or SIGINT begins the drain, one that comes later ends the process at
//! once, and SIGHUP changes nothing.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, sleep};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::log::Logger;
use crate::shard::Drain;

/// What comes so soon after the first signal is the same wish: a terminal signals a whole group of
/// processes, and a wrapper among them passes on what all have got.
const REPEAT: Duration = Duration::from_secs(1);

/// Takes signals from now on. They wait until somebody watches.
pub(super) fn take() -> io::Result<Signals> {
    Signals::new([SIGHUP, SIGINT, SIGTERM])
}

/// Watches from a thread of its own, which ends with the process.
pub(super) fn watch(
    mut signals: Signals,
    (drain, delay): (Arc<Drain>, Duration),
    logger: Logger,
) -> io::Result<()> {
    let watch = move || {
        let mut first = None;
        for signal in signals.forever() {
            match first {
                _ if signal == SIGHUP => {
                    tracing::info!("SIGHUP: the configuration is read at the start only");
                }
                None => {
                    first = Some(Instant::now());
                    tracing::info!(signal, ?delay, "draining; a second signal ends at once");
                    begin(&drain, delay);
                }
                Some(first) if first.elapsed() < REPEAT => {
                    tracing::info!(signal, "a repeated signal counts as the first");
                }
                Some(_) => {
                    tracing::warn!(signal, "second signal: ending at once");
                    logger.flush();
                    std::process::exit(1);
                }
            }
        }
    };
    Builder::new().name("signals".to_owned()).spawn(watch)?;
    Ok(())
}

/// Announces the drain and begins it after the delay.
fn begin(drain: &Arc<Drain>, delay: Duration) {
    drain.announce();
    let later = Arc::clone(drain);
    let wait = move || {
        sleep(delay);
        later.begin();
    };
    if let Err(error) = Builder::new().name("drain".to_owned()).spawn(wait) {
        tracing::warn!(%error, "no thread can wait: the drain begins without its delay");
        drain.begin();
    }
}
