//! Passes commands on to the shards at home, and holds back what does not fit.
//!
//! Links are FIFO and commands of one publisher must not overtake each other, so as soon as one
//! envelope does not fit, it and everything after it waits here in order. The caller stops reading
//! while anything waits; at most one command's envelopes (one per shard) ever do.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::mesh::{Envelope, Homes, Link};
use crate::metrics::IngestMetrics;
use crate::protocol::{ChannelName, Command, CommandError, ShardId, Ticket};

/// The way to the shards.
pub(super) struct Route {
    homes: Homes,
    links: Vec<Link<Envelope>>,
    /// True exactly when a shard was sent something since the last ring.
    touched: Vec<bool>,
    /// Whether some link held too many bytes when it was looked at last.
    is_heavy: bool,
    /// What did not fit, oldest first.
    backlog: VecDeque<(ShardId, Envelope)>,
    /// Channels of one broadcast by home; empty between calls.
    groups: Vec<Vec<ChannelName>>,
    metrics: Arc<IngestMetrics>,
}

impl Route {
    pub(super) fn new(
        homes: Homes,
        links: Vec<Link<Envelope>>,
        metrics: Arc<IngestMetrics>,
    ) -> Self {
        let count = links.len();
        let groups = (0..count).map(|_| Vec::new()).collect();
        let touched = vec![false; count];
        Self { homes, links, touched, is_heavy: false, backlog: VecDeque::new(), groups, metrics }
    }

    /// Sends a command on its way; gives how many first answers a ticket will bring.
    // HOT PATH 3/6: to the home shard; its thread is woken once per batch, by `ring`.
    pub(super) fn route(
        &mut self,
        command: Command,
        ticket: Option<Ticket>,
    ) -> Result<u32, CommandError> {
        if let Some(shard) = command.first_shard(&self.homes) {
            // A client identity comes from outside and may name a shard that does not exist.
            if shard.index() >= self.links.len() {
                return Err(CommandError::UnknownClient);
            }
            self.push(shard, command, ticket);
            return Ok(1);
        }
        let mut envelopes = 0;
        match command {
            Command::Broadcast { channels, publication, key } => {
                for channel in channels {
                    self.groups[self.homes.of(&channel).index()].push(channel);
                }
                for shard in (0..self.homes.shards()).map(ShardId) {
                    let mut channels = std::mem::take(&mut self.groups[shard.index()]);
                    let (publication, key) = (Arc::clone(&publication), key.clone());
                    let part = match channels.len() {
                        0 => continue,
                        1 => Command::Publish { channel: channels.remove(0), publication, key },
                        _ => Command::Broadcast { channels, publication, key },
                    };
                    self.push(shard, part, ticket);
                    envelopes += 1;
                }
            }
            Command::PublishAll { publication } => {
                for shard in (0..self.homes.shards()).map(ShardId) {
                    let publication = Arc::clone(&publication);
                    self.push(shard, Command::PublishAll { publication }, ticket);
                    envelopes += 1;
                }
            }
            _ => unreachable!("every other command has a first shard"),
        }
        Ok(envelopes)
    }

    /// True exactly when something waits for a full link, or a link holds too many bytes.
    pub(super) fn is_stalled(&self) -> bool {
        self.is_heavy || !self.backlog.is_empty()
    }

    /// Sends what waits, as far as it fits now.
    pub(super) fn retry(&mut self) {
        self.is_heavy = self.is_heavy && self.links.iter().any(Link::is_heavy);
        while let Some((shard, envelope)) = self.backlog.pop_front() {
            self.touched[shard.index()] = true;
            let bytes = envelope.bytes();
            if let Err(envelope) = self.links[shard.index()].try_send_bytes(envelope, bytes) {
                self.backlog.push_front((shard, envelope));
                return;
            }
        }
    }

    /// Wakes every shard that was sent something.
    pub(super) fn ring(&mut self) {
        for (link, touched) in self.links.iter().zip(&mut self.touched) {
            if std::mem::take(touched) {
                link.ring();
            }
        }
    }

    fn push(&mut self, shard: ShardId, command: Command, ticket: Option<Ticket>) {
        let envelope = Envelope::Command { command: Box::new(command), ticket };
        if !self.backlog.is_empty() {
            self.backlog.push_back((shard, envelope));
            return;
        }
        self.touched[shard.index()] = true;
        let (link, bytes) = (&self.links[shard.index()], envelope.bytes());
        match link.try_send_bytes(envelope, bytes) {
            Ok(()) if !link.is_heavy() => return,
            Ok(()) => self.is_heavy = true,
            Err(envelope) => self.backlog.push_back((shard, envelope)),
        }
        self.metrics.link_stalls.increment();
    }
}
