//! The part of a run during which the server is under load.

use std::time::{Duration, Instant};

use super::error::Error;
use super::message::{Message, Stream};
use super::plan::{Plan, Scenario};
use super::publisher::{Audience, Publisher};
use super::run::Progress;
use super::share::{Order, Share};
use super::workers::{See, Workers};
use crate::sys::Clock;

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

    /// How many deliveries that makes among so many who read.
    pub(super) fn deliveries(self, readers: u64) -> u64 {
        self.broadcasts * readers + self.unicasts
    }
}

/// Load, and how far it is.
pub(super) struct Drive<'a> {
    plan: &'a Plan,
    shares: &'a [Share],
    workers: &'a mut Workers,
    /// As far as the processes have told.
    received: u64,
    pub(super) published: Published,
    /// How far the publisher fell behind at most.
    pub(super) late: Duration,
}

impl<'a> Drive<'a> {
    pub(super) fn new(plan: &'a Plan, shares: &'a [Share], workers: &'a mut Workers) -> Self {
        let published = Published::default();
        Self { plan, shares, workers, received: 0, published, late: Duration::ZERO }
    }

    pub(super) fn load(
        &mut self,
        publisher: Option<&Publisher>,
        see: See<'_>,
    ) -> Result<(), Error> {
        match (self.plan.scenario, publisher) {
            (Scenario::Unicast, Some(publisher)) => self.unicast(publisher, see),
            (Scenario::Mixed, Some(publisher)) => self.mixed(publisher, see),
            (_, Some(publisher)) => self.fan_out(publisher, see),
            (Scenario::Idle, None) => {
                self.attend("holding", see)?;
                self.workers.order_all(Order::Finish { deliveries: 0 })
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
        let plan = self.plan;
        self.publish(see, |number, _| {
            broadcast(plan, publisher, number)?;
            Ok(Published { broadcasts: 1, unicasts: 0 })
        })?;
        self.finish(&[])
    }

    fn unicast(&mut self, publisher: &Publisher, see: See<'_>) -> Result<(), Error> {
        let mut users = Users::new(self.plan, self.shares);
        self.publish(see, |_, _| {
            users.send(publisher, Stream::Main)?;
            Ok(Published { broadcasts: 0, unicasts: 1 })
        })?;
        self.finish(&users.numbers)
    }

    /// Unicasts, alone for half of the time, and then while one broadcast follows the other.
    fn mixed(&mut self, publisher: &Publisher, see: See<'_>) -> Result<(), Error> {
        let plan = self.plan;
        let mut users = Users::new(plan, self.shares);
        let mut sent = Published::default();
        self.publish(see, |number, received| {
            let is_busy = number >= plan.messages() / 2;
            let mut made = Published { broadcasts: 0, unicasts: 1 };
            if is_busy && received >= sent.deliveries(plan.connections.into()) {
                broadcast(plan, publisher, sent.broadcasts as u32)?;
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
        see: See<'_>,
        mut send: impl FnMut(u32, u64) -> Result<Published, Error>,
    ) -> Result<(), Error> {
        let began = Instant::now();
        let total = u64::from(self.plan.messages());
        for number in 0..self.plan.messages() {
            let due = Duration::from_secs_f64(f64::from(number) / self.plan.rate);
            let stage = "publishing";
            let wait = due.saturating_sub(began.elapsed());
            if !wait.is_zero() || number % 64 == 0 {
                self.workers.attend(wait, &mut |received| self.received = received)?;
                see(&Progress { stage, done: number.into(), total });
            }
            self.late = self.late.max(began.elapsed().saturating_sub(due));
            let made = send(number, self.received)?;
            self.published.broadcasts += made.broadcasts;
            self.published.unicasts += made.unicasts;
        }
        Ok(())
    }

    /// Tells everybody what there is to receive. `numbers` are the unicasts of each user.
    fn finish(&mut self, numbers: &[u32]) -> Result<(), Error> {
        for (index, share) in self.shares.iter().enumerate() {
            let users = share.first as usize..(share.first + share.count) as usize;
            let unicasts = numbers.get(users).unwrap_or(&[]).iter().map(|&n| u64::from(n)).sum();
            let published = Published { unicasts, ..self.published };
            let deliveries = published.deliveries(share.readers().into());
            self.workers.order(index, Order::Finish { deliveries })?;
        }
        Ok(())
    }
}

fn broadcast(plan: &Plan, publisher: &Publisher, number: u32) -> Result<(), Error> {
    let message = Message { number, published_nanos: Clock::shared_nanos() };
    let (payload, audience) = (message.encode(plan.bytes), Audience::Channel(&plan.channel));
    (0..publisher.servers()).try_for_each(|at| publisher.send(at, audience, &payload))
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
        let message = Message { number, published_nanos: Clock::shared_nanos() };
        let payload = message.encode(self.plan.bytes);
        publisher.send(share % publisher.servers(), Audience::User(user as u32), &payload)
    }
}
