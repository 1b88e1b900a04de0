//! What the simulation found, each as the shortest course of events that shows it.

use std::sync::Arc;

use tidegate::hub::{Asked, Batch, Cause, Effect, Grant, Hub, Now, Session, Site};
use tidegate::mesh::{Enter, Envelope, Homes, Outbound, Refusal};
use tidegate::metrics::ShardMetrics;
use tidegate::model::{
    Answer, ChannelName, ClientId, Command, NodeId, Publication, ShardId, SubscribeOptions, Target,
    Ticket, Variant,
};
use tidegate::settings::{Budget, HubSettings};
use tidegate::wheel::Tick;
use tidegate::ws::CloseCode;
use tidegate::ws::frame::{Opcode, encode_frame};

/// One hub, the first of some shards, whose other shards the test plays.
pub(crate) struct Edge {
    pub(crate) hub: Hub,
    pub(crate) metrics: Arc<ShardMetrics>,
    pub(crate) settings: HubSettings,
    homes: Homes,
}

impl Edge {
    pub(crate) fn new(shards: u8, change: impl FnOnce(&mut HubSettings)) -> Self {
        let homes = Homes::new(shards, 1);
        let mut settings = HubSettings {
            sessions_per_user_max: 1,
            evict_oldest: false,
            lag_bytes_max: 1_000_000,
            outbox_bytes_max: 1_000_000,
            connections_max: 1000,
            slow: Budget::new(1_000_000, shards.into()).into(),
            ..HubSettings::unlimited()
        };
        change(&mut settings);
        let metrics = Arc::new(ShardMetrics::default());
        let site = Site::new(ShardId(0), homes.clone());
        let hub = Hub::new(site, settings.clone().into(), Arc::clone(&metrics));
        Self { hub, metrics, settings, homes }
    }

    /// A channel of a prefix that is at home on a shard.
    pub(crate) fn channel(&self, prefix: &str, home: u8) -> ChannelName {
        (0..)
            .map(|number| {
                ChannelName::parse(format!("{prefix}{number}").as_bytes()).expect("a valid name")
            })
            .find(|name| self.homes.of(name) == ShardId(home))
            .expect("some number will do")
    }

    pub(crate) fn open(
        &mut self,
        personal: Option<&ChannelName>,
        channels: &[&ChannelName],
    ) -> u32 {
        let row = self.hub.attach(0);
        let channels = channels.iter().copied().cloned().collect();
        let session = Session { personal: personal.cloned(), channels, ..Session::default() };
        self.hub.enter(row, session);
        let effects = self.effects();
        assert!(effects.iter().any(|effect| matches!(effect, Effect::Opened(_))), "{effects:?}");
        row
    }

    /// Another shard asks the home of a user to admit a session.
    fn enter(&mut self, user: &ChannelName, client: ClientId, issued_at: Option<u64>) {
        let enter = Enter { personal: user.clone(), client, device: None, issued_at };
        self.hub.handle(Envelope::Enter(Box::new(enter)));
    }

    pub(crate) fn effects(&mut self) -> Vec<Effect> {
        std::iter::from_fn(|| self.hub.poll_effect()).collect()
    }

    pub(crate) fn command(&mut self, command: Command, number: Option<u32>) {
        let ticket = number.map(|number| Ticket { asker: 0, number });
        self.hub.handle(Envelope::Command { command: Box::new(command), ticket });
    }

    pub(crate) fn publish(&mut self, channel: &ChannelName, size: usize) {
        let publication = Arc::new(Publication::new(true, &vec![b'x'; size], 0));
        self.command(Command::Publish { channel: channel.clone(), publication, key: None }, None);
    }

    fn publish_all(&mut self, except: Option<ClientId>) {
        let publication = Publication::new(true, &[b'x'; 100], 0).with_except(except);
        self.command(Command::PublishAll { publication: Arc::new(publication) }, None);
    }

