//! The frame header of RFC 6455 section 5.2, parsed and encoded, in both directions.
//!
//! Parsing judges bytes in the order in which they arrive and reports the first that is wrong,
//! so a header gives the same answer however the stream is cut. What depends on the direction
//! or on earlier frames (masks, fragments, limits) is judged by `inbound`. Frames of a server
//! are never masked (section 5.1), which is what lets one encoding serve every subscriber.

use crate::Error;

/// Most bytes of a client's header: 2, 8 of length, 4 of mask.
pub const HEADER_BYTES_MAX: usize = 14;

/// Most bytes of a server's header, which has no mask.
pub const SERVER_HEADER_BYTES_MAX: usize = 10;

/// RFC 6455 §5.5: control frames MUST have a payload length of 125 bytes or less.
pub const CONTROL_PAYLOAD_BYTES_MAX: usize = 125;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0F;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7F;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of the open message.
    Continuation = 0x0,
    /// A message of UTF-8 text, or its first fragment.
    Text = 0x1,
    /// A message of bytes, or its first fragment.
    Binary = 0x2,
    /// The closing handshake.
    Close = 0x8,
    /// Asks for a pong with the same payload.
    Ping = 0x9,
    /// Answers a ping, or is a heartbeat of its own.
    Pong = 0xA,
}

impl Opcode {
    /// The opcode of a header's first byte; `None` for one the RFC reserves.
    pub fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    /// True exactly for close, ping and pong: the high bit of the opcode (section 5.5).
    pub fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// One frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// True exactly when this frame ends its message.
    pub fin: bool,
    /// What the frame carries.
    pub opcode: Opcode,
    /// The mask of the payload; `Some` exactly when the frame is masked.
    pub mask: Option<[u8; 4]>,
    /// The bytes that follow the header, as the peer claims: below 2^63, otherwise unchecked.
    pub payload_length: u64,
}

impl Header {
    /// Reads the header at the start of `input` and returns it with its own length in bytes.
    ///
    /// `None` when more bytes are needed, which never is the case for [`HEADER_BYTES_MAX`].
    #[inline]
    pub fn parse(input: &[u8]) -> Result<Option<(Self, usize)>, Error> {
        let Some(&first) = input.first() else { return Ok(None) };
        // RFC 6455 §5.2: RSV1-3 MUST be 0 unless an extension is negotiated.
        if first & RESERVED != 0 {
            return Err(Error::ReservedBits);
        }
        // RFC 6455 §5.2: on an unknown opcode the endpoint MUST fail the connection.
        let opcode = Opcode::from_bits(first & OPCODE).ok_or(Error::ReservedOpcode)?;
        let fin = first & FIN != 0;
        // RFC 6455 §5.5: control frames MUST NOT be fragmented.
        if opcode.is_control() && !fin {
            return Err(Error::ControlFragmented);
        }
        let Some(&second) = input.get(1) else { return Ok(None) };
        let short = second & LENGTH;
        // RFC 6455 §5.5: and MUST have a payload length of 125 bytes or less.
        if opcode.is_control() && usize::from(short) > CONTROL_PAYLOAD_BYTES_MAX {
            return Err(Error::ControlTooLong);
        }
        let Some((payload_length, size)) = parse_length(short, &input[2..])? else {
            return Ok(None);
        };
        let size = 2 + size;
        if second & MASKED == 0 {
            return Ok(Some((Self { fin, opcode, mask: None, payload_length }, size)));
        }
        let Some(mask) = input[size..].first_chunk() else { return Ok(None) };
        Ok(Some((Self { fin, opcode, mask: Some(*mask), payload_length }, size + mask.len())))
    }

