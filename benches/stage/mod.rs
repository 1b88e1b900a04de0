//! A hub without sockets: clients of every wire variant enter it, backends publish, and every send
//! is taken whole.

use std::collections::HashMap;
use std::sync::Arc;

use tidegate::hub::{Asked, Batch, Effect, Grant, Hub, Now, Session, Site, Subscribe, Wishes};
use tidegate::mesh::{Envelope, Homes};
use tidegate::metrics::ShardMetrics;
use tidegate::model::{
    ChannelName, Command, Namespace, Namespaces, PositionClaim, Publication, ShardId, Variant,
};
use tidegate::settings::{Budget, HubSettings};

/// The only shard of an edge.
pub(crate) struct Stage {
    pub(crate) hub: Hub,
    batch: Batch,
}

impl Stage {
    /// A shard where channels have these rules, and personal ones the usual.
    pub(crate) fn new(rules: Namespace) -> Self {
        let namespaces = Namespaces::new(rules, Namespace::default(), HashMap::new());
        let settings = HubSettings {
            lag_bytes_max: 1 << 20,
            outbox_bytes_max: 1 << 18,
            slow: Budget::new(1 << 28, 1).into(),
            namespaces: Arc::new(namespaces),
            ..HubSettings::unlimited()
        };
        let site = Site::new(ShardId(0), Homes::new(1, 7));
        let hub = Hub::new(site, settings.into(), Arc::new(ShardMetrics::default()));
        Self { hub, batch: Batch::default() }
    }

    /// A client of a user connects and subscribes to some channels. Nobody in particular is the
    /// empty user. Returns its row.
    pub(crate) fn enter(
        &mut self,
        variant: Variant,
        user: &str,
        channels: Vec<ChannelName>,
    ) -> u32 {
        let row = self.hub.attach(0);
        if variant.is_managed() {
            self.hub.open_managed(row, variant);
            let grant = Grant { user: user.into(), ..Grant::default() };
            self.hub.ask(row, Asked::Connect(1, Box::new(grant)));
            for (channel, id) in channels.into_iter().zip(2..) {
                self.begin_turn();
                self.hub.ask(row, Asked::Subscribe(id, Box::new(subscribe(channel))));
            }
        } else {
            let personal = ChannelName::personal(user).ok();
            self.hub.enter(row, Session { personal, channels, ..Session::default() });
        }
        while let Some(effect) = self.hub.poll_effect() {
            let is_good = matches!(
                effect,
                Effect::Opened(_) | Effect::Connected(_) | Effect::Tell(..) | Effect::Expiry(_)
            );
            assert!(is_good, "{effect:?}");
        }
        self.flush();
        row
    }

    /// A backend publishes.
    pub(crate) fn publish(&mut self, channel: &ChannelName, publication: &Arc<Publication>) {
        let (channel, publication) = (channel.clone(), Arc::clone(publication));
        let command = Box::new(Command::Publish { channel, publication, key: None });
        self.hub.handle(Envelope::Command { command, ticket: None });
    }

    /// Another turn: in each a connection has a share of commands.
    fn begin_turn(&mut self) {
        self.hub.advance(Now::default());
    }

    /// Serves everybody; returns how many bytes that were.
    pub(crate) fn flush(&mut self) -> u64 {
        self.begin_turn();
        let mut bytes = 0;
        while self.hub.has_work() {
            self.hub.poll_batch(&mut self.batch);
            let entries = self.batch.entries.iter();
            bytes += entries.map(|entry| self.hub.bytes(entry).len() as u64).sum::<u64>();
            self.hub.finish_batch(&mut self.batch, 0);
        }
        bytes
    }
}

/// The name of a channel.
pub(crate) fn channel(number: u32) -> ChannelName {
    ChannelName::parse(format!("bench-{number}").as_bytes()).expect("a valid name")
}

/// A subscription without wishes.
pub(crate) fn subscribe(channel: ChannelName) -> Subscribe {
    Subscribe {
        channel,
        position: PositionClaim::default(),
        wishes: Wishes::default(),
        rejects_unrecovered: false,
        grant: None,
    }
}
