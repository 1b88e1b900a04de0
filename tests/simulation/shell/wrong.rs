//! The checker can fail: wrong bytes are seen as what they are, and a network that loses, repeats
//! or forgets, as a wrong shard would, does not pass.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::course::Course;
use super::dialect::Dialect;
use super::kernel::Sabotage;
use super::ledger::{Fault, Ledger, Verdict};
use super::peer::{Nature, Peer};
use super::setup::{self, ROOM, ROOMS};

const LOBBY: usize = ROOMS.start;

/// Publications 0 to 4 in the lobby and in a room, of which the first was over before a client came
/// and the second on its way; it judges what it is then told.
fn judge(dialect: Dialect, told: impl Fn(&mut Told)) -> Verdict {
    let mut ledger = Ledger::new(setup::channels());
    let mut told_all = Told { dialect, channel: LOBBY, said: Vec::new(), bytes: Vec::new() };
    for channel in [LOBBY, ROOM] {
        told_all.said.push((channel, ledger.publish(channel, 5).1));
        ledger.note_handled(channel, 0);
        told_all.said.push((channel, ledger.publish(channel, 5).1));
    }
    let nature = Nature { joins: vec![LOBBY], ..Nature::steady(dialect, "/") };
    let mut peer = Peer::new(nature, &ledger, 1);
    peer.hear(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", &mut ledger)?;
    if dialect == Dialect::Json {
        peer.hear(&frame(br#"{"id":1,"connect":{"client":"x"}}"#), &mut ledger)?;
        peer.hear(&frame(br#"{"id":2,"subscribe":{}}"#), &mut ledger)?;
    }
    for channel in [LOBBY, ROOM] {
        for _ in 2..5 {
            told_all.said.push((channel, ledger.publish(channel, 5).1));
        }
    }
    told(&mut told_all);
    for part in told_all.bytes.chunks(7) {
        peer.hear(part, &mut ledger)?;
    }
    peer.finish(&ledger)
}

/// What a client is told.
struct Told {
    dialect: Dialect,
    channel: usize,
    said: Vec<(usize, Vec<u8>)>,
    bytes: Vec<u8>,
}

impl Told {
    /// Publications of the lobby.
    fn all(&mut self, numbers: &[usize]) {
        for &number in numbers {
            let (of, name) = (self.channel, if self.channel == LOBBY { "lobby" } else { "room:a" });
            let said = self.said.iter().filter(|(channel, _)| *channel == of);
            let data = said.map(|(_, data)| data.clone()).nth(number).expect("it was published");
            let payload = match self.dialect {
                Dialect::Json => {
                    let data = String::from_utf8(data).expect("JSON");
                    format!(r#"{{"push":{{"channel":"{name}","pub":{{"data":{data}}}}}}}"#).into()
                }
                _ => data,
            };
            self.bytes.extend(frame(&payload));
        }
    }
}

fn frame(payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126, "a short one");
    [&[0x81, payload.len() as u8], payload].concat()
}

fn fault(told: impl Fn(&mut Told)) -> Fault {
    let [raw, json] = [Dialect::Raw, Dialect::Json]
        .map(|dialect| judge(dialect, &told).expect_err("something is wrong").0);
    assert_eq!(raw, json);
    raw
}

#[test]
fn what_is_right_passes() {
    for dialect in [Dialect::Raw, Dialect::Json] {
        assert_eq!(judge(dialect, |told| told.all(&[1, 2, 3, 4])), Ok(()));
        assert_eq!(judge(dialect, |told| told.all(&[2, 3, 4])), Ok(()));
    }
}

#[test]
fn what_is_wrong_is_seen_as_what_it_is() {
    assert_eq!(fault(|told| told.all(&[0, 1, 2, 3, 4])), Fault::Stale);
    assert_eq!(fault(|told| told.all(&[3, 4])), Fault::Missing, "the first after it was there");
    assert_eq!(fault(|told| told.all(&[1, 2, 4])), Fault::Missing);
    assert_eq!(fault(|told| told.all(&[1, 2, 3])), Fault::Missing, "the last");
    assert_eq!(fault(|_| ()), Fault::Missing, "all");
    assert_eq!(fault(|told| told.all(&[1, 2, 2, 3, 4])), Fault::Repeated);
    assert_eq!(fault(|told| told.all(&[1, 3, 2, 4])), Fault::Missing, "an order of its own");
    let torn = |told: &mut Told| {
        told.all(&[1, 2, 3, 4]);
        told.bytes.pop();
    };
    assert_eq!(fault(torn), Fault::Torn);
    let spoilt = |told: &mut Told| {
        told.all(&[1, 2, 3, 4]);
        let place = told.bytes.iter().rposition(|&byte| byte == b'e').expect("the letter of 4");
        told.bytes[place] = b'f';
    };
    assert_eq!(fault(spoilt), Fault::Torn);
    let late = |told: &mut Told| {
        told.all(&[1, 2]);
        told.bytes.extend([0x88, 2, 3, 232]);
        told.all(&[3]);
    };
    assert_eq!(fault(late), Fault::AfterClose);
    let foreign = judge(Dialect::Raw, |told| {
        told.channel = ROOM;
        told.all(&[2]);
    });
    assert_eq!(foreign.expect_err("it hears no room").0, Fault::Foreign);
}

/// Whether some seed fails with a network that is wrong in a way.
fn is_found(sabotage: Sabotage) -> bool {
    (0..20).any(|seed| {
        let run = || Course::with(seed, Some(sabotage)).go(600);
        catch_unwind(AssertUnwindSafe(run)).is_err()
    })
}

#[test]
fn planted_faults_are_found() {
    assert!(is_found(Sabotage::Lose), "a send that is taken and lost");
    assert!(is_found(Sabotage::Repeat), "a send that goes out twice");
    assert!(is_found(Sabotage::Deafen), "readiness that nobody is told of");
    assert!(is_found(Sabotage::Hold), "a watch that is never given up");
    assert!(is_found(Sabotage::Stop), "a tick that never comes");
}
