//! Sends commands to shards and gathers the parts of their answers.
//!
//! One task owns the port, because a link has one producer; HTTP handlers reach it through a
//! bounded queue and wait on a oneshot, so nothing here needs a lock. The table of unanswered
//! requests is bounded: a handler that gave up (time out, client gone) has closed its oneshot, and
//! such rows are swept when the table is full. A command goes to all of its shards or to none.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};

use crate::mesh::{Asker, AskerPort, Envelope, Homes, Outbound};
use crate::protocol::{Answer, ChannelName, Command, CommandError, ShardId, Ticket};

/// Most requests that wait for the task that owns the port.
const REQUESTS_QUEUED_MAX: usize = 64;

/// Most requests that wait for shards.
const REQUESTS_PENDING_MAX: usize = 1024;

/// Why a command has no answer from every shard involved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RequestError {
    /// A link is full or too many requests are pending; no shard has got the command.
    #[error("the edge is overloaded, nothing was sent: try again later")]
    Overloaded,
    /// Shards did not answer in time; they may still carry the command out.
    #[error("shards did not answer in time; the command may still be carried out")]
    Timeout,
    /// A shard could not carry it out.
    #[error(transparent)]
    Refused(#[from] CommandError),
}

/// What becomes of a command: how many sessions it reached, or why it failed.
type Outcome = Result<u64, RequestError>;

/// A command on its way to the task that owns the port.
#[derive(Debug)]
pub(super) struct Request {
    command: Command,
    reply: oneshot::Sender<Outcome>,
}

/// The handlers' end: hands commands in and waits for outcomes.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    queue: mpsc::Sender<Request>,
    patience: Duration,
}

impl Requests {
    /// The two ends of the queue; `patience` bounds the wait for shards.
    pub(super) fn new(patience: Duration) -> (Self, mpsc::Receiver<Request>) {
        let (queue, receiver) = mpsc::channel(REQUESTS_QUEUED_MAX);
        (Self { queue, patience }, receiver)
    }

    /// Sends a command to its shards and tells how many sessions it reached.
    pub(super) async fn send(&self, command: Command) -> Outcome {
        let (reply, outcome) = oneshot::channel();
        let request = Request { command, reply };
        self.queue.try_send(request).map_err(|_| RequestError::Overloaded)?;
        match tokio::time::timeout(self.patience, outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) | Err(_) => Err(RequestError::Timeout),
        }
    }
}

/// Serves requests until every [`Requests`] is gone.
pub(super) async fn run(port: AskerPort, mut queue: mpsc::Receiver<Request>) -> io::Result<()> {
    let bell = port.inbox.bell();
    #[expect(deprecated, reason = "its replacement is unsafe; `port` keeps the descriptor open")]
    let readable = AsyncFd::with_interest(bell.as_raw_fd(), Interest::READABLE)?;
    let mut table = Table::default();
    loop {
        for shard in 0..port.inbox.queue_count() {
            while let Some(outbound) = port.inbox.receive(shard) {
                // Events go to the ingest thread, and the end of a drain concerns `main`.
                if let Outbound::Answer(answer) = outbound {
                    table.handle_answer(&answer);
                }
            }
        }
        bell.begin_sleep();
        if port.inbox.is_empty() {
            tokio::select! {
                guard = readable.readable() => {
                    bell.event().drain();
                    guard?.clear_ready();
                }
                request = queue.recv() => {
                    let Some(request) = request else { return Ok(()) };
                    table.handle_request(request, &port);
                }
            }
        }
        bell.end_sleep();
    }
}

/// The requests that wait for shards, by the number in their ticket.
#[derive(Debug, Default)]
struct Table {
    rows: HashMap<u32, (Progress, oneshot::Sender<Outcome>)>,
    number: u32,
}

impl Table {
    fn handle_request(&mut self, Request { command, reply }: Request, port: &AskerPort) {
        if self.rows.len() >= REQUESTS_PENDING_MAX {
            self.rows.retain(|_, (_, reply)| !reply.is_closed());
        }
        let parts = split(command, &port.homes);
        // This task is the only producer of these links, so one with room keeps it.
        let full = parts.iter().any(|(shard, _)| port.shards[shard.index()].is_full());
        if full || self.rows.len() >= REQUESTS_PENDING_MAX {
            let _gave_up = reply.send(Err(RequestError::Overloaded));
            return;
        }
        self.number = self.number.wrapping_add(1);
        let ticket = Ticket { asker: Asker::Control.place(), number: self.number };
        self.rows.insert(self.number, (Progress::new(parts.len() as u32), reply));
        for (shard, command) in parts {
            let link = &port.shards[shard.index()];
            let envelope = Envelope::Command { command: Box::new(command), ticket: Some(ticket) };
            link.try_send(envelope).expect("the link had room and has one producer");
            link.ring();
        }
    }

