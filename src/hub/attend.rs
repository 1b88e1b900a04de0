//! Coming to a channel by name, at its home and at the member shard.
//!
//! A subscriber that wants to know where the stream stands, or that the namespace wants to know by
//! name, *attends*: the home answers with the position and what was missed, on the same link that
//! brings the publications behind that position. So a recovery needs no merging: what lies before
//! the answer on the link is older, what lies behind it is newer.

use std::sync::Arc;

use crate::hub::Hub;
use crate::hub::channel::Channel;
use crate::hub::connection::Connection;
use crate::hub::history::SECOND;
use crate::hub::home::Home;
use crate::hub::managed::Question;
use crate::hub::roll::Roll;
use crate::hub::rows::Id;
use crate::mesh::{Attend, Attendance, Attended, Attendee, Envelope, Standing};
use crate::model::{
    ChannelName, ClientId, ClientInfo, CommandError, EventKind, Overrides, Push, PushBody,
};

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
        let handle = self.channels.rows[part].handle(part);
        let channel = self.channels.rows[part].channel_name().clone();
        let home = self.context.site.homes.of(&channel);
        let is_exceptional =
            attendee.standing.is_announced && !self.context.is_on_roll(&channel, false);
        if is_exceptional && let Some(subscription) = self.subscription_in(row, part) {
            self.enrolled.insert(subscription);
        }
        let attend = Attend { channel, handle, attendee, number: number.number() };
        self.context.post(home, Envelope::Attend(Box::new(attend)));
        number
    }

    /// Home side: somebody comes.
    pub(super) fn handle_attend(&mut self, attend: Attend) {
        let shard = attend.attendee.info.client.shard;
        let number = attend.number;
        let result = self.admit(&attend);
        let is_admitted = result.is_ok();
        self.context.post(shard, Envelope::Attended(Box::new(Attended { number, result })));
        if is_admitted {
            self.enroll(&attend.channel, attend.attendee.info, attend.attendee.standing);
        }
    }

    fn admit(&mut self, attend: &Attend) -> Result<Attendance, CommandError> {
        let rules = self.context.rules_of(&attend.channel)?;
        let home = self.home_row(&attend.channel);
        let clients = self.roll_of(home).map_or(0, Roll::clients);
        if rules.subscribers_max > 0 && clients >= rules.subscribers_max {
            return Err(CommandError::SubscriberLimit);
        }
        if !rules.has_history() {
            return Ok(Attendance::default());
        }
        let row = self.stream_of(home, rules.history_ttl);
        let stream = &self.history.streams[row];
        let mut attendance =
            Attendance { position: Some(stream.position()), ..Attendance::default() };
        if let Some(position) = attend.attendee.recover {
            let count_max = self.context.settings.recovery_publications_max;
            let bytes_max = self.context.settings.reply_bytes_max;
            let age = (self.context.now.tick, rules.history_ttl.saturating_mul(SECOND));
            let missed = stream.missed(position, age, (count_max, bytes_max));
            attendance.recovered = missed.is_some();
            attendance.missed = missed.unwrap_or_default();
        }
        Ok(attendance)
    }

    fn enroll(&mut self, channel: &ChannelName, info: Arc<ClientInfo>, standing: Standing) {
        let Ok(rules) = self.context.rules_of(channel) else { return };
        if !standing.is_on_roll(&rules) {
            return;
        }
        let home = self.home_row(channel);
        if self.homes.rows[home].roll == Id::NONE {
            self.homes.rows[home].roll = self.rolls.insert(Roll::default());
        }
        let roll = self.homes.rows[home].roll;
        let usual = Standing::new(&rules, Overrides::default());
        let exception = (standing != usual).then_some(standing);
        let is_new = self.rolls[roll].add(Arc::clone(&info), exception);
        if is_new {
            self.context.metrics.enrolled.add(1);
        }
        if is_new && standing.is_announced {
            self.context.raise_of(&info, EventKind::Joined { channel: channel.clone() });
            let push = Push::new(channel.clone(), PushBody::Join(info));
            self.announce(home, &rules, &push.into());
        }
    }

    /// Who is subscribed by name, if anybody.
    pub(super) fn roll_of(&self, home: Id<Home>) -> Option<&Roll> {
        let roll = self.homes.rows[home].roll;
        (roll != Id::NONE).then(|| &self.rolls[roll])
    }

    /// Home side: somebody who came is gone.
    pub(super) fn handle_depart(&mut self, channel: &ChannelName, client: ClientId) {
        let Some(home) = self.homes.find(channel) else { return };
        let roll = self.homes.rows[home].roll;
        if roll == Id::NONE {
            return;
        }
        let Some((info, exception)) = self.rolls[roll].remove(client) else { return };
        self.context.metrics.enrolled.add(-1);
        if self.rolls[roll].clients() == 0 {
            self.rolls.remove(roll);
            self.homes.rows[home].roll = Id::NONE;
        }
        if let Ok(rules) = self.context.rules_of(channel)
            && exception.map_or(rules.join_leave, |standing| standing.is_announced)
        {
            self.context.raise_of(&info, EventKind::Left { channel: channel.clone() });
            let push = Push::new(channel.clone(), PushBody::Leave(info));
            self.announce(home, &rules, &push.into());
        }
        self.forget_empty_home(home);
    }

    /// Tells the home that a connection that came is gone.
    pub(super) fn depart(&mut self, channel: &ChannelName, client: ClientId, is_exception: bool) {
        if self.context.is_on_roll(channel, is_exception) {
            let home = self.context.site.homes.of(channel);
            self.context.post(home, Envelope::Depart { channel: channel.clone(), client });
        }
    }
}
