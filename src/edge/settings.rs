//! From options to the settings of threads.

use std::sync::Arc;
use std::time::Duration;

use arcstr::{ArcStr, literal};

use crate::api::Access;
use crate::config::{self, Config, CurveRole, Mode, SocketKind, WhenFull};
use crate::edge::Addresses;
use crate::http::OriginPolicy;
use crate::ingest::{Authorized, Curve, Endpoint, IPC_MODE, Kind};
use crate::limits;
use crate::model::Namespaces;
use crate::settings::{Budget, HubSettings, Rates, ShardSettings};
use crate::sys::host;
use crate::ws::Limits;

/// The settings of each of some shards of an edge with these addresses.
pub(super) fn of_shards(
    config: &Config,
    shards: usize,
    addresses: &Addresses,
) -> Arc<ShardSettings> {
    let client = &config.client;
    Arc::new(ShardSettings {
        hub: of_hubs(config, shards).into(),
        origins: origins(&config.public.allowed_origins),
        internal_port: addresses.internal.port(),
        guards_host: guards_host(config),
        subprotocols: subprotocols(&config.public.subprotocols),
        echo: config.public.echo,
        has_event_endpoint: config
            .ingest
            .endpoints
            .iter()
            .any(|endpoint| matches!(endpoint.kind, SocketKind::Pub | SocketKind::Xpub)),
        limits: Limits {
            message_bytes_max: config.websocket.message_bytes_max,
            fragments_max: u32::try_from(config.websocket.fragments_max).unwrap_or(u32::MAX),
        },
        halves: Budget::new(config.websocket.memory_max, shards).into(),
        connections_max: connections_max(config),
        handshakes_pending_max: config.handshake.pending_max,
        handshakes_per_second: config.handshake.rate,
        handshake_deadline: config.handshake.deadline.into(),
        ping_interval: config.heartbeat.ping_interval.into(),
        pong_deadline: config.heartbeat.pong_deadline.into(),
        message_deadline: config.websocket.message_deadline.into(),
        close_deadline: config.websocket.close_deadline.into(),
        age_max: config.slow.age_max.into(),
        connect_deadline: client.connect_deadline.into(),
        anonymous: client.anonymous,
        insecure: client.insecure,
        has_keys: config.token.has_keys(),
        drain_window: config.drain.window.into(),
        drain_code: config.drain.close_code,
    })
}

/// The settings of each of their hubs.
fn of_hubs(config: &Config, shards: usize) -> HubSettings {
    let client = &config.client;
    HubSettings {
        sessions_per_user_max: config.sessions.per_user_max,
        evict_oldest: config.sessions.when_full == WhenFull::EvictOldest,
        lag_bytes_max: config.slow.lag_bytes_max,
        outbox_bytes_max: config.slow.outbox_bytes_max,
        reply_bytes_max: client.reply_bytes_max,
        connections_max: connections_max(config),
        slow: Budget::new(config.slow.memory_max, shards).into(),
        namespaces: namespaces(config).into(),
        history: Budget::new(config.history.memory_max, shards).into(),
        history_meta_ttl: seconds(config.history.meta_ttl),
        recovery_publications_max: config.history.recovery_publications_max,
        idempotency_window: seconds(config.idempotency.window),
        idempotency_keys_max: config.idempotency.keys_max,
        presence_clients_max: config.presence.clients_max,
        channels_max: client.channels_max,
        leave_max: limits::CHANNELS_LEFT_AT_ONCE,
        ping_seconds: seconds(config.heartbeat.ping_interval),
        refresh_grace: seconds(client.refresh_grace),
        rates: Rates {
            commands: client.commands_per_second,
            publishes: client.publishes_per_second,
            user_commands: client.user_commands_per_second,
            user_publishes: client.user_publishes_per_second,
        },
    }
}

