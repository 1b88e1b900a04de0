//! Rules of RFC 6455 that a client's frames must follow, each with its section.

use super::*;
use crate::CloseCode;

const LIMITS: Limits = Limits { message_bytes_max: 1000, fragments_max: 4 };

/// A masked frame as a client sends it.
fn frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mask = [0x11, 0x22, 0x33, 0x44];
    let mut out = Vec::new();
    Header { fin, opcode, mask: Some(mask), payload_length: payload.len() as u64 }.encode(&mut out);
    let start = out.len();
    out.extend_from_slice(payload);
    unmask(&mut out[start..], mask, 0);
    out
}

/// What a stream says, as text, when it arrives in pieces of `size` bytes.
fn read_in(size: usize, stream: &[u8]) -> (Vec<String>, Option<Error>) {
    let (mut inbound, mut items) = (Inbound::default(), Vec::new());
    for piece in stream.chunks(size) {
        let mut piece = piece.to_vec();
        let mut rest = &mut piece[..];
        loop {
            match inbound.read(rest, &LIMITS) {
                Ok(Step { item: None, consumed }) => {
                    assert_eq!(consumed, rest.len());
                    break;
                }
                Ok(Step { item: Some(item), consumed }) => {
                    items.push(show(&item));
                    rest = &mut rest[consumed..];
                }
                Err(error) => return (items, Some(error)),
            }
        }
    }
    (items, None)
}

fn show(item: &Item<'_>) -> String {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match item {
        Item::Message { text, payload } => {
            format!("{} {}", if *text { "text" } else { "binary" }, lossy(payload))
        }
        Item::Ping(payload) => format!("ping {}", lossy(payload)),
        Item::Pong(payload) => format!("pong {}", lossy(payload)),
        Item::Close { code, reason } => format!("close {code:?} {reason}"),
    }
}

/// Reads the stream whole and in small pieces; all must agree.
fn read(stream: &[u8]) -> (Vec<String>, Option<Error>) {
    let whole = read_in(stream.len().max(1), stream);
    for size in 1..20 {
        assert_eq!(read_in(size, stream), whole, "in pieces of {size}");
    }
    whole
}

fn check(stream: &[u8], expected: &[&str]) {
    let (items, error) = read(stream);
    assert_eq!(error, None);
    assert_eq!(items, expected);
}

fn check_error(stream: &[u8], expected: Error) {
    assert_eq!(read(stream).1, Some(expected));
}

#[test]
fn whole_messages_and_control_frames() {
    let stream = [
        frame(true, Opcode::Text, "héllo".as_bytes()),
        frame(true, Opcode::Binary, b""),
        frame(true, Opcode::Ping, b"p"),
        frame(true, Opcode::Pong, b""),
        frame(true, Opcode::Binary, &[b'x'; 300]),
        frame(true, Opcode::Close, b"\x03\xE8bye"),
    ]
    .concat();
    let long = format!("binary {}", "x".repeat(300));
    check(&stream, &["text héllo", "binary ", "ping p", "pong ", &long, "close Some(1000) bye"]);
}

// RFC 6455 §5.4: control frames MAY be injected in the middle of a fragmented message.
#[test]
fn control_frames_between_fragments() {
    let stream = [
        frame(false, Opcode::Text, b"a\xE2"),
        frame(true, Opcode::Ping, b"ping"),
        frame(false, Opcode::Continuation, b""),
        frame(true, Opcode::Pong, b"pong"),
        frame(true, Opcode::Continuation, b"\x82\xACb"),
        frame(true, Opcode::Text, b"next"),
    ]
    .concat();
    check(&stream, &["ping ping", "pong pong", "text a€b", "text next"]);
}

// RFC 6455 §5.4.
#[test]
fn fragments_must_be_in_order() {
    let continuation = frame(true, Opcode::Continuation, b"x");
    check_error(&continuation, Error::ContinuationUnexpected);
    let after = [frame(true, Opcode::Text, b"x"), continuation].concat();
    check_error(&after, Error::ContinuationUnexpected);
    let inside = [frame(false, Opcode::Text, b"x"), frame(true, Opcode::Text, b"y")].concat();
    check_error(&inside, Error::ContinuationExpected);
}

// RFC 6455 §5.1: a frame of a client MUST be masked.
#[test]
fn unmasked_frames_are_refused() {
    check_error(&[0x81, 0x01, b'a'], Error::Unmasked);
    check_error(&[0x89, 0x00], Error::Unmasked);
}

// RFC 6455 §8.1, and as early as possible: inside a frame that is not complete.
#[test]
fn text_must_be_utf_8() {
    check_error(&frame(true, Opcode::Text, b"ab\xFFcd"), Error::TextNotUtf8);
    check_error(&frame(true, Opcode::Text, b"ab\xE2\x82"), Error::TextNotUtf8);
    let cut = &frame(true, Opcode::Text, b"ab\xFFcd")[..9];
    check_error(cut, Error::TextNotUtf8);
    let fragment = frame(false, Opcode::Text, b"\xED\xA0");
    check_error(&fragment, Error::TextNotUtf8);
    check(&frame(true, Opcode::Binary, b"\xFF"), &["binary \u{FFFD}"]);
}

