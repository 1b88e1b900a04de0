//! Giving memory back to the system.

/// The least size of a page; where pages are larger, the kernel refuses other places unharmed.
const PAGE_BYTES: usize = 4096;

/// Returns what the allocator holds free for the calling thread. It does so by itself in the course
/// of later work, but a thread that has just become idle has no later work.
pub fn give_back() {
    // SAFETY: the call may be made on any thread at any time; it frees only what is free already.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

/// The same for what C libraries hold free, such as libzmq.
pub fn give_back_all() {
    give_back();
    #[cfg(target_env = "gnu")]
    // SAFETY: the call may be made on any thread at any time; it frees only what is free already.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Returns the memory behind the last element of a table, which keeps its place. An allocator
/// keeps a freed table of less than a few megabytes for the next one.
pub fn give_back_spare<T>(table: &mut Vec<T>) {
    let spare = table.spare_capacity_mut();
    let (start, bytes) = (spare.as_mut_ptr().cast::<u8>(), size_of_val(spare));
    let before_page = start.align_offset(PAGE_BYTES);
    let bytes = bytes.saturating_sub(before_page) / PAGE_BYTES * PAGE_BYTES;
    if bytes > 0 {
        let page = start.wrapping_add(before_page).cast();
        // SAFETY: the pages lie wholly inside a place that is ours and holds no value. They read
        // as zero from now on, and nobody reads them before writing.
        unsafe { libc::madvise(page, bytes, libc::MADV_DONTNEED) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_stay_and_what_is_behind_them_goes() {
        let mut table: Vec<u64> = (0..100_000).collect();
        table.truncate(3000);
        give_back_spare(&mut table);
        assert!(table.iter().copied().eq(0..3000));
        assert!(table.capacity() >= 100_000);
        let last = table.spare_capacity_mut().last_mut().unwrap();
        *last = std::mem::MaybeUninit::new(7);
        table.extend(3000..100_000);
        assert!(table.iter().copied().eq(0..100_000));
        give_back_spare(&mut Vec::<u64>::new());
        give_back_spare(&mut Vec::<u64>::with_capacity(3));
    }
}
