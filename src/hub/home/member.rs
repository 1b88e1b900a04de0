//! The shards that have subscribers of a channel.

use std::sync::Arc;

use crate::hub::context::Context;
use crate::hub::home::{Home, Record};
use crate::hub::rows::Id;
use crate::mesh::{Envelope, Handle};
use crate::model::{ChannelName, Namespace, Push, ShardId};

impl Home {
    /// A shard has its first subscriber.
    pub(in crate::hub) fn handle_join(
        &mut self,
        context: &mut Context,
        channel: ChannelName,
        shard: ShardId,
        handle: Handle,
    ) {
        let row = self.record_of(&channel);
        self.records.rows[row].join(shard, handle);
        self.note_audience(context, row);
        context.post(shard, Envelope::Joined { handle });
    }

    /// A shard's last subscriber is gone.
    pub(in crate::hub) fn handle_leave(
        &mut self,
        context: &Context,
        channel: &ChannelName,
        shard: ShardId,
        handle: Handle,
    ) {
        let Some(row) = self.records.find(channel) else { return };
        self.records.rows[row].leave(shard, handle);
        if self.records.rows[row].stream == Id::NONE {
            self.forget_empty(row);
        } else {
            self.note_audience(context, row);
        }
    }

    /// Passes on a join or leave, which nobody counts, to those who are told.
    pub(super) fn announce(
        &self,
        context: &mut Context,
        home: Id<Record>,
        rules: &Namespace,
        push: &Arc<Push>,
    ) {
        for &(shard, handle) in &self.records.rows[home].members {
            if rules.join_leave != handle.hears_otherwise {
                let push = Arc::clone(push);
                context.post(shard, Envelope::Deliver { handle, push, ticket: None });
            }
        }
    }

    /// The home side of a channel, which begins to exist.
    pub(super) fn record_of(&mut self, channel: &ChannelName) -> Id<Record> {
        let found = self.records.find(channel);
        found.unwrap_or_else(|| self.records.insert(Record::new(channel.clone())))
    }

    /// Forgets the home side of a channel if nothing is left there.
    pub(super) fn forget_empty(&mut self, row: Id<Record>) {
        if self.records.rows[row].is_empty() {
            self.records.remove(row);
        }
    }
}
