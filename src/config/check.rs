//! Checks of the configuration as a whole: what is right option by option and still unsafe or
//! contradictory together.
//!
//! Safe by default: listening where others can reach the edge takes a second option that says so,
//! and every refusal names that option.

use std::time::Duration;

use crate::config::endpoint::{Curve, CurveRole, Endpoint, Mode, SocketKind};
use crate::config::error::{Error, Origin};
use crate::config::group::Reader;
use crate::config::pairs;
use crate::config::table::{Config, Token};
use crate::model::{Namespace, Permission};

/// Checks everything, rounds what is to be rounded and applies `--dev`.
pub(super) fn finish(config: &mut Config, dev: bool, reader: &mut Reader) {
    config.links.capacity = config.links.capacity.next_power_of_two();
    config.dev = dev;
    check_doors(config, reader);
    check_api(config, reader);
    pairs::settle(config, reader);
    pairs::check(config, reader);
    check_rules(&config.channels, "channels", reader);
    check_rules(&config.personal, "personal", reader);
    check_personal(&config.personal, reader);
    for (name, rules) in &config.namespaces.0 {
        check_rules(rules, &format!("namespaces.{name}"), reader);
    }
    for (index, endpoint) in config.ingest.endpoints.iter().enumerate() {
        let place = Place(format!("ingest.endpoints[{index}]"));
        check_endpoint(endpoint, config.ingest.allow_remote_plaintext, &place, reader);
        if let Some(curve) = &endpoint.curve {
            check_curve(curve, &Place(format!("{}.curve", place.0)), reader);
        }
    }
    if dev {
        apply_dev(config, reader);
    }
}

impl Token {
    /// Whether there is anything to verify tokens with.
    pub fn has_keys(&self) -> bool {
        !self.hmac_secret.is_empty()
            || !self.public_keys.is_empty()
            || self.jwks_file.is_some()
            || self.jwks_url.is_some()
    }
}

/// The longest path of a socket, which the kernel sets.
const UNIX_PATH_BYTES_MAX: usize = 107;

/// The longest name of an interface, which the kernel sets.
const INTERFACE_BYTES_MAX: usize = 15;

/// The options or endpoint that a check is about.
pub(super) struct Place(pub(super) String);

impl Place {
    pub(super) fn conflict(&self, key: &str, (reason, remedy): (&str, &str), reader: &mut Reader) {
        let key = if key.is_empty() { self.0.clone() } else { format!("{}.{key}", self.0) };
        let parent = || reader.origin_of(&self.0);
        let origin = match reader.origin_of(&key) {
            Origin::Default => parent(),
            origin => origin,
        };
        let (reason, remedy) = (reason.to_owned(), remedy.to_owned());
        reader.errors.push(Error::Conflict { key, origin, reason, remedy });
    }
}

fn check_doors(config: &Config, reader: &mut Reader) {
    let (public, internal) = (&config.public, &config.internal);
    // A key that could not be read has been reported as such.
    let has_keys = config.token.has_keys() || reader.has_rejected("token.");
    let asks_for_tokens = has_keys && !config.client.insecure;
    let doors = [
        (
            "public",
            public.address,
            public.allow_anonymous || asks_for_tokens,
            "set a key in [token] and not client.insecure, or set public.allow_anonymous = true",
        ),
        ("internal", internal.address, internal.allow_remote, "set internal.allow_remote = true"),
    ];
    for (section, address, allowed, remedy) in doors {
        if address.ip().is_loopback() {
            continue;
        }
        let place = Place(section.to_owned());
        let reason = format!("{address} is not a loopback address");
        if config.dev {
            let remedy = "--dev opens every door, so leave it out or listen on 127.0.0.1";
            place.conflict("address", (&reason, remedy), reader);
        } else if !allowed {
            let remedy = format!("{remedy} if everybody who reaches it may use it");
            place.conflict("address", (&reason, &remedy), reader);
        }
    }
    if public.address == internal.address && public.address.port() != 0 {
        let problem = ("public.address is the same", "choose another port");
        Place("internal".to_owned()).conflict("address", problem, reader);
    }
}

/// Who reaches the API can do everything to every client, so that takes a key or the same host.
fn check_api(config: &Config, reader: &mut Reader) {
    let api = &config.api;
    let is_local = config.internal.address.ip().is_loopback();
    let place = Place("api".to_owned());
    if api.insecure && !is_local {
        let reason = format!("{} is not a loopback address", config.internal.address);
        place.conflict("insecure", (&reason, "set api.key instead"), reader);
    } else if api.insecure && !api.key.is_empty() {
        let problem = ("api.insecure = true makes api.key useless", "remove one of the two");
        place.conflict("insecure", problem, reader);
    } else if !is_local && !config.dev && api.key.is_empty() && !reader.has_rejected("api.key") {
        let reason = "others can reach the HTTP API without a key";
        Place("internal".to_owned()).conflict("address", (reason, "set api.key"), reader);
    }
}

/// Rules that can have no effect: somebody believes in them.
fn check_rules(rules: &Namespace, section: &str, reader: &mut Reader) {
    let place = Place(section.to_owned());
    if rules.history_size == 0 && rules.history_ttl != Namespace::default().history_ttl {
        let remedy = format!("set {section}.history_size, or remove it");
        place.conflict("history_ttl", ("there is no history", &remedy), reader);
    }
    if rules.read_presence == Some(Permission::Token) && !rules.presence {
        let remedy = format!("set {section}.presence = true, or remove it");
        place.conflict("read_presence", ("there is no presence", &remedy), reader);
    }
    if rules.read_history == Some(Permission::Token) && rules.history_size == 0 {
        let remedy = format!("set {section}.history_size, or remove it");
        place.conflict("read_history", ("there is no history", &remedy), reader);
    }
}

