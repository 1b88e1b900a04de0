//! The part of a run during which the server is under load.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::message::Stream;
use crate::plan::{Plan, Scenario};
use crate::publisher::{Audience, Publisher};
use crate::run::Progress;
use crate::share::{Order, Share};
use crate::usage::Usage;
use crate::workers::{See, Workers};
use tidegate_sys::Clock;

/// How long nobody looks whether everybody is back.
const STEP: Duration = Duration::from_millis(20);

/// What was published.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Published {
    /// To all.
    pub(super) broadcasts: u64,
    /// To one.
    pub(super) unicasts: u64,
}

impl Published {
    pub(super) fn messages(self) -> u64 {
        self.broadcasts + self.unicasts
    }

    /// How many deliveries that makes.
    pub(super) fn deliveries(self, shares: &[Share]) -> u64 {
        let broadcasts: u64 =
            shares.iter().map(|share| share.deliveries(self.broadcasts as u32)).sum();
        broadcasts + self.unicasts
    }
}

/// The time in which everybody comes back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Return {
    pub(super) began_nanos: u64,
    began: Instant,
    cpu_before: Duration,
    /// CPU of the servers, and how long it took; none before it is over.
    pub(super) used: Option<(Duration, Duration)>,
}

/// Load, and how far it is.
pub(super) struct Drive<'a> {
    plan: &'a Plan,
    shares: &'a [Share],
    workers: &'a mut Workers,
    pids: &'a [u32],
    /// As far as the processes have told.
    received: u64,
    pub(super) published: Published,
    /// How far the publisher fell behind at most.
    pub(super) late: Duration,
    /// In `recover`.
    pub(super) returned: Option<Return>,
}

impl<'a> Drive<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        shares: &'a [Share],
        workers: &'a mut Workers,
        pids: &'a [u32],
    ) -> Self {
        let (published, late) = (Published::default(), Duration::ZERO);
        Self { plan, shares, workers, pids, received: 0, published, late, returned: None }
    }

    pub(super) fn load(
        &mut self,
        publisher: Option<&Publisher>,
        see: See<'_>,
    ) -> Result<(), Error> {
        match (self.plan.scenario, publisher) {
            (Scenario::Unicast, Some(publisher)) => self.unicast(publisher, see),
            (Scenario::Mixed, Some(publisher)) => self.mixed(publisher, see),
            (Scenario::Recover, Some(publisher)) => self.recover(publisher, see),
            (_, Some(publisher)) => self.fan_out(publisher, see),
            (Scenario::Idle, None) => {
                self.attend("holding", see)?;
                self.workers.order_all(Order::Finish { messages: 0, deliveries: 0 })
            }
            (_, None) => {
                self.workers.order_all(Order::Begin)?;
                self.attend(self.plan.scenario.name(), see)
            }
        }
    }

    /// Lets the seconds of the run pass; a storm may be over earlier.
    fn attend(&mut self, stage: &'static str, see: See<'_>) -> Result<(), Error> {
        let (began, total) = (Instant::now(), u64::from(self.plan.seconds));
        let end = Duration::from_secs(total);
        while began.elapsed() < end && !self.workers.has_figures() {
            let step = Duration::from_millis(100).min(end - began.elapsed());
            self.workers.attend(step, &mut |_| {})?;
            see(&Progress { stage, done: began.elapsed().as_secs(), total });
        }
        Ok(())
    }

    fn fan_out(&mut self, publisher: &Publisher, see: See<'_>) -> Result<(), Error> {
        self.broadcasts(0..self.plan.messages(), publisher, see)?;
        self.finish(&[])
    }

    /// Cuts everybody off after a quarter of the messages and lets them come back after half of
    /// them.
    fn recover(&mut self, publisher: &Publisher, see: See<'_>) -> Result<(), Error> {
        let messages = self.plan.messages();
        let (cut, back) = (messages / 4, messages / 2);
        self.broadcasts(0..cut, publisher, see)?;
        self.workers.order_all(Order::Begin)?;
        self.broadcasts(cut..back, publisher, see)?;
        self.returned = Some(Return {
            began_nanos: Clock::shared_nanos(),
            began: Instant::now(),
            cpu_before: self.cpu()?,
            used: None,
        });
        self.workers.order_all(Order::Begin)?;
        self.broadcasts(back..messages, publisher, see)?;
        while !self.workers.have_returned() {
            self.attend_publishing(STEP)?;
        }
        self.finish(&[])
    }

    fn broadcasts(
        &mut self,
        numbers: Range<u32>,
        publisher: &Publisher,
        see: See<'_>,
    ) -> Result<(), Error> {
        let (plan, shares) = (self.plan, self.shares);
        self.publish(numbers, see, |number, _| {
            broadcast(plan, shares, publisher, number)?;
            Ok(Published { broadcasts: 1, unicasts: 0 })
        })
    }

    fn unicast(&mut self, publisher: &Publisher, see: See<'_>) -> Result<(), Error> {
        let mut users = Users::new(self.plan, self.shares);
        self.publish(0..self.plan.messages(), see, |_, _| {
            users.send(publisher, Stream::Main)?;
            Ok(Published { broadcasts: 0, unicasts: 1 })
        })?;
        self.finish(&users.numbers)
    }

    /// Unicasts, alone for half of the time, and then while one broadcast follows the other.
    fn mixed(&mut self, publisher: &Publisher, see: See<'_>) -> Result<(), Error> {
        let (plan, shares) = (self.plan, self.shares);
        let mut users = Users::new(plan, shares);
        let mut sent = Published::default();
        self.publish(0..plan.messages(), see, |number, received| {
            let is_busy = number >= plan.messages() / 2;
            let mut made = Published { broadcasts: 0, unicasts: 1 };
            if is_busy && received >= sent.deliveries(shares) {
                broadcast(plan, shares, publisher, sent.broadcasts as u32)?;
                made.broadcasts = 1;
                // A unicast that overtakes the broadcast does not end it.
                sent = Published { broadcasts: sent.broadcasts + 1, unicasts: number.into() };
            }
            users.send(
                publisher,
                if is_busy { Stream::UnicastBusy } else { Stream::UnicastQuiet },
            )?;
            Ok(made)
        })?;
        self.finish(&users.numbers)
    }

    /// Publishes at the plan's rate. What was missed is made up for at once, so a server that
    /// holds the publisher up meets the same load later. `send` hears the message's number and how
    /// many deliveries are known to have arrived.
    fn publish(
        &mut self,
        numbers: Range<u32>,
        see: See<'_>,
        mut send: impl FnMut(u32, u64) -> Result<Published, Error>,
    ) -> Result<(), Error> {
        let began = Instant::now();
        let total = u64::from(self.plan.messages());
        for number in numbers.clone() {
            let due = Duration::from_secs_f64(f64::from(number - numbers.start) / self.plan.rate);
            let stage = "publishing";
            let wait = due.saturating_sub(began.elapsed());
            if !wait.is_zero() || number % 64 == 0 {
                self.attend_publishing(wait)?;
                see(&Progress { stage, done: number.into(), total });
            }
            self.late = self.late.max(began.elapsed().saturating_sub(due));
            let made = send(number, self.received)?;
            self.published.broadcasts += made.broadcasts;
            self.published.unicasts += made.unicasts;
        }
        Ok(())
    }

    /// Lets time pass between messages, in steps short enough to see when everybody is back.
    fn attend_publishing(&mut self, wait: Duration) -> Result<(), Error> {
        let end = Instant::now() + wait;
        loop {
            let step = end.saturating_duration_since(Instant::now()).min(STEP);
            self.workers.attend(step, &mut |received| self.received = received)?;
            self.note_return()?;
            if Instant::now() >= end {
                return Ok(());
            }
        }
    }

    /// Reads what coming back has cost, once everybody is there.
    fn note_return(&mut self) -> Result<(), Error> {
        if !self.workers.have_returned() || self.returned.is_none_or(|it| it.used.is_some()) {
            return Ok(());
        }
        let cpu = self.cpu()?;
        if let Some(returned) = &mut self.returned {
            let used = cpu.saturating_sub(returned.cpu_before);
            returned.used = Some((used, returned.began.elapsed()));
        }
        Ok(())
    }

    /// What the servers have used so far.
    fn cpu(&self) -> Result<Duration, Error> {
        Ok(Duration::from_nanos(Usage::of(self.pids)?.cpu_nanos))
    }

    /// Tells everybody what there is to receive. `numbers` are the unicasts of each user.
    fn finish(&mut self, numbers: &[u32]) -> Result<(), Error> {
        for (index, share) in self.shares.iter().enumerate() {
            let users = share.first as usize..(share.first + share.count) as usize;
            let unicasts = numbers.get(users).unwrap_or(&[]).iter().map(|&n| u64::from(n)).sum();
            let published = Published { unicasts, ..self.published };
            let deliveries = published.deliveries(std::slice::from_ref(share));
            let messages = published.broadcasts as u32;
            self.workers.order(index, Order::Finish { messages, deliveries })?;
        }
        Ok(())
    }
}

