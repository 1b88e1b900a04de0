//! What `tidegate serve` says on standard output once it serves: every socket with its role, who
//! may use it, which settings hold, and what to try next.
//!
//! A line begins with a word and an address, so that scripts find theirs; the line `operators` is
//! the last of these. For development, what to try next stands below it.

use std::path::Path;

use crate::config::{Config, SocketKind, Token};
use crate::edge::Addresses;

/// The lines.
pub(super) fn text(addresses: &Addresses, config: &Config, file: Option<&Path>) -> String {
    let Addresses { public, internal, ingest, room } = addresses;
    let mut text = format!("tidegate {} serves\n", env!("CARGO_PKG_VERSION"));
    let mut line = |name: &str, about: String| text += &format!("  {name:10} {about}\n");
    line("clients", format!("ws://{public}/websocket/{{user}}?channels=a,b"));
    line("SDKs", format!("ws://{public}/connection/websocket"));
    for (address, endpoint) in ingest.iter().zip(&config.ingest.endpoints) {
        line("ZeroMQ", format!("{address}  {}", role(endpoint.kind)));
    }
    line("settings", file.map_or_else(|| "defaults".to_owned(), |it| it.display().to_string()));
    line("tokens", tokens(config));
    line("room", format!("for {room} connections"));
    line("HTTP API", format!("http://{internal}/api/  {}", access(config)));
    line("operators", format!("http://{internal}/metrics"));
    if config.dev {
        text += &format!(
            "Try it:    http://{internal}/\n\
             Publish:   curl http://{internal}/api/publish --json \
             '{{\"channel\": \"news\", \"data\": \"hello\"}}'\n"
        );
    }
    text
}

const fn role(kind: SocketKind) -> &'static str {
    match kind {
        SocketKind::Sub => "SUB, hears PUB: every edge gets every message",
        SocketKind::Pull => "PULL, hears PUSH: one edge gets each message",
        SocketKind::Router => "ROUTER, hears DEALER and REQ: every message is answered",
        SocketKind::Pub => "PUB, tells SUB of events",
        SocketKind::Xpub => "XPUB, tells SUB of events",
    }
}

const fn access(config: &Config) -> &'static str {
    if config.api.insecure {
        "open to everybody on this host"
    } else if config.api.key.is_empty() {
        "closed: set api.key to open it"
    } else {
        "asks for api.key"
    }
}

/// How clients are known.
fn tokens(config: &Config) -> String {
    let Token { hmac_secret, public_keys, jwks_file, jwks_url, .. } = &config.token;
    let sources = [
        (!hmac_secret.is_empty(), "token.hmac_secret"),
        (!public_keys.is_empty(), "token.public_keys"),
        (jwks_file.is_some(), "token.jwks_file"),
        (jwks_url.is_some(), "token.jwks_url"),
    ];
    let set: Vec<_> = sources.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| *name).collect();
    match (set.is_empty(), config.client.insecure) {
        (_, true) => "not needed (client.insecure): whoever connects may do everything".to_owned(),
        (true, _) => "no key is set: whoever connects may take any user name".to_owned(),
        (false, _) => format!("verified with {}", set.join(", ")),
    }
}
