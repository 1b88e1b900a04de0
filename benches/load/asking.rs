//! What it costs to ask the edge for something, as ratios: a batch in order to one in parallel, a
//! lone publication over HTTP to a look at `/health`, and one over ROUTER, asked alone and among
//! many, to the same.
//!
//! Nobody hears what is published. All take turns at one server, whose threads share one core.

use std::io;

use crate::backends::Caller;
use crate::cpu::Bill;
use crate::report::{Spread, print_heading};
use crate::server::{Server, Setup};
use crate::{Options, SENDER_CORE};

/// Publications of a batch.
const BATCH: usize = 250;

/// Questions by ROUTER that wait for their answers, where they are many.
const MANY: usize = 256;

/// How often each is done in a round: `/health` is paced for whoever asks again and again.
const CALLS: usize = 1000;
const BATCHES: usize = 20;
const LOOKS: usize = 100;
const QUESTIONS: usize = 8 * MANY;

/// Measures all of them.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    let share = if options.is_trial { 20 } else { 1 };
    let mut contest = Contest::start()?;
    let mut rounds = Vec::new();
    // The first round warms caches and grows tables.
    for round in 0..=options.rounds {
        let costs = contest.round(share)?;
        if round > 0 {
            rounds.push(costs);
        }
    }
    let spread = |of: &dyn Fn(&Costs) -> f64| Spread::of(rounds.iter().map(of).collect::<Vec<_>>());
    let title = "CPU of the server for each command to nobody, ns";
    print_heading(&format!("{title}, {} rounds", options.rounds));
    println!("  GET /health                            {}", spread(&|it| it.health));
    println!("  /api/publish                           {}", spread(&|it| it.publish));
    println!("  /api/batch of {BATCH} in parallel           {}", spread(&|it| it.parallel));
    println!("  /api/batch of {BATCH} in order              {}", spread(&|it| it.in_order));
    println!("  ROUTER, one at a time                  {}", spread(&|it| it.alone));
    println!("  ROUTER, {MANY} at a time                  {}", spread(&|it| it.many));
    println!("  ratio of publish to health             {}", spread(&|it| it.publish / it.health));
    println!(
        "  ratio of in order to parallel          {}",
        spread(&|it| it.in_order / it.parallel)
    );
    println!("  ratio of ROUTER alone to health        {}", spread(&|it| it.alone / it.health));
    println!("  ratio of ROUTER, many to health        {}", spread(&|it| it.many / it.health));
    Ok(())
}

/// CPU nanoseconds for each command.
struct Costs {
    health: f64,
    publish: f64,
    parallel: f64,
    in_order: f64,
    alone: f64,
    many: f64,
}

/// One server, and those who ask.
struct Contest {
    server: Server,
    caller: Caller,
    dealer: zmq::Socket,
}

impl Contest {
    fn start() -> io::Result<Self> {
        let server = Server::with(Setup { high_water_mark: 100_000, ..Setup::default() })?;
        let caller = Caller::connect(&server.internal)?;
        let dealer = zmq::Context::new().socket(zmq::DEALER)?;
        dealer.set_linger(0)?;
        dealer.connect(&server.router)?;
        Ok(Self { server, caller, dealer })
    }

    fn round(&mut self, share: usize) -> io::Result<Costs> {
        let publish = r#"{"channel":"bench","data":1}"#;
        let batch = |parallel| {
            let command = serde_json::json!({ "publish": { "channel": "bench", "data": 1 } });
            let commands = vec![command; BATCH];
            serde_json::json!({ "commands": commands, "parallel": parallel }).to_string()
        };
        let (parallel, in_order) = (batch(true), batch(false));
        let calls = |times: usize, body: &str| {
            let (times, body) = (times.div_ceil(share), body.to_owned());
            move |it: &mut Self, method: &str| {
                (0..times).try_for_each(|_| it.caller.call(method, &body))
            }
        };
        let (ones, batches) = (CALLS.div_ceil(share), BATCHES.div_ceil(share) * BATCH);
        let looks = LOOKS.div_ceil(share);
        let questions = QUESTIONS.div_ceil(share);
        Ok(Costs {
            health: self
                .cost(looks, |it| (0..looks).try_for_each(|_| it.caller.look("/health")))?,
            publish: self.cost(ones, |it| calls(CALLS, publish)(it, "publish"))?,
            parallel: self.cost(batches, |it| calls(BATCHES, &parallel)(it, "batch"))?,
            in_order: self.cost(batches, |it| calls(BATCHES, &in_order)(it, "batch"))?,
            alone: self.cost(ones, |it| it.ask(ones, 1))?,
            many: self.cost(questions, |it| it.ask(questions, MANY))?,
        })
    }

    /// What the server needs for each of so many commands.
    fn cost(
        &mut self,
        commands: usize,
        act: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<f64> {
        let bill = Bill::open(self.server.pid(), SENDER_CORE)?;
        act(self)?;
        Ok(bill.close()?.total() / commands as f64)
    }

    /// Asks by ROUTER, so many at a time, until all are answered.
    fn ask(&self, count: usize, at_a_time: usize) -> io::Result<()> {
        let ask = || self.dealer.send_multipart(["bench", "1"], 0);
        let mut left = count;
        while left > 0 {
            let now = left.min(at_a_time);
            (0..now).try_for_each(|_| ask())?;
            for _ in 0..now {
                let answer = self.dealer.recv_bytes(0)?;
                if !answer.windows(9).any(|window| window == br#""ok":true"#) {
                    return Err(io::Error::other(String::from_utf8_lossy(&answer).into_owned()));
                }
            }
            left -= now;
        }
        Ok(())
    }
}
