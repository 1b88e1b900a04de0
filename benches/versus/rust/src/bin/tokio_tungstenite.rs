//! A broadcast server on tokio-tungstenite: a task for each connection, a select over what is
//! published and what the client says.

use std::error::Error;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tidegate_versus::{LAG_MAX, addresses, listen, publish};
use tokio::net::TcpStream;
use tokio::sync::broadcast::{self, Receiver};
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// The documentation of `WebSocketConfig::read_buffer_size`: "For scenarios where you expect a lot
/// of connections and don't need high read load performance a smaller buffer, e.g. 4 KiB, would be
/// appropriate". The default is 128 KiB, allocated at once.
const READ_BUFFER_BYTES: usize = 4096;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (public, publications) = addresses().ok_or("usage: IP:PORT IP:PORT")?;
    let (sender, _) = broadcast::channel(LAG_MAX);
    tokio::spawn(publish(publications, sender.clone()));
    let listener = listen(public)?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(serve(stream, sender.subscribe()));
    }
}

async fn serve(
    stream: TcpStream,
    mut publications: Receiver<Bytes>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
    let mut socket = accept_async_with_config(stream, Some(config)).await?;
    loop {
        tokio::select! {
            publication = publications.recv() => {
                socket.send(Message::Binary(publication?)).await?;
            }
            // Pings are answered and Close frames returned by the library, while it is polled.
            message = socket.next() => match message {
                Some(message) => drop(message?),
                None => return Ok(()),
            },
        }
    }
}
