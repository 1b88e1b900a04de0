//! One run: start, open, load, finish, report. Every step can fail with a sentence.

use std::time::{Duration, Instant};

use super::error::Error;
use super::message::Message;
use super::plan::{Plan, Scenario, ServerChoice};
use super::publisher::{Audience, Publisher};
use super::report::{Delivery, Opening, Quantiles, Report, ServerCost, SlowShare};
use super::server::Server;
use super::share::{Order, Share};
use super::usage::Usage;
use super::workers::{See, Sum, Workers};
use crate::sys::Clock;

/// How far a run is.
#[derive(Clone, Debug)]
pub struct Progress {
    /// What is being done.
    pub stage: &'static str,
    /// How much of it is done.
    pub done: u64,
    /// How much there is to do.
    pub total: u64,
}

/// Makes a run. `see` hears how far it is.
///
/// # Errors
/// Why it could not be made. That its figures are bad is no error: see [`Report::problems`].
pub fn run(plan: &Plan, see: See<'_>) -> Result<Report, Error> {
    plan.check()?;
    let processes = plan.processes()?;
    let mut servers = Vec::new();
    let (targets, endpoints, pids) = match &plan.server {
        ServerChoice::Serve { options } => {
            for _ in 0..processes {
                servers.push(Server::start(options)?);
            }
            (
                servers.iter().map(|server| plan.target_at(server.public)).collect(),
                servers.iter().map(|server| server.pull.clone()).collect(),
                servers.iter().map(Server::pid).collect(),
            )
        }
        ServerChoice::Running { url, endpoint, pids, .. } => {
            (vec![plan.target(url)?], vec![endpoint.clone()], pids.clone())
        }
    };
    let shares = plan.shares(&targets, processes)?;
    let publisher =
        if plan.scenario.publishes() { Some(plan.publisher(&endpoints)?) } else { None };
    let before = Usage::of(&pids)?;
    let began = Instant::now();
    let mut workers = Workers::start(&shares)?;
    let total = if plan.scenario == Scenario::Churn { 0 } else { plan.connections.into() };
    workers.wait_ready(&mut |done| see(&Progress { stage: "opening", done, total }))?;
    let opening = began.elapsed();
    let opened = Usage::of(&pids)?;
    let mut run = Run { plan, shares: &shares, workers, published: 0, late: Duration::ZERO };
    run.workers.attend(Duration::from_secs_f64(plan.settle_seconds), &mut |_| {})?;
    let open = Usage::of(&pids)?;
    let began = Instant::now();
    let begin_nanos = Clock::shared_nanos();
    run.load(publisher.as_ref(), see)?;
    let load = began.elapsed();
    let done = Usage::of(&pids)?;
    let Run { mut workers, published, late, .. } = run;
    let total = published_to_all(&shares, published, plan.scenario);
    let sum = workers.wait_done(&mut |done| see(&Progress { stage: "finishing", done, total }))?;
    let finished = Usage::of(&pids)?;
    let figures = Figures { plan, processes, sum, published, late, opening, load, begin_nanos };
    let mut report = figures.report();
    report.servers_started = servers.len();
    if !pids.is_empty() {
        let bytes = open.resident_bytes.saturating_sub(before.resident_bytes) as f64;
        let holds = plan.scenario != Scenario::Churn;
        report.server = Some(ServerCost {
            resident_before_bytes: before.resident_bytes,
            resident_open_bytes: open.resident_bytes,
            resident_per_connection_bytes: holds.then(|| bytes / f64::from(plan.connections)),
            cpu_opening_cores: cores(before, opened, opening),
            cpu_run_cores: cores(open, done, load),
            cpu_per_delivery_ns: report.delivery.as_ref().and_then(|delivery| {
                let nanos = finished.cpu_nanos.saturating_sub(open.cpu_nanos) as f64;
                (delivery.received > 0).then(|| nanos / delivery.received as f64)
            }),
        });
    }
    Ok(report)
}

fn cores(before: Usage, after: Usage, time: Duration) -> f64 {
    after.cpu_nanos.saturating_sub(before.cpu_nanos) as f64 / time.as_nanos().max(1) as f64
}

/// How many deliveries the publications make.
fn published_to_all(shares: &[Share], published: u64, scenario: Scenario) -> u64 {
    match scenario {
        Scenario::Unicast => published,
        _ => published * shares.iter().map(|share| u64::from(share.readers())).sum::<u64>(),
    }
}

/// The part of a run during which the server is under load.
struct Run<'a> {
    plan: &'a Plan,
    shares: &'a [Share],
    workers: Workers,
    published: u64,
    /// How far the publisher fell behind at most.
    late: Duration,
}

