//! The client protocol, against bytes of the official packages and under arbitrary input.
//!
//! What clients are expected to send and to read is said here once more, by hand, in `golden` and
//! with a reader and a writer of protobuf that share nothing with the codec.

mod commands;
mod golden;
mod message;
mod protobuf;
mod pushes;

use tidegate::model::Variant;
use tidegate::ws::{Header, Opcode};

/// The payload of the one frame that these bytes are.
fn payload(variant: Variant, frame: &[u8]) -> &[u8] {
    let (header, size) = Header::parse(frame).expect("a header").expect("a whole header");
    let opcode = if variant == Variant::Json { Opcode::Text } else { Opcode::Binary };
    assert!(header.fin && header.mask.is_none() && header.opcode == opcode, "{header:?}");
    assert_eq!(header.payload_length, (frame.len() - size) as u64);
    &frame[size..]
}
