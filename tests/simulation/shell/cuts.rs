//! Connections that break off at every byte, of what a client says and of what it hears, in three
//! ways: nothing is left of any.

use super::dialect::Dialect;
use super::peer::{Nature, Stage};
use super::setup::{ROOM, ROOMS, TALK, generous};
use super::world::World;

/// Rounds in which a client has said and heard all that it says and hears here.
const ROUNDS: usize = 7;

/// Lets a client speak and breaks it off when it has said, or heard, so many bytes. Returns whether
/// it came to that.
fn break_off(world: &mut World, dialect: Dialect, says: bool, at: usize) -> bool {
    let (path, joins) = match dialect {
        Dialect::Raw => ("/websocket?channels=lobby,room:a", vec![ROOMS.start, ROOM]),
        Dialect::Echo => ("/echo", vec![]),
        Dialect::Json | Dialect::Protobuf => ("/connection/websocket", vec![ROOM, TALK]),
    };
    let nature = Nature { joins, ..Nature::steady(dialect, path) };
    world.clients.clear();
    let index = world.connect(nature, 100_000).expect("somebody listens");
    // It has its own way to speak here.
    world.clients[index].is_gone = true;
    let (mut left, mut is_over) = (at, false);
    for _ in 0..ROUNDS {
        let (client, mut kernel) = (&mut world.clients[index], world.kernel.borrow_mut());
        if client.peer.stage == Stage::Open {
            match dialect {
                Dialect::Raw => {
                    client.peer.send(format!("{at} {}", client.said).as_bytes());
                    client.said += 1;
                }
                Dialect::Echo => client.peer.send(&[b'e'; 200]),
                _ => client.peer.publish(TALK, 1, &mut world.ledger),
            }
        }
        let output = client.peer.take_output();
        let said = if says { output.len().min(left) } else { output.len() };
        kernel.say(client.wire, &output[..said]);
        kernel.carry(client.wire, usize::MAX);
        let (bytes, _) = kernel.hear(client.wire, if says { usize::MAX } else { left });
        let verdict = client.peer.hear(&bytes, &mut world.ledger);
        assert_eq!(verdict, Ok(()), "at byte {at}");
        left -= if says { said } else { bytes.len() };
        is_over = left == 0;
        if is_over {
            break;
        }
        drop(kernel);
        world.publish(ROOM, 3);
        world.ask_and_hear();
        world.turn_all();
    }
    let (wire, mut kernel) = (world.clients[index].wire, world.kernel.borrow_mut());
    match at % 3 {
        0 => kernel.reset(wire),
        1 => kernel.leave(wire),
        _ => kernel.end(wire),
    }
    kernel.carry(wire, usize::MAX);
    drop(kernel);
    is_over
}

/// Breaks off at each byte in turn; returns how many there are.
fn break_off_everywhere(dialect: Dialect, says: bool) -> usize {
    let mut world = World::new(at_seed(dialect, says), 2, |_| generous());
    world.kernel.borrow_mut().is_calm = true;
    let mut at = 0;
    while break_off(&mut world, dialect, says, at) {
        for _ in 0..10 {
            world.turn_all();
            world.ask_and_hear();
        }
        let open: i64 = world.metrics.iter().map(|metrics| metrics.sockets.value()).sum();
        assert_eq!(open, 0, "{dialect:?}: what is left when it breaks off at byte {at}");
        at += 1;
    }
    world.forget();
    world.check_empty();
    at
}

fn at_seed(dialect: Dialect, says: bool) -> u64 {
    2 * dialect as u64 + u64::from(says)
}

#[test]
fn nothing_is_left_of_connections_that_break_off_at_any_byte() {
    for dialect in [Dialect::Raw, Dialect::Echo, Dialect::Json, Dialect::Protobuf] {
        for says in [true, false] {
            let bytes = break_off_everywhere(dialect, says);
            assert!(bytes > 200, "{bytes} bytes of {dialect:?}, {says}");
        }
    }
}