impl Run<'_> {
    fn load(&mut self, publisher: Option<&Publisher>, see: See<'_>) -> Result<(), Error> {
        match (self.plan.scenario, publisher) {
            (Scenario::Unicast, Some(publisher)) => self.unicast(publisher, see),
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
        let (bytes, channel) = (self.plan.bytes, self.plan.channel.clone());
        let audience = Audience::Channel(&channel);
        self.publish(see, |number| {
            let message = Message { number, published_nanos: Clock::shared_nanos() };
            let payload = message.encode(bytes);
            (0..publisher.servers()).try_for_each(|at| publisher.send(at, audience, &payload))
        })?;
        for (index, share) in self.shares.iter().enumerate() {
            let deliveries = self.published * u64::from(share.readers());
            self.workers.order(index, Order::Finish { deliveries })?;
        }
        Ok(())
    }

    fn unicast(&mut self, publisher: &Publisher, see: See<'_>) -> Result<(), Error> {
        let (bytes, shares) = (self.plan.bytes, self.shares);
        let mut numbers = vec![0u32; self.plan.connections as usize];
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        self.publish(see, |_| {
            // Xorshift: which users it picks does not matter, only that it is all of them.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let user = (random % numbers.len() as u64) as usize;
            let share = shares.partition_point(|share| share.first as usize <= user) - 1;
            let number = numbers[user];
            numbers[user] += 1;
            let message = Message { number, published_nanos: Clock::shared_nanos() };
            let audience = Audience::User(user as u32);
            publisher.send(share % publisher.servers(), audience, &message.encode(bytes))
        })?;
        for (index, share) in self.shares.iter().enumerate() {
            let users = share.first as usize..(share.first + share.count) as usize;
            let deliveries = numbers[users].iter().map(|&count| u64::from(count)).sum();
            self.workers.order(index, Order::Finish { deliveries })?;
        }
        Ok(())
    }

    /// Publishes at the plan's rate. What was missed is made up for at once, so a server that
    /// holds the publisher up meets the same load later.
    fn publish(
        &mut self,
        see: See<'_>,
        mut send: impl FnMut(u32) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let began = Instant::now();
        let total = u64::from(self.plan.messages());
        for number in 0..self.plan.messages() {
            let due = Duration::from_secs_f64(f64::from(number) / self.plan.rate);
            let stage = "publishing";
            let wait = due.saturating_sub(began.elapsed());
            if !wait.is_zero() || number % 64 == 0 {
                self.workers.attend(wait, &mut |_| {})?;
                see(&Progress { stage, done: self.published, total });
            }
            self.late = self.late.max(began.elapsed().saturating_sub(due));
            send(number)?;
            self.published += 1;
        }
        Ok(())
    }
}

/// What a run has brought.
struct Figures<'a> {
    plan: &'a Plan,
    processes: u32,
    sum: Sum,
    published: u64,
    late: Duration,
    opening: Duration,
    load: Duration,
    begin_nanos: u64,
}

impl Figures<'_> {
    fn report(self) -> Report {
        let delivery = self.delivery();
        let opening = self.opening();
        let slow = self.slow();
        let problems = self.problems(delivery.as_ref(), slow.as_ref());
        let Self { plan, processes, sum, load, .. } = self;
        let has_messages = !sum.tally.latency.0.is_empty();
        let latency = if has_messages { sum.tally.latency } else { sum.tally.handshake };
        let closes = if slow.is_some() { sum.slow.closes } else { sum.tally.closes };
        Report {
            scenario: plan.scenario.name(),
            connections: plan.connections,
            processes,
            processes_were_needed: processes > 1 && plan.processes.is_none(),
            servers_started: 0,
            seconds: load.as_secs_f64(),
            opening,
            delivery,
            slow,
            closed_by_us: sum.tally.closed_by_us,
            closes,
            server: None,
            problems,
            latencies: latency.0,
        }
    }

    fn opening(&self) -> Opening {
        let tally = &self.sum.tally;
        let back = tally.last_opened_nanos.saturating_sub(self.begin_nanos) as f64 / 1e9;
        let (opened, seconds) = match self.plan.scenario {
            Scenario::Storm => (self.sum.still_open, back),
            Scenario::Churn => (tally.opened, f64::from(self.plan.seconds)),
            _ => (tally.opened + self.sum.slow.opened, self.opening.as_secs_f64()),
        };
        Opening {
            opened,
            failed: tally.failed,
            seconds,
            per_second: opened as f64 / seconds.max(1e-9),
            handshake: Quantiles::of(&tally.handshake.0),
            failures: tally.failures.clone(),
        }
    }

    fn delivery(&self) -> Option<Delivery> {
        let tally = &self.sum.tally;
        let (published, expected) = match self.plan.scenario {
            Scenario::Idle | Scenario::Churn | Scenario::Storm => return None,
            Scenario::Echo => (tally.sent, tally.sent),
            Scenario::Unicast => (self.published, self.published),
            Scenario::Fanout => (self.published, self.published * u64::from(self.plan.connections)),
            Scenario::Slow => {
                let slow = self.sum.slow.opened;
                (self.published, self.published * (u64::from(self.plan.connections) - slow))
            }
        };
        // Until the last receipt: what was still under way when publishing ended counts.
        let seconds = tally.last_nanos.saturating_sub(self.begin_nanos) as f64 / 1e9;
        let mut delivery = Delivery::of(tally, expected, published, seconds);
        delivery.publisher_late_ns = self.late.as_nanos() as u64;
        Some(delivery)
    }

    fn slow(&self) -> Option<SlowShare> {
        (self.plan.scenario == Scenario::Slow).then_some(SlowShare {
            connections: self.sum.slow.opened,
            still_open: self.sum.still_open,
            received: self.sum.slow.received,
            gaps: self.sum.slow.lost,
        })
    }

    fn problems(&self, delivery: Option<&Delivery>, slow: Option<&SlowShare>) -> Vec<String> {
        let mut problems: Vec<String> = delivery.iter().flat_map(|it| it.problems()).collect();
        let tally = &self.sum.tally;
        if tally.closed > 0 {
            problems.push(format!("{} connections were closed by the server", tally.closed));
        }
        if tally.failed > 0 {
            problems.push(format!("{} openings failed", tally.failed));
        }
        let connections = u64::from(self.plan.connections);
        let missing = connections.saturating_sub(self.sum.still_open);
        if self.plan.scenario == Scenario::Storm && missing > 0 {
            problems.push(format!("{missing} connections did not come back in time"));
        }
        let wrong = &self.sum.slow;
        if slow.is_some() && wrong.lost + wrong.repeated + wrong.reordered + wrong.damaged > 0 {
            problems.push("slow connections found gaps or worse in what was left".to_owned());
        }
        problems
    }
}
