//! What is asked about a channel or a user, and the wish that its history be forgotten.

use std::sync::Arc;

use crate::hub::context::Context;
use crate::hub::context::SECOND;
use crate::hub::home::Home;
use crate::hub::home::roll::Roll;
use crate::hub::home::stream::Stream;
use crate::hub::rows::Id;
use crate::model::{
    ChannelName, ClientInfo, Command, CommandError, HistoryFilter, Namespace, Outcome,
};

/// Most publications that one answer brings.
const HISTORY_ANSWER_MAX: usize = 1000;

/// Most bytes of publications that one answer brings, unless the first has more by itself; the rest
/// is asked for by position.
const HISTORY_ANSWER_BYTES_MAX: usize = 4 << 20;

impl Home {
    /// Answers what is asked about one channel or one user.
    pub(in crate::hub) fn query(
        &mut self,
        context: &Context,
        command: &Command,
    ) -> Option<Result<Outcome, CommandError>> {
        Some(match command {
            Command::History { channel, filter } => self.history_of(context, channel, filter),
            Command::HistoryRemove { channel } => rules_with_history(context, channel).map(|_| {
                self.forget_history(context, channel);
                Outcome::Published(Vec::new())
            }),
            Command::Presence { channel } => self.presence_of(context, channel),
            Command::PresenceStats { channel } => self.presence_stats_of(context, channel),
            Command::UserStatus { personal } => Ok(self.status_of(personal)),
            _ => return None,
        })
    }

    fn history_of(
        &mut self,
        context: &Context,
        channel: &ChannelName,
        filter: &HistoryFilter,
    ) -> Result<Outcome, CommandError> {
        let ttl = rules_with_history(context, channel)?.history_ttl.saturating_mul(SECOND);
        let age = (context.now.tick, ttl);
        let home = self.records.find(channel);
        let row = home.map_or(Id::NONE, |home| self.records.rows[home].stream);
        let unborn;
        let stream = if row == Id::NONE {
            let epoch = self.history.epochs.next_of(channel);
            unborn = Stream::new((Id::NONE, 0), epoch, false, context.now.tick);
            &unborn
        } else {
            self.history.touch(row, context.now.tick);
            &self.history.streams[row]
        };
        let position = stream.position();
        let found = stream.select(filter, age, (HISTORY_ANSWER_MAX, HISTORY_ANSWER_BYTES_MAX));
        let found = found.ok_or(CommandError::UnrecoverablePosition(position.epoch))?;
        Ok(Outcome::History(found, position))
    }

    fn presence_of(
        &self,
        context: &Context,
        channel: &ChannelName,
    ) -> Result<Outcome, CommandError> {
        let roll = self.shown_roll_of(context, channel)?;
        if roll.is_some_and(|roll| roll.listed() > context.settings.presence_clients_max) {
            return Err(CommandError::TooLarge);
        }
        let list: Vec<Arc<ClientInfo>> = roll.map_or_else(Vec::new, Roll::list);
        Ok(Outcome::Presence(list))
    }

    fn presence_stats_of(
        &self,
        context: &Context,
        channel: &ChannelName,
    ) -> Result<Outcome, CommandError> {
        let roll = self.shown_roll_of(context, channel)?;
        let (clients, users) = roll.map_or((0, 0), |roll| (roll.listed(), roll.users()));
        Ok(Outcome::PresenceStats(clients as u32, users as u32))
    }

    /// Who is subscribed by name, if anybody, where that may be asked.
    fn shown_roll_of(
        &self,
        context: &Context,
        channel: &ChannelName,
    ) -> Result<Option<&Roll>, CommandError> {
        if !context.rules_of(channel)?.presence {
            return Err(CommandError::NoPresence);
        }
        Ok(self.records.find(channel).and_then(|home| self.roll_of(home)))
    }

    fn status_of(&self, personal: &ChannelName) -> Outcome {
        let Some(row) = self.records.find(personal) else { return Outcome::UserStatus(Vec::new()) };
        let sessions = self.records.rows[row].sessions.iter();
        let device = |client| self.session_devices.get(client).cloned();
        Outcome::UserStatus(sessions.map(|client| (*client, device(client))).collect())
    }
}

fn rules_with_history(
    context: &Context,
    channel: &ChannelName,
) -> Result<Arc<Namespace>, CommandError> {
    let rules = context.rules_of(channel)?;
    if rules.has_history() { Ok(rules) } else { Err(CommandError::NoHistory) }
}
