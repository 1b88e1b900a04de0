//! Coming to a channel by name, at its home and at the member shard.
//!
//! A subscriber that wants to know where the stream stands, or that the namespace wants to know by
//! name, *attends*: the home answers with the position and what was missed, on the same link that
//! brings the publications behind that position. So a recovery needs no merging: what lies before
//! the answer on the link is older, what lies behind it is newer.

use crate::hub::Hub;
use crate::hub::delivery::channel::Channel;
use crate::hub::delivery::connection::Connection;
use crate::hub::managed::Question;
use crate::hub::rows::Id;
use crate::mesh::{Attend, Attendee, Envelope};
use crate::model::{ChannelName, ClientId};

impl Hub {
    /// Asks the home of a channel of which the connection has just become a member. Returns the
    /// question's number, which the answer has too.
    pub(super) fn attend(
        &mut self,
        row: Id<Connection>,
        part: Id<Channel>,
        attendee: Attendee,
        question: Question,
    ) -> Id<Question> {
        let number = self.questions.insert(question);
        let handle = self.delivery.channels.rows[part].handle(part);
        let channel = self.delivery.channels.rows[part].channel_name().clone();
        let home = self.context.site.homes.of(&channel);
        let is_exceptional =
            attendee.standing.is_announced && !self.context.is_on_roll(&channel, false);
        if is_exceptional && let Some(subscription) = self.delivery.subscription_in(row, part) {
            self.enrolled.insert(subscription);
        }
        let attend = Attend { channel, handle, attendee, number: number.number() };
        self.context.post(home, Envelope::Attend(Box::new(attend)));
        number
    }

    /// Tells the home that a connection that came is gone.
    pub(super) fn depart(&mut self, channel: &ChannelName, client: ClientId, is_exception: bool) {
        if self.context.is_on_roll(channel, is_exception) {
            let home = self.context.site.homes.of(channel);
            self.context.post(home, Envelope::Depart { channel: channel.clone(), client });
        }
    }
}
