//! The checker can fail: each kind of wrong history is seen as what it is.

use tidegate::ws::CloseCode;
use tidegate::ws::close::encode_close;
use tidegate::ws::frame::{Opcode, encode_frame};

use crate::checker::{Fault, History, Library, Verdict};

const NEWS: usize = 1;
const SPORT: usize = 2;

/// A connection in two channels, owed messages 0 to 3 of one, 4 of the other, and 5 of both;
/// message 6 is of a channel it is not in, and 7 is not for it.
fn history() -> (Library, History) {
    let mut library = Library::default();
    let mut history = History::default();
    for number in 0..4 {
        assert_eq!(library.add(vec![NEWS], true, 30), number);
        history.owe(NEWS, number);
    }
    history.owe(SPORT, library.add(vec![SPORT], false, 300));
    let list = library.add(vec![NEWS, SPORT], false, 20);
    history.owe(NEWS, list);
    history.owe(SPORT, list);
    library.add(vec![3], false, 20);
    library.add(vec![NEWS], false, 20);
    (library, history)
}

fn frames(library: &Library, numbers: &[u32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for &number in numbers {
        let message = &library.0[number as usize];
        encode_frame(message.opcode, &message.payload, &mut bytes);
    }
    bytes
}

fn judge(numbers: &[u32], spoil: impl FnOnce(&mut Vec<u8>)) -> Verdict {
    let (library, mut history) = history();
    let mut bytes = frames(&library, numbers);
    spoil(&mut bytes);
    // However the bytes are cut.
    for part in bytes.chunks(7) {
        history.receive(&library, part)?;
    }
    history.finish(&library)
}

fn fault(numbers: &[u32], spoil: impl FnOnce(&mut Vec<u8>)) -> Fault {
    judge(numbers, spoil).expect_err("a wrong history").0
}

fn keep(_: &mut Vec<u8>) {}

#[test]
fn a_right_history_passes() {
    assert_eq!(judge(&[0, 1, 2, 3, 4, 5, 5], keep), Ok(()));
    assert_eq!(judge(&[4, 5, 0, 1, 2, 3, 5], keep), Ok(()));
    assert_eq!(judge(&[0, 4, 1, 5, 2, 3, 5], keep), Ok(()));
}

#[test]
fn a_lost_message() {
    assert_eq!(fault(&[0, 1, 3, 4, 5, 5], keep), Fault::Missing);
    assert_eq!(fault(&[1, 2, 3, 4, 5, 5], keep), Fault::Missing);
    assert_eq!(fault(&[0, 1, 2, 4, 5], keep), Fault::Missing, "the last of a channel");
    assert_eq!(fault(&[0, 1, 2, 3, 4, 5], keep), Fault::Missing, "one copy of two");
    assert_eq!(fault(&[], keep), Fault::Missing);
}

#[test]
fn a_duplicated_message() {
    assert_eq!(fault(&[0, 0, 1, 2, 3, 4, 5, 5], keep), Fault::Duplicated);
    assert_eq!(fault(&[0, 1, 2, 3, 4, 5, 5, 3], keep), Fault::Duplicated);
    assert_eq!(fault(&[0, 1, 2, 3, 4, 5, 5, 5], keep), Fault::Duplicated);
}

#[test]
fn a_reordered_message() {
    assert_eq!(fault(&[0, 2, 1, 3, 4, 5, 5], keep), Fault::Missing);
    assert_eq!(fault(&[5, 0, 1, 2, 3, 4, 5], keep), Fault::Missing, "a list's before its turn");
}

#[test]
fn a_foreign_message() {
    assert_eq!(fault(&[0, 1, 2, 3, 4, 5, 5, 6], keep), Fault::Foreign);
    assert_eq!(fault(&[0, 1, 7, 2, 3, 4, 5, 5], keep), Fault::Foreign);
}

#[test]
fn a_torn_frame() {
    let all = [0, 1, 2, 3, 4, 5, 5];
    assert_eq!(fault(&all, |bytes| bytes.truncate(bytes.len() - 1)), Fault::Torn);
    assert_eq!(fault(&all, |bytes| drop(bytes.drain(10..20))), Fault::Torn);
    assert_eq!(fault(&all, |bytes| bytes[40] ^= 1), Fault::Torn);
    let interleaved = |bytes: &mut Vec<u8>| {
        let second = bytes[32..64].to_vec();
        bytes.splice(16..16, second);
    };
    assert_eq!(fault(&all, interleaved), Fault::Torn);
}

#[test]
fn a_reply_nobody_gave() {
    let reply = |bytes: &mut Vec<u8>| encode_frame(Opcode::Pong, b"1", bytes);
    assert_eq!(fault(&[0], reply), Fault::Foreign);
}

#[test]
fn a_message_after_the_close_frame() {
    let (library, mut history) = history();
    let mut bytes = frames(&library, &[0]);
    encode_close(CloseCode::SLOW, "slow", &mut bytes);
    history.receive(&library, &bytes).expect("a prefix and a close frame");
    let more = history.receive(&library, &frames(&library, &[1]));
    assert_eq!(more.expect_err("it is closed").0, Fault::AfterClose);
}

#[test]
fn a_message_lags_by_what_did_not_come_of_it() {
    let (library, mut history) = history();
    // The message of SPORT is the longest, and what follows it may have come already.
    assert_eq!(history.lag(&library), 300);
    let bytes = frames(&library, &[4]);
    let header = bytes.len() - 300;
    let mut feed = |from: usize, to: usize| {
        history.receive(&library, &bytes[from..to]).expect("a part");
        history.lag(&library)
    };
    assert_eq!(feed(0, 1), 300);
    assert_eq!(feed(1, header + 7), 300 - 7, "whose it is was not said");
    assert_eq!(feed(header + 7, header + 100), 200);
    // Of the other channel four messages of 30 bytes are owed.
    assert_eq!(feed(header + 100, header + 299), 120);
}
