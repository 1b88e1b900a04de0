//! Subscriptions that are taken away before their home has confirmed them. The test plays the home.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use tidegate::hub::{Asked, Batch, Cause, Effect, Grant, Hub, Now, Site, Subscribe, Wishes};
use tidegate::mesh::{Attend, Attendance, Attended, Envelope, Homes};
use tidegate::metrics::ShardMetrics;
use tidegate::model::{
    Answer, ChannelGrant, ChannelName, Command, CommandError, Namespace, Namespaces, PositionClaim,
    Publication, ShardId, Target, Variant,
};
use tidegate::settings::HubSettings;
use tidegate::ws::CloseCode;

use crate::client::frame;

/// One hub of two, with one managed client, and channels that are at home elsewhere.
struct Edge {
    hub: Hub,
    row: u32,
    channel: ChannelName,
    personal: ChannelName,
}

impl Edge {
    fn open() -> Self {
        let homes = Homes::new(2, 1);
        let elsewhere = |prefix: &str| {
            let name = |number: u32| ChannelName::parse(format!("{prefix}{number}").as_bytes());
            let mut names = (0..).map(|number| name(number).expect("a name"));
            names.find(|name| homes.of(name) == ShardId(1)).expect("some number")
        };
        let (channel, personal) = (elsewhere("a"), elsewhere("#"));
        let rules = Namespace { history_size: 10, presence: true, ..Namespace::default() };
        let namespaces = Namespaces::new(rules, Namespace::default(), HashMap::new());
        let unlimited = HubSettings::unlimited();
        let settings = HubSettings { namespaces: namespaces.into(), ..unlimited };
        let site = Site::new(ShardId(0), homes);
        let mut hub = Hub::new(site, settings.into(), Arc::new(ShardMetrics::default()));
        let row = hub.attach(0);
        hub.open_managed(row, Variant::Json);
        Self { hub, row, channel, personal }
    }

    /// A client that may do everything.
    fn connect() -> Self {
        let mut edge = Self::open();
        let grant = Grant { is_insecure: true, ..Grant::default() };
        edge.hub.ask(edge.row, Asked::Connect(1, Box::new(grant)));
        edge.questions();
        assert_eq!(edge.replies().len(), 1);
        edge
    }

    /// Asks for a subscription; returns the question for the home.
    fn subscribe(&mut self, id: u32, grant: Option<ChannelGrant>) -> u32 {
        let subscribe = Subscribe {
            channel: self.channel.clone(),
            position: PositionClaim::default(),
            wishes: Wishes::default(),
            rejects_unrecovered: false,
            grant,
        };
        self.hub.ask(self.row, Asked::Subscribe(id, Box::new(subscribe)));
        let questions = self.questions();
        assert_eq!(questions.len(), 1);
        questions[0].number
    }

    fn questions(&mut self) -> Vec<Attend> {
        let effects = std::iter::from_fn(|| self.hub.poll_effect());
        let attend = |effect| match effect {
            Effect::Send(_, Envelope::Attend(attend)) => Some(*attend),
            _ => None,
        };
        effects.filter_map(attend).collect()
    }

    /// What homes are asked to do.
    fn commands(&mut self) -> Vec<Command> {
        let effects = std::iter::from_fn(|| self.hub.poll_effect());
        let command = |effect| match effect {
            Effect::Send(_, Envelope::Command { command, .. }) => Some(*command),
            _ => None,
        };
        effects.filter_map(command).collect()
    }

    fn answer(&mut self, number: u32, result: Result<Attendance, CommandError>) {
        self.hub.handle(Envelope::Attended(Box::new(Attended { number, result })));
    }

    /// A backend takes the channel away.
    fn take_away(&mut self) {
        let client = self.hub.client_id(self.row);
        let channels = vec![self.channel.clone()];
        let command = Command::Unsubscribe { target: Target::Client(client), channels };
        self.hub.handle(Envelope::Command { command: Box::new(command), ticket: None });
    }