/// How the HTTP API knows a backend.
pub(super) fn access(config: &config::Api) -> Access {
    if !config.key.is_empty() {
        return Access::Keys(config.key.iter().map(|key| key.as_bytes().into()).collect());
    }
    if config.insecure { Access::Open } else { Access::Closed }
}

fn namespaces(config: &Config) -> Namespaces {
    let rules = config.namespaces.0.iter();
    let named = rules.map(|(name, rules)| (name.as_str().into(), rules.clone())).collect();
    Namespaces::new(config.channels.clone(), config.personal.clone(), named)
}

/// Whole seconds; what lies between two is rounded up, so that nothing becomes 0.
fn seconds(duration: Duration) -> u32 {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

/// Whether only the name under which the edge is reached keeps foreign pages out: it listens for
/// this machine alone, asks for no token, and nobody has said that others come in on purpose.
fn guards_host(config: &Config) -> bool {
    let asks_for_tokens = config.token.has_keys() && !config.client.insecure;
    config.public.address.ip().is_loopback() && !asks_for_tokens && !config.public.allow_anonymous
}

/// The subprotocols of raw clients: our own, and those that the operator names.
fn subprotocols(named: &[String]) -> Arc<[ArcStr]> {
    let named = named.iter().map(|name| ArcStr::from(name.as_str()));
    std::iter::once(literal!("tidegate")).chain(named).collect()
}

fn origins(allowed: &[String]) -> OriginPolicy {
    if allowed.is_empty() {
        OriginPolicy::SameHost
    } else if allowed.iter().any(|origin| origin == "*") {
        OriginPolicy::Any
    } else {
        OriginPolicy::Allow(allowed.to_vec())
    }
}

fn descriptor_limit() -> usize {
    usize::try_from(host::descriptor_limit()).unwrap_or(usize::MAX)
}

/// Zero stands for what the descriptor limit leaves.
pub(super) fn connections_max(config: &Config) -> usize {
    let configured = config.public.connections_max;
    let room = limits::descriptors_of_clients(descriptor_limit(), config.peer_descriptors()).max(1);
    if configured == 0 { room } else { configured.min(room) }
}

/// How many connections no endpoint has more of, so that they all find descriptors: where these do
/// not do for all, each has the same part of them.
pub(super) fn peers_max(config: &Config) -> usize {
    let asked = config.peer_descriptors();
    let descriptors = limits::descriptors_of_peers(descriptor_limit(), asked);
    if descriptors == asked {
        return usize::MAX;
    }
    let places = descriptors / limits::DESCRIPTORS_PER_PEER / config.ingest.endpoints.len();
    limits::peers_in(places).max(PEERS_LEAST)
}

/// Connections that every endpoint may have, however few descriptors there are.
const PEERS_LEAST: usize = 8;

/// Events that wait for one backend have at most so many bytes, counted as if each were as long as
/// one may be.
const EVENTS_BYTES_MAX: usize = 256 << 20;

/// One ZeroMQ endpoint, how many connections none has more of, and how long a client's message in
/// an event may be.
pub(super) fn endpoint(
    endpoint: &config::Endpoint,
    peers_max: usize,
    event_bytes_max: usize,
) -> Endpoint {
    Endpoint {
        kind: match endpoint.kind {
            SocketKind::Sub => Kind::Sub,
            SocketKind::Pull => Kind::Pull,
            SocketKind::Router => Kind::Router,
            SocketKind::Pub => Kind::Pub,
            SocketKind::Xpub => Kind::Xpub,
        },
        address: endpoint.endpoint.clone(),
        bind: endpoint.mode == Mode::Bind,
        topics: endpoint.topics.clone(),
        high_water_mark: match endpoint.kind {
            SocketKind::Sub | SocketKind::Pull | SocketKind::Router => endpoint.high_water_mark,
            SocketKind::Pub | SocketKind::Xpub => {
                let most = EVENTS_BYTES_MAX / event_bytes_max;
                endpoint.high_water_mark.min(u32::try_from(most.max(1)).unwrap_or(u32::MAX))
            }
        },
        message_bytes_max: endpoint.message_bytes_max,
        peers_max: peers_max.min(endpoint.peers_max as usize),
        ipc_mode: endpoint.ipc_mode.unwrap_or(IPC_MODE),
        heartbeat_interval: endpoint.heartbeat_interval,
        heartbeat_timeout: endpoint.heartbeat_timeout,
        reconnect_interval: endpoint.reconnect_interval,
        reconnect_interval_max: endpoint.reconnect_interval_max,
        curve: endpoint.curve.as_ref().map(curve),
    }
}

fn curve(curve: &config::Curve) -> Curve {
    let checked = "the configuration was checked to have this key";
    let secret_key = *curve.secret_key.as_ref().expect(checked).as_bytes();
    match curve.role {
        CurveRole::Server if curve.any_client => {
            Curve::Server { secret_key, authorized: Authorized::Any }
        }
        CurveRole::Server => {
            let keys = curve.authorized_keys.iter().map(|key| *key.as_bytes()).collect();
            Curve::Server { secret_key, authorized: Authorized::Keys(keys) }
        }
        CurveRole::Client => Curve::Client {
            public_key: *curve.public_key.as_ref().expect(checked).as_bytes(),
            secret_key,
            server_key: *curve.server_key.as_ref().expect(checked).as_bytes(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Setting, Sources};
    use crate::model::{ChannelName, Namespace, Permission, WhenSlow};

    fn load(options: &[(&str, &str)]) -> Config {
        let setting = |(key, value): &(&str, &str)| Setting {
            flag: "--set".to_owned(),
            key: (*key).to_owned(),
            value: (*value).to_owned(),
        };
        let settings = options.iter().map(setting).collect();
        Config::load(&Sources { settings, ..Sources::default() }).unwrap()
    }

    /// What shards are told with this configuration.
    fn settings(config: &Config) -> Arc<ShardSettings> {
        let address = config.public.address;
        let addresses =
            Addresses { public: address, internal: address, ingest: Vec::new(), room: 1 };
        of_shards(config, 4, &addresses)
    }

    #[test]
    fn rules_that_nobody_wrote_are_those_of_the_protocol() {
        assert_eq!(*settings(&Config::default()).hub.namespaces, Namespaces::default());
    }

    #[test]
    fn each_section_has_rules_of_its_own() {
        let config = load(&[
            ("channels.presence", "true"),
            ("personal.history_size", "7"),
            ("namespaces.a.b.history_size", "9"),
            ("namespaces.a.b.history_ttl", "1500ms"),
            ("namespaces.chat", "{subscribe='token', publish='nobody', when_slow='disconnect'}"),
        ]);
        let namespaces = Arc::clone(&settings(&config).hub.namespaces);
        let of = |name: &str| {
            let rules = namespaces.of(&ChannelName::parse(name.as_bytes()).unwrap());
            rules.map(|rules| Namespace::clone(rules))
        };
        let default = Namespace::default;
        assert_eq!(of("lobby"), Some(Namespace { presence: true, ..default() }));
        assert_eq!(of("#42"), Some(Namespace { history_size: 7, ..default() }));
        let dotted = Namespace { history_size: 9, history_ttl: 2, ..default() };
        assert_eq!(of("a.b:x"), Some(dotted));
        let chat = Namespace {
            subscribe: Permission::Token,
            when_slow: WhenSlow::Disconnect,
            ..default()
        };
        assert_eq!(chat.history_readers(), Permission::Token);
        assert_eq!(chat.presence_readers(), Permission::Token);
        assert_eq!(of("chat:lobby"), Some(chat));
        assert_eq!(of("other:lobby"), None);
    }

    fn told(options: &[(&str, &str)]) -> Arc<ShardSettings> {
        settings(&load(options))
    }

    /// Another value for each option that is live.
    const LIVE: &[(&str, &str)] = &[
        ("public.connections_max", "7"),
        ("public.allowed_origins", "['*']"),
        ("public.allow_anonymous", "true"),
        ("public.subprotocols", "['chat']"),
        ("public.echo", "true"),
        ("handshake.deadline", "1s"),
        ("handshake.rate", "1"),
        ("handshake.pending_max", "1"),
        ("websocket.memory_max", "64MiB"),
        ("websocket.fragments_max", "9"),
        ("websocket.message_deadline", "1s"),
        ("websocket.close_deadline", "1s"),
        ("heartbeat.pong_deadline", "1s"),
        ("client.anonymous", "true"),
        ("client.insecure", "true"),
        ("client.connect_deadline", "1s"),
        ("client.refresh_grace", "1s"),
        ("client.channels_max", "1"),
        ("client.reply_bytes_max", "1MiB"),
        ("client.commands_per_second", "9"),
        ("client.publishes_per_second", "9"),
        ("client.user_commands_per_second", "99"),
        ("client.user_publishes_per_second", "99"),
        ("channels.history_size", "9"),
        ("channels.history_ttl", "9s"),
        ("channels.recovery", "false"),
        ("channels.subscribe", "nobody"),
        ("channels.publish", "everybody"),
        ("channels.read_history", "nobody"),
        ("channels.read_presence", "nobody"),
        ("channels.when_slow", "disconnect"),
        ("history.memory_max", "64MiB"),
        ("history.recovery_publications_max", "9"),
        ("history.meta_ttl", "9s"),
        ("idempotency.window", "9s"),
        ("idempotency.keys_max", "9"),
        ("presence.clients_max", "9"),
        ("sessions.per_user_max", "9"),
        ("sessions.when_full", "refuse_newest"),
        ("slow.lag_bytes_max", "3MiB"),
        ("slow.outbox_bytes_max", "3MiB"),
        ("slow.age_max", "9s"),
        ("slow.memory_max", "64MiB"),
        ("drain.window", "9s"),
        ("drain.close_code", "1001"),
    ];

    /// The options that the table says are live.
    fn live_options() -> Vec<String> {
        let (mut section, mut is_live, mut options) = (String::new(), false, Vec::new());
        for line in config::template().lines() {
            if line.starts_with('[') {
                section = line.trim_matches(['[', ']']).to_owned();
            } else if let Some(word) = line.trim_start_matches("# ").strip_prefix("Change: ") {
                is_live = word == "live.";
            } else if let Some((key, _)) = line.trim_start_matches("# ").split_once(" = ")
                && std::mem::take(&mut is_live)
            {
                options.push(format!("{section}.{key}"));
            }
        }
        options
    }

    #[test]
    fn shards_that_run_can_be_told_what_is_live() {
        let history = ("channels.history_size", "5");
        let usual = told(&[history]);
        for option in LIVE {
            let other = told(&[history, *option]);
            assert_ne!(format!("{other:?}"), format!("{usual:?}"), "{} does nothing", option.0);
            assert!(other.hub.may_follow(&usual.hub), "{} needs a restart", option.0);
        }
        let keys: Vec<&str> = LIVE.iter().map(|(key, _)| *key).collect();
        assert_eq!(live_options(), keys);
    }

    #[test]
    fn shards_that_run_cannot_be_told_what_their_clients_rest_on() {
        let usual = told(&[("namespaces.a.history_size", "9")]);
        for option in [
            ("namespaces.a.presence", "true"),
            ("namespaces.a.join_leave", "true"),
            ("namespaces.a.subscribers_max", "9"),
            ("namespaces.b.history_size", "9"),
            ("heartbeat.ping_interval", "9s"),
        ] {
            assert!(!told(&[option]).hub.may_follow(&usual.hub), "{}", option.0);
        }
        let more = [("namespaces.a.history_size", "8"), ("namespaces.b.presence", "true")];
        assert!(told(&more).hub.may_follow(&usual.hub), "a namespace may come");
    }
}
