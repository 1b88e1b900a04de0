//! Who a client is to others in a channel.
//!
//! What the connection token says of it is the same everywhere; what a subscription token or a
//! backend says holds in one channel. Few subscriptions have such words of their own, so those are
//! kept aside, and a publication of any other costs nothing for them.

use std::sync::Arc;

use crate::hub::Hub;
use crate::hub::delivery::channel::Channel;
use crate::hub::delivery::connection::Connection;
use crate::hub::rows::Id;
use crate::mesh::Envelope;
use crate::model::{ChannelName, ClientInfo};

impl Hub {
    /// A connection's subscription begins in which others see this of it beside what they see
    /// everywhere. `channel` is the channel's row. Returns all of it.
    pub(super) fn be_known(
        &mut self,
        row: Id<Connection>,
        channel: Id<Channel>,
        text: Option<&str>,
    ) -> Arc<ClientInfo> {
        let info = self.managed[&row].info.as_ref().expect("it has said who it is");
        let Some(text) = text else { return Arc::clone(info) };
        let info = ClientInfo { channel: Some(text.into()), ..ClientInfo::clone(info) };
        let info = Arc::new(info);
        if let Some(subscription) = self.delivery.subscription_in(row, channel) {
            self.infos.insert(subscription, Arc::clone(&info));
        }
        info
    }

    /// Who a connected client is to others in a channel, whether it is subscribed or not.
    pub(super) fn info_in(&self, row: Id<Connection>, channel: &ChannelName) -> &Arc<ClientInfo> {
        let everywhere = self.managed[&row].info.as_ref().expect("it is connected");
        if self.infos.is_empty() {
            return everywhere;
        }
        let subscription = self.delivery.subscription_of(row, channel);
        subscription.and_then(|at| self.infos.get(&at)).unwrap_or(everywhere)
    }

    /// What others see of a managed connection in all channels is now something else: at once in
    /// presence, and in what it does from now on.
    pub(super) fn change_info(&mut self, row: Id<Connection>, text: &str) {
        let Some(managed) = self.managed.get_mut(&row) else { return };
        let Some(info) = &mut managed.info else { return };
        if info.connection.as_deref() == Some(text) {
            return;
        }
        Arc::make_mut(info).connection = Some(text.into());
        let channels: Vec<Id<Channel>> = managed.terms.iter().map(|terms| terms.channel).collect();
        for channel in channels {
            let subscription = self.delivery.subscription_in(row, channel);
            let own = subscription.and_then(|at| self.infos.get_mut(&at));
            if let Some(info) = own {
                Arc::make_mut(info).connection = Some(text.into());
            }
            self.tell_info(row, channel);
        }
    }

    /// The same for what they see in one channel alone; `channel` is its row.
    pub(super) fn change_channel_info(
        &mut self,
        row: Id<Connection>,
        channel: Id<Channel>,
        text: Option<&str>,
    ) {
        let Some(subscription) = self.delivery.subscription_in(row, channel) else { return };
        let known = self.infos.get(&subscription).and_then(|info| info.channel.as_deref());
        if known == text {
            return;
        }
        self.infos.remove(&subscription);
        self.be_known(row, channel, text);
        self.tell_info(row, channel);
    }

    /// Lets the home know if it lists the connection.
    fn tell_info(&mut self, row: Id<Connection>, channel: Id<Channel>) {
        let subscription = self.delivery.subscription_in(row, channel);
        let is_exception = subscription.is_some_and(|at| self.enrolled.contains(&at));
        let channel = self.delivery.channels.rows[channel].channel_name().clone();
        if self.context.is_on_roll(&channel, is_exception) {
            let home = self.context.site.homes.of(&channel);
            let info = Arc::clone(self.info_in(row, &channel));
            self.context.post(home, Envelope::Inform { channel, info });
        }
    }
}
