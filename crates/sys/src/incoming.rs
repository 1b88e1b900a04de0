//! `accept4` and `recv` as libzmq needs them: its listeners have a bound, and what its connections
//! bring is counted and looked at.
//!
//! libzmq accepts whoever comes, tells of it later, and takes bytes that are no ZeroMQ for those
//! of a version without greeting. So this program has these two functions of its own, as it has
//! an `epoll_ctl`. A connection that a listener has no place for is closed before libzmq has seen
//! it, and one that begins as no ZeroMQ does ends with its first bytes. All other sockets pass
//! through unchanged; shards do not come here at all (`sys::socket::receive`).

use std::collections::VecDeque;
use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libc::{sockaddr, socklen_t};

use crate::socket::{close, duplicate};
use crate::symbol::{DESCRIPTORS, is_ours};

/// What is known of each descriptor. Pages of others are never touched.
static ALL: [Known; DESCRIPTORS] = [const { Known::nothing() }; DESCRIPTORS];

/// What is known of one descriptor.
struct Known {
    /// What came over it: bytes, and these bits. What was no ZeroMQ stands at the descriptor that
    /// [`Door::take`] gives of the connection, which no other has when libzmq has closed its own.
    brought: AtomicU64,
    /// Where the first command ends, as far as that is known ([`first_end`]).
    first_end: AtomicU64,
    /// The other descriptor of the connection.
    twin: AtomicI32,
}

const IS_COUNTED: u64 = 1 << 63;
const IS_HTTP: u64 = 1 << 62;
const IS_TLS: u64 = 1 << 61;
const IS_OTHER: u64 = 1 << 60;
const IS_NEW: u64 = 1 << 59;
const BYTES: u64 = IS_NEW - 1;

const NO_TWIN: RawFd = -1;

/// How long ZeroMQ's greeting is (ZeroMQ RFC 23). Behind it peers say what they are: flags, and a
/// length of one byte or, as a flag says, of eight.
pub const GREETING_BYTES: u64 = 64;
const LONG_HEAD_END: u64 = GREETING_BYTES + 9;
const FLAG_LONG: u8 = 0x02;
const FLAG_COMMAND: u8 = 0x04;

/// The end is known; else what has come of a long length stands there.
const IS_KNOWN: u64 = 1 << 63;
const IS_LONG: u64 = 1 << 62;
const NEVER: u64 = u64::MAX;

/// What `accept4` fails with when there is no place: libzmq knows it, and the kernel has no use
/// for it here.
pub const NO_PLACE: c_int = libc::EPROTO;

/// How long an accept waits that found no free descriptor: libzmq tries again at once.
const PAUSE_MS: c_int = 1;

/// Listeners with a bound: a handful, looked through once for each connection.
static BOUNDS: Mutex<Vec<Arc<Bound>>> = Mutex::new(Vec::new());

struct Bound {
    listener: RawFd,
    most: AtomicUsize,
    open: AtomicUsize,
    /// Connections that were accepted and not asked for yet: at most as many as there may be, since
    /// whoever asks for them says how many there are.
    accepted: Mutex<VecDeque<Accepted>>,
}

/// What libzmq calls a connection, and a descriptor of it that stays when libzmq closes its own and
/// the next connection has the same number.
type Accepted = (RawFd, Option<OwnedFd>);

/// The bound of one listener, until it is dropped.
pub struct Door(Arc<Bound>);

/// What else is spoken to a port of ZeroMQ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// A request of HTTP.
    Http,
    /// A handshake of TLS.
    Tls,
    /// Something else.
    Other,
}

impl Foreign {
    const BITS: [(u64, Self); 3] =
        [(IS_HTTP, Self::Http), (IS_TLS, Self::Tls), (IS_OTHER, Self::Other)];
}

impl Door {
    /// From now on the listener has at most so many connections.
    #[must_use]
    pub fn new(listener: RawFd, most: usize) -> Self {
        let (most, open) = (AtomicUsize::new(most), AtomicUsize::new(0));
        let bound = Arc::new(Bound { listener, most, open, accepted: Mutex::default() });
        bounds().push(Arc::clone(&bound));
        Self(bound)
    }

    /// Says how many it has: accepting counts up only.
    pub fn set_open(&self, open: usize) {
        self.0.open.store(open, Ordering::Relaxed);
    }

    /// From now on the listener has no place for anybody who comes.
    pub fn close(&self) {
        self.0.most.store(0, Ordering::Relaxed);
    }

    /// Whether nobody is let in any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.most.load(Ordering::Relaxed) == 0
    }

    /// Takes the connection that was accepted on a descriptor, which libzmq may have closed since.
    /// They come in the order in which they were accepted; those that libzmq gave up before it told
    /// of them are passed over.
    #[must_use]
    pub fn take(&self, descriptor: RawFd) -> Option<OwnedFd> {
        let mut accepted = locked(&self.0.accepted);
        std::iter::from_fn(|| accepted.pop_front())
            .find_map(|(fd, own)| (fd == descriptor).then_some(own))
            .flatten()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        bounds().retain(|bound| !Arc::ptr_eq(bound, &self.0));
    }
}