/// A user's sessions are in its personal channel from the start, and nobody else ever is.
fn check_personal(rules: &Namespace, reader: &mut Reader) {
    if rules.subscribe == Permission::Nobody {
        let problem = ("users are always subscribed to their personal channel", "remove it");
        Place("personal".to_owned()).conflict("subscribe", problem, reader);
    }
}

fn check_endpoint(endpoint: &Endpoint, plaintext: bool, place: &Place, reader: &mut Reader) {
    let in_the_clear = endpoint.curve.is_none() && endpoint.mode == Mode::Bind;
    if in_the_clear && !endpoint.is_local() && !plaintext {
        let reason = format!("{} can be reached from outside without CURVE", endpoint.endpoint);
        let remedy = "add a curve table or set ingest.allow_remote_plaintext = true";
        place.conflict("endpoint", (&reason, remedy), reader);
    }
    if endpoint.mode == Mode::Connect {
        let port = endpoint.endpoint.rsplit_once(':').map_or("", |(_, port)| port);
        if endpoint.endpoint.starts_with("tcp://*:") || matches!(port, "*" | "0") {
            let problem = ("connect needs a host and a port", "name both, or set mode = \"bind\"");
            place.conflict("endpoint", problem, reader);
        }
    }
    if let Some((problem, remedy)) = cannot_listen(endpoint) {
        place.conflict("endpoint", (problem, remedy), reader);
    }
    if endpoint.kind != SocketKind::Sub && endpoint.topics != [""] {
        let problem = ("only sub sockets have topics", "remove it, or set kind = \"sub\"");
        place.conflict("topics", problem, reader);
    }
    if endpoint.ipc_mode.is_some() && !endpoint.has_path() {
        let problem = ("only a bound ipc:// path has a mode", "remove it");
        place.conflict("ipc_mode", problem, reader);
    }
    if endpoint.reconnect_interval > endpoint.reconnect_interval_max {
        let problem = ("more than reconnect_interval_max", "lower it or raise that one");
        place.conflict("reconnect_interval", problem, reader);
    }
}

/// What is wrong with an address on every host, and what to write instead.
fn cannot_listen(endpoint: &Endpoint) -> Option<(&'static str, &'static str)> {
    if endpoint.mode != Mode::Bind {
        return None;
    }
    if let Some(path) = endpoint.endpoint.strip_prefix("ipc://") {
        let is_long = path.len() > UNIX_PATH_BYTES_MAX;
        return is_long.then_some(("its path is longer than 107 bytes", "shorten it"));
    }
    let host = endpoint.host()?;
    let is_name = host == "localhost" || host.len() > INTERFACE_BYTES_MAX;
    (is_name && !host.starts_with('[')).then_some((
        "a HOST to listen at is an IP address or the name of an interface",
        "write the address, such as 127.0.0.1, or * for all",
    ))
}

fn check_curve(curve: &Curve, place: &Place, reader: &mut Reader) {
    let needed: &[(&str, &str)] = match curve.role {
        CurveRole::Server => &[("secret_key", "a server proves itself with its secret key")],
        CurveRole::Client => &[
            ("public_key", "a client shows its own public key"),
            ("secret_key", "a client proves itself with its secret key"),
            ("server_key", "a client must know the server's public key"),
        ],
    };
    for (key, remedy) in needed {
        let key = format!("{}.{key}", place.0);
        // A key that was written but could not be read has been reported as such.
        if !reader.origins.contains_key(&key) {
            let origin = reader.origin_of(&place.0);
            reader.errors.push(Error::Missing { key, origin, remedy: (*remedy).to_owned() });
        }
    }
    if reader.has_rejected(&format!("{}.", place.0)) {
        return;
    }
    let open = curve.authorized_keys.is_empty();
    if curve.role == CurveRole::Server && open && !curve.any_client {
        let remedy = "list the clients' public keys, or set any_client = true";
        place.conflict("authorized_keys", ("no client would be let in", remedy), reader);
    }
    if curve.role == CurveRole::Server && !open && curve.any_client {
        let problem = ("any_client = true makes the list useless", "remove one of the two");
        place.conflict("authorized_keys", problem, reader);
    }
}

/// Publications that channels remember under `--dev`.
const DEV_HISTORY_SIZE: usize = 100;

/// `--dev` opens everything and lets channels remember, but for what was set otherwise; the
/// addresses are loopback by now.
fn apply_dev(config: &mut Config, reader: &mut Reader) {
    let insecure = config.api.key.is_empty();
    let any_origin = vec!["*".to_owned()];
    unless_set("public.echo", &mut config.public.echo, true, reader);
    unless_set("public.allowed_origins", &mut config.public.allowed_origins, any_origin, reader);
    unless_set("client.anonymous", &mut config.client.anonymous, true, reader);
    unless_set("api.insecure", &mut config.api.insecure, insecure, reader);
    unless_set("drain.delay", &mut config.drain.delay, Duration::ZERO, reader);
    for (section, rules) in [("channels", &mut config.channels), ("personal", &mut config.personal)]
    {
        let (size, presence) = (&mut rules.history_size, &mut rules.presence);
        unless_set(&format!("{section}.history_size"), size, DEV_HISTORY_SIZE, reader);
        unless_set(&format!("{section}.presence"), presence, true, reader);
    }
}

/// What `--dev` makes of an option that no source has set.
fn unless_set<T>(key: &str, option: &mut T, value: T, reader: &mut Reader) {
    if !reader.origins.contains_key(key) {
        *option = value;
        reader.origins.insert(key.to_owned(), Origin::Flag("--dev".to_owned()));
    }
}