    /// Appends this header in either direction. Servers use [`encode_header`]; this is how tests
    /// and load generators speak as clients.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut header = [0; SERVER_HEADER_BYTES_MAX];
        let size = encode_header(&mut header, self.opcode, self.fin, self.payload_length);
        if self.mask.is_some() {
            header[1] |= MASKED;
        }
        out.extend_from_slice(&header[..size]);
        out.extend_from_slice(self.mask.as_ref().map_or(&[], |mask| mask));
    }
}

/// The extended payload length at the start of `input` and how many bytes it takes.
#[inline]
fn parse_length(short: u8, input: &[u8]) -> Result<Option<(u64, usize)>, Error> {
    let (length, size, minimum) = match short {
        LENGTH_16 => {
            let Some(bytes) = input.first_chunk() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(*bytes)), bytes.len(), u64::from(LENGTH_16))
        }
        LENGTH_64 => {
            let Some(bytes) = input.first_chunk() else { return Ok(None) };
            (u64::from_be_bytes(*bytes), bytes.len(), u64::from(u16::MAX) + 1)
        }
        _ => return Ok(Some((u64::from(short), 0))),
    };
    // RFC 6455 §5.2: the most significant bit MUST be 0.
    if length > i64::MAX as u64 {
        return Err(Error::LengthOverflow);
    }
    // RFC 6455 §5.2: the minimal number of bytes MUST be used to encode the length.
    if length < minimum {
        return Err(Error::NonMinimalLength);
    }
    Ok(Some((length, size)))
}

/// Writes the header of an unmasked frame to the front of `out` and returns its length.
#[inline]
pub fn encode_header(
    out: &mut [u8; SERVER_HEADER_BYTES_MAX],
    opcode: Opcode,
    fin: bool,
    payload_length: u64,
) -> usize {
    assert!(payload_length <= i64::MAX as u64, "RFC 6455 lengths have 63 bits");
    debug_assert!(!opcode.is_control() || (fin && payload_length <= 125), "section 5.5");
    out[0] = if fin { FIN } else { 0 } | opcode as u8;
    if payload_length < u64::from(LENGTH_16) {
        out[1] = payload_length as u8;
        2
    } else if let Ok(length) = u16::try_from(payload_length) {
        out[1] = LENGTH_16;
        out[2..4].copy_from_slice(&length.to_be_bytes());
        4
    } else {
        out[1] = LENGTH_64;
        out[2..10].copy_from_slice(&payload_length.to_be_bytes());
        10
    }
}

/// Appends a whole unmasked, unfragmented frame.
#[inline]
pub fn encode_frame(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    let mut header = [0; SERVER_HEADER_BYTES_MAX];
    let size = encode_header(&mut header, opcode, true, payload.len() as u64);
    out.reserve(size + payload.len());
    out.extend_from_slice(&header[..size]);
    out.extend_from_slice(payload);
}

