//! Single courses: what few seeds meet, or what a seed once found wrong.

use tidegate::settings::ShardSettings;

use super::dialect::Dialect;
use super::peer::{Nature, Stage};
use super::setup::{CLOSE, generous};
use super::wire::End;
use super::world::World;

/// One shard, to which no harm comes.
fn world(handshakes_per_second: u32) -> World {
    let world = World::new(1, 1, |_| ShardSettings { handshakes_per_second, ..generous() });
    world.kernel.borrow_mut().is_calm = true;
    world
}

/// A raw client that reads what it is told and does not go by itself.
fn stay(world: &mut World) -> usize {
    let nature = Nature::steady(Dialect::Raw, "/websocket");
    let index = world.connect(nature, 100_000).expect("somebody listens");
    world.clients[index].pace = Some((usize::MAX, usize::MAX));
    index
}

/// Time passes in steps of so many milliseconds, and clients hear what there is.
fn pass(world: &mut World, steps: usize, millis: u64) {
    for _ in 0..steps {
        for index in 0..world.clients.len() {
            world.exchange(index);
        }
        world.pass(millis);
    }
}

#[test]
fn who_is_refused_while_it_waits_for_its_handshake_is_heard_out() {
    let mut world = world(1);
    let index = stay(&mut world);
    pass(&mut world, 5, 1);
    assert_eq!(world.clients[index].peer.stage, Stage::Greeting, "its turn has not come");
    world.drain.begin();
    world.pass(2_000);
    world.exchange(index);
    assert_eq!(world.clients[index].peer.stage, Stage::Refused(503));
    // What lies unread when a socket is closed may cost the client the answer.
    assert_eq!(world.clients[index].end, Some(End::Finished));
}

#[test]
fn handshakes_are_completed_at_their_rate() {
    let mut world = world(40);
    for _ in 0..30 {
        stay(&mut world);
    }
    let mut open = Vec::new();
    for _ in 0..8 {
        pass(&mut world, 10, 10);
        open.push(world.metrics[0].connections.value());
    }
    let due = (1..).map(|tenths| (4 * tenths).min(30));
    let is_even = open.iter().zip(due).all(|(&open, due): (&i64, i64)| (open - due).abs() <= 4);
    assert!(is_even && open[7] == 30, "four in each tenth of a second: {open:?}");
}

#[test]
fn our_direction_ends_at_once_when_both_have_said_goodbye() {
    let mut world = world(0);
    let index = stay(&mut world);
    pass(&mut world, 5, 1);
    assert_eq!(world.clients[index].peer.stage, Stage::Open);
    world.clients[index].peer.close(1000);
    pass(&mut world, 5, 1);
    assert_eq!(world.clients[index].peer.stage, Stage::Closed(1000));
    assert!(CLOSE.as_millis() > 100, "sooner than by a deadline");
    assert_eq!(world.clients[index].end, Some(End::Finished));
}
