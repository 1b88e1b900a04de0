//! One connection as its client has it: says what its dialect asks for, and judges what it hears.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::dialect::{
    Ask, Dialect, Subscribed, Told, command, frame, greeting, joined, masked, pong, told,
};
use super::ledger::{Channel, Fault, Kind, Ledger, Verdict, View};
use crate::random::Random;

/// The frames of a server, by their first byte.
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The answer to its handshake has not come.
    Greeting,
    /// It has to say who it is, and to be told that this is well.
    Connecting,
    /// It is there.
    Open,
    /// It was refused, with this status.
    Refused(u16),
    /// The server has closed, with this code.
    Closed(u16),
}

/// A command without an answer.
#[derive(Debug)]
enum Asked {
    Connect,
    /// To hear a channel; what was carried out by then, and the position that was named.
    Subscribe(Channel, usize, Option<(String, u64)>),
    Unsubscribe(Channel),
    Publish,
}

/// What a client is like.
#[derive(Clone, Debug)]
pub(crate) struct Nature {
    pub(crate) dialect: Dialect,
    /// The path and query of its request.
    pub(crate) path: String,
    /// The token of a managed client.
    pub(crate) token: String,
    /// What it is subscribed to as soon as it is there.
    pub(crate) joins: Vec<Channel>,
    /// Whether it answers pings.
    pub(crate) answers: bool,
    /// Whether it answers a close frame.
    pub(crate) says_goodbye: bool,
    /// Whether it says what comes after its handshake before that is answered.
    pub(crate) is_hasty: bool,
}

impl Nature {
    /// Nobody in particular, who does what a client should and asks for nothing.
    pub(crate) fn steady(dialect: Dialect, path: &str) -> Self {
        Self {
            dialect,
            path: path.to_owned(),
            token: String::new(),
            joins: vec![],
            answers: true,
            says_goodbye: true,
            is_hasty: false,
        }
    }
}

/// A client.
#[derive(Debug)]
pub(crate) struct Peer {
    nature: Nature,
    pub(crate) stage: Stage,
    pub(crate) views: BTreeMap<Channel, View>,
    /// Where it stood in channels with history: what it names when it subscribes again.
    pub(crate) positions: HashMap<Channel, (String, u64)>,
    /// Its name, as the server has it.
    pub(crate) client: String,
    /// What happened that a run should meet.
    pub(crate) met: Vec<String>,
    /// What everybody hears.
    everyone: Channel,
    floors: HashMap<Channel, usize>,
    input: Vec<u8>,
    output: Vec<u8>,
    asked: HashMap<u32, Asked>,
    last_id: u32,
    echoes: VecDeque<Vec<u8>>,
    /// Pings of its own that were not answered.
    pings: u32,
    random: Random,
}

impl Peer {
    /// A client that is about to connect; the last channel is what everybody hears.
    pub(crate) fn new(nature: Nature, ledger: &Ledger, seed: u64) -> Self {
        let output = greeting(&nature.path, nature.dialect);
        let everyone = ledger.tracks.len() - 1;
        let floors = (0..=everyone).map(|channel| (channel, ledger.handled(channel))).collect();
        let mut peer = Self {
            nature,
            stage: Stage::Greeting,
            views: BTreeMap::new(),
            positions: HashMap::new(),
            client: String::new(),
            met: Vec::new(),
            everyone,
            floors,
            input: Vec::new(),
            output,
            asked: HashMap::new(),
            last_id: 0,
            echoes: VecDeque::new(),
            pings: 0,
            random: Random::new(seed),
        };
        if peer.nature.is_hasty && peer.nature.dialect.is_managed() {
            peer.ask_to_connect();
        }
        peer
    }

    fn ask_to_connect(&mut self) {
        let token = self.nature.token.clone();
        self.ask(Asked::Connect, &Ask::Connect(&token));
    }

    /// How it speaks.
    pub(crate) fn dialect(&self) -> Dialect {
        self.nature.dialect
    }

    /// Whether it answers pings.
    pub(crate) fn answers(&self) -> bool {
        self.nature.answers
    }

    /// What it has to say.
    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Whether it waits for nothing.
    pub(crate) fn is_answered(&self) -> bool {
        self.asked.is_empty() && self.echoes.is_empty() && self.pings == 0
    }