    /// What the client is sent.
    fn replies(&mut self) -> Vec<Value> {
        let mut bytes = Vec::new();
        let mut batch = Batch::default();
        while self.hub.has_work() {
            self.hub.poll_batch(&mut batch);
            for entry in &batch.entries {
                bytes.extend_from_slice(self.hub.bytes(entry));
            }
            self.hub.finish_batch(&mut batch, 0);
        }
        let mut replies = Vec::new();
        while let Some((_, payload, size)) = frame(&bytes) {
            replies.push(serde_json::from_slice(payload).unwrap_or(Value::Null));
            bytes.drain(..size);
        }
        replies
    }

    fn refusal(id: u32, code: u32) -> impl Fn(&Value) -> bool {
        move |reply| reply["id"] == id && reply["error"]["code"] == code
    }
}

#[test]
fn what_a_backend_takes_away_is_refused_once() {
    let mut edge = Edge::connect();
    let question = edge.subscribe(2, None);
    edge.take_away();
    let replies = edge.replies();
    assert!(replies.len() == 1 && Edge::refusal(2, 103)(&replies[0]), "{replies:?}");
    edge.answer(question, Ok(Attendance::default()));
    assert!(edge.replies().is_empty());
}

#[test]
fn an_answer_is_for_the_subscription_that_it_belongs_to() {
    let mut edge = Edge::connect();
    let first = edge.subscribe(2, None);
    edge.take_away();
    let second = edge.subscribe(3, None);
    assert_eq!(edge.replies().len(), 1, "the first is refused");
    edge.answer(first, Err(CommandError::SubscriberLimit));
    assert!(edge.replies().is_empty(), "the second is not answered yet");
    edge.answer(second, Ok(Attendance::default()));
    let replies = edge.replies();
    assert!(replies.len() == 1 && replies[0]["id"] == 3, "{replies:?}");
    assert!(replies[0]["subscribe"].is_object(), "{replies:?}");
}

#[test]
fn an_unsubscribe_behind_it_waits() {
    let mut edge = Edge::connect();
    let question = edge.subscribe(2, None);
    edge.hub.ask(edge.row, Asked::Unsubscribe(3, edge.channel.clone()));
    assert!(edge.replies().is_empty());
    edge.answer(question, Ok(Attendance::default()));
    let ids: Vec<Value> = edge.replies().into_iter().map(|reply| reply["id"].clone()).collect();
    assert_eq!(ids, [2, 3]);
}

#[test]
fn one_whose_token_expires_meanwhile_may_come_again() {
    let mut edge = Edge::connect();
    let grant = ChannelGrant { expires_at: Some(10), ..ChannelGrant::default() };
    let question = edge.subscribe(2, Some(grant));
    edge.hub.advance(Now { unix: 1000, ..Now::default() });
    edge.hub.expire(edge.row);
    let replies = edge.replies();
    assert!(replies.len() == 1 && Edge::refusal(2, 109)(&replies[0]), "{replies:?}");
    edge.answer(question, Ok(Attendance::default()));
    assert!(edge.replies().is_empty());
}

#[test]
fn what_a_backend_says_meanwhile_comes_behind_the_reply_to_connect() {
    let mut edge = Edge::open();
    let granted = edge.channel.clone();
    let channels = vec![(granted.clone(), ChannelGrant::default())];
    let user = edge.personal.user().expect("a user").into();
    let grant = Grant { channels, user, ..Grant::default() };
    edge.hub.ask(edge.row, Asked::Connect(1, Box::new(grant)));
    for attend in edge.questions() {
        edge.answer(attend.number, Ok(Attendance::default()));
    }
    edge.take_away();
    assert!(edge.replies().is_empty(), "the home of its personal channel has not answered");
    let client = edge.hub.client_id(edge.row);
    edge.hub.handle(Envelope::Entered { client, refusal: None });
    let replies = edge.replies();
    assert!(replies[0]["connect"]["subs"][granted.as_str()].is_object(), "{replies:?}");
    assert_eq!(replies[1]["push"]["channel"], granted.as_str(), "{replies:?}");
    assert_eq!(replies[1]["push"]["unsubscribe"]["code"], 2000, "{replies:?}");
}

