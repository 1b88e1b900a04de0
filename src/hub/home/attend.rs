//! Who comes to a channel by name: let in or not, told where the stream stands, put on the roll.

use std::sync::Arc;

use crate::hub::Hub;
use crate::hub::home::Record;
use crate::hub::home::history::SECOND;
use crate::hub::home::roll::Roll;
use crate::hub::rows::Id;
use crate::mesh::{Attend, Attendance, Attended, Envelope, Standing};
use crate::model::{
    ChannelName, ClientId, ClientInfo, CommandError, EventKind, Overrides, Push, PushBody,
};

impl Hub {
    /// Home side: somebody comes.
    pub(in crate::hub) fn handle_attend(&mut self, attend: Attend) {
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
    pub(in crate::hub) fn roll_of(&self, home: Id<Record>) -> Option<&Roll> {
        let roll = self.homes.rows[home].roll;
        (roll != Id::NONE).then(|| &self.rolls[roll])
    }

    /// Home side: somebody who came is gone.
    pub(in crate::hub) fn handle_depart(&mut self, channel: &ChannelName, client: ClientId) {
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

    /// Home side: others see something else of somebody who came.
    pub(in crate::hub) fn inform(&mut self, channel: &ChannelName, info: Arc<ClientInfo>) {
        let roll = self.homes.find(channel).map_or(Id::NONE, |home| self.homes.rows[home].roll);
        if roll != Id::NONE {
            self.rolls[roll].inform(info);
        }
    }
}
