//! A connection that speaks the Centrifuge protocol in JSON: it is open when the server has
//! answered `connect` and every `subscribe`.

use crate::centrifuge::{
    self, CONNECT, CONNECT_ID, Connected, Line, PING, Push, Refusal, Subscribed,
};
use crate::client::{Client, Phase, Round, frame};
use crate::subscription::Position;
use tidegate_ws::frame::Opcode;

impl Client {
    /// Sends all commands in one frame, as SDKs do.
    pub(super) fn introduce(&self, round: &mut Round<'_>) {
        let mut commands = CONNECT.to_vec();
        for place in 0..self.subscriptions.len() {
            commands.push(b'\n');
            commands.extend(self.subscribe_command(place, round));
        }
        frame(Opcode::Text, &commands, round.replies);
    }

    fn subscribe_command(&self, place: usize, round: &Round<'_>) -> Vec<u8> {
        let channel = round.channels.name_at(self.number, place);
        let position = self.subscriptions[place].position.as_ref();
        centrifuge::subscribe(place, &channel, round.recovers, position)
    }

    /// Takes a frame. An error ends the connection.
    pub(super) fn take_lines(&mut self, lines: &[u8], round: &mut Round<'_>) -> Result<(), String> {
        let mut lines = lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        lines.try_for_each(|line| self.take_line(line, round))
    }

    fn take_line(&mut self, line: &[u8], round: &mut Round<'_>) -> Result<(), String> {
        if line == PING {
            round.tally.note_ping(round.now);
            if self.answers_pings {
                frame(Opcode::Text, PING, round.replies);
            }
            return Ok(());
        }
        let (channels, key) = (round.channels, crc32fast::hash(line));
        let read = |line: &[u8]| Line::publication(line, channels);
        if let Some(publication) = round.verified.read(key, line, read) {
            self.take_publication(&publication, false, round);
            return Ok(());
        }
        match Line::read(line) {
            None => {
                round.tally.damaged += 1;
                Ok(())
            }
            Some(Line { id: 0, push: Some(push), .. }) => self.take_push(&push, round),
            Some(reply) => self.take_reply(reply, round),
        }
    }

    /// Takes a push that is no right publication.
    fn take_push(&mut self, push: &Push<'_>, round: &mut Round<'_>) -> Result<(), String> {
        round.tally.damaged += u64::from(push.publication.is_some());
        let Some(ended) = &push.unsubscribe else { return Ok(()) };
        let mut places = 0..self.subscriptions.len();
        let place =
            places.find(|&place| round.channels.name_at(self.number, place) == push.channel);
        let Some(place) = place.filter(|_| ended.is_temporary()) else {
            let reason = format!("unsubscribed with {} {}", ended.code, ended.reason);
            return Err(reason.trim_end().to_owned());
        };
        round.tally.resubscribed += 1;
        self.subscriptions[place].is_joined = false;
        let command = self.subscribe_command(place, round);
        frame(Opcode::Text, &command, round.replies);
        Ok(())
    }

    fn take_reply(&mut self, reply: Line<'_>, round: &mut Round<'_>) -> Result<(), String> {
        let id = reply.id;
        match reply {
            Line { error: Some(Refusal { code, message }), .. } => {
                let command = if id == CONNECT_ID { "connect" } else { "subscribe" };
                return Err(format!("{command} was refused with {code} {message}"));
            }
            Line { connect: Some(Connected { pong }), .. }
                if id == CONNECT_ID && !self.is_connected =>
            {
                (self.is_connected, self.answers_pings) = (true, pong);
            }
            Line { subscribe: Some(subscribed), .. } => {
                self.take_subscribed(id, subscribed, round)?;
            }
            _ => return Err(stray(id)),
        }
        let is_ready = self.is_connected && self.subscriptions.iter().all(|it| it.is_joined);
        if self.phase == Phase::Joining && is_ready {
            self.phase = Phase::Open;
        }
        Ok(())
    }

    fn take_subscribed(
        &mut self,
        id: u32,
        subscribed: Subscribed<'_>,
        round: &mut Round<'_>,
    ) -> Result<(), String> {
        let place = centrifuge::place_of(id).ok_or_else(|| stray(id))?;
        let awaited = self.subscriptions.get_mut(place).filter(|it| !it.is_joined);
        let subscription = awaited.ok_or_else(|| stray(id))?;
        subscription.join(subscribed.recovered, round.tally);
        subscription.position = (!subscribed.epoch.is_empty())
            .then(|| Position { epoch: subscribed.epoch.into(), offset: subscribed.offset });
        let channel = round.channels.name_at(self.number, place);
        for publication in &subscribed.publications {
            match publication.check(&channel, round.channels) {
                Some(publication) => {
                    self.take_publication(&publication, true, round);
                }
                None => round.tally.damaged += 1,
            }
        }
        Ok(())
    }
}

fn stray(id: u32) -> String {
    format!("a reply to no command, with id {id}")
}
