//! Every failed request is answered with `{"error": {"code", "message"}}`.
//!
//! The code is stable and meant for programs; the message is for people. The statuses that an
//! error can have stand in this file only.

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::api::answers::RequestError;
use crate::model::CommandError;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// No such path.
    #[error("there is nothing at this path")]
    NotFound,
    /// The path exists, but not with this method.
    #[error("this path does not support the method of the request")]
    MethodNotAllowed,
    /// What is asked for is at the public address.
    #[error("this is the internal address: WebSocket clients connect to {0}")]
    WrongDoor(String),
    /// The `Host` header names neither localhost nor an address.
    #[error("the Host header must be localhost or an IP address")]
    ForeignHost,
    /// The same, where an option allows other names.
    #[error("the Host header must be localhost or an IP address, or internal.allow_remote be set")]
    RemoteHost,
    /// The `Origin` header is of another site than the page.
    #[error("requests from pages of other origins are refused")]
    ForeignOrigin,
    /// The `Content-Type` header is not that of JSON.
    #[error("the Content-Type header must be application/json")]
    NotJson,
    /// The body is larger than accepted.
    #[error(
        "the body must not exceed {0} bytes: that is api.message_bytes_max, which is at most half \
         of slow.lag_bytes_max where it is not set"
    )]
    TooLarge(usize),
    /// The body did not arrive in time.
    #[error("the body did not arrive in time")]
    BodyTimeout,
    /// The body ended early, or its chunks are not what they say.
    #[error("the body ended early, or its chunks are malformed")]
    BodyIncomplete,
    /// The body is not a valid request.
    #[error("{0}")]
    Invalid(String),
    /// The public address took a connection and said nothing.
    #[error("the public address does not answer")]
    Silent,
    /// The edge is shutting down.
    #[error("the edge is draining and takes no more commands")]
    Draining,
    /// The command reached no shard, or a shard refused it, or did not answer in time.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// As many requests to the API as may be are under way.
    #[error("too many requests are under way, nothing was done: try again later")]
    TooMany,
    /// As much memory is taken by answers as may be.
    #[error("answers that are not read take all memory that there is for them: try again later")]
    NoRoom,
    /// The edge itself failed.
    #[error("the edge failed to answer")]
    Failed,
}

impl ApiError {
    /// The status of the response.
    pub(super) fn status(&self) -> StatusCode {
        self.status_and_code().0
    }

    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::WrongDoor(_) => (StatusCode::NOT_FOUND, "wrong_door"),
            Self::ForeignHost | Self::RemoteHost => (StatusCode::FORBIDDEN, "foreign_host"),
            Self::ForeignOrigin => (StatusCode::FORBIDDEN, "foreign_origin"),
            Self::NotJson => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::BodyTimeout => (StatusCode::REQUEST_TIMEOUT, "request_timeout"),
            Self::BodyIncomplete => (StatusCode::BAD_REQUEST, "incomplete"),
            Self::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid"),
            Self::Draining | Self::Request(RequestError::Refused(CommandError::Draining)) => {
                (StatusCode::SERVICE_UNAVAILABLE, "draining")
            }
            Self::Request(RequestError::Overloaded) => {
                (StatusCode::SERVICE_UNAVAILABLE, "overloaded")
            }
            Self::Request(RequestError::Timeout) => (StatusCode::GATEWAY_TIMEOUT, "timeout"),
            Self::Request(RequestError::Refused(CommandError::UnknownClient)) => {
                (StatusCode::NOT_FOUND, "unknown_client")
            }
            Self::Request(RequestError::Refused(CommandError::ChannelLimit)) => {
                (StatusCode::CONFLICT, "channel_limit")
            }
            Self::Request(RequestError::Refused(error)) => (StatusCode::BAD_REQUEST, error.code()),
            Self::Silent => (StatusCode::GATEWAY_TIMEOUT, "silent"),
            Self::TooMany | Self::NoRoom => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
            Self::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code) = self.status_and_code();
        let body = json!({ "error": { "code": code, "message": self.to_string() } });
        let mut response = (status, Json(body)).into_response();
        if matches!(self, Self::Request(RequestError::Overloaded)) {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
