//! Paths and what they answer, and the headers that every response has.
//!
//! The try page is plain files inside the binary and loads nothing from elsewhere, which its
//! Content-Security-Policy enforces: own script and style, and connections to this server and to
//! the WebSocket address only. Nothing here may be cached or framed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::api::answers::Requests;
use crate::api::backend::{LINES, PREFIX, call};
use crate::api::bodies::Bodies;
use crate::api::error::ApiError;
use crate::api::head::{host, is_local_host};
use crate::api::metrics::{Format, Page};
use crate::api::publish::{self, publish};
use crate::api::refusal::refusal;
use crate::api::room::Room;
use crate::api::{Access, Facts};
use crate::metrics::{ApiMetrics, HttpMetrics, ShardMetrics};
use crate::shard::Drain;
use crate::sys::Clock;

/// Where the description of the HTTP API is.
pub(super) const DESCRIPTION: &str = "/api/openapi.json";

/// The SDK that the page shows: the npm package as it was published.
const SDK: &str = include_str!("page/centrifuge.js");

/// The description of the HTTP API.
const OPENAPI: &str = include_str!("openapi.json");

/// What all handlers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) facts: Facts,
    pub(super) registry: Registry,
    pub(super) page: Page,
    pub(super) metrics: Arc<ApiMetrics>,
    pub(super) access: Access,
    pub(super) shards: Vec<Arc<ShardMetrics>>,
    pub(super) drain: Arc<Drain>,
    pub(super) clock: Clock,
    pub(super) request_time_max: Duration,
    /// The memory for answers of the API.
    pub(super) room: Room,
    pub(super) http: Arc<HttpMetrics>,
    /// Most bytes of what the API is asked.
    pub(super) body_bytes_max: usize,
    /// What the thread of the API asks.
    pub(super) requests: Requests,
    /// What the thread asks that reads requests.
    pub(super) light_requests: Requests,
    /// Places for requests of backends whose bodies are there.
    pub(super) api_requests: Semaphore,
    /// What the try page asks needs no key, so it takes no place from those who have one.
    pub(super) page_requests: Semaphore,
    /// How many requests there have been.
    pub(super) asked: AtomicU64,
    /// Room for long bodies of requests of backends.
    pub(super) bodies: Bodies,
    /// Of long bodies and replies one at a time is read or written.
    pub(super) long_turns: Semaphore,
}

impl Shared {
    /// Takes one of these places for a request that is there as a whole.
    pub(super) fn begin<'a>(&self, places: &'a Semaphore) -> Result<SemaphorePermit<'a>, ApiError> {
        places.try_acquire().map_err(|_| {
            self.http.requests_refused.increment();
            ApiError::TooMany
        })
    }
}

/// All paths.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    let dev = shared.facts.dev;
    let html = "text/html; charset=utf-8";
    let script = "text/javascript; charset=utf-8";
    let style = "text/css; charset=utf-8";
    let json = "application/json";
    let mut router = Router::new()
        .route("/", get(([(header::CONTENT_TYPE, html)], include_str!("page/index.html"))))
        .route("/app.js", get(([(header::CONTENT_TYPE, script)], include_str!("page/app.js"))))
        .route("/sdk.js", get(([(header::CONTENT_TYPE, script)], include_str!("page/sdk.js"))))
        .route("/centrifuge.js", get(([(header::CONTENT_TYPE, script)], SDK)))
        .route("/app.css", get(([(header::CONTENT_TYPE, style)], include_str!("page/app.css"))))
        .route("/info", get(info))
        .route("/try/refusal", post(refusal))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route(DESCRIPTION, get(([(header::CONTENT_TYPE, json)], OPENAPI)))
        .route(LINES, any(call))
        .route(&format!("{PREFIX}{{*method}}"), any(call));
    if dev {
        router = router.route(publish::PATH, post(publish));
    }
    router
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .fallback(async || ApiError::NotFound)
        .layer(from_fn_with_state(Arc::clone(&shared), guard))
        .layer(from_fn_with_state(Arc::clone(&shared), add_headers))
        .with_state(shared)
}

async fn metrics(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let format = Format::wanted(&headers);
    shared.http.answer_bytes.set(shared.room.held() as i64);
    let page = shared.page.get(&shared.registry, format).await.map_err(|_| ApiError::Failed)?;
    Ok(([(header::CONTENT_TYPE, format.content_type())], page).into_response())
}

async fn health(State(shared): State<Arc<Shared>>) -> Response {
    let draining = shared.drain.is_announced();
    let status = if draining { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let connections: i64 = shared.shards.iter().map(|shard| shard.connections.value()).sum();
    let body = json!({
        "status": if draining { "draining" } else { "ok" },
        "version": shared.facts.version,
        "shards": shared.shards.len(),
        "connections": connections,
    });
    (status, Json(body)).into_response()
}

async fn info(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    Json(json!({
        "version": shared.facts.version,
        "shards": shared.shards.len(),
        "websocket": websocket_url(shared.facts.public, &headers),
        "dev": shared.facts.dev,
    }))
    .into_response()
}

/// Keeps out who is at the wrong door, and pages whose name was made to lead here. A probe learns
/// nothing of worth, and the HTTP API asks for a key or looks at pages itself.
async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let (path, headers) = (request.uri().path(), request.headers());
    if is_for_clients(path, headers) {
        let url = websocket_url(shared.facts.public, headers);
        return ApiError::WrongDoor(url).into_response();
    }
    let is_guarded = shared.facts.guards_host && path != "/health" && !path.starts_with(PREFIX);
    if is_guarded && headers.contains_key(header::HOST) && !is_local_host(headers) {
        return ApiError::RemoteHost.into_response();
    }
    next.run(request).await
}

/// Whether a request is one for the public address: for one of its doors, or for a WebSocket where
/// this address has its page.
fn is_for_clients(path: &str, headers: &HeaderMap) -> bool {
    let is_door = ["/websocket", "/connection", "/echo"].iter().any(|door| {
        path.strip_prefix(door).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    let upgrade = headers.get(header::UPGRADE).map(HeaderValue::as_bytes);
    let is_websocket = upgrade.is_some_and(|it| it.eq_ignore_ascii_case(b"websocket"));
    is_door || is_websocket && path == "/"
}

async fn add_headers(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let websocket = websocket_url(shared.facts.public, request.headers());
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; \
         connect-src 'self' {websocket}; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let fixed: [(HeaderName, &str); 4] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let policy = HeaderValue::try_from(policy).expect("a URL of ASCII letters, digits and .:[]-");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

/// Where a browser that reached us under some `Host` finds the public listener. One that listens
/// on every address is reached at the address that got the browser here.
fn websocket_url(public: SocketAddr, headers: &HeaderMap) -> String {
    if public.ip().is_unspecified()
        && let Some(host) = host(headers)
    {
        return format!("ws://{host}:{}", public.port());
    }
    format!("ws://{public}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::head::tests::headers;

    #[test]
    fn websockets_are_found_from_wherever_the_page_was_opened() {
        let url = |public: &str, host| websocket_url(public.parse().unwrap(), &headers(host, None));
        assert_eq!(url("127.0.0.1:8000", "localhost:9000"), "ws://127.0.0.1:8000");
        assert_eq!(url("0.0.0.0:8000", "edge.example:9000"), "ws://edge.example:8000");
        assert_eq!(url("[::]:8000", "[::1]:9000"), "ws://[::1]:8000");
        assert_eq!(url("0.0.0.0:8000", "a;script-src"), "ws://0.0.0.0:8000");
    }
}
