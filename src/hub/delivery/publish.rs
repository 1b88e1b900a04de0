//! A publication in the channels of one shard: an append to a log.

use bytes::Bytes;

use crate::hub::Hub;
use crate::hub::delivery::channel::{Channel, Round};
use crate::hub::delivery::connection::{Connection, Phase};
use crate::hub::rows::Id;
use crate::model::Publication;

/// With this many bytes not yet served by a round, a shard takes no more publications: enough for
/// every send of the next round to be a large one, little enough to keep latency bounded.
const UNSERVED_BYTES_MAX: usize = 256 * 1024;

impl Hub {
    /// The open members that a publication leaves out.
    pub(in crate::hub) fn excluded_members(
        &self,
        channel: Id<Channel>,
        publication: &Publication,
    ) -> Vec<Id<Connection>> {
        let Some(device) = publication.device() else {
            // One connection at most, found without looking at the others.
            let row = publication.except().and_then(|client| self.row_of(client));
            let is_member = |&row: &Id<Connection>| {
                self.connections[row].phase == Phase::Open && self.is_subscribed(row, channel)
            };
            return row.filter(is_member).into_iter().collect();
        };
        let is_excluded = |row: Id<Connection>| {
            publication.except() == Some(self.identity(row))
                || self.devices.get(&row).is_none_or(|other| **other != *device)
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
        row: Id<Channel>,
        frame: &Bytes,
        received_nanos: u64,
    ) {
        let channel = &mut self.channels.rows[row];
        if channel.members.is_empty() {
            return;
        }
        self.context.metrics.publications.increment();
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
        self.note_log_bytes(before, after);
        self.limit_log(row);
        self.rank_log(row);
    }
}
