//! One WebSocket client that says and hears frames as they are, for parts that need to know what
//! is on the wire.

use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tidegate::ws::frame::{Header, Opcode};

/// When nothing comes for so long, something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// The ping of the client protocol, and the answer to it.
pub(crate) const PING: &[u8] = b"{}";

/// A client that waits in its reads.
pub(crate) struct Peer {
    stream: BufReader<TcpStream>,
}

impl Peer {
    /// Opens a connection.
    pub(crate) fn open(address: &str, path: &str) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Version: 13\r\n\r\n"
        )?;
        let mut stream = BufReader::new(stream);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.extend_from_slice(&byte);
        }
        Ok(Self { stream })
    }

    /// Opens a connection that speaks the client protocol, and says who it is.
    pub(crate) fn connect(address: &str, command: &[u8]) -> io::Result<Self> {
        let mut peer = Self::open(address, "/connection/websocket")?;
        peer.say(command)?;
        peer.hear()?;
        Ok(peer)
    }

    /// Sends a text message.
    pub(crate) fn say(&mut self, message: &[u8]) -> io::Result<()> {
        self.say_frames(&frame(message))
    }

    /// Sends frames that are made already.
    pub(crate) fn say_frames(&mut self, frames: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(frames)
    }

    /// Waits for the next message.
    pub(crate) fn hear(&mut self) -> io::Result<Vec<u8>> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head)?;
        if head[0] & 0x0f == Opcode::Close as u8 {
            return Err(io::Error::other("a Close frame"));
        }
        let length = match head[1] {
            126 => {
                let mut length = [0; 2];
                self.stream.read_exact(&mut length)?;
                u64::from(u16::from_be_bytes(length))
            }
            127 => {
                let mut length = [0; 8];
                self.stream.read_exact(&mut length)?;
                u64::from_be_bytes(length)
            }
            short => u64::from(short),
        };
        let mut message = Vec::new();
        (&mut self.stream).take(length).read_to_end(&mut message)?;
        Ok(message)
    }

    /// Waits for a message in which a text stands; answers pings meanwhile.
    pub(crate) fn hear_until(&mut self, text: &[u8]) -> io::Result<()> {
        loop {
            let message = self.hear()?;
            if message == PING {
                self.say(PING)?;
            }
            if message.windows(text.len()).any(|part| part == text) {
                return Ok(());
            }
        }
    }

    /// Takes whatever comes, in a thread of its own, until the connection ends.
    pub(crate) fn ignore(&self) -> io::Result<()> {
        let mut stream = self.stream.get_ref().try_clone()?;
        std::thread::spawn(move || io::copy(&mut stream, &mut io::sink()));
        Ok(())
    }
}

/// A text message as a client sends it, with a mask of zeros.
pub(crate) fn frame(message: &[u8]) -> Vec<u8> {
    let payload_length = message.len() as u64;
    let mut frame = Vec::new();
    Header { fin: true, opcode: Opcode::Text, mask: Some([0; 4]), payload_length }
        .encode(&mut frame);
    frame.extend_from_slice(message);
    frame
}
