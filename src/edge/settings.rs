//! From options to the settings of threads.

use crate::config::{self, Config, CurveRole, Mode, SocketKind, WhenFull};
use crate::ingest::{Authorized, Curve, Endpoint, Kind};
use crate::mesh::ShardPort;
use crate::shard::Settings;
use crate::sys::host;
use crate::ws::Limits;
use crate::ws::handshake::OriginPolicy;
use crate::{hub, limits};

/// The settings of one shard.
pub(super) fn shard(config: &Config, port: &ShardPort, cores: &[usize]) -> Settings {
    let hub = hub::Settings {
        shard: port.shard,
        homes: port.homes.clone(),
        sessions_per_user_max: config.sessions.per_user_max,
        evict_oldest: config.sessions.when_full == WhenFull::EvictOldest,
        lag_bytes_max: config.slow.lag_bytes_max,
        outbox_bytes_max: config.slow.outbox_bytes_max,
        connections_max: connections_max(config.public.connections_max),
        memory_max: config.slow.memory_max,
    };
    let core = cores.get(port.shard.index() % cores.len().max(1)).copied();
    Settings {
        hub,
        core: core.filter(|_| config.shards.pin),
        origins: origins(&config.public.allowed_origins),
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
        connections_max: connections_max(config.public.connections_max),
        handshakes_pending_max: config.handshake.pending_max,
        handshakes_per_second: config.handshake.rate,
        handshake_deadline: config.handshake.deadline.into(),
        ping_interval: config.heartbeat.ping_interval.into(),
        pong_deadline: config.heartbeat.pong_deadline.into(),
        close_deadline: config.websocket.close_deadline.into(),
        age_max: config.slow.age_max.into(),
        drain_window: config.drain.window.into(),
        drain_code: config.drain.close_code,
    }
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

/// Zero stands for what the descriptor limit leaves.
fn connections_max(configured: usize) -> usize {
    let limit = usize::try_from(host::descriptor_limit()).unwrap_or(usize::MAX);
    let room = limit.saturating_sub(limits::DESCRIPTORS_RESERVED).max(1);
    if configured == 0 { room } else { configured.min(room) }
}

/// One ZeroMQ endpoint.
pub(super) fn endpoint(endpoint: &config::Endpoint) -> Endpoint {
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
        high_water_mark: endpoint.high_water_mark,
        message_bytes_max: endpoint.message_bytes_max,
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
