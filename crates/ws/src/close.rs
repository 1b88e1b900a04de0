//! Close codes and close frames (RFC 6455 sections 5.5.1 and 7.4).
//!
//! Client SDKs decide by the code whether to reconnect (3000 to 3499 and 4000 to 4499: yes;
//! 3500 to 3999 and 4500 to 4999: no), so the numbers are Centrifugo's. Some SDKs first try to
//! parse the reason as JSON and act on what they find; a reason of ours never is valid JSON.
//! An empty reply to an empty close frame is `encode_frame(Opcode::Close, &[], out)`.

use crate::Error;
use crate::frame::{CONTROL_PAYLOAD_BYTES_MAX, Opcode, encode_frame};

/// RFC 6455 §5.5 minus the two bytes of the code.
pub const REASON_BYTES_MAX: usize = CONTROL_PAYLOAD_BYTES_MAX - 2;

/// What makes a reason unparsable as JSON when it looked like JSON.
const NOT_JSON: &str = "reason: ";

/// The number a close frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u16);

#[rustfmt::skip]
impl CloseCode {
    /// The purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// An endpoint goes away: a server that stops, a page that is left.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the framing protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// The peer sent a kind of data this endpoint does not take.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// Text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// A breach of this server's policy that has no code of its own.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// A message over the limit.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// An unexpected condition in this server.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// This server restarts (registered with IANA): reconnect after a random delay.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// This server is overloaded (registered with IANA).
    pub const TRY_AGAIN_LATER: Self = Self(1013);

    /// This server drains; reconnect.
    pub const SHUTDOWN: Self = Self(3001);
    /// A failure in this server; reconnect.
    pub const SERVER_ERROR: Self = Self(3004);
    /// The connection's token has expired; reconnect with a new one.
    pub const EXPIRED: Self = Self(3005);
    /// A subscription's token has expired; reconnect.
    pub const SUBSCRIPTION_EXPIRED: Self = Self(3006);
    /// The client reads slower than its limits allow; reconnect and recover.
    pub const SLOW: Self = Self(3008);
    /// A write to the socket failed.
    pub const WRITE_ERROR: Self = Self(3009);
    /// The position of a subscription was lost; reconnect and recover.
    pub const INSUFFICIENT_STATE: Self = Self(3010);
    /// A backend asked for a reconnect.
    pub const FORCE_RECONNECT: Self = Self(3011);
    /// No pong in time.
    pub const NO_PONG: Self = Self(3012);
    /// Too many requests.
    pub const TOO_MANY_REQUESTS: Self = Self(3013);

    /// The token is invalid; do not reconnect.
    pub const INVALID_TOKEN: Self = Self(3500);
    /// The client sent something that is not a request.
    pub const BAD_REQUEST: Self = Self(3501);
    /// No connect request in time.
    pub const STALE: Self = Self(3502);
    /// A backend ended the connection for good.
    pub const FORCE_NO_RECONNECT: Self = Self(3503);
    /// Too many connections.
    pub const CONNECTION_LIMIT: Self = Self(3504);
    /// Too many channels.
    pub const CHANNEL_LIMIT: Self = Self(3505);
    /// The client speaks another protocol than this endpoint.
    pub const INAPPROPRIATE_PROTOCOL: Self = Self(3506);
    /// The client may not do this.
    pub const PERMISSION_DENIED: Self = Self(3507);
    /// The feature is off.
    pub const NOT_AVAILABLE: Self = Self(3508);
    /// Too many errors.
    pub const TOO_MANY_ERRORS: Self = Self(3509);

    /// No connect request in time; reconnect. The protocol's own code for this (3502) is final to
    /// SDKs, of which some open their connection before they ask the application for a token.
    pub const CONNECT_TIMEOUT: Self = Self(4408);
    /// No room for one more connection; reconnect. The protocol's own code (3504) is final to SDKs,
    /// and often the room is taken by the client's own connection, lost and not yet missed.
    pub const NO_ROOM: Self = Self(4429);

    /// Another connection took this session over; do not reconnect.
    pub const SESSION_EVICTED: Self = Self(4501);