#[test]
fn nothing_follows_a_close() {
    let mut edge = Edge::connect();
    edge.hub.ask(edge.row, Asked::Publish(2, edge.channel.clone(), "{}".into()));
    let ticket = std::iter::from_fn(|| edge.hub.poll_effect()).find_map(|effect| match effect {
        Effect::Send(_, Envelope::Command { ticket, .. }) => ticket,
        _ => None,
    });
    let question = edge.subscribe(3, None);
    edge.hub.close(edge.row, CloseCode(3503), "over", Cause::Command);
    edge.answer(question, Ok(Attendance::default()));
    let answer = Answer {
        number: ticket.expect("the home is asked").number,
        firsts: 1,
        awaiting: 0,
        sessions: 0,
        error: Some(CommandError::NoHistory),
        outcome: None,
    };
    edge.hub.handle(Envelope::Answered(Box::new(answer)));
    assert_eq!(edge.replies(), [Value::Null], "a close frame is no JSON");
}

#[test]
fn a_publication_waits_for_its_crowded_home_and_what_is_behind_it_too() {
    let mut edge = Edge::connect();
    let (row, channel) = (edge.row, edge.channel.clone());
    edge.hub.note_crowded(ShardId(1), true);
    edge.hub.ask(row, Asked::Publish(2, channel.clone(), "1".into()));
    edge.hub.ask(row, Asked::PresenceStats(3, channel.clone()));
    edge.hub.resume_publishers();
    assert!(edge.commands().is_empty());
    assert!(edge.hub.is_parked(row) && edge.hub.has_waiting_publishers());
    edge.hub.note_crowded(ShardId(1), false);
    edge.hub.resume_publishers();
    let commands = edge.commands();
    assert!(matches!(commands[..], [Command::Publish { .. }, Command::PresenceStats { .. }]));
    assert!(!edge.hub.is_parked(row) && !edge.hub.has_waiting_publishers());
    // Only publications make more to do.
    edge.hub.note_crowded(ShardId(1), true);
    edge.hub.ask(row, Asked::PresenceStats(4, channel));
    assert_eq!(edge.commands().len(), 1);
}

#[test]
fn a_publication_waits_while_its_own_shard_is_congested() {
    let mut edge = Edge::connect();
    let homes = Homes::new(2, 1);
    let name = |number: u32| ChannelName::parse(format!("c{number}").as_bytes()).expect("a name");
    let here = |name: &ChannelName| homes.of(name) == ShardId(0);
    let channel = (0..).map(name).find(here).expect("some number");
    let subscribe = Subscribe {
        channel: channel.clone(),
        position: PositionClaim::default(),
        wishes: Wishes::default(),
        rejects_unrecovered: false,
        grant: None,
    };
    edge.hub.ask(edge.row, Asked::Subscribe(2, Box::new(subscribe)));
    assert_eq!(edge.replies().len(), 1);
    let publication = Arc::new(Publication::new(true, &[b'1'; 100_000], 0));
    while !edge.hub.is_congested() {
        let (channel, publication) = (channel.clone(), Arc::clone(&publication));
        let command = Box::new(Command::Publish { channel, publication, key: None });
        edge.hub.handle(Envelope::Command { command, ticket: None });
    }
    for id in 3..6 {
        edge.hub.ask(edge.row, Asked::Publish(id, channel.clone(), "2".into()));
    }
    edge.hub.resume_publishers();
    assert!(edge.hub.is_parked(edge.row));
    let before = edge.replies().len();
    edge.hub.resume_publishers();
    assert!(!edge.hub.is_parked(edge.row));
    let replies = edge.replies();
    assert_eq!((before, replies.len()), (3, 6), "three answers and three pushes: {replies:?}");
}
