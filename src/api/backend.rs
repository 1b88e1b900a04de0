//! `POST /api/{method}`: what backends ask over HTTP. `POST /api` takes commands as lines.
//!
//! `protocol::http_api` knows the bodies; here are keys, limits, statuses and waiting. A failure
//! of the request itself has the status 200 and stands in the body, because that is what published
//! clients read; other statuses are for what no retry with another body would change. With the
//! header `X-Centrifugo-Error-Mode: transport` the former have a status too.

use std::sync::Arc;

use axum::body::{Body as HttpBody, Bytes};
use axum::extract::{Request as HttpRequest, State};
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::request::Parts;
use axum::http::{Method as HttpMethod, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::task::yield_now;

use crate::api::Access;
use crate::api::answers::{RequestError, Requests, Settled};
use crate::api::batch::{handle_batch, handle_lines};
use crate::api::bodies::LONG_BYTES;
use crate::api::error::ApiError;
use crate::api::head::{check_page, read_body};
use crate::api::light::Light;
use crate::api::process;
use crate::api::replies::Bounded;
use crate::api::router::Shared;
use crate::mesh::Gathered;
use crate::metrics::{ApiMetrics, Counter};
use crate::model::{ChannelName, ClientError, Command, CommandError};
use crate::protocol::http_api::{
    Body, Fault, Form, Method, Node, Process, Reply, Request, decode_request,
};

/// A request that failed, and the status of the response.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) fault: Fault,
}

/// Where the methods are.
pub(super) const PREFIX: &str = "/api/";

/// Where commands are posted as lines.
pub(super) const LINES: &str = "/api";

/// Answers one request.
pub(super) async fn call(State(shared): State<Arc<Shared>>, request: HttpRequest) -> Response {
    let (head, body) = request.into_parts();
    match handle(&shared, &head, body).await {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(failure) => {
            count(&shared.metrics, &failure.fault);
            let mode = head.headers.get("x-centrifugo-error-mode");
            failure.into_response(mode.is_some_and(|mode| mode == "transport"))
        }
    }
}

/// The answer to a request that did not get as far as its method.
pub(super) fn failure(error: ApiError) -> Response {
    Failure::from(error).into_response(false)
}

async fn handle(shared: &Shared, head: &Parts, body: HttpBody) -> Result<Bytes, Failure> {
    if head.method != HttpMethod::POST {
        return Err(Failure::not_posted());
    }
    let headers = &head.headers;
    check_access(&shared.access, headers)?;
    // Without a name the methods stand in the body.
    let method = match head.uri.path().strip_prefix(PREFIX) {
        Some(name) => Some(Method::parse(name).ok_or_else(Failure::no_method)?),
        None => None,
    };
    if let Some(method) = method {
        requests(&shared.metrics, method).increment();
    }
    let body = read_body(headers, body, shared.body_bytes_max, shared.request_time_max).await?;
    let _under_way = shared.begin(&shared.api_requests)?;
    let _room = shared.bodies.begin(body.len()).await?;
    if shared.drain.has_begun() {
        return Err(ApiError::Draining.into());
    }
    let method = match method {
        None => return handle_lines(shared, &body).await,
        Some(Method::Batch) => return handle_batch(shared, &body).await,
        Some(method) => method,
    };
    let decode = |body: &[u8], now_nanos| decode_request(method, body, now_nanos);
    let requests = match head.extensions.get() {
        Some(Light) => &shared.light_requests,
        None => &shared.requests,
    };
    let reply = carry_out(shared, requests, read(shared, &body, decode).await?).await?;
    let mut json = Bounded::new(&shared.room);
    count_responses(&shared.metrics, &reply);
    json.write("result", reply)?;
    Ok(json.seal())
}

/// Makes commands of a body. A long one takes milliseconds: when it is read, everybody else has a
/// turn before the next is.
pub(super) async fn read<T>(
    shared: &Shared,
    body: &Bytes,
    decode: impl FnOnce(&[u8], u64) -> Result<T, Fault>,
) -> Result<T, Fault> {
    if body.len() <= LONG_BYTES {
        return decode(body, shared.clock.now_nanos());
    }
    let turn = shared.long_turns.acquire().await;
    let decoded = decode(body, shared.clock.now_nanos());
    yield_now().await;
    drop(turn);
    decoded
}

fn check_access(access: &Access, headers: &HeaderMap) -> Result<(), Failure> {
    if matches!(access, Access::Open) {
        check_page(headers)?;
    }
    access.check(headers).map_err(|denied| {
        let fault = Fault::new(ClientError::Unauthorized, denied);
        Failure { status: StatusCode::UNAUTHORIZED, fault }
    })
}

/// Hands a request to its shards and waits for what they say.
async fn carry_out(
    shared: &Shared,
    requests: &Requests,
    request: Request,
) -> Result<Reply, Failure> {
    let (command, asked) = split(request);
    let settled = requests.send_all(command.into_iter().collect()).await;
    reply(shared, asked, &mut settled.into_iter())
}

/// What is asked for beside the command that is sent; nothing of the edge itself.
pub(super) type Asked = Option<(Form, Option<ChannelName>)>;

/// What is to be sent of a request, and what it asks for.
pub(super) fn split(request: Request) -> (Option<Command>, Asked) {
    match request {
        Request::Info => (None, None),
        Request::Command(command, form) => {
            let channel = command.channel().cloned();
            (Some(command), Some((form, channel)))
        }
    }
}

