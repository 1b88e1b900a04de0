//! The process that holds a share of the connections: opens them, plays its part, reports.
//!
//! Orders are read by a thread, because the fleet's thread waits in its ring. If the one who gave
//! the orders is gone, so is the reason to go on.

use std::collections::VecDeque;
use std::io::{BufRead, Write};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::fleet::{Event, Fleet};
use crate::opener::{IN_FLIGHT, Opener, POLL, open_all};
use crate::share::{Order, Part, Share, Word};
use tidegate_sys::Clock;

/// How long silence lasts before what is missing counts as lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long is listened for repetitions after everything has come.
const AFTERMATH: Duration = Duration::from_millis(200);

/// How often is looked for orders.
const ORDER_POLL: Duration = Duration::from_millis(5);

/// How often progress is told.
const TELL: Duration = Duration::from_millis(100);

/// How long nobody may come back before nobody is waited for: an attempt has half of that.
const RETURN_PATIENCE: Duration = Duration::from_secs(60);

/// How long a client waits before it tries again to come back.
const RETRY: Duration = Duration::from_millis(500);

/// The receive buffer of a client that shall be full soon.
const SLOW_BUFFER_BYTES: usize = 16 * 1024;

/// Plays the part that the first line of `input` describes.
///
/// # Errors
/// Whatever goes wrong is told to `output`; an error is left only if that fails.
pub fn work(
    mut input: impl BufRead + Send + 'static,
    output: impl Write,
) -> Result<(), std::io::Error> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    let share: Share = serde_json::from_str(&line)?;
    let (sender, orders) = channel();
    std::thread::spawn(move || {
        for line in input.lines().map_while(Result::ok) {
            let Ok(order) = serde_json::from_str(&line) else { return };
            if sender.send(order).is_err() {
                return;
            }
        }
    });
    let mut worker = Worker { share, orders, output, told: Instant::now() };
    match worker.play() {
        Ok((word, fleets)) => {
            worker.say(&word)?;
            worker.hold(fleets)
        }
        Err(error) => worker.say(&Word::Failed(error.to_string())),
    }
}

struct Worker<W> {
    share: Share,
    orders: Receiver<Order>,
    output: W,
    told: Instant,
}

/// The one who gives orders has ended.
fn left_alone() -> Error {
    Error::Worker("nobody waits for the figures any more".to_owned())
}

impl<W: Write> Worker<W> {
    /// Plays the part; returns its figures and what is open still.
    fn play(&mut self) -> Result<(Word, Vec<Fleet>), Error> {
        let Share { target, first, count, .. } = self.share.clone();
        match self.share.part.clone() {
            Part::Listen { notes_receivers } => {
                let mut fleet = Fleet::new(target, notes_receivers)?;
                self.open(&mut fleet, first, count, 0)?;
                self.say(&Word::Ready)?;
                let order = self.listen(&mut fleet)?;
                self.receive_all(&mut fleet, order)?;
                Ok(done(fleet))
            }
            Part::Slow { count: slow_count } => {
                let mut fleet = Fleet::new(target.clone(), true)?;
                let mut slow_target = target;
                slow_target.receive_buffer = Some(SLOW_BUFFER_BYTES);
                let mut slow = Fleet::new(slow_target, false)?;
                let quick = count - slow_count;
                self.open(&mut fleet, first, quick, 0)?;
                self.open(&mut slow, first + quick, slow_count, quick.into())?;
                self.say(&Word::Ready)?;
                let order = self.listen(&mut fleet)?;
                self.receive_all(&mut fleet, order)?;
                self.wake_up(&mut slow)?;
                let still_open = slow.open() as u64;
                let tally = Box::new(fleet.take_tally());
                let word =
                    Word::Done { tally, slow: Some(Box::new(slow.take_tally())), still_open };
                Ok((word, vec![fleet, slow]))
            }
            Part::Echo { in_flight, bytes, seconds } => {
                let mut fleet = Fleet::new(target, false)?;
                self.open(&mut fleet, first, count, 0)?;
                self.say(&Word::Ready)?;
                self.listen(&mut fleet)?;
                let until = Clock::shared_nanos() + u64::from(seconds) * 1_000_000_000;
                fleet.begin_echo(bytes, in_flight, until)?;
                while Clock::shared_nanos() < until {
                    self.poll(&mut fleet, POLL)?;
                }
                let deliveries = fleet.tally().sent;
                self.receive_all(&mut fleet, Order::Finish { messages: 0, deliveries })?;
                Ok(done(fleet))
            }
            Part::Churn { per_second, seconds } => {
                let mut fleet = Fleet::new(target, false)?;
                self.say(&Word::Ready)?;
                self.listen(&mut fleet)?;
                self.churn(&mut fleet, per_second, seconds)?;
                Ok(done(fleet))
            }
            Part::Storm { seconds } => {
                let mut fleet = Fleet::new(target, false)?;
                self.open(&mut fleet, first, count, 0)?;
                self.say(&Word::Ready)?;
                self.listen(&mut fleet)?;
                self.storm(&mut fleet, seconds)?;
                Ok(done(fleet))
            }
            Part::Recover => {
                let mut fleet = Fleet::new(target, false)?;
                fleet.keep_positions();
                self.open(&mut fleet, first, count, 0)?;
                self.say(&Word::Ready)?;
                self.recover(&mut fleet)?;
                Ok(done(fleet))
            }
        }
    }

