//! `POST /try/publish`: how the try page publishes. Only mounted for development.
//!
//! It asks for no key, so only our own pages may use it (see `head`). Commands are the same as
//! those of every other entrance.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use serde::{Deserialize, Serialize};

use crate::api::answers::RequestError;
use crate::api::error::ApiError;
use crate::api::head::read_page;
use crate::api::router::Shared;
use crate::mesh::Gathered;
use crate::model::{ChannelName, Command, NameError, Publication};

/// Where it is.
pub(super) const PATH: &str = "/try/publish";

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
    let input = read_page(&head.headers, body, shared.request_time_max).await?;
    let _under_way = shared.begin(&shared.page_requests)?;
    let command = command(input, shared.clock.now_nanos())?;
    if shared.drain.has_begun() {
        return Err(ApiError::Draining);
    }
    let Gathered { sessions, error, .. } = shared.requests.send(command).await?;
    match error {
        Some(error) => Err(RequestError::from(error).into()),
        None => Ok(Json(Published { sessions })),
    }
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
