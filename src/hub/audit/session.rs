//! Whoever waits will be told, and what is agreed belongs to a subscription.

use std::collections::{HashMap, HashSet};

use crate::hub::Hub;
use crate::hub::audit::Verdict;
use crate::hub::delivery::channel::Channel;
use crate::hub::delivery::connection::{Connection, Cursor, HELD, Phase, Subscription};
use crate::hub::joining::{Joining, Then};
use crate::hub::managed::{Managed, Origin, Question, Stage, Terms};
use crate::hub::named::Named;
use crate::hub::rows::Id;
use crate::model::ClientId;

impl Hub {
    pub(super) fn audit_sessions(&self, subscriptions: &HashSet<Id<Subscription>>) -> Verdict {
        let has = |row: &Id<Subscription>| subscriptions.contains(row);
        hold!(self.enrolled.iter().all(has), "an exception belongs to no subscription");
        hold!(self.infos.keys().all(has), "an info belongs to no subscription");
        self.audit_joinings()?;
        self.audit_questions()?;
        self.audit_queues()?;
        let mut parked = 0;
        for row in self.delivery.connections.ids() {
            self.audit_begun(row)?;
            self.audit_index(row)?;
            if let Some(managed) = self.managed.get(&row) {
                self.audit_managed(row, managed)?;
                parked += managed.parked.len() as i64;
            }
        }
        let gauge = self.context.metrics.commands_parked.value();
        hold!(gauge == parked, "{gauge} commands are counted that wait, {parked} there");
        Ok(())
    }

    /// Every joining waits for as many answers as are to come, and somebody waits for it.
    fn audit_joinings(&self) -> Verdict {
        let mut awaited: HashMap<Id<Joining>, u32> = HashMap::new();
        for (&channel, waiting) in &self.waiting {
            let is_there =
                self.delivery.channels.rows.get(channel).is_some_and(|it| it.name().is_some());
            hold!(is_there, "somebody waits for channel {channel:?}, which is gone");
            waiting.iter().for_each(|&joining| *awaited.entry(joining).or_default() += 1);
        }
        for row in self.questions.ids() {
            match self.questions[row] {
                Question::Opening(_, _, joining) => *awaited.entry(joining).or_default() += 1,
                Question::Subscription(_, ref subscription) => match subscription.origin {
                    Origin::Connect(joining) | Origin::Backend(joining) => {
                        *awaited.entry(joining).or_default() += 1;
                    }
                    Origin::Client(_) => {}
                },
                Question::Nothing | Question::Command(..) => {}
            }
        }
        let mut count = 0;
        for row in self.joinings.ids() {
            let Joining { remaining, awaits_entry, ref then, .. } = self.joinings[row];
            let wanted = awaited.get(&row).copied().unwrap_or(0) + u32::from(awaits_entry);
            hold!(remaining == wanted, "joining {row:?} waits for {remaining} of {wanted}");
            count += usize::from(remaining > 0);
            let is_known = match *then {
                Then::Nothing | Then::Answer(_) => true,
                Then::Open(connection) => self.openings.get(&connection) == Some(&row),
                Then::Connect(connection) => self.connecting(connection) == Some(row),
            };
            hold!(is_known, "nobody waits for joining {row:?}");
        }
        hold!(count == self.joinings.len(), "{count} joinings wait for something");
        Ok(())
    }

    fn audit_questions(&self) -> Verdict {
        let mut asked: HashMap<ClientId, u16> = HashMap::new();
        let mut count = 0;
        for row in self.questions.ids() {
            match self.questions[row] {
                Question::Nothing => continue,
                Question::Opening(..) => {}
                Question::Subscription(client, _) | Question::Command(client, ..) => {
                    *asked.entry(client).or_default() += 1;
                }
            }
            count += 1;
        }
        hold!(count == self.questions.len(), "{count} questions are open");
        for (&row, managed) in &self.managed {
            let open = asked.get(&self.identity(row)).copied().unwrap_or(0);
            hold!(managed.questions == open, "connection {row:?} has {open} open questions");
        }
        Ok(())
    }

