//! An audit can fail: each planted fault is found, and called by its name.

use std::sync::Arc;

use super::*;
use crate::hub::delivery::channel::Round;
use crate::hub::delivery::connection::{BLOCKED, Cursor, HELD};
use crate::hub::{Asked, Batch, Grant, Session, Site, Subscribe, Wishes};
use crate::mesh::{Envelope, Homes};
use crate::metrics::ShardMetrics;
use crate::model::{
    ChannelName, ClientId, Command, Namespace, Namespaces, PositionClaim, Publication, ShardId,
    Variant,
};
use crate::settings::HubSettings;

/// One of two shards in the middle of its work.
struct Busy {
    hub: Hub,
    /// Raw, with a full socket.
    slow: Id<Connection>,
    /// Raw, and waits for the other shard before it opens.
    opening: Id<Connection>,
    /// Managed, with an outbox that is to be sent.
    managed: Id<Connection>,
    /// Managed, and waits for the other shard with a subscription and a command behind it.
    asking: Id<Connection>,
    near: ChannelName,
    far: ChannelName,
    /// The other of those in which a raw connection is.
    quiet: ChannelName,
}

fn publish(hub: &mut Hub, command: impl FnOnce(Arc<Publication>) -> Command) {
    let publication = Arc::new(Publication::new(true, b"\"hello\"", 0));
    let command = Box::new(command(publication));
    hub.handle(Envelope::Command { command, ticket: None });
}

fn ask_for(hub: &mut Hub, row: u32, channel: &ChannelName) {
    let subscribe = Subscribe {
        channel: channel.clone(),
        position: PositionClaim::default(),
        wishes: Wishes::default(),
        rejects_unrecovered: false,
        grant: None,
    };
    hub.ask(row, Asked::Subscribe(2, Box::new(subscribe)));
}

impl Busy {
    fn new() -> Self {
        let homes = Homes::new(2, 7);
        let at = |prefix: &str, shard: u8| {
            let name = |number| ChannelName::parse(format!("{prefix}{number}").as_bytes()).unwrap();
            (0..).map(name).find(|name| homes.of(name) == ShardId(shard)).unwrap()
        };
        let (user, near, far, quiet) = (at("#", 0), at("near", 0), at("far", 1), at("quiet", 0));
        let rules = Namespace { history_size: 9, presence: true, ..Namespace::default() };
        let namespaces = Namespaces::new(rules.clone(), rules, Default::default()).into();
        let settings = HubSettings { namespaces, leave_max: 1, ..HubSettings::unlimited() };
        let site = Site::new(ShardId(0), homes);
        let mut hub = Hub::new(site, settings.into(), Arc::new(ShardMetrics::default()));
        let enter = |hub: &mut Hub, channels: &[&ChannelName]| {
            let row = hub.attach(0);
            let channels = channels.iter().map(|&name| name.clone()).collect();
            let session = Session { personal: Some(user.clone()), channels, ..Session::default() };
            hub.enter(row, session);
            row
        };
        let slow = enter(&mut hub, &[&near, &quiet]);
        let gone = enter(&mut hub, &[&near, &quiet]);
        let opening = enter(&mut hub, &[&far]);
        let [managed, asking] = [(); 2].map(|()| {
            let row = hub.attach(0);
            hub.open_managed(row, Variant::Json);
            let grant = Grant { is_insecure: true, ..Grant::default() };
            hub.ask(row, Asked::Connect(1, Box::new(grant)));
            ask_for(&mut hub, row, &near);
            row
        });
        // The first byte of a frame goes to the socket that is full then, and all others take all.
        let flush = |hub: &mut Hub, full: Option<u32>| {
            let mut batch = Batch::default();
            hub.poll_batch(&mut batch);
            for entry in &mut batch.entries {
                entry.sent = if Some(entry.row) == full { 1 } else { entry.length };
            }
            hub.finish_batch(&mut batch, 0);
        };
        (0..4).for_each(|_| flush(&mut hub, None));
        publish(&mut hub, |publication| Command::Publish {
            channel: near.clone(),
            publication,
            key: None,
        });
        (0..4).for_each(|_| flush(&mut hub, Some(slow)));
        publish(&mut hub, |publication| Command::PublishAll { publication });
        hub.push(managed, b"\x8a\x00");
        ask_for(&mut hub, asking, &far);
        hub.ask(asking, Asked::Unsubscribe(3, far.clone()));
        hub.detach(gone, 1006);
        hub.allow(0);
        hub.ask(managed, Asked::Unsubscribe(3, near.clone()));
        let [slow, opening, managed, asking] = [slow, opening, managed, asking].map(Id::new);
        Self { hub, slow, opening, managed, asking, near, far, quiet }
    }

