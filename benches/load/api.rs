//! Publishing by HTTP: how much of it one edge takes, and what it costs, against ROUTER.
//!
//! Callers wait for each answer before they ask again, and check all that it says. Each has
//! channels of its own. HTTP callers have a connection each, which they keep; by ROUTER the same
//! callers ask through one DEALER, and a batch is as many questions as it has publications. The
//! server's shard, control plane and ingest thread share one core, and the callers have the other
//! one, together with subscribers, if there are any. Payloads are bytes, which go into JSON as
//! base64.

use std::io;
use std::time::Instant;

use crate::calls::{Audience, Caller, Calls, Method};
use crate::cpu::Bill;
use crate::dealer::Dealer;
use crate::fan_out::AFTERMATH;
use crate::http::HttpCallers;
use crate::receiver::Receiver;
use crate::report::Spread;
use crate::server::{Server, Setup};
use crate::{Options, RECEIVER_CORE, SENDER_CORE};

/// How many callers there are.
const CALLERS: [usize; 3] = [1, 16, 64];

/// Calls of a round, by all callers together.
const PUBLISH_CALLS: usize = 4096;
const OTHER_CALLS: usize = 256;

/// Each method with each audience.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    let counts = match (options.connections, options.is_trial) {
        (Some(count), _) => vec![count],
        (None, true) => vec![1, 4],
        (None, false) => CALLERS.to_vec(),
    };
    for method in [Method::Publish, Method::Broadcast, Method::Batch] {
        for audience in [Audience::Nobody, Audience::One, Audience::Later] {
            let calls = Calls { method, audience, bytes: options.bytes_or_usual() };
            print_title(&calls, options.rounds);
            for &callers in &counts {
                let count = if method == Method::Publish { PUBLISH_CALLS } else { OTHER_CALLS };
                let turns = if options.is_trial { 2 } else { count.div_ceil(callers) };
                Contest::start(calls, callers)?.run(turns, options.rounds)?;
            }
        }
    }
    Ok(())
}

fn print_title(calls: &Calls, rounds: u32) {
    let audience = match calls.audience {
        Audience::Nobody => "no subscribers",
        Audience::One => "one subscriber per channel",
        Audience::Later => "history, no subscribers",
    };
    let (name, channels, bytes) = (calls.method.name(), calls.method.channels(), calls.bytes);
    println!(
        "\n/api/{name}, publications in a call: {channels}, {bytes} bytes, {audience}; medians of \
         {rounds} rounds,\nratios: min, median, max\n{:26}{:>10} {:>14} {:>12} {:>8} {:>8} {:>8} \
         {:>8} {:>8}",
        "callers, by",
        "calls/s",
        "publications/s",
        "CPU ns each",
        "shard",
        "others",
        "p50 us",
        "p99 us",
        "callers"
    );
}

/// Callers by HTTP and by ROUTER, who take turns at one server.
struct Contest {
    server: Server,
    receivers: Option<Receiver>,
    callers: Vec<Caller>,
    http: HttpCallers,
    dealer: Dealer,
}

/// What a round brought.
struct Round {
    calls_per_second: f64,
    publications_per_second: f64,
    /// CPU nanoseconds per publication: of the whole server, of shards, of other threads.
    all: f64,
    shard: f64,
    others: f64,
    p50_micros: f64,
    p99_micros: f64,
    /// How busy the callers were, in percent.
    callers_busy: f64,
}

impl Contest {
    fn start(calls: Calls, callers: usize) -> io::Result<Self> {
        // As many answers as callers wait for must fit.
        let server = Server::with(Setup { high_water_mark: 100_000, ..Setup::default() })?;
        let receivers = match calls.audience {
            Audience::Nobody | Audience::Later => None,
            Audience::One => {
                let path =
                    format!("/websocket?channels={}{{number}}", calls.audience.channel_prefix());
                let count = callers * calls.method.channels();
                Some(Receiver::start(&server.public, &path, count)?)
            }
        };
        let http = HttpCallers::start(&server.internal, callers)?;
        let dealer = Dealer::start(&server.router)?;
        let callers = (0..callers).map(|place| Caller::new(calls, place)).collect();
        Ok(Self { server, receivers, callers, http, dealer })
    }

    fn run(mut self, turns: usize, rounds: u32) -> io::Result<()> {
        let (mut http, mut router) = (Vec::new(), Vec::new());
        // The first round warms caches and grows tables.
        for round in 0..=rounds {
            for (is_http, figures) in [(true, &mut http), (false, &mut router)] {
                let figure = self.round(is_http, turns)?;
                if round > 0 {
                    figures.push(figure);
                }
            }
        }
        let callers = self.callers.len();
        print_medians(&format!("{callers:6}, HTTP"), &http);
        print_medians(&format!("{callers:6}, ROUTER"), &router);
        let ratios = |of: fn(&Round) -> f64| {
            Spread::of(http.iter().zip(&router).map(|(one, other)| of(one) / of(other)).collect())
        };
        let (costs, rates) = (ratios(|round| round.all), ratios(|round| round.calls_per_second));
        println!("        ratio of CPU {costs}   of calls/s {rates}");
        Ok(())
    }

    fn round(&mut self, is_http: bool, turns: usize) -> io::Result<Round> {
        let calls = self.callers.len() * turns;
        let publications = calls * self.callers[0].calls.method.channels();
        if let Some(receivers) = &mut self.receivers {
            receivers.expect(publications as u64)?;
        }
        let server = Bill::open(self.server.pid(), SENDER_CORE)?;
        let callers = Bill::open(std::process::id(), RECEIVER_CORE)?;
        let begin = Instant::now();
        let mut nanos = if is_http {
            self.http.round(&mut self.callers, turns)?
        } else {
            self.dealer.round(&mut self.callers, turns)?
        };
        let wall = begin.elapsed().as_nanos() as f64;
        let callers = callers.close()?;
        if let Some(receivers) = &mut self.receivers {
            receivers.finish()?;
        }
        std::thread::sleep(AFTERMATH);
        let used = server.close()?;
        nanos.sort_unstable();
        let micros = |percent: usize| nanos[(nanos.len() - 1) * percent / 100] as f64 / 1000.0;
        let publications = publications as f64;
        Ok(Round {
            calls_per_second: calls as f64 / wall * 1e9,
            publications_per_second: publications / wall * 1e9,
            all: used.total() / publications,
            shard: used.shards as f64 / publications,
            others: used.others as f64 / publications,
            p50_micros: micros(50),
            p99_micros: micros(99),
            callers_busy: 100.0 * callers.others as f64 / wall,
        })
    }
}

fn print_medians(name: &str, rounds: &[Round]) {
    let median = |of: fn(&Round) -> f64| Spread::of(rounds.iter().map(of).collect()).median;
    println!(
        "{name:26}{:10.0} {:14.0} {:12.0} {:8.0} {:8.0} {:8.0} {:8.0} {:6.0} %",
        median(|round| round.calls_per_second),
        median(|round| round.publications_per_second),
        median(|round| round.all),
        median(|round| round.shard),
        median(|round| round.others),
        median(|round| round.p50_micros),
        median(|round| round.p99_micros),
        median(|round| round.callers_busy),
    );
}
