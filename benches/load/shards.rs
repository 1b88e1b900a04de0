//! Two shards against one, in CPU: what it costs to spread the work.
//!
//! Clients need a core too, and here the second shard shares it with them. So this says what two
//! shards spend, not how much faster they are: that takes more cores. Clients are processes of
//! their own, and what ksoftirqd of their core does for them is known from the rounds of one shard
//! and taken off those of two.
//!
//! A user's commands go to the home of its personal channel, which with two shards is for half of
//! the users not where their socket is: twice what a message costs more is the price of handing it
//! over, the wake-up of the other shard included.

use std::io;

use crate::cpu::Bill;
use crate::fan_out::FanOut;
use crate::report::{Spread, print_heading};
use crate::server::{Server, Setup};
use crate::unicast::{Edge, Load};
use crate::{Options, RECEIVER_CORE};

const SUBSCRIBERS: usize = 10_000;
const USERS: usize = 1000;
const BULK: usize = 20_000;
const PACED: usize = 1000;
const PACE: u32 = 1000;

/// Fan-out, then unicast in bulk and at a pace.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    fan_out(options)?;
    let bytes = options.bytes_or_usual();
    let share = if options.is_trial { 100 } else { 1 };
    let bulk = Load { messages: BULK / share, bytes, pace: None };
    let paced = Load { messages: PACED / share, bytes, pace: Some(PACE) };
    unicast(options, "as fast as they are taken", bulk, options.rounds)?;
    unicast(options, "1000 a second", paced, options.rounds.div_ceil(3))
}

fn servers() -> io::Result<[Server; 2]> {
    let with = |shards| Server::with(Setup { shards, ..Setup::default() });
    Ok([with(1)?, with(2)?])
}

fn fan_out(options: &Options) -> io::Result<()> {
    let connections = options.connections_or(SUBSCRIBERS);
    let [one, two] = servers()?;
    let mut edges = [FanOut::start(one, connections)?, FanOut::start(two, connections)?];
    let mut costs = [vec![], vec![]];
    let mut softirqs = [vec![], vec![]];
    let mut walls = vec![];
    for _ in 0..options.rounds {
        let mut wall = [0.0; 2];
        for (place, edge) in edges.iter_mut().enumerate() {
            let clients = Bill::open(edge.receivers.pid(), RECEIVER_CORE)?;
            let cost = edge.broadcast(options.bytes_or_usual())?;
            softirqs[place].push(clients.close()?.softirq as f64 / connections as f64);
            costs[place].push(cost.cpu);
            wall[place] = cost.wall;
        }
        walls.push(wall[1] / wall[0]);
    }
    let own = Spread::of(softirqs[0].clone()).median;
    for (cost, softirq) in costs[1].iter_mut().zip(&softirqs[1]) {
        *cost += softirq - own;
    }
    let ratios = costs[1].iter().zip(&costs[0]).map(|(two, one)| two / one).collect();
    let [one, two] = costs.map(Spread::of);
    let rounds = options.rounds;
    print_heading(&format!("shards, broadcasts to {connections} connections, {rounds} rounds"));
    println!("  one shard, CPU per delivery, ns        {one}");
    println!("  two shards, ns                         {two}");
    println!("  ratio of CPU                           {}", Spread::of(ratios));
    println!("  ratio of time to the last receiver     {}", Spread::of(walls));
    Ok(())
}

fn unicast(options: &Options, name: &str, load: Load, rounds: u32) -> io::Result<()> {
    let users = options.connections_or(USERS);
    let [one, two] = servers()?;
    let mut edges = [Edge::start(one, users)?, Edge::start(two, users)?];
    let (mut costs, mut latencies) = ([vec![], vec![]], [vec![], vec![]]);
    // The first round warms caches and grows socket buffers.
    for round in 0..=rounds {
        for (place, edge) in edges.iter_mut().enumerate() {
            let cost = edge.round(&load)?;
            if round > 0 {
                costs[place].push(cost.used.serving() / load.messages as f64);
                latencies[place].push(cost.p50_nanos as f64 / 1000.0);
            }
        }
    }
    let over = costs[1].iter().zip(&costs[0]).map(|(two, one)| 2.0 * (two - one)).collect();
    let ([one, two], [early, late]) = (costs.map(Spread::of), latencies.map(Spread::of));
    print_heading(&format!("shards, messages to {users} random users, {name}, {rounds} rounds"));
    println!("  one shard, CPU of shards each, ns      {one}");
    println!("  two shards, ns                         {two}");
    println!("  handing one over, ns                   {}", Spread::of(over));
    println!("  one shard, median latency, us          {early}");
    println!("  two shards, us                         {late}");
    Ok(())
}
