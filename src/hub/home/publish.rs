//! What a publication does at its channel's home.

use crate::hub::Hub;
use crate::hub::rows::Id;
use crate::model::{ChannelName, CommandError, Namespace, Position, Publication};

impl Hub {
    pub(in crate::hub) fn note_key(
        &mut self,
        channel: &ChannelName,
        key: Box<str>,
        position: Option<Position>,
    ) {
        let forgotten = self.repeats.note(channel, key, position, self.context.now.tick);
        self.context.metrics.keys_forgotten.add(forgotten);
        self.enforce_history_budget(Id::NONE);
        self.note_history();
    }

    /// The rules of a channel that can take a publication: where nothing is remembered, its version
    /// could be compared with nothing.
    pub(in crate::hub) fn rules_for(
        &self,
        channel: &ChannelName,
        publication: &Publication,
    ) -> Result<&Namespace, CommandError> {
        let rules =
            self.context.settings.namespaces.of(channel).ok_or(CommandError::UnknownNamespace)?;
        let is_remembered = rules.has_history() && publication.is_remembered();
        if publication.version().is_some() && !is_remembered {
            return Err(CommandError::NoHistory);
        }
        Ok(rules)
    }
}
