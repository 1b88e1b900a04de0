//! Several commands in one request: `batch`, and the lines that are posted to `/api` itself.

use axum::body::Bytes;
use axum::http::StatusCode;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

use crate::api::answers::{RequestError, Settled};
use crate::api::backend::{Failure, carry_out, node, read, requests};
use crate::api::replies::{Replies, Style};
use crate::api::router::Shared;
use crate::protocol::centrifuge::ClientError;
use crate::protocol::http_api::{Batch, Entry, Fault, Reply, Request, decode_batch, decode_lines};

/// Answers a batch. The reply has no place for an error of its own, so that has a status.
pub(super) async fn handle_batch(shared: &Shared, body: &Bytes) -> Result<Bytes, Failure> {
    let Batch { requests, parallel } =
        read(shared, body, decode_batch).await.map_err(Failure::malformed)?;
    let mut replies = Replies::new(&shared.metrics, &shared.room, Style::Batch);
    if parallel {
        all_at_once(shared, requests, &mut replies).await?;
    } else {
        one_by_one(shared, requests, &mut replies).await?;
    }
    Ok(replies.finish())
}

/// Answers each command of several lines with a line.
pub(super) async fn handle_lines(shared: &Shared, body: &Bytes) -> Result<Bytes, Failure> {
    let all = read(shared, body, decode_lines).await.map_err(Failure::malformed)?;
    for method in all.iter().filter_map(|(method, _)| *method) {
        requests(&shared.metrics, method).increment();
    }
    let mut replies = Replies::new(&shared.metrics, &shared.room, Style::Lines);
    one_by_one(shared, all, &mut replies).await?;
    Ok(replies.finish())
}

/// No command waits for another one.
async fn all_at_once(
    shared: &Shared,
    all: Vec<Entry>,
    replies: &mut Replies<'_>,
) -> Result<(), Failure> {
    let (mut commands, mut entries) = (Vec::new(), Vec::with_capacity(all.len()));
    for (method, request) in all {
        entries.push((
            method,
            request.map(|request| match request {
                Request::Info => None,
                Request::Command(command, form) => {
                    let channel = command.channel().cloned();
                    commands.push(command);
                    Some((form, channel))
                }
            }),
        ));
    }
    let settled = match commands.is_empty() {
        true => Vec::new(),
        false => shared.requests.send_all(commands).await,
    };
    let has_begun = |settled: &Settled| !matches!(settled, Err(RequestError::Overloaded));
    if !settled.is_empty() && !settled.iter().any(has_begun) {
        return Err(RequestError::Overloaded.into());
    }
    // Others have their turn between a long reply and the next.
    let turn = shared.long_turns.acquire().await;
    let mut settled = settled.into_iter();
    for (method, entry) in entries {
        let reply = match entry {
            Err(fault) => Err(fault),
            Ok(None) => Ok(Reply::Info { nodes: [node(shared)] }),
            Ok(Some((form, channel))) => match settled.next().expect("each command was settled") {
                Ok(said) => form.reply(channel.as_ref(), said.sessions, said.outcome, said.error),
                Err(error) => Err(Failure::from(error).fault),
            },
        };
        replies.push(method, reply);
    }
    yield_now().await;
    drop(turn);
    Ok(())
}

/// Each command begins when the one before is done. After one that did not get through no other
/// begins, because what comes later may build on it.
async fn one_by_one(
    shared: &Shared,
    all: Vec<Entry>,
    replies: &mut Replies<'_>,
) -> Result<(), Failure> {
    let deadline = Instant::now() + shared.requests.patience;
    let (mut is_begun, mut is_stopped) = (false, false);
    for (method, request) in all {
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
