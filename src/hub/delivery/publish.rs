//! A publication in the channels of one shard: an append to a log.

use bytes::Bytes;

use crate::hub::context::Context;
use crate::hub::delivery::Delivery;
use crate::hub::delivery::channel::{Channel, Round};
use crate::hub::delivery::connection::{Connection, Phase};
use crate::hub::rows::Id;
use crate::mesh::Handle;
use crate::model::{Publication, Push};

/// With this many bytes not yet served by a round, a shard takes no more publications: enough for
/// every send of the next round to be a large one, little enough to keep latency bounded.
const UNSERVED_BYTES_MAX: usize = 256 * 1024;

impl Delivery {
    /// Hands a push to a channel's subscribers, but for those whom it leaves out, which are
    /// returned. `is_on` says whether a connection is of a device. `None` if nobody is handed it.
    pub(in crate::hub) fn publish(
        &mut self,
        context: &Context,
        handle: Handle,
        push: &Push,
        is_on: impl Fn(Id<Connection>, &str) -> bool,
    ) -> Option<Vec<Id<Connection>>> {
        self.channel_of(handle)?;
        let part = Id::new(handle.row);
        // Raw subscribers hear of publications alone.
        let frame = push.frame(handle.variant)?;
        let excluded = match push.publication() {
            Some(publication)
                if publication.except().is_some() || publication.device().is_some() =>
            {
                self.excluded_members(context, part, publication, is_on)
            }
            _ => Vec::new(),
        };
        for &row in &excluded {
            self.move_rest_to_outbox(context, row, part);
        }
        let received = push.publication().map_or(context.now.nanos, |it| it.received_nanos());
        self.broadcast(context, part, frame, received);
        for &row in &excluded {
            self.skip_to_head(row, part);
        }
        Some(excluded)
    }

    /// How many subscribers of a channel got what was published last, but for those left out.
    /// Whoever was closed for it is not counted.
    pub(in crate::hub) fn count(&self, handle: Handle, excluded: &[Id<Connection>]) -> u32 {
        let part = Id::new(handle.row);
        let excluded = excluded.iter().filter(|&&row| self.is_subscribed(row, part)).count();
        self.channel_of(handle).map_or(0, |channel| channel.open_count() - excluded as u32)
    }

    /// The open members that a publication leaves out.
    pub(super) fn excluded_members(
        &self,
        context: &Context,
        channel: Id<Channel>,
        publication: &Publication,
        is_on: impl Fn(Id<Connection>, &str) -> bool,
    ) -> Vec<Id<Connection>> {
        let Some(device) = publication.device() else {
            // One connection at most, found without looking at the others.
            let row = publication.except().and_then(|client| self.row_of(context, client));
            let is_member = |&row: &Id<Connection>| {
                self.connections[row].phase == Phase::Open && self.is_subscribed(row, channel)
            };
            return row.filter(is_member).into_iter().collect();
        };
        let is_excluded = |row: Id<Connection>| {
            publication.except() == Some(self.identity(context, row)) || !is_on(row, device)
        };
        self.channels.rows[channel]
            .members
            .iter()
            .filter(|member| self.connections[member.connection].phase == Phase::Open)
            .filter(|member| is_excluded(member.connection))
            .map(|member| member.connection)
            .collect()
    }

    // HOT PATH 5/6: broadcast is an append to one log; who is owed what follows from the cursors.
    pub(in crate::hub) fn broadcast(
        &mut self,
        context: &Context,
        row: Id<Channel>,
        frame: &Bytes,
        received_nanos: u64,
    ) {
        let channel = &mut self.channels.rows[row];
        if channel.members.is_empty() {
            return;
        }
        context.metrics.publications.increment();
        let head = channel.head;
        let round = channel.round.get_or_insert_with(|| Box::new(Round::new(head)));
        let before = round.log.bytes();
        round.log.append(frame);
        channel.head = round.log.head();
        round.note_receipt(received_nanos);
        if !round.is_congested && round.log.unserved_bytes() > UNSERVED_BYTES_MAX {
            round.is_congested = true;
            self.tally.congested += 1;
        }
        let after = round.log.bytes();
        if !round.is_queued {
            round.is_queued = true;
            self.queues.dirty.push_back((row, channel.generation));
        }
        self.note_log_bytes(context, before, after);
        self.limit_log(context, row);
        self.rank_log(row);
    }
}
