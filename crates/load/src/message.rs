//! The payload of a load test: number, checksum, time, filler.
//!
//! ```text
//! 0        4        8                16
//! | number | crc32  | published at   | filler …
//!
//! 0     6        14       22               38
//! {"m":"| number | crc32  | published at   | letters …"}
//! ```
//! Integers are little-endian in the binary form; in JSON they are lower-case hexadecimal digits.
//! The number's highest two bits are its stream. The checksum covers everything but itself. The
//! time is that of `CLOCK_MONOTONIC` in nanoseconds, which all processes of a host share.

use std::ops::Range;

/// The least size of a payload in bytes.
pub const PAYLOAD_BYTES_MIN: usize = 16;

/// The least size of a payload in JSON.
pub const JSON_BYTES_MIN: usize = 40;

/// What stands before the number in JSON, and behind the filler.
const JSON_ENDS: [&[u8]; 2] = [br#"{"m":""#, br#""}"#];

/// What a payload says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The number of the message, from zero.
    pub number: u32,
    /// When it was published.
    pub published_nanos: u64,
}

/// What a message is one of. Each connection has the broadcasts and its own unicasts, and each of
/// the two has numbers of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stream {
    /// What the scenario is about; broadcasts in `mixed`.
    #[default]
    Main,
    /// To one user, while nothing else is published.
    UnicastQuiet,
    /// To one user, while something is.
    UnicastBusy,
}

/// Where the stream stands in a number.
const STREAM_SHIFT: u32 = 30;

impl Stream {
    /// A number of this stream.
    pub(super) fn number(self, number: u32) -> u32 {
        (self as u32) << STREAM_SHIFT | number
    }

    /// The stream of a number and the rest of it; `None` if there is no such stream.
    pub(super) fn of(number: u32) -> Option<(Self, u32)> {
        let streams = [Self::Main, Self::UnicastQuiet, Self::UnicastBusy];
        let stream = *streams.get((number >> STREAM_SHIFT) as usize)?;
        Some((stream, number & ((1 << STREAM_SHIFT) - 1)))
    }
}

impl Message {
    /// Writes a payload of `size` bytes, at least [`PAYLOAD_BYTES_MIN`].
    pub fn encode(&self, size: usize) -> Vec<u8> {
        let mut payload = Vec::with_capacity(size);
        payload.extend_from_slice(&self.number.to_le_bytes());
        payload.extend_from_slice(&[0; 4]);
        payload.extend_from_slice(&self.published_nanos.to_le_bytes());
        let filler = self.number.to_le_bytes();
        payload.extend((payload.len()..size).map(|at| filler[at % 4] ^ at as u8));
        let checksum = checksum(&payload, 4..8);
        payload[4..8].copy_from_slice(&checksum.to_le_bytes());
        payload
    }

    /// Writes a payload of `size` bytes that is JSON, at least [`JSON_BYTES_MIN`].
    pub fn encode_json(&self, size: usize) -> Vec<u8> {
        let Self { number, published_nanos } = self;
        let [head, tail] = JSON_ENDS;
        let mut payload = Vec::with_capacity(size);
        payload.extend_from_slice(head);
        payload
            .extend_from_slice(format!("{number:08x}{:08x}{published_nanos:016x}", 0).as_bytes());
        let filler = payload.len()..size.saturating_sub(tail.len());
        payload.extend(filler.map(|at| b'a' + ((*number as usize + at) % 26) as u8));
        payload.extend_from_slice(tail);
        let checksum = checksum(&payload, 14..22);
        payload[14..22].copy_from_slice(format!("{checksum:08x}").as_bytes());
        payload
    }

    /// Reads a payload; `None` when it is too short or damaged.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let message = Self::read(payload)?;
        let claimed = u32::from_le_bytes(payload.get(4..8)?.try_into().ok()?);
        (checksum(payload, 4..8) == claimed).then_some(message)
    }

    /// Reads a payload in JSON; `None` when it is not one, too short or damaged.
    pub fn decode_json(payload: &[u8]) -> Option<Self> {
        let [head, tail] = JSON_ENDS;
        if payload.len() < JSON_BYTES_MIN || !payload.starts_with(head) || !payload.ends_with(tail)
        {
            return None;
        }
        let number = u32::try_from(hexadecimal(&payload[6..14])?).ok()?;
        let claimed = hexadecimal(&payload[14..22])?;
        let published_nanos = hexadecimal(&payload[22..38])?;
        let is_right = u64::from(checksum(payload, 14..22)) == claimed;
        is_right.then_some(Self { number, published_nanos })
    }

    /// Reads a payload without looking at the checksum; `None` when it is too short.
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let number = u32::from_le_bytes(payload.get(..4)?.try_into().ok()?);
        let published_nanos = u64::from_le_bytes(payload.get(8..16)?.try_into().ok()?);
        Some(Self { number, published_nanos })
    }
}

/// Of everything but the checksum's own place.
fn checksum(payload: &[u8], place: Range<usize>) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&payload[..place.start]);
    hasher.update(&payload[place.end..]);
    hasher.finalize()
}

/// The number that at most 16 lower-case digits write, and nothing else.
fn hexadecimal(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, &digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_keeps_its_stream() {
        for stream in [Stream::Main, Stream::UnicastQuiet, Stream::UnicastBusy] {
            for number in [0, 7, (1 << STREAM_SHIFT) - 1] {
                assert_eq!(Stream::of(stream.number(number)), Some((stream, number)));
            }
        }
        assert_eq!(Stream::Main.number(7), 7);
        assert_eq!(Stream::of(u32::MAX), None);
    }

    #[test]
    fn a_payload_says_what_was_written_unless_it_is_damaged() {
        for size in [16, 17, 128, 1000] {
            let message = Message { number: 7, published_nanos: 1 << 40 };
            let payload = message.encode(size);
            assert_eq!((payload.len(), Message::decode(&payload)), (size, Some(message)));
            for at in 0..size {
                let mut damaged = payload.clone();
                damaged[at] ^= 1;
                assert_eq!(Message::decode(&damaged), None, "byte {at} of {size}");
            }
        }
        assert_eq!(Message::decode(&[0; 15]), None);
    }

    #[test]
    fn the_same_holds_in_json() {
        for size in [40, 41, 128, 1000] {
            let message = Message { number: u32::MAX, published_nanos: 0xab << 40 };
            let payload = message.encode_json(size);
            assert_eq!((payload.len(), Message::decode_json(&payload)), (size, Some(message)));
            let value: serde_json::Value = serde_json::from_slice(&payload).unwrap();
            assert_eq!(value["m"].as_str().unwrap().len(), size - 8);
            for at in 0..size {
                // A letter's other case is the same digit to many a parser.
                for bit in [1, 0x20] {
                    let mut damaged = payload.clone();
                    damaged[at] ^= bit;
                    assert_eq!(Message::decode_json(&damaged), None, "byte {at} of {size}");
                }
            }
            assert_eq!(Message::decode_json(&payload[..size - 1]), None);
        }
        assert_eq!(Message::decode_json(b"{}"), None);
    }
}
