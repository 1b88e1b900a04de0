//! The processes of a run, seen from the one that started them: this executable again, with
//! `bench-worker` as its argument. They end with the value that holds them.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::run::Progress;
use crate::share::{Order, Share, Word};
use crate::tally::Tally;

/// What all processes together have seen.
#[derive(Default)]
pub(super) struct Sum {
    pub(super) tally: Tally,
    pub(super) slow: Tally,
    pub(super) still_open: u64,
    done: usize,
}

struct Worker {
    child: Child,
    input: ChildStdin,
    progress: u64,
}

pub(super) struct Workers {
    workers: Vec<Worker>,
    words: Receiver<(usize, Word)>,
    /// Kept so that the channel outlives processes that are done.
    _sender: Sender<(usize, Word)>,
    ready: usize,
    returned: usize,
    sum: Sum,
}

impl Workers {
    /// Starts a process for each share.
    pub(super) fn start(shares: &[Share]) -> Result<Self, Error> {
        let (sender, words) = channel();
        let mut workers = Vec::with_capacity(shares.len());
        for (index, share) in shares.iter().enumerate() {
            workers.push(start_one(index, share, sender.clone())?);
        }
        Ok(Self { workers, words, _sender: sender, ready: 0, returned: 0, sum: Sum::default() })
    }

    /// Tells one process.
    pub(super) fn order(&mut self, index: usize, order: Order) -> Result<(), Error> {
        say(&mut self.workers[index].input, &order)
    }

    /// Tells all.
    pub(super) fn order_all(&mut self, order: Order) -> Result<(), Error> {
        (0..self.workers.len()).try_for_each(|index| self.order(index, order))
    }

    /// Waits until every process has opened its connections.
    pub(super) fn wait_ready(&mut self, see: &mut dyn FnMut(u64)) -> Result<(), Error> {
        while self.ready < self.workers.len() {
            self.listen(Duration::from_millis(100), see)?;
        }
        for worker in &mut self.workers {
            worker.progress = 0;
        }
        Ok(())
    }

    /// Listens for some time, so that a failure is heard and progress seen.
    pub(super) fn attend(&mut self, time: Duration, see: &mut dyn FnMut(u64)) -> Result<(), Error> {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            self.listen(left, see)?;
            if left.is_zero() {
                return Ok(());
            }
        }
    }

    /// Whether nobody is to come back any more.
    pub(super) fn have_returned(&self) -> bool {
        self.returned == self.workers.len()
    }

    /// Whether all have done their part.
    pub(super) fn has_figures(&self) -> bool {
        self.sum.done == self.workers.len()
    }

    /// Waits for the figures of all. What is open stays open as long as this value.
    pub(super) fn wait_done(&mut self, see: &mut dyn FnMut(u64)) -> Result<Sum, Error> {
        while self.sum.done < self.workers.len() {
            self.listen(Duration::from_millis(100), see)?;
        }
        Ok(std::mem::take(&mut self.sum))
    }

    /// Lets all close what they hold, and waits until they have ended.
    pub(super) fn close(mut self) -> Result<(), Error> {
        let ending: Vec<Child> = self.workers.drain(..).map(|Worker { child, .. }| child).collect();
        for mut child in ending {
            child.wait()?;
        }
        Ok(())
    }

    fn listen(&mut self, time: Duration, see: &mut dyn FnMut(u64)) -> Result<(), Error> {
        let (index, word) = match self.words.recv_timeout(time) {
            Ok(word) => word,
            Err(RecvTimeoutError::Timeout) => return Ok(()),
            Err(RecvTimeoutError::Disconnected) => unreachable!("a sender is kept"),
        };
        match word {
            Word::Progress { done } => {
                self.workers[index].progress = done;
                see(self.workers.iter().map(|worker| worker.progress).sum());
            }
            Word::Ready => self.ready += 1,
            Word::Returned => self.returned += 1,
            Word::Failed(reason) => return Err(Error::Worker(reason)),
            Word::Done { tally, slow, still_open } => {
                self.sum.tally.add(&tally);
                if let Some(slow) = slow {
                    self.sum.slow.add(&slow);
                }
                self.sum.still_open += still_open;
                self.sum.done += 1;
            }
        }
        Ok(())
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // All together: closing many connections takes its time.
        for worker in &mut self.workers {
            let _ = worker.child.kill();
        }
        for worker in &mut self.workers {
            let _ = worker.child.wait();
        }
    }
}

/// A callback that shows how far the run is.
pub(super) type See<'a> = &'a mut dyn FnMut(&Progress);

fn start_one(index: usize, share: &Share, words: Sender<(usize, Word)>) -> Result<Worker, Error> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("bench-worker")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().expect("it was piped");
    let output = BufReader::new(child.stdout.take().expect("it was piped"));
    say(&mut input, share)?;
    std::thread::spawn(move || {
        let mut is_done = false;
        for line in output.lines().map_while(Result::ok) {
            let Ok(word) = serde_json::from_str(&line) else { break };
            is_done = matches!(word, Word::Done { .. } | Word::Failed(_));
            if words.send((index, word)).is_err() {
                return;
            }
        }
        if !is_done {
            let reason = format!("process {index} of the run has ended before its figures came");
            // Nobody listens if the run has failed already.
            let _ = words.send((index, Word::Failed(reason)));
        }
    });
    Ok(Worker { child, input, progress: 0 })
}

fn say(input: &mut ChildStdin, value: &impl serde::Serialize) -> Result<(), Error> {
    let mut line = serde_json::to_string(value).map_err(std::io::Error::from)?;
    line.push('\n');
    let ended = |_| Error::Worker("a process of the run has ended".to_owned());
    input.write_all(line.as_bytes()).map_err(ended)
}
