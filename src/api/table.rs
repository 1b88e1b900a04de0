//! The commands of HTTP requests: those that wait for their turn, and those that wait for shards.
//!
//! A request may bring hundreds of commands, and a command a thousand channels. So that nobody
//! waits behind all that others ask, requests take turns: each sends one small part of a command
//! ([`Requester::split`]) and goes to the end. A request whose part has no room on its link is
//! passed over. So the links stay short, and who asks for little waits for little of what others
//! ask for.
//!
//! Requests are bounded by the HTTP server, and commands that wait for shards here. Of a request
//! whose handler gave up (its client is gone), or whose time is over, nothing more begins; what
//! has begun goes on to its end, and nobody hears of it.

use std::collections::VecDeque;
use std::iter::Enumerate;
use std::vec::IntoIter;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use tokio::sync::oneshot::Sender;
use tokio::time::Instant;

use crate::api::answers::{Request, RequestError, Settled};
use crate::mesh::{Gathered, Requester};
use crate::model::{Answer, Command, CommandError, ShardId};

/// Most commands that wait for shards.
const COMMANDS_BEGUN_MAX: usize = 1024;

/// Most messages on a link that a command is added to: about as many as a shard takes of it in two
/// turns. What waits here instead waits in turn.
const COMMANDS_ON_LINK_MAX: usize = 512;

/// All commands.
#[derive(Debug)]
pub(super) struct Table {
    /// What waits for shards: the number of a request, and the place of one of its commands.
    requester: Requester<(u32, usize)>,
    /// Requests of which something has not settled, by their numbers.
    asked: HashMap<u32, Asked>,
    number: u32,
    /// Those that have something to send, in the order of their turns.
    waiting: VecDeque<Waiting>,
}

/// A request of which something has not settled.
#[derive(Debug)]
struct Asked {
    /// What became of each command.
    settled: Vec<Option<Settled>>,
    /// How many have not settled.
    left: usize,
    deadline: Instant,
    reply: Sender<Vec<Settled>>,
}

/// What is left to send of a request.
#[derive(Debug)]
struct Waiting {
    /// Its number.
    request: u32,
    rest: Enumerate<IntoIter<Command>>,
    /// The parts of the command that is next, or has begun, and its place.
    parts: VecDeque<(ShardId, Command)>,
    place: usize,
    /// The number of that command, if it has begun.
    begun: Option<u32>,
    until: Instant,
}

impl Table {
    /// No commands.
    pub(super) fn new(requester: Requester<(u32, usize)>) -> Self {
        Self { requester, asked: HashMap::new(), number: 0, waiting: VecDeque::new() }
    }

    /// Takes in a request, whose turn comes after those of all that wait.
    pub(super) fn add(&mut self, request: Request) {
        let Request { commands, until, deadline, reply } = request;
        self.number = self.number.wrapping_add(1);
        let left = commands.len();
        let settled = (0..left).map(|_| None).collect();
        self.asked.insert(self.number, Asked { settled, left, deadline, reply });
        self.waiting.push_back(Waiting {
            request: self.number,
            rest: commands.into_iter().enumerate(),
            parts: VecDeque::new(),
            place: 0,
            begun: None,
            until,
        });
    }

