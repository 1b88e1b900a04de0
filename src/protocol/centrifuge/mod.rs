//! The Centrifuge client protocol, which published SDKs speak, in JSON and in protobuf.
//!
//! Text frames hold JSON objects joined by line feeds, binary frames hold protobuf messages, each
//! behind its length as a varint. Both become the same [`Request`]s, and both are made of the same
//! [`Reply`]s and pushes, as complete WebSocket frames. Nothing here knows sockets or channels'
//! state.

mod reply;
mod request;

pub use reply::{
    ClientError, ConnectResult, PersonalPush, Reply, SubscribeResult, encode_personal_push,
    encode_push, encode_reply, ping_frame,
};
pub use request::{
    ConnectRequest, HistoryRequest, Method, PositionClaim, Request, RequestError, Requests,
    SubscribeRequest, decode_requests,
};
