//! What polite clients notice of others that take as much as they are given.
//!
//! A backend publishes to a channel at a steady rate, its subscribers verify each message, and a
//! managed client publishes to a channel of its own and waits for that. They are measured alone,
//! and then beside one kind of hoarders after the other, at a server with the limits of production.
//! Each kind has a server of its own. The shard shares its core with the ingest thread and the
//! control plane, and the polite ones share theirs with the hoarders, who have a lower priority.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tidegate::load::Latency;

use crate::backends::Caller;
use crate::cpu::Bill;
use crate::fan_out::FanOut;
use crate::hoarders::{Hoarders, KEPT, KINDS};
use crate::peer::Peer;
use crate::server::{Server, Setup};
use crate::{Options, SENDER_CORE};

/// Subscribers of the channel, if the command line says nothing else.
const POLITE: usize = 50;

/// Publications per second.
const RATE: u32 = 100;

/// How long the polite ones are measured: alone, and beside others.
const ALONE: Duration = Duration::from_secs(1);
const TOGETHER: Duration = Duration::from_secs(4);

/// The managed client waits for so long before it publishes again.
const REST: Duration = Duration::from_millis(25);

/// And the backend that publishes over HTTP for so long.
const CALL_REST: Duration = Duration::from_millis(10);

/// At most so long 99 of 100 messages may take.
const P99_MILLIS_MAX: f64 = 50.0;

/// One kind after the other.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    let polite = options.connections_or(POLITE);
    println!(
        "\n{polite} subscribers, {RATE} publications a second, a managed client and a caller \
         of the API; alone, and beside others\n{:28}{:>6}  {:^24}  {:^24}  {:^24}  {:>6} {:>5}\n\
         {:34}  {:>7} {:>8} {:>7}  {:>7} {:>8} {:>7}  {:>7} {:>8} {:>7}",
        "",
        "",
        "publications, ms",
        "managed client, ms",
        "calls over HTTP, ms",
        "closed",
        "CPU %",
        "",
        "p50",
        "p99",
        "max",
        "p50",
        "p99",
        "max",
        "p50",
        "p99",
        "max"
    );
    let mut failed = Vec::new();
    for (place, kind) in KINDS.iter().enumerate() {
        if let Some(reason) = measure(options, polite, place)? {
            failed.push(format!("{}: {reason}", kind.name));
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(io::Error::other(failed.join("; "))) }
}

/// Measures one kind. Returns what is wrong with the outcome, if anything is.
fn measure(options: &Options, polite: usize, place: usize) -> io::Result<Option<String>> {
    let server = Server::with(Setup { is_shared: true, ..Setup::default() })?;
    let mut fan_out = FanOut::start(server, polite)?;
    fan_out.fill(KEPT, 100, 1024)?;
    let share = if options.is_trial { 20 } else { 1 };
    let alone = sample(&mut fan_out, ALONE / share)?;
    let hoarders = Hoarders::start(place, &fan_out.server)?;
    // What they do first is not yet what they do.
    std::thread::sleep(ALONE / share);
    let theirs = Bill::open(hoarders.pid(), SENDER_CORE)?;
    let bill = Bill::open(fan_out.server.pid(), SENDER_CORE)?;
    let begin = Instant::now();
    let beside = sample(&mut fan_out, TOGETHER / share)?;
    let wall = begin.elapsed().as_nanos() as f64;
    let busy = bill.close()?.serving() / wall;
    let their_busy = theirs.close()?.total() / wall;
    alone.print("alone", 0.0, 0.0);
    beside.print(KINDS[place].name, busy, their_busy);
    let ratio = beside.p99() / alone.p99().max(f64::EPSILON);
    println!("{:28}{ratio:24.1} times as long at the 99th percentile", "");
    let is_late = !options.is_trial && beside.p99() > P99_MILLIS_MAX;
    Ok(if beside.lost > 0 {
        Some(format!("{} of the polite ones were closed or missed something", beside.lost))
    } else if is_late {
        Some(format!("p99 is {:.1} ms", beside.p99()))
    } else {
        None
    })
}

/// What the polite ones have seen.
struct Sample {
    publications: Latency,
    echoes: Latency,
    calls: Latency,
    /// How many were closed, or missed messages.
    lost: u64,
}

