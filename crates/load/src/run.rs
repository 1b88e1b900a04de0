//! One run: start, open, load, finish, report. Every step can fail with a sentence.

use std::time::{Duration, Instant};

use crate::cost::{Reading, Readings, Work};
use crate::drive::{Drive, Published, Return};
use crate::error::Error;
use crate::plan::{Plan, Scenario};
use crate::report::{Delivery, Opening, Pings, Quantiles, Recovery, Report, SlowShare};
use crate::server::Servers;
use crate::usage::Usage;
use crate::workers::{See, Sum, Workers};
use tidegate_sys::Clock;

/// How long servers must do next to nothing before their memory is read.
const QUIET: Duration = Duration::from_millis(500);

/// How long is waited for that.
const QUIET_MAX: Duration = Duration::from_secs(5);

/// How long is waited for that when all connections close.
const CLOSE_MAX: Duration = Duration::from_secs(60);

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
    let host = plan.check_host(processes)?;
    let servers = Servers::of(plan, processes)?;
    let shares = plan.shares(&servers.targets, processes)?;
    let publishes = plan.scenario.publishes();
    let publisher = publishes.then(|| plan.publisher(&servers.endpoints)).transpose()?;
    let pids = &servers.pids[..];
    if !pids.is_empty() {
        // Processes that cannot be measured are better found before anything is done to them.
        Usage::of(pids)?;
        servers.warm_up()?;
        settle(pids, QUIET, QUIET_MAX, sleep)?;
    }
    let before = Reading::now(pids)?;
    let began = Instant::now();
    let mut workers = Workers::start(&shares)?;
    let total = if plan.scenario == Scenario::Churn { 0 } else { plan.connections.into() };
    workers.wait_ready(&mut |done| see(&Progress { stage: "opening", done, total }))?;
    let opening = began.elapsed();
    let opened = Reading::now(pids)?;
    let quiet = Duration::from_secs_f64(plan.settle_seconds);
    settle(pids, quiet, QUIET_MAX, |time| workers.attend(time, &mut |_| {}))?;
    let open = Reading::now(pids)?;
    let began = Instant::now();
    let begin_nanos = Clock::shared_nanos();
    let mut drive = Drive::new(plan, &shares, &mut workers, pids);
    drive.load(publisher.as_ref(), see)?;
    let Drive { published, late, returned, .. } = drive;
    let expected = published.deliveries(&shares);
    let mut finishing = |done| see(&Progress { stage: "finishing", done, total: expected });
    let sum = workers.wait_done(&mut finishing)?;
    let (load, done) = (began.elapsed(), Reading::now(pids)?);
    settle(pids, QUIET, QUIET_MAX, |time| workers.attend(time, &mut |_| {}))?;
    let after = Reading::now(pids)?;
    workers.close()?;
    settle(pids, QUIET, CLOSE_MAX, sleep)?;
    let readings = Readings { before, opened, open, done, after, closed: Reading::now(pids)? };
    let work = Work {
        connections: (plan.scenario != Scenario::Churn).then_some(plan.connections),
        deliveries: sum.tally.received,
        sockets_per_connection: servers.targets[0].ends_here(),
    };
    let figures = Figures {
        plan,
        processes,
        sum,
        published,
        expected,
        late,
        returned,
        opening,
        load,
        begin_nanos,
    };
    let mut report = figures.report();
    report.host = host;
    report.servers_started = servers.started.len();
    report.server = readings.server(pids, &work);
    report.kernel = readings.kernel(&work);
    Ok(report)
}

/// Waits until servers do next to nothing for so long: what was needed for a moment only is given
/// back by then.
fn settle(
    pids: &[u32],
    quiet: Duration,
    at_most: Duration,
    mut pause: impl FnMut(Duration) -> Result<(), Error>,
) -> Result<(), Error> {
    let end = Instant::now() + at_most;
    loop {
        let before = Usage::of(pids)?;
        pause(quiet)?;
        let nanos = Usage::of(pids)?.cpu_nanos.saturating_sub(before.cpu_nanos);
        if Duration::from_nanos(nanos) <= quiet / 10 || Instant::now() > end {
            return Ok(());
        }
    }
}

