//! What backends and operators do, and what they are told.

use std::collections::HashSet;

use tidegate::model::{Command, HistoryFilter, Outcome, SubscribeOptions, Target};

use super::course::Course;
use super::ledger::{Channel, Kind};
use super::setup::{self, ROOM, ROOMS, TALK, USERS};

impl Course {
    /// Operators and backends do something.
    pub(super) fn interfere(&mut self) {
        let world = &mut self.world;
        let now = world.kernel.borrow().now;
        match world.random.below(20) {
            0..8 => self.dismiss(),
            8 if self.has_jams => world.jammed_until = now + 300_000_000,
            9 if self.is_told_anew => {
                world.configure(setup::seeded);
                world.coverage.note("told anew");
            }
            10 => self.shorten_a_session(),
            11 => {
                let command = Command::HistoryRemove { channel: world.name(ROOM) };
                world.command(0, command, None);
            }
            _ => self.give_or_take(),
        }
    }

    /// The sessions of a user are to end soon.
    fn shorten_a_session(&mut self) {
        let world = &mut self.world;
        let user = world.random.below(USERS);
        let target = Target::User { personal: world.name(user), device: None };
        let expires_at = Some(world.second() + 1);
        world.command(1, Command::Refresh { target, expires_at, info: None }, None);
    }

    /// A managed client is given a channel, or one is taken away.
    fn give_or_take(&mut self) {
        let world = &mut self.world;
        let there = world.clients.iter().filter(|client| !client.is_gone);
        let managed: Vec<_> = there.filter_map(|it| it.peer.client.parse().ok()).collect();
        if managed.is_empty() {
            return;
        }
        let target = Target::Client(world.random.pick(&managed));
        let channel = ROOMS.start + world.random.below(ROOMS.len());
        let channels = vec![world.name(channel)];
        let command = if world.random.chance(50) {
            Command::Unsubscribe { target, channels }
        } else {
            let options = SubscribeOptions::default();
            Command::Subscribe { target, channels, options }
        };
        world.command(0, command, None);
    }

    /// A backend ends the sessions of a user, and sometimes revokes its tokens.
    fn dismiss(&mut self) {
        let world = &mut self.world;
        let user = world.random.below(USERS);
        let revoke = world.random.chance(20);
        let target = Target::User { personal: world.name(user), device: None };
        let reason = "dismissed".into();
        let command =
            Command::Disconnect { target, except: Vec::new(), code: 4000, reason, revoke };
        world.command(1, command, None);
        if revoke {
            self.revoked.insert(user, world.second());
        }
    }

    /// Who is in channels with presence, as a backend hears it.
    pub(super) fn check_presence(&mut self) {
        let is_kept =
            |channel: &Channel| self.world.ledger.tracks[*channel].kind == Kind::Remembered;
        for channel in ROOMS.filter(is_kept).collect::<Vec<_>>() {
            let command = Command::Presence { channel: self.world.name(channel) };
            let before = self.there();
            let number = self.world.command(0, command, None);
            while !self.world.outcomes.contains_key(&number) {
                self.world.pass(1);
            }
            let Some(Outcome::Presence(list)) = self.world.outcomes.remove(&number) else {
                panic!("another answer")
            };
            self.world.pass(5);
            if before != self.there() {
                // Somebody's time was over.
                continue;
            }
            let told: HashSet<_> = list.iter().map(|info| info.client.to_string()).collect();
            let clients = self.world.clients.iter().filter(|client| !client.is_gone);
            let there: Vec<_> =
                clients.filter(|client| client.peer.views.contains_key(&channel)).collect();
            assert_eq!(told.len(), there.len(), "how many are in channel {channel}");
            // Raw clients do not know what they are called.
            let named = there.iter().filter(|client| client.peer.dialect().is_managed());
            for client in named {
                assert!(told.contains(&client.peer.client), "{client:#?} is in channel {channel}");
            }
        }
    }

    /// What channels remember is what was published, to the last of it.
    pub(super) fn check_history(&mut self) {
        for channel in [ROOM, ROOM + 1, TALK] {
            let filter = HistoryFilter { limit: None, since: None, reverse: false };
            let command = Command::History { channel: self.world.name(channel), filter };
            let number = self.world.command(0, command, None);
            while !self.world.outcomes.contains_key(&number) {
                self.world.pass(1);
            }
            let Some(Outcome::History(pushes, position)) = self.world.outcomes.remove(&number)
            else {
                panic!("another answer")
            };
            let ledger = &mut self.world.ledger;
            for push in pushes {
                let publication = push.publication().expect("a history has nothing else");
                let place = ledger.place_of(&publication.payload(), Some(push.offset()));
                assert_eq!(place, Ok((channel, push.offset() as usize - 1)));
            }
            assert_eq!(position.offset as usize, ledger.count(channel), "the end of {channel}");
        }
    }
}
