//! `tidegate checktoken`: would an edge with this configuration take the token, and how would it
//! read it? It uses the very keys and rules that `serve` would, key sets on the web included.

use std::io::Read as _;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::cli::{Configuration, fail, print};
use crate::keys::{self, Timing};
use crate::limits::TOKEN_BYTES_MAX;
use crate::model::Overrides;
use crate::sys::Clock;
use crate::token::{ConnectionClaims, Flaw, Json, SubscriptionClaims, TokenError, Verifier};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The token; - reads it from standard input, which no list of processes shows.
    token: String,
    #[command(flatten)]
    configuration: Configuration,
}

pub(super) fn run(arguments: Arguments) -> ExitCode {
    match check(arguments) {
        Ok(claims) => {
            print(&format!("{claims:#}\n"));
            ExitCode::SUCCESS
        }
        Err(reason) => fail(&reason),
    }
}

fn check(arguments: Arguments) -> Result<Value, String> {
    let token = read_token(arguments.token)?;
    let config = arguments.configuration.load()?;
    let keeper = keys::open(&config.token, Timing::default()).map_err(|error| error.to_string())?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?
        .block_on(keeper.load())
        .map_err(|error| format!("the key set: {error}"))?;
    let verifier = keeper.authority().verifier();
    verify(&verifier, token.trim(), Clock::unix_seconds()).map_err(|error| error.to_string())
}

fn read_token(argument: String) -> Result<String, String> {
    if argument != "-" {
        return Ok(argument);
    }
    let mut token = String::new();
    std::io::stdin()
        .lock()
        .take(TOKEN_BYTES_MAX as u64 + 2)
        .read_to_string(&mut token)
        .map_err(|error| format!("cannot read the token from standard input: {error}"))?;
    Ok(token)
}

/// The claims of either kind of token. A subscription token is one with the claim `channel`.
fn verify(verifier: &Verifier, token: &str, now: u64) -> Result<Value, TokenError> {
    match verifier.verify_connection(token, now) {
        Ok(claims) => Ok(connection(&claims)),
        Err(TokenError::Invalid(Flaw::Claim { name: "channel", .. })) => {
            verifier.verify_subscription(token, now).map(|claims| subscription(&claims))
        }
        Err(error) => Err(error),
    }
}

fn connection(claims: &ConnectionClaims) -> Value {
    let subs = claims.subs.iter().map(|(channel, options)| {
        let (info, data) = (value(options.info.as_ref()), value(options.data.as_ref()));
        let overrides = overrides(&options.overrides);
        (channel.clone(), json!({ "info": info, "data": data, "override": overrides }))
    });
    json!({
        "kind": "connection",
        "user": claims.user,
        "device": claims.device,
        "expires_at": claims.expires_at,
        "issued_at": claims.issued_at,
        "id": claims.id,
        "info": value(claims.info.as_ref()),
        "channels": claims.channels,
        "subs": subs.collect::<Map<_, _>>(),
        "meta": value(claims.meta.as_ref()),
    })
}

fn subscription(claims: &SubscriptionClaims) -> Value {
    json!({
        "kind": "subscription",
        "user": claims.user,
        "channel": claims.channel,
        "device": claims.device,
        "client": claims.client,
        "info": value(claims.info.as_ref()),
        "expires_at": claims.expires_at,
        "issued_at": claims.issued_at,
        "override": overrides(&claims.overrides),
    })
}

fn overrides(options: &Overrides) -> Value {
    json!({
        "presence": options.presence,
        "join_leave": options.join_leave,
        "force_recovery": options.force_recovery,
        "force_positioning": options.force_positioning,
        "force_push_join_leave": options.force_push_join_leave,
    })
}

/// JSON of a claim; what nests too deeply to be taken apart is shown as text.
fn value(json: Option<&Json>) -> Value {
    json.map_or(Value::Null, |json| {
        serde_json::from_str(json.as_str()).unwrap_or_else(|_| json!(json.as_str()))
    })
}