    /// Says a message or a control frame. A message may come in two frames, with a ping between.
    fn say(&mut self, opcode: u8, payload: &[u8]) {
        let is_message = opcode < 8;
        if !is_message || !self.random.chance(20) {
            return self.say_frame(0x80 | opcode, payload);
        }
        let (first, second) = payload.split_at(self.random.below(payload.len() + 1));
        self.say_frame(opcode, first);
        if self.random.chance(30) {
            self.pings += 1;
            self.say_frame(PING, b"?");
        }
        self.say_frame(0x80, second);
    }

    fn say_frame(&mut self, first: u8, payload: &[u8]) {
        let frame = masked(first, payload, &mut self.random);
        self.output.extend(frame);
    }

    /// Says what no server takes: a frame without a mask, or one that is too long.
    pub(crate) fn break_rules(&mut self) {
        let frames = [&[0x81, 1, b'?'][..], &[0x81, 0xfe, 0xff, 0xff, 0, 0, 0, 0]];
        let frame = self.random.pick(&frames);
        self.output.extend(frame);
    }

    /// Sends a message of its own.
    pub(crate) fn send(&mut self, payload: &[u8]) {
        if self.nature.dialect == Dialect::Echo {
            self.echoes.push_back(payload.to_vec());
        }
        self.say(1, payload);
    }

    /// Says that it closes.
    pub(crate) fn close(&mut self, code: u16) {
        self.say(8, &code.to_be_bytes());
    }

    fn ask(&mut self, asked: Asked, ask: &Ask<'_>) {
        let (opcode, payload) = self.command(asked, ask);
        self.say(opcode, &payload);
    }

    fn command(&mut self, asked: Asked, ask: &Ask<'_>) -> (u8, Vec<u8>) {
        self.last_id += 1;
        self.asked.insert(self.last_id, asked);
        command(self.nature.dialect, self.last_id, ask)
    }

    /// Subscribes, unless that is asked for or there already.
    pub(crate) fn subscribe(&mut self, channel: Channel, ledger: &Ledger) {
        let is_asked = self.asked.values().any(|asked| {
            matches!(asked, Asked::Subscribe(it, ..) | Asked::Unsubscribe(it) if *it == channel)
        });
        if is_asked || self.views.contains_key(&channel) || self.stage != Stage::Open {
            return;
        }
        let position = self.positions.get(&channel).cloned();
        let claim = position.clone();
        let asked = Asked::Subscribe(channel, ledger.handled(channel), position);
        let claim = claim.as_ref().map(|(epoch, offset)| (epoch.as_str(), *offset));
        self.ask(asked, &Ask::Subscribe(&ledger.tracks[channel].name, claim));
    }

    /// Leaves a channel.
    pub(crate) fn unsubscribe(&mut self, channel: Channel, ledger: &Ledger) {
        let is_asked = |asked: &Asked| matches!(asked, Asked::Unsubscribe(it) if *it == channel);
        if self.views.contains_key(&channel) && !self.asked.values().any(is_asked) {
            self.ask(Asked::Unsubscribe(channel), &Ask::Unsubscribe(&ledger.tracks[channel].name));
        }
    }

    /// Says something in a channel, as often as that, in one message.
    pub(crate) fn publish(&mut self, channel: Channel, count: usize, ledger: &mut Ledger) {
        let mut commands = Vec::with_capacity(count);
        for _ in 0..count {
            let size = self.random.pick(&[0, 10, 300]);
            let (_, payload) = ledger.publish(channel, size);
            let ask = Ask::Publish(&ledger.tracks[channel].name, &payload);
            commands.push(self.command(Asked::Publish, &ask).1);
        }
        let opcode = if self.nature.dialect == Dialect::Json { 1 } else { 2 };
        self.say(opcode, &joined(self.nature.dialect, &commands));
    }

    /// Some bytes have come.
    pub(crate) fn hear(&mut self, bytes: &[u8], ledger: &mut Ledger) -> Verdict {
        self.input.extend_from_slice(bytes);
        if self.stage == Stage::Greeting && !self.hear_answer(ledger)? {
            return Ok(());
        }
        let input = std::mem::take(&mut self.input);
        let mut rest = &input[..];
        if matches!(self.stage, Stage::Refused(_)) {
            return Ok(());
        }
        while let Some((first, payload, size)) = frame(rest) {
            self.hear_frame(first, payload, ledger)?;
            rest = &rest[size..];
        }
        self.input = rest.to_vec();
        Ok(())
    }

