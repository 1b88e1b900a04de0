//! What a client sends, read frame by frame from slices of any size (RFC 6455 sections 5.4-5.6).
//!
//! A shard receives into one shared buffer and hands slices in. A whole unfragmented frame is
//! unmasked in place and its payload borrowed from that slice; only what is cut by the end of
//! the slice, or fragmented, is gathered here. So an [`Inbound`] is needed only between two
//! receives that split something: whenever [`Inbound::is_idle`], it can be dropped.
//!
//! Invariants: memory grows with bytes received, at most doubling, never with a length that a
//! header merely claims, and a claim over the limit is an error before any of it arrives. Items
//! and the final error do not depend on how the stream was cut.

use std::ops::Range;

use crate::close::parse_close;
use crate::frame::{CONTROL_PAYLOAD_BYTES_MAX, HEADER_BYTES_MAX, Header, Opcode};
use crate::mask::unmask;
use crate::{Error, utf8};

/// What one message may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most payload bytes of one message, over all its fragments.
    pub message_bytes_max: usize,
    /// Most frames of one message, at least 1; control frames between them do not count.
    pub fragments_max: u32,
}

/// Something whole that a client said.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A data message; its payload is valid UTF-8 when `text`.
    Message {
        /// True exactly when the client sent it as text.
        text: bool,
        /// The payload of all its frames.
        payload: &'a [u8],
    },
    /// A ping, to be answered by a pong with the same payload (section 5.5.2).
    Ping(&'a [u8]),
    /// A pong.
    Pong(&'a [u8]),
    /// The closing handshake. Nothing after it may be read (section 5.5.1).
    Close {
        /// `None` when the frame was empty.
        code: Option<u16>,
        /// May be empty.
        reason: &'a str,
    },
}

/// What one call of [`Inbound::read`] did.
#[derive(Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// How many bytes at the front of the input were used up: all of them when `item` is `None`.
    pub consumed: usize,
    /// The next item; `None` when more input is needed.
    pub item: Option<Item<'a>>,
}

/// A connection's half-read frame and message. `Inbound::default()` is between messages.
#[derive(Debug, Default)]
pub struct Inbound {
    /// Payload of the open message; once delivered, kept until the next read.
    message: Vec<u8>,
    /// Payload of the open control frame; once delivered, kept until the next read.
    control: Vec<u8>,
    /// The frame whose payload is being read; its header was accepted.
    frame: Option<Frame>,
    /// Frames seen of the open message: above 0 exactly while a data message is open.
    fragments: u32,
    /// The open message's text across pieces.
    text: utf8::Validator,
    /// True exactly when the open message is text.
    is_text: bool,
    /// How many bytes of `header` count.
    header_bytes: u8,
    /// The start of a header that the end of the input cut.
    header: [u8; HEADER_BYTES_MAX],
}

// The budget of a connection that is not idle; an idle one has no `Inbound`.
const _: () = assert!(size_of::<Inbound>() <= 128);

/// A frame whose payload is being read.
#[derive(Clone, Copy, Debug)]
struct Frame {
    payload_length: u64,
    received: u64,
    mask: [u8; 4],
    opcode: Opcode,
    fin: bool,
}

/// Where the next item's payload is; apart from [`Item`] because it borrows nothing yet.
enum Ready {
    /// Here in the input.
    Direct(Opcode, Range<usize>),
    /// In `self.message`, or `self.control` for a control frame.
    Gathered(Opcode),
}

impl Inbound {
    /// Reads from the front of `input` up to the end of the next item.
    ///
    /// Call it again with the rest until `item` is `None`. After an error or a close item the
    /// connection must be failed or closed, and not read again.
    #[inline]
    pub fn read<'a>(&'a mut self, input: &'a mut [u8], limits: &Limits) -> Result<Step<'a>, Error> {
        self.release_delivered();
        let mut consumed = 0;
        let ready = loop {
            if self.frame.is_none() {
                let Some((header, used)) = self.read_header(&input[consumed..])? else {
                    return Ok(Step { consumed: input.len(), item: None });
                };
                consumed += used;
                self.frame = Some(self.accept_header(header, limits)?);
            }
            let start = consumed;
            let (used, ready) = self.read_payload(&mut input[start..])?;
            consumed += used;
            match ready {
                Some(Ready::Direct(opcode, range)) => {
                    break Ready::Direct(opcode, start + range.start..start + range.end);
                }
                Some(gathered) => break gathered,
                None if self.frame.is_some() => return Ok(Step { consumed, item: None }),
                None => {}
            }
        };
        let (opcode, payload) = match ready {
            Ready::Direct(opcode, range) => (opcode, &input[range]),
            Ready::Gathered(opcode) if opcode.is_control() => (opcode, &self.control[..]),
            Ready::Gathered(opcode) => (opcode, &self.message[..]),
        };
        let item = Some(item(opcode, payload)?);
        Ok(Step { consumed, item })
    }

