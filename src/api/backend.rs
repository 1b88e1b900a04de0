//! `POST /api/{method}`: what backends ask over HTTP.
//!
//! `protocol::http_api` knows the bodies; here are keys, limits, statuses and waiting. A failure
//! of the request itself has the status 200 and stands in the body, because that is what published
//! clients read; other statuses are for what no retry with another body would change. With the
//! header `X-Centrifugo-Error-Mode: transport` the former have a status too.

use std::io;
use std::sync::Arc;

use axum::body::{Body as HttpBody, Bytes};
use axum::extract::{Request as HttpRequest, State};
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::request::Parts;
use axum::http::{Method as HttpMethod, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use crate::api::Access;
use crate::api::answers::RequestError;
use crate::api::error::ApiError;
use crate::api::head::{check_page, read_body};
use crate::api::process;
use crate::api::router::Shared;
use crate::metrics::{ApiMetrics, Counter};
use crate::protocol::CommandError;
use crate::protocol::centrifuge::ClientError;
use crate::protocol::http_api::{
    Batch, Body, Fault, Method, Node, Process, Reply, Request, decode_batch, decode_request,
};

/// Most bytes of a request's body.
const REQUEST_BYTES_MAX: usize = 1024 * 1024;

/// Most bytes of results in one response. What would go past it is an error instead.
const RESPONSE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A request that failed, and the status of the response.
#[derive(Debug)]
struct Failure {
    status: StatusCode,
    fault: Fault,
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

async fn handle(shared: &Shared, head: &Parts, body: HttpBody) -> Result<Vec<u8>, Failure> {
    if head.method != HttpMethod::POST {
        return Err(Failure::not_posted());
    }
    let headers = &head.headers;
    check_access(&shared.access, headers)?;
    let name = head.uri.path().strip_prefix(PREFIX).unwrap_or_default();
    let method = Method::parse(name).ok_or_else(Failure::no_method)?;
    requests(&shared.metrics, method).increment();
    let body = read_body(headers, body, REQUEST_BYTES_MAX, shared.request_time_max).await?;
    if shared.drain.has_begun() {
        return Err(ApiError::Draining.into());
    }
    if method == Method::Batch {
        return handle_batch(shared, &body).await;
    }
    let reply = carry_out(shared, decode(shared, method, &body)?).await?;
    let mut json = Bounded::default();
    count_responses(&shared.metrics, &reply);
    json.write(&Body::Result(reply))?;
    Ok(json.0)
}

fn decode(shared: &Shared, method: Method, body: &Bytes) -> Result<Request, Fault> {
    decode_request(method, body, shared.clock.now_nanos())
}

fn check_access(access: &Access, headers: &HeaderMap) -> Result<(), Failure> {
    if matches!(access, Access::Open) {
        check_page(headers)?;
    }
    if access.admits(headers) {
        return Ok(());
    }
    let message = match access {
        Access::Closed => "the API is closed: set the option api.key (or start with --dev)",
        _ => "send the key (option api.key) in the header X-API-Key",
    };
    let fault = Fault::new(ClientError::Unauthorized, message);
    Err(Failure { status: StatusCode::UNAUTHORIZED, fault })
}

/// Hands a request to its shards and waits for what they say.
async fn carry_out(shared: &Shared, request: Request) -> Result<Reply, Failure> {
    match request {
        Request::Info => Ok(Reply::Info { nodes: [node(shared)] }),
        Request::Command(command, form) => {
            let gathered = shared.requests.send(command).await?;
            if gathered.error == Some(CommandError::Draining) {
                return Err(ApiError::Draining.into());
            }
            Ok(form.reply(gathered.sessions, gathered.outcome, gathered.error)?)
        }
    }
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

/// The reply to a batch has no place for an error of its own, so that has a status.
async fn handle_batch(shared: &Shared, body: &Bytes) -> Result<Vec<u8>, Failure> {
    let batch = decode_batch(body, shared.clock.now_nanos())
        .map_err(|fault| Failure { status: StatusCode::BAD_REQUEST, fault })?;
    let mut replies = Replies::new(&shared.metrics);
    if batch.parallel {
        all_at_once(shared, batch, &mut replies).await?;
    } else {
        one_by_one(shared, batch, &mut replies).await?;
    }
    Ok(replies.finish())
}

/// Every command begins at the same time, or none does.
async fn all_at_once(
    shared: &Shared,
    batch: Batch,
    replies: &mut Replies<'_>,
) -> Result<(), Failure> {
    let (mut commands, mut entries) = (Vec::new(), Vec::with_capacity(batch.requests.len()));
    for (method, request) in batch.requests {
        entries.push((
            method,
            request.map(|request| match request {
                Request::Info => None,
                Request::Command(command, form) => {
                    commands.push(command);
                    Some(form)
                }
            }),
        ));
    }
    let settled = match commands.is_empty() {
        true => Vec::new(),
        false => shared.requests.send_all(commands).await,
    };
    if settled.iter().any(|settled| matches!(settled, Err(RequestError::Overloaded))) {
        return Err(RequestError::Overloaded.into());
    }
    let mut settled = settled.into_iter();
    for (method, entry) in entries {
        let reply = match entry {
            Err(fault) => Err(fault),
            Ok(None) => Ok(Reply::Info { nodes: [node(shared)] }),
            Ok(Some(form)) => match settled.next().expect("each command was settled") {
                Ok(said) => form.reply(said.sessions, said.outcome, said.error),
                Err(error) => Err(Failure::from(error).fault),
            },
        };
        replies.push(method, reply);
    }
    Ok(())
}

/// Each command begins when the one before is done. After one that did not get through no other
/// begins, because what comes later may build on it.
async fn one_by_one(
    shared: &Shared,
    batch: Batch,
    replies: &mut Replies<'_>,
) -> Result<(), Failure> {
    let deadline = Instant::now() + shared.requests.patience;
    let (mut is_begun, mut is_stopped) = (false, false);
    for (method, request) in batch.requests {
        let reply = match request {
            Err(fault) => Err(fault),
            Ok(_) if is_stopped => {
                let message = "not begun, because an earlier command did not get through";
                Err(Fault::new(ClientError::TooManyRequests, message))
            }
            Ok(request) => {
                let reply = timeout_at(deadline, carry_out(shared, request)).await;
                match reply.unwrap_or_else(|_| Err(RequestError::Timeout.into())) {
                    Err(failure) if failure.status != StatusCode::OK && !is_begun => {
                        return Err(failure);
                    }
                    reply => {
                        is_begun = true;
                        let has_failed = |failure: &Failure| failure.status != StatusCode::OK;
                        is_stopped = reply.as_ref().is_err_and(has_failed);
                        reply.map_err(|failure| failure.fault)
                    }
                }
            }
        };
        replies.push(method, reply);
    }
    Ok(())
}

/// The body of a batch's response while it grows.
struct Replies<'a> {
    metrics: &'a ApiMetrics,
    json: Bounded,
}

impl<'a> Replies<'a> {
    fn new(metrics: &'a ApiMetrics) -> Self {
        Self { metrics, json: Bounded(b"{\"replies\":[".to_vec()) }
    }

    fn push(&mut self, method: Option<Method>, reply: Result<Reply, Fault>) {
        if self.json.0.ends_with(b"}") {
            self.json.0.push(b',');
        }
        let name = method.map_or("", Method::name);
        let written = reply.and_then(|reply| {
            count_responses(self.metrics, &reply);
            self.json.write(&Keyed(name, reply))
        });
        if let Err(fault) = written {
            count(self.metrics, &fault);
            let json = serde_json::to_vec(&Body::<()>::Error(fault)).expect("text and numbers");
            self.json.0.extend(json);
        }
    }

    fn finish(mut self) -> Vec<u8> {
        self.json.0.extend(b"]}");
        self.json.0
    }
}

/// An object with one key.
struct Keyed(&'static str, Reply);

impl Serialize for Keyed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(self.0, &self.1)])
    }
}

/// JSON of at most [`RESPONSE_BYTES_MAX`].
#[derive(Default)]
struct Bounded(Vec<u8>);

impl Bounded {
    /// Appends a value, or nothing and an error.
    fn write(&mut self, value: &impl Serialize) -> Result<(), Fault> {
        let length = self.0.len();
        serde_json::to_writer(&mut *self, value).map_err(|_| {
            self.0.truncate(length);
            CommandError::TooLarge.into()
        })
    }
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > RESPONSE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Failure {
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

fn requests(metrics: &ApiMetrics, method: Method) -> &Counter {
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
fn count(metrics: &ApiMetrics, fault: &Fault) {
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

fn count_responses(metrics: &ApiMetrics, reply: &Reply) {
    let Reply::Responses { responses, .. } = reply else { return };
    for response in responses {
        if let Body::Error(fault) = response {
            count(metrics, fault);
        }
    }
}
