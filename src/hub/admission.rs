//! What the answer of a home makes of a subscription: it begins, with what was missed or without,
//! or it ends.

use std::sync::Arc;

use bytes::Bytes;

use crate::hub::delivery::connection::{Connection, HELD};
use crate::hub::managed::{Origin, Question, Stage, Subscription};
use crate::hub::requests::{client_error, object_bytes};
use crate::hub::rows::Id;
use crate::hub::{Cause, Effect, Hub};
use crate::mesh::{Attendance, Attended};
use crate::model::{
    ChannelName, ClientError, CommandError, PersonalPush, Position, Push, Reply, SubscribeResult,
};
use crate::protocol::centrifuge::encode_personal_push;
use crate::ws::close::CloseCode;

impl Hub {
    /// Member side: the home has answered.
    pub(super) fn handle_attended(&mut self, attended: Attended) {
        let number = Id::new(attended.number);
        match self.questions.remove(number) {
            Question::Nothing | Question::Command(..) => {}
            Question::Opening(client, channel, joining) => {
                if let Err(error) = attended.result {
                    self.joinings[joining].error = Some(error);
                    if let Some(row) = self.row_of(client) {
                        self.refuse_joining(row, &channel, error);
                    }
                }
                self.arrive(joining);
            }
            Question::Subscription(client, subscription) => {
                let row = self.row_of(client);
                if let Some(managed) = row.and_then(|row| self.managed.get_mut(&row)) {
                    managed.questions -= 1;
                }
                self.end_question(row, number, *subscription, attended.result);
                if let Some(row) = row {
                    self.unpark(row);
                }
            }
        }
    }

    fn end_question(
        &mut self,
        row: Option<Id<Connection>>,
        number: Id<Question>,
        subscription: Subscription,
        result: Result<Attendance, CommandError>,
    ) {
        let error = result.as_ref().err().copied();
        let is_there = |row: &Id<Connection>| {
            let terms = self.terms_of(*row, &subscription.channel);
            terms.is_some_and(|terms| terms.pending == Some(number))
        };
        if let Some(row) = row.filter(is_there) {
            let result = result.map(|attendance| self.settle(row, &subscription, attendance));
            match (subscription.origin, result) {
                (Origin::Client(id), Ok(result))
                    if subscription.rejects_unrecovered
                        && result.was_recovering
                        && !result.recovered =>
                {
                    self.drop_subscription(row, &subscription.channel, Cause::Command);
                    self.reply(row, id, &Reply::Error(ClientError::UnrecoverablePosition.into()));
                }
                (Origin::Client(id), Ok(result)) => {
                    self.reply(row, id, &Reply::Subscribe(&result));
                }
                (Origin::Client(id), Err(error)) => {
                    self.drop_subscription(row, &subscription.channel, Cause::Command);
                    self.reply(row, id, &Reply::Error(client_error(error).into()));
                }
                (Origin::Connect(_), Ok(result)) => {
                    let managed = self.managed.get_mut(&row);
                    if let Some(Stage::Connecting(connecting)) =
                        managed.map(|managed| &mut managed.stage)
                    {
                        connecting.subs.push((subscription.channel, result));
                    }
                }
                (Origin::Backend(_), Ok(result)) => {
                    self.announce_subscription(row, &subscription.channel, &result);
                }
                (Origin::Connect(_), Err(_))
                    if self.personal_of(row).as_ref() == Some(&subscription.channel) =>
                {
                    let code = CloseCode::NO_ROOM;
                    self.begin_close(row, code, "too many subscribers", Cause::Evicted);
                }
                (Origin::Connect(_) | Origin::Backend(_), Err(_)) => {
                    self.drop_subscription(row, &subscription.channel, Cause::Command);
                }
            }
        }
        if let Origin::Connect(joining) | Origin::Backend(joining) = subscription.origin {
            self.joinings[joining].error = self.joinings[joining].error.or(error);
            self.arrive(joining);
        }
    }

    /// The subscription begins: what the home passes on from here on is owed.
    fn settle(
        &mut self,
        row: Id<Connection>,
        subscription: &Subscription,
        mut attendance: Attendance,
    ) -> SubscribeResult {
        let at = self.delivery.subscription_of(row, &subscription.channel).expect("it has terms");
        let place = self.delivery.subscriptions[at];
        self.delivery.begin_at_head(place.channel, place.member);
        if self.delivery.connections[row].is(HELD) {
            self.delivery.lag(row, place.channel, place.member);
        }
        let conditions = self.conditions_of(subscription);
        if let Some(terms) = self.terms_in_mut(row, place.channel) {
            terms.pending = None;
        }
        if subscription.grant.expires_at.is_some() {
            self.context.effects.push_back(Effect::Expiry(row.number()));
        }
        let claim = &subscription.claim;
        if claim.recover && conditions.is_recoverable {
            self.judge_recovery(row, subscription.origin, &mut attendance);
        }
        let position = attendance.position.filter(|_| conditions.is_positioned);
        let position = position.map(|position| Position {
            // The client advances by the publications that it is given.
            offset: if attendance.recovered { claim.offset } else { position.offset },
            ..position
        });
        SubscribeResult {
            ttl: subscription.grant.expires_at.map(|at| self.seconds_until(at)),
            position,
            recoverable: conditions.is_recoverable,
            was_recovering: claim.recover,
            recovered: attendance.recovered,
            publications: attendance.missed,
            data: subscription.grant.data.clone(),
        }
    }

    /// A recovery is told to be none if the connection has no room for it.
    fn judge_recovery(&mut self, row: Id<Connection>, origin: Origin, attendance: &mut Attendance) {
        let variant = self.delivery.connections[row].variant;
        let length = |push: &Arc<Push>| match origin {
            // No reply repeats them: they follow as they are.
            Origin::Backend(_) => push.frame(variant).map_or(0, Bytes::len),
            Origin::Client(_) | Origin::Connect(_) => object_bytes(push, variant),
        };
        let bytes = attendance.missed.iter().map(length).sum();
        if attendance.recovered && self.delivery.reserve(&self.context, row, bytes) {
            self.context.metrics.recoveries.increment();
            self.context.metrics.recovered.add(attendance.missed.len() as u64);
        } else {
            (attendance.recovered, attendance.missed) = (false, Vec::new());
            self.context.metrics.recoveries_failed.increment();
        }
    }

    /// Tells a connection that a backend has subscribed it. The push has no place for what the
    /// client missed: that follows as if it were published now.
    fn announce_subscription(
        &mut self,
        row: Id<Connection>,
        channel: &ChannelName,
        result: &SubscribeResult,
    ) {
        let variant = self.delivery.connections[row].variant;
        let mut frames = Vec::new();
        encode_personal_push(variant, &PersonalPush::Subscribe(channel, result), &mut frames);
        for frame in result.publications.iter().filter_map(|missed| missed.frame(variant)) {
            frames.extend_from_slice(frame);
        }
        self.delivery.append(&self.context, row, &frames);
    }
}