    /// True exactly when nothing is half-read, so that dropping `self` loses nothing.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.header_bytes == 0 && self.frame.is_none() && self.fragments == 0
    }

    /// How much payload of the open message has come.
    pub fn received(&self) -> usize {
        self.message.len()
    }

    /// How much memory it takes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.message.capacity() + self.control.capacity()
    }

    /// Gives the memory of delivered items back.
    #[inline]
    fn release_delivered(&mut self) {
        if self.frame.is_some() {
            return;
        }
        self.control = Vec::new();
        if self.fragments == 0 {
            self.message = Vec::new();
        }
    }

    /// The next header and how many bytes of `input` it took; `None` took all of them.
    #[inline]
    fn read_header(&mut self, input: &[u8]) -> Result<Option<(Header, usize)>, Error> {
        if self.header_bytes == 0
            && let Some(whole) = Header::parse(input)?
        {
            return Ok(Some(whole));
        }
        let held = usize::from(self.header_bytes);
        let take = input.len().min(HEADER_BYTES_MAX - held);
        self.header[held..held + take].copy_from_slice(&input[..take]);
        let Some((header, size)) = Header::parse(&self.header[..held + take])? else {
            self.header_bytes = (held + take) as u8;
            return Ok(None);
        };
        self.header_bytes = 0;
        Ok(Some((header, size - held)))
    }

    /// Judges a header by what came before it and by the limits, before any payload is kept.
    #[inline]
    fn accept_header(&mut self, header: Header, limits: &Limits) -> Result<Frame, Error> {
        let Header { fin, opcode, mask, payload_length } = header;
        // RFC 6455 §5.1: a server MUST close the connection upon a frame that is not masked.
        let mask = mask.ok_or(Error::Unmasked)?;
        if !opcode.is_control() {
            // RFC 6455 §5.4: fragments of one message MUST NOT be interleaved with another's.
            match (opcode, self.fragments) {
                (Opcode::Continuation, 0) => return Err(Error::ContinuationUnexpected),
                (Opcode::Continuation, _) => {}
                (_, 0) => self.is_text = opcode == Opcode::Text,
                (_, _) => return Err(Error::ContinuationExpected),
            }
            // No overflow: the header's length has 63 bits.
            if self.message.len() as u64 + payload_length > limits.message_bytes_max as u64 {
                return Err(Error::MessageTooBig);
            }
            self.fragments += 1;
            if self.fragments > limits.fragments_max {
                return Err(Error::FragmentsTooMany);
            }
        }
        Ok(Frame { payload_length, received: 0, mask, opcode, fin })
    }

    /// Unmasks and takes what `input` has of the open frame's payload.
    #[inline]
    fn read_payload(&mut self, input: &mut [u8]) -> Result<(usize, Option<Ready>), Error> {
        let frame = self.frame.as_mut().expect("read() opened a frame");
        let missing = frame.payload_length - frame.received;
        let used = usize::try_from(missing).map_or(input.len(), |missing| missing.min(input.len()));
        let piece = &mut input[..used];
        unmask(piece, frame.mask, frame.received as usize % 4);
        let is_whole = used as u64 == frame.payload_length;
        frame.received += used as u64;
        let is_done = frame.received == frame.payload_length;
        let frame = *frame;
        if is_done {
            self.frame = None;
        }
        let ready = if frame.opcode.is_control() {
            self.take_control(frame, piece, is_whole)
        } else if is_whole && frame.fin && frame.opcode != Opcode::Continuation {
            self.fragments = 0;
            if self.is_text {
                // RFC 6455 §8.1: text that is not UTF-8 MUST fail the connection.
                simdutf8::basic::from_utf8(piece).map_err(|_| Error::TextNotUtf8)?;
            }
            Some(Ready::Direct(frame.opcode, 0..used))
        } else {
            self.take_data(frame, piece)?
        };
        Ok((used, ready))
    }

    fn take_control(&mut self, frame: Frame, piece: &[u8], is_whole: bool) -> Option<Ready> {
        if is_whole {
            return Some(Ready::Direct(frame.opcode, 0..piece.len()));
        }
        extend(&mut self.control, piece, CONTROL_PAYLOAD_BYTES_MAX);
        self.frame.is_none().then_some(Ready::Gathered(frame.opcode))
    }

    fn take_data(&mut self, frame: Frame, piece: &[u8]) -> Result<Option<Ready>, Error> {
        if self.is_text {
            self.text.feed(piece).map_err(|_| Error::TextNotUtf8)?;
        }
        // Only the last frame tells where the message ends; before it, doubling alone decides, or
        // many small fragments would each move everything gathered.
        let missing = if frame.fin { frame.payload_length - frame.received } else { u64::MAX };
        let gathered = self.message.len() + piece.len();
        let end = usize::try_from(missing).unwrap_or(usize::MAX).saturating_add(gathered);
        extend(&mut self.message, piece, end);
        if self.frame.is_some() || !frame.fin {
            return Ok(None);
        }
        self.fragments = 0;
        if !self.is_text {
            return Ok(Some(Ready::Gathered(Opcode::Binary)));
        }
        self.text.finish().map_err(|_| Error::TextNotUtf8)?;
        Ok(Some(Ready::Gathered(Opcode::Text)))
    }
}

/// Appends `piece`; the capacity at most doubles and does not pass `bytes_max`, the known end.
fn extend(buffer: &mut Vec<u8>, piece: &[u8], bytes_max: usize) {
    let needed = buffer.len() + piece.len();
    if needed > buffer.capacity() {
        let target = (buffer.capacity() * 2).min(bytes_max).max(needed);
        buffer.reserve_exact(target - buffer.len());
    }
    buffer.extend_from_slice(piece);
}

#[inline]
fn item(opcode: Opcode, payload: &[u8]) -> Result<Item<'_>, Error> {
    Ok(match opcode {
        Opcode::Text => Item::Message { text: true, payload },
        Opcode::Binary | Opcode::Continuation => Item::Message { text: false, payload },
        Opcode::Ping => Item::Ping(payload),
        Opcode::Pong => Item::Pong(payload),
        Opcode::Close => {
            let (code, reason) = parse_close(payload)?;
            Item::Close { code, reason }
        }
    })
}

#[cfg(test)]
mod tests;
