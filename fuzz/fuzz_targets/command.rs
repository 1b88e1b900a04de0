//! The native message format: topic, NUL, payload, NUL, meta (which may have NULs).
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let parts: Vec<&[u8]> = data.splitn(3, |byte| *byte == 0).collect();
    let _ = tidegate::protocol::decode_parts(&parts, 0);
});