    /// Keeps connections open, and pings answered, while the run is measured; then drops them.
    fn hold(&self, mut fleets: Vec<Fleet>) -> Result<(), std::io::Error> {
        while !matches!(self.orders.try_recv(), Err(TryRecvError::Disconnected)) {
            for fleet in &mut fleets {
                fleet.poll(POLL)?;
                while fleet.next_event().is_some() {}
            }
        }
        fleets.iter_mut().try_for_each(Fleet::drop_all)
    }

    fn open(&mut self, fleet: &mut Fleet, first: u32, count: u32, had: u64) -> Result<(), Error> {
        let opener = Opener::new(first..first + count, IN_FLIGHT, self.share.open_rate);
        let mut failure = Ok(());
        open_all(fleet, opener, |open| {
            if failure.is_ok() {
                failure = self.tell(had + open as u64);
            }
        })?;
        failure
    }

    /// Receives until there is an order.
    fn listen(&mut self, fleet: &mut Fleet) -> Result<Order, Error> {
        loop {
            match self.orders.try_recv() {
                Ok(order) => return Ok(order),
                Err(TryRecvError::Empty) => self.poll(fleet, ORDER_POLL)?,
                Err(TryRecvError::Disconnected) => return Err(left_alone()),
            }
        }
    }

    fn poll(&mut self, fleet: &mut Fleet, wait: Duration) -> Result<(), Error> {
        fleet.poll(wait)?;
        while fleet.next_event().is_some() {}
        self.tell(fleet.tally().received)
    }

    /// Receives until all has come or nothing comes any more, and then a little longer.
    fn receive_all(&mut self, fleet: &mut Fleet, order: Order) -> Result<(), Error> {
        let Order::Finish { messages, deliveries } = order else { return Ok(()) };
        let mut received = fleet.tally().received;
        let mut changed = Instant::now();
        while received < deliveries && fleet.open() > 0 && changed.elapsed() < PATIENCE {
            self.poll(fleet, POLL)?;
            if received != fleet.tally().received {
                received = fleet.tally().received;
                changed = Instant::now();
            }
        }
        let end = Instant::now();
        while end.elapsed() < AFTERMATH {
            self.poll(fleet, POLL)?;
        }
        fleet.finish(messages);
        Ok(())
    }

    /// Slow clients read what is left for them and see whether they are closed.
    fn wake_up(&mut self, slow: &mut Fleet) -> Result<(), Error> {
        let (mut seen, mut changed) = (0, Instant::now());
        while slow.held() > 0 && changed.elapsed() < PATIENCE {
            self.poll(slow, POLL)?;
            let now = slow.tally().received + slow.tally().closed + slow.held() as u64;
            if seen != now {
                (seen, changed) = (now, Instant::now());
            }
        }
        Ok(())
    }