    /// Whether anybody waits for anything.
    pub(super) fn is_anybody_asking(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Sends as much as there is room for.
    pub(super) fn send(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut passed_over = 0;
        while passed_over < self.waiting.len()
            && let Some(mut waiting) = self.waiting.pop_front()
        {
            if !self.find_part(&mut waiting, now) {
                continue;
            }
            passed_over = if self.send_part(&mut waiting) { 0 } else { passed_over + 1 };
            self.waiting.push_back(waiting);
        }
        self.requester.ring();
    }

    /// Refuses what has not begun of all requests.
    pub(super) fn refuse_unbegun(&mut self) {
        for mut waiting in std::mem::take(&mut self.waiting) {
            self.refuse(&mut waiting, CommandError::Draining.into());
            if !waiting.parts.is_empty() {
                self.waiting.push_back(waiting);
            }
        }
    }

    /// Gives up requests whose time is over, and those that nobody waits for.
    pub(super) fn give_up_late(&mut self) {
        let now = Instant::now();
        let is_over = |asked: &Asked| asked.deadline <= now || asked.reply.is_closed();
        self.asked.extract_if(|_, asked| is_over(asked)).for_each(|(_, asked)| asked.end());
        let asked = &self.asked;
        self.requester.give_up(|(request, _)| !asked.contains_key(request)).for_each(drop);
    }

    /// Takes in what a shard says.
    pub(super) fn handle_answer(&mut self, answer: Answer) {
        // An answer that nobody waits for is late.
        if let Some(((request, place), gathered)) = self.requester.hear(answer) {
            self.settle(request, place, Ok(gathered));
        }
    }

    /// Finds the part of a request that comes next. Returns whether there is one.
    fn find_part(&mut self, waiting: &mut Waiting, now: Instant) -> bool {
        if waiting.begun.is_some() && !waiting.parts.is_empty() {
            return true;
        }
        let asked = self.asked.get(&waiting.request);
        if asked.is_none_or(|asked| asked.reply.is_closed()) {
            return false;
        }
        if now >= waiting.until {
            self.refuse(waiting, RequestError::Overloaded);
        }
        while waiting.parts.is_empty() {
            let Some((place, command)) = waiting.rest.next() else { return false };
            (waiting.place, waiting.begun) = (place, None);
            match self.requester.split(command) {
                Ok(parts) => waiting.parts = parts.into(),
                Err(error) => {
                    let gathered = Gathered { error: Some(error), ..Gathered::default() };
                    self.settle(waiting.request, place, Ok(gathered));
                }
            }
        }
        true
    }

    /// Sends the next part of a request, if there is room for it.
    fn send_part(&mut self, waiting: &mut Waiting) -> bool {
        let Some(&(shard, _)) = waiting.parts.front() else { return false };
        if !self.requester.has_room(shard, COMMANDS_ON_LINK_MAX) {
            return false;
        }
        let number = match waiting.begun {
            Some(number) => number,
            None if self.requester.len() >= COMMANDS_BEGUN_MAX => return false,
            None => self.requester.begin(waiting.parts.len(), (waiting.request, waiting.place)),
        };
        waiting.begun = Some(number);
        let Some((shard, part)) = waiting.parts.pop_front() else { return false };
        self.requester.send(shard, part, Some(number));
        true
    }

    /// Nothing more of a request begins.
    fn refuse(&mut self, waiting: &mut Waiting, error: RequestError) {
        if waiting.begun.is_none() && !waiting.parts.is_empty() {
            waiting.parts.clear();
            self.settle(waiting.request, waiting.place, Err(error));
        }
        for (place, _) in waiting.rest.by_ref() {
            self.settle(waiting.request, place, Err(error));
        }
    }

    /// Notes what became of a command. Whoever waits hears of it with the last.
    fn settle(&mut self, request: u32, place: usize, settled: Settled) {
        let Entry::Occupied(mut asked) = self.asked.entry(request) else { return };
        let row = asked.get_mut();
        row.settled[place] = Some(settled);
        row.left -= 1;
        if row.left == 0 {
            asked.remove().end();
        }
    }
}

impl Asked {
    /// Tells what became of each command; what has not settled is out of time.
    fn end(self) {
        let settled = |settled: Option<Settled>| settled.unwrap_or(Err(RequestError::Timeout));
        let _gave_up = self.reply.send(self.settled.into_iter().map(settled).collect());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;
    use crate::mesh::{Asker, AskerPort, Envelope, ShardPort, build};
    use crate::model::{ChannelName, ClientId, NodeId, Publication, Target};

    fn name(number: u32) -> ChannelName {
        ChannelName::parse(format!("c{number}").as_bytes()).unwrap()
    }

    fn broadcast() -> Command {
        let publication = Arc::new(Publication::new(true, b"x", 0));
        Command::Broadcast { channels: (0..1024).map(name).collect(), publication, key: None }
    }

    fn publish() -> Command {
        let publication = Arc::new(Publication::new(true, b"y", 0));
        Command::Publish { channel: name(0), publication, key: None }
    }

    /// A request, and who waits for it.
    fn request(
        commands: Vec<Command>,
        patience: u64,
    ) -> (Request, oneshot::Receiver<Vec<Settled>>) {
        let (reply, settled) = oneshot::channel();
        let until = Instant::now() + Duration::from_secs(patience);
        (Request { commands, until, deadline: until + Duration::from_secs(1), reply }, settled)
    }

    fn table(capacity: usize) -> (ShardPort, Table) {
        let (mut shards, mut askers) = build(1, capacity, 7).unwrap();
        let (requester, _inbox) = Requester::new(AskerPort::take(&mut askers, Asker::Control));
        (shards.remove(0), Table::new(requester))
    }

    /// Takes what is on the link, and says how many channels were before what waits.
    fn take(shard: &ShardPort) -> Vec<(u32, usize)> {
        let queue = shard.shards.len() + usize::from(Asker::Control.place());
        std::iter::from_fn(|| shard.inbox.receive(queue))
            .map(|envelope| {
                shard.inbox.note_taken(queue, envelope.weight());
                let channels = envelope.weight().channels as usize;
                let Envelope::Command { ticket: Some(ticket), .. } = envelope else { panic!() };
                (ticket.number, channels)
            })
            .collect()
    }

    #[test]
    fn who_asks_for_little_does_not_wait_for_all_that_others_ask() {
        let (shard, mut table) = table(4096);
        let (heavy, _heavy_answers) = request((0..256).map(|_| broadcast()).collect(), 60);
        table.add(heavy);
        table.send();
        let (light, _light_answers) = request(vec![publish()], 60);
        table.add(light);
        table.send();
        let before = take(&shard);
        let channels: usize = before.iter().map(|(_, channels)| channels).sum();
        assert!((2048..2048 + 128).contains(&channels), "{channels} channels wait on the link");
        table.send();
        let next = take(&shard);
        let place = next.iter().position(|(_, channels)| *channels == 0);
        assert!(
            place.is_some_and(|place| place <= 1),
            "one part of the other comes first: {next:?}"
        );
        // Parts of one command are in order, and all come.
        let mut all = [before, next].concat();
        while !table.waiting.is_empty() {
            assert!(table.requester.len() <= COMMANDS_BEGUN_MAX);
            table.send();
            all.extend(take(&shard));
        }
        let channels: usize = all.iter().map(|(_, channels)| channels).sum();
        assert_eq!((channels, all.len()), (256 * 1024, 256 * 8 + 1));
    }

    #[test]
    fn what_does_not_begin_in_time_never_does_and_what_has_begun_goes_on() {
        let (shard, mut table) = table(16);
        let (first, mut first_answers) = request(vec![broadcast(), publish()], 0);
        // Its first part has its turn before the time is over.
        table.add(Request { until: Instant::now() + Duration::from_secs(60), ..first });
        let publishes = |_| publish();
        let (fill, _fill_answers) = request((0..15).map(publishes).collect(), 60);
        table.add(fill);
        table.send();
        table.waiting.iter_mut().for_each(|waiting| waiting.until = Instant::now());
        let mut all = take(&shard);
        while !table.waiting.is_empty() {
            table.send();
            all.extend(take(&shard));
        }
        let channels: usize = all.iter().map(|(_, channels)| channels).sum();
        assert_eq!(channels, 1024, "the broadcast that had begun");
        assert!(first_answers.try_recv().is_err(), "shards have not answered");
        table.asked.values_mut().for_each(|asked| asked.deadline = Instant::now());
        table.give_up_late();
        let settled = first_answers.try_recv().unwrap();
        let [broadcast, publish] = &settled[..] else { panic!("{settled:?}") };
        assert!(matches!(broadcast, Err(RequestError::Timeout)), "{broadcast:?}");
        assert!(matches!(publish, Err(RequestError::Overloaded)), "{publish:?}");
        assert!(table.requester.is_empty() && !table.is_anybody_asking());
    }

    #[test]
    fn what_nobody_waits_for_any_more_does_not_begin() {
        let (shard, mut table) = table(16);
        let (request, answers) = request(vec![broadcast(), publish()], 60);
        drop(answers);
        table.add(request);
        table.send();
        assert!(table.waiting.is_empty() && take(&shard).is_empty());
        table.give_up_late();
        assert!(!table.is_anybody_asking());
    }
    #[test]
    fn whoever_asks_hears_of_all_at_once_in_the_order_of_the_commands() {
        let (shard, mut table) = table(16);
        let unknown = ClientId { node: NodeId(0), shard: ShardId(9), row: 0, generation: 1 };
        let lost =
            Command::Refresh { target: Target::Client(unknown), expires_at: None, info: None };
        let (request, mut settled) = request(vec![publish(), lost, publish()], 60);
        table.add(request);
        table.send();
        let numbers: Vec<_> = take(&shard).into_iter().map(|(number, _)| number).collect();
        assert_eq!(numbers.len(), 2);
        for (sessions, number) in [(2, numbers[1]), (1, numbers[0])] {
            assert!(settled.try_recv().is_err());
            table.handle_answer(Answer { number, firsts: 1, sessions, ..Answer::default() });
        }
        let settled = settled.try_recv().unwrap();
        let said = settled.into_iter().map(|it| it.map(|it| (it.sessions, it.error)).unwrap());
        let unknown = (0, Some(CommandError::UnknownClient));
        assert_eq!(said.collect::<Vec<_>>(), [(1, None), unknown, (2, None)]);
        assert!(table.requester.is_empty() && !table.is_anybody_asking());
    }
}
