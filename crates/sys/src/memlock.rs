//! Locked memory, which on some kernels is what the memory of rings counts as: Linux 6.18 counts
//! it, 6.1 does not. The kernel is asked and its version is not, because distributions port back.
//!
//! The limit is shared by all processes of a user, as far as they have not the capability
//! `CAP_IPC_LOCK`; whoever has it, as root usually does, has no limit.

#![allow(unsafe_code, reason = "getrlimit and setrlimit have no safe wrapper")]

use std::io;
use std::thread::sleep;
use std::time::Duration;

use io_uring::IoUring;

/// Whether rings of this process count as locked memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rings {
    /// They do, up to the limit.
    Count,
    /// They do not.
    AreFree,
}

/// How long a ring waits for memory of rings that are gone, and how often it asks. The kernel
/// gives that back a moment after they were closed or their process has ended.
const PAUSE: Duration = Duration::from_millis(10);
const TRIES: u32 = 100;

/// Asks the kernel whether rings count: a small one is refused while nothing may be locked. Only
/// for times when no other thread makes a ring.
///
/// # Errors
/// What the system says of the limit.
pub fn ask() -> io::Result<Rings> {
    let limits = get()?;
    set(libc::rlimit { rlim_cur: 0, ..limits })?;
    let ring = IoUring::new(4);
    set(limits)?;
    match ring {
        Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => Ok(Rings::Count),
        _ => Ok(Rings::AreFree),
    }
}

/// Raises the soft limit to the hard one and returns it.
///
/// # Errors
/// What the system says.
pub fn raise_limit() -> io::Result<u64> {
    let limits = get()?;
    set(libc::rlimit { rlim_cur: limits.rlim_max, ..limits })?;
    Ok(limits.rlim_max)
}

/// Makes something with a ring, and tries again for a while if its memory is refused.
///
/// # Errors
/// What the system says at last.
pub fn patiently<T>(mut make: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 1..TRIES {
        match make() {
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => sleep(PAUSE),
            result => return result,
        }
    }
    make()
}

fn get() -> io::Result<libc::rlimit> {
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live struct that the call fills.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limits) };
    if result == 0 { Ok(limits) } else { Err(io::Error::last_os_error()) }
}

fn set(limits: libc::rlimit) -> io::Result<()> {
    // SAFETY: the pointer is to a live, initialised struct that the call only reads.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limits) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_memory_is_waited_for() {
        let mut tries = 0;
        let result = patiently(|| {
            tries += 1;
            let code = if tries < 3 { libc::ENOMEM } else { libc::EPERM };
            Err::<(), _>(io::Error::from_raw_os_error(code))
        });
        assert_eq!((tries, result.unwrap_err().raw_os_error()), (3, Some(libc::EPERM)));
        assert_eq!(patiently(|| Ok(7)).unwrap(), 7);
    }
}
