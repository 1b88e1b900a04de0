//! The commands of HTTP requests: those that wait for their turn, and those that wait for shards.
//!
//! A request may bring hundreds of commands, and a command a thousand channels. So that nobody
//! waits behind all that others ask, requests take turns: each sends one small part of a command
//! ([`parts`]) and goes to the end. A request whose part has no room on its link is passed over. So
//! the links stay short, and who asks for little waits for little of what others ask for.
//!
//! Requests are bounded by the HTTP server, and those that wait for shards here. A handler that
//! gave up (time out, client gone) has closed its oneshot: what has not begun of its request never
//! does, and what has begun goes on to its end without a row.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::vec::IntoIter;

use tokio::sync::oneshot::Sender;
use tokio::time::Instant;

use crate::api::answers::{Gathered, Progress, Request, RequestError, Settled};
use crate::mesh::{Asker, AskerPort, Envelope, parts};
use crate::model::{Answer, Command, CommandError, ShardId, Ticket};

/// Most commands that wait for shards.
const COMMANDS_BEGUN_MAX: usize = 1024;

/// All commands.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Those that wait for shards, by the number in their ticket.
    rows: HashMap<u32, (Progress, Sender<Settled>)>,
    number: u32,
    /// Requests that have something to send, in the order of their turns.
    waiting: VecDeque<Waiting>,
}

/// What is left to send of a request.
#[derive(Debug)]
struct Waiting {
    rest: IntoIter<(Command, Sender<Settled>)>,
    /// The parts of the command that is next, or has begun.
    parts: VecDeque<(ShardId, Command)>,
    /// Who waits for it, as long as it has not begun.
    unbegun: Option<Sender<Settled>>,
    /// The number of the one that has begun.
    number: u32,
    until: Instant,
}

impl Table {
    /// Takes in a request, whose turn comes after those of all that wait.
    pub(super) fn add(&mut self, request: Request) {
        self.waiting.push_back(Waiting {
            rest: request.commands.into_iter(),
            parts: VecDeque::new(),
            unbegun: None,
            number: 0,
            until: request.until,
        });
    }

    /// Whether requests wait for their turn.
    pub(super) fn is_anybody_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Sends as much as there is room for.
    pub(super) fn send(&mut self, port: &AskerPort) {
        if self.waiting.is_empty() {
            return;
        }
        if self.rows.len() >= COMMANDS_BEGUN_MAX {
            self.rows.retain(|_, (_, reply)| !reply.is_closed());
        }
        let now = Instant::now();
        let mut passed_over = 0;
        while passed_over < self.waiting.len()
            && let Some(mut waiting) = self.waiting.pop_front()
        {
            if !waiting.find_part(port, now) {
                continue;
            }
            passed_over = if self.send_part(&mut waiting, port) { 0 } else { passed_over + 1 };
            self.waiting.push_back(waiting);
        }
    }

    /// Refuses what has not begun of all requests.
    pub(super) fn refuse_unbegun(&mut self) {
        for waiting in &mut self.waiting {
            let next = waiting.unbegun.take().inspect(|_| waiting.parts.clear());
            for reply in next.into_iter().chain(waiting.rest.by_ref().map(|(_, reply)| reply)) {
                let _gave_up = reply.send(Err(CommandError::Draining.into()));
            }
        }
    }

    /// Sends the next part of a request, if there is room for it.
    fn send_part(&mut self, waiting: &mut Waiting, port: &AskerPort) -> bool {
        let Some(&(shard, _)) = waiting.parts.front() else { return false };
        let link = &port.shards[shard.index()];
        if link.is_full() || link.is_heavy() {
            return false;
        }
        if waiting.unbegun.is_some() && self.rows.len() >= COMMANDS_BEGUN_MAX {
            return false;
        }
        if let Some(reply) = waiting.unbegun.take() {
            self.number = self.number.wrapping_add(1);
            waiting.number = self.number;
            self.rows.insert(self.number, (Progress::new(waiting.parts.len() as u32), reply));
        }
        let Some((_, command)) = waiting.parts.pop_front() else { return false };
        let ticket = Some(Ticket { asker: Asker::Control.place(), number: waiting.number });
        let envelope = Envelope::Command { command: Box::new(command), ticket };
        let weight = envelope.weight();
        // This task is the only producer of the link, so the room is still there.
        link.try_send_weighing(envelope, weight).expect("the link had room");
        link.ring();
        true
    }

    /// Takes in what a shard says.
    pub(super) fn handle_answer(&mut self, answer: Answer) {
        // An answer without a row is late: its handler gave up and the row was swept.
        let Entry::Occupied(mut row) = self.rows.entry(answer.number) else { return };
        if let Some(gathered) = row.get_mut().0.handle_answer(answer) {
            let (_, reply) = row.remove();
            let _gave_up = reply.send(Ok(gathered));
        }
    }
}