    /// Sends a batch of which each socket takes at most so many bytes; returns who took any.
    pub(crate) fn flush(&mut self, taken: impl Fn(u32) -> u32) -> Vec<u32> {
        let mut batch = Batch::default();
        self.hub.poll_batch(&mut batch);
        for entry in &mut batch.entries {
            entry.sent = entry.length.min(taken(entry.row));
        }
        self.hub.finish_batch(&mut batch, 0);
        batch.entries.iter().filter(|entry| entry.sent > 0).map(|entry| entry.row).collect()
    }

    pub(crate) fn is_closing(&mut self) -> bool {
        self.effects().iter().any(|effect| matches!(effect, Effect::Closing(..)))
    }
}

#[test]
fn a_pass_ends_in_a_channel_that_the_same_batch_emptied() {
    let mut edge = Edge::new(1, |settings| settings.lag_bytes_max = 10);
    let (first, second) = (edge.channel("a", 0), edge.channel("b", 0));
    edge.open(None, &[&first, &second]);
    // Too much to be gathered into one send with the other channel.
    edge.publish(&first, 40_000);
    edge.publish(&first, 40_000);
    edge.publish(&second, 10);
    edge.flush(|_| 0);
    assert!(edge.is_closing());
}

#[test]
fn the_event_of_a_disconnected_user_names_the_user() {
    let mut edge = Edge::new(1, |_| {});
    let user = ChannelName::personal("7").unwrap();
    let row = edge.open(Some(&user), &[]);
    edge.hub.detach(row, 1006);
    let effects = edge.effects();
    assert_eq!(effects.len(), 2, "the connection's end and the user's: {effects:?}");
    for effect in effects {
        let Effect::Tell(_, Outbound::Event(event)) = effect else { panic!("{effect:?}") };
        assert_eq!(event.personal.as_ref(), Some(&user));
    }
    assert!(edge.hub.is_empty());
}

#[test]
fn a_frame_taken_in_part_is_counted_once() {
    let counts = |act: &dyn Fn(&mut Edge, u32, &ChannelName)| {
        let mut edge = Edge::new(1, |_| {});
        let news = edge.channel("news", 0);
        let row = edge.open(None, &[&news]);
        edge.publish(&news, 100);
        edge.flush(|_| 50);
        act(&mut edge, row, &news);
        (edge.metrics.deliveries.value(), edge.metrics.deliveries_abandoned.value())
    };
    assert_eq!(counts(&|edge, row, _| edge.hub.detach(row, 1006)), (0, 1));
    let leave = |edge: &mut Edge, row, news: &ChannelName| {
        let target = Target::Client(edge.hub.client_id(row));
        edge.command(Command::Unsubscribe { target, channels: vec![news.clone()] }, None);
    };
    assert_eq!(counts(&leave), (1, 0));
}

#[test]
fn a_connection_that_never_opened_lost_nothing() {
    let mut edge = Edge::new(2, |_| {});
    let (here, there) = (edge.channel("a", 0), edge.channel("b", 1));
    let row = edge.hub.attach(0);
    let session = Session { channels: vec![here.clone(), there], ..Session::default() };
    edge.hub.enter(row, session);
    edge.publish(&here, 100);
    edge.hub.detach(row, 1006);
    assert_eq!(edge.metrics.deliveries_abandoned.value(), 0);
}

#[test]
fn leaving_a_channel_may_fill_the_outbox() {
    let mut edge = Edge::new(1, |settings| settings.outbox_bytes_max = 50);
    let (first, second) = (edge.channel("a", 0), edge.channel("b", 0));
    let row = edge.open(None, &[&first, &second]);
    edge.publish(&first, 100);
    let target = Target::Client(edge.hub.client_id(row));
    edge.command(Command::Unsubscribe { target, channels: vec![first, second] }, None);
    assert!(edge.is_closing());
}

#[test]
fn the_rest_of_a_begun_frame_counts_against_the_outbox() {
    let mut edge = Edge::new(1, |settings| settings.outbox_bytes_max = 50);
    let news = edge.channel("news", 0);
    let row = edge.open(None, &[&news]);
    edge.publish(&news, 100);
    edge.flush(|_| 10);
    let target = Target::Client(edge.hub.client_id(row));
    edge.command(Command::Unsubscribe { target, channels: vec![news] }, None);
    assert!(edge.is_closing());
}

