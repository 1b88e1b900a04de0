//! The program's allocator, counting, for benches that print allocations beside time.
#![allow(unsafe_code, reason = "a global allocator is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicU64, Ordering};

use mimalloc::MiMalloc;

struct CountingAllocator;

static ALLOCATION_COUNT: AtomicU64 = AtomicU64::new(0);
static ALLOCATION_BYTES: AtomicU64 = AtomicU64::new(0);
static FREED_BYTES: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to `MiMalloc` with the arguments unchanged.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATION_COUNT.fetch_add(1, Ordering::Relaxed);
        ALLOCATION_BYTES.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`, which is that of `MiMalloc`.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        FREED_BYTES.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the pointer came from `alloc` above, hence from `MiMalloc`.
        unsafe { MiMalloc.dealloc(pointer, layout) }
    }

    // In place where that is possible, as every allocator does it. It counts as an allocation.
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATION_COUNT.fetch_add(1, Ordering::Relaxed);
        ALLOCATION_BYTES.fetch_add(size as u64, Ordering::Relaxed);
        FREED_BYTES.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the pointer came from `alloc` above, hence from `MiMalloc`, and the caller keeps
        // the contract of `realloc`, which is that of `MiMalloc`.
        unsafe { MiMalloc.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// What was allocated, over all threads and as it was asked for: allocators round sizes up.
#[derive(Clone, Copy)]
pub(crate) struct Allocations {
    /// How often.
    pub(crate) count: u64,
    /// How many bytes.
    pub(crate) bytes: u64,
    /// How many bytes more than before are still in use; less than none if they are fewer.
    pub(crate) kept: i64,
}

impl Allocations {
    /// Those that something makes.
    pub(crate) fn of(run: impl FnOnce()) -> Self {
        let before = Self::so_far();
        run();
        let now = Self::so_far();
        Self {
            count: now.count - before.count,
            bytes: now.bytes - before.bytes,
            kept: now.kept - before.kept,
        }
    }

    fn so_far() -> Self {
        let bytes = ALLOCATION_BYTES.load(Ordering::Relaxed);
        let kept = bytes as i64 - FREED_BYTES.load(Ordering::Relaxed) as i64;
        Self { count: ALLOCATION_COUNT.load(Ordering::Relaxed), bytes, kept }
    }
}

/// Runs something once and prints what it allocated.
pub(crate) fn print_allocations(name: &str, run: impl FnOnce()) {
    let Allocations { count, bytes, kept } = Allocations::of(run);
    println!("{name}: {count} allocations, {bytes} bytes, {kept} of them kept");
}