fn sleep(time: Duration) -> Result<(), Error> {
    std::thread::sleep(time);
    Ok(())
}

/// What a run has brought.
struct Figures<'a> {
    plan: &'a Plan,
    processes: u32,
    sum: Sum,
    published: Published,
    expected: u64,
    late: Duration,
    returned: Option<Return>,
    opening: Duration,
    load: Duration,
    begin_nanos: u64,
}

impl Figures<'_> {
    fn report(self) -> Report {
        let delivery = self.delivery();
        let opening = self.opening();
        let (slow, recovery) = (self.slow(), self.recovery());
        let pings = self.pings();
        let problems = self.problems(delivery.as_ref(), slow.as_ref());
        let Self { plan, processes, sum, load, .. } = self;
        let has_messages = !sum.tally.latency.0.is_empty();
        let latency = if has_messages { sum.tally.latency } else { sum.tally.handshake };
        let closes = if slow.is_some() { sum.slow.closes } else { sum.tally.closes };
        Report {
            scenario: plan.scenario.name(),
            protocol: if plan.is_json() { "json" } else { "raw" },
            connections: plan.connections,
            channels: plan.channels,
            channels_each: plan.channels().each,
            processes,
            processes_were_needed: processes > 1 && plan.processes.is_none(),
            servers_started: 0,
            seconds: load.as_secs_f64(),
            opening,
            delivery,
            recovery,
            slow,
            closed_by_us: sum.tally.closed_by_us,
            closes,
            pings,
            server: None,
            kernel: None,
            host: Vec::new(),
            problems,
            latencies: latency.0,
        }
    }

    fn opening(&self) -> Opening {
        let tally = &self.sum.tally;
        let begin_nanos = self.returned.map_or(self.begin_nanos, |it| it.began_nanos);
        let back = tally.last_opened_nanos.saturating_sub(begin_nanos) as f64 / 1e9;
        let (opened, seconds) = match self.plan.scenario {
            Scenario::Storm | Scenario::Recover => (self.sum.still_open, back),
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
            Scenario::Echo => (tally.sent, tally.sent),
            scenario if scenario.publishes() => (self.published.messages(), self.expected),
            _ => return None,
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
            resubscribed: self.sum.slow.resubscribed,
            recovered: self.sum.slow.recovered,
        })
    }

    fn recovery(&self) -> Option<Recovery> {
        let used = self.returned?.used.filter(|(cpu, _)| !cpu.is_zero());
        let back = self.sum.still_open.max(1) as f64;
        let mut recovery = Recovery::of(&self.sum.tally);
        recovery.cpu_cores = used.map(|(cpu, time)| cpu.as_secs_f64() / time.as_secs_f64());
        recovery.cpu_per_connection_ns = used.map(|(cpu, _)| cpu.as_nanos() as f64 / back);
        Some(recovery)
    }

    /// Those of the time in which connections were only held.
    fn pings(&self) -> Option<Pings> {
        if self.plan.scenario != Scenario::Idle {
            return None;
        }
        let end = self.begin_nanos + u64::from(self.plan.seconds) * 1_000_000_000;
        Pings::of(self.sum.tally.pings_between(self.begin_nanos, end))
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
        if tally.resubscribed > 0 {
            let count = tally.resubscribed;
            problems.push(format!("{count} subscriptions were ended by the server and made again"));
        }
        if tally.not_recovered > 0 {
            let (count, skipped) = (tally.not_recovered, tally.skipped);
            problems.push(format!(
                "{count} subscriptions were not recovered, and have missed {skipped} messages"
            ));
        }
        let connections = u64::from(self.plan.connections);
        let missing = connections.saturating_sub(self.sum.still_open);
        let come_back = matches!(self.plan.scenario, Scenario::Storm | Scenario::Recover);
        if come_back && missing > 0 {
            problems.push(format!("{missing} connections did not come back in time"));
        }
        let wrong = &self.sum.slow;
        if slow.is_some() && wrong.lost + wrong.repeated + wrong.reordered + wrong.damaged > 0 {
            problems.push("slow connections found gaps or worse in what was left".to_owned());
        }
        problems
    }
}
