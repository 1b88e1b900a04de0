//! Frame headers survive a round trip, and the parser never panics or disagrees with itself.

use proptest::prelude::*;
use tidegate::ws::frame::{HEADER_BYTES_MAX, encode_frame, encode_header, frame_bytes};
use tidegate::ws::{Header, Opcode};

fn header() -> impl Strategy<Value = Header> {
    let data = prop::sample::select(vec![Opcode::Continuation, Opcode::Text, Opcode::Binary]);
    let control = prop::sample::select(vec![Opcode::Close, Opcode::Ping, Opcode::Pong]);
    // Lengths around each change of encoding, and any other of 63 bits.
    let length = prop_oneof![0..300_u64, 65_000..66_000_u64, 0..1_u64 << 63];
    let mask = || any::<Option<[u8; 4]>>();
    prop_oneof![
        (any::<bool>(), data, mask(), length).prop_map(|(fin, opcode, mask, payload_length)| {
            Header { fin, opcode, mask, payload_length }
        }),
        (control, mask(), 0..=125_u64).prop_map(|(opcode, mask, payload_length)| {
            Header { fin: true, opcode, mask, payload_length }
        }),
    ]
}

proptest! {
    #[test]
    fn headers_survive_a_round_trip(header in header(), behind in any::<[u8; 3]>()) {
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        let size = bytes.len();
        prop_assert!(size <= HEADER_BYTES_MAX);
        for end in 0..size {
            prop_assert_eq!(Header::parse(&bytes[..end]), Ok(None));
        }
        bytes.extend(behind);
        prop_assert_eq!(Header::parse(&bytes), Ok(Some((header, size))));
    }

    #[test]
    fn a_server_header_is_the_unmasked_one(header in header()) {
        let header = Header { mask: None, ..header };
        let (mut array, mut bytes) = ([0; 10], Vec::new());
        let size = encode_header(&mut array, header.opcode, header.fin, header.payload_length);
        header.encode(&mut bytes);
        prop_assert_eq!(&array[..size], &bytes);
        let whole = usize::try_from(header.payload_length).unwrap() + size;
        prop_assert_eq!(frame_bytes(&bytes), Some(whole));
    }

    #[test]
    fn a_log_of_frames_is_walked_by_its_boundaries(
        sizes in prop::collection::vec(0..70_000_usize, 0..8),
    ) {
        let (mut log, mut ends) = (Vec::new(), Vec::new());
        for size in &sizes {
            encode_frame(Opcode::Binary, &vec![0xFF; *size], &mut log);
            ends.push(log.len());
        }
        let mut at = 0;
        for end in ends {
            at += frame_bytes(&log[at..]).unwrap();
            prop_assert_eq!(at, end);
        }
        prop_assert_eq!(at, log.len());
    }

    // A verdict is final: more bytes change neither an error nor a header.
    #[test]
    fn longer_input_gives_the_same_verdict(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
        let mut verdict = Ok(None);
        for end in 0..=bytes.len() {
            let now = Header::parse(&bytes[..end]);
            if verdict != Ok(None) {
                prop_assert_eq!(now, verdict);
            }
            verdict = now;
        }
        prop_assert!(bytes.len() < HEADER_BYTES_MAX || verdict != Ok(None));
    }
}
