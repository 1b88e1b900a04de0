//! A ring of sockets: accepts, readiness and sends of one thread, on an io_uring of its own.
//!
//! Sends are submitted with `DONTWAIT`, `WAITALL` and without a completion on success: each is
//! carried out inside `io_uring_enter` or refused there, so when [`Ring::send`] returns the kernel
//! holds none of our bytes, and only refusals cost a completion. Reading is by readiness: one
//! multishot poll per connection, which costs an idle connection no buffer.
//!
//! The thread sleeps in the ring itself ([`Ring::sleep`]), because the ring runs its deferred work
//! only inside `enter`: waking and collecting what woke it are one system call. Other threads wake
//! it through an eventfd that the ring watches ([`Ring::watch_event`]).

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use io_uring::squeue::{Entry as Submission, Flags};
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, opcode};

use crate::memlock::patiently;

/// How much of what a ring holds. Smaller ones do the same with more system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Room for a batch of sends and the polls and cancellations that gather beside it.
    submissions: u32,
    /// Completions beyond this wait in the kernel: more cannot be lost, only be dearer.
    completions: u32,
}

impl Size {
    /// What a shard has where nothing limits it.
    pub const FULL: Self = Self { submissions: 512, completions: 8192 };

    /// What it makes do with.
    pub const LEAST: Self = Self { submissions: 64, completions: 128 };

    /// The executor's ring beside it: the least that monoio makes.
    const EXECUTOR: Self = Self { submissions: 256, completions: 512 };

    /// From full to least.
    const ALL: [Self; 7] = [
        Self::FULL,
        Self { submissions: 512, completions: 4096 },
        Self { submissions: 512, completions: 2048 },
        Self { submissions: 256, completions: 1024 },
        Self { submissions: 128, completions: 512 },
        Self { submissions: 64, completions: 256 },
        Self::LEAST,
    ];

    /// Memory of a shard's rings with a data ring of this size, as the kernel counts it: in pages,
    /// submissions apart from what else there is.
    #[must_use]
    pub const fn shard_bytes(self) -> u64 {
        self.bytes() + Self::EXECUTOR.bytes()
    }

    /// The largest with which the rings of a shard take at most so much memory.
    #[must_use]
    pub fn fitting(shard_bytes: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|size| size.shard_bytes() <= shard_bytes)
    }

    const fn bytes(self) -> u64 {
        const PAGE: u64 = 4096;
        const HEAD: u64 = 192;
        let (submissions, completions) = (self.submissions as u64, self.completions as u64);
        let entries = (submissions * 64).next_multiple_of(PAGE);
        entries + (HEAD + completions * 16 + submissions * 4).next_multiple_of(PAGE)
    }
}

/// What a completion is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A new connection, or why there is none.
    Accept,
    /// A connection is readable.
    Readable,
    /// A connection is writable.
    Writable,
    /// One send of the present batch was refused, at least in part.
    Send,
    /// Time for the timer wheel.
    Tick,
    /// The eventfd was signalled, or its watch ended.
    Event,
    /// A cancellation is done.
    Cancel,
}

/// A completion.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// What it is about.
    pub kind: Kind,
    /// The row of the connection, or the place in the batch.
    pub row: u32,
    /// The low bits of the row's generation.
    pub generation: u32,
    /// The result as the kernel gives it: negative is an error number.
    pub result: i32,
    /// Whether the same submission will complete again.
    pub has_more: bool,
}

/// How many bits of a generation fit beside a row.
const GENERATION_MASK: u32 = 0x00ff_ffff;

/// One thread's io_uring for sockets.
pub struct Ring {
    ring: IoUring,
    pending: VecDeque<Completion>,
    /// The kernel reads the tick's length when it takes the submission.
    tick: Box<Timespec>,
}

impl Ring {
    /// Sets the ring up on the calling thread, which must be the only one to use it.
    pub fn new(size: Size) -> io::Result<Self> {
        let mut builder = IoUring::builder();
        let builder = builder
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(size.completions);
        let ring = patiently(|| builder.build(size.submissions))?;
        Ok(Self { ring, pending: VecDeque::new(), tick: Box::default() })
    }

    /// Accepts connections on a listener until cancelled.
    pub fn accept(&mut self, listener: RawFd) {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        let entry = opcode::AcceptMulti::new(Fd(listener)).flags(flags).build();
        self.push(entry.user_data(user_data(Kind::Accept, 0, 0)));
    }