#[test]
fn a_message_that_ends_inside_a_character_does_not_taint_the_next() {
    let stream = [frame(false, Opcode::Text, b"\xE2"), frame(true, Opcode::Continuation, b"")];
    check_error(&stream.concat(), Error::TextNotUtf8);
}

// RFC 6455 §5.5.1 and §7.4.
#[test]
fn close_frames() {
    check(&frame(true, Opcode::Close, b""), &["close None "]);
    check_error(&frame(true, Opcode::Close, b"\x03"), Error::CloseTruncated);
    check_error(&frame(true, Opcode::Close, b"\x03\xED"), Error::CloseCodeInvalid);
    check_error(&frame(true, Opcode::Close, b"\x03\xE8\xC3"), Error::CloseReasonNotUtf8);
}

#[test]
fn a_header_that_claims_too_much_is_refused_before_its_payload() {
    for length in [1001, 70_000, i64::MAX as u64] {
        let mut stream = Vec::new();
        let mask = Some([0; 4]);
        Header { fin: true, opcode: Opcode::Binary, mask, payload_length: length }
            .encode(&mut stream);
        check_error(&stream, Error::MessageTooBig);
    }
    check(&frame(true, Opcode::Binary, &[b'x'; 1000]), &[&format!("binary {}", "x".repeat(1000))]);
    let fragmented = [
        frame(false, Opcode::Binary, &[0; 600]),
        frame(true, Opcode::Continuation, &[0; 401])[..8].to_vec(),
    ];
    check_error(&fragmented.concat(), Error::MessageTooBig);
}

#[test]
fn a_flood_of_empty_fragments_ends() {
    let mut stream = frame(false, Opcode::Text, b"");
    for _ in 0..3 {
        stream.extend(frame(false, Opcode::Continuation, b""));
    }
    check(&stream, &[]);
    stream.extend(frame(true, Opcode::Continuation, b""));
    check_error(&stream, Error::FragmentsTooMany);
}

#[test]
fn whole_frames_are_read_in_place() {
    let mut stream = frame(true, Opcode::Text, b"hello");
    let place = stream.as_ptr_range();
    let mut inbound = Inbound::default();
    let step = inbound.read(&mut stream, &LIMITS).unwrap();
    let Some(Item::Message { payload, .. }) = step.item else { panic!("{step:?}") };
    assert!(place.contains(&payload.as_ptr()));
    assert!(inbound.is_idle());
    assert_eq!(inbound.message.capacity(), 0);
}

#[test]
fn a_payload_behind_a_cut_header_is_read_in_place() {
    let mut stream = frame(true, Opcode::Text, b"hello");
    let (first, second) = stream.split_at_mut(4);
    let mut inbound = Inbound::default();
    assert_eq!(inbound.read(first, &LIMITS), Ok(Step { consumed: 4, item: None }));
    assert!(!inbound.is_idle());
    assert!(inbound.read(second, &LIMITS).unwrap().item.is_some());
    assert!(inbound.is_idle());
    assert_eq!(inbound.message.capacity(), 0);
}

#[test]
fn memory_follows_received_bytes_not_claims() {
    let limits = Limits { message_bytes_max: 1 << 30, fragments_max: 4 };
    let mut stream = Vec::new();
    let mask = Some([0; 4]);
    Header { fin: true, opcode: Opcode::Binary, mask, payload_length: 1 << 29 }.encode(&mut stream);
    stream.extend([0; 100]);
    let mut inbound = Inbound::default();
    inbound.read(&mut stream, &limits).unwrap();
    assert_eq!(inbound.message.capacity(), 100);
    for received in (200..2000).step_by(100) {
        inbound.read(&mut [0; 100], &limits).unwrap();
        assert_eq!(inbound.message.len(), received);
        assert!(inbound.message.capacity() <= 2 * received);
    }
}

#[test]
fn a_gathered_message_ends_exactly_at_its_claim_and_is_given_back() {
    let mut stream = frame(true, Opcode::Binary, &[1; 150]);
    let (first, second) = stream.split_at_mut(100);
    let mut inbound = Inbound::default();
    inbound.read(first, &LIMITS).unwrap();
    assert!(inbound.read(second, &LIMITS).unwrap().item.is_some());
    assert!(inbound.is_idle());
    assert_eq!(inbound.message.capacity(), 150);
    inbound.read(&mut [], &LIMITS).unwrap();
    assert_eq!(inbound.message.capacity(), 0);
}

#[test]
fn every_error_has_its_close_code() {
    assert_eq!(Error::Unmasked.close_code(), CloseCode::PROTOCOL_ERROR);
    assert_eq!(Error::TextNotUtf8.close_code(), CloseCode::INVALID_PAYLOAD);
    assert_eq!(Error::MessageTooBig.close_code(), CloseCode::MESSAGE_TOO_BIG);
    assert_eq!(Error::CloseReasonNotUtf8.close_code(), CloseCode::INVALID_PAYLOAD);
    assert_eq!(Error::CloseCodeInvalid.close_code().0, 1002);
    assert_eq!(Error::MessageTooBig.to_string(), "message too big");
}
