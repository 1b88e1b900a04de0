//! Answers that end a connection before it became one: a status and one helpful sentence.
//!
//! Each constructor is one status with the header fields that the RFCs demand with it, so no
//! caller can forget `Allow` or `Retry-After`. There is no `Date`: sans-IO code has no clock,
//! and a server without one need not send it (RFC 9110 section 6.6.1).

use std::io::Write as _;

/// What a refusal is about, for whoever counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The request is not HTTP, not a proper opening handshake, or names something in a wrong form.
    Protocol,
    /// There is no such door.
    Path,
    /// The page may not connect, or the server is not reached under a name of its own.
    Origin,
    /// There is no token, or it does not let the client in.
    Token,
    /// The client may not join a channel, or it does not exist.
    Channel,
    /// The user, the channel or the client has reached a limit.
    Limit,
    /// The server has no room.
    Full,
    /// A backend has ended the session before it began.
    Command,
    /// The server is shutting down.
    Draining,
}

impl About {
    /// The same as the value of a label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Protocol => "protocol",
            Self::Path => "path",
            Self::Origin => "origin",
            Self::Token => "token",
            Self::Channel => "channel",
            Self::Limit => "limit",
            Self::Full => "full",
            Self::Command => "command",
            Self::Draining => "draining",
        }
    }
}

/// Why a request is refused, and what the client should do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status code.
    pub status: u16,
    /// What it is about.
    pub about: About,
    /// One sentence for whoever debugs the client.
    pub reason: &'static str,
    /// Header fields that belong to the status.
    pub headers: &'static [(&'static str, &'static str)],
    /// Seconds for `Retry-After`.
    pub retry_after_seconds: Option<u32>,
    /// The port that the sentence ends with, where it says which is the right one.
    pub port: Option<u16>,
}

impl Refusal {
    /// 400: the request is not HTTP, or not a handshake.
    pub const fn bad_request(reason: &'static str) -> Self {
        Self::new(400, About::Protocol, reason, &[])
    }

    /// 401: nobody said who the client is (RFC 9110 §15.5.2: MUST generate `WWW-Authenticate`).
    pub const fn unauthorized(reason: &'static str) -> Self {
        Self::new(401, About::Token, reason, &[("WWW-Authenticate", "Bearer")])
    }

    /// 403: understood, but not for this origin or client.
    pub const fn forbidden(about: About, reason: &'static str) -> Self {
        Self::new(403, about, reason, &[])
    }

    /// 404: no such door.
    pub const fn not_found(reason: &'static str) -> Self {
        Self::new(404, About::Path, reason, &[])
    }

    /// 404: what is asked for is at another port of this server.
    pub const fn elsewhere(reason: &'static str, port: u16) -> Self {
        let refusal = Self::new(404, About::Path, reason, &[]);
        Self { port: Some(port), ..refusal }
    }

    /// 405: the doors of this module take GET (RFC 9110 §15.5.6: MUST generate `Allow`).
    pub const fn method_not_allowed() -> Self {
        Self::new(405, About::Protocol, "Only GET is allowed here.", &[("Allow", "GET")])
    }

    /// 414: the request line is too long.
    pub const fn uri_too_long() -> Self {
        Self::new(414, About::Protocol, "The request line is longer than 16 KiB.", &[])
    }

    /// 426: this door speaks WebSocket version 13 only (RFC 6455 §4.2.2 and §4.4).
    pub const fn upgrade_required(reason: &'static str) -> Self {
        let headers = &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")];
        Self::new(426, About::Protocol, reason, headers)
    }

    /// 429: this client comes too often.
    pub const fn too_many_requests(reason: &'static str, retry_after_seconds: u32) -> Self {
        let refusal = Self::new(429, About::Limit, reason, &[]);
        Self { retry_after_seconds: Some(retry_after_seconds), ..refusal }
    }

    /// 431: the head has too many bytes or header fields (RFC 6585 section 5).
    pub const fn head_too_large(reason: &'static str) -> Self {
        Self::new(431, About::Protocol, reason, &[])
    }

    /// 503: this server is full, draining or admits no more for now.
    pub const fn unavailable(about: About, reason: &'static str, retry_after_seconds: u32) -> Self {
        let refusal = Self::new(503, about, reason, &[]);
        Self { retry_after_seconds: Some(retry_after_seconds), ..refusal }
    }

