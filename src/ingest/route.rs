//! Passes commands on to the shards at home, and holds back what does not fit.
//!
//! Links are FIFO and commands of one publisher must not overtake each other, so as soon as one
//! envelope does not fit, it and everything after it waits here in order. The caller stops reading
//! while anything waits; at most the parts of one command ever do.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::mesh::{Envelope, Homes, Link, parts};
use crate::metrics::IngestMetrics;
use crate::model::{Command, CommandError, ShardId, Ticket};

/// The way to the shards.
pub(super) struct Route {
    homes: Homes,
    links: Vec<Link<Envelope>>,
    /// True exactly when a shard was sent something since the last ring.
    touched: Vec<bool>,
    /// Whether some link held too much when it was looked at last.
    is_heavy: bool,
    /// How many channels lists have named since the present share began.
    share: usize,
    /// What did not fit, oldest first.
    backlog: VecDeque<(ShardId, Envelope)>,
    metrics: Arc<IngestMetrics>,
}

impl Route {
    pub(super) fn new(
        homes: Homes,
        links: Vec<Link<Envelope>>,
        metrics: Arc<IngestMetrics>,
    ) -> Self {
        let count = links.len();
        let touched = vec![false; count];
        Self { homes, links, touched, is_heavy: false, share: 0, backlog: VecDeque::new(), metrics }
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
        let parts = parts(command, &self.homes);
        let count = parts.len() as u32;
        for (shard, part) in parts {
            self.push(shard, part, ticket);
        }
        Ok(count)
    }

    /// True exactly when something waits for a full link, or a link holds too much.
    pub(super) fn is_stalled(&self) -> bool {
        self.is_heavy || !self.backlog.is_empty()
    }

    /// Another socket has its share of a turn.
    pub(super) fn begin_share(&mut self) {
        self.share = 0;
    }

    /// How many channels the lists had that were sent of it.
    pub(super) fn share(&self) -> usize {
        self.share
    }

    /// Sends what waits, as far as it fits now.
    pub(super) fn retry(&mut self) {
        self.is_heavy = self.is_heavy && self.links.iter().any(Link::is_heavy);
        while let Some((shard, envelope)) = self.backlog.pop_front() {
            self.touched[shard.index()] = true;
            let weight = envelope.weight();
            if let Err(envelope) = self.links[shard.index()].try_send_weighing(envelope, weight) {
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
        let (link, weight) = (&self.links[shard.index()], envelope.weight());
        self.share += weight.channels as usize;
        match link.try_send_weighing(envelope, weight) {
            Ok(()) if !link.is_heavy() => return,
            Ok(()) => self.is_heavy = true,
            Err(envelope) => self.backlog.push_back((shard, envelope)),
        }
        self.metrics.link_stalls.increment();
    }
}