#[test]
fn a_broadcast_reaches_the_others_when_the_excluded_one_overflows() {
    let mut edge = Edge::new(1, |settings| settings.outbox_bytes_max = 50);
    let (slow, other) = (edge.open(None, &[]), edge.open(None, &[]));
    edge.publish_all(None);
    edge.flush(|row| if row == slow { 0 } else { u32::MAX });
    let slow_id = edge.hub.client_id(slow);
    edge.publish_all(Some(slow_id));
    assert!(edge.is_closing());
    assert_eq!(edge.flush(|_| u32::MAX), [other]);
}

#[test]
fn subscribing_again_waits_for_the_home_too() {
    let mut edge = Edge::new(2, |_| {});
    let row = edge.open(None, &[]);
    let there = edge.channel("news", 1);
    let target = Target::Client(edge.hub.client_id(row));
    for number in [1, 2] {
        let (target, channels) = (target.clone(), vec![there.clone()]);
        let options = SubscribeOptions::default();
        edge.command(Command::Subscribe { target, channels, options }, Some(number));
    }
    let confirmed = |effects: &[Effect]| {
        let is_confirmation = |effect: &&Effect| {
            let Effect::Tell(_, Outbound::Answer(answer)) = effect else { return false };
            matches!(answer, Answer { firsts: 0, sessions: 1, .. })
        };
        effects.iter().filter(is_confirmation).count()
    };
    let effects = edge.effects();
    assert_eq!(confirmed(&effects), 0, "{effects:?}");
    let handle = effects.iter().find_map(|effect| match effect {
        Effect::Send(_, Envelope::Join { handle, .. }) => Some(*handle),
        _ => None,
    });
    edge.hub.handle(Envelope::Joined { handle: handle.unwrap() });
    assert_eq!(confirmed(&edge.effects()), 2);
}

#[test]
fn everybody_leaves_before_a_broadcast_is_sent() {
    let mut edge = Edge::new(1, |_| {});
    let row = edge.open(None, &[]);
    edge.publish_all(None);
    edge.hub.detach(row, 1006);
    assert!(edge.flush(|_| u32::MAX).is_empty());
    edge.effects();
    assert!(edge.hub.is_empty());
}

#[test]
fn a_session_that_the_hub_closes_makes_room_at_once() {
    let mut edge = Edge::new(2, |settings| settings.outbox_bytes_max = 50);
    let user = edge.channel("#", 0);
    let row = edge.open(Some(&user), &[]);
    edge.hub.push(row, &[0x8A; 100]);
    assert!(edge.is_closing());
    let client = ClientId { node: NodeId(0), shard: ShardId(1), row: 0, generation: 1 };
    edge.enter(&user, client, None);
    let effects = edge.effects();
    let is_admitted = |effect: &Effect| {
        matches!(effect, Effect::Send(_, Envelope::Entered { refusal: None, .. }))
    };
    assert!(effects.iter().any(is_admitted), "{effects:?}");
}

/// A backend ends all sessions of a user, and perhaps revokes the tokens that it has.
fn disconnect(user: &ChannelName, revoke: bool) -> Command {
    let target = Target::User { personal: user.clone(), device: None };
    Command::Disconnect { target, code: 3503, reason: "gone".into(), revoke, except: Vec::new() }
}

#[test]
fn a_home_refuses_a_session_whose_token_was_revoked_on_its_way_there() {
    let mut edge = Edge::new(2, |settings| settings.sessions_per_user_max = 9);
    let (user, other) = (edge.channel("#", 0), edge.channel("#other", 0));
    edge.hub.advance(Now { unix: 1000, ..Now::default() });
    edge.command(disconnect(&user, true), None);
    let is_told = |effect: &Effect| matches!(effect, Effect::Revoke(.., 1000));
    assert!(edge.effects().iter().any(is_told));
    let cases = [
        (&user, Some(1000), Some(Refusal::Revoked)),
        (&user, Some(0), Some(Refusal::Revoked)),
        (&user, Some(1001), None),
        (&user, None, None),
        (&other, Some(999), None),
    ];
    for (row, (personal, issued_at, expected)) in cases.into_iter().enumerate() {
        let client =
            ClientId { node: NodeId(0), shard: ShardId(1), row: row as u32, generation: 1 };
        edge.enter(personal, client, issued_at);
        let mut effects = edge.effects().into_iter();
        let answer = effects.find_map(|effect| match effect {
            Effect::Send(_, Envelope::Entered { client: of, refusal }) if of == client => {
                Some(refusal)
            }
            _ => None,
        });
        assert_eq!(answer, Some(expected), "{personal:?} {issued_at:?}");
        edge.hub.handle(Envelope::Exit { personal: personal.clone(), client });
    }
    edge.effects();
    edge.hub.advance(Now { unix: 2000, tick: Tick(1), ..Now::default() });
    assert!(edge.hub.is_empty(), "what was revoked is forgotten here");
}

