//! From a command to the logs: the home passes a publication to every shard that has subscribers,
//! and each of those appends it to one log, whatever the number of subscribers.

use std::sync::Arc;

use crate::hub::delivery::connection::Phase;
use crate::hub::home::Record;
use crate::hub::rows::Id;
use crate::hub::{Cause, Hub};
use crate::mesh::{Asker, Envelope, Handle, Refusal};
use crate::model::{
    Answer, ChannelName, ClientId, Command, CommandError, Outcome, PersonalPush, Position,
    Publication, Push, Target, Ticket, Variant,
};
use crate::protocol::centrifuge::encode_personal_push;
use crate::ws::close::CloseCode;

/// What became of one publication in one channel.
#[derive(Clone, Copy, Debug, Default)]
struct Published {
    /// How many shards it was passed on to.
    awaiting: u32,
    /// How many sessions of this shard got it.
    sessions: u32,
    /// Where it is in the channel's stream.
    position: Option<Position>,
}

impl Hub {
    pub(super) fn handle_command(&mut self, command: Command, ticket: Option<Ticket>) {
        match command {
            Command::Publish { channel, publication, key } => {
                match self.publish(&channel, &publication, key, ticket) {
                    Ok(published) if ticket.is_some() => {
                        self.answer_published(vec![(channel, published)], None, ticket);
                    }
                    Ok(_) => {}
                    Err(error) if ticket.is_some() => {
                        self.context.answer(ticket, true, 0, Err(error));
                    }
                    Err(error) => self.context.report_failure(error, Some(channel)),
                }
            }
            Command::Broadcast { channels, publication, key } => {
                self.publish_to_each(channels, &publication, key.as_deref(), ticket);
            }
            Command::PublishAll { publication } => {
                let sessions = self.publish_to_everyone(&publication);
                self.context.answer(ticket, true, 0, Ok(sessions));
            }
            Command::History { .. }
            | Command::HistoryRemove { .. }
            | Command::Presence { .. }
            | Command::PresenceStats { .. }
            | Command::UserStatus { .. }
            | Command::Channels { .. } => self.inquire(&command, ticket),
            Command::Subscribe { ref target, .. }
            | Command::Unsubscribe { ref target, .. }
            | Command::Refresh { ref target, .. }
            | Command::Disconnect { ref target, .. } => {
                if let Command::Disconnect { revoke: true, .. } = command
                    && let Target::User { personal, device } = target
                {
                    self.home.revoke(&mut self.context, personal, device.as_deref());
                }
                if let Command::Subscribe { ref channels, .. }
                | Command::Unsubscribe { ref channels, .. } = command
                    && channels.iter().any(|channel| self.context.rules_of(channel).is_err())
                {
                    return self.context.answer(
                        ticket,
                        true,
                        0,
                        Err(CommandError::UnknownNamespace),
                    );
                }
                let mut sessions = self.home.sessions_of(target);
                if let Command::Disconnect { ref except, .. } = command {
                    sessions.retain(|client| !except.contains(client));
                }
                let command = Arc::new(command);
                self.context.answer(ticket, true, sessions.len() as u32, Ok(0));
                for client in sessions {
                    let command = Arc::clone(&command);
                    self.context.post(client.shard, Envelope::Apply { client, command, ticket });
                }
            }
        }
    }

    /// Publishes to each of several channels that are at home here, but for those that
    /// cannot take it.
    fn publish_to_each(
        &mut self,
        channels: Vec<ChannelName>,
        publication: &Arc<Publication>,
        key: Option<&str>,
        ticket: Option<Ticket>,
    ) {
        let (mut published, mut error) = (Vec::with_capacity(channels.len()), None);
        for channel in channels {
            match self.publish(&channel, publication, key.map(Box::from), ticket) {
                Ok(one) => published.push((channel, one)),
                Err(refused) => error = Some((refused, channel)),
            }
        }
        match error {
            Some((error, channel)) if ticket.is_none() => {
                self.context.report_failure(error, Some(channel));
            }
            error => self.answer_published(published, error.map(|(error, _)| error), ticket),
        }
    }

    fn answer_published(
        &mut self,
        all: Vec<(ChannelName, Published)>,
        error: Option<CommandError>,
        ticket: Option<Ticket>,
    ) {
        let Some(Ticket { asker, number }) = ticket else { return };
        let awaiting: u32 = all.iter().map(|(_, published)| published.awaiting).sum();
        let sessions = all.iter().map(|(_, published)| published.sessions).sum();
        let position = |(channel, published): (_, Published)| (channel, published.position);
        let outcome = Outcome::Published(all.into_iter().map(position).collect());
        let (awaiting, outcome) = (awaiting as i32, Some(Box::new(outcome)));
        let answer = Answer { number, firsts: 1, awaiting, sessions, error, outcome };
        self.context.post_answer(asker, answer);
    }

