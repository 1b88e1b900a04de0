//! Plain system calls on connected sockets, for what is done one at a time.
//!
//! Sends in bulk and waiting go through the ring; a lone reply or a read of a socket that is known
//! to be readable is cheaper as a direct call.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

/// Reads what is there. `WouldBlock` when nothing is, zero at the end of the stream.
pub fn receive(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    let (place, size) = (buffer.as_mut_ptr().cast(), buffer.len());
    let (address, no_length) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: the pointer and the length are those of a buffer that we may write to; no address is
    // asked for. This is `recv`, which this program has made one of libzmq's (`incoming`).
    let count = unsafe { libc::recvfrom(fd, place, size, libc::MSG_DONTWAIT, address, no_length) };
    checked(count)
}

/// Writes what fits, which may be nothing.
pub fn send(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the pointer and the length are those of a slice that we may read.
    let count = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
    match checked(count) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}

/// Tells the peer that nothing more will be sent. A peer that is gone already does not matter.
pub fn shutdown_write(fd: RawFd) {
    // SAFETY: shutdown takes two integers.
    unsafe { libc::shutdown(fd, libc::SHUT_WR) };
}

/// Leaves the choice of a bound socket's port to `connect`, so that one source address can have
/// every port once for each server.
pub fn choose_port_at_connect(fd: RawFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    let option = libc::IP_BIND_ADDRESS_NO_PORT;
    let value = (&raw const on).cast();
    // SAFETY: the value is an int of ours and the size is its size.
    let result = unsafe { libc::setsockopt(fd, libc::IPPROTO_IP, option, value, size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What to do about an address that nobody can listen at, whatever kind of socket it is for.
#[must_use]
pub fn listen_remedy(error: &io::Error) -> Option<&'static str> {
    Some(match error.raw_os_error()? {
        libc::EACCES | libc::EPERM => {
            "the process may not listen there: set a port from 1024 on, or give it \
             CAP_NET_BIND_SERVICE (the unit says where)"
        }
        libc::EAFNOSUPPORT => "the kernel has no IPv6 here: set an address of IPv4",
        libc::EMFILE | libc::ENFILE => {
            "raise the limit of open files (LimitNOFILE= in the unit, ulimit -n in a shell; \
             fs.file-max for the host)"
        }
        _ => return None,
    })
}

/// Another descriptor of the same file.
pub fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl takes three integers here.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// What a connection has brought.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Bytes that have come.
    pub come: u64,
    /// Those of them that have been read.
    pub taken: u64,
    /// Time since the last byte came.
    pub quiet: Duration,
    /// Whether the connection is no more, as its peer refused what came for it.
    pub is_reset: bool,
}

/// Places in the kernel's `struct tcp_info`, which only ever grows at its end: the `libc` crate has
/// its first part alone.
const STATE_AT: usize = 0;
const LAST_DATA_MILLIS_AT: usize = 52;
const BYTES_RECEIVED_AT: usize = 128;
const TCP_INFO_BYTES: usize = BYTES_RECEIVED_AT + size_of::<u64>();

/// The state of a TCP connection that is no more, `TCP_CLOSE` in the kernel.
const CLOSED: u8 = 7;

/// What a TCP connection has brought; none for a socket of another kind.
pub fn received(fd: RawFd) -> Option<Received> {
    let mut info = [0u8; TCP_INFO_BYTES];
    let mut size = info.len() as libc::socklen_t;
    let place = info.as_mut_ptr().cast();
    // SAFETY: the kernel writes no more than `size` bytes, which is the length of the buffer.
    let result =
        unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, place, &raw mut size) };
    if result < 0 || (size as usize) < info.len() {
        return None;
    }
    let unread = unread(fd)?;
    let millis = info[LAST_DATA_MILLIS_AT..].first_chunk().copied().map(u32::from_ne_bytes)?;
    let bytes = info[BYTES_RECEIVED_AT..].first_chunk().copied().map(u64::from_ne_bytes)?;
    Some(Received {
        come: bytes,
        taken: bytes.saturating_sub(unread),
        quiet: Duration::from_millis(millis.into()),
        is_reset: info[STATE_AT] == CLOSED,
    })
}

/// How many bytes have come over a stream and were not read.
pub fn unread(fd: RawFd) -> Option<u64> {
    let mut unread: libc::c_int = 0;
    // SAFETY: the request writes one int, to a place that is ours.
    let result = unsafe { libc::ioctl(fd, libc::FIONREAD, &raw mut unread) };
    (result >= 0).then(|| unread.unsigned_abs().into())
}

/// Runs something while what this process creates lacks these permissions. Files that other
/// threads create meanwhile lack them too.
pub fn with_mask<T>(mask: u32, run: impl FnOnce() -> T) -> T {
    // SAFETY: umask takes a number and cannot fail.
    let before = unsafe { libc::umask(mask) };
    let result = run();
    // SAFETY: as above.
    unsafe { libc::umask(before) };
    result
}

/// Closes a descriptor that nobody uses any more.
pub fn close(fd: RawFd) {
    // SAFETY: the caller owns the descriptor and gives it up here.
    unsafe { libc::close(fd) };
}

fn checked(count: isize) -> io::Result<usize> {
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}