/// The length of the whole server frame that starts at `frame`, header included.
///
/// `None` when `frame` is too short to tell. It walks frames that [`encode_frame`] wrote, to
/// find the boundary at which a sender may switch sources; it does not judge foreign bytes.
#[inline]
pub fn frame_bytes(frame: &[u8]) -> Option<usize> {
    let second = *frame.get(1)?;
    debug_assert!(second & MASKED == 0, "frames of a server are not masked");
    match second & LENGTH {
        LENGTH_16 => {
            let length = u16::from_be_bytes(*frame.get(2..)?.first_chunk()?);
            Some(4 + usize::from(length))
        }
        LENGTH_64 => {
            let length = u64::from_be_bytes(*frame.get(2..)?.first_chunk()?);
            usize::try_from(length).ok()?.checked_add(SERVER_HEADER_BYTES_MAX)
        }
        short => Some(2 + usize::from(short)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(input: &[u8]) -> Result<Option<(Header, usize)>, Error> {
        Header::parse(input)
    }

    #[test]
    fn examples_of_section_5_7() {
        let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        let (header, size) = parse(&hello).unwrap().unwrap();
        assert_eq!(size, 6);
        assert_eq!(
            header,
            Header {
                fin: true,
                opcode: Opcode::Text,
                mask: Some([0x37, 0xfa, 0x21, 0x3d]),
                payload_length: 5
            }
        );
        let (header, size) = parse(&[0x01, 0x03, 0x48, 0x65, 0x6c]).unwrap().unwrap();
        assert_eq!((header.fin, header.opcode, header.mask, size), (false, Opcode::Text, None, 2));
        let (header, size) = parse(&[0x82, 0x7E, 0x01, 0x00]).unwrap().unwrap();
        assert_eq!((header.payload_length, size), (256, 4));
        let (header, size) = parse(&[0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0]).unwrap().unwrap();
        assert_eq!((header.payload_length, size), (65536, 10));
    }

    #[test]
    fn a_cut_header_asks_for_more() {
        let header = [0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4];
        for end in 0..header.len() {
            assert_eq!(parse(&header[..end]), Ok(None), "{end} bytes");
        }
        assert_eq!(parse(&header).unwrap().unwrap().1, HEADER_BYTES_MAX);
    }

    // RFC 6455 §5.2: RSV bits and opcodes, judged on the first byte.
    #[test]
    fn reserved_bits_and_opcodes() {
        for bit in [0x10, 0x20, 0x40] {
            assert_eq!(parse(&[0x81 | bit]), Err(Error::ReservedBits));
        }
        for opcode in [3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF] {
            assert_eq!(parse(&[0x80 | opcode]), Err(Error::ReservedOpcode));
        }
    }

    // RFC 6455 §5.5.
    #[test]
    fn control_frames_are_short_and_whole() {
        for opcode in [0x8, 0x9, 0xA] {
            assert_eq!(parse(&[opcode]), Err(Error::ControlFragmented));
            assert_eq!(parse(&[0x80 | opcode, 0x80 | 126]), Err(Error::ControlTooLong));
            assert_eq!(parse(&[0x80 | opcode, 0x80 | 127]), Err(Error::ControlTooLong));
            assert!(parse(&[0x80 | opcode, 125]).unwrap().is_some());
        }
    }

    // RFC 6455 §5.2: minimal encoding, 63 bits.
    #[test]
    fn lengths_are_minimal_and_below_two_to_the_63() {
        assert_eq!(parse(&[0x82, 126, 0, 125]), Err(Error::NonMinimalLength));
        assert_eq!(parse(&[0x82, 126, 0, 126]).unwrap().unwrap().0.payload_length, 126);
        let long = |length: u64| [&[0x82, 127][..], &length.to_be_bytes()].concat();
        assert_eq!(parse(&long(65535)), Err(Error::NonMinimalLength));
        assert_eq!(parse(&long(65536)).unwrap().unwrap().0.payload_length, 65536);
        assert_eq!(parse(&long(1 << 63)), Err(Error::LengthOverflow));
        assert!(parse(&long((1 << 63) - 1)).unwrap().is_some());
    }

    #[test]
    fn frame_bytes_walks_a_log() {
        let mut log = Vec::new();
        let sizes = [0, 1, 125, 126, 65535, 65536, 3];
        for size in sizes {
            encode_frame(Opcode::Binary, &vec![7; size], &mut log);
        }
        let (mut at, mut count) = (0, 0);
        while at < log.len() {
            let (header, header_size) = parse(&log[at..]).unwrap().unwrap();
            let whole = frame_bytes(&log[at..]).unwrap();
            assert_eq!(whole, header_size + sizes[count]);
            assert_eq!(header.payload_length, sizes[count] as u64);
            assert_eq!(frame_bytes(&log[at..at + header_size]), Some(whole));
            assert_eq!(frame_bytes(&log[at..at + header_size - 1]), None);
            at += whole;
            count += 1;
        }
        assert_eq!((at, count), (log.len(), sizes.len()));
        assert_eq!(frame_bytes(&[]), None);
    }
}
