//! What backends and clients do: everything there is, in a mixture that the seed decides.

use std::sync::Arc;

use tidegate::hub::{Cause, Session};
use tidegate::mesh::Envelope;
use tidegate::model::{
    ChannelName, ClientId, Command, Publication, ShardId, SubscribeOptions, Target, Ticket,
};
use tidegate::ws::{CloseCode, Opcode};

use crate::checker::{Channel, EVERYONE};
use crate::coverage::Coverage;
use crate::random::Random;
use crate::world::{State, World};

const USERS: usize = 5;
const CHANNELS: usize = 7;
const DEVICES: [&str; 3] = ["phone", "tablet", "watch"];

/// One run: a world, and how its inhabitants behave.
#[derive(Debug)]
pub(crate) struct Run {
    world: World,
    /// So many connections are there at most.
    connections_max: usize,
    /// The size of most publications, and of the largest.
    sizes: [usize; 2],
    /// In so many of a hundred sessions, one certain channel is among those asked for.
    crowd_percent: usize,
    /// So many of a hundred publications are large.
    large_percent: usize,
    /// In so many of a hundred steps, backends or clients do something.
    busy_percent: usize,
    requests: u32,
    /// Hubs have other settings now and then.
    is_told_anew: bool,
}

impl Run {
    /// The run of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let users = (0..USERS).map(|user| ChannelName::personal(&user.to_string()));
        let channels = (0..CHANNELS).map(|number| ChannelName::parse(&[b'a' + number as u8]));
        let names = users.chain(channels).collect::<Result<_, _>>().expect("valid names");
        let mut world = World::new(seed, names);
        let random = &mut world.random;
        let connections_max = random.pick(&[3, 12, 12, 40, 40, 150]);
        let sizes = [random.pick(&[8, 60, 600]), random.pick(&[300, 20_000, 70_000, 70_000])];
        let large_percent = if connections_max <= 12 { random.pick(&[5, 60, 60]) } else { 5 };
        let crowd_percent = random.pick(&[0, 0, 90]);
        let busy_percent = random.pick(&[10, 25, 50]);
        Self {
            world,
            connections_max,
            sizes,
            crowd_percent,
            large_percent,
            busy_percent,
            requests: 0,
            // Seeds that once failed stay what they were.
            is_told_anew: seed.is_multiple_of(5),
        }
    }

    /// Goes so many steps, with a rest in between now and then, and to the end.
    pub(crate) fn go(mut self, steps: usize) -> Coverage {
        while self.world.present.len() < self.connections_max {
            self.arrive();
        }
        for step in 0..steps {
            self.step();
            self.world.audit();
            if step % 500 == 499 && self.world.random.chance(50) {
                self.rest();
            }
            if step % 300 == 299 && self.is_told_anew {
                self.world.configure();
            }
        }
        self.rest();
        self.world.end();
        self.world.model.coverage
    }

    fn step(&mut self) {
        let world = &mut self.world;
        world.now += 1;
        let shard = world.random.below(world.shards.len());
        if world.random.chance(self.busy_percent) {
            return self.act();
        }
        match world.random.below(20) {
            0..7 => world.receive(shard),
            7..14 => world.flush(shard),
            14..17 => world.drain(),
            17..19 => world.tend(),
            _ => {
                let until = world.now + world.random.below(200) as u64;
                let World { network, random, .. } = world;
                network.jam(random, until);
            }
        }
    }

    /// The world becomes quiet, and everybody is written to once more.
    fn rest(&mut self) {
        self.world.settle();
        self.world.check_quiet();
        for channel in (0..self.world.names.len()).chain([EVERYONE]) {
            self.publish(vec![channel], None, None);
        }
        self.world.settle();
        self.world.check_quiet();
    }

    fn act(&mut self) {
        match self.world.random.below(100) {
            0..18 => self.arrive(),
            18..30 => self.enter(),
            30..60 => self.publish_something(),
            60..75 => self.change_subscriptions(),
            75..83 => {
                let size = self.world.random.below(100);
                self.with_somebody(|world, index| world.reply(index, size));
            }
            83..88 => self.with_somebody(|world, index| {
                world.connections[index].socket.is_gone = true;
            }),
            88..91 => {
                for _ in 0..1 + self.world.random.below(4) {
                    self.with_somebody(World::detach);
                }
            }
            91..95 => self.with_somebody(|world, index| {
                if world.connections[index].state == State::Open {
                    world.close(index, CloseCode::NORMAL, Cause::Peer);
                }
            }),
            _ => self.disconnect(),
        }
    }

    fn with_somebody(&mut self, action: impl FnOnce(&mut World, usize)) {
        if !self.world.present.is_empty() {
            let place = self.world.random.below(self.world.present.len());
            let index = self.world.present[place];
            action(&mut self.world, index);
        }
    }

    fn arrive(&mut self) {
        // In bursts: then several wait for the same home.
        for _ in 0..1 + self.world.random.below(1 + self.connections_max / 10) {
            if self.world.present.len() >= self.connections_max {
                return;
            }
            let mut channels = self.channels(4);
            let random = &mut self.world.random;
            let crowded = &self.world.names[USERS];
            if random.chance(self.crowd_percent) && !channels.contains(crowded) {
                channels.push(crowded.clone());
            }
            let user = random.chance(70).then(|| random.below(USERS));
            let session = Session {
                personal: user.map(|user| self.world.names[user].clone()),
                device: device(random, 40),
                channels,
                is_apart: random.chance(8),
                ..Session::default()
            };
            self.world.attach(session);
        }
    }

    fn enter(&mut self) {
        for index in self.world.present.clone() {
            if self.world.random.chance(70) {
                self.world.enter(index);
            }
        }
    }

    fn channels(&mut self, most: usize) -> Vec<ChannelName> {
        let random = &mut self.world.random;
        let mut places: Vec<usize> =
            (0..random.below(most + 1)).map(|_| USERS + random.below(CHANNELS)).collect();
        places.sort_unstable();
        places.dedup();
        places.iter().map(|&place| self.world.names[place].clone()).collect()
    }

    fn client(&mut self) -> Option<ClientId> {
        let subscribers = &self.world.model.subscribers;
        // Mostly somebody who came lately, sometimes somebody who is long gone.
        let recent = subscribers.len().min(if self.world.random.chance(90) { 30 } else { 3000 });
        let back = if recent == 0 { return None } else { self.world.random.below(recent) };
        let place = subscribers.len() - 1 - back;
        Some(subscribers[place].client)
    }

    fn target(&mut self) -> Option<Target> {
        if self.world.random.chance(60) {
            return self.client().map(Target::Client);
        }
        let random = &mut self.world.random;
        let personal = self.world.names[random.below(USERS)].clone();
        Some(Target::User { personal, device: device(random, 30) })
    }

    fn publish_something(&mut self) {
        let except = if self.world.random.chance(20) { self.client() } else { None };
        let random = &mut self.world.random;
        let (channels, device) = match random.below(10) {
            0..3 if self.crowd_percent > 0 => (vec![USERS], None),
            0..6 => (vec![random.below(USERS + CHANNELS)], None),
            6 => (vec![random.below(USERS)], device(random, 80)),
            7 => {
                let mut list: Vec<Channel> =
                    (0..2 + random.below(4)).map(|_| random.below(USERS + CHANNELS)).collect();
                list.sort_unstable();
                list.dedup();
                (list, device(random, 10))
            }
            _ => (vec![EVERYONE], None),
        };
        for _ in 0..1 + self.world.random.below(3) {
            self.publish(channels.clone(), except, device.clone());
        }
    }

    /// Publishes to a channel, a list of channels or everybody.
    fn publish(&mut self, list: Vec<Channel>, except: Option<ClientId>, device: Option<Box<str>>) {
        let World { random, model, now, .. } = &mut self.world;
        let size = if random.chance(self.large_percent) { self.sizes[1] } else { self.sizes[0] };
        let size = 8 + random.below(size);
        let number = model.library.add(list.clone(), random.chance(50), size);
        let message = &model.library.0[number as usize];
        let is_text = message.opcode == Opcode::Text;
        let publication = Publication::new(is_text, &message.payload, *now * 1000)
            .with_except(except)
            .with_device(device);
        let publication = Arc::new(publication);
        let commands = match *list {
            [EVERYONE] => (0..self.world.shards.len())
                .map(|shard| {
                    let publication = Arc::clone(&publication);
                    (shard, Command::PublishAll { publication })
                })
                .collect(),
            [channel] => {
                let channel = self.world.names[channel].clone();
                let home = self.world.homes.of(&channel).index();
                vec![(home, Command::Publish { channel, publication, key: None })]
            }
            _ => self.broadcast(&list, &publication),
        };
        self.ask(commands);
    }

    /// One command for each home of a list of channels.
    fn broadcast(&self, list: &[Channel], publication: &Arc<Publication>) -> Vec<(usize, Command)> {
        let names = list.iter().map(|&channel| self.world.names[channel].clone());
        let names: Vec<ChannelName> = names.collect();
        let mut commands = Vec::new();
        for home in 0..self.world.shards.len() {
            let is_here = |name: &&ChannelName| self.world.homes.of(name) == ShardId(home as u8);
            let channels: Vec<_> = names.iter().filter(is_here).cloned().collect();
            if !channels.is_empty() {
                let publication = Arc::clone(publication);
                commands.push((home, Command::Broadcast { channels, publication, key: None }));
            }
        }
        commands
    }

    fn change_subscriptions(&mut self) {
        let Some(target) = self.target() else { return };
        let channels = self.channels(3);
        let subscribes = self.world.random.chance(60);
        // Sometimes at once again: the second must not be answered before the first is confirmed.
        for _ in 0..1 + self.world.random.below(2) {
            let (target, channels) = (target.clone(), channels.clone());
            self.ask_one(if subscribes {
                Command::Subscribe { target, channels, options: SubscribeOptions::default() }
            } else {
                Command::Unsubscribe { target, channels }
            });
        }
    }

    fn disconnect(&mut self) {
        if self.world.random.chance(50)
            && let Some(target) = self.target()
        {
            self.ask_one(Command::Disconnect {
                target,
                except: Vec::new(),
                code: 3503,
                reason: "go".into(),
                revoke: false,
            });
        }
    }

    fn ask_one(&mut self, command: Command) {
        let shard = command.first_shard(&self.world.homes).expect("it has one target").index();
        self.ask(vec![(shard, command)]);
    }

    /// Sends the envelopes of one command from one of the askers.
    fn ask(&mut self, commands: Vec<(usize, Command)>) {
        let asker = self.world.random.below(2);
        let ticket = self.world.random.chance(80).then(|| {
            self.requests += 1;
            self.world.model.asked(self.requests, commands.len());
            Ticket { asker: asker as u8, number: self.requests }
        });
        let sender = self.world.shards.len() + asker;
        for (shard, command) in commands {
            let envelope = Envelope::Command { command: Box::new(command), ticket };
            self.world.network.send(sender, shard, envelope);
        }
    }
}

fn device(random: &mut Random, percent: usize) -> Option<Box<str>> {
    random.chance(percent).then(|| random.pick(&DEVICES).into())
}