#[test]
fn a_session_that_its_home_refuses_as_revoked_never_opens() {
    let mut edge = Edge::new(2, |_| {});
    let user = edge.channel("#", 1);
    let raw = edge.hub.attach(0);
    let personal = Some(user.clone());
    edge.hub.enter(raw, Session { personal, issued_at: Some(7), ..Session::default() });
    let managed = edge.hub.attach(1);
    edge.hub.open_managed(managed, Variant::Json);
    let name = user.user().unwrap().into();
    let grant = Grant { user: name, issued_at: Some(7), ..Grant::default() };
    edge.hub.ask(managed, Asked::Connect(1, Box::new(grant)));
    let is_asked = |effect: &Effect| match effect {
        Effect::Send(_, Envelope::Enter(enter)) => enter.issued_at == Some(7),
        _ => false,
    };
    assert_eq!(edge.effects().iter().filter(|effect| is_asked(effect)).count(), 2);
    for row in [raw, managed] {
        let (client, refusal) = (edge.hub.client_id(row), Some(Refusal::Revoked));
        edge.hub.handle(Envelope::Entered { client, refusal });
    }
    let effects = edge.effects();
    let is_refused =
        |effect: &Effect| matches!(effect, Effect::Refused(row, Refusal::Revoked) if *row == raw);
    assert!(effects.iter().any(is_refused), "{effects:?}");
    let is_closed = |effect: &Effect| match effect {
        Effect::Closing(row, code, _) => (*row, *code) == (managed, CloseCode::INVALID_TOKEN),
        _ => false,
    };
    assert!(effects.iter().any(is_closed), "{effects:?}");
}

#[test]
fn a_session_that_is_still_opening_can_be_ended() {
    let mut edge = Edge::new(2, |_| {});
    let (user, channel) = (edge.channel("#", 0), edge.channel("far", 1));
    for (revoke, expected) in [(true, Refusal::Revoked), (false, Refusal::Disconnected)] {
        let row = edge.hub.attach(0);
        let session = Session {
            personal: Some(user.clone()),
            channels: vec![channel.clone()],
            ..Session::default()
        };
        edge.hub.enter(row, session);
        assert!(!edge.effects().iter().any(|effect| matches!(effect, Effect::Opened(_))));
        edge.command(disconnect(&user, revoke), None);
        let effects = edge.effects();
        let is_refused =
            |effect: &Effect| matches!(effect, Effect::Refused(_, refusal) if *refusal == expected);
        assert!(effects.iter().any(is_refused), "{effects:?}");
        edge.hub.detach(row, 1006);
    }
}

#[test]
fn who_lags_most_makes_room_and_who_lags_little_stays() {
    for is_first in [true, false] {
        let mut edge = Edge::new(1, |settings| settings.slow = Budget::new(200_000, 1).into());
        let (large, small) = (edge.channel("a", 0), edge.channel("b", 0));
        let hoarder = edge.open(None, &[&large]);
        let polite = edge.open(None, &[&small]);
        let both = if is_first {
            [(&large, 30_000), (&small, 900)]
        } else {
            [(&small, 900), (&large, 30_000)]
        };
        for (channel, size) in both {
            edge.publish(channel, size);
            // No socket takes anything.
            edge.flush(|_| 0);
        }
        for _ in 0..4 {
            edge.publish(&large, 30_000);
        }
        assert_eq!(closings(&edge.effects()), []);
        // The one who asks last, and would make it too much, is the polite one.
        edge.publish(&small, 900);
        for _ in 0..2 {
            edge.publish(&large, 30_000);
        }
        edge.publish(&small, 900);
        let closed = closings(&edge.effects());
        assert_eq!(closed, [(hoarder, Cause::Hoarding)]);
        edge.hub.handle_writable(polite);
        while edge.hub.has_work() {
            edge.flush(|_| u32::MAX);
        }
        assert!(edge.metrics.log_bytes.value() == 0, "nothing is kept for nobody");
    }
}

