//! Asks shards on behalf of others: splits a command by homes, sends its parts, and adds up what is
//! answered. Every thread that asks has one ([`Asker`]).
//!
//! Links are FIFO and commands of one publisher must not overtake each other, so as soon as one
//! part does not fit, it and everything after it waits here in order. Whoever asks only while
//! nothing waits ([`Requester::is_stalled`]) has the parts of one command here at most. Whoever
//! keeps what waits, in an order of its own, looks for room first ([`Requester::has_room`]).
//!
//! The parts of an answer may come in any order. Numbers are consecutive, so a part that comes
//! after its request was given up finds nothing: the number returns only after four billion
//! requests.

use std::collections::VecDeque;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use crate::mesh::parts::parts;
use crate::mesh::{Asker, AskerPort, Envelope, Homes, Inbox, Link, Outbound};
use crate::model::{Answer, Command, CommandError, Outcome, ShardId, Ticket};

/// What all shards involved said of a command.
#[derive(Debug, Default)]
pub struct Gathered {
    /// How many sessions it reached, or acted upon.
    pub sessions: u64,
    /// What was asked for, or where publications were put.
    pub outcome: Option<Outcome>,
    /// What went wrong on some shard.
    pub error: Option<CommandError>,
}

/// One thread's way to the shards; `W` is who waits for what becomes of a command.
#[derive(Debug)]
pub struct Requester<W> {
    asker: Asker,
    homes: Homes,
    links: Vec<Link<Envelope>>,
    /// True exactly when a shard was sent something since the last ring.
    is_touched: Vec<bool>,
    /// Whether some link held too much when it was looked at last.
    is_heavy: bool,
    /// What did not fit, oldest first.
    backlog: VecDeque<(ShardId, Envelope)>,
    /// Who waits, by the number in the ticket.
    requests: HashMap<u32, Request<W>>,
    number: u32,
}

/// How much of an answer is there.
#[derive(Debug)]
struct Request<W> {
    who: W,
    /// Parts whose first receiver has not answered.
    firsts: u32,
    /// Further answers announced less those that came; negative while they overtake the first.
    further: i64,
    gathered: Gathered,
}

impl<W> Requester<W> {
    /// The requester of a port, and what it hears.
    pub fn new(port: AskerPort) -> (Self, Inbox<Outbound>) {
        let AskerPort { asker, homes, shards: links, inbox } = port;
        let is_touched = vec![false; links.len()];
        let requester = Self {
            asker,
            homes,
            links,
            is_touched,
            is_heavy: false,
            backlog: VecDeque::new(),
            requests: HashMap::new(),
            number: 0,
        };
        (requester, inbox)
    }

    /// Sends a command that nobody waits for.
    pub fn tell(&mut self, command: Command) -> Result<(), CommandError> {
        self.route(command, None).map(drop)
    }

    /// Sends a command for somebody who waits, who comes back if it is none for any shard.
    pub fn ask(&mut self, command: Command, who: W) -> Result<(), (W, CommandError)> {
        let number = self.next_number();
        match self.route(command, Some(number)) {
            Ok(parts) => self.insert(number, parts, who),
            Err(error) => return Err((who, error)),
        }
        Ok(())
    }

    // HOT PATH 3/6: to the home shard; its thread is woken once per batch, by `ring`.
    fn route(&mut self, command: Command, number: Option<u32>) -> Result<usize, CommandError> {
        if let Some(shard) = command.first_shard(&self.homes) {
            self.check(shard)?;
            self.send(shard, command, number);
            return Ok(1);
        }
        let parts = parts(command, &self.homes);
        let count = parts.len();
        for (shard, part) in parts {
            self.send(shard, part, number);
        }
        Ok(count)
    }

    /// The parts of a command, each with the shard that begins it.
    pub fn split(&self, command: Command) -> Result<Vec<(ShardId, Command)>, CommandError> {
        if let Some(shard) = command.first_shard(&self.homes) {
            self.check(shard)?;
        }
        Ok(parts(command, &self.homes))
    }

    /// A client identity comes from outside and may name a shard that does not exist.
    fn check(&self, shard: ShardId) -> Result<(), CommandError> {
        if shard.index() < self.links.len() { Ok(()) } else { Err(CommandError::UnknownClient) }
    }

    /// Somebody waits for a command in so many parts, which are sent under this number.
    pub fn begin(&mut self, parts: usize, who: W) -> u32 {
        let number = self.next_number();
        self.insert(number, parts, who);
        number
    }

    fn next_number(&mut self) -> u32 {
        self.number = self.number.wrapping_add(1);
        self.number
    }

    fn insert(&mut self, number: u32, parts: usize, who: W) {
        let request =
            Request { who, firsts: parts as u32, further: 0, gathered: Gathered::default() };
        self.requests.insert(number, request);
    }

