//! Sends commands to shards and gathers the parts of their answers.
//!
//! One task owns the port, because a link has one producer; HTTP handlers reach it through a
//! bounded queue and wait on a oneshot, so nothing here needs a lock. The table of unanswered
//! requests is bounded: a handler that gave up (time out, client gone) has closed its oneshot, and
//! such rows are swept when the table is full. A request, of one command or several, goes to all of
//! its shards or to none.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::mesh::{Asker, AskerPort, Envelope, Homes, Outbound};
use crate::protocol::{Answer, ChannelName, Command, CommandError, Outcome, ShardId, Ticket};

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

/// What all shards involved said of a command.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// How many sessions it reached, or acted upon.
    pub(super) sessions: u64,
    /// What was asked for, or where publications were put.
    pub(super) outcome: Option<Outcome>,
    /// What went wrong on some shard.
    pub(super) error: Option<CommandError>,
}

impl Gathered {
    /// How many sessions it reached, if nothing went wrong anywhere.
    pub(super) fn sessions(&self) -> Result<u64, RequestError> {
        self.error.map_or(Ok(self.sessions), |error| Err(error.into()))
    }
}

/// What becomes of a command.
type Settled = Result<Gathered, RequestError>;

/// Commands on their way to the task that owns the port, which takes all of them or none.
#[derive(Debug)]
pub(super) struct Request(Vec<(Command, oneshot::Sender<Settled>)>);

/// The other end: what waits for the task that owns the port.
pub(super) type Queue = mpsc::Receiver<Request>;

/// The handlers' end: hands commands in and waits for what becomes of them.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    queue: mpsc::Sender<Request>,
    /// Bounds the wait for shards.
    pub(super) patience: Duration,
}

impl Requests {
    /// The two ends of the queue; `patience` bounds the wait for shards.
    pub(super) fn new(patience: Duration) -> (Self, Queue) {
        let (queue, receiver) = mpsc::channel(REQUESTS_QUEUED_MAX);
        (Self { queue, patience }, receiver)
    }

    /// Sends a command to its shards and waits until all of them have answered.
    pub(super) async fn send(&self, command: Command) -> Settled {
        self.send_all(vec![command]).await.pop().expect("one command has one answer")
    }

    /// Sends several commands at once; what becomes of each, in their order.
    pub(super) async fn send_all(&self, commands: Vec<Command>) -> Vec<Settled> {
        let count = commands.len();
        let (request, answers): (Vec<_>, Vec<_>) = commands
            .into_iter()
            .map(|command| {
                let (reply, answer) = oneshot::channel();
                ((command, reply), answer)
            })
            .unzip();
        let deadline = Instant::now() + self.patience;
        if !matches!(timeout_at(deadline, self.queue.send(Request(request))).await, Ok(Ok(()))) {
            return (0..count).map(|_| Err(RequestError::Overloaded)).collect();
        }
        let mut settled = Vec::with_capacity(count);
        for answer in answers {
            settled.push(match timeout_at(deadline, answer).await {
                Ok(Ok(settled)) => settled,
                Ok(Err(_)) | Err(_) => Err(RequestError::Timeout),
            });
        }
        settled
    }
}

