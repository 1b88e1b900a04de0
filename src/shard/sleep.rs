//! Running a shard: turn after turn, and the one place where its thread waits.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use crate::shard::turn::Turn;
use crate::shard::{Shard, Start};
use crate::wheel::TICK_MILLIS;

/// monoio's own ring carries one read of an eventfd at a time.
const EXECUTOR_ENTRIES: u32 = 16;

/// How long a shard waits for another thread to make room on a link.
const RETRY: Duration = Duration::from_millis(1);

/// Runs a shard on the calling thread until it has drained. Says through `started` whether it
/// could be set up.
pub fn run(start: Start, started: &SyncSender<io::Result<()>>) -> io::Result<()> {
    if let Some(core) = start.settings.core
        && let Err(error) = monoio::utils::bind_to_cpu_set([core])
    {
        tracing::warn!(shard = start.settings.hub.shard.0, core, %error, "cannot pin a shard");
    }
    let runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
        .with_entries(EXECUTOR_ENTRIES)
        .enable_timer()
        .build();
    let (mut runtime, mut shard) = match runtime.and_then(|rt| Ok((rt, Shard::new(start)?))) {
        Ok(parts) => parts,
        Err(error) => {
            // Whoever started this thread waits for the word; if it is gone, so are we.
            let _ = started.send(Err(error));
            return Ok(());
        }
    };
    let _ = started.send(Ok(()));
    runtime.block_on(async { shard.run().await })
}

impl Shard {
    async fn run(&mut self) -> io::Result<()> {
        let bell = self.port.inbox.bell().as_fd().try_clone_to_owned()?;
        let bell = monoio::fs::File::from_std(File::from(bell))?;
        let mut count = vec![0u8; 8];
        self.ring.tick_after(u64::from(TICK_MILLIS) * 1_000_000);
        loop {
            match self.turn()? {
                Turn::More => continue,
                Turn::Retry => {
                    monoio::time::sleep(RETRY).await;
                    continue;
                }
                Turn::Drained => return Ok(()),
                Turn::Idle => {}
            }
            self.port.inbox.bell().begin_sleep();
            if self.ring.begin_sleep()? && self.port.inbox.is_empty() {
                // One signal of the bell or of the data ring ends this read.
                let (result, buffer) = bell.read_at(count, 0).await;
                count = buffer;
                // A signal that interrupts the read is as good as the bell.
                if let Err(error) = result
                    && error.kind() != io::ErrorKind::Interrupted
                {
                    return Err(error);
                }
            }
            self.ring.end_sleep();
            self.port.inbox.bell().end_sleep();
        }
    }

    /// The wheel's tick has completed: arm the next one.
    pub(super) fn handle_tick(&mut self) {
        let tick_nanos = u64::from(TICK_MILLIS) * 1_000_000;
        let into_tick = self.work.now_nanos % tick_nanos;
        self.ring.tick_after(tick_nanos - into_tick);
    }

    /// The descriptor of the shard's listener, while it has one.
    pub(super) fn listener_fd(&self) -> Option<i32> {
        self.listener.as_ref().map(AsRawFd::as_raw_fd)
    }
}
