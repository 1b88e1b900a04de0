//! Any bytes as bodies of the HTTP API: the first byte chooses the method, and what is refused is
//! refused in few words.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::protocol::http_api::{Fault, Method, decode_batch, decode_request};

fn assert_short(fault: &Fault) {
    assert!(!fault.message.is_empty() && fault.message.len() < 320);
}

fuzz_target!(|input: &[u8]| {
    let Some((&choice, body)) = input.split_first() else { return };
    match Method::ALL[usize::from(choice) % Method::ALL.len()] {
        Method::Batch => match decode_batch(body, 0) {
            Ok(batch) => {
                let faults =
                    batch.requests.iter().filter_map(|(_, request)| request.as_ref().err());
                faults.for_each(assert_short);
            }
            Err(fault) => assert_short(&fault),
        },
        method => {
            if let Err(fault) = decode_request(method, body, 0) {
                assert_short(&fault);
            }
        }
    }
});