    /// Whether a shard takes more, on whose link no more than so many messages may wait.
    pub fn has_room(&self, shard: ShardId, messages_max: usize) -> bool {
        let link = &self.links[shard.index()];
        self.backlog.is_empty()
            && link.len() < messages_max.min(link.capacity())
            && !link.is_heavy()
    }

    /// Sends a part of a command, or keeps it if there is no room.
    pub fn send(&mut self, shard: ShardId, part: Command, number: Option<u32>) {
        let ticket = number.map(|number| Ticket { asker: self.asker.place(), number });
        let envelope = Envelope::Command { command: Box::new(part), ticket };
        if !self.backlog.is_empty() {
            self.backlog.push_back((shard, envelope));
            return;
        }
        self.is_touched[shard.index()] = true;
        let (link, weight) = (&self.links[shard.index()], envelope.weight());
        match link.try_send_weighing(envelope, weight) {
            Ok(()) => self.is_heavy = self.is_heavy || link.is_heavy(),
            Err(envelope) => self.backlog.push_back((shard, envelope)),
        }
    }

    /// True exactly when something waits for a full link, or a link holds too much.
    pub fn is_stalled(&self) -> bool {
        self.is_heavy || !self.backlog.is_empty()
    }

    /// Sends what waits, as far as it fits now.
    pub fn retry(&mut self) {
        self.is_heavy = self.is_heavy && self.links.iter().any(Link::is_heavy);
        while let Some((shard, envelope)) = self.backlog.pop_front() {
            self.is_touched[shard.index()] = true;
            let weight = envelope.weight();
            if let Err(envelope) = self.links[shard.index()].try_send_weighing(envelope, weight) {
                self.backlog.push_front((shard, envelope));
                return;
            }
        }
    }

    /// Wakes every shard that was sent something.
    pub fn ring(&mut self) {
        for (link, is_touched) in self.links.iter().zip(&mut self.is_touched) {
            if std::mem::take(is_touched) {
                link.ring();
            }
        }
    }