    /// The part of a channel in which the connections of a variant are.
    fn part(
        &self,
        channel: &ChannelName,
        variant: Variant,
    ) -> Id<crate::hub::delivery::channel::Channel> {
        self.hub.delivery.channels.find_distinct(channel, variant as u8).unwrap()
    }

    fn near(&mut self) -> &mut crate::hub::delivery::channel::Channel {
        let part = self.part(&self.near, Variant::Raw);
        &mut self.hub.delivery.channels.rows[part]
    }

    fn round(&mut self) -> &mut Round {
        self.near().round.as_mut().unwrap()
    }

    fn home(&mut self) -> &mut crate::hub::home::Record {
        let row = self.hub.home.records.find(&self.near).unwrap();
        &mut self.hub.home.records.rows[row]
    }
}

#[test]
fn a_hub_in_the_middle_of_its_work_passes() {
    let Busy { hub, slow, opening, managed, asking, far, .. } = Busy::new();
    assert_eq!(hub.audit(), Ok(()));
    assert!(hub.delivery.connections[slow].is(BLOCKED) && hub.openings.contains_key(&opening));
    assert!(hub.has_parked(managed) && hub.has_parked(asking) && hub.has_leavers());
    let pending = hub.terms_of(asking, &far).unwrap().pending;
    assert!(pending.is_some() && hub.has_latecomers());
}

