//! What all of a hub works with: its settings, the time, what it counts, and what it has to say.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::hub::{Effect, Now, Site};
use crate::mesh::{Asker, Envelope, Outbound};
use crate::metrics::ShardMetrics;
use crate::model::{
    ChannelName, ClientId, ClientInfo, CommandError, Event, EventKind, Namespace, ShardId,
};
use crate::settings::HubSettings;
use crate::wheel::TICK_MILLIS;

/// Ticks of a second.
pub(super) const SECOND: u32 = 1000 / TICK_MILLIS;

const _: () = assert!(1000 % TICK_MILLIS == 0, "seconds are whole ticks");

/// What is the same wherever in a hub something is done.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) site: Site,
    pub(super) settings: Arc<HubSettings>,
    pub(super) metrics: Arc<ShardMetrics>,
    pub(super) now: Now,
    /// Envelopes from this shard to itself.
    pub(super) local: VecDeque<Envelope>,
    pub(super) effects: VecDeque<Effect>,
    /// How many events there were.
    events: u64,
}

impl Context {
    /// Nothing is said, and no time has gone by.
    pub(super) fn new(site: Site, settings: Arc<HubSettings>, metrics: Arc<ShardMetrics>) -> Self {
        let (local, effects) = (VecDeque::new(), VecDeque::new());
        Self { site, settings, metrics, now: Now::default(), local, effects, events: 0 }
    }

    /// Sends an envelope to a shard, which may be this one.
    pub(super) fn post(&mut self, shard: ShardId, envelope: Envelope) {
        if shard == self.site.shard {
            self.local.push_back(envelope);
        } else {
            self.effects.push_back(Effect::Send(shard, envelope));
        }
    }

    /// The rules of a channel, if its namespace exists.
    pub(super) fn rules_of(&self, channel: &ChannelName) -> Result<Arc<Namespace>, CommandError> {
        self.settings.namespaces.of(channel).cloned().ok_or(CommandError::UnknownNamespace)
    }

    /// Whether the home of a channel knows a subscriber by name. An exception is on a roll that its
    /// namespace does not keep.
    pub(super) fn is_on_roll(&self, channel: &ChannelName, is_exception: bool) -> bool {
        let rules = self.settings.namespaces.of(channel);
        is_exception || rules.is_some_and(|rules| rules.keeps_roll())
    }

    /// Tells backends about something that a home knows of a subscriber.
    pub(super) fn raise_of(&mut self, info: &ClientInfo, kind: EventKind) {
        let event = self.event(info.client, ChannelName::personal(&info.user).ok(), kind);
        self.tell(event);
    }

    /// The next event of this shard.
    pub(super) fn event(
        &mut self,
        client: ClientId,
        personal: Option<ChannelName>,
        kind: EventKind,
    ) -> Event {
        self.events += 1;
        let (shard, sequence) = (self.site.shard, self.events);
        Event { kind, client, personal, device: None, meta: None, shard, sequence }
    }

    /// Tells backends about an event.
    pub(super) fn tell(&mut self, event: Event) {
        let tell = Effect::Tell(Asker::Ingest.place(), Outbound::Event(Box::new(event)));
        self.effects.push_back(tell);
    }
}
