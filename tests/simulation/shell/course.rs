//! The course of a run: clients that come, talk, dawdle and go as the seed says, then quiet, in
//! which every promise is due, then the end, after which nothing may be left.

use std::collections::HashMap;

use super::dialect::Dialect;
use super::kernel::Sabotage;
use super::ledger::Channel;
use super::peer::{Nature, Stage};
use super::setup::{self, CLOSE, DRAIN, EVERYONE, PING, PONG, ROOM, ROOMS, TALK, USERS, token};
use super::world::World;
use crate::coverage::Coverage;
use crate::random::Random;

/// How much clients read at once, and how much arrives of what they say.
const PACES: [Option<(usize, usize)>; 7] =
    [None, None, None, None, Some((400, 90)), Some((0, 1)), Some((7, 3))];

/// Most clients at once.
const CLIENTS_MAX: usize = 12;

/// How many rounds of some milliseconds everything may take to arrive: less than pings are apart,
/// which would make shards look again at what they forgot.
const ROUNDS_MAX: usize = 450;

/// What some tens of seeds must meet.
pub(crate) const SITUATIONS: [&str; 27] = [
    "all have left",
    "closed: 1002",
    "closed: 1008",
    "closed: 1009",
    "closed: 1013",
    "closed: 3001",
    "closed: 3005",
    "closed: 3008",
    "closed: 3012",
    "closed: 4000",
    "closed: 4501",
    "disconnected: 1000",
    "closed: 4408",
    "disconnected: 1006",
    "drained in the midst of it",
    "given a channel",
    "recovered: none",
    "recovered: some",
    "not recovered",
    "parked envelopes",
    "refused: 401",
    "refused: 429",
    "refused: 503",
    "sent away",
    "told anew",
    "unsubscribed: 2000",
    "unsubscribed: 2500",
];

/// One run.
pub(crate) struct Course {
    pub(super) world: World,
    /// By channel: where clients stood that are gone.
    positions: Vec<HashMap<Channel, (String, u64)>>,
    /// When the tokens of users were revoked last.
    pub(super) revoked: HashMap<usize, u64>,
    /// Whether backends dawdle at times.
    pub(super) has_jams: bool,
    /// Whether shards are told other settings.
    pub(super) is_told_anew: bool,
}

