//! Who comes to a channel by name: let in or not, told where the stream stands, put on the roll.

use std::sync::Arc;

use crate::hub::context::Context;
use crate::hub::context::SECOND;
use crate::hub::home::roll::Roll;
use crate::hub::home::{Home, Record};
use crate::hub::rows::Id;
use crate::mesh::{Attend, Attendance, Attended, Envelope, Standing};
use crate::model::{
    ChannelName, ClientId, ClientInfo, CommandError, EventKind, Overrides, Push, PushBody,
};

impl Home {
    /// Somebody comes.
    pub(in crate::hub) fn handle_attend(&mut self, context: &mut Context, attend: Attend) {
        let shard = attend.attendee.info.client.shard;
        let number = attend.number;
        let result = self.admit(context, &attend);
        let is_admitted = result.is_ok();
        context.post(shard, Envelope::Attended(Box::new(Attended { number, result })));
        if is_admitted {
            self.enroll(context, &attend.channel, attend.attendee.info, attend.attendee.standing);
        }
    }

    fn admit(&mut self, context: &Context, attend: &Attend) -> Result<Attendance, CommandError> {
        let rules = context.rules_of(&attend.channel)?;
        let home = self.record_of(&attend.channel);
        let clients = self.roll_of(home).map_or(0, Roll::clients);
        if rules.subscribers_max > 0 && clients >= rules.subscribers_max {
            return Err(CommandError::SubscriberLimit);
        }
        if !rules.has_history() {
            return Ok(Attendance::default());
        }
        let row = self.stream_of(context, home, rules.history_ttl);
        let stream = &self.history.streams[row];
        let mut attendance =
            Attendance { position: Some(stream.position()), ..Attendance::default() };
        if let Some(position) = attend.attendee.recover {
            let count_max = context.settings.recovery_publications_max;
            let bytes_max = context.settings.reply_bytes_max;
            let age = (context.now.tick, rules.history_ttl.saturating_mul(SECOND));
            let missed = stream.missed(position, age, (count_max, bytes_max));
            attendance.recovered = missed.is_some();
            attendance.missed = missed.unwrap_or_default();
        }
        Ok(attendance)
    }

    fn enroll(
        &mut self,
        context: &mut Context,
        channel: &ChannelName,
        info: Arc<ClientInfo>,
        standing: Standing,
    ) {
        let Ok(rules) = context.rules_of(channel) else { return };
        if !standing.is_on_roll(&rules) {
            return;
        }
        let home = self.record_of(channel);
        if self.records.rows[home].roll == Id::NONE {
            self.records.rows[home].roll = self.rolls.insert(Roll::default());
        }
        let roll = self.records.rows[home].roll;
        let usual = Standing::new(&rules, Overrides::default());
        let exception = (standing != usual).then_some(standing);
        let is_new = self.rolls[roll].add(Arc::clone(&info), exception);
        if is_new {
            context.metrics.enrolled.add(1);
        }
        if is_new && standing.is_announced {
            context.raise_of(&info, EventKind::Joined { channel: channel.clone() });
            let push = Push::new(channel.clone(), PushBody::Join(info));
            self.announce(context, home, &rules, &push.into());
        }
    }

    /// Who is subscribed by name, if anybody.
    pub(in crate::hub) fn roll_of(&self, home: Id<Record>) -> Option<&Roll> {
        let roll = self.records.rows[home].roll;
        (roll != Id::NONE).then(|| &self.rolls[roll])
    }

    /// Somebody who came is gone.
    pub(in crate::hub) fn handle_depart(
        &mut self,
        context: &mut Context,
        channel: &ChannelName,
        client: ClientId,
    ) {
        let Some(home) = self.records.find(channel) else { return };
        let roll = self.records.rows[home].roll;
        if roll == Id::NONE {
            return;
        }
        let Some((info, exception)) = self.rolls[roll].remove(client) else { return };
        context.metrics.enrolled.add(-1);
        if self.rolls[roll].clients() == 0 {
            self.rolls.remove(roll);
            self.records.rows[home].roll = Id::NONE;
        }
        if let Ok(rules) = context.rules_of(channel)
            && exception.map_or(rules.join_leave, |standing| standing.is_announced)
        {
            context.raise_of(&info, EventKind::Left { channel: channel.clone() });
            let push = Push::new(channel.clone(), PushBody::Leave(info));
            self.announce(context, home, &rules, &push.into());
        }
        self.forget_empty(home);
    }

    /// Others see something else of somebody who came.
    pub(in crate::hub) fn inform(&mut self, channel: &ChannelName, info: Arc<ClientInfo>) {
        let roll = self.records.find(channel).map_or(Id::NONE, |home| self.records.rows[home].roll);
        if roll != Id::NONE {
            self.rolls[roll].inform(info);
        }
    }
}
