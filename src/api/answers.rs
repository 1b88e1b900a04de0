//! Sends commands to shards and gathers the parts of their answers.
//!
//! One task of a thread owns its port, because a link has one producer; HTTP handlers reach it
//! through a queue and wait on a oneshot for what becomes of all that they ask, so nothing here
//! needs a lock, and whoever asks for much is woken once. What waits for room on the links takes
//! turns (`table`). A command that has not begun in half the time that its answer may take never
//! begins, so that whoever asked knows that nothing was done.

use std::io;
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use crate::api::table::Table;
use crate::mesh::{AskerPort, Gathered, Outbound, Requester};
use crate::model::{Command, CommandError};
use crate::shard::Drain;

/// How often those who wait are looked at: their time may be over.
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

/// What becomes of a command.
pub(super) type Settled = Result<Gathered, RequestError>;

/// Commands on their way to the task that owns the port.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) commands: Vec<Command>,
    /// When those that have not begun never do.
    pub(super) until: Instant,
    /// When those that have no answer are out of time.
    pub(super) deadline: Instant,
    /// Who waits for what becomes of each, in their order.
    pub(super) reply: oneshot::Sender<Vec<Settled>>,
}

/// The other end: what waits for the task that owns the port. The HTTP server bounds how much.
pub(super) type Queue = mpsc::UnboundedReceiver<Request>;

/// The handlers' end: hands commands in and waits for what becomes of them.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    queue: mpsc::UnboundedSender<Request>,
    /// Bounds the wait for shards.
    pub(super) patience: Duration,
    drain: Arc<Drain>,
}

impl Requests {
    /// The two ends of the queue; `patience` bounds the wait for shards. Once the drain has begun
    /// no command does.
    pub(super) fn new(patience: Duration, drain: Arc<Drain>) -> (Self, Queue) {
        let (queue, receiver) = mpsc::unbounded_channel();
        (Self { queue, patience, drain }, receiver)
    }

    /// Sends a command to its shards and waits until all of them have answered.
    pub(super) async fn send(&self, command: Command) -> Settled {
        self.send_all(vec![command]).await.pop().expect("one command has one answer")
    }

    /// Sends commands, none of which waits for another; what becomes of each, in their order.
    pub(super) async fn send_all(&self, commands: Vec<Command>) -> Vec<Settled> {
        self.send_by(commands, Instant::now() + self.patience).await
    }

    /// The same for commands that are to be done by then.
    pub(super) async fn send_by(&self, commands: Vec<Command>, deadline: Instant) -> Vec<Settled> {
        let count = commands.len();
        if count == 0 {
            return Vec::new();
        }
        let all = |error: RequestError| (0..count).map(|_| Err(error)).collect();
        if self.drain.has_begun() {
            return all(CommandError::Draining.into());
        }
        let until = (Instant::now() + self.patience / 2).min(deadline);
        let (reply, settled) = oneshot::channel();
        if self.queue.send(Request { commands, until, deadline, reply }).is_err() {
            return all(RequestError::Overloaded);
        }
        settled.await.unwrap_or_else(|_| all(RequestError::Timeout))
    }
}

/// Serves requests until every [`Requests`] is gone.
pub(super) async fn run(port: AskerPort, mut queue: Queue, drain: &Drain) -> io::Result<()> {
    let (requester, inbox) = Requester::new(port);
    let bell = inbox.bell();
    #[expect(deprecated, reason = "its replacement is unsafe; `inbox` keeps the descriptor open")]
    let readable = AsyncFd::with_interest(bell.as_raw_fd(), Interest::READABLE)?;
    let mut table = Table::new(requester);
    let mut look = pin!(sleep(LOOK_INTERVAL));
    loop {
        for shard in 0..inbox.queue_count() {
            while let Some(outbound) = inbox.receive(shard) {
                // Events go to the ingest thread, and the end of a drain concerns `main`.
                if let Outbound::Answer(answer) = outbound {
                    table.handle_answer(answer);
                }
            }
        }
        // What several have asked meanwhile goes to the shards together.
        while let Ok(request) = queue.try_recv() {
            table.add(request);
        }
        if drain.has_begun() {
            table.refuse_unbegun();
        }
        table.send();
        if look.is_elapsed() {
            table.give_up_late();
            look.as_mut().reset(Instant::now() + LOOK_INTERVAL);
        }
        bell.begin_sleep();
        if inbox.is_empty() {
            tokio::select! {
                guard = readable.readable() => {
                    bell.event().drain();
                    guard?.clear_ready();
                }
                request = queue.recv() => {
                    let Some(request) = request else { return Ok(()) };
                    table.add(request);
                }
                () = &mut look, if table.is_anybody_asking() => {}
            }
        }
        bell.end_sleep();
    }
}