impl Waiting {
    /// Finds the part that comes next. Returns whether there is one.
    fn find_part(&mut self, port: &AskerPort, now: Instant) -> bool {
        loop {
            if self.unbegun.as_ref().is_some_and(Sender::is_closed) {
                self.parts.clear();
            } else if now >= self.until
                && let Some(reply) = self.unbegun.take()
            {
                let _gave_up = reply.send(Err(RequestError::Overloaded));
                self.parts.clear();
            }
            if !self.parts.is_empty() {
                return true;
            }
            let Some((command, reply)) = self.rest.next() else { return false };
            let parts = parts(command, &port.homes);
            // A client identity comes from outside and may name a shard that does not exist.
            if parts.iter().any(|(shard, _)| shard.index() >= port.shards.len()) {
                let error = Some(CommandError::UnknownClient);
                let _gave_up = reply.send(Ok(Gathered { error, ..Gathered::default() }));
                continue;
            }
            (self.parts, self.unbegun) = (parts.into(), Some(reply));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;
    use crate::mesh::{ShardPort, build};
    use crate::model::{ChannelName, Publication};

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

    /// A request, and who waits for its commands.
    fn request(
        commands: Vec<Command>,
        patience: u64,
    ) -> (Request, Vec<oneshot::Receiver<Settled>>) {
        let (commands, answers) = commands
            .into_iter()
            .map(|command| {
                let (reply, answer) = oneshot::channel();
                ((command, reply), answer)
            })
            .unzip();
        (Request { commands, until: Instant::now() + Duration::from_secs(patience) }, answers)
    }

    fn ports(capacity: usize) -> (ShardPort, AskerPort) {
        let (mut shards, mut askers) = build(1, capacity, 7).unwrap();
        (shards.remove(0), askers.remove(usize::from(Asker::Control.place())))
    }

    /// Takes what is on the link, and says how many channels were before what waits.
    fn take(shard: &ShardPort) -> Vec<(u32, usize)> {
        let queue = shard.inbox.queue_count() - 1;
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
        let (shard, port) = ports(4096);
        let mut table = Table::default();
        let (heavy, _heavy_answers) = request((0..256).map(|_| broadcast()).collect(), 60);
        table.add(heavy);
        table.send(&port);
        let (light, _light_answers) = request(vec![publish()], 60);
        table.add(light);
        table.send(&port);
        let before = take(&shard);
        let channels: usize = before.iter().map(|(_, channels)| channels).sum();
        assert!((2048..2048 + 64).contains(&channels), "{channels} channels wait on the link");
        table.send(&port);
        let next = take(&shard);
        let place = next.iter().position(|(_, channels)| *channels == 0);
        assert!(
            place.is_some_and(|place| place <= 1),
            "one part of the other comes first: {next:?}"
        );
        // Parts of one command are in order, and all come.
        let mut all = [before, next].concat();
        while table.is_anybody_waiting() {
            assert!(table.rows.len() <= COMMANDS_BEGUN_MAX);
            table.send(&port);
            all.extend(take(&shard));
        }
        let channels: usize = all.iter().map(|(_, channels)| channels).sum();
        assert_eq!((channels, all.len()), (256 * 1024, 256 * 16 + 1));
    }

    #[test]
    fn what_does_not_begin_in_time_never_does_and_what_has_begun_goes_on() {
        let (shard, port) = ports(16);
        let mut table = Table::default();
        let (first, mut first_answers) = request(vec![broadcast(), publish()], 0);
        // Its first part has its turn before the time is over.
        table.add(Request { until: Instant::now() + Duration::from_secs(60), ..first });
        let publishes = |_| publish();
        let (fill, _fill_answers) = request((0..15).map(publishes).collect(), 60);
        table.add(fill);
        table.send(&port);
        table.waiting.iter_mut().for_each(|waiting| waiting.until = Instant::now());
        let mut all = take(&shard);
        while table.is_anybody_waiting() {
            table.send(&port);
            all.extend(take(&shard));
        }
        let channels: usize = all.iter().map(|(_, channels)| channels).sum();
        assert_eq!(channels, 1024, "the broadcast that had begun");
        let last = first_answers.pop().unwrap().try_recv().unwrap();
        assert!(matches!(last, Err(RequestError::Overloaded)), "{last:?}");
        assert!(first_answers.pop().unwrap().try_recv().is_err(), "shards have not answered");
    }

    #[test]
    fn what_nobody_waits_for_any_more_does_not_begin() {
        let (shard, port) = ports(16);
        let mut table = Table::default();
        let (request, answers) = request(vec![broadcast(), publish()], 60);
        drop(answers);
        table.add(request);
        table.send(&port);
        assert!(!table.is_anybody_waiting() && take(&shard).is_empty());
    }
}
