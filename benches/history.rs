//! What history adds to publishing in the hub: a million connections, in all, in one channel, in a
//! thousand, and in a hundred thousand.
//!
//! No socket is involved; every send is taken whole. Two shards with the same subscribers take
//! turns, one without history and one whose channels remember as many publications as they may:
//! every publication makes one be forgotten. Publications go to channels in an order without
//! pattern, up to 64 of them before they are served, so that neither clock nor round is for one
//! alone. Making the publication out of its payload, as the decoder of commands does, is part of
//! publishing it.

mod allocation;
mod rounds;
mod stage;

use std::sync::Arc;
use std::time::{Duration, Instant};

use allocation::print_allocations;
use rounds::{Contestant, compare, is_trial};
use stage::{Stage, channel};
use tidegate::model::{ChannelName, Namespace, Publication, Variant};

const CONNECTIONS: u32 = 1_000_000;

/// Publications before they are served, in different channels.
const BURST: u32 = 64;

/// What all channels remember together, but each at least two publications.
const REMEMBERED: u32 = 200_000;

/// What a channel remembers at most.
const REMEMBERED_OF_CHANNEL: u32 = 100;

const PAYLOAD: [u8; 128] = [7; 128];

fn main() {
    let connections = if is_trial() { CONNECTIONS / 1000 } else { CONNECTIONS };
    for (channels, publications) in [(1, 10), (1_000, 2_000), (100_000, 50_000)] {
        let channels = channels.min(connections);
        let size = (REMEMBERED / channels).clamp(2, REMEMBERED_OF_CHANNEL);
        println!("\n{connections} connections in {channels} channels, {size} remembered in each");
        let mut crowds = [0, size].map(|size| {
            let mut crowd = None;
            print_allocations(&format!("set up with {size} remembered"), || {
                crowd = Some(Crowd::new(connections, channels, size));
            });
            crowd.expect("it has just been made")
        });
        for (what, time) in
            [("publish", Crowd::publish as Time), ("publish and serve", Crowd::publish_and_serve)]
        {
            let names = ["without history", "with history"];
            let mut contestants: Vec<Contestant<'_>> = crowds
                .iter_mut()
                .zip(names)
                .map(|(crowd, name)| -> Contestant<'_> {
                    (name.to_owned(), Box::new(move |count| time(crowd, count)))
                })
                .collect();
            compare(what, publications, &mut contestants);
        }
    }
}

/// What is timed of so many publications.
type Time = fn(&mut Crowd, u32) -> Duration;

/// A shard with its connections.
struct Crowd {
    stage: Stage,
    channels: Vec<ChannelName>,
    published: u32,
}

impl Crowd {
    /// Connections in channels in turn, and channels that remember all that they may.
    fn new(connections: u32, channels: u32, size: u32) -> Self {
        let rules = Namespace { history_size: size as usize, ..Namespace::default() };
        let channels: Vec<_> = (0..channels).map(channel).collect();
        let mut crowd = Self { stage: Stage::new(rules), channels, published: 0 };
        for publication in 0..size * crowd.channels.len() as u32 {
            crowd.publish_to(publication as usize % crowd.channels.len());
        }
        for connection in 0..connections as usize {
            let channel = crowd.channels[connection % crowd.channels.len()].clone();
            crowd.stage.enter(Variant::Raw, "", vec![channel]);
        }
        crowd
    }

    fn publish_to(&mut self, channel: usize) {
        let publication = Arc::new(Publication::new(false, &PAYLOAD, 0));
        self.stage.publish(&self.channels[channel], &publication);
    }

    /// How long it takes to publish.
    fn publish(&mut self, count: u32) -> Duration {
        self.run(count).0
    }

    /// How long it takes until everybody is served.
    fn publish_and_serve(&mut self, count: u32) -> Duration {
        let (publishing, serving) = self.run(count);
        publishing + serving
    }

    fn run(&mut self, count: u32) -> (Duration, Duration) {
        let burst = BURST.min(self.channels.len() as u32);
        let (mut publishing, mut serving) = (Duration::ZERO, Duration::ZERO);
        let mut left = count;
        while left > 0 {
            let begin = Instant::now();
            for _ in 0..burst.min(left) {
                let channel = self.published.wrapping_mul(2_654_435_761) as usize;
                self.publish_to(channel % self.channels.len());
                self.published += 1;
            }
            let published = Instant::now();
            self.stage.flush();
            publishing += published - begin;
            serving += published.elapsed();
            left -= burst.min(left);
        }
        (publishing, serving)
    }
}
