//! Errors by the protocol's own codes and words.
//!
//! SDKs try again what is temporary, and fetch a new token for the code 109 in the reply to
//! `connect` or `subscribe`. Anything else is final to them: it ends the connection (`connect`,
//! `refresh`) or the subscription (`subscribe`, `sub_refresh`) until the application begins anew.

use crate::model::ClientError;

impl ClientError {
    /// The protocol's number.
    pub fn code(self) -> u32 {
        match self {
            Self::Internal => 100,
            Self::Unauthorized => 101,
            Self::UnknownChannel => 102,
            Self::PermissionDenied | Self::NotSubscribed => 103,
            Self::MethodNotFound => 104,
            Self::AlreadySubscribed => 105,
            Self::LimitExceeded | Self::ChannelFull => 106,
            Self::BadRequest => 107,
            Self::NotAvailable => 108,
            Self::TokenExpired | Self::RenewalExpired => 109,
            Self::Expired => 110,
            Self::TooManyRequests => 111,
            Self::UnrecoverablePosition => 112,
        }
    }

    /// The protocol's words.
    pub fn message(self) -> &'static str {
        match self {
            Self::Internal => "internal server error",
            Self::Unauthorized => "unauthorized",
            Self::UnknownChannel => "unknown channel",
            Self::PermissionDenied | Self::NotSubscribed => "permission denied",
            Self::MethodNotFound => "method not found",
            Self::AlreadySubscribed => "already subscribed",
            Self::LimitExceeded | Self::ChannelFull => "limit exceeded",
            Self::BadRequest => "bad request",
            Self::NotAvailable => "not available",
            Self::TokenExpired | Self::RenewalExpired => "token expired",
            Self::Expired => "expired",
            Self::TooManyRequests => "too many requests",
            Self::UnrecoverablePosition => "unrecoverable position",
        }
    }
}
