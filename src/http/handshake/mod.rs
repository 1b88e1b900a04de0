//! The server's side of a WebSocket's opening handshake (RFC 6455 section 4.2).
//!
//! Extensions are not negotiated here; an absent answer declines them all (section 9.1). A client
//! that offers subprotocols gets one of them or a refusal: browsers drop a connection whose answer
//! has none, and would not say why. Accepting allocates nothing.

use arcstr::ArcStr;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha1::{Digest as _, Sha1};

use crate::http::host::{is_local, without_port};
use crate::http::origin::{OriginPolicy, is_page_at};
use crate::http::{About, Head, Refusal};

/// The GUID of RFC 6455 section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Base64 length of 16 bytes.
const KEY_BYTES: usize = 24;

/// Base64 length of a SHA-1.
const ACCEPT_BYTES: usize = 28;

/// Keys are a nonce: unused bits of their last character say nothing, so any value will do.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// What a door accepts.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// Which pages may open a connection.
    pub origin: &'a OriginPolicy,
    /// The port at which the server has a page of its own, which may always open one.
    pub own_page_port: Option<u16>,
    /// Whether the server must be reached under an address, a name of this machine or that of an
    /// allowed origin, because nothing else would keep out a page whose name was made to lead here.
    pub guards_host: bool,
    /// The subprotocols this door speaks.
    pub subprotocols: &'a [ArcStr],
    /// What a client is told that offers subprotocols and none of these.
    pub foreign_subprotocol: &'static str,
}

impl Default for Policy<'_> {
    /// Pages of the same host, and no subprotocol.
    fn default() -> Self {
        Self {
            origin: &OriginPolicy::SameHost,
            own_page_port: None,
            guards_host: false,
            subprotocols: &[],
            foreign_subprotocol: "This address speaks no subprotocol.",
        }
    }
}

impl Policy<'_> {
    fn lets_in(&self, origin: &[u8], host: &str) -> bool {
        let is_own = self.own_page_port.is_some_and(|port| is_page_at(port, origin, host));
        is_own || self.origin.allows(origin, host)
    }
}

/// An opening handshake that holds: write it with [`write_accept`] and speak frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The value of `Sec-WebSocket-Accept`.
    accept: [u8; ACCEPT_BYTES],
    /// The first subprotocol of the client's list that the door speaks.
    pub subprotocol: Option<ArcStr>,
}

/// Judges a request head as an opening handshake.
pub fn accept(head: &Head<'_, '_>, policy: &Policy<'_>) -> Result<Accepted, Refusal> {
    let key = key_of(head)?;
    check_page(head, policy)?;
    Ok(Accepted { accept: accept_value(key), subprotocol: subprotocol(head, policy)? })
}

/// The key of a request that is an opening handshake.
fn key_of<'b>(head: &Head<'_, 'b>) -> Result<&'b [u8], Refusal> {
    // RFC 6455 §4.2.1 (3): an Upgrade header field with the token "websocket".
    if !head.list("Upgrade").any(|token| token.eq_ignore_ascii_case(b"websocket")) {
        return Err(Refusal::upgrade_required("This address speaks WebSocket only."));
    }
    // RFC 6455 §4.2.1 (4): a Connection header field with the token "Upgrade".
    if !head.list("Connection").any(|token| token.eq_ignore_ascii_case(b"upgrade")) {
        return Err(Refusal::bad_request(
            "The Connection header field lacks 'Upgrade'; a proxy may have removed it.",
        ));
    }
    // RFC 6455 §4.2.1 (6) and §11.3.5: Sec-WebSocket-Version, once, with the value 13.
    let repeated = "There is more than one Sec-WebSocket-Version header field.";
    match head.value("Sec-WebSocket-Version", repeated)? {
        Some(b"13") => {}
        Some(_) => {
            return Err(Refusal::upgrade_required("This server speaks WebSocket version 13 only."));
        }
        None => {
            return Err(Refusal::bad_request("The Sec-WebSocket-Version header field is missing."));
        }
    }
    // RFC 6455 §4.2.1 (5) and §11.3.1: Sec-WebSocket-Key, once, 16 bytes in base64.
    let repeated = "There is more than one Sec-WebSocket-Key header field.";
    head.value("Sec-WebSocket-Key", repeated)?
        .filter(|key| is_key(key))
        .ok_or(Refusal::bad_request("Sec-WebSocket-Key must be 16 bytes in base64."))
}

/// Refuses pages that may not connect.
fn check_page(head: &Head<'_, '_>, policy: &Policy<'_>) -> Result<(), Refusal> {
    let host = without_port(head.host);
    if policy.guards_host && !is_local(host) && !policy.origin.names(host) {
        return Err(Refusal::forbidden(
            About::Origin,
            "The Host header names another machine; see the server's option for allowed origins.",
        ));
    }
    // RFC 6455 §4.2.2 (4): an unacceptable origin gets 403.
    let repeated = "There is more than one Origin header field.";
    match head.value("Origin", repeated)? {
        Some(origin) if !policy.lets_in(origin, head.host) => Err(Refusal::forbidden(
            About::Origin,
            "Pages of this origin may not connect; see the server's option for allowed origins.",
        )),
        _ => Ok(()),
    }
}

/// RFC 6455 §4.2.2 (5.5): a subprotocol from the client's list, or none if it has none.
fn subprotocol(head: &Head<'_, '_>, policy: &Policy<'_>) -> Result<Option<ArcStr>, Refusal> {
    let mut offered = head.list("Sec-WebSocket-Protocol").peekable();
    if offered.peek().is_none() {
        return Ok(None);
    }
    let spoken = |offered| policy.subprotocols.iter().find(|spoken| spoken.as_bytes() == offered);
    match offered.find_map(spoken) {
        None => Err(Refusal::bad_request(policy.foreign_subprotocol)),
        found => Ok(found.cloned()),
    }
}

/// Appends the response that opens the connection (RFC 6455 section 4.2.2 (5)).
pub fn write_accept(accepted: &Accepted, out: &mut Vec<u8>) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Accept: ",
    );
    out.extend_from_slice(&accepted.accept);
    if let Some(subprotocol) = &accepted.subprotocol {
        out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        out.extend_from_slice(subprotocol.as_bytes());
    }
    out.extend_from_slice(b"\r\n\r\n");
}

/// True exactly when `key` is base64 of 16 bytes.
fn is_key(key: &[u8]) -> bool {
    let mut nonce = [0; KEY_BYTES / 4 * 3];
    key.len() == KEY_BYTES && BASE64.decode_slice(key, &mut nonce) == Ok(16)
}

/// RFC 6455 §4.2.2 (5.4): base64 of the SHA-1 of the key as sent and the GUID.
fn accept_value(key: &[u8]) -> [u8; ACCEPT_BYTES] {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut value = [0; ACCEPT_BYTES];
    BASE64.encode_slice(digest, &mut value).expect("28 characters hold 20 bytes");
    value
}

#[cfg(test)]
mod tests;