impl Course {
    /// The course of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(seed, None)
    }

    /// The same, with something wrong in it.
    pub(crate) fn with(seed: u64, sabotage: Option<Sabotage>) -> Self {
        let shards = 1 + Random::new(seed).below(3);
        let mut world = World::new(seed, shards, |random| setup::seeded(random, shards));
        let (has_jams, is_told_anew) = (world.random.chance(30), world.random.chance(30));
        world.kernel.borrow_mut().sabotage = sabotage;
        Self { world, positions: Vec::new(), revoked: HashMap::new(), has_jams, is_told_anew }
    }

    /// All of it; returns what it met.
    pub(crate) fn go(mut self, steps: usize) -> Coverage {
        for _ in 0..steps {
            self.step();
        }
        if self.world.random.chance(30) {
            self.world.drain.begin();
            for _ in 0..steps / 5 {
                self.step();
            }
            self.be_eager();
            self.world.coverage.note("drained in the midst of it");
        } else {
            self.settle();
            self.check();
            self.wait_for_the_silent();
            if self.world.random.chance(50) {
                self.leave_all();
            }
        }
        self.drain();
        self.check_ends();
        self.world.coverage
    }

    fn step(&mut self) {
        let world = &mut self.world;
        world.kernel.borrow_mut().now += world.random.below(200_000) as u64;
        let shard = world.random.below(world.metrics.len());
        match world.random.below(100) {
            0..35 => drop(world.turn(shard)),
            35..50 => {
                let anywhere = world.random.below(EVERYONE + 1);
                let channel = world.random.pick(&[anywhere, anywhere, ROOM]);
                let size = world.random.pick(&[0, 0, 10, 100, 3_000]);
                if channel != TALK {
                    world.publish(channel, size);
                }
                if world.random.chance(2) {
                    self.storm();
                }
            }
            50..75 => {
                if let Some(index) = self.somebody() {
                    self.world.exchange(index);
                }
            }
            75..80 => self.come(),
            80..86 => self.talk(),
            86..88 => self.go_away(),
            88..95 => world.ask_and_hear(),
            95 => {
                let millis = world.random.pick(&[1, 40, 300]);
                world.pass(millis);
            }
            96 => self.interfere(),
            _ => world.pass(2),
        }
    }

    /// Much is published at once, and one shard has turns while the others have none.
    fn storm(&mut self) {
        let world = &mut self.world;
        let channel = ROOMS.start + world.random.below(ROOMS.len());
        let size = world.random.pick(&[10, 10, 6_000]);
        for _ in 0..60 {
            world.publish(channel, size);
        }
        let shard = world.random.below(world.metrics.len());
        for _ in 0..6 {
            world.ask_and_hear();
            world.turn(shard);
        }
    }

    fn somebody(&mut self) -> Option<usize> {
        let clients = self.world.clients.iter().enumerate();
        let there: Vec<_> = clients.filter(|(_, it)| !it.is_gone).map(|(it, _)| it).collect();
        (!there.is_empty()).then(|| self.world.random.pick(&there))
    }

    /// A client connects, perhaps as one that was there before.
    fn come(&mut self) {
        let there = self.world.clients.iter().filter(|client| !client.is_gone).count();
        if there >= CLIENTS_MAX {
            return;
        }
        let world = &mut self.world;
        let dialects =
            [Dialect::Raw, Dialect::Raw, Dialect::Json, Dialect::Protobuf, Dialect::Echo];
        let dialect = world.random.pick(&dialects);
        let user = world.random.chance(60).then(|| world.random.below(USERS));
        let second = world.second();
        let seconds = world.random.pick(&[2, 4, 600, 600]);
        let issued = second - world.random.pick(&[0, 0, 0, 1, 5]);
        let is_costly = world.random.chance(40);
        let shown = user.map(|user| token(user, (issued, seconds), is_costly));
        let mut joins: Vec<_> = ROOMS.filter(|_| world.random.chance(50)).collect();
        match dialect {
            Dialect::Echo => joins.clear(),
            Dialect::Raw => {}
            _ if world.random.chance(20) => joins = vec![ROOM],
            _ if world.random.chance(50) => joins.push(TALK),
            _ => {}
        }
        let path = path(world, dialect, user, shown.as_deref(), &joins);
        if let Some(user) = user.filter(|_| dialect == Dialect::Raw) {
            joins.push(user);
        }
        let nature = Nature {
            dialect,
            path,
            token: shown.unwrap_or_default(),
            joins,
            answers: world.random.chance(85),
            says_goodbye: world.random.chance(80),
            is_hasty: world.random.chance(30),
        };
        let capacity = world.random.pick(&[300, 3_000, 200_000, 200_000]);
        let is_hasty = nature.is_hasty;
        let Some(index) = world.connect(nature, capacity) else { return };
        let pace = world.random.pick(&PACES);
        let client = &mut world.clients[index];
        client.pace = pace;
        client.user = user.map(|user| (user, issued)).filter(|_| dialect != Dialect::Echo);
        client.expires = client.user.map(|_| issued + seconds);
        if dialect.is_managed()
            && let Some(positions) = self.positions.pop()
        {
            client.peer.positions = positions;
        } else if is_hasty && dialect == Dialect::Raw {
            client.peer.send(format!("{index} 0").as_bytes());
            client.said = 1;
        }
    }

    /// A client says something, or asks for something.
    fn talk(&mut self) {
        let Some(index) = self.somebody() else { return };
        let world = &mut self.world;
        let client = &mut world.clients[index];
        if client.peer.stage != Stage::Open {
            return;
        }
        if world.random.chance(15) {
            client.pace = world.random.pick(&PACES);
        }
        if world.random.chance(2) {
            return client.peer.break_rules();
        }
        let channel = ROOMS.start + world.random.below(ROOMS.len() + 1);
        match (client.peer.dialect(), world.random.below(4)) {
            (Dialect::Raw, _) => {
                let size = world.random.pick(&[0, 0, 200, 5_000]);
                client.peer.send(format!("{index} {}{}", client.said, ".".repeat(size)).as_bytes());
                client.said += 1;
            }
            (Dialect::Echo, _) => {
                let size = world.random.pick(&[0, 1, 126, 3_000]);
                client.peer.send(&vec![b'e'; size]);
            }
            (_, 0) => client.peer.unsubscribe(channel, &world.ledger),
            (_, 1) => client.peer.subscribe(channel, &world.ledger),
            _ => {
                let count = world.random.pick(&[1, 1, 30]);
                client.peer.publish(TALK, count, &mut world.ledger);
            }
        }
    }

    /// A client goes, in one way or another.
    fn go_away(&mut self) {
        let Some(index) = self.somebody() else { return };
        let world = &mut self.world;
        let client = &mut world.clients[index];
        let mut kernel = world.kernel.borrow_mut();
        match world.random.below(4) {
            0 => kernel.reset(client.wire),
            1 => kernel.leave(client.wire),
            2 => {
                if client.peer.stage == Stage::Open {
                    client.peer.close(1000);
                }
                return;
            }
            _ => {
                kernel.end(client.wire);
                return;
            }
        }
        client.is_gone = true;
        kernel.carry(client.wire, usize::MAX);
        let positions = std::mem::take(&mut client.peer.positions);
        if client.peer.dialect().is_managed() {
            self.positions.push(positions);
        }
    }

    /// Everybody who is there becomes eager, and everything arrives. Whoever was closed and lost
    /// the rest of a frame is gone when its deadline is over.
    fn settle(&mut self) {
        self.be_eager();
        self.rest();
        if self.world.has_dropped() {
            self.world.pass(CLOSE.as_millis() as u64);
            self.rest();
        }
    }

    fn rest(&mut self) {
        let mut quiet = 0;
        for _ in 0..ROUNDS_MAX {
            self.world.pass(5);
            quiet = if self.world.is_quiet() { quiet + 1 } else { 0 };
            // What a client hears last may move it to answer, and one that was closed in the middle
            // of a frame hears of it by the end of its connection.
            if quiet > 20 {
                self.world.pass(CLOSE.as_millis() as u64 + 100);
                if self.world.is_quiet() {
                    return;
                }
                quiet = 0;
            }
        }
        panic!("it never becomes quiet: {}", self.world.unrest());
    }

    fn be_eager(&mut self) {
        self.world.jammed_until = 0;
        self.world.kernel.borrow_mut().is_calm = true;
        for client in &mut self.world.clients {
            client.pace = None;
        }
    }

    /// All is quiet: every promise is due.
    fn check(&mut self) {
        self.check_history();
        for (index, client) in self.world.clients.iter().enumerate() {
            if client.is_gone {
                continue;
            }
            if let Err((fault, text)) = client.peer.finish(&self.world.ledger) {
                panic!("client {index} at rest: {fault:?}: {text}\n{client:#?}");
            }
            if let Some((user, issued)) = client.user {
                let revoked = self.revoked.get(&user).copied().unwrap_or(0);
                assert!(issued >= revoked, "client {index} is there by a token that was revoked");
            }
        }
        let second = self.world.second();
        for (index, client) in self.world.clients.iter().enumerate().filter(|(_, it)| !it.is_gone) {
            // Managed clients have a second more to show another token.
            let is_late = client.expires.is_some_and(|expires| second > expires + 2);
            assert!(!is_late, "client {index} is there in {second}\n{client:#?}");
        }
        self.world.check_events();
        self.check_presence();
    }

    /// Who does not answer pings is found out, and nobody else.
    fn wait_for_the_silent(&mut self) {
        let before: Vec<_> = self.there();
        let millis = 2 * (PING + PONG).as_millis() as u64 + 500;
        self.world.pass(millis);
        for index in before {
            let client = &self.world.clients[index];
            let has_expired = client.peer.stage == Stage::Closed(3005);
            if client.peer.answers() {
                let is_there = !client.is_gone || has_expired;
                assert!(is_there, "client {index} answers and is gone\n{client:#?}");
            } else {
                let text = "is silent and there, or hears another reason";
                assert!(client.is_gone, "client {index} {text}\n{client:#?}");
                let was_told = client.peer.stage == Stage::Closed(3012);
                assert!(was_told || has_expired, "client {index} {text}\n{client:#?}");
            }
        }
        self.settle();
    }

    pub(super) fn there(&self) -> Vec<usize> {
        let clients = self.world.clients.iter().enumerate();
        clients.filter(|(_, client)| !client.is_gone).map(|(index, _)| index).collect()
    }

    /// Everybody leaves, and what was remembered is forgotten.
    fn leave_all(&mut self) {
        for index in self.there() {
            let world = &mut self.world;
            let client = &mut world.clients[index];
            world.kernel.borrow_mut().leave(client.wire);
            client.is_gone = true;
            world.kernel.borrow_mut().carry(client.wire, usize::MAX);
        }
        self.world.forget();
        self.world.check_empty();
        self.world.coverage.note("all have left");
    }

    /// Backends have heard of every end what its client has.
    fn check_ends(&self) {
        for (index, client) in self.world.clients.iter().enumerate() {
            let told = self.world.codes.get(&client.peer.client);
            if let (Stage::Closed(code), Some(told)) = (client.peer.stage, told) {
                assert_eq!(*told, code, "how client {index} has ended\n{client:#?}");
            }
        }
    }

    /// The edge is told to end: everybody is sent away, and shards end when all are gone.
    fn drain(&mut self) {
        let has_begun = self.world.drain.has_begun();
        let before = if has_begun { Vec::new() } else { self.there() };
        self.world.drain.begin();
        let millis = DRAIN.as_millis() as u64 + 2_000;
        self.world.pass(millis);
        for index in before {
            let stage = self.world.clients[index].peer.stage;
            // A token may have expired meanwhile.
            let ends = [setup::DRAIN_CODE, 3005].map(Stage::Closed);
            assert!(ends.contains(&stage), "client {index} is sent away, not {stage:?}");
            self.world.coverage.note("sent away");
        }
        assert_eq!(self.there(), [0; 0], "who is there after the drain");
        assert_eq!(self.world.kernel.borrow().listening(), 0, "who comes late finds nobody");
        assert!(self.world.has_left(), "every shard has told that its clients are gone");
        assert!(!self.world.is_drained(), "shards serve until nobody asks them");
        self.world.forget();
        self.world.check_empty();
        self.world.drain.end();
        self.world.pass(200);
        assert!(self.world.is_drained(), "every shard has ended");
    }
}

/// The path of a request.
fn path(
    world: &World,
    dialect: Dialect,
    user: Option<usize>,
    token: Option<&str>,
    joins: &[Channel],
) -> String {
    match dialect {
        Dialect::Json | Dialect::Protobuf => "/connection/websocket".to_owned(),
        Dialect::Echo => "/echo".to_owned(),
        Dialect::Raw => {
            let names = joins.iter().map(|&channel| world.ledger.tracks[channel].name.as_str());
            let channels = names.collect::<Vec<_>>().join(",");
            let user = user.map(|user| format!("/u{user}")).unwrap_or_default();
            let token = token.map(|token| format!("&token={token}")).unwrap_or_default();
            format!("/websocket{user}?channels={channels}{token}")
        }
    }
}
