//! How an edge of the simulation is set: real shards, small limits, short deadlines.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tidegate::model::{Namespace, Namespaces, Permission};
use tidegate::settings::{Budget, HubSettings, ShardSettings};
use tidegate::token::{Authority, Key, Keys, Revocations, Rules, Signer, Verifier};
use tidegate::ws::Limits;

use super::ledger::Kind;
use crate::random::Random;

/// A key of tokens that are verified at once; others wait for their turn.
const SECRET: &[u8] = b"a secret of the simulation, long enough";

/// How many users there are: their channels come first.
pub(crate) const USERS: usize = 3;

/// The channels, in the order of their numbers: those of users, those that anybody may join, those
/// that raw clients may not, and what everybody hears.
pub(crate) fn channels() -> Vec<(String, Kind)> {
    let mut channels: Vec<_> = (0..USERS).map(|user| (format!("#u{user}"), Kind::Plain)).collect();
    let others = [
        ("lobby", Kind::Plain),
        ("hall", Kind::Plain),
        ("room:a", Kind::Remembered),
        ("room:b", Kind::Remembered),
        ("talk:a", Kind::Talk),
        ("$everyone", Kind::Plain),
    ];
    channels.extend(others.map(|(name, kind)| (name.to_owned(), kind)));
    channels
}

/// Channels that any client may join, and one where managed clients publish.
pub(crate) const ROOMS: std::ops::Range<usize> = USERS..USERS + 4;
/// One with history, of which there is most to hear.
pub(crate) const ROOM: usize = USERS + 2;
pub(crate) const TALK: usize = USERS + 4;
pub(crate) const EVERYONE: usize = USERS + 5;

/// Heartbeats of the simulation.
pub(crate) const PING: Duration = Duration::from_millis(3000);
pub(crate) const PONG: Duration = Duration::from_millis(800);
pub(crate) const AGE: Duration = Duration::from_millis(600);
pub(crate) const CLOSE: Duration = Duration::from_millis(500);
pub(crate) const DRAIN: Duration = Duration::from_millis(700);
pub(crate) const DRAIN_CODE: u16 = 3001;

/// Settings without tight limits.
pub(crate) fn generous() -> ShardSettings {
    let room = Namespace {
        history_size: 10_000,
        history_ttl: 3000,
        presence: true,
        ..Namespace::default()
    };
    let talk = Namespace { publish: Permission::Everybody, presence: false, ..room };
    let named = HashMap::from([("room".into(), room), ("talk".into(), talk)]);
    let namespaces = Namespaces::new(Namespace::default(), Namespace::default(), named);
    let hub = HubSettings {
        namespaces: Arc::new(namespaces),
        ping_seconds: 3,
        refresh_grace: 1,
        ..HubSettings::unlimited()
    };
    ShardSettings {
        subprotocols: Arc::new([arcstr::literal!("tidegate")]),
        limits: Limits { message_bytes_max: 20_000, fragments_max: 64 },
        halves: Budget::new(1 << 20, 1).into(),
        connections_max: 1000,
        handshakes_pending_max: 1000,
        handshake_deadline: Duration::from_millis(900).into(),
        ping_interval: PING.into(),
        pong_deadline: PONG.into(),
        message_deadline: Duration::from_millis(900).into(),
        close_deadline: CLOSE.into(),
        age_max: AGE.into(),
        connect_deadline: Duration::from_millis(900).into(),
        insecure: false,
        has_keys: true,
        drain_window: DRAIN.into(),
        drain_code: DRAIN_CODE,
        ..ShardSettings::unlimited(Arc::new(hub))
    }
}

/// Settings of so many shards that the seed decides.
pub(crate) fn seeded(random: &mut Random, shards: usize) -> ShardSettings {
    let mut settings = generous();
    let hub = Arc::make_mut(&mut settings.hub);
    hub.sessions_per_user_max = random.pick(&[2, 1000]);
    hub.evict_oldest = random.chance(60);
    hub.lag_bytes_max = random.pick(&[4_000, 10_000, 10_000_000]);
    hub.outbox_bytes_max = random.pick(&[4_000, 10_000_000]);
    let memory_max = random.pick(&[40_000, 10_000_000]);
    hub.slow = Budget::new(memory_max, shards).into();
    hub.reply_bytes_max = memory_max / 2;
    hub.recovery_publications_max = random.pick(&[5, 1000]);
    hub.leave_max = random.pick(&[1, usize::MAX]);
    settings.halves = Budget::new(random.pick(&[3_000, 1 << 20]), shards).into();
    settings.connections_max = random.pick(&[8, 1000, 1000]);
    settings.handshakes_pending_max = random.pick(&[3, 1000]);
    settings.handshakes_per_second = random.pick(&[0, 40]);
    settings
}

/// What verifies the tokens of [`token`].
pub(crate) fn authority() -> Arc<Authority> {
    let public = Key::from_pem(include_str!("../../keys/p256.public.pem")).expect("a key");
    let keys = Keys::new(vec![Key::from_secret(SECRET), public]);
    let verifier = Verifier::new(keys, Rules::default());
    Arc::new(Authority::new(verifier, Revocations::new(86_400)))
}

/// A token of a user, made in a second and good for some more; one that costs much or little.
pub(crate) fn token(user: usize, (second, seconds): (u64, u64), is_costly: bool) -> String {
    static COSTLY: LazyLock<Signer> = LazyLock::new(|| {
        Signer::from_pem(include_str!("../../keys/p256.private.pem")).expect("a key")
    });
    static CHEAP: LazyLock<Signer> = LazyLock::new(|| Signer::from_secret(SECRET));
    let signer = if is_costly { &COSTLY } else { &CHEAP };
    let expires = second + seconds;
    let claims = format!(r#"{{"sub":"u{user}","iat":{second},"exp":{expires}}}"#);
    signer.sign(claims.as_bytes()).expect("claims are JSON")
}
