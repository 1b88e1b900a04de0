//! One connection: from `connect` through both handshakes to its end, without I/O.
//!
//! Bytes go in, replies and figures come out. Masks are zero, which is a mask too: it costs the
//! server what any other costs, and us nothing.

use std::os::fd::{AsRawFd, RawFd};

use socket2::Socket;

use super::handshake;
use super::message::{Message, Stream};
use super::sequence::{Sequence, Verdict};
use super::tally::Tally;
use super::verified::Verified;
use crate::ws::frame::{Header, Opcode};

/// No server that is tested sends frames as long as this.
const FRAME_BYTES_MAX: u64 = 64 << 20;

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nobody is in this row.
    Free,
    /// TCP connects.
    Connecting,
    /// The request is sent, the response has not come.
    Shaking,
    /// Messages go both ways.
    Open,
    /// Our Close frame is sent, the server's has not come.
    Closing,
    /// Close frames went both ways: the server ends the connection.
    Closed,
}

/// A connection and what it has received.
pub(super) struct Client {
    pub(super) socket: Option<Socket>,
    pub(super) generation: u32,
    pub(super) number: u32,
    pub(super) phase: Phase,
    pub(super) began_nanos: u64,
    /// What a full socket did not take.
    pub(super) unsent: Vec<u8>,
    /// A frame or a response that has come only in part.
    half: Vec<u8>,
    /// Of the main stream.
    sequence: Sequence,
    /// Of what is for this connection alone, in scenarios that have both.
    own_sequence: Sequence,
    sent: u32,
}

/// Every message that comes back is answered by the next one.
#[derive(Clone, Copy)]
pub(super) struct Echo {
    pub(super) bytes: usize,
    /// No new message is sent from then on.
    pub(super) until_nanos: u64,
}

/// What a client needs while it hears.
pub(super) struct Round<'a> {
    pub(super) verified: &'a mut Verified,
    pub(super) tally: &'a mut Tally,
    pub(super) replies: &'a mut Vec<u8>,
    pub(super) echo: Option<Echo>,
    /// Whether the last receiver of each message is looked for.
    pub(super) notes_receivers: bool,
    pub(super) now: u64,
}

impl Client {
    pub(super) fn free(generation: u32) -> Self {
        Self {
            socket: None,
            generation,
            number: 0,
            phase: Phase::Free,
            began_nanos: 0,
            unsent: Vec::new(),
            half: Vec::new(),
            sequence: Sequence::new(),
            own_sequence: Sequence::new(),
            sent: 0,
        }
    }

    pub(super) fn fd(&self) -> Option<RawFd> {
        self.socket.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Takes bytes from the server. An error ends the connection.
    pub(super) fn hear(&mut self, input: &[u8], round: &mut Round<'_>) -> Result<(), String> {
        let mut half = std::mem::take(&mut self.half);
        let bytes = if half.is_empty() {
            input
        } else {
            half.extend_from_slice(input);
            &half
        };
        let mut at = 0;
        if self.phase == Phase::Shaking {
            match handshake::accepted(bytes)? {
                Some(head_bytes) => at = head_bytes,
                None => {
                    self.half = bytes.to_vec();
                    return Ok(());
                }
            }
            self.phase = Phase::Open;
        }
        let broken = |error| format!("broken frame: {error}");
        while let Some((header, header_bytes)) = Header::parse(&bytes[at..]).map_err(broken)? {
            if header.payload_length > FRAME_BYTES_MAX {
                return Err("a frame of more than 64 MiB".to_owned());
            }
            let start = at + header_bytes;
            let length = header.payload_length as usize;
            if bytes.len() - start < length {
                break;
            }
            self.take(header.opcode, &bytes[start..start + length], round);
            at = start + length;
        }
        self.half = bytes[at..].to_vec();
        Ok(())
    }

    fn take(&mut self, opcode: Opcode, payload: &[u8], round: &mut Round<'_>) {
        match opcode {
            Opcode::Ping => {
                round.tally.note_ping(round.now);
                frame(Opcode::Pong, payload, round.replies);
            }
            Opcode::Close => self.take_close(payload, round),
            Opcode::Text | Opcode::Binary => self.take_message(payload, round),
            Opcode::Continuation | Opcode::Pong => {}
        }
    }

    fn take_close(&mut self, payload: &[u8], round: &mut Round<'_>) {
        if self.phase == Phase::Closing {
            round.tally.closed_by_us += 1;
        } else {
            round.tally.note_close(&close_reason(payload));
            frame(Opcode::Close, payload, round.replies);
        }
        self.phase = Phase::Closed;
    }

    fn take_message(&mut self, payload: &[u8], round: &mut Round<'_>) {
        let tally = &mut *round.tally;
        tally.last_nanos = round.now;
        let decoded = round
            .verified
            .decode(payload)
            .and_then(|message| Some((message, Stream::of(message.number)?)));
        let Some((message, (stream, number))) = decoded else {
            tally.damaged += 1;
            return;
        };
        let (sequence, latency) = match stream {
            Stream::Main => (&mut self.sequence, &mut tally.latency),
            Stream::UnicastQuiet => (&mut self.own_sequence, &mut tally.unicast_quiet),
            Stream::UnicastBusy => (&mut self.own_sequence, &mut tally.unicast_busy),
        };
        match sequence.take(number) {
            Verdict::New { missing } => tally.lost += u64::from(missing),
            Verdict::Late => {
                tally.lost -= 1;
                tally.reordered += 1;
            }
            Verdict::Repeated => {
                tally.repeated += 1;
                return;
            }
        }
        tally.received += 1;
        let nanos = round.now.saturating_sub(message.published_nanos);
        latency.record(nanos);
        if round.notes_receivers && stream == Stream::Main {
            tally.note_receiver(number as usize, nanos);
        }
        if let Some(echo) = round.echo.filter(|echo| round.now < echo.until_nanos) {
            self.speak(echo.bytes, round.now, round.tally, round.replies);
        }
    }

    /// Writes the next message of an echo.
    pub(super) fn speak(
        &mut self,
        bytes: usize,
        now: u64,
        tally: &mut Tally,
        frames: &mut Vec<u8>,
    ) {
        let message = Message { number: self.sent, published_nanos: now };
        self.sent += 1;
        tally.sent += 1;
        frame(Opcode::Binary, &message.encode(bytes), frames);
    }
}

/// Appends a whole frame of a client.
pub(super) fn frame(opcode: Opcode, payload: &[u8], frames: &mut Vec<u8>) {
    let payload_length = payload.len() as u64;
    Header { fin: true, opcode, mask: Some([0; 4]), payload_length }.encode(frames);
    frames.extend_from_slice(payload);
}

/// A Close frame's code and reason in words.
fn close_reason(payload: &[u8]) -> String {
    match payload {
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            format!("Close {code} {}", String::from_utf8_lossy(reason)).trim_end().to_owned()
        }
        _ => "Close without a code".to_owned(),
    }
}
