//! The HTTP/1.1 that a public door needs: one request head in, one response out (sans-IO).
//!
//! - [`request`]: the head of an opening handshake, with its limits.
//! - [`handshake`]: the server's side of the opening handshake (RFC 6455 section 4.2); `origin`:
//!   which pages may open one (section 10.2).
//! - [`host`]: which names of a host are this machine's own.
//! - [`uri`]: path segments and query pairs, percent-decoded.
//! - [`refusal`]: every way to say no, each with a sentence that helps.
//!
//! Not here: bodies, keep-alive, pipelining (no public door needs them); the internal API is a
//! library's business (`api`).

pub mod handshake;
pub mod host;
mod origin;
pub mod refusal;
pub mod request;
pub mod uri;

pub use origin::OriginPolicy;
pub use refusal::{About, Refusal, write_response};
pub use request::Head;
