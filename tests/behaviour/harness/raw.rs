//! A peer that speaks bytes: hostile ones, and ones that are too exact for a library.
//!
//! The frames here are written and read by hand, independent of the code under test.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use crate::harness::PATIENCE;

/// The key of RFC 6455 section 1.3 and its answer.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A TCP connection.
pub struct Raw {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// How much of the buffer has been used.
    used: usize,
}

/// One frame from the server: its first byte and its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Fin, reserved bits and opcode.
    pub first: u8,
    /// The payload.
    pub payload: Vec<u8>,
}

/// An HTTP response.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Everything before the empty line.
    pub head: String,
    /// Everything after it until the end of the stream.
    pub body: String,
}

impl Raw {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).expect("the port is open")
    }

    /// Connects, if somebody listens.
    pub fn try_connect(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        Some(Self::new(stream))
    }

    /// Connects with a small receive buffer, so that a peer that does not read is noticed soon.
    pub fn connect_narrow(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(32 * 1024).unwrap();
        socket.connect(&address.into()).unwrap();
        Self::new(socket.into())
    }

    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, buffer: Vec::new(), used: 0 }
    }

    /// Connects and completes the opening handshake.
    pub fn open(address: SocketAddr, path: &str) -> Self {
        Self::connect(address).upgrade(path)
    }

    /// Completes the opening handshake.
    pub fn upgrade(mut self, path: &str) -> Self {
        self.send(request(path, &[]).as_bytes());
        self.expect_open();
        self
    }

    /// The answer to an opening handshake is 101, and right.
    #[track_caller]
    pub fn expect_open(&mut self) {
        let head = self.read_head().expect("an answer to the handshake");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains(&format!("Sec-WebSocket-Accept: {ACCEPT}\r\n")), "{head}");
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends bytes to a server that may have closed already.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends one masked frame.
    pub fn send_frame(&mut self, first: u8, payload: &[u8]) {
        self.send(&frame(first, payload));
    }

    /// Reads as much as is there; nothing at the end of the stream.
    fn fill(&mut self) -> usize {
        self.buffer.drain(..std::mem::take(&mut self.used));
        let mut chunk = [0; 64 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(count) => {
                    self.buffer.extend_from_slice(&chunk[..count]);
                    return count;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    panic!("waited in vain for bytes")
                }
                Err(_) => return 0,
            }
        }
    }

    fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() - self.used < count {
            if self.fill() == 0 {
                return None;
            }
        }
        let taken = self.buffer[self.used..self.used + count].to_vec();
        self.used += count;
        Some(taken)
    }

    /// The head of an HTTP message; `None` if the server just closed.
    pub fn read_head(&mut self) -> Option<String> {
        loop {
            let rest = &self.buffer[self.used..];
            if let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") {
                return Some(String::from_utf8(self.take(end + 4).unwrap()).unwrap());
            }
            if self.fill() == 0 {
                return None;
            }
        }
    }

    /// A whole HTTP response that ends with the stream; `None` if the server just closed.
    pub fn response(&mut self) -> Option<Response> {
        let head = self.read_head()?;
        let body = String::from_utf8_lossy(&self.read_to_end()).into_owned();
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Response { status, head, body })
    }

    /// Everything until the end of the stream.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        while self.fill() > 0 {}
        self.buffer.drain(..std::mem::take(&mut self.used));
        std::mem::take(&mut self.buffer)
    }

    /// Reads and throws away at most so many bytes; fewer only at the end of the stream.
    pub fn read_away(&mut self, count: usize) -> usize {
        let mut chunk = vec![0; count];
        let count = self.stream.read(&mut chunk).unwrap();
        self.buffer.extend_from_slice(&chunk[..count]);
        count
    }

    /// The next frame, checked to be one that a server may send; `None` at the end of the stream.
    pub fn hear(&mut self) -> Option<Frame> {
        let head = self.take(2)?;
        // RFC 6455 §5.1: a server MUST NOT mask; §5.2: no reserved bit without an extension.
        assert!(head[1] & 0x80 == 0, "a masked frame from the server");
        assert!(head[0] & 0x70 == 0, "a reserved bit from the server");
        let length = match head[1] {
            126 => u16::from_be_bytes(self.take(2)?.try_into().unwrap()).into(),
            127 => u64::from_be_bytes(self.take(8)?.try_into().unwrap()),
            short => u64::from(short),
        };
        assert!(length < 1 << 30, "a frame of {length} bytes");
        let payload = self.take(length as usize)?;
        Some(Frame { first: head[0], payload })
    }

    /// The next frame is this one.
    #[track_caller]
    pub fn expect(&mut self, first: u8, payload: &[u8]) {
        let heard = self.hear().expect("the stream ended instead of a frame");
        assert_eq!(heard.first, first);
        assert!(heard.payload == payload, "{} bytes", heard.payload.len());
    }

    /// The next frame is a close with this code, and then the stream ends. Gives the reason.
    #[track_caller]
    pub fn expect_close(&mut self, code: u16) -> String {
        let frame = self.hear().expect("the stream ended without a close frame");
        assert_eq!(frame.first, 0x88, "{frame:?}");
        assert!(frame.payload.len() >= 2, "a close frame without a code");
        let got = u16::from_be_bytes([frame.payload[0], frame.payload[1]]);
        let reason = String::from_utf8(frame.payload[2..].to_vec()).unwrap();
        assert_eq!(got, code, "{reason}");
        self.expect_end();
        reason
    }

    /// Nothing more comes, and the stream ends.
    #[track_caller]
    pub fn expect_end(&mut self) {
        assert_eq!(self.read_to_end(), b"");
    }

    /// Ends our direction.
    pub fn shut_down_write(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// The same towards a server that may have closed already.
    pub fn shut_down_write_if_open(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Closes with a reset.
    pub fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// How many bytes of a flood the server takes before its side is full.
    pub fn flood(&mut self, bytes: &[u8], limit: usize, time: Duration) -> usize {
        self.stream.set_write_timeout(Some(time)).unwrap();
        let mut sent = 0;
        while sent < limit {
            match self.stream.write(&bytes[sent % bytes.len()..]) {
                Ok(count) => sent += count,
                Err(_) => break,
            }
        }
        self.stream.set_write_timeout(Some(PATIENCE)).unwrap();
        sent
    }
}

/// A masked frame as a client sends it.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | short as u8),
        medium @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&masked(payload));
    bytes
}

/// A masking key and the masked payload.
pub fn masked(payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = key.to_vec();
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// A call of the API, the last of its connection.
pub fn call(method: &str, body: &str) -> String {
    format!(
        "POST /api/{method} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// An opening handshake with further header lines. A line replaces the usual one of its name, and
/// one that ends in `:` removes it.
pub fn request(path: &str, lines: &[&str]) -> String {
    let key = format!("Sec-WebSocket-Key: {KEY}");
    let usual = [
        "Host: localhost:8000",
        "Upgrade: websocket",
        "Connection: keep-alive, Upgrade",
        &key,
        "Sec-WebSocket-Version: 13",
    ];
    let name = |line: &str| line.split(':').next().unwrap().to_ascii_lowercase();
    let mut text = format!("GET {path} HTTP/1.1\r\n");
    let kept = usual.iter().filter(|usual| lines.iter().all(|line| name(line) != name(usual)));
    for line in kept.chain(lines.iter().filter(|line| !line.ends_with(':'))) {
        text.push_str(line);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text
}
