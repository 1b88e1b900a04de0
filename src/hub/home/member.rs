//! The shards that have subscribers of a channel.

use std::sync::Arc;

use crate::hub::Hub;
use crate::hub::home::Record;
use crate::hub::rows::Id;
use crate::mesh::{Envelope, Handle};
use crate::model::{ChannelName, Namespace, Push, ShardId};

impl Hub {
    /// Home side: a shard has its first subscriber.
    pub(in crate::hub) fn handle_join(
        &mut self,
        channel: ChannelName,
        shard: ShardId,
        handle: Handle,
    ) {
        let row = self.home_row(&channel);
        self.homes.rows[row].join(shard, handle);
        self.note_audience(row);
        self.context.post(shard, Envelope::Joined { handle });
    }

    /// Home side: a shard's last subscriber is gone.
    pub(in crate::hub) fn handle_leave(
        &mut self,
        channel: &ChannelName,
        shard: ShardId,
        handle: Handle,
    ) {
        let Some(row) = self.homes.find(channel) else { return };
        self.homes.rows[row].leave(shard, handle);
        if self.homes.rows[row].stream == Id::NONE {
            self.forget_empty_home(row);
        } else {
            self.note_audience(row);
        }
    }

    /// Passes on a join or leave, which nobody counts, to those who are told.
    pub(in crate::hub) fn announce(
        &mut self,
        home: Id<Record>,
        rules: &Namespace,
        push: &Arc<Push>,
    ) {
        for place in 0..self.homes.rows[home].members.len() {
            let (shard, handle) = self.homes.rows[home].members[place];
            if rules.join_leave != handle.hears_otherwise {
                let push = Arc::clone(push);
                self.context.post(shard, Envelope::Deliver { handle, push, ticket: None });
            }
        }
    }

    /// The home side of a channel, which begins to exist.
    pub(in crate::hub) fn home_row(&mut self, channel: &ChannelName) -> Id<Record> {
        let found = self.homes.find(channel);
        found.unwrap_or_else(|| self.homes.insert(Record::new(channel.clone())))
    }

    /// Forgets the home side of a channel if nothing is left there.
    pub(in crate::hub) fn forget_empty_home(&mut self, row: Id<Record>) {
        if self.homes.rows[row].is_empty() {
            self.homes.remove(row);
        }
    }
}
