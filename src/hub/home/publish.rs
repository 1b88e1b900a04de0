//! What a publication does at its channel's home.

use std::sync::Arc;

use crate::hub::context::Context;
use crate::hub::home::{Home, Record};
use crate::hub::rows::Id;
use crate::model::{ChannelName, CommandError, Namespace, Position, Publication, Push, PushBody};

/// Where a publication went.
#[derive(Debug, Default)]
pub(in crate::hub) struct Placed {
    /// Its place in the channel's stream.
    pub(in crate::hub) position: Option<Position>,
    /// What is to be passed on to the shards that a record names.
    pub(in crate::hub) heard: Option<(Id<Record>, Arc<Push>)>,
}

impl Home {
    /// Gives a publication its place in the channel's stream. It is still to be passed on to the
    /// shards that have subscribers.
    pub(in crate::hub) fn place(
        &mut self,
        context: &Context,
        channel: &ChannelName,
        publication: &Arc<Publication>,
        key: Option<Box<str>>,
    ) -> Result<Placed, CommandError> {
        // Borrowed, not cloned: all shards would count the same references.
        let rules = rules_for(context, channel, publication)?;
        let (size, ttl, has_history) = (rules.history_size, rules.history_ttl, rules.has_history());
        let now = context.now.tick;
        if let Some(key) = &key
            && let Some(position) = self.repeats.find(channel, key, now)
        {
            context.metrics.publications_repeated.increment();
            return Ok(Placed { position, heard: None });
        }
        let has_offset = has_history && publication.is_remembered();
        let mut home = match self.records.find(channel) {
            None if has_offset => Some(self.record_of(channel)),
            found => found,
        };
        let stream = home.filter(|_| has_offset).map(|home| self.stream_of(context, home, ttl));
        if let Some(stream) = stream.map(|row| &self.history.streams[row])
            && stream.outdates(publication)
        {
            context.metrics.publications_outdated.increment();
            return Ok(Placed { position: Some(stream.position()), heard: None });
        }
        if !has_history && self.forget_stream(context, home) {
            home = self.records.find(channel);
        }
        let heard = home.filter(|&home| !self.records.rows[home].members.is_empty());
        // What nobody hears and nobody remembers is made for nobody.
        let push = (stream.is_some() || heard.is_some()).then(|| {
            let offset = stream.map_or(0, |row| self.history.streams[row].next_offset());
            let body = PushBody::Publication { publication: Arc::clone(publication), offset };
            Arc::new(Push::new(channel.clone(), body))
        });
        let position =
            stream.zip(push.as_ref()).map(|(row, push)| self.remember(context, row, push, size));
        if let Some(key) = key {
            self.note_key(context, channel, key, position);
        }
        if heard.is_none() {
            context.metrics.publications_unheard.increment();
        }
        Ok(Placed { position, heard: heard.zip(push) })
    }

    fn note_key(
        &mut self,
        context: &Context,
        channel: &ChannelName,
        key: Box<str>,
        position: Option<Position>,
    ) {
        let forgotten = self.repeats.note(channel, key, position, context.now.tick);
        context.metrics.keys_forgotten.add(forgotten);
        self.enforce_history_budget(context, Id::NONE);
        self.note_history(context);
    }
}

/// The rules of a channel that can take a publication: where nothing is remembered, its version
/// could be compared with nothing.
fn rules_for<'context>(
    context: &'context Context,
    channel: &ChannelName,
    publication: &Publication,
) -> Result<&'context Namespace, CommandError> {
    let rules = context.settings.namespaces.of(channel).ok_or(CommandError::UnknownNamespace)?;
    let is_remembered = rules.has_history() && publication.is_remembered();
    if publication.version().is_some() && !is_remembered {
        return Err(CommandError::NoHistory);
    }
    Ok(rules)
}