    // HOT PATH 4/6: the home publishes. Every shard with a subscriber gets a reference to the same
    // push, of which each wire variant is encoded once, by the first shard that needs it.
    fn publish(
        &mut self,
        channel: &ChannelName,
        publication: &Arc<Publication>,
        key: Option<Box<str>>,
        ticket: Option<Ticket>,
    ) -> Result<Published, CommandError> {
        let placed = self.home.place(&self.context, channel, publication, key)?;
        let mut published = Published { position: placed.position, ..Published::default() };
        if let Some((home, push)) = placed.heard {
            // A shard that asks for a client wants to know that it was published, no more.
            let counted = ticket.filter(|ticket| Asker::shard_at(ticket.asker).is_none());
            (published.awaiting, published.sessions) = self.route(home, &push, counted);
        }
        Ok(published)
    }

    /// Passes a push on to the shards that have subscribers.
    fn route(&mut self, home: Id<Record>, push: &Arc<Push>, ticket: Option<Ticket>) -> (u32, u32) {
        let (mut awaiting, mut sessions) = (0, 0);
        for place in 0..self.home.records.rows[home].members.len() {
            let (shard, handle) = self.home.records.rows[home].members[place];
            if shard == self.context.site.shard {
                sessions += self.deliver(handle, push);
            } else {
                let push = Arc::clone(push);
                self.context.post(shard, Envelope::Deliver { handle, push, ticket });
                awaiting += 1;
            }
        }
        (awaiting, sessions)
    }

    /// Member side: hands a push to the channel's subscribers; returns how many they are.
    pub(super) fn deliver(&mut self, handle: Handle, push: &Arc<Push>) -> u32 {
        let devices = &self.devices;
        let is_on = |row, device: &str| devices.get(&row).is_some_and(|other| **other == *device);
        let Some(excluded) = self.delivery.publish(&self.context, handle, push, is_on) else {
            return 0;
        };
        self.settle_overruns();
        self.delivery.count(handle, &excluded)
    }

    fn publish_to_everyone(&mut self, publication: &Arc<Publication>) -> u32 {
        if !self.delivery.tally.has_anybody() {
            self.context.metrics.publications_unheard.increment();
            return 0;
        }
        let (payload, text) = (publication.payload(), publication.is_text());
        let mut sessions = 0;
        for variant in Variant::ALL {
            if self.delivery.tally.everyone[variant as usize] == 0 {
                continue;
            }
            let frame = if variant.is_managed() {
                let mut frame = Vec::new();
                let push = PersonalPush::Message { payload: &payload, text };
                encode_personal_push(variant, &push, &mut frame);
                frame.into()
            } else {
                publication.frame().clone()
            };
            let except =
                self.delivery.broadcast_to_everyone(&self.context, variant, &frame, publication);
            self.settle_overruns();
            // Whoever was closed for this one is not counted among those who got it.
            let except = except.filter(|&row| self.delivery.is_in_everyone(row, variant));
            sessions +=
                self.delivery.tally.everyone[variant as usize] - u32::from(except.is_some());
        }
        sessions
    }

    /// Applies a command to one session of this shard.
    pub(super) fn apply(
        &mut self,
        client: ClientId,
        command: Arc<Command>,
        ticket: Option<Ticket>,
    ) {
        let row = self.row_of(client).filter(|&row| match self.delivery.connections[row].phase {
            Phase::Open => true,
            // It would open a moment later as if nothing had been said.
            Phase::Joining => matches!(*command, Command::Disconnect { .. }),
            Phase::Free | Phase::Attached | Phase::Closing | Phase::Gone => false,
        });
        let Some(row) = row else { return self.answer_absent(&command, ticket) };
        if let Some(Target::User { device: Some(device), .. }) = command.target()
            && self.devices.get(&row) != Some(device)
        {
            return self.context.answer(ticket, false, 0, Ok(0));
        }
        if let Command::Disconnect { code, reason, revoke, .. } = &*command {
            if self.delivery.connections[row].phase == Phase::Joining {
                self.refuse(row, if *revoke { Refusal::Revoked } else { Refusal::Disconnected });
            } else {
                self.begin_close(row, CloseCode(*code), reason, Cause::Command);
            }
            return self.context.answer(ticket, false, 0, Ok(1));
        }
        let Some(command) = self.hold(row, command, ticket) else { return };
        match &*command {
            Command::Subscribe { channels, options, .. } => {
                return self.subscribe_by_command(row, channels, options, ticket);
            }
            Command::Unsubscribe { channels, .. } => self.unsubscribe_by_command(row, channels),
            Command::Refresh { expires_at, info, .. } => {
                if let Some(info) = info {
                    self.change_info(row, info);
                }
                self.refresh_by_command(row, *expires_at);
            }
            _ => {}
        }
        self.context.answer(ticket, false, 0, Ok(1));
    }

    /// Answers a command whose session is gone.
    pub(super) fn answer_absent(&mut self, command: &Command, ticket: Option<Ticket>) {
        let result = match command.target() {
            Some(Target::Client(_)) => Err(CommandError::UnknownClient),
            Some(Target::User { .. }) | None => Ok(0),
        };
        self.context.answer(ticket, false, 0, result);
    }
}
