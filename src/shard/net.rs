//! What a shard has of the world outside: its listener, its sockets and the time.
//!
//! A shard is made for one [`Net`]: [`Sockets`] is the kernel's, and a simulation has one of its
//! own, in which a seed decides what comes when and what breaks. The compiler makes a shard for
//! each, so that a call costs what it costs without the trait.
//!
//! What any of them must keep to is what the ring promises ([`crate::sys::ring`]): readiness is
//! said when something comes, and once at the beginning of a watch if something is there; a read
//! that brings less than it could has brought all there was; and when a send returns nobody holds
//! its bytes.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, RawFd};

use crate::sys::ring::{Completion, Kind, Ring, Size};
use crate::sys::{Clock, socket};

/// The network and the clock of one shard.
pub trait Net {
    /// Nanoseconds on a clock that never goes back.
    fn now_nanos(&self) -> u64;

    /// Seconds since 1970 on the clock on the wall, which may jump.
    fn unix_seconds(&self) -> u64;

    /// Accepts connections until that fails or the shard stops to listen.
    fn accept(&mut self);

    /// Gives the listener up.
    fn stop_listening(&mut self);

    /// Whether there is a listener.
    fn is_listening(&self) -> bool;

    /// Says whenever the bell of the shard's inbox rings while it sleeps.
    fn watch_bell(&mut self);

    /// Says whenever a connection becomes readable, until cancelled.
    fn watch_readable(&mut self, fd: RawFd, row: u32, generation: u32);

    /// Says once when a connection becomes writable.
    fn watch_writable(&mut self, fd: RawFd, row: u32, generation: u32);

    /// Ends a watch, which holds its socket open.
    fn cancel(&mut self, kind: Kind, row: u32, generation: u32);

    /// Completes once after some time.
    fn tick_after(&mut self, nanos: u64);

    /// Submits what has gathered and collects completions.
    fn enter(&mut self) -> io::Result<()>;

    /// The same, but sleeps until there is a completion.
    fn sleep(&mut self) -> io::Result<()>;

    /// The next completion.
    fn poll_completion(&mut self) -> Option<Completion>;

    /// Whether completions wait to be handled.
    fn has_completions(&self) -> bool;

    /// Reads what is there. `WouldBlock` when nothing is, zero at the end of the stream.
    fn receive(&mut self, fd: RawFd, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes what fits, which may be nothing.
    fn send(&mut self, fd: RawFd, bytes: &[u8]) -> io::Result<usize>;

    /// Sends a batch. Calls `refused(place, result)` for each send that was not taken whole: how
    /// many bytes were, or a negative error number.
    fn send_batch<'a>(
        &mut self,
        sends: impl Iterator<Item = (RawFd, &'a [u8])>,
        refused: impl FnMut(usize, i32),
    ) -> io::Result<()>;

    /// Tells the peer that nothing more will be sent.
    fn shutdown_write(&mut self, fd: RawFd);

    /// Closes a connection that nobody uses any more.
    fn close(&mut self, fd: RawFd);
}

/// The kernel's network, through a ring, and its clock.
pub(super) struct Sockets {
    ring: Ring,
    listener: Option<TcpListener>,
    bell: RawFd,
    clock: Clock,
}

impl Sockets {
    /// On the thread that is to use it, as the ring is one thread's alone. The bell outlives it.
    pub(super) fn new(
        size: Size,
        listener: TcpListener,
        bell: RawFd,
        clock: Clock,
    ) -> io::Result<Self> {
        Ok(Self { ring: Ring::new(size)?, listener: Some(listener), bell, clock })
    }
}

impl Net for Sockets {
    fn now_nanos(&self) -> u64 {
        self.clock.now_nanos()
    }

    fn unix_seconds(&self) -> u64 {
        Clock::unix_seconds()
    }

    fn accept(&mut self) {
        if let Some(listener) = &self.listener {
            self.ring.accept(listener.as_raw_fd());
        }
    }

    fn stop_listening(&mut self) {
        if self.listener.take().is_some() {
            self.ring.cancel(Kind::Accept, 0, 0);
        }
    }

    fn is_listening(&self) -> bool {
        self.listener.is_some()
    }

    fn watch_bell(&mut self) {
        self.ring.watch_event(self.bell);
    }

    fn watch_readable(&mut self, fd: RawFd, row: u32, generation: u32) {
        self.ring.watch_readable(fd, row, generation);
    }

    fn watch_writable(&mut self, fd: RawFd, row: u32, generation: u32) {
        self.ring.watch_writable(fd, row, generation);
    }

    fn cancel(&mut self, kind: Kind, row: u32, generation: u32) {
        self.ring.cancel(kind, row, generation);
    }

    fn tick_after(&mut self, nanos: u64) {
        self.ring.tick_after(nanos);
    }

    fn enter(&mut self) -> io::Result<()> {
        self.ring.enter()
    }

    fn sleep(&mut self) -> io::Result<()> {
        self.ring.sleep()
    }

    fn poll_completion(&mut self) -> Option<Completion> {
        self.ring.poll_completion()
    }

    fn has_completions(&self) -> bool {
        self.ring.has_completions()
    }

    fn receive(&mut self, fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
        socket::receive(fd, buffer)
    }

    fn send(&mut self, fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
        socket::send(fd, bytes)
    }

    fn send_batch<'a>(
        &mut self,
        sends: impl Iterator<Item = (RawFd, &'a [u8])>,
        refused: impl FnMut(usize, i32),
    ) -> io::Result<()> {
        self.ring.send(sends, refused)
    }

    fn shutdown_write(&mut self, fd: RawFd) {
        socket::shutdown_write(fd);
    }

    fn close(&mut self, fd: RawFd) {
        socket::close(fd);
    }
}
