//! `epoll_ctl` as libzmq needs it: a connection whose input it holds back is not watched at all.
//!
//! When the queue of a connection is full, libzmq takes `EPOLLIN` out of what it watches, and epoll
//! goes on telling it of errors, as epoll always does. If the connection breaks in that state,
//! libzmq notes an error and keeps the connection, and the next output on it ends the process by an
//! assertion (`!_io_error` in `stream_engine_base.cpp`; versions 4.3.x). A peer can bring that
//! about at will: it floods, asks for an answer (PING) and resets its connection.
//!
//! So this program has an `epoll_ctl` of its own, which the dynamic linker prefers to libc's,
//! also for libzmq: a descriptor that was watched for input, and is no longer, leaves the epoll
//! set until its input is wanted again. A connection that broke meanwhile is found broken by the
//! read that comes then. Everything edge-triggered (tokio) passes through unchanged, and so does
//! whatever was never watched for input (connections that libzmq is making).

use std::ffi::{c_int, c_void};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use libc::{EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLET, EPOLLIN, epoll_event};

use crate::incoming;
use crate::symbol::{DESCRIPTORS, is_ours};

/// Which descriptors were watched for input by level, a bit for each. Pages without a bit set are
/// never touched.
static WATCHED: [AtomicU64; DESCRIPTORS / 64] = [const { AtomicU64::new(0) }; DESCRIPTORS / 64];

/// Whether libzmq calls this `epoll_ctl` and not that of libc. Asking is also what makes the linker
/// keep it.
#[must_use]
pub fn is_in_force() -> bool {
    is_ours(c"epoll_ctl", epoll_ctl as *const c_void)
}

/// Takes the place of libc's function of this name.
///
/// # Safety
/// As epoll_ctl(2): `event` points to an event, but for `EPOLL_CTL_DEL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn epoll_ctl(
    epoll: c_int,
    operation: c_int,
    descriptor: c_int,
    event: *mut epoll_event,
) -> c_int {
    // SAFETY: what the caller promises of `event` is what the system call asks for.
    let call = |operation: c_int| unsafe {
        libc::syscall(libc::SYS_epoll_ctl, epoll, operation, descriptor, event) as c_int
    };
    let Some(watched) = Watched::of(descriptor) else { return call(operation) };
    if operation == EPOLL_CTL_DEL {
        // libzmq does so before it closes a connection.
        incoming::leave(descriptor);
    }
    match operation {
        EPOLL_CTL_MOD if !event.is_null() => {
            // SAFETY: it is not null, and the caller promises that it is an event. Where the type
            // is packed its fields are copied, not borrowed.
            let events = unsafe { (*event).events };
            if events & EPOLLET as u32 != 0 {
                return call(operation);
            }
            if events & EPOLLIN as u32 != 0 {
                watched.set();
                return or_if_absent(call(EPOLL_CTL_MOD), || call(EPOLL_CTL_ADD));
            }
            if watched.get() {
                return or_if_absent(call(EPOLL_CTL_DEL), || 0);
            }
        }
        EPOLL_CTL_DEL if watched.get() => {
            watched.clear();
            return or_if_absent(call(EPOLL_CTL_DEL), || 0);
        }
        EPOLL_CTL_ADD => watched.clear(),
        _ => {}
    }
    call(operation)
}

/// The result, or another one where the descriptor is not in the set.
fn or_if_absent(result: c_int, otherwise: impl FnOnce() -> c_int) -> c_int {
    let is_absent = result < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ENOENT);
    if is_absent { otherwise() } else { result }
}

/// The bit of a descriptor.
struct Watched {
    word: &'static AtomicU64,
    bit: u64,
}

impl Watched {
    fn of(descriptor: c_int) -> Option<Self> {
        let index = usize::try_from(descriptor).ok()?;
        Some(Self { word: WATCHED.get(index / 64)?, bit: 1 << (index % 64) })
    }

    // A descriptor belongs to one thread of libzmq, so its bit has no order with anything else.
    fn get(&self) -> bool {
        self.word.load(Ordering::Relaxed) & self.bit != 0
    }

    fn set(&self) {
        if !self.get() {
            self.word.fetch_or(self.bit, Ordering::Relaxed);
        }
    }

    fn clear(&self) {
        if self.get() {
            self.word.fetch_and(!self.bit, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn control(epoll: &OwnedFd, operation: c_int, of: &UnixStream, events: c_int) {
        let mut event = epoll_event { events: events as u32, u64: 7 };
        // SAFETY: the event lives for the whole call.
        let result = unsafe { epoll_ctl(epoll.as_raw_fd(), operation, of.as_raw_fd(), &mut event) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
    }

    fn has_events(epoll: &OwnedFd) -> bool {
        let mut event = epoll_event { events: 0, u64: 0 };
        // SAFETY: there is room for the one event that is asked for.
        unsafe { libc::epoll_wait(epoll.as_raw_fd(), &mut event, 1, 0) == 1 }
    }

    fn set() -> OwnedFd {
        // SAFETY: epoll_create1 takes an integer; the descriptor that it gives is nobody else's.
        let epoll = unsafe { libc::epoll_create1(0) };
        // SAFETY: as above.
        unsafe { OwnedFd::from_raw_fd(epoll) }
    }

    #[test]
    fn what_is_held_back_says_nothing_until_it_is_wanted_again() {
        assert!(is_in_force());
        let (ours, theirs) = UnixStream::pair().unwrap();
        let epoll = set();
        // As libzmq does it: added without events, then input, output, and input no more.
        control(&epoll, EPOLL_CTL_ADD, &ours, 0);
        control(&epoll, EPOLL_CTL_MOD, &ours, EPOLLIN);
        control(&epoll, EPOLL_CTL_MOD, &ours, EPOLLIN | libc::EPOLLOUT);
        assert!(has_events(&epoll));
        control(&epoll, EPOLL_CTL_MOD, &ours, libc::EPOLLOUT);
        control(&epoll, EPOLL_CTL_MOD, &ours, 0);
        drop(theirs);
        assert!(!has_events(&epoll), "the end of a held back connection is not told");
        control(&epoll, EPOLL_CTL_MOD, &ours, EPOLLIN);
        assert!(has_events(&epoll), "it is told when input is wanted again");
        control(&epoll, EPOLL_CTL_MOD, &ours, 0);
        control(&epoll, EPOLL_CTL_DEL, &ours, 0);
    }

    #[test]
    fn what_is_edge_triggered_or_only_writes_is_as_libc_has_it() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let epoll = set();
        control(&epoll, EPOLL_CTL_ADD, &ours, EPOLLIN | EPOLLET);
        control(&epoll, EPOLL_CTL_MOD, &ours, EPOLLET);
        drop(theirs);
        assert!(has_events(&epoll));
        control(&epoll, EPOLL_CTL_DEL, &ours, 0);
        let (ours, theirs) = UnixStream::pair().unwrap();
        control(&epoll, EPOLL_CTL_ADD, &ours, 0);
        control(&epoll, EPOLL_CTL_MOD, &ours, libc::EPOLLOUT);
        drop(theirs);
        assert!(has_events(&epoll));
    }
}