    /// True exactly when the code may be in a close frame (RFC 6455 §7.4.1, §7.4.2 and IANA).
    pub fn is_valid_on_wire(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

/// Appends a whole close frame, with `reason` as [`sanitize_reason`] leaves it.
pub fn encode_close(code: CloseCode, reason: &str, out: &mut Vec<u8>) {
    debug_assert!(code.is_valid_on_wire(), "{code:?} must not be sent");
    let mut payload = [0; CONTROL_PAYLOAD_BYTES_MAX];
    payload[..2].copy_from_slice(&code.0.to_be_bytes());
    let mut size = 2;
    for part in sanitize_reason(reason) {
        payload[size..size + part.len()].copy_from_slice(part.as_bytes());
        size += part.len();
    }
    encode_frame(Opcode::Close, &payload[..size], out);
}

/// Two parts that together are a reason of at most [`REASON_BYTES_MAX`] bytes that is not JSON.
///
/// The first part is empty unless the text could be a JSON value. That is judged by its first
/// character and errs on the safe side: `42 errors` gets the prefix too.
pub fn sanitize_reason(reason: &str) -> [&str; 2] {
    // RFC 6455 §5.5.1: the reason is UTF-8, so the cut falls between characters.
    let cut = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
    let value = cut.trim_matches([' ', '\t', '\n', '\r']);
    let looks_like_json = value.starts_with(['{', '[', '"', '-'])
        || value.starts_with(|first: char| first.is_ascii_digit())
        || matches!(value, "true" | "false" | "null");
    if looks_like_json {
        let end = cut.floor_char_boundary(REASON_BYTES_MAX - NOT_JSON.len());
        [NOT_JSON, &cut[..end]]
    } else {
        ["", cut]
    }
}

/// Reads the payload of a close frame: its code, if it has one, and its reason.
pub(super) fn parse_close(payload: &[u8]) -> Result<(Option<u16>, &str), Error> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        // RFC 6455 §5.5.1: if there is a body, its first two bytes MUST be the code.
        return if payload.is_empty() { Ok((None, "")) } else { Err(Error::CloseTruncated) };
    };
    let code = u16::from_be_bytes(*code);
    // RFC 6455 §7.4.1: 1005, 1006 and 1015 MUST NOT be set in a close frame.
    if !CloseCode(code).is_valid_on_wire() {
        return Err(Error::CloseCodeInvalid);
    }
    let reason = simdutf8::basic::from_utf8(reason).map_err(|_| Error::CloseReasonNotUtf8)?;
    Ok((Some(code), reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 6455 §7.4.1 and §7.4.2; 1012 to 1014 are registered with IANA.
    #[test]
    fn codes_on_the_wire() {
        let valid = [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1014, 3000, 3999, 4000, 4999];
        for code in valid {
            assert!(CloseCode(code).is_valid_on_wire(), "{code}");
        }
        let invalid = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535];
        for code in invalid {
            assert!(!CloseCode(code).is_valid_on_wire(), "{code}");
            let payload = [&u16::to_be_bytes(code)[..], b"bye"].concat();
            assert_eq!(parse_close(&payload), Err(Error::CloseCodeInvalid), "{code}");
        }
    }

    // RFC 6455 §5.5.1.
    #[test]
    fn close_payloads() {
        assert_eq!(parse_close(&[]), Ok((None, "")));
        assert_eq!(parse_close(&[3]), Err(Error::CloseTruncated));
        assert_eq!(parse_close(&[3, 0xE8]), Ok((Some(1000), "")));
        assert_eq!(parse_close(b"\x03\xE8bye"), Ok((Some(1000), "bye")));
        assert_eq!(parse_close(b"\x03\xE8\xFF"), Err(Error::CloseReasonNotUtf8));
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let mut frame = Vec::new();
        encode_close(CloseCode::SLOW, &"€".repeat(60), &mut frame);
        let (code, reason) = parse_close(&frame[2..]).unwrap();
        assert_eq!((code, reason.len()), (Some(3008), 123));
        encode_close(CloseCode::SLOW, &format!("ab{}", "€".repeat(60)), &mut frame);
        assert_eq!(parse_close(&frame[127 + 2..]).unwrap().1.len(), 122);
    }

    #[test]
    fn a_reason_never_is_valid_json() {
        let blank = " ".repeat(200);
        let texts = [
            "",
            " ",
            "42",
            "-1e3",
            "\"x\"",
            "{}",
            "[1]",
            "true",
            "\tfalse\r\n",
            "null",
            "shutdown",
            "no pong",
            "truest",
            &format!("null{blank}x"),
            &format!("{blank}1"),
            &"1".repeat(200),
            "{\"reconnect\":true}",
        ];
        for text in texts {
            let reason = sanitize_reason(text).concat();
            assert!(reason.len() <= REASON_BYTES_MAX);
            assert!(serde_json::from_str::<serde_json::Value>(&reason).is_err(), "{reason}");
        }
        assert_eq!(sanitize_reason("no pong").concat(), "no pong");
        assert_eq!(sanitize_reason("42").concat(), "reason: 42");
    }
}
