//! A broadcast server on fastwebsockets: hyper makes the handshake, as the library's examples do,
//! and a task for each connection reads and writes.
//!
//! The socket is split because `read_frame` may not be dropped half-way, so it cannot stand in a
//! select beside what is published.

use std::convert::Infallible;
use std::error::Error;

use bytes::Bytes;
use fastwebsockets::upgrade::{UpgradeFut, upgrade};
use fastwebsockets::{Frame, OpCode, Payload, WebSocketError};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tidegate_versus::{LAG_MAX, addresses, listen, publish};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::sync::broadcast::{self, Receiver, Sender};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (public, publications) = addresses().ok_or("usage: IP:PORT IP:PORT")?;
    let (sender, _) = broadcast::channel(LAG_MAX);
    tokio::spawn(publish(publications, sender.clone()));
    let listener = listen(public)?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(shake_hands(stream, sender.clone()));
    }
}

async fn shake_hands(stream: TcpStream, sender: Sender<Bytes>) -> Result<(), hyper::Error> {
    // Without it there are delays; an error means that the client has gone already.
    let _ = stream.set_nodelay(true);
    let accept = service_fn(|request| accept(request, sender.subscribe()));
    http1::Builder::new().serve_connection(TokioIo::new(stream), accept).with_upgrades().await
}

async fn accept(
    mut request: Request<Incoming>,
    publications: Receiver<Bytes>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    match upgrade(&mut request) {
        Ok((response, upgraded)) => {
            tokio::spawn(serve(upgraded, publications));
            Ok(response)
        }
        Err(_) => {
            let mut refusal = Response::new(Empty::new());
            *refusal.status_mut() = StatusCode::BAD_REQUEST;
            Ok(refusal)
        }
    }
}

async fn serve(
    upgraded: UpgradeFut,
    mut publications: Receiver<Bytes>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (mut reader, writer) = upgraded.await?.split(tokio::io::split);
    let writer = Mutex::new(writer);
    let read = async {
        loop {
            let mut answer = async |frame| writer.lock().await.write_frame(frame).await;
            let frame = reader.read_frame::<_, WebSocketError>(&mut answer).await?;
            if frame.opcode == OpCode::Close {
                return Ok(());
            }
        }
    };
    let write = async {
        loop {
            let publication = publications.recv().await?;
            let frame = Frame::binary(Payload::Borrowed(&publication));
            writer.lock().await.write_frame(frame).await?;
        }
    };
    tokio::select! {
        end = read => end,
        end = write => end,
    }
}
