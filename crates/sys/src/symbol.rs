//! Functions of libc that this program has of its own, because libzmq calls them (`epoll`,
//! `incoming`): what they have in common.

use std::ffi::{CStr, c_void};
use std::ptr;

/// Descriptors that are looked after: as many as a process can have by default (`fs.nr_open`).
pub(super) const DESCRIPTORS: usize = 1 << 20;

/// Whether whoever calls a function by its name gets this one and not that of libc.
pub(super) fn is_ours(name: &CStr, ours: *const c_void) -> bool {
    // SAFETY: the name is a C string, and looking a symbol up changes nothing.
    ptr::eq(unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }, ours)
}