    fn churn(&mut self, fleet: &mut Fleet, per_second: f64, seconds: u32) -> Result<(), Error> {
        let (first, hold) = (self.share.first, self.share.count as usize);
        let mut opener = Opener::new(first..u32::MAX, IN_FLIGHT, Some(per_second));
        let mut rows = VecDeque::new();
        let begin = Instant::now();
        let seconds = Duration::from_secs(seconds.into());
        while begin.elapsed() < seconds {
            let wait = opener.go_on(fleet);
            fleet.poll(wait)?;
            while let Some(event) = fleet.next_event() {
                if let Event::Opened { row } = event {
                    rows.push_back(row);
                }
            }
            while rows.len() > hold {
                fleet.close(rows.pop_front().expect("there are more than zero"))?;
            }
            self.tell(fleet.tally().opened)?;
        }
        let end = Instant::now();
        while fleet.held() > 0 && end.elapsed() < PATIENCE {
            while let Some(row) = rows.pop_front() {
                fleet.close(row)?;
            }
            fleet.poll(POLL)?;
            while let Some(event) = fleet.next_event() {
                if let Event::Opened { row } = event {
                    rows.push_back(row);
                }
            }
        }
        fleet.abandon_closing();
        Ok(())
    }

    fn storm(&mut self, fleet: &mut Fleet, seconds: u32) -> Result<(), Error> {
        fleet.reset_handshakes();
        fleet.drop_all()?;
        let begin = Instant::now();
        let seconds = Duration::from_secs(seconds.into());
        self.open_again(fleet, None, |_| begin.elapsed() < seconds)
    }

    /// Each step waits for its order: the cut, the return, the end.
    fn recover(&mut self, fleet: &mut Fleet) -> Result<(), Error> {
        self.listen(fleet)?;
        fleet.reset_handshakes();
        fleet.drop_all()?;
        self.listen(fleet)?;
        self.come_back(fleet)?;
        self.say(&Word::Returned)?;
        let order = self.listen(fleet)?;
        self.receive_all(fleet, order)
    }

    /// Opens all again until that is done or nobody comes any more.
    fn come_back(&mut self, fleet: &mut Fleet) -> Result<(), Error> {
        let (mut open, mut changed) = (0, Instant::now());
        self.open_again(fleet, self.share.open_rate, |fleet| {
            if open != fleet.open() {
                (open, changed) = (fleet.open(), Instant::now());
            }
            changed.elapsed() < RETURN_PATIENCE
        })
    }

    /// Opens all again, at a rate if there is one, and tries again what fails.
    fn open_again(
        &mut self,
        fleet: &mut Fleet,
        open_rate: Option<f64>,
        mut has_time: impl FnMut(&Fleet) -> bool,
    ) -> Result<(), Error> {
        let (first, count) = (self.share.first, self.share.count);
        let mut opener = Opener::new(first..first + count, usize::MAX, open_rate);
        let mut retries = VecDeque::new();
        while fleet.open() < count as usize && has_time(fleet) {
            let wait = opener.go_on(fleet);
            fleet.poll(wait)?;
            while let Some(event) = fleet.next_event() {
                if let Event::Failed { number, .. } = event {
                    retries.push_back((Instant::now() + RETRY, number));
                }
            }
            while retries.front().is_some_and(|(due, _)| *due <= Instant::now()) {
                fleet.connect(retries.pop_front().expect("it is there").1);
            }
            self.tell(fleet.open() as u64)?;
        }
        Ok(())
    }

    /// Tells how far this process is, now and then.
    fn tell(&mut self, done: u64) -> Result<(), Error> {
        if self.told.elapsed() >= TELL {
            self.told = Instant::now();
            self.say(&Word::Progress { done })?;
        }
        Ok(())
    }

    fn say(&mut self, word: &Word) -> Result<(), std::io::Error> {
        let mut line = serde_json::to_string(word)?;
        line.push('\n');
        self.output.write_all(line.as_bytes())?;
        self.output.flush()
    }
}

fn done(mut fleet: Fleet) -> (Word, Vec<Fleet>) {
    let (still_open, tally) = (fleet.open() as u64, Box::new(fleet.take_tally()));
    (Word::Done { tally, slow: None, still_open }, vec![fleet])
}
