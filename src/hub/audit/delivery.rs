//! What is owed is written down, and whoever is owed something will be served.

use std::collections::{HashMap, HashSet};

use crate::hub::Hub;
use crate::hub::audit::Verdict;
use crate::hub::delivery::channel::{Channel, Round};
use crate::hub::delivery::connection::{BLOCKED, CATCHING_UP, Connection, Cursor, HELD, Phase};
use crate::hub::delivery::{EVERYONE, everyone_in, is_everyone};
use crate::hub::named::Named;
use crate::hub::rows::Id;
use crate::model::Variant;

impl Hub {
    pub(super) fn audit_delivery(&self) -> Verdict {
        self.audit_channels()?;
        self.audit_outboxes()?;
        self.audit_lagging()?;
        self.audit_everyone()
    }

    fn audit_channels(&self) -> Verdict {
        let mut queued: HashMap<Id<Channel>, usize> = HashMap::new();
        for &(row, stay) in &self.delivery.queues.dirty {
            if self.delivery.channels.rows.get(row).is_some_and(|it| it.generation == stay) {
                *queued.entry(row).or_default() += 1;
            }
        }
        let (mut parts, mut members, mut bytes, mut congested) = (0, 0, 0, 0);
        for row in self.delivery.channels.rows.ids() {
            let channel = &self.delivery.channels.rows[row];
            let count = channel.members.len();
            let Some(name) = channel.name() else {
                hold!(count == 0 && channel.round.is_none(), "channel {row:?} is free and in use");
                continue;
            };
            let found = self.delivery.channels.find_distinct(name, channel.distinction());
            hold!(found == Some(row), "channel {row:?} is not found by its name");
            hold!(count > 0 || is_everyone(row), "channel {row:?} has no members");
            let joining = channel.members.iter().filter(|it| it.cursor == Cursor::BEYOND).count();
            hold!(channel.joining as usize == joining, "channel {row:?}: {joining} are joining");
            audit_cursors(row, channel, queued.get(&row).copied().unwrap_or(0))?;
            parts += 1;
            members += if is_everyone(row) { 0 } else { count };
            bytes += channel.round.as_ref().map_or(0, |round| round.log.bytes());
            congested += u32::from(channel.round.as_ref().is_some_and(|it| it.is_congested));
        }
        hold!(parts == self.delivery.channels.rows.len(), "{parts} parts of channels are not free");
        hold!(
            members == self.delivery.subscriptions.len(),
            "{members} members have no subscription each"
        );
        hold!(
            bytes == self.delivery.tally.log_bytes,
            "logs hold {bytes} bytes, other than counted"
        );
        hold!(congested == self.delivery.tally.congested, "{congested} logs are too long");
        let gauge = self.context.metrics.channels.value() + i64::from(EVERYONE);
        hold!(gauge == parts as i64, "{gauge} channels are counted, {parts} there");
        Ok(())
    }

    /// An outbox belongs to one connection, and something will make it go on.
    fn audit_outboxes(&self) -> Verdict {
        let queued: HashSet<Id<Connection>> =
            self.delivery.queues.catching_up.iter().copied().collect();
        let (mut bytes, mut count, mut blocked) = (0, 0, 0);
        for row in self.delivery.connections.ids() {
            let connection = &self.delivery.connections[row];
            let is_queued = connection.is(CATCHING_UP);
            hold!(!is_queued || queued.contains(&row), "connection {row:?} is in no queue");
            let is_blocked = connection.is(BLOCKED) && connection.phase != Phase::Gone;
            blocked += i64::from(is_blocked);
            let Some(outbox) = self.delivery.outboxes.get(connection.outbox) else {
                let is_none = connection.outbox == Id::NONE;
                hold!(is_none && !is_blocked, "connection {row:?} has lost its outbox");
                continue;
            };
            hold!(outbox.connection == row, "connection {row:?} has the outbox of another");
            let is_open = matches!(connection.phase, Phase::Open | Phase::Closing);
            hold!(is_open, "connection {row:?} has an outbox and is not open");
            let will_go_on = is_blocked || is_queued || connection.is(HELD);
            hold!(will_go_on, "nobody will send what waits for connection {row:?}");
            if let Some((channel, rest)) = outbox.unfinished {
                let member = self.delivery.find_member(row, channel);
                let lag = member.map_or(0, |member| self.delivery.lag_of(channel, member));
                hold!(lag >= u64::from(rest), "connection {row:?} is owed no rest of a frame");
            }
            bytes += outbox.waiting().len();
            count += 1;
        }
        hold!(count == self.delivery.outboxes.len(), "{count} outboxes belong to somebody");
        hold!(
            bytes == self.delivery.tally.outbox_bytes,
            "outboxes hold {bytes} bytes, other than counted"
        );
        let gauge = self.context.metrics.lagging.value();
        hold!(gauge == blocked, "{gauge} full sockets are counted, {blocked} there");
        Ok(())
    }