    /// Who waits for time or room, and who leaves, stands in one queue.
    fn audit_queues(&self) -> Verdict {
        let waiting = self.crowds.waiting.iter().chain(&self.crowds.later);
        let count = waiting.clone().count();
        let is_known = waiting.clone().all(|client| self.crowds.known.contains(client));
        let is_all = is_known && count == self.crowds.known.len();
        hold!(is_all, "{count} connections wait for time, other than known");
        let leavers = &self.leavers;
        let is_known = leavers.queue.iter().all(|&row| leavers.has(row));
        let is_all = is_known && leavers.queue.len() == leavers.causes.len();
        hold!(is_all, "those that leave are not those that are queued");
        Ok(())
    }

    /// Open means subscribed: whose subscriptions have not begun waits for a home.
    fn audit_begun(&self, row: Id<Connection>) -> Verdict {
        let phase = self.delivery.connections[row].phase;
        if self.leavers.has(row) {
            return Ok(());
        }
        for at in self.delivery.subscriptions_of(row) {
            let Subscription { channel, member, .. } = self.delivery.subscriptions[at];
            let cursor = self.delivery.channels.rows[channel].members[member as usize].cursor;
            let is_pending = match self.terms_in(row, channel) {
                Some(terms) => terms.pending.is_some(),
                None => matches!(phase, Phase::Joining | Phase::Attached),
            };
            let has_begun = cursor != Cursor::BEYOND;
            let what = if has_begun { "begun before" } else { "not begun after" };
            hold!(has_begun != is_pending, "connection {row:?} has {what} {channel:?} said so");
        }
        Ok(())
    }

    /// Who has many subscriptions finds each of them.
    fn audit_index(&self, row: Id<Connection>) -> Verdict {
        let count = usize::from(self.delivery.connections[row].subscription_count);
        let table = self.delivery.indexes.tables.get(&row);
        hold!(
            table.is_some() == self.delivery.has_many(row),
            "connection {row:?} has {count} and an index"
        );
        let Some(table) = table else { return Ok(()) };
        let is_found = |at| {
            self.delivery.subscription_in(row, self.delivery.subscriptions[at].channel) == Some(at)
        };
        let is_right = table.len() == count && self.delivery.subscriptions_of(row).all(is_found);
        hold!(is_right, "connection {row:?} does not find its subscriptions");
        Ok(())
    }

    fn audit_managed(&self, row: Id<Connection>, managed: &Managed) -> Verdict {
        let connection = &self.delivery.connections[row];
        let is_connecting = matches!(managed.stage, Stage::Connecting(_));
        hold!(connection.is(HELD) == is_connecting, "connection {row:?} is held, or is not");
        let is_named = managed.info.is_some();
        let is_connected = matches!(managed.stage, Stage::Connected);
        hold!(is_named || !is_connected, "connection {row:?} is connected as nobody");
        let agreed = managed.terms.len();
        let wanted =
            if connection.phase == Phase::Open { connection.subscription_count } else { 0 };
        hold!(agreed == usize::from(wanted), "connection {row:?}: terms of {agreed} subscriptions");
        for terms in &managed.terms {
            let found = self.terms_in(row, terms.channel).map(|it| it.channel);
            hold!(found == Some(terms.channel), "connection {row:?} does not find its terms");
            self.audit_pending(row, terms)?;
        }
        // Whatever holds up commands makes them go on when it is over.
        let will_go_on = is_connecting
            || managed.is_verifying
            || managed.questions > 0
            || connection.outbox != Id::NONE
            || self.crowds.known.contains(&self.identity(row));
        hold!(managed.parked.is_empty() || will_go_on, "connection {row:?} waits for nothing");
        Ok(())
    }

    fn audit_pending(&self, row: Id<Connection>, terms: &Terms) -> Verdict {
        let Some(number) = terms.pending else { return Ok(()) };
        let name = self.delivery.channels.rows.get(terms.channel).and_then(Channel::name);
        let is_asked = match self.questions.get(number) {
            Some(Question::Subscription(client, subscription)) => {
                *client == self.identity(row) && Some(&subscription.channel) == name
            }
            _ => false,
        };
        hold!(is_asked, "connection {row:?} waits for an answer that nobody was asked for");
        Ok(())
    }
}
