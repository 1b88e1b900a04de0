//! The client's side of the opening handshake (RFC 6455 section 4.1). The key is the RFC's sample,
//! and so is the answer: load needs no nonce, and the check is complete all the same.

use crate::target::Target;

/// Longest response head that is waited for.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Where the number of a connection stands in a path.
pub(super) const USER: &str = "{number}";

/// Where the names of its channels stand.
pub(super) const CHANNELS: &str = "{channels}";

/// The request of connection `number`.
pub(super) fn request(target: &Target, path: &str, number: u32) -> String {
    let (mut path, host) = (path.replace(USER, &number.to_string()), &target.host);
    if path.contains(CHANNELS) {
        let shared = target.channels.of_client(number).map(|channel| target.channels.name(channel));
        path = path.replace(CHANNELS, &shared.collect::<Vec<String>>().join(","));
    }
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

/// How many bytes the response takes, once it is whole and accepts.
pub(super) fn accepted(input: &[u8]) -> Result<Option<usize>, String> {
    let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else {
        let is_too_long = input.len() > HEAD_BYTES_MAX;
        return if is_too_long { Err("the response has no end".to_owned()) } else { Ok(None) };
    };
    let head = String::from_utf8_lossy(&input[..end]);
    if head.starts_with("HTTP/1.1 101") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") {
        return Ok(Some(end + 4));
    }
    let line: String = head.lines().next().unwrap_or_default().chars().take(80).collect();
    Err(format!("the server answered {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_and_right_answer_is_accepted() {
        let answer = b"HTTP/1.1 101 Switching Protocols\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nrest";
        assert_eq!(accepted(answer), Ok(Some(answer.len() - 4)));
        assert_eq!(accepted(&answer[..answer.len() - 5]), Ok(None));
        let refusal = accepted(b"HTTP/1.1 404 Not Found\r\n\r\n");
        assert_eq!(refusal, Err("the server answered HTTP/1.1 404 Not Found".to_owned()));
        assert!(accepted(b"HTTP/1.1 101 ok\r\nSec-WebSocket-Accept: x\r\n\r\n").is_err());
        assert!(accepted(&[b'x'; HEAD_BYTES_MAX + 1]).is_err());
    }
}
