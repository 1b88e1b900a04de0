//! tungstenite, an independent implementation, as the client: it understands us and we it.

use std::io::{Cursor, Read, Result, Write};

use proptest::prelude::*;
use tidegate::http::Head;
use tidegate::http::handshake::{Policy, accept, write_accept};
use tidegate::http::request::HeaderTable;
use tidegate::ws::frame::encode_frame;
use tidegate::ws::{Inbound, Item, Limits, Opcode};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::handshake::client::generate_request;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::{Role, WebSocket};
use tungstenite::{Message, Utf8Bytes};

/// A client's socket: what the server sent, and what the client wrote.
#[derive(Default)]
struct Socket {
    received: Cursor<Vec<u8>>,
    written: Vec<u8>,
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.received.read(buffer)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.written.write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        "\\PC{0,200}".prop_map(Message::text),
        prop::collection::vec(any::<u8>(), 0..70_000).prop_map(Message::binary),
        prop::collection::vec(any::<u8>(), 0..=125)
            .prop_map(|payload| Message::Ping(payload.into())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn messages_of_a_foreign_client_arrive(messages in prop::collection::vec(message(), 1..5)) {
        let mut client = WebSocket::from_raw_socket(Socket::default(), Role::Client, None);
        for message in &messages {
            client.send(message.clone()).unwrap();
        }
        let mut stream = std::mem::take(&mut client.get_mut().written);
        let limits = Limits { message_bytes_max: 70_000, fragments_max: 1 };
        let (mut inbound, mut at, mut items) = (Inbound::default(), 0, Vec::new());
        while let Some(item) = {
            let step = inbound.read(&mut stream[at..], &limits).unwrap();
            at += step.consumed;
            step.item
        } {
            items.push(match item {
                Item::Message { text: true, payload } => {
                    Message::Text(Utf8Bytes::from(str::from_utf8(payload).unwrap()))
                }
                Item::Message { text: false, payload } => Message::binary(payload.to_vec()),
                Item::Ping(payload) => Message::Ping(payload.to_vec().into()),
                other => panic!("{other:?}"),
            });
        }
        prop_assert_eq!(items, messages);
    }

    #[test]
    fn a_foreign_client_reads_our_frames(messages in prop::collection::vec(message(), 1..5)) {
        let mut frames = Vec::new();
        for message in &messages {
            let opcode = match message {
                Message::Text(_) => Opcode::Text,
                Message::Ping(_) => Opcode::Ping,
                _ => Opcode::Binary,
            };
            encode_frame(opcode, &message.clone().into_data(), &mut frames);
        }
        let socket = Socket { received: Cursor::new(frames), ..Socket::default() };
        let mut client = WebSocket::from_raw_socket(socket, Role::Client, None);
        for message in messages {
            prop_assert_eq!(client.read().unwrap(), message);
        }
    }
}

#[test]
fn a_foreign_client_opens_a_connection() {
    let request = "ws://a.example:8000/websocket/42?x=y".into_client_request().unwrap();
    let (request, key) = generate_request(request).unwrap();
    let mut table = HeaderTable::default();
    let (head, size) = Head::parse(&request, &mut table).unwrap().unwrap();
    assert_eq!((size, head.path, head.query), (request.len(), "/websocket/42", "x=y"));
    let mut response = Vec::new();
    write_accept(&accept(&head, &Policy::default()).unwrap(), &mut response);
    let accept = format!("\r\nSec-WebSocket-Accept: {}\r\n", derive_accept_key(key.as_bytes()));
    assert!(String::from_utf8(response).unwrap().contains(&accept));
}