/// Publishes to every server that has connections in the message's channel, and to one at least.
fn broadcast(
    plan: &Plan,
    shares: &[Share],
    publisher: &Publisher,
    number: u32,
) -> Result<(), Error> {
    let channels = plan.channels();
    let (channel, _) = channels.channel_of(number);
    let (payload, name, servers) =
        (plan.payload(number), channels.name(channel), publisher.servers());
    let audience = Audience { channel: &name, user: None };
    for server in 0..servers {
        // Processes take the servers in turn.
        let mut its_shares = shares.iter().skip(server).step_by(servers);
        let is_home = server == channel as usize % servers;
        if is_home || its_shares.any(|share| share.is_in(channel)) {
            publisher.send(server, audience, &payload)?;
        }
    }
    Ok(())
}

/// Users who get messages of their own, and how many each has got.
struct Users<'a> {
    plan: &'a Plan,
    shares: &'a [Share],
    numbers: Vec<u32>,
    random: u64,
}

impl<'a> Users<'a> {
    fn new(plan: &'a Plan, shares: &'a [Share]) -> Self {
        let numbers = vec![0; plan.connections as usize];
        Self { plan, shares, numbers, random: 0x9e37_79b9_7f4a_7c15 }
    }

    /// Publishes to one of them.
    fn send(&mut self, publisher: &Publisher, stream: Stream) -> Result<(), Error> {
        // Xorshift: which users it picks does not matter, only that it is all of them.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let user = (self.random % self.numbers.len() as u64) as usize;
        let share = self.shares.partition_point(|share| share.first as usize <= user) - 1;
        let number = stream.number(self.numbers[user]);
        self.numbers[user] += 1;
        let payload = self.plan.payload(number);
        let channel = self.plan.own_channel(user as u32);
        let audience = Audience { channel: &channel, user: Some(user as u32) };
        publisher.send(share % publisher.servers(), audience, &payload)
    }
}
