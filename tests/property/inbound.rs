//! Any cut of a byte stream gives the same items and the same error, in bounded memory.

use proptest::prelude::*;
use tidegate::ws::mask::unmask;
use tidegate::ws::{Error, Header, Inbound, Item, Limits, Opcode};

const LIMITS: Limits = Limits { message_bytes_max: 400, fragments_max: 5 };

/// An item that outlives the buffer it was read from.
#[derive(Clone, Debug, PartialEq)]
enum Owned {
    Message(bool, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

fn own(item: &Item<'_>) -> Owned {
    match *item {
        Item::Message { text, payload } => {
            assert!(!text || std::str::from_utf8(payload).is_ok());
            assert!(payload.len() <= LIMITS.message_bytes_max);
            Owned::Message(text, payload.to_vec())
        }
        Item::Ping(payload) => Owned::Ping(payload.to_vec()),
        Item::Pong(payload) => Owned::Pong(payload.to_vec()),
        Item::Close { code, reason } => Owned::Close(code, reason.to_owned()),
    }
}

/// Reads `stream` cut into pieces of `sizes`, in turn, and drops the reader whenever it is idle.
fn read(stream: &[u8], sizes: &[usize]) -> (Vec<Owned>, Option<Error>) {
    let (mut inbound, mut items) = (Inbound::default(), Vec::new());
    let (mut stream, mut sizes) = (stream.to_vec(), sizes.iter().cycle());
    let mut input = &mut stream[..];
    while !input.is_empty() {
        let size = *sizes.next().expect("there is a size");
        let (mut piece, rest) = input.split_at_mut(size.min(input.len()));
        input = rest;
        loop {
            match inbound.read(piece, &LIMITS) {
                Ok(step) => {
                    let is_last = step.item.is_none();
                    items.extend(step.item.as_ref().map(own));
                    let consumed = step.consumed;
                    piece = &mut piece[consumed..];
                    if is_last {
                        assert!(piece.is_empty(), "no item means that everything was consumed");
                        break;
                    }
                }
                Err(error) => return (items, Some(error)),
            }
        }
        if inbound.is_idle() {
            inbound = Inbound::default();
        }
    }
    (items, None)
}

fn opcode() -> impl Strategy<Value = Opcode> {
    prop::sample::select(vec![
        Opcode::Continuation,
        Opcode::Text,
        Opcode::Binary,
        Opcode::Close,
        Opcode::Ping,
        Opcode::Pong,
    ])
}

fn push_frame(fin: bool, opcode: Opcode, mask: [u8; 4], payload: &[u8], out: &mut Vec<u8>) {
    Header { fin, opcode, mask: Some(mask), payload_length: payload.len() as u64 }.encode(out);
    let start = out.len();
    out.extend_from_slice(payload);
    unmask(&mut out[start..], mask, 0);
}

/// Frames in any order, most of them legal alone.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        "[a-zé€😀]{0,50}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..200),
    ];
    let frame = (any::<bool>(), opcode(), any::<[u8; 4]>(), payload);
    prop::collection::vec(frame, 0..8).prop_map(|frames| {
        let mut out = Vec::new();
        for (fin, opcode, mask, mut payload) in frames {
            if opcode.is_control() {
                payload.truncate(125);
            }
            push_frame(fin || opcode.is_control(), opcode, mask, &payload, &mut out);
        }
        out
    })
}

/// Legal conversations: messages in fragments with pings between, and what they must give.
fn conversation() -> impl Strategy<Value = (Vec<u8>, Vec<Owned>)> {
    let message = ("[a-zé€😀]{0,60}", prop::collection::vec(0..60_usize, 0..4), any::<[u8; 4]>());
    prop::collection::vec((any::<bool>(), message), 0..5).prop_map(|messages| {
        let (mut out, mut items) = (Vec::new(), Vec::new());
        for (is_text, (text, mut cuts, mask)) in messages {
            let bytes = text.as_bytes();
            cuts.iter_mut().for_each(|cut| *cut = (*cut).min(bytes.len()));
            cuts.sort_unstable();
            let mut opcode = if is_text { Opcode::Text } else { Opcode::Binary };
            let mut start = 0;
            for cut in cuts {
                push_frame(false, opcode, mask, &bytes[start..cut], &mut out);
                push_frame(true, Opcode::Ping, mask, b"?", &mut out);
                items.push(Owned::Ping(b"?".to_vec()));
                (opcode, start) = (Opcode::Continuation, cut);
            }
            push_frame(true, opcode, mask, &bytes[start..], &mut out);
            items.push(Owned::Message(is_text, bytes.to_vec()));
        }
        (out, items)
    })
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_items(
        stream in stream(),
        sizes in prop::collection::vec(1..50_usize, 1..6),
    ) {
        prop_assert_eq!(read(&stream, &sizes), read(&stream, &[stream.len().max(1)]));
    }

    #[test]
    fn any_cut_of_any_bytes_gives_the_same_items(
        stream in prop::collection::vec(any::<u8>(), 0..100),
        sizes in prop::collection::vec(1..9_usize, 1..6),
    ) {
        prop_assert_eq!(read(&stream, &sizes), read(&stream, &[stream.len().max(1)]));
    }

    #[test]
    fn legal_conversations_arrive_whole(
        (stream, items) in conversation(),
        sizes in prop::collection::vec(1..50_usize, 1..6),
    ) {
        prop_assert_eq!(read(&stream, &sizes), (items, None));
    }
}
