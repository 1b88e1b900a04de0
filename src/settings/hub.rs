//! Settings of a hub.

use std::sync::Arc;

use crate::model::Namespaces;
use crate::settings::Budget;

/// Settings of the hub of one shard.
#[derive(Clone, Debug)]
pub struct HubSettings {
    /// How many sessions a user may have.
    pub sessions_per_user_max: usize,
    /// Whether one session more takes the place of the oldest, or is refused.
    pub evict_oldest: bool,
    /// How many bytes of one channel a connection may lag behind.
    pub lag_bytes_max: usize,
    /// How many personal bytes may wait for one connection.
    pub outbox_bytes_max: usize,
    /// How many bytes of replies with publications or lists of clients may wait beside them.
    pub reply_bytes_max: usize,
    /// How many connections there may be: what tables have room for from the start.
    pub connections_max: usize,
    /// What all logs and outboxes may hold before those who hold most of it are closed whatever
    /// their own limit says.
    pub slow: Arc<Budget>,
    /// The rules of channels.
    pub namespaces: Arc<Namespaces>,
    /// What remembered publications, and the keys of recent ones, may take.
    pub history: Arc<Budget>,
    /// How many seconds a stream without publications and subscribers lasts.
    pub history_meta_ttl: u32,
    /// How many publications a recovery may bring.
    pub recovery_publications_max: usize,
    /// For how many seconds the key of a publication is known.
    pub idempotency_window: u32,
    /// How many of these keys are known.
    pub idempotency_keys_max: usize,
    /// How many clients a list of presence may have.
    pub presence_clients_max: usize,
    /// How many channels a managed connection may have.
    pub channels_max: usize,
    /// How many channels a connection that ends leaves at once; others it leaves in portions of as
    /// many.
    pub leave_max: usize,
    /// How many seconds lie between pings, as managed clients are told.
    pub ping_seconds: u32,
    /// How many seconds after its end a token may still be renewed.
    pub refresh_grace: u32,
    /// What clients may ask in a second.
    pub rates: Rates,
}

impl HubSettings {
    /// Whether a hub that serves by others can be given these. Clients count on pings as they were
    /// told of them.
    pub fn may_follow(&self, before: &Self) -> bool {
        self.ping_seconds == before.ping_seconds && self.namespaces.may_follow(&before.namespaces)
    }

    /// Settings that limit nothing, with default rules for channels.
    pub fn unlimited() -> Self {
        Self {
            sessions_per_user_max: usize::MAX,
            evict_oldest: true,
            lag_bytes_max: usize::MAX,
            outbox_bytes_max: usize::MAX,
            reply_bytes_max: usize::MAX,
            connections_max: 0,
            slow: Budget::new(usize::MAX, 1).into(),
            namespaces: Arc::default(),
            history: Budget::new(usize::MAX, 1).into(),
            history_meta_ttl: 3600,
            recovery_publications_max: usize::MAX,
            idempotency_window: 300,
            idempotency_keys_max: usize::MAX,
            presence_clients_max: usize::MAX,
            channels_max: usize::MAX,
            leave_max: usize::MAX,
            ping_seconds: 25,
            refresh_grace: 25,
            rates: Rates::default(),
        }
    }
}

/// What may be asked in a second; 0 means any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Commands of one connection.
    pub commands: u32,
    /// Publications of one connection.
    pub publishes: u32,
    /// Commands of one user on one shard.
    pub user_commands: u32,
    /// Publications of one user on one shard.
    pub user_publishes: u32,
}
