//! What both broadcast servers share: `POST /publish`, and a listener for many clients.
//!
//! Publications travel to the connections' tasks over tokio's broadcast channel, which is made for
//! that. The payload is shared, not copied. One thread runs everything: the servers that are
//! compared have one core each.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::broadcast::Sender;

/// How many publications a connection may fall behind before it is closed.
pub const LAG_MAX: usize = 4096;

/// Handshakes that wait to be accepted, as `net.core.somaxconn` has it on current systems.
const BACKLOG: u32 = 4096;

/// The addresses for clients and for publications: the two arguments of the command line.
pub fn addresses() -> Option<(SocketAddr, SocketAddr)> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse().ok());
    arguments.next()?.zip(arguments.next()?)
}

/// A listener.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Takes publications and hands them to all who have subscribed.
pub async fn publish(address: SocketAddr, publications: Sender<Bytes>) -> io::Result<()> {
    let take = post(async move |body: Bytes| {
        // Nobody may be there to hear it.
        let _ = publications.send(body);
    });
    axum::serve(listen(address)?, Router::new().route("/publish", take)).await
}
