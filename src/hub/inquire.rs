//! The home side of commands that ask for something, or forget something.

use std::sync::Arc;

use crate::hub::Hub;
use crate::hub::history::SECOND;
use crate::hub::named::Named;
use crate::hub::rows::Id;
use crate::hub::stream::Stream;
use crate::model::{
    ChannelName, ClientInfo, Command, CommandError, HistoryFilter, Namespace, Outcome, Pattern,
    Ticket,
};

/// Most publications that one answer brings.
const HISTORY_ANSWER_MAX: usize = 1000;

/// Most bytes of publications that one answer brings, unless the first has more by itself; the rest
/// is asked for by position.
const HISTORY_ANSWER_BYTES_MAX: usize = 4 << 20;

/// Most channels that one answer names.
const CHANNELS_ANSWER_MAX: usize = 100_000;

impl Hub {
    /// Carries out a command that changes nobody's subscriptions, at the home of its channel.
    pub(super) fn inquire(&mut self, command: &Command, ticket: Option<Ticket>) {
        let result = match command {
            Command::History { channel, filter } => self.history_of(channel, filter),
            Command::HistoryRemove { channel } => self.rules_with_history(channel).map(|_| {
                self.forget_history(channel);
                Outcome::Published(Vec::new())
            }),
            Command::Presence { channel } => self.presence_of(channel),
            Command::PresenceStats { channel } => self.presence_stats_of(channel),
            Command::UserStatus { personal } => Ok(self.status_of(personal)),
            Command::Channels { pattern } => self.channels_like(pattern.as_ref()),
            Command::Publish { .. }
            | Command::Broadcast { .. }
            | Command::PublishAll { .. }
            | Command::Subscribe { .. }
            | Command::Unsubscribe { .. }
            | Command::Disconnect { .. }
            | Command::Refresh { .. } => return,
        };
        match result {
            Ok(outcome) => self.context.answer_with(ticket, 0, 0, outcome),
            Err(error) => self.context.answer(ticket, true, 0, Err(error)),
        }
    }

    fn rules_with_history(&self, channel: &ChannelName) -> Result<Arc<Namespace>, CommandError> {
        let rules = self.context.rules_of(channel)?;
        if rules.has_history() { Ok(rules) } else { Err(CommandError::NoHistory) }
    }

    fn history_of(
        &mut self,
        channel: &ChannelName,
        filter: &HistoryFilter,
    ) -> Result<Outcome, CommandError> {
        let ttl = self.rules_with_history(channel)?.history_ttl.saturating_mul(SECOND);
        let age = (self.context.now.tick, ttl);
        let home = self.homes.find(channel);
        let row = home.map_or(Id::NONE, |home| self.homes.rows[home].stream);
        let unborn;
        let stream = if row == Id::NONE {
            let epoch = self.history.epochs.next_of(channel);
            unborn = Stream::new((Id::NONE, 0), epoch, false, self.context.now.tick);
            &unborn
        } else {
            self.history.touch(row, self.context.now.tick);
            &self.history.streams[row]
        };
        let position = stream.position();
        let found = stream.select(filter, age, (HISTORY_ANSWER_MAX, HISTORY_ANSWER_BYTES_MAX));
        let found = found.ok_or(CommandError::UnrecoverablePosition(position.epoch))?;
        Ok(Outcome::History(found, position))
    }

    fn presence_of(&self, channel: &ChannelName) -> Result<Outcome, CommandError> {
        if !self.context.rules_of(channel)?.presence {
            return Err(CommandError::NoPresence);
        }
        let roll = self.homes.find(channel).and_then(|home| self.roll_of(home));
        if roll.is_some_and(|roll| roll.listed() > self.context.settings.presence_clients_max) {
            return Err(CommandError::TooLarge);
        }
        let list: Vec<Arc<ClientInfo>> = roll.map_or_else(Vec::new, super::roll::Roll::list);
        Ok(Outcome::Presence(list))
    }

    fn presence_stats_of(&self, channel: &ChannelName) -> Result<Outcome, CommandError> {
        if !self.context.rules_of(channel)?.presence {
            return Err(CommandError::NoPresence);
        }
        let roll = self.homes.find(channel).and_then(|home| self.roll_of(home));
        let (clients, users) = roll.map_or((0, 0), |roll| (roll.listed(), roll.users()));
        Ok(Outcome::PresenceStats(clients as u32, users as u32))
    }

    fn status_of(&self, personal: &ChannelName) -> Outcome {
        let Some(row) = self.homes.find(personal) else { return Outcome::UserStatus(Vec::new()) };
        let sessions = self.homes.rows[row].sessions.iter();
        let device = |client| self.session_devices.get(client).cloned();
        Outcome::UserStatus(sessions.map(|client| (*client, device(client))).collect())
    }

    fn channels_like(&self, pattern: Option<&Pattern>) -> Result<Outcome, CommandError> {
        let mut found: Vec<(ChannelName, u32)> = Vec::new();
        for channel in self.channels.iter().filter(|channel| channel.open_count() > 0) {
            let Some(name) = channel.name() else { continue };
            let is_wanted = pattern.is_none_or(|pattern| pattern.matches(name.as_str()));
            if is_wanted && *name != ChannelName::everyone() {
                if found.len() == CHANNELS_ANSWER_MAX {
                    return Err(CommandError::TooLarge);
                }
                found.push((name.clone(), channel.open_count()));
            }
        }
        Ok(Outcome::Channels(found))
    }
}
