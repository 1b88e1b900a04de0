//! From options to the settings of threads.

use std::sync::Arc;
use std::time::Duration;

use arcstr::{ArcStr, literal};

use crate::api::Access;
use crate::config::{self, Config, CurveRole, Mode, SocketKind, WhenFull};
use crate::edge::Addresses;
use crate::http::OriginPolicy;
use crate::ingest::{Authorized, Curve, Endpoint, IPC_MODE, Kind};
use crate::mesh::ShardPort;
use crate::model::Namespaces;
use crate::shard::Settings;
use crate::sys::{host, ring};
use crate::ws::Limits;
use crate::{hub, limits};

/// The settings of one shard.
pub(super) fn shard(
    config: &Config,
    port: &ShardPort,
    (cores, ring): (&[usize], ring::Size),
    common: &Common,
) -> Settings {
    let client = &config.client;
    Settings {
        hub: of_hub(config, port, common),
        ring,
        core: cores.get(port.shard.index() % cores.len().max(1)).copied(),
        origins: origins(&config.public.allowed_origins),
        internal_port: common.internal_port,
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
        half_bytes_max: config.websocket.memory_max,
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
    }
}

/// The settings of its hub.
fn of_hub(config: &Config, port: &ShardPort, common: &Common) -> hub::Settings {
    let client = &config.client;
    hub::Settings {
        shard: port.shard,
        homes: port.homes.clone(),
        sessions_per_user_max: config.sessions.per_user_max,
        evict_oldest: config.sessions.when_full == WhenFull::EvictOldest,
        lag_bytes_max: config.slow.lag_bytes_max,
        outbox_bytes_max: config.slow.outbox_bytes_max,
        reply_bytes_max: client.reply_bytes_max,
        connections_max: connections_max(config),
        memory_max: config.slow.memory_max,
        namespaces: Arc::clone(&common.namespaces),
        history_bytes_max: config.history.memory_max / common.shards.max(1),
        history_meta_ttl: seconds(config.history.meta_ttl),
        recovery_publications_max: config.history.recovery_publications_max,
        idempotency_window: seconds(config.idempotency.window),
        idempotency_keys_max: config.idempotency.keys_max,
        presence_clients_max: config.presence.clients_max,
        channels_max: client.channels_max,
        leave_max: limits::CHANNELS_LEFT_AT_ONCE,
        ping_seconds: seconds(config.heartbeat.ping_interval),
        refresh_grace: seconds(client.refresh_grace),
        rates: hub::Rates {
            commands: client.commands_per_second,
            publishes: client.publishes_per_second,
            user_commands: client.user_commands_per_second,
            user_publishes: client.user_publishes_per_second,
        },
        epoch_seed: common.epoch_seed,
    }
}

/// How the HTTP API knows a backend.
pub(super) fn access(config: &config::Api) -> Access {
    if !config.key.is_empty() {
        return Access::Keys(config.key.iter().map(|key| key.as_bytes().into()).collect());
    }
    if config.insecure { Access::Open } else { Access::Closed }
}

/// What all shards of a run share.
pub(super) struct Common {
    namespaces: Arc<Namespaces>,
    shards: usize,
    epoch_seed: u64,
    internal_port: u16,
}

impl Common {
    /// For a number of shards; the seed is one that no earlier run had.
    pub(super) fn new(
        config: &Config,
        shards: usize,
        epoch_seed: u64,
        addresses: &Addresses,
    ) -> Self {
        let rules = config.namespaces.0.iter();
        let named = rules.map(|(name, rules)| (name.as_str().into(), rules.clone())).collect();
        let namespaces = Namespaces::new(config.channels.clone(), config.personal.clone(), named);
        let internal_port = addresses.internal.port();
        Self { namespaces: Arc::new(namespaces), shards, epoch_seed, internal_port }
    }
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

    /// What shards share with this configuration.
    fn common(config: &Config) -> Common {
        let address = config.public.address;
        let addresses =
            Addresses { public: address, internal: address, ingest: Vec::new(), room: 1 };
        Common::new(config, 4, 0, &addresses)
    }

    #[test]
    fn rules_that_nobody_wrote_are_those_of_the_protocol() {
        assert_eq!(*common(&Config::default()).namespaces, Namespaces::default());
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
        let namespaces = common(&config).namespaces;
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
}