/// A fault, and how an audit calls it.
type Fault = (&'static str, fn(&mut Busy));

fn find_all(faults: &[Fault]) {
    for &(name, plant) in faults {
        let mut busy = Busy::new();
        plant(&mut busy);
        let found = busy.hub.audit().expect_err(name);
        assert!(found.contains(name), "{name} is called {found}");
    }
}

#[test]
fn faults_of_delivery_are_found() {
    find_all(&[
        ("logs hold", |it| it.hub.delivery.tally.log_bytes += 1),
        ("outboxes hold", |it| it.hub.delivery.tally.outbox_bytes += 1),
        ("lag, other than counted", |it| it.round().lagging += 1),
        ("are joining", |it| it.near().joining += 1),
        ("has work and no log", |it| it.near().round = None),
        ("walks beyond", |it| it.round().walk = 9),
        ("a log that nobody needs", |it| {
            let part = it.part(&it.quiet, Variant::Raw);
            let channel = &mut it.hub.delivery.channels.rows[part];
            channel.round = Some(Box::new(Round::new(channel.head)));
        }),
        ("owes something and has no log", |it| {
            let part = it.part(&it.quiet, Variant::Raw);
            it.hub.delivery.channels.rows[part].head += 1;
        }),
        ("with another head", |it| it.near().head += 1),
        ("a cursor at", |it| {
            it.near().members[0].cursor = Cursor::at(99).with_lag(true);
        }),
        ("is queued 0 times", |it| it.hub.delivery.queues.dirty.clear()),
        ("logs are too long", |it| it.hub.delivery.tally.congested += 1),
        ("is in no queue", |it| it.hub.delivery.queues.catching_up.clear()),
        ("nobody will send", |it| it.hub.delivery.connections[it.slow].set(BLOCKED, false)),
        ("has lost its outbox", |it| it.hub.delivery.connections[it.slow].outbox = Id::NONE),
        ("the outbox of another", |it| {
            it.hub.delivery.connections[it.slow].outbox =
                it.hub.delivery.connections[it.managed].outbox;
        }),
        ("is owed no rest", |it| {
            let outbox = it.hub.delivery.connections[it.slow].outbox;
            it.hub.delivery.outboxes[outbox].unfinished.as_mut().unwrap().1 = 999;
        }),
        ("nobody serves", |it| {
            let outbox = it.hub.delivery.connections[it.slow].outbox;
            it.hub.delivery.outboxes[outbox].lagging.clear();
        }),
        ("take part", |it| it.hub.delivery.tally.everyone[0] += 1),
        ("connections by number", |it| {
            it.hub.delivery.channels.rows[crate::hub::delivery::everyone_in(Variant::Raw)]
                .members
                .swap(0, 1);
        }),
    ]);
}

#[test]
fn faults_between_rows_are_found() {
    find_all(&[
        ("has another member", |it| it.near().members.swap(0, 1)),
        ("in two rings", |it| {
            let first = it.hub.delivery.connections[it.slow].subscriptions;
            it.hub.delivery.subscriptions[first].next = first;
        }),
        ("does not close", |it| it.hub.delivery.connections[it.slow].subscription_count -= 1),
        ("waits to open", |it| {
            it.hub.openings.remove(&it.opening);
        }),
        ("is managed, or it is not", |it| drop(it.hub.managed.remove(&it.managed))),
        ("which is gone", |it| drop(it.hub.devices.insert(Id::new(99), "phone".into()))),
        ("is gone for good", |it| it.hub.delivery.connections[it.slow].phase = Phase::Gone),
        ("are queued", |it| it.hub.leavers.queue.clear()),
        ("subscriptions are counted", |it| it.hub.context.metrics.subscriptions.add(1)),
        ("belongs to no subscription", |it| {
            it.hub.enrolled.insert(Id::new(99));
        }),
        ("and an index", |it| {
            it.hub.delivery.indexes.tables.insert(it.slow, Default::default());
        }),
    ]);
}

#[test]
fn faults_of_those_that_wait_are_found() {
    find_all(&[
        ("waits for 2 of 1", |it| {
            let joining = it.hub.openings[&it.opening];
            it.hub.joinings[joining].remaining += 1;
        }),
        ("which is gone", |it| drop(it.hub.waiting.insert(Id::new(99), Vec::new()))),
        ("open questions", |it| it.hub.managed.get_mut(&it.asking).unwrap().questions += 1),
        ("has not begun after", |it| {
            let part = it.part(&it.far, Variant::Json);
            it.hub.terms_in_mut(it.asking, part).unwrap().pending = None;
        }),
        ("nobody was asked for", |it| {
            let part = it.part(&it.far, Variant::Json);
            it.hub.terms_in_mut(it.asking, part).unwrap().pending = Some(Id::new(99));
        }),
        ("other than known", |it| it.hub.crowds.known.clear()),
        ("waits for nothing", |it| {
            it.hub.crowds.known.clear();
            it.hub.crowds.later.clear();
            let outbox = it.hub.delivery.connections[it.managed].outbox;
            it.hub.delivery.connections[it.managed].outbox = Id::NONE;
            let Hub { delivery, context, .. } = &mut it.hub;
            delivery.remove_outbox(context, outbox);
        }),
        ("is held, or is not", |it| it.hub.delivery.connections[it.managed].set(HELD, true)),
        ("terms of", |it| it.hub.managed.get_mut(&it.managed).unwrap().terms.clear()),
        ("commands are counted", |it| it.hub.context.metrics.commands_parked.add(1)),
    ]);
}

#[test]
fn faults_of_homes_are_found() {
    find_all(&[
        ("in one part of", |it| {
            let member = it.home().members[0];
            it.home().members.push(member);
        }),
        ("this shard is not in", |it| it.home().members[0].1.generation += 8),
        ("has not heard of", |it| {
            it.home().members.remove(0);
        }),
        ("is of nobody here", |it| {
            it.home().sessions.push(ClientId { row: 99, ..ClientId::NOBODY });
        }),
        ("is of another home", |it| {
            let stream = it.home().stream;
            it.hub.home.history.streams[stream].home = Id::NONE;
        }),
        ("users and streams", |it| it.hub.context.metrics.users.add(1)),
        ("streams have a home", |it| it.home().stream = Id::NONE),
        ("on rolls", |it| it.hub.context.metrics.enrolled.add(1)),
        ("devices are of sessions", |it| {
            it.hub.home.session_devices.insert(ClientId::NOBODY, "phone".into());
        }),
    ]);
}
