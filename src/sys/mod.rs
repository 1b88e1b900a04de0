//! What the system below offers: the few calls that no crate wraps safely, and the check that the
//! kernel can carry the edge at all. Unsafe code outside the kernels of `ws` lives here.

pub mod host;
