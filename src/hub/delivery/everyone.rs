//! Broadcasts to everybody: channels whose members are connections by number, while something is to
//! be delivered in them.

use bytes::Bytes;

use crate::hub::Cause;
use crate::hub::context::Context;
use crate::hub::delivery::Delivery;
use crate::hub::delivery::connection::{Connection, Cursor, IS_DETACHED_FROM_ALL, Member, Phase};
use crate::hub::delivery::everyone_in;
use crate::hub::rows::Id;
use crate::model::{Publication, Variant};

impl Delivery {
    pub(in crate::hub) fn broadcast_to_everyone(
        &mut self,
        context: &Context,
        variant: Variant,
        frame: &Bytes,
        publication: &Publication,
    ) -> Option<Id<Connection>> {
        let channel = everyone_in(variant);
        let except = publication.except().and_then(|client| self.row_of(context, client));
        let except = except.filter(|&row| self.is_in_everyone(row, variant));
        if let Some(row) = except
            && !self.channels.rows[channel].members.is_empty()
        {
            self.move_rest_to_outbox(context, row, channel);
        }
        if self.channels.rows[channel].members.is_empty() {
            let everyone = &mut self.channels.rows[channel];
            let cursor = Cursor::at(everyone.head);
            let member = |connection| Member { connection, subscription: Id::NONE, cursor };
            everyone.members = self.connections.ids().map(member).collect();
        }
        self.broadcast(context, channel, frame, publication.received_nanos());
        if let Some(row) = except {
            self.skip_to_head(row, channel);
        }
        except
    }

    pub(in crate::hub) fn is_in_everyone(&self, row: Id<Connection>, variant: Variant) -> bool {
        let connection = &self.connections[row];
        connection.phase == Phase::Open
            && !connection.is(IS_DETACHED_FROM_ALL)
            && connection.variant == variant
    }

    /// An open connection takes part in broadcasts to everybody from here on.
    pub(in crate::hub) fn join_everyone(&mut self, context: &Context, row: Id<Connection>) {
        self.tally.everyone[self.connections[row].variant as usize] += 1;
        self.reset_in_everyone(context, row, None);
    }

    pub(in crate::hub) fn leave_everyone(
        &mut self,
        context: &Context,
        row: Id<Connection>,
        cause: Cause,
    ) {
        let connection = &self.connections[row];
        if connection.phase == Phase::Open && !connection.is(IS_DETACHED_FROM_ALL) {
            self.tally.everyone[connection.variant as usize] -= 1;
            self.reset_in_everyone(context, row, Some(cause));
        }
    }

    /// In a broadcast to everybody under way, this row begins at the head, or leaves.
    fn reset_in_everyone(&mut self, context: &Context, row: Id<Connection>, leaves: Option<Cause>) {
        let channel = everyone_in(self.connections[row].variant);
        let everyone = &mut self.channels.rows[channel];
        let head = everyone.head;
        if everyone.round.is_none() {
            return;
        }
        let member = row.number();
        while everyone.members.len() <= member as usize {
            let connection = Id::new(everyone.members.len() as u32);
            let (subscription, cursor) = (Id::NONE, Cursor::at(head));
            everyone.members.push(Member { connection, subscription, cursor });
        }
        let boundary = self.boundary_of(row, channel, member);
        let everyone = &mut self.channels.rows[channel];
        let round = everyone.round.as_mut().expect("seen above");
        let cursor = &mut everyone.members[member as usize].cursor;
        if let Some(cause) = leaves {
            cause.count_dropped(&context.metrics, round.log.frames_after(boundary));
        }
        round.lagging -= u32::from(cursor.lags());
        *cursor = Cursor::at(head);
        self.release_round(context, channel);
    }
}
