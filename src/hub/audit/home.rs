//! A home exists while there is something to know, and knows what this shard is in.

use crate::hub::Hub;
use crate::hub::audit::Verdict;
use crate::hub::delivery::is_everyone;
use crate::hub::home::Record;
use crate::hub::named::Named;
use crate::hub::rows::Id;

impl Hub {
    pub(super) fn audit_homes(&self) -> Verdict {
        let (mut count, mut streams, mut rolls, mut users, mut devices) = (0, 0, 0, 0, 0);
        for row in self.home.records.rows.ids() {
            let home = &self.home.records.rows[row];
            let Some(name) = home.name() else { continue };
            hold!(!home.is_empty(), "nothing is known of {name} at its home");
            hold!(self.home.records.find(name) == Some(row), "the home of {name} is not found");
            self.audit_members(home)?;
            self.audit_stream(row, home)?;
            count += 1;
            streams += usize::from(home.stream != Id::NONE);
            rolls += usize::from(home.roll != Id::NONE);
            users += i64::from(!home.sessions.is_empty());
            let has_device = |client| self.home.session_devices.contains_key(client);
            devices += home.sessions.iter().filter(|client| has_device(client)).count();
        }
        hold!(count == self.home.records.rows.len(), "{count} homes are in use");
        hold!(streams == self.home.history.streams.len(), "{streams} streams have a home");
        hold!(rolls == self.home.rolls.len(), "{rolls} rolls have a home");
        hold!(devices == self.home.session_devices.len(), "{devices} devices are of sessions");
        let gauges =
            [&self.context.metrics.users, &self.context.metrics.streams].map(|gauge| gauge.value());
        hold!(gauges == [users, streams as i64], "users and streams are counted {gauges:?}");
        let bytes =
            self.home.history.streams.ids().map(|row| self.home.history.streams[row].bytes());
        let bytes: usize = bytes.sum();
        // A free row reads as a stream that nobody hears.
        let free = self.home.history.streams.height() as usize - streams;
        let bytes = bytes - free * crate::hub::home::stream::STREAM_BYTES;
        hold!(bytes == self.home.history.bytes(), "streams take {bytes} bytes, other than counted");
        let listed: usize = self.home.rolls.ids().map(|row| self.home.rolls[row].clients()).sum();
        let enrolled = self.context.metrics.enrolled.value();
        hold!(enrolled == listed as i64, "{listed} are on rolls, {enrolled} counted");
        self.audit_own_stays()
    }

    /// Each part of the channel in a shard is known once, and those of this shard are there.
    fn audit_members(&self, home: &Record) -> Verdict {
        let name = home.channel_name();
        for (place, &(shard, handle)) in home.members.iter().enumerate() {
            let is_same = |&(other, known): &(_, crate::mesh::Handle)| {
                let part = (known.variant, known.hears_otherwise);
                (other, part) == (shard, (handle.variant, handle.hears_otherwise))
            };
            let is_twice = home.members[..place].iter().any(is_same);
            hold!(!is_twice, "a shard is in one part of {name} twice");
            let row = Id::new(handle.row);
            let is_there = self.delivery.channels.rows.get(row).is_some_and(|channel| {
                channel.name() == Some(name) && channel.handle(row) == handle
            });
            hold!(is_there || shard != self.context.site.shard, "this shard is not in {name}");
        }
        for client in home.sessions.iter().filter(|it| it.shard == self.context.site.shard) {
            hold!(self.row_of(*client).is_some(), "a session of {name} is of nobody here");
        }
        Ok(())
    }

    fn audit_stream(&self, row: Id<Record>, home: &Record) -> Verdict {
        let name = home.channel_name();
        if home.stream != Id::NONE {
            let stream = self.home.history.streams.get(home.stream);
            let is_its = stream.is_some_and(|stream| stream.home == row);
            hold!(is_its, "the stream of {name} is of another home");
            let is_heard = stream.is_some_and(|stream| stream.is_heard);
            hold!(is_heard != home.members.is_empty(), "the stream of {name}: {is_heard}");
        }
        let roll = self.home.roll_of(row);
        hold!(roll.is_none_or(|roll| roll.clients() > 0), "the roll of {name} is empty");
        Ok(())
    }

    /// The home of a channel, if it is this shard, has heard of every part here.
    fn audit_own_stays(&self) -> Verdict {
        for row in self.delivery.channels.rows.ids().filter(|&row| !is_everyone(row)) {
            let channel = &self.delivery.channels.rows[row];
            let Some(name) = channel.name() else { continue };
            if self.context.site.homes.of(name) != self.context.site.shard {
                continue;
            }
            let stay = (self.context.site.shard, channel.handle(row));
            let home = self.home.records.find(name).map(|home| &self.home.records.rows[home]);
            let is_known = home.is_some_and(|home| home.members.contains(&stay));
            hold!(is_known, "the home of {name} has not heard of channel {row:?}");
        }
        Ok(())
    }
}