    /// Whom rounds pass by is served from its outbox's list.
    fn audit_lagging(&self) -> Verdict {
        let mut listed: HashSet<(Id<Connection>, Id<Channel>)> = HashSet::new();
        for row in self.delivery.outboxes.ids() {
            let outbox = &self.delivery.outboxes[row];
            listed.extend(outbox.lagging.iter().map(|&channel| (outbox.connection, channel)));
        }
        for row in self.delivery.channels.rows.ids() {
            for member in
                self.delivery.channels.rows[row].members.iter().filter(|it| it.cursor.lags())
            {
                let connection = member.connection;
                let is_served = listed.contains(&(connection, row));
                let leaves = self.leavers.has(connection);
                hold!(is_served || leaves, "nobody serves {connection:?}, which lags in {row:?}");
            }
        }
        Ok(())
    }

    fn audit_everyone(&self) -> Verdict {
        for variant in Variant::ALL {
            let row = everyone_in(variant);
            let everyone = &self.delivery.channels.rows[row];
            let is_over = everyone.round.is_none();
            hold!(!is_over || everyone.members.is_empty(), "a broadcast in {variant:?} is over");
            let mut members = everyone.members.iter().zip(0..);
            let is_itself = members.all(|(member, place)| member.connection.number() == place);
            hold!(is_itself, "members of everybody in {variant:?} are not connections by number");
            let count = self
                .delivery
                .connections
                .ids()
                .filter(|&it| self.delivery.is_in_everyone(it, variant));
            let (count, counted) = (count.count(), self.delivery.tally.everyone[variant as usize]);
            hold!(count == counted as usize, "{count} in {variant:?} take part, {counted} counted");
        }
        Ok(())
    }
}

/// A round exists exactly when something is owed, and no cursor is where the log is not.
fn audit_cursors(row: Id<Channel>, channel: &Channel, queued: usize) -> Verdict {
    let lagging = channel.members.iter().filter(|member| member.cursor.lags()).count();
    let Some(round) = &channel.round else {
        hold!(lagging == 0 && queued == 0, "channel {row:?} has work and no log");
        let is_behind = channel.members.iter().any(|it| it.cursor.position() < channel.head);
        hold!(!is_behind, "channel {row:?} owes something and has no log");
        return Ok(());
    };
    let Round { ref log, walk, is_queued, .. } = **round;
    hold!(is_queued || lagging > 0, "channel {row:?} has a log that nobody needs");
    hold!(usize::from(is_queued) == queued, "channel {row:?} is queued {queued} times");
    hold!(is_queued || log.unserved_bytes() == 0, "channel {row:?} has a pass that nobody does");
    hold!(round.lagging as usize == lagging, "channel {row:?}: {lagging} lag, other than counted");
    hold!(walk as usize <= channel.members.len(), "channel {row:?} walks beyond its members");
    hold!(log.head() == channel.head, "channel {row:?} has a log with another head");
    let floor = channel.head - log.unserved_bytes() as u64;
    for (member, place) in channel.members.iter().zip(0..) {
        let (cursor, position) = (member.cursor, member.cursor.position());
        let least = if cursor.lags() { log.tail() } else { floor.max(log.tail()) };
        let is_right = cursor == Cursor::BEYOND || (least..=channel.head).contains(&position);
        hold!(is_right, "channel {row:?}, member {place}: a cursor at {position}");
    }
    Ok(())
}
