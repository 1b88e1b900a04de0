//! The home side of channels: which shards have subscribers, the stream and its history, who is
//! there by name, the keys of publications, and the sessions of users.
//!
//! One shard owns all of it for each channel, so there is no lock and one order of everything.

mod attend;
mod epochs;
pub(super) mod history;
mod member;
mod payers;
mod publish;
mod query;
mod record;
mod repeats;
mod roll;
mod session;
pub(super) mod stream;

pub(super) use record::Record;

use std::collections::HashMap;
use std::sync::Arc;

use crate::hub::Site;
use crate::hub::context::Context;
use crate::hub::home::epochs::Epochs;
use crate::hub::home::history::History;
use crate::hub::home::repeats::{Bounds, Repeats};
use crate::hub::home::roll::Roll;
use crate::hub::home::session::REVOCATION_SECONDS;
use crate::hub::named::NamedRows;
use crate::hub::rows::Rows;
use crate::model::ClientId;
use crate::settings::{Allowance, HubSettings};
use crate::token::Revocations;

/// All that a shard knows as the home of channels.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) records: NamedRows<Record>,
    pub(super) rolls: Rows<Roll>,
    pub(super) history: History,
    repeats: Repeats,
    /// Devices of sessions of users that are at home here.
    pub(super) session_devices: HashMap<ClientId, Box<str>, ahash::RandomState>,
    /// Users at home here whose tokens were revoked a moment ago.
    revocations: Revocations,
}

impl Home {
    /// Knows nothing, and has room for so many channels.
    pub(super) fn new(site: &Site, settings: &HubSettings, expected: usize) -> Self {
        Self {
            records: NamedRows::with_capacity(expected),
            rolls: Rows::default(),
            history: History::new(
                Epochs::new(site.epoch_seed),
                Allowance::new(Arc::clone(&settings.history)),
            ),
            repeats: Repeats::new(Bounds::of(settings)),
            session_devices: HashMap::default(),
            revocations: Revocations::new(REVOCATION_SECONDS),
        }
    }

    /// Other settings are about to hold.
    pub(super) fn configure(&mut self, settings: &HubSettings) {
        self.repeats.configure(Bounds::of(settings));
        self.history.epochs.end_all();
        self.history.allowance.configure(&settings.history);
        let held = self.history_bytes();
        self.history.excess = if self.history.allowance.covers(held) { 0 } else { held };
    }

    /// Time goes on: publications and keys that are too old are forgotten.
    pub(super) fn advance(&mut self, context: &Context, is_new_tick: bool) {
        let tick = context.now.tick;
        if is_new_tick || self.is_history_behind() {
            self.expire_history(context);
        }
        if self.history.excess > 0 {
            self.shed_history(context);
        }
        if is_new_tick || self.repeats.is_behind(tick) {
            let forgotten = self.repeats.expire(tick);
            context.metrics.keys_forgotten.add(forgotten);
        }
        if is_new_tick {
            self.revocations.sweep(context.now.unix);
            self.history.allowance.give_back(self.history_bytes());
        }
    }

    /// Whether something is too old that [`Home::advance`] has still to forget.
    pub(super) fn is_behind(&self, context: &Context) -> bool {
        self.is_history_behind()
            || self.history.excess > 0
            || self.repeats.is_behind(context.now.tick)
    }

    /// Whether it knows nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.records.rows.is_empty()
            && self.rolls.is_empty()
            && self.history.streams.is_empty()
            && self.repeats.len() == 0
            && self.session_devices.is_empty()
            && self.revocations.count() == 0
    }
}
