//! The sessions of users: who begins one, who has to go for it, and whose tokens are revoked.

use crate::hub::Effect;
use crate::hub::context::Context;
use crate::hub::home::Home;
use crate::mesh::{Enter, Envelope, Refusal};
use crate::model::{ChannelName, ClientId, EventKind, Target};

/// For how long a home remembers by itself whom it revoked. A session whose token was verified
/// before that may still be on its way here, and none is on its way for so long.
pub(super) const REVOCATION_SECONDS: u64 = 600;

impl Home {
    /// A session of the user begins, if it may.
    pub(in crate::hub) fn handle_enter(&mut self, context: &mut Context, enter: Enter) {
        if self.is_revoked(&enter) {
            let (client, refusal) = (enter.client, Some(Refusal::Revoked));
            return context.post(client.shard, Envelope::Entered { client, refusal });
        }
        let Enter { personal, client, device, .. } = enter;
        let row = self.record_of(&personal);
        let home = &mut self.records.rows[row];
        let sessions_max = context.settings.sessions_per_user_max;
        let is_full = home.sessions.len() >= sessions_max;
        let mut refusal = None;
        if is_full && !context.settings.evict_oldest {
            refusal = Some(Refusal::SessionLimit);
        } else {
            let is_first = home.sessions.is_empty();
            let too_many = (home.sessions.len() + 1).saturating_sub(sessions_max);
            let oldest: Vec<_> = home.sessions.drain(..too_many).collect();
            home.enter(client);
            if let Some(device) = device {
                self.session_devices.insert(client, device);
            }
            for client in oldest {
                self.session_devices.remove(&client);
                context.post(client.shard, Envelope::Evict { client });
            }
            if is_first {
                context.metrics.users.add(1);
                self.raise_for(context, client, Some(personal), EventKind::UserOnline);
            }
        }
        context.post(client.shard, Envelope::Entered { client, refusal });
    }

    /// Whether a session's token was revoked after its shard had verified it. From the
    /// moment that a session is known here, the command that revokes reaches it.
    fn is_revoked(&self, enter: &Enter) -> bool {
        let user = enter.personal.user().unwrap_or_default();
        let device = enter.device.as_deref();
        enter.issued_at.is_some_and(|second| self.revocations.covers(user, device, Some(second)))
    }

    /// Tokens of a user that were made up to now are to be refused.
    pub(in crate::hub) fn revoke(
        &mut self,
        context: &mut Context,
        personal: &ChannelName,
        device: Option<&str>,
    ) {
        let (user, second) = (personal.user().unwrap_or_default(), context.now.unix);
        self.revocations.revoke(user, device, second);
        let effect = Effect::Revoke(personal.clone(), device.map(Box::from), second);
        context.effects.push_back(effect);
    }

    /// A session of the user has ended.
    pub(in crate::hub) fn handle_exit(
        &mut self,
        context: &mut Context,
        personal: &ChannelName,
        client: ClientId,
    ) {
        let Some(row) = self.records.find(personal) else { return };
        let home = &mut self.records.rows[row];
        if home.exit(client) && home.sessions.is_empty() {
            context.metrics.users.add(-1);
            self.raise_for(context, client, Some(personal.clone()), EventKind::UserOffline);
        }
        self.session_devices.remove(&client);
        self.forget_empty(row);
    }

    /// Whose sessions a command is about.
    pub(in crate::hub) fn sessions_of(&self, target: &Target) -> Vec<ClientId> {
        match target {
            Target::Client(client) => vec![*client],
            Target::User { personal, .. } => self
                .records
                .find(personal)
                .map_or_else(Vec::new, |row| self.records.rows[row].sessions.to_vec()),
        }
    }

    /// Tells backends about something that a home knows of a session.
    fn raise_for(
        &self,
        context: &mut Context,
        client: ClientId,
        personal: Option<ChannelName>,
        kind: EventKind,
    ) {
        let mut event = context.event(client, personal, kind);
        event.device = self.session_devices.get(&client).cloned();
        context.tell(event);
    }
}
