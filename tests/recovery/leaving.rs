//! A connection that ends with more channels than it leaves at once.

use std::collections::HashMap;
use std::sync::Arc;

use tidegate::hub::{Asked, Batch, Cause, Effect, Grant, Hub, Site, Subscribe, Wishes};
use tidegate::mesh::{Envelope, Homes};
use tidegate::metrics::ShardMetrics;
use tidegate::model::{
    ChannelName, Command, Namespace, Namespaces, PositionClaim, Publication, ShardId, Variant,
};
use tidegate::settings::HubSettings;
use tidegate::ws::CloseCode;

const CHANNELS: u32 = 20;

/// A hub whose connections leave two channels at once.
struct Shard {
    hub: Hub,
    metrics: Arc<ShardMetrics>,
}

impl Shard {
    fn new() -> Self {
        let rules = Namespace { presence: true, ..Namespace::default() };
        let namespaces = Namespaces::new(rules, Namespace::default(), HashMap::new());
        let settings =
            HubSettings { namespaces: namespaces.into(), leave_max: 2, ..HubSettings::unlimited() };
        let site = Site::new(ShardId(0), Homes::new(1, 1));
        let metrics = Arc::new(ShardMetrics::default());
        Self { hub: Hub::new(site, settings.into(), Arc::clone(&metrics)), metrics }
    }

    /// A connection that is subscribed to all channels.
    fn come(&mut self) -> u32 {
        let row = self.hub.attach(0);
        self.hub.open_managed(row, Variant::Json);
        let grant = Grant { is_insecure: true, ..Grant::default() };
        self.hub.ask(row, Asked::Connect(1, Box::new(grant)));
        for number in 0..CHANNELS {
            let subscribe = Subscribe {
                channel: name(number),
                position: PositionClaim::default(),
                wishes: Wishes::default(),
                rejects_unrecovered: false,
                grant: None,
            };
            self.hub.ask(row, Asked::Subscribe(2 + number, Box::new(subscribe)));
        }
        while self.hub.poll_effect().is_some() {}
        self.serve();
        row
    }

    /// Sends what there is; says to whom.
    fn serve(&mut self) -> Vec<u32> {
        let mut rows = Vec::new();
        while self.hub.has_work() {
            let mut batch = Batch::default();
            self.hub.poll_batch(&mut batch);
            rows.extend(batch.entries.iter().map(|entry| entry.row));
            self.hub.finish_batch(&mut batch, 0);
        }
        rows
    }

    fn publish(&mut self, number: u32) {
        let publication = Arc::new(Publication::new(true, b"1", 0));
        let command = Command::Publish { channel: name(number), publication, key: None };
        self.hub.handle(Envelope::Command { command: Box::new(command), ticket: None });
    }

    /// How many subscriptions there are, and how many subscribers that are known by name.
    fn counts(&self) -> [i64; 2] {
        [self.metrics.subscriptions.value(), self.metrics.enrolled.value()]
    }
}

fn name(number: u32) -> ChannelName {
    ChannelName::parse(format!("c{number}").as_bytes()).expect("a name")
}

#[test]
fn it_leaves_the_others_in_portions_and_nothing_is_sent_to_it_meanwhile() {
    let mut shard = Shard::new();
    let (stays, goes) = (shard.come(), shard.come());
    let all = i64::from(CHANNELS);
    assert_eq!(shard.counts(), [2 * all; 2]);
    // It is owed something when it ends.
    shard.publish(CHANNELS - 1);
    shard.hub.close(goes, CloseCode::SLOW, "slow", Cause::Command);
    assert!(matches!(shard.hub.poll_effect(), Some(Effect::Closing(row, ..)) if row == goes));
    assert_eq!(shard.counts(), [2 * all - 2; 2]);
    let sent = shard.serve();
    assert_eq!(sent.iter().filter(|&&row| row == goes).count(), 1, "its Close frame");
    shard.hub.detach(goes, 1006);
    // The next one does not get its row, and is not taken for it.
    let next = shard.come();
    assert!(next != goes && next != stays);
    for left in (0..all - 2).rev().step_by(2) {
        assert!(shard.hub.has_leavers());
        shard.publish(CHANNELS - 1);
        let sent = shard.serve();
        assert!(sent.contains(&stays) && sent.contains(&next) && !sent.contains(&goes));
        shard.hub.leave_some();
        assert_eq!(shard.counts(), [2 * all + left - 1; 2]);
    }
    assert!(!shard.hub.has_leavers());
    assert_eq!(shard.hub.attach(0), goes, "its row is free");
}
