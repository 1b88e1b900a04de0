//! `POST /try/refusal`: why the public address refuses the WebSocket that the try page asked for.
//!
//! A browser keeps that from its pages. So the edge sends itself the same opening handshake over
//! HTTP and passes on what it is told; one that succeeds is dropped at once. Until then it is a
//! session of its user like any other and can take the place of another, so no foreign page may
//! make the edge ask (see `head`).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{self, State};
use axum::http::{HeaderMap, Request, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

use crate::api::error::ApiError;
use crate::api::head::read_page;
use crate::api::router::Shared;

/// The longest that the public address may take.
const TIME_MAX: Duration = Duration::from_secs(5);

/// Most bytes of its answer: it says one sentence.
const REASON_BYTES_MAX: usize = 4096;

/// The key of RFC 6455 section 1.3. Nobody looks at the answer to it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// The handshake that failed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Handshake {
    path: String,
    #[serde(default)]
    protocols: String,
}

/// What the public address answers to it.
#[derive(Debug, Serialize)]
pub(super) struct Refusal {
    status: u16,
    reason: String,
}

/// Asks the public address as the page did.
pub(super) async fn refusal(
    State(shared): State<Arc<Shared>>,
    asked: extract::Request,
) -> Result<Json<Refusal>, ApiError> {
    let (head, body) = asked.into_parts();
    let handshake = read_page(&head.headers, body, shared.request_time_max).await?;
    let _under_way = shared.begin(&shared.page_requests)?;
    let public = reachable(shared.facts.public);
    let request = request(&handshake, public, &head.headers)
        .ok_or_else(|| ApiError::Invalid("`path` and `protocols` are no handshake".to_owned()))?;
    match tokio::time::timeout(TIME_MAX, ask(public, request)).await {
        Ok(Some(refusal)) => Ok(Json(refusal)),
        Ok(None) | Err(_) => Err(ApiError::Silent),
    }
}

fn request(
    handshake: &Handshake,
    public: SocketAddr,
    headers: &HeaderMap,
) -> Option<Request<Body>> {
    if !handshake.path.starts_with('/') {
        return None;
    }
    let mut request = Request::get(&handshake.path)
        .header(header::HOST, public.to_string())
        .header(header::UPGRADE, "websocket")
        .header(header::CONNECTION, "Upgrade")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, KEY);
    if !handshake.protocols.is_empty() {
        request = request.header(header::SEC_WEBSOCKET_PROTOCOL, &handshake.protocols);
    }
    // The page's origin is where it was fetched from.
    if let Some(host) = headers.get(header::HOST) {
        request = request.header(header::ORIGIN, [b"http://", host.as_bytes()].concat());
    }
    request.body(Body::empty()).ok()
}

async fn ask(public: SocketAddr, request: Request<Body>) -> Option<Refusal> {
    let stream = TcpStream::connect(public).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    // The connection ends when `sender` does, or before it when the other side closes.
    let answer = async move {
        let response = sender.send_request(request).await.ok()?;
        let status = response.status().as_u16();
        let body = to_bytes(Body::new(response.into_body()), REASON_BYTES_MAX);
        let body = if status == 101 { None } else { body.await.ok() };
        let reason = body.map(|body| String::from_utf8_lossy(body.trim_ascii()).into_owned());
        Some(Refusal { status, reason: reason.unwrap_or_default() })
    };
    tokio::join!(answer, connection).0
}

/// Where an edge on this machine reaches an address that it listens on.
const fn reachable(public: SocketAddr) -> SocketAddr {
    match public {
        SocketAddr::V4(address) if address.ip().is_unspecified() => {
            SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), address.port())
        }
        SocketAddr::V6(address) if address.ip().is_unspecified() => {
            SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::LOCALHOST), address.port())
        }
        _ => public,
    }
}
