//! The server's side of the opening handshake (RFC 6455 section 4.2), and who may open one.
//!
//! Browsers let any page open a WebSocket to any host and send this host's cookies along, so the
//! Origin is the only guard against a foreign page (section 10.2): by default it must be the
//! host itself. Clients that are not browsers send none. Extensions are not negotiated here; an
//! absent answer declines them all (section 9.1). Accepting allocates nothing.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha1::{Digest as _, Sha1};

use crate::http::{Head, Refusal};

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

/// Which pages may open a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OriginPolicy {
    /// Pages of the host and port that the request names.
    #[default]
    SameHost,
    /// Pages of these origins: `https://app.example.com`, or `https://*.example.com` for every
    /// name below `example.com`.
    Allow(Vec<String>),
    /// Every page: for doors that trust tokens, not cookies.
    Any,
}

/// What a door accepts.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Which pages may open a connection.
    pub origin: OriginPolicy,
    /// The subprotocols this door speaks; a client that offers none of them gets none.
    pub subprotocols: &'static [&'static str],
}

/// An opening handshake that holds: write it with [`write_accept`] and speak frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The value of `Sec-WebSocket-Accept`.
    accept: [u8; ACCEPT_BYTES],
    /// The first subprotocol of the client's list that the door speaks.
    pub subprotocol: Option<&'static str>,
}

/// Judges a request head as an opening handshake.
pub fn accept(head: &Head<'_, '_>, policy: &Policy) -> Result<Accepted, Refusal> {
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
    let key = head
        .value("Sec-WebSocket-Key", repeated)?
        .filter(|key| is_key(key))
        .ok_or(Refusal::bad_request("Sec-WebSocket-Key must be 16 bytes in base64."))?;
    // RFC 6455 §4.2.2 (4): an unacceptable origin gets 403.
    let repeated = "There is more than one Origin header field.";
    if let Some(origin) = head.value("Origin", repeated)?
        && !policy.origin.allows(origin, head.host)
    {
        return Err(Refusal::forbidden(
            "Pages of this origin may not connect; see the server's option for allowed origins.",
        ));
    }
    // RFC 6455 §4.2.2 (5.5): a subprotocol from the client's list, or none.
    let subprotocol = head.list("Sec-WebSocket-Protocol").find_map(|offered| {
        policy.subprotocols.iter().find(|spoken| spoken.as_bytes() == offered).copied()
    });
    Ok(Accepted { accept: accept_value(key), subprotocol })
}

/// Appends the response that opens the connection (RFC 6455 section 4.2.2 (5)).
pub fn write_accept(accepted: &Accepted, out: &mut Vec<u8>) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Accept: ",
    );
    out.extend_from_slice(&accepted.accept);
    if let Some(subprotocol) = accepted.subprotocol {
        out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        out.extend_from_slice(subprotocol.as_bytes());
    }
    out.extend_from_slice(b"\r\n\r\n");
}

impl OriginPolicy {
    /// True exactly when a page of `origin` may connect to `host`.
    fn allows(&self, origin: &[u8], host: &str) -> bool {
        let Ok(origin) = std::str::from_utf8(origin) else { return matches!(self, Self::Any) };
        match self {
            Self::SameHost => is_same_host(origin, host),
            Self::Allow(entries) => entries.iter().any(|entry| matches_entry(origin, entry)),
            Self::Any => true,
        }
    }
}

/// Compares host and port; the scheme only tells the default port, because TLS may end before us.
fn is_same_host(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let without_default = |host| str::strip_suffix(host, default_port).unwrap_or(host);
    without_default(authority).eq_ignore_ascii_case(without_default(host))
}

/// True exactly when `origin` is `entry`, or a name below the one behind its `*.`.
fn matches_entry(origin: &str, entry: &str) -> bool {
    let Some((scheme, parent)) = entry.split_once("://*.") else {
        return origin.eq_ignore_ascii_case(entry);
    };
    let Some((origin_scheme, authority)) = origin.split_once("://") else { return false };
    let Some(split) = authority.len().checked_sub(parent.len()) else { return false };
    let (name, tail) = authority.as_bytes().split_at(split);
    // Only characters of a host name: "https://evil.example/.example.com" is not below it.
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
    origin_scheme.eq_ignore_ascii_case(scheme)
        && tail.eq_ignore_ascii_case(parent.as_bytes())
        && name.len() > 1
        && name.ends_with(b".")
        && name.iter().all(is_name)
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
