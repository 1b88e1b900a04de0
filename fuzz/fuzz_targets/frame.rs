//! Any bytes as a frame header: what parses encodes back to the same bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::ws::Header;
use tidegate::ws::frame::{HEADER_BYTES_MAX, frame_bytes};

fuzz_target!(|input: &[u8]| {
    let Ok(Some((header, size))) = Header::parse(input) else {
        assert!(input.len() < HEADER_BYTES_MAX || Header::parse(input).is_err());
        return;
    };
    for end in 0..size {
        assert_eq!(Header::parse(&input[..end]), Ok(None));
    }
    let mut encoded = Vec::new();
    header.encode(&mut encoded);
    assert_eq!(encoded, &input[..size]);
    if header.mask.is_none() {
        let whole = usize::try_from(header.payload_length).unwrap() + size;
        assert_eq!(frame_bytes(input), Some(whole));
    }
});
