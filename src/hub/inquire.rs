//! Commands that ask for something, or forget something.

use crate::hub::Hub;
use crate::hub::named::Named;
use crate::model::{ChannelName, Command, CommandError, Outcome, Pattern, Ticket};

/// Most channels that one answer names.
const CHANNELS_ANSWER_MAX: usize = 100_000;

impl Hub {
    /// Carries out a command that changes nobody's subscriptions, at the home of its channel.
    pub(super) fn inquire(&mut self, command: &Command, ticket: Option<Ticket>) {
        let result = match command {
            Command::Channels { pattern } => Some(self.channels_like(pattern.as_ref())),
            _ => self.home.query(&self.context, command),
        };
        match result {
            Some(Ok(outcome)) => self.context.answer_with(ticket, 0, 0, outcome),
            Some(Err(error)) => self.context.answer(ticket, true, 0, Err(error)),
            None => {}
        }
    }

    fn channels_like(&self, pattern: Option<&Pattern>) -> Result<Outcome, CommandError> {
        let mut found: Vec<(ChannelName, u32)> = Vec::new();
        for channel in self.delivery.channels.iter().filter(|channel| channel.open_count() > 0) {
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
