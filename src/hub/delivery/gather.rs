//! Several channels in one send: what a connection lacks of all of them goes through its outbox.
//!
//! The kernel's price is per send, so a connection that lacks something of several channels gets
//! it in one. That costs a copy of the bytes, hence only of few bytes, and only when more than one
//! channel of the shard has something to send.

use crate::hub::context::Context;
use crate::hub::delivery::Delivery;
use crate::hub::delivery::batch::{Batch, Entry, Source};
use crate::hub::delivery::connection::Connection;
use crate::hub::rows::Id;

/// At most so many bytes are gathered: as many as one send takes of a log.
const GATHER_BYTES_MAX: u64 = 64 * 1024;

/// Looking through more subscriptions than this would cost as much as a send.
const SUBSCRIPTIONS_MAX: u16 = 16;

impl Delivery {
    /// Whether a connection may lack something of more than one channel.
    pub(super) fn may_gather(&self, row: Id<Connection>) -> bool {
        let count = self.connections[row].subscription_count;
        !self.queues.dirty.is_empty() && (2..=SUBSCRIPTIONS_MAX).contains(&count)
    }

    /// Brings an open connection without an outbox everything that it lacks of its channels, if
    /// they are several and it is not too much. Returns whether it did.
    pub(in crate::hub) fn gather(
        &mut self,
        context: &Context,
        row: Id<Connection>,
        batch: &mut Batch,
    ) -> bool {
        let most = GATHER_BYTES_MAX.min(context.settings.outbox_bytes_max as u64);
        let (mut channels, mut bytes) = (0, 0);
        let mut next = self.connections[row].subscriptions;
        while next != Id::NONE {
            let lag =
                self.lag_of(self.subscriptions[next].channel, self.subscriptions[next].member);
            channels += u32::from(lag > 0);
            bytes += lag;
            next = self.next_of(row, next);
        }
        if channels < 2 || bytes > most || !self.slow.covers(self.held() + bytes as usize) {
            return false;
        }
        let mut gathered = Vec::with_capacity(bytes as usize);
        let mut next = self.connections[row].subscriptions;
        while next != Id::NONE {
            let subscription = self.subscriptions[next];
            let channel = &mut self.channels.rows[subscription.channel];
            let cursor = &mut channel.members[subscription.member as usize].cursor;
            if let Some(round) = &channel.round
                && cursor.position() < channel.head
            {
                context.metrics.deliveries.add(round.log.frames_after(cursor.position()));
                round.log.slices(cursor.position()).for_each(|slice| gathered.extend(slice));
                cursor.move_to(channel.head);
            }
            next = self.next_of(row, next);
        }
        self.append(context, row, &gathered);
        let connection = &mut self.connections[row];
        connection.batch = self.tally.batch;
        let (token, length) = (connection.token, gathered.len() as u32);
        let (row, source) = (row.number(), Source::Outbox);
        batch.entries.push(Entry { row, token, length, sent: length, source });
        true
    }
}
