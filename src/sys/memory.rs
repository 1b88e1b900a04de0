//! Giving memory back to the system.

/// Returns what the allocator holds free for the calling thread. It does so by itself in the course
/// of later work, but a thread that has just become idle has no later work.
pub fn give_back() {
    // SAFETY: the call may be made on any thread at any time; it frees only what is free already.
    unsafe { libmimalloc_sys::mi_collect(true) };
}
