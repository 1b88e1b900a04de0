//! An allocator that counts, for benches that print allocations beside time.
#![allow(unsafe_code, reason = "a global allocator is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

struct CountingAllocator;

static ALLOCATION_COUNT: AtomicU64 = AtomicU64::new(0);
static ALLOCATION_BYTES: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to `System` with the arguments unchanged.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATION_COUNT.fetch_add(1, Ordering::Relaxed);
        ALLOCATION_BYTES.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`, which is that of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above, hence from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Runs something once and prints what it allocated, over all threads.
pub(crate) fn print_allocations(name: &str, run: impl FnOnce()) {
    let before =
        (ALLOCATION_COUNT.load(Ordering::Relaxed), ALLOCATION_BYTES.load(Ordering::Relaxed));
    run();
    let count = ALLOCATION_COUNT.load(Ordering::Relaxed) - before.0;
    let bytes = ALLOCATION_BYTES.load(Ordering::Relaxed) - before.1;
    println!("{name}: {count} allocations, {bytes} bytes");
}
