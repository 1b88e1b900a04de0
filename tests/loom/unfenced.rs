//! The same without its fences.

mod sync {
    pub(super) use loom::sync::atomic::{AtomicBool, Ordering};

    pub(super) fn fence(_: Ordering) {}
}
#[path = "../../src/mesh/doze.rs"]
pub(crate) mod doze;