    /// Says whenever a connection becomes readable, until cancelled.
    pub fn watch_readable(&mut self, fd: RawFd, row: u32, generation: u32) {
        let mask = (libc::POLLIN | libc::POLLRDHUP) as u32;
        let entry = opcode::PollAdd::new(Fd(fd), mask).multi(true).build();
        self.push(entry.user_data(user_data(Kind::Readable, row, generation)));
    }

    /// Says once when a connection becomes writable.
    pub fn watch_writable(&mut self, fd: RawFd, row: u32, generation: u32) {
        let entry = opcode::PollAdd::new(Fd(fd), libc::POLLOUT as u32).build();
        self.push(entry.user_data(user_data(Kind::Writable, row, generation)));
    }

    /// Says whenever an eventfd is signalled. Nobody reads it: the kernel reports every signal, not
    /// the state, and a watch that begins anew on a signalled one reports that at once. So after a
    /// completion without `has_more` it is enough to watch again, and no signal is lost.
    pub fn watch_event(&mut self, event: RawFd) {
        let entry = opcode::PollAdd::new(Fd(event), libc::POLLIN as u32).multi(true).build();
        self.push(entry.user_data(user_data(Kind::Event, 0, 0)));
    }

    /// Ends a watch, or accepting. A watch holds its socket open, so this belongs to closing it.
    pub fn cancel(&mut self, kind: Kind, row: u32, generation: u32) {
        let entry = opcode::AsyncCancel::new(user_data(kind, row, generation)).build();
        let entry = entry.flags(Flags::SKIP_SUCCESS);
        self.push(entry.user_data(user_data(Kind::Cancel, row, generation)));
    }

    /// Completes once after some time.
    pub fn tick_after(&mut self, nanos: u64) {
        *self.tick =
            Timespec::new().sec(nanos / 1_000_000_000).nsec((nanos % 1_000_000_000) as u32);
        let entry = opcode::Timeout::new(&raw const *self.tick).build();
        self.push(entry.user_data(user_data(Kind::Tick, 0, 0)));
    }

    /// Sends a batch. Calls `refused(place, result)` for each send that was not taken whole:
    /// how many bytes were, or a negative error number.
    pub fn send<'a>(
        &mut self,
        sends: impl Iterator<Item = (RawFd, &'a [u8])>,
        mut refused: impl FnMut(usize, i32),
    ) -> io::Result<()> {
        let flags = libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
        for (place, (fd, bytes)) in sends.enumerate() {
            let entry = opcode::Send::new(Fd(fd), bytes.as_ptr(), bytes.len() as u32)
                .flags(flags)
                .build()
                .flags(Flags::SKIP_SUCCESS)
                .user_data(user_data(Kind::Send, place as u32, 0));
            // The bytes outlive the submission: `submit_all` below returns after the kernel has
            // carried out every send, because none may wait.
            self.push(entry);
        }
        self.submit_all()?;
        self.collect(|completion| refused(completion.row as usize, completion.result));
        while self.ring.submission().cq_overflow() {
            // Refusals wait behind completions that had no room.
            self.run_deferred()?;
            self.collect(|completion| refused(completion.row as usize, completion.result));
        }
        Ok(())
    }

    /// Submits what has gathered, runs the ring's deferred work and collects completions.
    pub fn enter(&mut self) -> io::Result<()> {
        self.submit_all()?;
        if self.ring.submission().taskrun() || self.ring.submission().cq_overflow() {
            self.run_deferred()?;
        }
        self.collect(|_| {});
        Ok(())
    }

    fn run_deferred(&self) -> io::Result<()> {
        let flags = EnterFlags::GETEVENTS.bits();
        // SAFETY: no argument is passed; the flag only asks for deferred work to be run.
        let result = unsafe { self.ring.submitter().enter::<()>(0, 0, flags, None) };
        tolerate_busy(result)
    }

