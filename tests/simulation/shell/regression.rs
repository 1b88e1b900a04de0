//! Courses in which a seed once found a shard in the wrong.

use tidegate::settings::ShardSettings;

use super::dialect::Dialect;
use super::peer::{Nature, Stage};
use super::setup::generous;
use super::wire::End;
use super::world::World;

#[test]
fn who_is_refused_while_it_waits_for_its_handshake_is_heard_out() {
    let mut world = World::new(1, 1, |_| ShardSettings { handshakes_per_second: 1, ..generous() });
    world.kernel.borrow_mut().is_calm = true;
    let nature = Nature {
        dialect: Dialect::Raw,
        path: "/websocket".to_owned(),
        token: String::new(),
        joins: vec![],
        answers: true,
        says_goodbye: true,
        is_hasty: false,
    };
    let index = world.connect(nature, 100_000).expect("somebody listens");
    // It reads what it is told and stays.
    world.clients[index].pace = Some((usize::MAX, usize::MAX));
    for _ in 0..5 {
        world.exchange(index);
        world.pass(1);
    }
    assert_eq!(world.clients[index].peer.stage, Stage::Greeting, "its turn has not come");
    world.drain.begin();
    world.pass(2_000);
    world.exchange(index);
    assert_eq!(world.clients[index].peer.stage, Stage::Refused(503));
    // What lies unread when a socket is closed may cost the client the answer.
    assert_eq!(world.clients[index].end, Some(End::Finished));
}
