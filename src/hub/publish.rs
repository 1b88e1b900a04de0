//! From a command to the logs: the home passes a publication to every shard that has subscribers,
//! and each of those appends it to one log, whatever the number of subscribers.

use std::sync::Arc;

use crate::hub::channel::Round;
use crate::hub::connection::{Cursor, IS_DETACHED_FROM_ALL, Member, Phase};
use crate::hub::rows::NONE;
use crate::hub::{Cause, EVERYONE, Hub};
use crate::mesh::{Envelope, Handle};
use crate::protocol::{ChannelName, ClientId, Command, CommandError, Publication, Target, Ticket};
use crate::ws::close::CloseCode;

/// With this many bytes not yet served by a round, a shard takes no more publications: enough for
/// every send of the next round to be a large one, little enough to keep latency bounded.
const UNSERVED_BYTES_MAX: usize = 256 * 1024;

impl Hub {
    pub(super) fn handle_command(&mut self, command: Command, ticket: Option<Ticket>) {
        match command {
            Command::Publish { channel, publication, .. } => {
                let (awaiting, sessions) = self.publish(&channel, &publication, ticket);
                self.answer(ticket, true, awaiting, Ok(sessions));
            }
            Command::Broadcast { channels, publication, .. } => {
                let (mut awaiting, mut sessions) = (0, 0);
                for channel in &channels {
                    let (parts, local) = self.publish(channel, &publication, ticket);
                    awaiting += parts;
                    sessions += local;
                }
                self.answer(ticket, true, awaiting, Ok(sessions));
            }
            Command::PublishAll { publication } => {
                let sessions = self.publish_to_everyone(&publication);
                self.answer(ticket, true, 0, Ok(sessions));
            }
            Command::History { .. }
            | Command::HistoryRemove { .. }
            | Command::Presence { .. }
            | Command::PresenceStats { .. }
            | Command::UserStatus { .. }
            | Command::Channels { .. } => unimplemented!(),
            Command::Subscribe { ref target, .. }
            | Command::Unsubscribe { ref target, .. }
            | Command::Refresh { ref target, .. }
            | Command::Disconnect { ref target, .. } => {
                let sessions = self.sessions_of(target);
                let command = Arc::new(command);
                self.answer(ticket, true, sessions.len() as u32, Ok(0));
                for client in sessions {
                    let command = Arc::clone(&command);
                    self.post(client.shard, Envelope::Apply { client, command, ticket });
                }
            }
        }
    }

    fn sessions_of(&self, target: &Target) -> Vec<ClientId> {
        match target {
            Target::Client(client) => vec![*client],
            Target::User { personal, .. } => self
                .homes
                .find(personal)
                .map_or_else(Vec::new, |row| self.homes.rows[row].sessions.to_vec()),
        }
    }

    // HOT PATH 4/6: the home publishes. The frame was encoded once, by whoever decoded the
    // command; every shard with a subscriber gets a reference to it.
    fn publish(
        &mut self,
        channel: &ChannelName,
        publication: &Arc<Publication>,
        ticket: Option<Ticket>,
    ) -> (u32, u32) {
        let Some(row) = self.homes.find(channel) else {
            self.metrics.publications_unheard.increment();
            return (0, 0);
        };
        let (mut awaiting, mut sessions) = (0, 0);
        for place in 0..self.homes.rows[row].members.len() {
            let (shard, handle) = self.homes.rows[row].members[place];
            if shard == self.settings.shard {
                sessions += self.deliver(handle, publication);
            } else {
                let publication = Arc::clone(publication);
                self.post(shard, Envelope::Deliver { handle, publication, ticket });
                awaiting += 1;
            }
        }
        (awaiting, sessions)
    }

    /// Member side: hands a publication to the channel's subscribers; returns how many they are.
    pub(super) fn deliver(&mut self, handle: Handle, publication: &Arc<Publication>) -> u32 {
        if self.channel_of(handle).is_none() {
            return 0;
        }
        let mut excluded = if publication.except().is_some() || publication.device().is_some() {
            self.excluded_members(handle.row, publication)
        } else {
            Vec::new()
        };
        for &row in &excluded {
            self.move_rest_to_outbox(row, handle.row);
        }
        self.broadcast(handle.row, publication);
        // Those whose outbox overflowed, or who fell too far behind, are closed by now.
        excluded.retain(|&row| self.connections[row].phase == Phase::Open);
        for &row in &excluded {
            self.skip_to_head(row, handle.row);
        }
        self.channels.rows[handle.row].open_count() - excluded.len() as u32
    }

