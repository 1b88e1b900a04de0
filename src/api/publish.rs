//! `POST /try/publish`: how the try page publishes. Only mounted for development.
//!
//! The edge has no login, so the browser of a developer is what an attacker would use. A page of
//! another site cannot send JSON here without a preflight, which nothing answers; a page that does
//! carry an `Origin` must be ours; and the `Host` must be an address, so that a name rebound to
//! this machine is of no use. Commands are the same as those of every other entrance.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use serde::{Deserialize, Serialize};

use crate::api::error::ApiError;
use crate::api::router::{Shared, is_local_host, is_same_origin};
use crate::protocol::{ChannelName, Command, NameError, Publication};

/// Most bytes of a body.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// What the page sends: exactly one of `channel`, `user` and `all`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    channel: Option<String>,
    user: Option<String>,
    #[serde(default)]
    all: bool,
    data: String,
}

/// What the page is told.
#[derive(Debug, Serialize)]
pub(super) struct Published {
    sessions: u64,
}

/// Publishes and waits until all shards involved have told how many sessions they reached.
pub(super) async fn publish(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Json<Published>, ApiError> {
    let (head, body) = request.into_parts();
    check_head(&head.headers)?;
    let body = tokio::time::timeout(shared.request_time_max, read(&head.headers, body))
        .await
        .map_err(|_| ApiError::BodyTimeout)??;
    let input =
        serde_json::from_slice(&body).map_err(|error| ApiError::Invalid(error.to_string()))?;
    let command = command(input, shared.clock.now_nanos())?;
    if shared.draining.load(Ordering::Relaxed) {
        return Err(ApiError::Draining);
    }
    let sessions = shared.requests.send(command).await?;
    Ok(Json(Published { sessions }))
}

fn check_head(headers: &HeaderMap) -> Result<(), ApiError> {
    if !is_local_host(headers) {
        return Err(ApiError::ForeignHost);
    }
    if !is_same_origin(headers) {
        return Err(ApiError::ForeignOrigin);
    }
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.and_then(|value| value.split(';').next()).unwrap_or("");
    if !media_type.trim().eq_ignore_ascii_case("application/json") {
        return Err(ApiError::NotJson);
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > BODY_BYTES_MAX as u64) {
        return Err(ApiError::TooLarge(BODY_BYTES_MAX));
    }
    Ok(())
}

/// Reads the body. One with a stated length is within the limit, so it can only break off; one
/// without can do both, and where it broke off is of no interest to anybody.
async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| {
        if headers.contains_key(CONTENT_LENGTH) {
            ApiError::BodyIncomplete
        } else {
            ApiError::TooLarge(BODY_BYTES_MAX)
        }
    })
}

fn command(input: Input, received_nanos: u64) -> Result<Command, ApiError> {
    let name_error = |error: NameError| ApiError::Invalid(error.to_string());
    let publication = Arc::new(Publication::new(true, input.data.as_bytes(), received_nanos));
    let channel = match (input.channel, input.user, input.all) {
        (Some(channel), None, false) => ChannelName::parse(channel.as_bytes()),
        (None, Some(user), false) => ChannelName::personal(&user),
        (None, None, true) => return Ok(Command::PublishAll { publication }),
        _ => {
            let message = "give exactly one of `channel`, `user` and `all`: true";
            return Err(ApiError::Invalid(message.to_owned()));
        }
    };
    Ok(Command::Publish { channel: channel.map_err(name_error)?, publication, key: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<Command, ApiError> {
        let input =
            serde_json::from_str(body).map_err(|error| ApiError::Invalid(error.to_string()))?;
        command(input, 9)
    }

    #[test]
    fn bodies_become_commands() {
        let Ok(Command::Publish { channel, publication, .. }) =
            parse(r#"{"channel":"news","data":"hi"}"#)
        else {
            panic!("not a publish")
        };
        assert_eq!((channel.as_str(), &publication.payload()[..]), ("news", &b"hi"[..]));
        assert_eq!((publication.is_text(), publication.received_nanos()), (true, 9));
        let user = parse(r#"{"user":"42","data":""}"#);
        assert!(matches!(user, Ok(Command::Publish { channel, .. }) if channel.as_str() == "#42"));
        assert!(matches!(parse(r#"{"all":true,"data":""}"#), Ok(Command::PublishAll { .. })));
    }

    #[test]
    fn bodies_that_mean_nothing_are_refused() {
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"data":"x"}"#,
            r#"{"all":false,"data":"x"}"#,
            r#"{"channel":"news"}"#,
            r#"{"channel":"news","data":1}"#,
            r#"{"channel":"","data":"x"}"#,
            r#"{"channel":"$cmd","data":"x"}"#,
            r#"{"user":"","data":"x"}"#,
            r#"{"channel":"news","user":"42","data":"x"}"#,
            r#"{"channel":"news","all":true,"data":"x"}"#,
            r#"{"channel":"news","data":"x","extra":1}"#,
        ] {
            assert!(matches!(parse(bad), Err(ApiError::Invalid(_))), "{bad}");
        }
    }
}
