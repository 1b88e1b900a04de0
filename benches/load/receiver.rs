//! Receivers of one server: a process with many connections that verify every message.
//!
//! It receives all the time, whether or not somebody asks, as clients do.

use std::io::{self, BufRead};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver as Queue, TryRecvError, channel};
use std::time::{Duration, Instant};

use tidegate::load::{Door, Fleet, Opener, Tally, Target, open_all};

use crate::RECEIVER_CORE;
use crate::role::{Role, pin};

/// When nothing comes for so long, something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who loses messages has had its last one when nothing comes for so long.
const SILENCE: Duration = Duration::from_millis(500);

/// How long an order may wait.
const POLL: Duration = Duration::from_millis(5);

/// Receivers of one server.
pub(crate) struct Receiver {
    role: Role,
    expected: u64,
}

impl Receiver {
    /// Opens connections from the receivers' core. The path of those that need no handshake is
    /// `plain`.
    pub(crate) fn start(address: &str, path: &str, count: usize) -> io::Result<Self> {
        let mut role = Role::start("receiver", &[address, path, &count.to_string()])?;
        role.hear()?;
        Ok(Self { role, expected: 0 })
    }

    /// Says how many more deliveries there will be.
    pub(crate) fn expect(&mut self, deliveries: u64) -> io::Result<()> {
        self.expected += deliveries;
        self.role.say(&format!("until {}", self.expected))
    }

    /// Waits until all that was expected is there, each message verified.
    pub(crate) fn finish(&mut self) -> io::Result<Tally> {
        let tally = self.hear_tally()?;
        if tally.received != self.expected || !tally.is_clean() {
            let expected = self.expected;
            return Err(io::Error::other(format!("of {expected} deliveries: {}", brief(&tally))));
        }
        Ok(tally)
    }

    /// Waits until all that was expected is there, or nothing comes any more. Anything may be
    /// missing or wrong.
    pub(crate) fn outcome(&mut self) -> io::Result<Tally> {
        self.hear_tally()
    }

    /// Waits until nothing comes any more. Messages may be missing, but none may be wrong.
    pub(crate) fn settle(&mut self) -> io::Result<Tally> {
        self.role.say("settle")?;
        let tally = self.hear_tally()?;
        if tally.reordered + tally.repeated + tally.damaged + tally.closed > 0 {
            return Err(io::Error::other(brief(&tally)));
        }
        self.expected = tally.received;
        Ok(tally)
    }

    /// Forgets the latencies so far.
    pub(crate) fn reset_latency(&mut self) -> io::Result<()> {
        self.role.say("reset")?;
        self.role.hear().map(drop)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.role.pid()
    }

    fn hear_tally(&mut self) -> io::Result<Tally> {
        Ok(serde_json::from_str(&self.role.hear()?)?)
    }
}

fn brief(tally: &Tally) -> String {
    let Tally { received, lost, reordered, repeated, damaged, closes, .. } = tally;
    format!(
        "{received} received, {lost} lost, {reordered} reordered, {repeated} repeated, {damaged} \
         damaged, closed: {closes:?}"
    )
}

/// Plays the role.
pub(crate) fn play(address: &str, path: &str, count: usize) -> io::Result<()> {
    pin([RECEIVER_CORE]);
    let address: SocketAddr = address.parse().expect("an address");
    let door = match path {
        "plain" => Door::Plain,
        path => Door::WebSocket(path.to_owned()),
    };
    let mut fleet = Fleet::new(Target::new(address, door), false)?;
    // One after the other: then their order is the same on both sides.
    let opener = Opener::new(0..count as u32, 1, None);
    open_all(&mut fleet, opener, |_| {}).map_err(io::Error::other)?;
    println!("open");
    let orders = orders();
    loop {
        fleet.poll(POLL)?;
        let order = match orders.try_recv() {
            Ok(order) => order,
            Err(TryRecvError::Empty) => continue,
            Err(TryRecvError::Disconnected) => return Ok(()),
        };
        match order.split_once(' ') {
            Some((_, deliveries)) => {
                let deliveries = deliveries.parse().expect("a number");
                receive(&mut fleet, deliveries, PATIENCE)?;
            }
            None if order == "settle" => receive(&mut fleet, u64::MAX, SILENCE)?,
            None => {
                fleet.reset_latency();
                println!("reset");
                continue;
            }
        }
        println!("{}", serde_json::to_string(fleet.tally())?);
    }
}

/// Receives until so many messages have come in all, or none for some time.
fn receive(fleet: &mut Fleet, deliveries: u64, silence: Duration) -> io::Result<()> {
    let (mut received, mut latest) = (0, Instant::now());
    while fleet.tally().received < deliveries && latest.elapsed() < silence {
        fleet.poll(POLL)?;
        if received != fleet.tally().received {
            (received, latest) = (fleet.tally().received, Instant::now());
        }
    }
    Ok(())
}

/// The lines of the standard input, without waiting for them.
fn orders() -> Queue<String> {
    let (sender, orders) = channel();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    orders
}