    /// The open members that a publication leaves out.
    fn excluded_members(&self, channel: u32, publication: &Publication) -> Vec<u32> {
        let Some(device) = publication.device() else {
            // One connection at most, found without looking at the others.
            let row = publication.except().and_then(|client| self.row_of(client));
            let is_member = |&row: &u32| {
                self.connections[row].phase == Phase::Open && self.is_subscribed(row, channel)
            };
            return row.filter(is_member).into_iter().collect();
        };
        let is_excluded = |row: u32| {
            publication.except() == Some(self.client_id(row))
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
    fn broadcast(&mut self, row: u32, publication: &Publication) {
        let channel = &mut self.channels.rows[row];
        if channel.members.is_empty() {
            return;
        }
        self.metrics.publications.increment();
        let head = channel.head;
        let round = channel.round.get_or_insert_with(|| Box::new(Round::new(head)));
        let before = round.log.bytes();
        round.log.append(publication.frame());
        channel.head = round.log.head();
        round.note_receipt(publication.received_nanos());
        if !round.is_congested && round.log.unserved_bytes() > UNSERVED_BYTES_MAX {
            round.is_congested = true;
            self.tally.congested += 1;
        }
        let after = round.log.bytes();
        if !round.is_queued {
            round.is_queued = true;
            self.queues.dirty.push_back(row);
        }
        self.note_log_bytes(before, after);
        self.enforce_lag(row);
    }

    /// Drops what no round needs any more and what exceeds the limit for connections that lag;
    /// those whose cursor would be lost are closed first, so that nobody misses a frame unawares.
    pub(super) fn enforce_lag(&mut self, row: u32) {
        let held = self.tally.log_bytes + self.tally.outbox_bytes;
        let keep = if held > self.settings.memory_max { 0 } else { self.settings.lag_bytes_max };
        let channel = &self.channels.rows[row];
        let Some(round) = &channel.round else { return };
        let keep = if round.lagging == 0 { 0 } else { keep };
        let tail = round.log.tail_for(keep);
        if tail <= round.log.tail() {
            return;
        }
        if round.lagging > 0 {
            let lost: Vec<u32> = channel
                .members
                .iter()
                .filter(|member| member.cursor.lags() && member.cursor.position() < tail)
                .map(|member| member.connection)
                .collect();
            for connection in lost {
                self.begin_close(connection, CloseCode::SLOW, "slow: too far behind", Cause::Slow);
            }
        }
        let Some(round) = self.channels.rows.get(row).and_then(|channel| channel.round.as_ref())
        else {
            return;
        };
        let (before, tail) = (round.log.bytes(), round.log.tail_for(keep));
        let round = self.channels.rows[row].round.as_mut().expect("just seen");
        round.log.trim(tail);
        let after = round.log.bytes();
        self.note_log_bytes(before, after);
    }

    fn publish_to_everyone(&mut self, publication: &Arc<Publication>) -> u32 {
        let except = publication.except().and_then(|client| self.row_of(client));
        let mut except = except.filter(|&row| self.is_in_everyone(row));
        if let Some(row) = except
            && !self.channels.rows[EVERYONE].members.is_empty()
        {
            self.move_rest_to_outbox(row, EVERYONE);
        }
        if self.tally.everyone == 0 {
            self.metrics.publications_unheard.increment();
            return 0;
        }
        if self.channels.rows[EVERYONE].members.is_empty() {
            let height = self.connections.height();
            let everyone = &mut self.channels.rows[EVERYONE];
            let cursor = Cursor::at(everyone.head);
            let member = |connection| Member { connection, subscription: NONE, cursor };
            everyone.members = (0..height).map(member).collect();
        }
        self.broadcast(EVERYONE, publication);
        // Its outbox may have overflowed, or it may have fallen too far behind.
        except = except.filter(|&row| self.is_in_everyone(row));
        if let Some(row) = except {
            self.skip_to_head(row, EVERYONE);
        }
        self.tally.everyone - u32::from(except.is_some())
    }

    fn is_in_everyone(&self, row: u32) -> bool {
        let connection = &self.connections[row];
        connection.phase == Phase::Open && !connection.is(IS_DETACHED_FROM_ALL)
    }

    /// Applies a command to one session of this shard.
    pub(super) fn apply(&mut self, client: ClientId, command: &Command, ticket: Option<Ticket>) {
        let row = self.row_of(client).filter(|&row| self.connections[row].phase == Phase::Open);
        let (Command::Subscribe { target, .. }
        | Command::Unsubscribe { target, .. }
        | Command::Disconnect { target, .. }) = command
        else {
            return;
        };
        let Some(row) = row else {
            let result = match target {
                Target::Client(_) => Err(CommandError::UnknownClient),
                Target::User { .. } => Ok(0),
            };
            return self.answer(ticket, false, 0, result);
        };
        if let Target::User { device: Some(device), .. } = target
            && self.devices.get(&row) != Some(device)
        {
            return self.answer(ticket, false, 0, Ok(0));
        }
        match command {
            Command::Subscribe { channels, .. } => {
                return self.subscribe_by_command(row, channels, ticket);
            }
            Command::Unsubscribe { channels, .. } => self.unsubscribe_by_command(row, channels),
            Command::Disconnect { code, reason, .. } => {
                self.begin_close(row, CloseCode(*code), reason, Cause::Command);
            }
            _ => unimplemented!(),
        }
        self.answer(ticket, false, 0, Ok(1));
    }
}
