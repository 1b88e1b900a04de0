//! Several commands in one request: `batch`, and the lines that are posted to `/api` itself.

use axum::body::Bytes;
use axum::http::StatusCode;
use tokio::task::yield_now;
use tokio::time::Instant;

use crate::api::answers::{RequestError, Settled};
use crate::api::backend::{Asked, Failure, read, reply, requests, split};
use crate::api::replies::{Replies, Style};
use crate::api::router::Shared;
use crate::model::{ClientError, Command};
use crate::protocol::http_api::{
    Batch, Entry, Fault, Method, Reply, Request, decode_batch, decode_lines,
};

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
    let (commands, asked) = split_all(all);
    let settled = shared.requests.send_all(commands).await;
    let has_begun = |settled: &Settled| !matches!(settled, Err(RequestError::Overloaded));
    if !settled.is_empty() && !settled.iter().any(has_begun) {
        return Err(RequestError::Overloaded.into());
    }
    // Others have their turn between a long reply and the next.
    let turn = shared.long_turns.acquire().await;
    for (method, reply) in replies_to(shared, asked, settled) {
        replies.push(method, reply.map_err(|failure| failure.fault));
    }
    yield_now().await;
    drop(turn);
    Ok(())
}

/// What a command of a batch asks for, if it could be read.
type Part = (Option<Method>, Result<Asked, Fault>);

/// The commands that are to be sent, and what all of them ask for.
fn split_all(all: Vec<Entry>) -> (Vec<Command>, Vec<Part>) {
    let mut commands = Vec::with_capacity(all.len());
    let mut ask = |request| {
        let (command, asked) = split(request);
        commands.extend(command);
        asked
    };
    let asked = all.into_iter().map(|(method, request)| (method, request.map(&mut ask))).collect();
    (commands, asked)
}

/// What became of each request.
fn replies_to(
    shared: &Shared,
    asked: Vec<Part>,
    settled: Vec<Settled>,
) -> impl Iterator<Item = (Option<Method>, Result<Reply, Failure>)> {
    let mut settled = settled.into_iter();
    asked.into_iter().map(move |(method, asked)| {
        let reply = asked.map_err(Failure::from).and_then(|it| reply(shared, it, &mut settled));
        (method, reply)
    })
}

/// Each command begins when the one before is done, but for publications that follow each other:
/// they are begun together, and links keep those of a channel in order. After a command that did
/// not get through no other begins, because what comes later may build on it.
async fn one_by_one(
    shared: &Shared,
    all: Vec<Entry>,
    replies: &mut Replies<'_>,
) -> Result<(), Failure> {
    let deadline = Instant::now() + shared.requests.patience;
    let (mut is_begun, mut is_stopped) = (false, false);
    let mut all = all.into_iter().peekable();
    while let Some(first) = all.next() {
        if is_stopped {
            let message = "not begun, because an earlier command did not get through";
            let fault = || Fault::new(ClientError::TooManyRequests, message);
            replies.push(first.0, first.1.and_then(|_| Err(fault())));
            continue;
        }
        let is_read = first.1.is_ok();
        let mut run = vec![first];
        while is_publication(&run[0])
            && let Some(next) = all.next_if(is_publication)
        {
            run.push(next);
        }
        let (commands, asked) = split_all(run);
        let settled = shared.requests.send_by(commands, deadline).await;
        let said: Vec<_> = replies_to(shared, asked, settled).collect();
        let did_not_get_through = |failure: &Failure| failure.status != StatusCode::OK;
        let failed = said.iter().filter(|(_, said)| said.as_ref().is_err_and(did_not_get_through));
        let failed = failed.count();
        is_stopped = failed > 0;
        let is_nothing_done = !is_begun && failed == said.len();
        is_begun |= is_read;
        for (method, said) in said {
            match said {
                Err(failure) if is_nothing_done => return Err(failure),
                said => replies.push(method, said.map_err(|failure| failure.fault)),
            }
        }
    }
    Ok(())
}

fn is_publication((_, request): &Entry) -> bool {
    matches!(request, Ok(Request::Command(Command::Publish { .. } | Command::Broadcast { .. }, _)))
}