    /// Like [`Ring::enter`], but sleeps until there is a completion or a signal comes.
    pub fn sleep(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            tolerate_busy(self.ring.submit_and_wait(1))?;
        }
        self.enter()
    }

    /// Like [`Ring::sleep`], at most for some time.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        let timeout = Timespec::from(timeout);
        let arguments = SubmitArgs::new().timespec(&timeout);
        if self.pending.is_empty() {
            tolerate_busy(self.ring.submitter().submit_with_args(1, &arguments))?;
        }
        self.enter()
    }

    /// The next completion that [`Ring::enter`] found.
    pub fn poll_completion(&mut self) -> Option<Completion> {
        self.pending.pop_front()
    }

    /// Whether completions wait to be handled.
    pub fn has_completions(&self) -> bool {
        !self.pending.is_empty()
    }

    fn push(&mut self, entry: Submission) {
        // SAFETY: sends are submitted before their bytes go (see `send`), the tick's memory is
        // owned by the ring, and no other submission refers to memory.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        if pushed.is_err() {
            self.submit_all().expect("a ring that was set up takes submissions");
            // SAFETY: as above.
            let pushed = unsafe { self.ring.submission().push(&entry) };
            pushed.expect("the kernel has just taken all submissions");
        }
    }

    fn submit_all(&mut self) -> io::Result<()> {
        while !self.ring.submission().is_empty() {
            tolerate_busy(self.ring.submit())?;
        }
        Ok(())
    }

    fn collect(&mut self, mut refused: impl FnMut(Completion)) {
        for entry in self.ring.completion() {
            let completion = completion(&entry);
            match completion.kind {
                Kind::Send => refused(completion),
                _ => self.pending.push_back(completion),
            }
        }
    }
}

/// The kernel is out of memory for a moment, or a signal came: the next call goes on.
fn tolerate_busy(result: io::Result<usize>) -> io::Result<()> {
    match result {
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EAGAIN | libc::EBUSY | libc::EINTR | libc::ETIME)
            ) =>
        {
            Ok(())
        }
        result => result.map(drop),
    }
}

fn user_data(kind: Kind, row: u32, generation: u32) -> u64 {
    (kind as u64) << 56 | u64::from(generation & GENERATION_MASK) << 32 | u64::from(row)
}

fn completion(entry: &io_uring::cqueue::Entry) -> Completion {
    let data = entry.user_data();
    let kind = match data >> 56 {
        0 => Kind::Accept,
        1 => Kind::Readable,
        2 => Kind::Writable,
        3 => Kind::Send,
        4 => Kind::Tick,
        5 => Kind::Event,
        _ => Kind::Cancel,
    };
    Completion {
        kind,
        row: data as u32,
        generation: (data >> 32) as u32 & GENERATION_MASK,
        result: entry.result(),
        has_more: io_uring::cqueue::more(entry.flags()),
    }
}

impl Completion {
    /// Whether this is about the present occupant of its row.
    pub fn is_of(&self, generation: u32) -> bool {
        self.generation == generation & GENERATION_MASK
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EventFd;
    use std::os::fd::AsRawFd;

    fn events(ring: &mut Ring) -> Vec<bool> {
        let completions = std::iter::from_fn(|| ring.poll_completion());
        completions.inspect(|it| assert_eq!(it.kind, Kind::Event)).map(|it| it.has_more).collect()
    }

    #[test]
    fn smaller_rings_fit_into_less_memory() {
        assert_eq!((Size::FULL.shard_bytes(), Size::LEAST.shard_bytes()), (196_608, 36_864));
        let fits = |bytes| Size::fitting(bytes);
        assert_eq!(fits(u64::MAX), Some(Size::FULL));
        assert_eq!(fits(196_607), Some(Size { submissions: 512, completions: 4096 }));
        assert_eq!(fits(36_864), Some(Size::LEAST));
        assert_eq!(fits(36_863), None);
        assert!(Size::ALL.is_sorted_by(|larger, smaller| larger.bytes() > smaller.bytes()));
    }

    #[test]
    fn every_signal_ends_a_sleep_although_nobody_reads_the_eventfd() {
        let event = EventFd::new().expect("an eventfd");
        let mut ring = Ring::new(Size::LEAST).expect("a ring");
        ring.watch_event(event.as_raw_fd());
        for _ in 0..3 {
            ring.enter().expect("a ring that works");
            assert!(events(&mut ring).is_empty(), "a signal counts once");
            event.signal();
            event.signal();
            ring.sleep().expect("a ring that works");
            assert_eq!(events(&mut ring), [true], "signals that nobody has seen yet are one");
        }
    }

    #[test]
    fn a_watch_that_begins_anew_misses_no_signal() {
        let event = EventFd::new().expect("an eventfd");
        event.signal();
        let mut ring = Ring::new(Size::LEAST).expect("a ring");
        ring.watch_event(event.as_raw_fd());
        ring.sleep().expect("a ring that works");
        assert_eq!(events(&mut ring), [true]);
        event.signal();
        ring.sleep().expect("a ring that works");
        assert_eq!(events(&mut ring), [true]);
    }
}