    /// The answer to the handshake, once it is whole.
    fn hear_answer(&mut self, ledger: &Ledger) -> Result<bool, (Fault, String)> {
        let end = self.input.windows(4).position(|four| four == b"\r\n\r\n");
        let Some(end) = end else { return Ok(false) };
        let head: Vec<u8> = self.input.drain(..end + 4).collect();
        let status = head.get(9..12).and_then(|it| std::str::from_utf8(it).ok()?.parse().ok());
        let Some(status) = status.filter(|_| head.starts_with(b"HTTP/1.1 ")) else {
            return Err((Fault::Torn, String::from_utf8_lossy(&head).into_owned()));
        };
        if status != 101 {
            self.met.push(format!("refused: {status}"));
            self.stage = Stage::Refused(status);
            return Ok(true);
        }
        if self.nature.dialect.is_managed() {
            self.stage = Stage::Connecting;
            if !self.nature.is_hasty {
                self.ask_to_connect();
            }
            return Ok(true);
        }
        self.stage = Stage::Open;
        let everybody = (self.nature.dialect == Dialect::Raw).then_some(self.everyone);
        for channel in self.nature.joins.clone().into_iter().chain(everybody) {
            self.begin(channel, ledger);
        }
        Ok(true)
    }

    /// A subscription is there that begins with whatever comes next.
    fn begin(&mut self, channel: Channel, ledger: &Ledger) {
        let view = View::new(self.floors[&channel], ledger.count(channel));
        self.views.insert(channel, view);
    }

    fn hear_frame(&mut self, first: u8, payload: &[u8], ledger: &mut Ledger) -> Verdict {
        if let Stage::Closed(code) = self.stage {
            return Err((Fault::AfterClose, format!("frame {first:x} after close {code}")));
        }
        match first {
            CLOSE => {
                let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                self.met.push(format!("closed: {code}"));
                self.stage = Stage::Closed(code);
                if self.nature.says_goodbye {
                    self.say(8, &code.to_be_bytes());
                }
                Ok(())
            }
            PING if self.nature.answers => {
                self.say(10, payload);
                Ok(())
            }
            PING => Ok(()),
            PONG if payload == b"?" && self.pings > 0 => {
                self.pings -= 1;
                Ok(())
            }
            TEXT | BINARY => match self.nature.dialect {
                Dialect::Raw => self.hear_publication(payload, None, ledger),
                Dialect::Echo if self.echoes.pop_front().as_deref() == Some(payload) => Ok(()),
                Dialect::Echo => Err((Fault::Foreign, "an echo of something else".into())),
                Dialect::Json | Dialect::Protobuf => {
                    let all = told(self.nature.dialect, payload).ok_or_else(|| {
                        (Fault::Torn, format!("told: {}", String::from_utf8_lossy(payload)))
                    })?;
                    all.into_iter().try_for_each(|told| self.hear_told(told, ledger))
                }
            },
            first => Err((Fault::Torn, format!("a frame that begins with {first:x}"))),
        }
    }

    fn hear_publication(
        &mut self,
        bytes: &[u8],
        offset: Option<u64>,
        ledger: &mut Ledger,
    ) -> Verdict {
        let (channel, place) = ledger.place_of(bytes, offset)?;
        let Some(view) = self.views.get_mut(&channel) else {
            let name = &ledger.tracks[channel].name;
            return Err((Fault::Foreign, format!("{place} of {name}, which it does not hear")));
        };
        view.hear(place)?;
        if let Some((_, position)) = self.positions.get_mut(&channel) {
            *position = place as u64 + 1;
        }
        Ok(())
    }