fn bounds() -> MutexGuard<'static, Vec<Arc<Bound>>> {
    locked(&BOUNDS)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether libzmq calls these functions and not those of libc. Asking is also what makes the linker
/// keep them.
#[must_use]
pub fn is_in_force() -> bool {
    is_ours(c"accept4", accept4 as *const c_void) && is_ours(c"recv", recv as *const c_void)
}

/// Counts what comes over a descriptor, if it is not counted yet.
pub fn count(descriptor: RawFd) {
    let Some(known) = Known::of(descriptor) else { return };
    let was_counted = known.brought.fetch_or(IS_COUNTED, Ordering::Relaxed) & IS_COUNTED != 0;
    if !was_counted {
        // What it said first came before.
        known.first_end.store(NEVER, Ordering::Relaxed);
    }
}

/// libzmq gives the descriptor up: whoever has it next is not counted.
pub(super) fn leave(descriptor: RawFd) {
    if let Some(Known { brought, .. }) = Known::of(descriptor)
        && brought.load(Ordering::Relaxed) & IS_COUNTED != 0
    {
        brought.fetch_and(!(IS_COUNTED | IS_NEW), Ordering::Relaxed);
    }
}

/// How many bytes were read from a descriptor since it was accepted, or counted.
#[must_use]
pub fn taken(descriptor: RawFd) -> u64 {
    Known::of(descriptor).map_or(0, |known| known.brought.load(Ordering::Relaxed) & BYTES)
}

/// What is spoken over a connection that is no ZeroMQ; the descriptor is that of [`Door::take`].
#[must_use]
pub fn foreign(descriptor: RawFd) -> Option<Foreign> {
    let brought = Known::of(descriptor)?.brought.load(Ordering::Relaxed);
    Foreign::BITS.into_iter().find_map(|(bit, foreign)| (brought & bit != 0).then_some(foreign))
}

fn note_foreign(descriptor: RawFd, spoken: Foreign) {
    let twin = |known: &Known| Known::of(known.twin.load(Ordering::Relaxed));
    let Some(twin) = Known::of(descriptor).and_then(twin) else { return };
    for (bit, _) in Foreign::BITS.into_iter().filter(|&(_, foreign)| foreign == spoken) {
        twin.brought.fetch_or(bit, Ordering::Relaxed);
    }
}

/// Whether a greeting and a whole command behind it came over a descriptor: all that a peer says in
/// a handshake without CURVE.
#[must_use]
pub fn has_said_first(descriptor: RawFd) -> bool {
    let end = Known::of(descriptor).map_or(NEVER, |known| known.first_end.load(Ordering::Relaxed));
    end & IS_KNOWN != 0 && taken(descriptor) >= end & !IS_KNOWN
}

/// What is known of the end of the first command when more bytes come behind so many others.
fn first_end(mut known: u64, before: u64, bytes: &[u8]) -> u64 {
    for (at, &byte) in (before..LONG_HEAD_END).zip(bytes) {
        let length = (known & !IS_LONG) << 8 | u64::from(byte);
        known = match at {
            ..GREETING_BYTES => continue,
            _ if known & IS_KNOWN != 0 => break,
            GREETING_BYTES if byte & FLAG_COMMAND == 0 => NEVER,
            GREETING_BYTES if byte & FLAG_LONG != 0 => IS_LONG,
            GREETING_BYTES => 0,
            _ if known & IS_LONG == 0 => IS_KNOWN | (at + 1 + length),
            // No command has so many bytes.
            _ if length > u64::from(u32::MAX) => NEVER,
            _ if at + 1 < LONG_HEAD_END => IS_LONG | length,
            _ => IS_KNOWN | (LONG_HEAD_END + length),
        };
    }
    known
}

impl Known {
    /// All zeros, which take no place in the program's file.
    const fn nothing() -> Self {
        Self { brought: AtomicU64::new(0), first_end: AtomicU64::new(0), twin: AtomicI32::new(0) }
    }

    fn of(descriptor: RawFd) -> Option<&'static Self> {
        ALL.get(usize::try_from(descriptor).ok()?)
    }
}

