//! Why a request failed: `{"code", "message"}`, with the codes of the client protocol. Messages
//! begin with the protocol's words, which published clients compare, and go on with the cause.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::model::{ChannelName, ClientError, CommandError};
use crate::protocol::DecodeError;

/// Longest message in bytes. What a body says may stand in it.
const MESSAGE_BYTES_MAX: usize = 300;

/// A failed request: a code for programs and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The kind of failure.
    pub error: ClientError,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Fault {
    /// A failure of some kind.
    pub fn new(error: ClientError, cause: impl fmt::Display) -> Self {
        let mut message = format!("{}: {cause}", error.message());
        if message.len() > MESSAGE_BYTES_MAX {
            message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
            message.push('…');
        }
        Self { error, message }
    }

    /// The body says something that it must not.
    pub(super) fn bad(cause: impl fmt::Display) -> Self {
        Self::new(ClientError::BadRequest, cause)
    }

    /// A command was refused, in a channel if it is about one.
    pub fn of(error: CommandError, channel: Option<&ChannelName>) -> Self {
        let kind = match error {
            CommandError::UnknownClient => ClientError::BadRequest,
            CommandError::ChannelLimit | CommandError::SubscriberLimit | CommandError::TooLarge => {
                ClientError::LimitExceeded
            }
            CommandError::UnknownNamespace => ClientError::UnknownChannel,
            CommandError::NoHistory | CommandError::NoPresence => ClientError::NotAvailable,
            CommandError::UnrecoverablePosition(_) => ClientError::UnrecoverablePosition,
            CommandError::Draining => ClientError::TooManyRequests,
        };
        match channel {
            Some(channel) => Self::new(kind, error.in_channel(channel)),
            None => Self::new(kind, error),
        }
    }
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        let kind = match error {
            DecodeError::TooManyChannels => ClientError::LimitExceeded,
            _ => ClientError::BadRequest,
        };
        Self::new(kind, error)
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::bad(format!("the body is not what the method takes: {error}"))
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Body<'a> {
            code: u32,
            message: &'a str,
        }
        Body { code: self.error.code(), message: &self.message }.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_bounded() {
        let fault = Fault::bad("ä".repeat(1000));
        assert!(fault.message.len() <= MESSAGE_BYTES_MAX + '…'.len_utf8());
        assert!(fault.message.ends_with("ä…"));
        let body = serde_json::to_string(&Fault::bad("x")).unwrap();
        assert_eq!(body, r#"{"code":107,"message":"bad request: x"}"#);
    }
}
