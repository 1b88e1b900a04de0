//! Any bytes as a client's stream: every cut gives the items of the whole. The first byte
//! chooses the sizes of the pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::ws::{Error, Inbound, Item, Limits};

const LIMITS: Limits = Limits { message_bytes_max: 4096, fragments_max: 8 };

/// The items of `stream`, as text, when it arrives in pieces of these sizes.
fn read(stream: &[u8], mut sizes: impl FnMut() -> usize) -> (Vec<String>, Option<Error>) {
    let mut stream = stream.to_vec();
    let (mut inbound, mut items, mut input) = (Inbound::default(), Vec::new(), &mut stream[..]);
    while !input.is_empty() {
        let size = sizes();
        let (mut piece, rest) = input.split_at_mut(size.min(input.len()));
        input = rest;
        loop {
            let step = match inbound.read(piece, &LIMITS) {
                Ok(step) => step,
                Err(error) => {
                    let _ = (error.close_code(), error.reason());
                    return (items, Some(error));
                }
            };
            if let Some(Item::Message { text, payload }) = step.item {
                assert!(!text || std::str::from_utf8(payload).is_ok());
            }
            items.extend(step.item.as_ref().map(|item| format!("{item:?}")));
            let (consumed, is_last) = (step.consumed, step.item.is_none());
            piece = &mut piece[consumed..];
            if is_last {
                assert!(piece.is_empty());
                break;
            }
        }
        if inbound.is_idle() {
            inbound = Inbound::default();
        }
    }
    (items, None)
}

fuzz_target!(|input: &[u8]| {
    let Some((&seed, stream)) = input.split_first() else { return };
    // A linear congruential generator: sizes of 1 to 40 that the first byte chooses.
    let mut state = u32::from(seed);
    let sizes = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        1 + (state >> 16) as usize % 40
    };
    assert_eq!(read(stream, sizes), read(stream, || usize::MAX));
});
