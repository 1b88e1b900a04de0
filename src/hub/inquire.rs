//! The home side of commands that ask for something, or forget something.

use crate::hub::Hub;
use crate::hub::named::Named;
use crate::model::{ChannelName, Command, CommandError, Outcome, Pattern, Ticket};

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
