//! What is asked about a channel or a user, and the wish that its history be forgotten.

use std::sync::Arc;

use crate::hub::Hub;
use crate::hub::home::history::SECOND;
use crate::hub::home::roll::Roll;
use crate::hub::home::stream::Stream;
use crate::hub::rows::Id;
use crate::model::{ChannelName, ClientInfo, CommandError, HistoryFilter, Namespace, Outcome};

/// Most publications that one answer brings.
const HISTORY_ANSWER_MAX: usize = 1000;

/// Most bytes of publications that one answer brings, unless the first has more by itself; the rest
/// is asked for by position.
const HISTORY_ANSWER_BYTES_MAX: usize = 4 << 20;

impl Hub {
    pub(in crate::hub) fn rules_with_history(
        &self,
        channel: &ChannelName,
    ) -> Result<Arc<Namespace>, CommandError> {
        let rules = self.context.rules_of(channel)?;
        if rules.has_history() { Ok(rules) } else { Err(CommandError::NoHistory) }
    }

    pub(in crate::hub) fn history_of(
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

    pub(in crate::hub) fn presence_of(
        &self,
        channel: &ChannelName,
    ) -> Result<Outcome, CommandError> {
        if !self.context.rules_of(channel)?.presence {
            return Err(CommandError::NoPresence);
        }
        let roll = self.homes.find(channel).and_then(|home| self.roll_of(home));
        if roll.is_some_and(|roll| roll.listed() > self.context.settings.presence_clients_max) {
            return Err(CommandError::TooLarge);
        }
        let list: Vec<Arc<ClientInfo>> = roll.map_or_else(Vec::new, Roll::list);
        Ok(Outcome::Presence(list))
    }

    pub(in crate::hub) fn presence_stats_of(
        &self,
        channel: &ChannelName,
    ) -> Result<Outcome, CommandError> {
        if !self.context.rules_of(channel)?.presence {
            return Err(CommandError::NoPresence);
        }
        let roll = self.homes.find(channel).and_then(|home| self.roll_of(home));
        let (clients, users) = roll.map_or((0, 0), |roll| (roll.listed(), roll.users()));
        Ok(Outcome::PresenceStats(clients as u32, users as u32))
    }

    pub(in crate::hub) fn status_of(&self, personal: &ChannelName) -> Outcome {
        let Some(row) = self.homes.find(personal) else { return Outcome::UserStatus(Vec::new()) };
        let sessions = self.homes.rows[row].sessions.iter();
        let device = |client| self.session_devices.get(client).cloned();
        Outcome::UserStatus(sessions.map(|client| (*client, device(client))).collect())
    }
}