    /// Takes in a part of an answer. Gives the whole, and who waits for it, when it was the last.
    pub fn hear(&mut self, answer: Answer) -> Option<(W, Gathered)> {
        let Entry::Occupied(mut request) = self.requests.entry(answer.number) else { return None };
        if !request.get_mut().take_in(answer) {
            return None;
        }
        let Request { who, mut gathered, .. } = request.remove();
        if let Some(outcome) = &mut gathered.outcome {
            outcome.settle();
        }
        Some((who, gathered))
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Those who wait no longer, if the iterator comes to them. What they have asked for may be
    /// carried out all the same.
    pub fn give_up(&mut self, mut is_over: impl FnMut(&W) -> bool) -> impl Iterator<Item = W> {
        let over = self.requests.extract_if(move |_, request| is_over(&request.who));
        over.map(|(_, request)| request.who)
    }
}

impl<W> Request<W> {
    /// Adds a part of the answer. Returns whether it was the last.
    fn take_in(&mut self, answer: Answer) -> bool {
        self.firsts = self.firsts.saturating_sub(answer.firsts);
        self.further += i64::from(answer.further());
        let gathered = &mut self.gathered;
        gathered.sessions += u64::from(answer.sessions);
        gathered.error = gathered.error.or(answer.error);
        match (&mut gathered.outcome, answer.outcome) {
            (Some(outcome), Some(part)) => outcome.merge(*part),
            (outcome @ None, Some(part)) => *outcome = Some(*part),
            (_, None) => {}
        }
        self.firsts == 0 && self.further <= 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::{ShardPort, build};
    use crate::model::{ChannelName, ClientId, Epoch, NodeId, Position, Target};

    fn name(text: &str) -> ChannelName {
        ChannelName::parse(text.as_bytes()).unwrap()
    }

    fn requester(shards: u8, capacity: usize) -> (Vec<ShardPort>, Requester<&'static str>) {
        let (shards, mut askers) = build(shards, capacity, 7).unwrap();
        (shards, Requester::new(AskerPort::take(&mut askers, Asker::Ingest)).0)
    }

    fn part(number: u32, is_first: bool, awaiting: i32, sessions: u32) -> Answer {
        Answer { number, firsts: u32::from(is_first), awaiting, sessions, ..Answer::default() }
    }

    #[test]
    fn parts_in_any_order_make_one_answer() {
        // Two homes; the first passes on to two shards, the second to one.
        let parts =
            [(true, 2, 1), (false, 0, 10), (false, 0, 100), (true, 1, 1000), (false, 0, 10_000)];
        for rotation in 0..parts.len() {
            let (_shards, mut requester) = requester(2, 4);
            let number = requester.begin(2, "who");
            for index in 0..parts.len() {
                let (is_first, awaiting, sessions) = parts[(index + rotation) % parts.len()];
                let whole = requester.hear(part(number, is_first, awaiting, sessions));
                let whole = whole.map(|(who, gathered)| (who, gathered.sessions, gathered.error));
                let is_last = index + 1 == parts.len();
                assert_eq!(whole, is_last.then_some(("who", 11_111, None)), "{rotation} {index}");
            }
            assert!(requester.is_empty());
        }
    }

    #[test]
    fn outcomes_of_several_shards_become_one() {
        let position = |offset| Some(Position { offset, epoch: Epoch(1) });
        let said = |number, awaiting, outcome| Answer {
            outcome: Some(Box::new(outcome)),
            ..part(number, true, awaiting, 1)
        };
        let (_shards, mut requester) = requester(2, 4);
        let number = requester.begin(2, "publishes");
        // The home answers for its channels, one of which has no history.
        let first = vec![(name("a"), position(7)), (name("b"), None)];
        assert!(requester.hear(said(number, 1, Outcome::Published(first.clone()))).is_none());
        assert!(requester.hear(part(number, false, 0, 1)).is_none());
        let last = vec![(name("c"), position(1))];
        let whole = requester.hear(said(number, 0, Outcome::Published(last.clone())));
        let Some(("publishes", Gathered { sessions: 3, outcome, error: None })) = whole else {
            panic!("{whole:?}")
        };
        let Some(Outcome::Published(channels)) = outcome else { panic!("another kind") };
        assert_eq!(channels, [first, last].concat());

        let number = requester.begin(3, "lists");
        let channels = |channels| Outcome::Channels(channels);
        let first = channels(vec![(name("b"), 1), (name("a"), 2)]);
        assert!(requester.hear(said(number, 0, first)).is_none());
        assert!(requester.hear(part(number, true, 0, 0)).is_none());
        let whole = requester.hear(said(number, 0, channels(vec![(name("b"), 4)])));
        let Some(Outcome::Channels(channels)) = whole.unwrap().1.outcome else { panic!() };
        assert_eq!(channels, [(name("a"), 2), (name("b"), 5)]);
    }

    #[test]
    fn an_error_of_one_shard_is_the_answer() {
        let (_shards, mut requester) = requester(2, 4);
        let number = requester.begin(2, "who");
        let error = Some(CommandError::ChannelLimit);
        assert!(requester.hear(Answer { error, ..part(number, true, 0, 0) }).is_none());
        let (_, gathered) = requester.hear(part(number, true, 0, 3)).unwrap();
        assert_eq!(gathered.error, error);
        // A part that nobody waits for.
        assert!(requester.hear(part(number, true, 0, 3)).is_none());
    }

    #[test]
    fn who_gives_up_hears_nothing_any_more() {
        let (_shards, mut requester) = requester(1, 4);
        let [first, second] = ["first", "second"].map(|who| requester.begin(1, who));
        assert_eq!(requester.give_up(|who| *who == "first").collect::<Vec<_>>(), ["first"]);
        assert!(requester.hear(part(first, true, 0, 1)).is_none());
        assert_eq!(requester.hear(part(second, true, 0, 1)).unwrap().0, "second");
    }

    #[test]
    fn what_does_not_fit_waits_in_order() {
        let (shards, mut requester) = requester(1, 2);
        let ask = |channel: &str| Command::Presence { channel: name(channel) };
        for who in ["a", "b", "c", "d"] {
            assert_eq!(requester.is_stalled(), who == "d");
            requester.ask(ask(who), who).unwrap();
        }
        assert!(!requester.has_room(ShardId(0), 2));
        let queue = shards[0].shards.len() + usize::from(Asker::Ingest.place());
        let mut heard = Vec::new();
        while let Some(envelope) = shards[0].inbox.receive(queue) {
            let Envelope::Command { command, ticket: Some(ticket) } = envelope else { panic!() };
            let channel = command.channel().unwrap().to_string();
            let (who, _) = requester.hear(part(ticket.number, true, 0, 0)).unwrap();
            assert_eq!(channel, who);
            heard.push(channel);
            requester.retry();
        }
        assert_eq!(heard, ["a", "b", "c", "d"]);
        assert!(!requester.is_stalled() && requester.has_room(ShardId(0), 2));
    }

    #[test]
    fn a_client_of_a_shard_that_does_not_exist_is_unknown() {
        let (_shards, mut requester) = requester(2, 4);
        let client = ClientId { node: NodeId(0), shard: ShardId(2), row: 0, generation: 1 };
        let command =
            || Command::Unsubscribe { target: Target::Client(client), channels: vec![name("a")] };
        assert_eq!(requester.tell(command()), Err(CommandError::UnknownClient));
        let refused = requester.ask(command(), "who");
        assert_eq!(refused, Err(("who", CommandError::UnknownClient)));
        assert!(requester.split(command()).is_err() && requester.is_empty());
    }
}