/// Serves requests until every [`Requests`] is gone.
pub(super) async fn run(port: AskerPort, mut queue: Queue) -> io::Result<()> {
    let bell = port.inbox.bell();
    #[expect(deprecated, reason = "its replacement is unsafe; `port` keeps the descriptor open")]
    let readable = AsyncFd::with_interest(bell.as_raw_fd(), Interest::READABLE)?;
    let mut table = Table::default();
    loop {
        for shard in 0..port.inbox.queue_count() {
            while let Some(outbound) = port.inbox.receive(shard) {
                // Events go to the ingest thread, and the end of a drain concerns `main`.
                if let Outbound::Answer(answer) = outbound {
                    table.handle_answer(answer);
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

/// The commands that wait for shards, by the number in their ticket.
#[derive(Debug, Default)]
struct Table {
    rows: HashMap<u32, (Progress, oneshot::Sender<Settled>)>,
    number: u32,
}

impl Table {
    fn handle_request(&mut self, Request(commands): Request, port: &AskerPort) {
        let rows_max = REQUESTS_PENDING_MAX.saturating_sub(commands.len());
        if self.rows.len() > rows_max {
            self.rows.retain(|_, (_, reply)| !reply.is_closed());
        }
        let mut parts: Vec<(ShardId, Command, u32)> = Vec::with_capacity(commands.len());
        let mut waiting = Vec::with_capacity(commands.len());
        for (command, reply) in commands {
            self.number = self.number.wrapping_add(1);
            let split = split(command, &port.homes);
            // A client identity comes from outside and may name a shard that does not exist.
            if split.iter().any(|(shard, _)| shard.index() >= port.shards.len()) {
                let error = Some(CommandError::UnknownClient);
                let _gave_up = reply.send(Ok(Gathered { error, ..Gathered::default() }));
                continue;
            }
            waiting.push((self.number, Progress::new(split.len() as u32), reply));
            parts.extend(split.into_iter().map(|(shard, command)| (shard, command, self.number)));
        }
        if self.rows.len() > rows_max || !has_room(&parts, port) {
            for (_, _, reply) in waiting {
                let _gave_up = reply.send(Err(RequestError::Overloaded));
            }
            return;
        }
        self.rows.extend(waiting.into_iter().map(|(number, row, reply)| (number, (row, reply))));
        for (shard, command, number) in parts {
            let ticket = Some(Ticket { asker: Asker::Control.place(), number });
            let link = &port.shards[shard.index()];
            let envelope = Envelope::Command { command: Box::new(command), ticket };
            let bytes = envelope.bytes();
            link.try_send_bytes(envelope, bytes).expect("the link had room and has one producer");
            link.ring();
        }
    }

    fn handle_answer(&mut self, answer: Answer) {
        // An answer without a row is late: its handler gave up and the row was swept.
        let Entry::Occupied(mut row) = self.rows.entry(answer.number) else { return };
        if let Some(gathered) = row.get_mut().0.handle_answer(answer) {
            let (_, reply) = row.remove();
            let _gave_up = reply.send(Ok(gathered));
        }
    }
}

/// Whether every part fits its link. This task is the only producer of these links, so one with
/// room keeps it.
fn has_room(parts: &[(ShardId, Command, u32)], port: &AskerPort) -> bool {
    let mut counts = vec![0; port.shards.len()];
    for (shard, _, _) in parts {
        counts[shard.index()] += 1;
    }
    counts.iter().zip(&port.shards).all(|(count, link)| {
        *count == 0 || (link.len() + count <= link.capacity() && !link.is_heavy())
    })
}

/// How much of an answer is there. Parts arrive in any order, so what a first answer announces
/// may be less than what has come already.
#[derive(Debug)]
struct Progress {
    /// Envelopes whose first receiver has not answered.
    envelopes: u32,
    /// Further answers announced, less those that came.
    awaited: i64,
    gathered: Gathered,
}

impl Progress {
    fn new(envelopes: u32) -> Self {
        Self { envelopes, awaited: 0, gathered: Gathered::default() }
    }

    /// Takes in one part; everything when it was the last.
    fn handle_answer(&mut self, answer: Answer) -> Option<Gathered> {
        self.envelopes = self.envelopes.saturating_sub(u32::from(answer.is_first));
        self.awaited += i64::from(answer.further());
        let gathered = &mut self.gathered;
        gathered.sessions += u64::from(answer.sessions);
        gathered.error = gathered.error.or(answer.error);
        match (&mut gathered.outcome, answer.outcome) {
            (Some(outcome), Some(part)) => outcome.merge(*part),
            (outcome @ None, Some(part)) => *outcome = Some(*part),
            (_, None) => {}
        }
        if self.envelopes > 0 || self.awaited > 0 {
            return None;
        }
        if let Some(outcome) = &mut self.gathered.outcome {
            outcome.settle();
        }
        Some(std::mem::take(&mut self.gathered))
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

    fn part(is_first: bool, awaiting: i32, sessions: u32) -> Answer {
        Answer { number: 1, is_first, awaiting, sessions, error: None, outcome: None }
    }

    #[test]
    fn parts_complete_an_answer_in_any_order() {
        let parts = [part(true, 2, 1), part(false, 0, 10), part(false, 0, 100), part(true, 0, 5)];
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 2, 0], [2, 0, 3, 1]] {
            let mut progress = Progress::new(2);
            let [early @ .., last] =
                order.map(|place: usize| progress.handle_answer(parts[place].clone()));
            assert_eq!(last.unwrap().sessions(), Ok(116), "{order:?}");
            assert!(early.iter().all(Option::is_none), "{order:?}");
        }
    }

    #[test]
    fn one_error_is_the_error_of_the_whole() {
        let mut progress = Progress::new(2);
        let refused = Answer { error: Some(CommandError::Draining), ..part(true, 0, 0) };
        assert!(progress.handle_answer(refused).is_none());
        let gathered = progress.handle_answer(part(true, 0, 3)).unwrap();
        assert_eq!(gathered.sessions(), Err(RequestError::Refused(CommandError::Draining)));
    }

    #[test]
    fn outcomes_of_several_shards_become_one() {
        let name = |text: &str| ChannelName::parse(text.as_bytes()).unwrap();
        let listed = |channels| Answer {
            outcome: Some(Box::new(Outcome::Channels(channels))),
            ..part(true, 0, 0)
        };
        let mut progress = Progress::new(3);
        assert!(progress.handle_answer(listed(vec![(name("b"), 1), (name("a"), 2)])).is_none());
        assert!(progress.handle_answer(part(true, 0, 0)).is_none());
        let gathered = progress.handle_answer(listed(vec![(name("b"), 4)])).unwrap();
        let Some(Outcome::Channels(channels)) = gathered.outcome else { panic!("another kind") };
        assert_eq!(channels, [(name("a"), 2), (name("b"), 5)]);
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
