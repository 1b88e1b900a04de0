//! Any bytes as a text frame of commands: an error comes last, ids are where replies are.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::limits::COMMANDS_PER_FRAME_MAX;
use tidegate::model::Variant;
use tidegate::protocol::centrifuge::{Method, decode_requests};

fuzz_target!(|frame: &[u8]| {
    let read: Vec<_> = decode_requests(Variant::Json, frame).collect();
    assert!((1..=COMMANDS_PER_FRAME_MAX + 1).contains(&read.len()));
    assert!(read[..read.len() - 1].iter().all(Result::is_ok));
    for request in read.into_iter().flatten() {
        let has_reply = !matches!(request.method, Method::Send { .. } | Method::Pong);
        assert_eq!(request.id > 0, has_reply);
    }
});
