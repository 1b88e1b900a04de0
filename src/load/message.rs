//! The payload of a load test: number, checksum, time, filler.
//!
//! ```text
//! 0        4        8                16
//! | number | crc32  | published at   | filler …
//! ```
//! Integers are little-endian. The number's highest two bits are its stream. The checksum covers
//! everything but itself. The time is that of `CLOCK_MONOTONIC` in nanoseconds, which all processes
//! of a host share.

/// The least size of a payload in bytes.
pub const PAYLOAD_BYTES_MIN: usize = 16;

/// What a payload says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// The number of the message, from zero.
    pub number: u32,
    /// When it was published.
    pub published_nanos: u64,
}

/// What a message is one of. Each connection has the broadcasts and its own unicasts, and each of
/// the two has numbers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// What the scenario is about; broadcasts in `mixed`.
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
        let checksum = checksum(&payload);
        payload[4..8].copy_from_slice(&checksum.to_le_bytes());
        payload
    }

    /// Reads a payload; `None` when it is too short or damaged.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let message = Self::read(payload)?;
        let claimed = u32::from_le_bytes(payload.get(4..8)?.try_into().ok()?);
        (checksum(payload) == claimed).then_some(message)
    }

    /// Reads a payload without looking at the checksum; `None` when it is too short.
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let number = u32::from_le_bytes(payload.get(..4)?.try_into().ok()?);
        let published_nanos = u64::from_le_bytes(payload.get(8..16)?.try_into().ok()?);
        Some(Self { number, published_nanos })
    }
}

fn checksum(payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&payload[..4]);
    hasher.update(&payload[8..]);
    hasher.finalize()
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
}
