//! Heartbeats, with the clock of the simulation: who is pinged when, who is given up and who stays.

use std::time::Duration;

use tidegate::settings::ShardSettings;

use super::dialect::Dialect;
use super::peer::{Nature, Stage};
use super::setup::{EVERYONE, PING, PONG, generous};
use super::world::World;

/// Timers tick.
const TICK: u64 = 50;

/// With messages that may take long, and a deadline of pongs.
fn world(pong_deadline: Duration) -> World {
    let world = World::new(1, 1, |_| ShardSettings {
        message_deadline: Duration::from_secs(600).into(),
        pong_deadline: pong_deadline.into(),
        ..generous()
    });
    world.kernel.borrow_mut().is_calm = true;
    world
}

/// A client that is open.
fn client(world: &mut World, dialect: Dialect, answers: bool) -> usize {
    let path = match dialect {
        Dialect::Raw => "/websocket",
        Dialect::Echo => "/echo",
        Dialect::Json | Dialect::Protobuf => "/connection/websocket",
    };
    let nature = Nature { answers, ..Nature::steady(dialect, path) };
    let index = world.connect(nature, 100_000).expect("somebody listens");
    for _ in 0..20 {
        world.pass(1);
    }
    assert_eq!(world.clients[index].peer.stage, Stage::Open);
    index
}

fn pings(world: &World) -> u64 {
    world.metrics[0].pings_sent.value()
}

#[test]
fn clients_that_answer_stay() {
    for dialect in [Dialect::Raw, Dialect::Json, Dialect::Protobuf] {
        let mut world = world(PONG);
        let index = client(&mut world, dialect, true);
        world.pass(20 * PING.as_millis() as u64);
        assert!((15..=21).contains(&pings(&world)), "{} pings", pings(&world));
        assert_eq!(world.clients[index].peer.stage, Stage::Open, "{dialect:?}");
        assert_eq!(world.metrics[0].closed_no_pong.value(), 0);
        world.publish(EVERYONE, 5);
        world.pass(TICK);
        assert_eq!(world.clients[index].peer.views[&EVERYONE].next(), Some(1), "it hears on");
    }
}

#[test]
fn an_interval_may_be_shorter_than_the_deadline() {
    let mut world = world(Duration::from_secs(60));
    let index = client(&mut world, Dialect::Raw, true);
    world.pass(4 * PING.as_millis() as u64);
    assert!(pings(&world) >= 3, "{} pings", pings(&world));
    assert_eq!(world.clients[index].peer.stage, Stage::Open);
}

#[test]
fn a_silent_client_is_given_up_when_its_pong_is_due() {
    for dialect in [Dialect::Raw, Dialect::Json, Dialect::Protobuf] {
        let mut world = world(PONG);
        let index = client(&mut world, dialect, false);
        while pings(&world) == 0 {
            world.pass(5);
        }
        let least = PONG.as_millis() as u64 - TICK;
        world.pass(least - 2 * TICK);
        assert_eq!(world.clients[index].peer.stage, Stage::Open, "{dialect:?}");
        world.pass(8 * TICK);
        assert_eq!(world.clients[index].peer.stage, Stage::Closed(3012), "{dialect:?}");
        let again = u64::from(dialect == Dialect::Raw);
        assert_eq!(pings(&world), 1 + again, "raw clients are pinged once more");
    }
}

#[test]
fn a_talking_client_is_not_pinged() {
    let mut world = world(PONG);
    let index = client(&mut world, Dialect::Echo, true);
    for _ in 0..100 {
        world.clients[index].peer.send(b"x");
        world.pass(TICK);
    }
    assert_eq!(pings(&world), 0);
    assert!(world.clients[index].peer.is_answered());
    world.pass(2 * PING.as_millis() as u64);
    assert!(pings(&world) > 0);
}

#[test]
fn any_byte_is_a_sign_of_life() {
    let mut world = world(PONG);
    let index = client(&mut world, Dialect::Echo, false);
    // A frame that comes one byte at a time: never a whole message, never a pong.
    world.clients[index].peer.send(&[7; 200]);
    let bytes = world.clients[index].peer.take_output();
    let millis = PING.as_millis() as u64 / 4;
    assert!(bytes.len() as u64 * millis > 20 * (PING + PONG).as_millis() as u64);
    for byte in bytes {
        let wire = world.clients[index].wire;
        world.kernel.borrow_mut().say(wire, &[byte]);
        world.pass(millis);
    }
    assert_eq!((pings(&world), world.clients[index].peer.is_answered()), (0, true));
    assert_eq!(world.clients[index].peer.stage, Stage::Open);
}

#[test]
fn first_pings_are_spread() {
    let mut world = world(PONG);
    let nature = Nature::steady(Dialect::Raw, "/websocket");
    for _ in 0..200 {
        world.connect(nature.clone(), 1000).expect("somebody listens");
    }
    world.pass(1);
    assert_eq!(world.metrics[0].connections.value(), 200);
    let (mut last, mut ticks) = (0, 0);
    while last < 200 {
        world.pass(TICK);
        let now = pings(&world);
        // Evenly spread, three or four fall due in each tick, and a turn may be a tick late.
        assert!(now - last <= 8, "a burst of {} pings", now - last);
        (last, ticks) = (now, ticks + 1);
    }
    assert!(ticks <= PING.as_millis() as u64 / TICK + 3, "{ticks} ticks");
}