    fn handle_answer(&mut self, answer: &Answer) {
        // An answer without a row is late: its handler gave up and the row was swept.
        let Entry::Occupied(mut row) = self.rows.entry(answer.number) else { return };
        if let Some(outcome) = row.get_mut().0.handle_answer(answer) {
            let (_, reply) = row.remove();
            let _gave_up = reply.send(outcome);
        }
    }
}

/// How much of an answer is there. Parts arrive in any order, so what a first answer announces
/// may be less than what has come already.
#[derive(Debug)]
struct Progress {
    /// Envelopes whose first receiver has not answered.
    envelopes: u32,
    /// Further answers announced, less those that came.
    awaited: i64,
    sessions: u64,
    error: Option<CommandError>,
}

impl Progress {
    fn new(envelopes: u32) -> Self {
        Self { envelopes, awaited: 0, sessions: 0, error: None }
    }

    /// Takes in one part; the outcome when it was the last.
    fn handle_answer(&mut self, answer: &Answer) -> Option<Outcome> {
        if answer.is_first {
            self.envelopes = self.envelopes.saturating_sub(1);
        } else {
            self.awaited -= 1;
        }
        self.awaited += i64::from(answer.awaiting);
        self.sessions += u64::from(answer.sessions);
        self.error = self.error.or(answer.error);
        let is_complete = self.envelopes == 0 && self.awaited <= 0;
        is_complete.then(|| self.error.map_or(Ok(self.sessions), |error| Err(error.into())))
    }
}

/// The shards that begin a command, and what each is told.
fn split(command: Command, homes: &Homes) -> Vec<(ShardId, Command)> {
    if let Some(shard) = command.first_shard(homes) {
        return vec![(shard, command)];
    }
    let shards = (0..homes.shards()).map(ShardId);
    match command {
        Command::PublishAll { publication } => shards
            .map(|shard| (shard, Command::PublishAll { publication: publication.clone() }))
            .collect(),
        Command::Broadcast { channels, publication, key } => shards
            .filter_map(|shard| {
                let here = |channel: &&ChannelName| homes.of(channel) == shard;
                let channels: Vec<_> = channels.iter().filter(here).cloned().collect();
                let (publication, key) = (publication.clone(), key.clone());
                (!channels.is_empty())
                    .then_some((shard, Command::Broadcast { channels, publication, key }))
            })
            .collect(),
        Command::Channels { pattern } => {
            shards.map(|shard| (shard, Command::Channels { pattern: pattern.clone() })).collect()
        }
        command => vec![(ShardId(0), command)],
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::protocol::Publication;

    fn part(is_first: bool, awaiting: u32, sessions: u32) -> Answer {
        Answer { number: 1, is_first, awaiting, sessions, error: None, outcome: None }
    }

    #[test]
    fn parts_complete_an_answer_in_any_order() {
        let parts = [part(true, 2, 1), part(false, 0, 10), part(false, 0, 100), part(true, 0, 5)];
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 2, 0], [2, 0, 3, 1]] {
            let mut progress = Progress::new(2);
            let mut outcomes = order.map(|place: usize| progress.handle_answer(&parts[place]));
            assert_eq!(outcomes[3].take(), Some(Ok(116)), "{order:?}");
            assert_eq!(outcomes, [None; 4], "{order:?}");
        }
    }

    #[test]
    fn one_error_is_the_error_of_the_whole() {
        let mut progress = Progress::new(2);
        let refused = Answer { error: Some(CommandError::Draining), ..part(true, 0, 0) };
        assert_eq!(progress.handle_answer(&refused), None);
        let outcome = progress.handle_answer(&part(true, 0, 3));
        assert_eq!(outcome, Some(Err(RequestError::Refused(CommandError::Draining))));
    }

    #[test]
    fn broadcasts_go_to_each_home_with_its_own_channels() {
        let homes = Homes::new(3, 7);
        let name = |number: u32| ChannelName::parse(format!("c{number}").as_bytes()).unwrap();
        let channels: Vec<_> = (0..32).map(name).collect();
        let publication = Arc::new(Publication::new(true, b"x", 0));
        let parts = split(Command::Broadcast { channels, publication, key: None }, &homes);
        let mut count = 0;
        for (shard, command) in parts {
            let Command::Broadcast { channels, .. } = command else { panic!("not a broadcast") };
            assert!(channels.iter().all(|channel| homes.of(channel) == shard));
            count += channels.len();
        }
        assert_eq!(count, 32);
    }
}