/// Takes the place of libc's function of this name.
///
/// # Safety
/// As accept4(2): `address` and `length` are null, or point to a buffer and to its length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn accept4(
    listener: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
    flags: c_int,
) -> c_int {
    // SAFETY: what the caller promises is what the system call asks for.
    let accepted = unsafe { libc::syscall(libc::SYS_accept4, listener, address, length, flags) };
    let accepted = accepted as c_int;
    let Some(bound) = bounds().iter().find(|bound| bound.listener == listener).cloned() else {
        return accepted;
    };
    if accepted < 0 {
        let error = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EAGAIN);
        if error == libc::EMFILE || error == libc::ENFILE {
            // SAFETY: no descriptors are given, so that the call only waits.
            unsafe { libc::poll(ptr::null_mut(), 0, PAUSE_MS) };
        }
        return failure(error);
    }
    if bound.open.fetch_add(1, Ordering::Relaxed) >= bound.most.load(Ordering::Relaxed) {
        bound.open.fetch_sub(1, Ordering::Relaxed);
        close(accepted);
        return failure(NO_PLACE);
    }
    let own = duplicate(accepted).ok();
    let twin = own.as_ref().map_or(NO_TWIN, |own| own.as_raw_fd());
    if let Some(twin) = Known::of(twin) {
        twin.brought.store(0, Ordering::Relaxed);
    }
    if let Some(known) = Known::of(accepted) {
        known.twin.store(twin, Ordering::Relaxed);
        known.first_end.store(0, Ordering::Relaxed);
        known.brought.store(IS_COUNTED | IS_NEW, Ordering::Relaxed);
    }
    locked(&bound.accepted).push_back((accepted, own));
    accepted
}

/// Takes the place of libc's function of this name.
///
/// # Safety
/// As recv(2): `buffer` has room for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn recv(
    descriptor: c_int,
    buffer: *mut c_void,
    length: usize,
    flags: c_int,
) -> isize {
    let (address, no_length) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: what the caller promises is what recvfrom asks for, and no address is wanted.
    let count = unsafe { libc::recvfrom(descriptor, buffer, length, flags, address, no_length) };
    let Some(Known { brought, first_end: end, .. }) = Known::of(descriptor) else { return count };
    let before = brought.load(Ordering::Relaxed);
    if before & IS_COUNTED == 0 || count <= 0 || flags & libc::MSG_PEEK != 0 {
        return count;
    }
    brought.fetch_add(count as u64, Ordering::Relaxed);
    if before & BYTES >= LONG_HEAD_END {
        return count;
    }
    // SAFETY: the kernel has just written so many bytes there.
    let first = unsafe { std::slice::from_raw_parts(buffer.cast::<u8>(), count as usize) };
    end.store(first_end(end.load(Ordering::Relaxed), before & BYTES, first), Ordering::Relaxed);
    if before & IS_NEW != 0 {
        brought.fetch_and(!IS_NEW, Ordering::Relaxed);
        if let Some(foreign) = recognise(first) {
            note_foreign(descriptor, foreign);
            return failure(libc::ECONNRESET) as isize;
        }
    }
    count
}

/// What the first bytes of a connection begin, if it is no ZeroMQ: that begins with 0xff and has an
/// odd byte nine bytes on, or in its oldest version begins with the length of a name and a zero.
fn recognise(first: &[u8]) -> Option<Foreign> {
    const METHODS: [&[u8]; 8] =
        [b"GET ", b"POST ", b"HEAD ", b"PUT ", b"OPTIONS ", b"DELETE ", b"PATCH ", b"CONNECT "];
    if METHODS.iter().any(|method| first.starts_with(method)) || first.starts_with(b"PRI * HTTP") {
        return Some(Foreign::Http);
    }
    // RFC 8446 §5.1: a record of the handshake.
    if first.starts_with(&[0x16, 3]) {
        return Some(Foreign::Tls);
    }
    let is_zeromq = match first {
        [0xff, rest @ ..] => rest.get(8).is_none_or(|byte| byte & 1 == 1),
        [length, rest @ ..] => *length > 0 && rest.first().is_none_or(|&flags| flags == 0),
        [] => true,
    };
    (!is_zeromq).then_some(Foreign::Other)
}