impl Sample {
    /// The latest of the three, in milliseconds.
    fn p99(&self) -> f64 {
        let all = [&self.publications, &self.echoes, &self.calls];
        all.map(|latency| millis(latency, 0.99)).into_iter().fold(0.0, f64::max)
    }

    fn print(&self, name: &str, busy: f64, their_busy: f64) {
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|at| millis(&self.publications, at));
        let [e50, e99, e_max] = [0.5, 0.99, 1.0].map(|at| millis(&self.echoes, at));
        let [c50, c99, c_max] = [0.5, 0.99, 1.0].map(|at| millis(&self.calls, at));
        println!(
            "{name:34}  {p50:7.2} {p99:8.2} {max:7.1}  {e50:7.2} {e99:8.2} {e_max:7.1}  \
             {c50:7.2} {c99:8.2} {c_max:7.1}  {:6} \
             {:3.0}/{:.0}",
            self.lost,
            busy * 100.0,
            their_busy * 100.0
        );
    }
}

fn millis(latency: &Latency, quantile: f64) -> f64 {
    latency.0.value_at_quantile(quantile) as f64 / 1e6
}

/// Publishes at the rate for some time.
fn sample(fan_out: &mut FanOut, time: Duration) -> io::Result<Sample> {
    let echo = Polite::start(fan_out.server.public.clone(), echo);
    let call = Polite::start(fan_out.server.internal.clone(), call);
    fan_out.receivers.reset_latency()?;
    let count = (RATE as f64 * time.as_secs_f64()) as u32;
    let expected = fan_out.receivers.expect(u64::from(count) * fan_out.connections as u64);
    expected?;
    let begin = Instant::now();
    for turn in 0..count {
        let due = Duration::from_secs(1) * turn / RATE;
        std::thread::sleep(due.saturating_sub(begin.elapsed()));
        fan_out.publish(128)?;
    }
    let seen = fan_out.receivers.outcome()?;
    let mut lost = seen.closed + seen.lost + u64::from(!seen.is_clean());
    let mut stop = |name: &str, polite: Polite| {
        let (latency, outcome) = polite.stop();
        if let Err(error) = outcome {
            println!("the {name}: {error}");
            lost += 1;
        }
        latency
    };
    let (echoes, calls) = (stop("managed client", echo), stop("caller", call));
    Ok(Sample { publications: seen.latency, echoes, calls, lost })
}

/// Somebody who does something again and again, and measures how long it takes.
struct Polite {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<(Latency, io::Result<()>)>,
}

type Act = fn(&str, &AtomicBool, &mut Latency) -> io::Result<()>;

impl Polite {
    fn start(address: String, act: Act) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            let mut latency = Latency::default();
            let result = act(&address, &flag, &mut latency);
            (latency, result)
        });
        Self { is_over, thread }
    }

    /// What it has seen, and whether it was served to the end.
    fn stop(self) -> (Latency, io::Result<()>) {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().expect("it does not panic")
    }
}

/// A backend that publishes over HTTP.
fn call(address: &str, is_over: &AtomicBool, latency: &mut Latency) -> io::Result<()> {
    let mut caller = Caller::connect(address)?;
    while !is_over.load(Ordering::Relaxed) {
        let begin = Instant::now();
        caller.call("publish", r#"{"channel":"called","data":1}"#)?;
        latency.record(begin.elapsed().as_nanos() as u64);
        std::thread::sleep(CALL_REST);
    }
    Ok(())
}

/// A managed client that publishes and hears itself.
fn echo(address: &str, is_over: &AtomicBool, latency: &mut Latency) -> io::Result<()> {
    let mut peer = Peer::connect(address, br#"{"id":1,"connect":{}}"#)?;
    peer.say(br#"{"id":2,"subscribe":{"channel":"echo"}}"#)?;
    peer.hear_until(br#""id":2"#)?;
    let mut number = 3;
    while !is_over.load(Ordering::Relaxed) {
        let begin = Instant::now();
        let data = format!("\"number {number}\"");
        let publish = format!(r#"{{"id":{number},"publish":{{"channel":"echo","data":{data}}}}}"#);
        peer.say(publish.as_bytes())?;
        peer.hear_until(data.as_bytes())?;
        latency.record(begin.elapsed().as_nanos() as u64);
        number += 1;
        std::thread::sleep(REST);
    }
    Ok(())
}
