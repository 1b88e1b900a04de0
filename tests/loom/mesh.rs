//! As the server has it.

mod sync {
    pub(super) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
}
#[path = "../../src/mesh/doze.rs"]
pub(crate) mod doze;
#[path = "../../src/mesh/flow.rs"]
pub(crate) mod flow;
