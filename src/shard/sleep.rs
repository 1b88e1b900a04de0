//! Running a shard: turn after turn, and the two places where its thread waits.
//!
//! - With nothing to do it sleeps in the data ring. One system call submits what has gathered,
//!   sleeps, and comes back with the completions that ended the sleep: sockets, the tick, and the
//!   bell, whose eventfd the ring watches. Nothing has to be armed or read again for a sleep.
//! - With something to do that needs room on another thread's link it waits in the executor, for a
//!   moment (`RETRY`). The executor's own ring and the data ring cannot be slept in at once; this
//!   is sound because only one ever has something to bring: the shard's future is the executor's
//!   only task, and whatever it awaits is over before it sleeps in the data ring again.
//!
//! No wake-up is lost: completions stay in the data ring until they are collected, and the bell
//! announces the sleep before the links are looked at for the last time
//! ([`crate::mesh::Inbox::sleep`]).

use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use crate::mesh::Asker;
use crate::shard::net::Sockets;
use crate::shard::turn::Turn;
use crate::shard::{Net, Shard, Start};
use crate::sys::Clock;
use crate::sys::memlock::patiently;
use crate::wheel::TICK_MILLIS;

/// The executor's ring has the timeouts of one timer to carry.
const EXECUTOR_ENTRIES: u32 = 16;

/// How long a shard waits for another thread to make room on a link.
const RETRY: Duration = Duration::from_millis(1);

/// The length of a tick of the wheel.
pub(super) const TICK_NANOS: u64 = TICK_MILLIS as u64 * 1_000_000;

/// Runs a shard on the calling thread until it has drained. Says through `started` whether it
/// could be set up.
pub fn run(
    start: Start,
    listener: TcpListener,
    clock: Clock,
    started: &SyncSender<io::Result<()>>,
) -> io::Result<()> {
    if let Some(core) = start.core
        && let Err(error) = monoio::utils::bind_to_cpu_set([core])
    {
        tracing::warn!(shard = start.site.shard.0, core, %error, "cannot pin a shard");
    }
    let runtime = patiently(|| {
        monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
            .with_entries(EXECUTOR_ENTRIES)
            .enable_timer()
            .build()
    });
    let bell = start.port.inbox.bell().as_raw_fd();
    let sockets = |rt| Ok((rt, Sockets::new(start.ring, listener, bell, clock)?));
    let (mut runtime, sockets) = match runtime.and_then(sockets) {
        Ok(parts) => parts,
        Err(error) => {
            // Whoever started this thread waits for the word; if it is gone, so are we.
            let _ = started.send(Err(error));
            return Ok(());
        }
    };
    let mut shard = Shard::new(start, sockets);
    let _ = started.send(Ok(()));
    runtime.block_on(async { shard.run().await })
}

impl<N: Net> Shard<N> {
    async fn run(&mut self) -> io::Result<()> {
        loop {
            match self.turn()? {
                Turn::More => {}
                Turn::Retry => monoio::time::sleep(RETRY).await,
                Turn::Idle => self.sleep()?,
                Turn::Drained => return Ok(()),
            }
        }
    }

    /// Sleeps until something happens, unless something has come over a link.
    pub fn sleep(&mut self) -> io::Result<()> {
        self.port.inbox.sleep(|| self.net.sleep())
    }

    /// The bell has rung, which was all: links are looked at in every turn.
    pub(super) fn handle_event(&mut self, has_more: bool) {
        if !has_more {
            self.net.watch_bell();
        }
    }

    /// The wheel's tick has completed: arm the next one.
    pub(super) fn handle_tick(&mut self) {
        self.net.tick_after(TICK_NANOS - self.work.now_nanos % TICK_NANOS);
        self.halves.give_back();
        self.metrics.link_bytes.set(self.port.inbox.bytes() as i64);
        let events = &self.port.askers[usize::from(Asker::Ingest.place())];
        self.metrics.event_bytes.set(events.bytes() as i64);
    }
}
