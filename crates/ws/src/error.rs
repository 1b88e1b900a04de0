//! What a client can do wrong after the opening handshake, and the close code it gets for it.
//!
//! RFC 6455 section 7.1.7 asks an endpoint to *fail the connection* on any of these: send one
//! close frame with [`Error::close_code`] and read no further. There is no recoverable variant.

use crate::close::CloseCode;

/// A violation of RFC 6455 or of a limit by the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.reason())]
pub enum Error {
    /// A reserved bit is set though no extension was negotiated (section 5.2).
    ReservedBits,
    /// The opcode is 0x3 to 0x7 or 0xB to 0xF (section 5.2).
    ReservedOpcode,
    /// The payload length is not encoded in the fewest bytes (section 5.2).
    NonMinimalLength,
    /// The most significant bit of a 64-bit payload length is set (section 5.2).
    LengthOverflow,
    /// A control frame has no fin bit (section 5.5).
    ControlFragmented,
    /// A control frame claims more than 125 bytes of payload (section 5.5).
    ControlTooLong,
    /// A client sent a frame without a mask (section 5.1).
    Unmasked,
    /// A continuation frame arrived while no fragmented message was open (section 5.4).
    ContinuationUnexpected,
    /// A text or binary frame arrived inside a fragmented message (section 5.4).
    ContinuationExpected,
    /// The message would exceed `Limits::message_bytes_max`, by the length its header claims.
    MessageTooBig,
    /// The message has more frames than `Limits::fragments_max`.
    FragmentsTooMany,
    /// A text message can no longer become valid UTF-8 (section 8.1).
    TextNotUtf8,
    /// A close payload of one byte: it has no room for a code (section 5.5.1).
    CloseTruncated,
    /// A close code that must not be on the wire (section 7.4).
    CloseCodeInvalid,
    /// A close reason that is not UTF-8 (sections 5.5.1 and 8.1).
    CloseReasonNotUtf8,
}

impl Error {
    /// The close code the peer is told: a total function, so each error has its consequence here.
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::ReservedBits
            | Self::ReservedOpcode
            | Self::NonMinimalLength
            | Self::LengthOverflow
            | Self::ControlFragmented
            | Self::ControlTooLong
            | Self::Unmasked
            | Self::ContinuationUnexpected
            | Self::ContinuationExpected
            | Self::CloseTruncated
            | Self::CloseCodeInvalid => CloseCode::PROTOCOL_ERROR,
            // RFC 6455 §8.1 and §7.4.1: data inconsistent with the type of the message.
            Self::TextNotUtf8 | Self::CloseReasonNotUtf8 => CloseCode::INVALID_PAYLOAD,
            Self::MessageTooBig => CloseCode::MESSAGE_TOO_BIG,
            Self::FragmentsTooMany => CloseCode::POLICY_VIOLATION,
        }
    }

    /// A few words for the close frame and the log.
    pub fn reason(self) -> &'static str {
        match self {
            Self::ReservedBits => "reserved bit set",
            Self::ReservedOpcode => "reserved opcode",
            Self::NonMinimalLength => "payload length not minimal",
            Self::LengthOverflow => "payload length exceeds 63 bits",
            Self::ControlFragmented => "fragmented control frame",
            Self::ControlTooLong => "control frame over 125 bytes",
            Self::Unmasked => "frame not masked",
            Self::ContinuationUnexpected => "continuation without a message",
            Self::ContinuationExpected => "new message inside a fragmented one",
            Self::MessageTooBig => "message too big",
            Self::FragmentsTooMany => "too many fragments",
            Self::TextNotUtf8 => "text is not UTF-8",
            Self::CloseTruncated => "close payload of one byte",
            Self::CloseCodeInvalid => "invalid close code",
            Self::CloseReasonNotUtf8 => "close reason is not UTF-8",
        }
    }
}
