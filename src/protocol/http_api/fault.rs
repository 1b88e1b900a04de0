//! Why a request failed: `{"code", "message"}`, with the codes of the client protocol.

use serde::{Serialize, Serializer};

use crate::protocol::centrifuge::ClientError;
use crate::protocol::{CommandError, DecodeError};

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
    pub fn new(error: ClientError, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MESSAGE_BYTES_MAX {
            message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
            message.push('…');
        }
        Self { error, message }
    }

    /// The body says something that it must not.
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(ClientError::BadRequest, message)
    }
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        let kind = match error {
            DecodeError::TooManyChannels => ClientError::LimitExceeded,
            _ => ClientError::BadRequest,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::bad(format!("the body is not what the method takes: {error}"))
    }
}

impl From<CommandError> for Fault {
    fn from(error: CommandError) -> Self {
        let kind = match error {
            CommandError::UnknownClient => ClientError::BadRequest,
            CommandError::ChannelLimit | CommandError::SubscriberLimit | CommandError::TooLarge => {
                ClientError::LimitExceeded
            }
            CommandError::UnknownNamespace => ClientError::UnknownChannel,
            CommandError::NotAvailable => ClientError::NotAvailable,
            CommandError::UnrecoverablePosition(_) => ClientError::UnrecoverablePosition,
            CommandError::Draining => ClientError::TooManyRequests,
        };
        Self::new(kind, error.to_string())
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
        assert_eq!(body, r#"{"code":107,"message":"x"}"#);
    }
}
