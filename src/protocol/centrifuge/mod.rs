//! The Centrifuge client protocol, which published SDKs speak, in JSON and in protobuf.
//!
//! Text frames hold JSON objects joined by line feeds, binary frames hold protobuf messages, each
//! behind its length as a varint. Both become the same [`Request`]s, and both are made of the same
//! [`Reply`]s and pushes, as complete WebSocket frames. Nothing here knows sockets or channels'
//! state.
//!
//! Names and numbers of fields are those of the schema that the SDKs are published with; commands
//! are described in `schema`, replies and pushes in `encode`.
//!
//! To protobuf clients a payload goes as it was published. To JSON clients it goes
//!
//! - as it is, with spaces for line feeds, if it is JSON that all SDKs can read: numbers fit a
//!   double, escaped surrogates come in pairs, and it nests at most 100 levels;
//! - as a string if it is other UTF-8;
//! - as a string of base64 if it is anything else, which a publication gives away by the tag
//!   `tidegate.encoding` with the value `base64`.
//!
//! [`Reply`]: crate::model::Reply

mod encode;
mod error;
mod payload;
mod request;
mod schema;
mod writer;

pub(in crate::protocol) use payload::is_json;

pub use encode::{encode_personal_push, encode_push, encode_reply, ping_frame};
pub use request::{
    ConnectRequest, HistoryRequest, Method, Request, RequestError, Requests, SubscribeRequest,
    decode_requests, resume_requests,
};