#[test]
fn the_largest_outbox_makes_room_and_is_closed_behind_a_whole_frame() {
    let mut edge = Edge::new(1, |settings| settings.slow = Budget::new(200_000, 1).into());
    let hoarder = edge.open(None, &[]);
    let polite = edge.open(None, &[]);
    let pong = |size| {
        let mut frame = Vec::new();
        encode_frame(Opcode::Binary, &vec![7; size], &mut frame);
        frame
    };
    edge.hub.push(polite, &pong(100));
    for _ in 0..9 {
        edge.hub.push(hoarder, &pong(20_000));
    }
    edge.flush(|_| 10);
    edge.hub.push(polite, &pong(12_000));
    assert_eq!(closings(&edge.effects()), []);
    edge.hub.push(polite, &pong(12_000));
    assert_eq!(closings(&edge.effects()), [(hoarder, Cause::Hoarding)]);
    // Its frame is larger than a share, so that nothing can follow it.
    assert_eq!(edge.hub.outbox_bytes(hoarder), 0);
    assert_eq!(edge.metrics.outbox_bytes_dropped.value(), 9 * 20_004 - 10);

    let another = edge.open(None, &[]);
    for _ in 0..29 {
        edge.hub.push(another, &pong(6000));
    }
    edge.flush(|_| 10);
    edge.hub.push(polite, &pong(2000));
    assert_eq!(closings(&edge.effects()), [(another, Cause::Hoarding)]);
    let waiting = edge.hub.outbox_bytes(another);
    assert!((5994..6100).contains(&waiting), "the rest of its frame, and the close: {waiting}");
}

#[test]
fn many_who_hold_little_do_not_hold_more_than_there_is() {
    let mut edge = Edge::new(1, |settings| settings.slow = Budget::new(50_000, 1).into());
    let frame = |size| {
        let mut frame = Vec::new();
        encode_frame(Opcode::Binary, &vec![7; size], &mut frame);
        frame
    };
    let rows: Vec<u32> = (0..100).map(|_| edge.open(None, &[])).collect();
    for &row in &rows {
        edge.hub.push(row, &frame(1000));
        edge.flush(|_| 0);
    }
    let held = edge.metrics.outbox_bytes.value();
    assert!((40_000..=50_000).contains(&held), "{held}");
    let closed = closings(&edge.effects());
    let oldest: Vec<u32> = closed.iter().map(|&(row, _)| row).collect();
    assert_eq!(oldest, rows[..closed.len()], "of equals the oldest");
}

fn closings(effects: &[Effect]) -> Vec<(u32, Cause)> {
    let closing = |effect: &Effect| match effect {
        Effect::Closing(row, _, cause) => Some((*row, *cause)),
        _ => None,
    };
    effects.iter().filter_map(closing).collect()
}

#[test]
fn a_client_of_another_edge_is_nobody_here() {
    let mut edge = Edge::new(1, |_| {});
    let row = edge.open(None, &[]);
    let here = edge.hub.client_id(row);
    for (client, is_here) in [(ClientId { node: NodeId(1), ..here }, false), (here, true)] {
        let (target, reason) = (Target::Client(client), "go".into());
        let disconnect =
            Command::Disconnect { target, except: Vec::new(), code: 3503, reason, revoke: false };
        edge.command(disconnect, Some(7));
        let effects = edge.effects();
        let is_closed = effects.iter().any(|effect| matches!(effect, Effect::Closing(..)));
        assert_eq!(is_closed, is_here, "{effects:?}");
    }
}