    fn hear_told(&mut self, told: Told, ledger: &mut Ledger) -> Verdict {
        let foreign = |what: String| Err((Fault::Foreign, what));
        match told {
            Told::Ping => {
                if self.nature.answers {
                    let (opcode, payload) = pong(self.nature.dialect);
                    self.say(opcode, payload);
                }
            }
            Told::Publication(name, (offset, data)) => {
                let heard = ledger.place(&name);
                let said = ledger.place_of(&data, Some(offset))?.0;
                if heard != Some(said) {
                    return foreign(format!("something of {said} in {name}"));
                }
                return self.hear_publication(&data, Some(offset), ledger);
            }
            Told::Given(name, result) => {
                let Some(channel) = ledger.place(&name) else { return foreign(name) };
                if self.views.contains_key(&channel) {
                    return foreign(format!("{name} is given, which it hears"));
                }
                self.met.push("given a channel".into());
                return self.subscribed(channel, (0, None), result, ledger);
            }
            Told::Message(data) => {
                if ledger.place_of(&data, None)?.0 != self.everyone {
                    return foreign("something of a channel as a message to everybody".into());
                }
                return self.hear_publication(&data, None, ledger);
            }
            Told::Unsubscribed(name, code) => {
                self.met.push(format!("unsubscribed: {code}"));
                let channel = ledger.place(&name);
                if channel.and_then(|channel| self.views.remove(&channel)).is_none() {
                    return foreign(format!("{name} is taken away, which it does not hear"));
                }
            }
            Told::Seen => {}
            Told::Error(id, code) => match self.asked.remove(&id) {
                Some(Asked::Connect) if code != 109 => {
                    return foreign(format!("connect fails with {code}"));
                }
                Some(_) => self.met.push(format!("error: {code}")),
                None => return foreign(format!("error {code} without a command")),
            },
            Told::Connected(id, client, subs) => {
                if !matches!(self.asked.remove(&id), Some(Asked::Connect)) {
                    return foreign("connected twice".into());
                }
                self.client = client;
                return self.connected(subs, ledger);
            }
            Told::Subscribed(id, result) => {
                let Some(Asked::Subscribe(channel, floor, claim)) = self.asked.remove(&id) else {
                    return foreign("subscribed without a command".into());
                };
                return self.subscribed(channel, (floor, claim), result, ledger);
            }
            Told::Done(id) => match self.asked.remove(&id) {
                Some(Asked::Unsubscribe(channel)) => {
                    self.views.remove(&channel);
                    self.positions.remove(&channel);
                }
                Some(Asked::Publish) => {}
                asked => return foreign(format!("the answer to {asked:?}")),
            },
        }
        Ok(())
    }

    /// It is there, with what its user hears, and asks for what else it wants to hear.
    fn connected(&mut self, subs: Vec<(String, Subscribed)>, ledger: &mut Ledger) -> Verdict {
        self.stage = Stage::Open;
        self.begin(self.everyone, ledger);
        for (name, result) in subs {
            let Some(channel) = ledger.place(&name) else { return Err((Fault::Foreign, name)) };
            let floor = self.floors[&channel];
            self.subscribed(channel, (floor, None), result, ledger)?;
        }
        for channel in self.nature.joins.clone() {
            self.subscribe(channel, ledger);
        }
        Ok(())
    }

    fn subscribed(
        &mut self,
        channel: Channel,
        (floor, claim): (usize, Option<(String, u64)>),
        result: Subscribed,
        ledger: &mut Ledger,
    ) -> Verdict {
        if ledger.tracks[channel].kind == Kind::Plain {
            self.views.insert(channel, View::new(floor, ledger.count(channel)));
            return Ok(());
        }
        let Subscribed { epoch, offset, is_recovered, missed } = result;
        if is_recovered {
            if claim != Some((epoch.clone(), offset)) {
                return Err((Fault::Foreign, format!("{offset} is not where it stood")));
            }
            self.met
                .push(format!("recovered: {}", if missed.is_empty() { "none" } else { "some" }));
        } else {
            if claim.is_some() {
                self.met.push("not recovered".into());
            }
            if (offset as usize) < floor || !missed.is_empty() {
                return Err((Fault::Stale, format!("it stands at {offset}, not {floor}")));
            }
        }
        self.views.insert(channel, View::at(offset as usize));
        self.positions.insert(channel, (epoch, offset));
        for (offset, data) in missed {
            self.hear_publication(&data, Some(offset), ledger)?;
        }
        Ok(())
    }

    /// Everything has arrived.
    pub(crate) fn finish(&self, ledger: &Ledger) -> Verdict {
        if !self.input.is_empty() {
            return Err((Fault::Torn, format!("{} bytes of a frame", self.input.len())));
        }
        if !self.is_answered() {
            return Err((Fault::Missing, format!("answers: {:?}", self.asked)));
        }
        self.views.iter().try_for_each(|(&channel, view)| {
            let name = &ledger.tracks[channel].name;
            let fault = |(fault, text)| (fault, format!("{text} in {name}"));
            view.finish(ledger.count(channel)).map_err(fault)
        })
    }
}
