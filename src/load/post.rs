//! HTTP POST of each message, on a connection of its own: what every other server's way of taking
//! publications can be reached by. The answer is waited for, because it keeps the order.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::error::Error;
use super::publisher::Audience;

/// How long a server may take over each step of taking a message.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much of an answer is read. Its first line is all that counts.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// What a body template must have: here the message stands, in base64.
pub(super) const BASE64: &str = "{base64}";

/// A server's address for publications.
pub(super) struct Post {
    pub(super) address: SocketAddr,
    pub(super) host: String,
    /// `{n}` is replaced by the number of the user, here and in the body.
    pub(super) path: String,
    /// None means the message itself.
    pub(super) body: Option<String>,
}

impl Post {
    /// Publishes, and waits until that is confirmed.
    pub(super) fn send(&self, audience: Audience<'_>, payload: &[u8]) -> Result<(), Error> {
        let fail =
            |reason| Error::Post { url: format!("http://{}{}", self.host, self.path), reason };
        let answer = self.exchange(&self.request(audience, payload));
        let answer = answer.map_err(|error| fail(error.to_string()))?;
        if is_success(&answer) {
            return Ok(());
        }
        let line = answer.split(|&byte| byte == b'\r').next().unwrap_or_default();
        let line: String = String::from_utf8_lossy(line).chars().take(80).collect();
        Err(fail(if line.is_empty() { "no answer".to_owned() } else { line }))
    }

    fn request(&self, audience: Audience<'_>, payload: &[u8]) -> Vec<u8> {
        let fill = |text: &str| match audience {
            Audience::Channel(_) => text.to_owned(),
            Audience::User(number) => text.replace("{n}", &number.to_string()),
        };
        let (kind, body) = match &self.body {
            None => ("octet-stream", payload.to_vec()),
            Some(template) => {
                let text = fill(template).replace(BASE64, &STANDARD.encode(payload));
                ("json", text.into_bytes())
            }
        };
        let (path, host, length) = (fill(&self.path), &self.host, body.len());
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/{kind}\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n"
        )
        .into_bytes();
        request.extend_from_slice(&body);
        request
    }

    fn exchange(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(request)?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
        Ok(answer)
    }
}

/// Whether an answer begins with a status from 200 to 299.
fn is_success(answer: &[u8]) -> bool {
    let status = answer.strip_prefix(b"HTTP/1.1 ").or_else(|| answer.strip_prefix(b"HTTP/1.0 "));
    status.is_some_and(|rest| matches!(rest, [b'2', b'0'..=b'9', b'0'..=b'9', ..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(body: Option<&str>) -> Post {
        Post {
            address: "127.0.0.1:9".parse().unwrap(),
            host: "there:9".to_owned(),
            path: "/pub/{n}?x".to_owned(),
            body: body.map(str::to_owned),
        }
    }

    fn request(post: &Post, audience: Audience<'_>) -> String {
        String::from_utf8(post.request(audience, b"\x01hello")).unwrap()
    }

    #[test]
    fn a_request_carries_the_message_or_the_template_with_it() {
        let plain = request(&post(None), Audience::Channel("news"));
        assert!(plain.starts_with("POST /pub/{n}?x HTTP/1.1\r\nHost: there:9\r\n"), "{plain}");
        assert!(plain.ends_with("\r\nContent-Length: 6\r\nConnection: close\r\n\r\n\x01hello"));
        let filled = request(&post(Some(r#"{"to":{n},"b":"{base64}"}"#)), Audience::User(7));
        assert!(filled.starts_with("POST /pub/7?x HTTP/1.1\r\n"), "{filled}");
        assert!(filled.contains("application/json"), "{filled}");
        assert!(filled.ends_with("\r\n\r\n{\"to\":7,\"b\":\"AWhlbGxv\"}"), "{filled}");
    }

    #[test]
    fn only_a_status_of_two_hundred_and_some_is_success() {
        for good in ["HTTP/1.1 200 OK\r\n", "HTTP/1.0 202", "HTTP/1.1 201 Created\r\n\r\nx"] {
            assert!(is_success(good.as_bytes()), "{good}");
        }
        for bad in ["", "HTTP/1.1 404 Not Found", "HTTP/1.1 20", "HTTP/2 200", "200 OK"] {
            assert!(!is_success(bad.as_bytes()), "{bad}");
        }
    }
}
