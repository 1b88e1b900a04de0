//! Links between threads, and who is at home where.
//!
//! Every pair of threads that talk has its own [`Link`]: a bounded FIFO queue with one producer
//! and one consumer. All links into one thread share a [`Bell`], which wakes the thread if it
//! sleeps; a batch of messages needs one ring of the bell. FIFO per link is an invariant that the
//! hub builds on: what precedes a position on a link is older, what follows it is newer.

mod bell;
mod doze;
mod envelope;
mod flow;
mod link;
mod parts;
mod requester;

/// What threads share; `tests/loom` gives `doze` and `flow` another, which tries all orders.
mod sync {
    pub(super) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
}

pub use bell::Bell;
pub use envelope::{
    Attend, Attendance, Attended, Attendee, Enter, Envelope, Failure, Handle, Outbound, Refusal,
    Standing,
};
pub use flow::Weight;
pub use link::{Inbox, Link, link, link_of};
pub use requester::{Gathered, Requester};

use std::sync::Arc;

use crate::limits::SHARDS_MAX;
use crate::model::{ChannelName, ShardId};

/// Where channels are at home: a keyed hash that peers cannot steer, the same in every thread.
#[derive(Clone, Debug)]
pub struct Homes {
    hasher: ahash::RandomState,
    shards: u8,
}

impl Homes {
    /// Homes for a number of shards, 1 to 255.
    pub fn new(shards: u8, seed: u64) -> Self {
        assert!(shards > 0, "an edge has at least one shard");
        Self {
            hasher: ahash::RandomState::with_seeds(seed, !seed, seed.rotate_left(32), 1),
            shards,
        }
    }

    /// The shard that owns a channel.
    pub fn of(&self, channel: &ChannelName) -> ShardId {
        if self.shards == 1 {
            return ShardId(0);
        }
        let hash = self.hasher.hash_one(channel.as_str());
        // The high half of a 64 by 8 bit product spreads evenly over the shards.
        ShardId(((u128::from(hash) * u128::from(self.shards)) >> 64) as u8)
    }

    /// How many shards there are.
    pub fn shards(&self) -> u8 {
        self.shards
    }
}

/// The threads that ask shards for something and hear answers, by place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// The ingest thread.
    Ingest,
    /// The thread of the control plane that reads HTTP requests.
    Control,
    /// The thread of the HTTP API.
    Api,
}

impl Asker {
    /// All of them, in order of their place.
    pub const ALL: &[Self] = &[Self::Ingest, Self::Control, Self::Api];

    /// The place as it stands in a ticket.
    pub fn place(self) -> u8 {
        self as u8
    }

    /// The place of a shard, which asks others on behalf of its clients.
    pub fn place_of(shard: ShardId) -> u8 {
        shard.0 + Self::ALL.len() as u8
    }

    /// The shard that a place stands for, if it is none of the askers.
    pub fn shard_at(place: u8) -> Option<ShardId> {
        place.checked_sub(Self::ALL.len() as u8).map(ShardId)
    }
}

const _: () = assert!(SHARDS_MAX + Asker::ALL.len() <= 256, "places are bytes");

/// What an asker thread holds: links to every shard, and an inbox of what shards say.
#[derive(Debug)]
pub struct AskerPort {
    /// Whose port it is.
    pub asker: Asker,
    /// Where channels are at home.
    pub homes: Homes,
    /// One link to each shard, by shard number.
    pub shards: Vec<Link<Envelope>>,
    /// Answers and events, one queue from each shard.
    pub inbox: Inbox<Outbound>,
}

impl AskerPort {
    /// Takes that of one asker out of all.
    pub fn take(ports: &mut Vec<Self>, asker: Asker) -> Self {
        let place = ports.iter().position(|port| port.asker == asker);
        ports.swap_remove(place.expect("each asker has one port"))
    }
}

/// What a shard holds: links to every shard and asker, and an inbox from all of them.
#[derive(Debug)]
pub struct ShardPort {
    /// The shard this port belongs to.
    pub shard: ShardId,
    /// Where channels are at home.
    pub homes: Homes,
    /// One link to each shard, by shard number (the own one stays unused).
    pub shards: Vec<Link<Envelope>>,
    /// One link to each asker, by place.
    pub askers: Vec<Link<Outbound>>,
    /// Queues from each shard by number, then from each asker by place.
    pub inbox: Inbox<Envelope>,
}

/// What the messages of all links from one thread to the shards may hold before it sends no more,
/// or of all links from the shards to one thread.
const LINKS_BYTES_MAX: u64 = 64 << 20;

/// What those of one link may always hold.
const LINK_BYTES_MIN: u64 = 2 << 20;

/// How many channels the lists of channels on one link may have before it takes no more: some
/// milliseconds of work, for which what comes behind has to wait.
const LINK_CHANNELS_MAX: u64 = 2048;

/// Builds all links for a number of shards; `capacity` is the bound of each.
pub fn build(
    shards: u8,
    capacity: usize,
    seed: u64,
) -> std::io::Result<(Vec<ShardPort>, Vec<AskerPort>)> {
    let homes = Homes::new(shards, seed);
    let count = usize::from(shards);
    let shard_bells = bells(count)?;
    let asker_bells = bells(Asker::ALL.len())?;
    let mut shard_queues: Vec<Vec<_>> = (0..count).map(|_| Vec::new()).collect();
    let mut asker_queues: Vec<Vec<_>> = Asker::ALL.iter().map(|_| Vec::new()).collect();
    let bytes = (LINKS_BYTES_MAX / u64::from(shards)).max(LINK_BYTES_MIN);
    let most = Weight { bytes, channels: LINK_CHANNELS_MAX };
    let to_shards = |shard_queues: &mut Vec<Vec<_>>| {
        let mut links = Vec::with_capacity(count);
        for (bell, queues) in shard_bells.iter().zip(shard_queues) {
            let (sender, receiver) = link_of(capacity, most, bell);
            links.push(sender);
            queues.push(receiver);
        }
        links
    };
    let shard_links: Vec<_> = (0..count).map(|_| to_shards(&mut shard_queues)).collect();
    let asker_links: Vec<_> = Asker::ALL.iter().map(|_| to_shards(&mut shard_queues)).collect();
    let mut answer_links: Vec<Vec<_>> = Vec::with_capacity(count);
    for _ in 0..count {
        let mut links = Vec::with_capacity(Asker::ALL.len());
        for (bell, queues) in asker_bells.iter().zip(&mut asker_queues) {
            let (sender, receiver) = link_of(capacity, most, bell);
            links.push(sender);
            queues.push(receiver);
        }
        answer_links.push(links);
    }
    let shard_ports = (0..shards)
        .zip(shard_links.into_iter().zip(answer_links))
        .zip(shard_bells.iter().zip(shard_queues))
        .map(|((shard, (shards, askers)), (bell, queues))| ShardPort {
            shard: ShardId(shard),
            homes: homes.clone(),
            shards,
            askers,
            inbox: Inbox::new(Arc::clone(bell), queues),
        })
        .collect();
    let asker_ports = Asker::ALL
        .iter()
        .zip(asker_links)
        .zip(asker_bells.iter().zip(asker_queues))
        .map(|((&asker, shards), (bell, queues))| AskerPort {
            asker,
            homes: homes.clone(),
            shards,
            inbox: Inbox::new(Arc::clone(bell), queues),
        })
        .collect();
    Ok((shard_ports, asker_ports))
}

fn bells(count: usize) -> std::io::Result<Vec<Arc<Bell>>> {
    (0..count).map(|_| Bell::new().map(Arc::new)).collect()
}