    /// 505: not HTTP/1.1.
    pub const fn version_not_supported() -> Self {
        Self::new(505, About::Protocol, "This server speaks HTTP/1.1 only.", &[])
    }

    const fn new(
        status: u16,
        about: About,
        reason: &'static str,
        headers: &'static [(&'static str, &'static str)],
    ) -> Self {
        Self { status, about, reason, headers, retry_after_seconds: None, port: None }
    }

    /// The reason phrase of the status line.
    fn phrase(&self) -> &'static str {
        match self.status {
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            414 => "URI Too Long",
            426 => "Upgrade Required",
            429 => "Too Many Requests",
            431 => "Request Header Fields Too Large",
            503 => "Service Unavailable",
            505 => "HTTP Version Not Supported",
            // RFC 9112 §4: a reason phrase may be empty, and clients ignore it.
            _ => "",
        }
    }
}

/// Appends the whole response; the connection is to be closed after it.
pub fn write_response(refusal: &Refusal, out: &mut Vec<u8>) {
    // RFC 9110 §7.8: a sender of Upgrade MUST also list it in Connection.
    let has_upgrade = refusal.headers.iter().any(|(name, _)| *name == "Upgrade");
    let port = refusal.port.map(|port| format!(" {port}.")).unwrap_or_default();
    let sentence = format!("{}{port}", refusal.reason);
    let connection = if has_upgrade { "close, upgrade" } else { "close" };
    write!(
        out,
        "HTTP/1.1 {} {}\r\nConnection: {connection}\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\n",
        refusal.status,
        refusal.phrase(),
        sentence.len() + 1,
    )
    .expect("a Vec takes every write");
    for (name, value) in refusal.headers {
        write!(out, "{name}: {value}\r\n").expect("a Vec takes every write");
    }
    if let Some(seconds) = refusal.retry_after_seconds {
        write!(out, "Retry-After: {seconds}\r\n").expect("a Vec takes every write");
    }
    write!(out, "\r\n{sentence}\n").expect("a Vec takes every write");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(refusal: &Refusal) -> String {
        let mut out = Vec::new();
        write_response(refusal, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_whole_response() {
        let expected = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Length: 4\r\n\r\nNo.\n";
        assert_eq!(response(&Refusal::bad_request("No.")), expected);
    }

    #[test]
    fn headers_that_a_status_demands() {
        // RFC 9110 §15.5.6, §15.5.22 and RFC 6455 §4.4.
        assert!(response(&Refusal::method_not_allowed()).contains("\r\nAllow: GET\r\n"));
        let upgrade = response(&Refusal::upgrade_required("x"));
        assert!(upgrade.contains("\r\nUpgrade: websocket\r\n"));
        assert!(upgrade.contains("\r\nConnection: close, upgrade\r\n"));
        assert!(upgrade.contains("\r\nSec-WebSocket-Version: 13\r\n"));
        assert!(
            response(&Refusal::unavailable(About::Limit, "x", 7))
                .contains("\r\nRetry-After: 7\r\n")
        );
        assert!(response(&Refusal::too_many_requests("x", 1)).contains("\r\nRetry-After: 1\r\n"));
    }

    #[test]
    fn the_right_port_ends_the_sentence() {
        let response = response(&Refusal::elsewhere("It is at port", 9000));
        assert!(
            response.ends_with("Content-Length: 20\r\n\r\nIt is at port 9000.\n"),
            "{response}"
        );
    }

    #[test]
    fn every_constructor_has_a_phrase() {
        let all = [
            Refusal::bad_request("x"),
            Refusal::forbidden(About::Origin, "x"),
            Refusal::not_found("x"),
            Refusal::elsewhere("x", 1),
            Refusal::method_not_allowed(),
            Refusal::uri_too_long(),
            Refusal::upgrade_required("x"),
            Refusal::too_many_requests("x", 1),
            Refusal::head_too_large("x"),
            Refusal::unavailable(About::Limit, "x", 1),
            Refusal::version_not_supported(),
        ];
        for refusal in all {
            assert_ne!(refusal.phrase(), "", "{}", refusal.status);
        }
    }
}