/// The reply to a request; the next that settled is what became of its command. What was sent and
/// has not settled is out of time.
pub(super) fn reply(
    shared: &Shared,
    asked: Asked,
    settled: &mut impl Iterator<Item = Settled>,
) -> Result<Reply, Failure> {
    let Some((form, channel)) = asked else { return Ok(Reply::Info { nodes: [node(shared)] }) };
    let settled = settled.next().unwrap_or(Err(RequestError::Timeout));
    let Gathered { sessions, outcome, error } = settled?;
    if error == Some(CommandError::Draining) {
        return Err(ApiError::Draining.into());
    }
    Ok(form.reply(channel.as_ref(), sessions, outcome, error)?)
}

/// What this edge says of itself.
fn node(shared: &Shared) -> Node {
    let sum = |value: fn(&crate::metrics::ShardMetrics) -> i64| {
        shared.shards.iter().map(|shard| u64::try_from(value(shard)).unwrap_or_default()).sum()
    };
    Node {
        uid: shared.facts.uid.clone(),
        name: shared.facts.name.clone(),
        version: shared.facts.version,
        num_clients: sum(|shard| shard.connections.value()),
        num_users: sum(|shard| shard.users.value()),
        num_subs: sum(|shard| shard.subscriptions.value()),
        num_channels: sum(|shard| shard.channels.value()),
        uptime: shared.clock.now_nanos() / 1_000_000_000,
        process: process::resident_bytes().map(|bytes| Process { rss: bytes as u64 }),
    }
}

impl Failure {
    /// The body is not one with commands.
    pub(super) fn malformed(fault: Fault) -> Self {
        Self { status: StatusCode::BAD_REQUEST, fault }
    }

    fn no_method() -> Self {
        let message = "there is no such method: /api/openapi.json has them all";
        let fault = Fault::new(ClientError::MethodNotFound, message);
        Self { status: StatusCode::NOT_FOUND, fault }
    }

    fn not_posted() -> Self {
        let fault = Fault::new(ClientError::MethodNotFound, "methods are called with POST");
        Self { status: StatusCode::METHOD_NOT_ALLOWED, fault }
    }

    fn into_response(self, by_status: bool) -> Response {
        let is_said = self.status == StatusCode::OK && by_status;
        let status = if is_said { status_of(self.fault.error) } else { self.status };
        let json = serde_json::to_vec(&Body::<()>::Error(self.fault)).expect("text and numbers");
        let mut response =
            (status, [(header::CONTENT_TYPE, "application/json")], json).into_response();
        let headers = response.headers_mut();
        match status {
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("apikey"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self { status: StatusCode::OK, fault }
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        ApiError::from(error).into()
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        let status = error.status();
        let kind = match status {
            StatusCode::FORBIDDEN => ClientError::PermissionDenied,
            StatusCode::PAYLOAD_TOO_LARGE => ClientError::LimitExceeded,
            StatusCode::SERVICE_UNAVAILABLE => ClientError::TooManyRequests,
            status if status.is_server_error() => ClientError::Internal,
            _ => ClientError::BadRequest,
        };
        Self { status, fault: Fault::new(kind, error.to_string()) }
    }
}

/// The status that stands for an error where the client asks for one.
fn status_of(error: ClientError) -> StatusCode {
    match error {
        ClientError::Unauthorized => StatusCode::UNAUTHORIZED,
        ClientError::PermissionDenied => StatusCode::FORBIDDEN,
        ClientError::UnknownChannel | ClientError::MethodNotFound => StatusCode::NOT_FOUND,
        ClientError::UnrecoverablePosition => StatusCode::RANGE_NOT_SATISFIABLE,
        ClientError::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        ClientError::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    }
}

pub(super) fn requests(metrics: &ApiMetrics, method: Method) -> &Counter {
    match method {
        Method::Publish => &metrics.publish,
        Method::Broadcast => &metrics.broadcast,
        Method::Subscribe => &metrics.subscribe,
        Method::Unsubscribe => &metrics.unsubscribe,
        Method::Disconnect => &metrics.disconnect,
        Method::Refresh => &metrics.refresh,
        Method::Presence => &metrics.presence,
        Method::PresenceStats => &metrics.presence_stats,
        Method::History => &metrics.history,
        Method::HistoryRemove => &metrics.history_remove,
        Method::Info => &metrics.info,
        Method::Channels => &metrics.channels,
        Method::UserStatus => &metrics.user_status,
        Method::Batch => &metrics.batch,
    }
}

/// Counts a failed request, command of a batch or channel of a broadcast.
pub(super) fn count(metrics: &ApiMetrics, fault: &Fault) {
    let counter = match fault.error {
        ClientError::Unauthorized => &metrics.unauthorized,
        ClientError::UnknownChannel => &metrics.unknown_channel,
        ClientError::PermissionDenied => &metrics.forbidden,
        ClientError::MethodNotFound => &metrics.unknown_method,
        ClientError::LimitExceeded => &metrics.limit_exceeded,
        ClientError::BadRequest => &metrics.bad_request,
        ClientError::NotAvailable => &metrics.not_available,
        ClientError::TooManyRequests => &metrics.overloaded,
        ClientError::UnrecoverablePosition => &metrics.unrecoverable_position,
        _ => &metrics.internal,
    };
    counter.increment();
}

pub(super) fn count_responses(metrics: &ApiMetrics, reply: &Reply) {
    let Reply::Responses { responses, .. } = reply else { return };
    for response in responses {
        if let Body::Error(fault) = response {
            count(metrics, fault);
        }
    }
}
