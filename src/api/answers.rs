//! Sends commands to shards and gathers the parts of their answers.
//!
//! One task owns the port, because a link has one producer; HTTP handlers reach it through a
//! bounded queue and wait on a oneshot, so nothing here needs a lock. What waits for room on the
//! links takes turns (`table`). A command that has not begun in half the time that its answer may
//! take never begins, so that whoever asked knows that nothing was done.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use crate::api::table::Table;
use crate::mesh::{AskerPort, Outbound};
use crate::model::{Answer, Command, CommandError, Outcome};
use crate::shard::Drain;

/// Most requests that wait for the task that owns the port.
const REQUESTS_QUEUED_MAX: usize = 64;

/// How often requests that wait for their turn are looked at. Answers make room, and ring.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Why a command has no answer from every shard involved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RequestError {
    /// Its turn did not come in time; no shard has got the command.
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
pub(super) type Settled = Result<Gathered, RequestError>;

/// Commands on their way to the task that owns the port.
#[derive(Debug)]
pub(super) struct Request {
    /// Each with who waits for it.
    pub(super) commands: Vec<(Command, oneshot::Sender<Settled>)>,
    /// When those that have not begun never do.
    pub(super) until: Instant,
}

/// The other end: what waits for the task that owns the port.
pub(super) type Queue = mpsc::Receiver<Request>;

/// The handlers' end: hands commands in and waits for what becomes of them.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    queue: mpsc::Sender<Request>,
    /// Bounds the wait for shards.
    pub(super) patience: Duration,
    drain: Arc<Drain>,
}

impl Requests {
    /// The two ends of the queue; `patience` bounds the wait for shards. Once the drain has begun
    /// no command does.
    pub(super) fn new(patience: Duration, drain: Arc<Drain>) -> (Self, Queue) {
        let (queue, receiver) = mpsc::channel(REQUESTS_QUEUED_MAX);
        (Self { queue, patience, drain }, receiver)
    }

    /// Sends a command to its shards and waits until all of them have answered.
    pub(super) async fn send(&self, command: Command) -> Settled {
        self.send_all(vec![command]).await.pop().expect("one command has one answer")
    }

    /// Sends commands, none of which waits for another; what becomes of each, in their order.
    pub(super) async fn send_all(&self, commands: Vec<Command>) -> Vec<Settled> {
        let count = commands.len();
        if count == 0 {
            return Vec::new();
        }
        if self.drain.has_begun() {
            return (0..count).map(|_| Err(CommandError::Draining.into())).collect();
        }
        let (commands, answers): (Vec<_>, Vec<_>) = commands
            .into_iter()
            .map(|command| {
                let (reply, answer) = oneshot::channel();
                ((command, reply), answer)
            })
            .unzip();
        let now = Instant::now();
        let (until, deadline) = (now + self.patience / 2, now + self.patience);
        let request = Request { commands, until };
        if !matches!(timeout_at(until, self.queue.send(request)).await, Ok(Ok(()))) {
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
pub(super) async fn run(port: AskerPort, mut queue: Queue, drain: &Drain) -> io::Result<()> {
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
        if drain.has_begun() {
            table.refuse_unbegun();
        }
        table.send(&port);
        bell.begin_sleep();
        if port.inbox.is_empty() {
            tokio::select! {
                guard = readable.readable() => {
                    bell.event().drain();
                    guard?.clear_ready();
                }
                request = queue.recv() => {
                    let Some(request) = request else { return Ok(()) };
                    table.add(request);
                }
                () = sleep(LOOK_INTERVAL), if table.is_anybody_waiting() => {}
            }
        }
        bell.end_sleep();
    }
}

/// How much of an answer is there. Parts arrive in any order, so what a first answer announces
/// may be less than what has come already.
#[derive(Debug)]
pub(super) struct Progress {
    /// Envelopes whose first receiver has not answered.
    envelopes: u32,
    /// Further answers announced, less those that came.
    awaited: i64,
    gathered: Gathered,
}

impl Progress {
    /// Of a command in so many parts.
    pub(super) fn new(envelopes: u32) -> Self {
        Self { envelopes, awaited: 0, gathered: Gathered::default() }
    }

    /// Takes in one part; everything when it was the last.
    pub(super) fn handle_answer(&mut self, answer: Answer) -> Option<Gathered> {
        self.envelopes = self.envelopes.saturating_sub(answer.firsts);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ChannelName;

    fn part(is_first: bool, awaiting: i32, sessions: u32) -> Answer {
        Answer { number: 1, firsts: u32::from(is_first), awaiting, sessions, ..Answer::default() }
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
}