/// What a function gives that failed, with its reason where the caller looks for it.
fn failure(error: c_int) -> c_int {
    // SAFETY: the function only says where the place is.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: it is this thread's own, as long as the thread lives.
    unsafe { *place = error };
    -1
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd as _;

    use super::*;

    #[test]
    fn a_listener_has_no_more_connections_than_its_door_lets_in() {
        assert!(is_in_force());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let door = Door::new(listener.as_raw_fd(), 2);
        let clients: Vec<_> =
            std::iter::repeat_with(|| TcpStream::connect(listener.local_addr().unwrap()).unwrap())
                .take(6)
                .collect();
        let first = listener.accept().unwrap();
        let second = listener.accept().unwrap();
        let refused = listener.accept().unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(NO_PLACE));
        assert!(matches!((&clients[2]).read(&mut [0]), Ok(0) | Err(_)), "it is closed");
        leave(second.0.as_raw_fd());
        drop(second);
        door.set_open(1);
        let third = listener.accept().unwrap();
        door.close();
        assert_eq!(listener.accept().unwrap_err().raw_os_error(), Some(NO_PLACE));
        drop(door);
        let fourth = listener.accept().unwrap();
        for accepted in [first, third, fourth] {
            leave(accepted.0.as_raw_fd());
        }
    }

    #[test]
    fn connections_that_had_the_same_descriptor_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let door = Door::new(listener.as_raw_fd(), 9);
        let come_and_go = |stays: bool| {
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (accepted, address) = listener.accept().unwrap();
            // Others of this process may take a number that is free.
            let fd = accepted.as_raw_fd();
            if stays {
                std::mem::forget(accepted);
            } else {
                leave(fd);
            }
            (fd, address, client)
        };
        let clients: Vec<_> = (0..5).map(|number| come_and_go(number == 3)).collect();
        for (number, (fd, address, _)) in clients.iter().enumerate() {
            if number == 1 && *fd != clients[2].0 {
                // libzmq gave this one up; it is passed over, as the next has another number.
                continue;
            }
            let own = TcpStream::from(door.take(*fd).unwrap());
            assert_eq!(own.peer_addr().unwrap(), *address);
        }
        assert!(door.take(clients[0].0).is_none());
        close(clients[3].0);
    }

    #[test]
    fn the_first_command_is_known_however_its_bytes_come() {
        let ready = |flags: &[u8]| [&[0xff; 64], flags, b"\x05READY"].concat();
        for (bytes, end) in [
            (ready(&[4, 6]), IS_KNOWN | 72),
            (ready(&[6, 0, 0, 0, 0, 0, 0, 1, 2]), IS_KNOWN | (73 + 258)),
            (ready(&[6, 0, 0, 0, 1, 0, 0, 1, 2]), NEVER),
            (ready(&[0, 6]), NEVER),
            (vec![0xff; 64], 0),
        ] {
            for step in [1, 2, 3, 5, 64, 65, 66, 100] {
                let chunks = bytes.chunks(step).scan(0, |before, chunk| {
                    *before += chunk.len() as u64;
                    Some((*before - chunk.len() as u64, chunk))
                });
                let known =
                    chunks.fold(0, |known, (before, chunk)| first_end(known, before, chunk));
                assert_eq!(known, end, "in steps of {step}: {bytes:?}");
            }
        }
    }

    #[test]
    fn what_accepted_connections_bring_is_counted_and_what_is_foreign_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let door = Door::new(listener.as_raw_fd(), 99);
        let mut buffer = [0; 64];
        for (first, foreign) in [
            (&b"\xff\0\0\0\0\0\0\0\x01\x7f"[..], None),
            (b"\x01\0", None),
            (b"GET / HTTP/1.1\r\n", Some(Foreign::Http)),
            (b"PRI * HTTP/2.0\r\n", Some(Foreign::Http)),
            (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", Some(Foreign::Tls)),
            (b"\xff\0\0", None),
            (b"\xff\0\0\0\0\0\0\0\x01\x7e", Some(Foreign::Other)),
            (b"\x05", None),
            (b"\x05\x01", Some(Foreign::Other)),
            (b"\0\0", Some(Foreign::Other)),
            (b"SSH-2.0-OpenSSH", Some(Foreign::Other)),
        ] {
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut accepted, _) = listener.accept().unwrap();
            let fd = accepted.as_raw_fd();
            let own = door.take(fd).unwrap();
            let spoken = || super::foreign(own.as_raw_fd());
            assert_eq!((taken(fd), spoken()), (0, None));
            client.write_all(first).unwrap();
            let read = accepted.read(&mut buffer);
            assert_eq!(read.is_err(), foreign.is_some());
            assert_eq!((taken(fd), spoken()), (first.len() as u64, foreign));
            client.write_all(b"GET ").unwrap();
            accepted.read_exact(&mut buffer[..4]).unwrap();
            assert_eq!((taken(fd), spoken()), (first.len() as u64 + 4, foreign));
            // The next that is accepted may have its descriptor.
            leave(fd);
            drop(accepted);
            let _next = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (next, _) = listener.accept().unwrap();
            assert_eq!(spoken(), foreign);
            // Nobody asks for it later, when others may have its descriptor.
            assert!(door.take(next.as_raw_fd()).is_some());
            leave(next.as_raw_fd());
        }
        // Whoever has a descriptor behind libzmq says what it likes.
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut accepted, _) = listener.accept().unwrap();
        leave(accepted.as_raw_fd());
        client.write_all(b"GET ").unwrap();
        accepted.read_exact(&mut buffer[..4]).unwrap();
        let own = std::iter::from_fn(|| door.take(accepted.as_raw_fd())).last().unwrap();
        assert_eq!((taken(accepted.as_raw_fd()), foreign(own.as_raw_fd())), (0, None));
    }
}
