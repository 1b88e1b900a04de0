//! The forms in which backends and clients say things and hear them, to and from `model`.
//!
//! Everything here is pure functions. The same [`Command`] comes out of every entrance (ZeroMQ in
//! `decode`, HTTP in `http_api`), so that there is one meaning for each operation.
//!
//! [`Command`]: crate::model::Command

mod argument;
pub mod centrifuge;
mod decode;
mod encode;
mod frame;
pub mod http_api;
mod meta;
mod refusal;
mod value;

pub use argument::{DISCONNECT_CODE, DISCONNECT_REASON};
pub use decode::{COMMAND_TOPIC, Decoded, decode_parts};
pub use encode::{Accepted, EncodedEvent, encode_answer, encode_event};
pub use meta::RequestId;
pub use refusal::{DecodeError, LABEL_BYTES_MAX, META_BYTES_MAX, Malformed, REASON_BYTES_MAX};
