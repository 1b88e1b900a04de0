//! The sessions of users: who begins one, who has to go for it, and whose tokens are revoked.

use crate::hub::{Effect, Hub};
use crate::mesh::{Enter, Envelope, Refusal};
use crate::model::{ChannelName, ClientId, EventKind, Target};

/// For how long a home remembers by itself whom it revoked. A session whose token was verified
/// before that may still be on its way here, and none is on its way for so long.
pub(in crate::hub) const REVOCATION_SECONDS: u64 = 600;

impl Hub {
    /// Home side: a session of the user begins, if it may.
    pub(in crate::hub) fn handle_enter(&mut self, enter: Enter) {
        if self.is_revoked(&enter) {
            let (client, refusal) = (enter.client, Some(Refusal::Revoked));
            return self.context.post(client.shard, Envelope::Entered { client, refusal });
        }
        let Enter { personal, client, device, .. } = enter;
        let row = self.home_row(&personal);
        let home = &mut self.homes.rows[row];
        let sessions_max = self.context.settings.sessions_per_user_max;
        let is_full = home.sessions.len() >= sessions_max;
        let mut refusal = None;
        if is_full && !self.context.settings.evict_oldest {
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
                self.context.post(client.shard, Envelope::Evict { client });
            }
            if is_first {
                self.context.metrics.users.add(1);
                self.raise_for(client, Some(personal), EventKind::UserOnline);
            }
        }
        self.context.post(client.shard, Envelope::Entered { client, refusal });
    }

    /// Home side: whether a session's token was revoked after its shard had verified it. From the
    /// moment that a session is known here, the command that revokes reaches it.
    fn is_revoked(&self, enter: &Enter) -> bool {
        let user = enter.personal.user().unwrap_or_default();
        let device = enter.device.as_deref();
        enter.issued_at.is_some_and(|second| self.revocations.covers(user, device, Some(second)))
    }

    /// Home side: tokens of a user that were made up to now are to be refused.
    pub(in crate::hub) fn revoke(&mut self, personal: &ChannelName, device: Option<&str>) {
        let (user, second) = (personal.user().unwrap_or_default(), self.context.now.unix);
        self.revocations.revoke(user, device, second);
        let effect = Effect::Revoke(personal.clone(), device.map(Box::from), second);
        self.context.effects.push_back(effect);
    }

    /// Home side: a session of the user has ended.
    pub(in crate::hub) fn handle_exit(&mut self, personal: &ChannelName, client: ClientId) {
        let Some(row) = self.homes.find(personal) else { return };
        let home = &mut self.homes.rows[row];
        if home.exit(client) && home.sessions.is_empty() {
            self.context.metrics.users.add(-1);
            self.raise_for(client, Some(personal.clone()), EventKind::UserOffline);
        }
        self.session_devices.remove(&client);
        self.forget_empty_home(row);
    }

    /// Whose sessions a command is about.
    pub(in crate::hub) fn sessions_of(&self, target: &Target) -> Vec<ClientId> {
        match target {
            Target::Client(client) => vec![*client],
            Target::User { personal, .. } => self
                .homes
                .find(personal)
                .map_or_else(Vec::new, |row| self.homes.rows[row].sessions.to_vec()),
        }
    }

    /// Tells backends about something that a home knows of a session.
    pub(in crate::hub) fn raise_for(
        &mut self,
        client: ClientId,
        personal: Option<ChannelName>,
        kind: EventKind,
    ) {
        let mut event = self.context.event(client, personal, kind);
        event.device = self.session_devices.get(&client).cloned();
        self.context.tell(event);
    }
}
