//! `tidegate gentoken`: a token as a backend would make it, for trying and for scripts.
//!
//! It is signed with the first secret of the configuration, so that the edge with this
//! configuration takes it, or with a private key, for an edge that has the public one.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::cli::{Configuration, fail, print};
use crate::config;
use crate::sys::Clock;
use crate::token::Signer;

/// Longest file with a private key.
const KEY_FILE_BYTES_MAX: u64 = 16 << 10;

const EXAMPLE: &str = "Example:
  export TIDEGATE_TOKEN__HMAC_SECRET=$(openssl rand -hex 32)
  tidegate gentoken --user 42 --ttl 10m --info '{\"name\":\"Ada\"}'
  tidegate gentoken --user 42 --channel news --claims '{\"expire_at\":0}'";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Arguments {
    /// The user; an empty one is nobody in particular.
    #[arg(long)]
    user: String,
    /// Makes a subscription token for this channel instead of a connection token.
    #[arg(long)]
    channel: Option<String>,
    /// The only device of the user that may use the token.
    #[arg(long)]
    device: Option<String>,
    /// How long it is valid, for example 10m; 0s means that it never expires.
    #[arg(long, default_value = "1h", value_name = "DURATION", value_parser = parse_ttl)]
    ttl: Duration,
    /// The claim info: what others see of this client.
    #[arg(long, value_name = "JSON", value_parser = parse_json)]
    info: Option<Value>,
    /// Further claims; they win over those of other flags.
    #[arg(long, value_name = "JSON", value_parser = parse_claims)]
    claims: Option<Map<String, Value>>,
    /// Sign with a private key in PEM instead of the secret: its kind says the algorithm.
    #[arg(long, value_name = "FILE")]
    private_key: Option<PathBuf>,
    /// The name of the private key in a key set.
    #[arg(long, value_name = "NAME", requires = "private_key")]
    kid: Option<String>,
    #[command(flatten)]
    configuration: Configuration,
}

pub(super) fn run(arguments: Arguments) -> ExitCode {
    let claims = claims(&arguments, Clock::unix_seconds());
    let token = signer(arguments)
        .and_then(|signer| signer.sign(claims.as_bytes()).map_err(|error| error.to_string()));
    match token {
        Ok(token) => {
            print(&format!("{token}\n"));
            ExitCode::SUCCESS
        }
        Err(reason) => fail(&reason),
    }
}

fn claims(arguments: &Arguments, now: u64) -> String {
    let mut claims = Map::new();
    claims.insert("sub".to_owned(), json!(arguments.user));
    claims.insert("iat".to_owned(), json!(now));
    if !arguments.ttl.is_zero() {
        claims.insert("exp".to_owned(), json!(now + arguments.ttl.as_secs()));
    }
    if let Some(channel) = &arguments.channel {
        claims.insert("channel".to_owned(), json!(channel));
    }
    if let Some(device) = &arguments.device {
        claims.insert("device".to_owned(), json!(device));
    }
    if let Some(info) = &arguments.info {
        claims.insert("info".to_owned(), info.clone());
    }
    claims.extend(arguments.claims.clone().unwrap_or_default());
    Value::Object(claims).to_string()
}

fn signer(arguments: Arguments) -> Result<Signer, String> {
    if let Some(path) = &arguments.private_key {
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text))
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let signer = Signer::from_pem(&text);
        let signer = signer.map_err(|error| format!("{}: {error}", path.display()))?;
        return Ok(match arguments.kid {
            Some(name) => signer.with_name(name),
            None => signer,
        });
    }
    let config = arguments.configuration.load()?;
    let secret = config.token.hmac_secret.first().ok_or(
        "there is no token.hmac_secret: set it in the file of --config or in the variable \
         TIDEGATE_TOKEN__HMAC_SECRET, or sign with --private-key",
    )?;
    Ok(Signer::from_secret(secret.as_bytes()))
}

fn parse_ttl(text: &str) -> Result<Duration, String> {
    config::parse_time(text).ok_or_else(|| "must be a duration such as 30s, 10m or 1h".to_owned())
}

fn parse_json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))
}

fn parse_claims(text: &str) -> Result<Map<String, Value>, String> {
    match parse_json(text)? {
        Value::Object(claims) => Ok(claims),
        _ => Err("must be a JSON object".to_owned()),
    }
}
