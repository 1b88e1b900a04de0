//! An independent WebSocket client: tungstenite over a blocking socket.

use std::cell::RefCell;
use std::net::{SocketAddr, TcpStream};

use tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use crate::harness::PATIENCE;

/// Messages that a test reads at once may be larger than what clients usually allow.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// A connected client.
pub struct Client {
    socket: RefCell<WebSocket<TcpStream>>,
}

/// What a client heard next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// A close frame.
    Close(u16, String),
    /// A close frame without a code.
    CloseEmpty,
    /// The end of the stream without a close frame.
    Lost,
}

impl Client {
    /// Connects, or panics with what the server answered.
    pub fn open(address: SocketAddr, path: &str) -> Self {
        Self::try_open(address, path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Connects, or tells the status of the refusal.
    pub fn try_open(address: SocketAddr, path: &str) -> Result<Self, String> {
        let stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX))
            .read_buffer_size(16 * 1024);
        let url = format!("ws://{address}{path}");
        match tungstenite::client::client_with_config(url, stream, Some(config)) {
            Ok((socket, _)) => Ok(Self { socket: RefCell::new(socket) }),
            Err(tungstenite::HandshakeError::Failure(Error::Http(response))) => {
                Err(response.status().as_u16().to_string())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// The next message or the end. Pings are answered on the way.
    pub fn hear(&self) -> Heard {
        loop {
            match self.socket.borrow_mut().read() {
                Ok(Message::Text(text)) => return Heard::Text(text.to_string()),
                Ok(Message::Binary(bytes)) => return Heard::Binary(bytes.to_vec()),
                Ok(Message::Close(Some(CloseFrame { code, reason }))) => {
                    return Heard::Close(code.into(), reason.to_string());
                }
                Ok(Message::Close(None)) => return Heard::CloseEmpty,
                Ok(_) => {}
                Err(Error::Io(error))
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) =>
                {
                    panic!("waited in vain for a message")
                }
                Err(_) => return Heard::Lost,
            }
        }
    }

    /// The next message is this text.
    #[track_caller]
    pub fn expect(&self, text: impl AsRef<str>) {
        assert_eq!(self.hear(), Heard::Text(text.as_ref().to_owned()));
    }

    /// The next message is these bytes.
    #[track_caller]
    pub fn expect_binary(&self, bytes: &[u8]) {
        assert_eq!(self.hear(), Heard::Binary(bytes.to_vec()));
    }

    /// The next thing is a close frame with this code, and then the stream ends. Gives the reason.
    #[track_caller]
    pub fn expect_close(&self, expected: u16) -> String {
        let heard = self.hear();
        let Heard::Close(code, reason) = heard else { panic!("{heard:?} instead of a close") };
        assert_eq!(code, expected, "{reason}");
        assert_eq!(self.hear(), Heard::Lost);
        reason
    }

    /// Sends a text message.
    pub fn say(&self, text: &str) {
        self.socket.borrow_mut().send(Message::text(text)).unwrap();
    }

    /// Sends any message.
    pub fn send(&self, message: Message) {
        self.socket.borrow_mut().send(message).unwrap();
    }

    /// Closes with a code and waits for the answer, past whatever was under way.
    #[track_caller]
    pub fn close(self, code: u16) {
        let frame = CloseFrame { code: code.into(), reason: "bye".into() };
        self.socket.borrow_mut().close(Some(frame)).unwrap();
        let answer = loop {
            match self.hear() {
                Heard::Text(_) | Heard::Binary(_) => {}
                answer => break answer,
            }
        };
        assert!(matches!(answer, Heard::Close(echoed, _) if echoed == code), "{answer:?}");
    }
}
