//! One connection: from `connect` through both handshakes to its end, without I/O.
//!
//! Bytes go in, replies and figures come out. Masks are zero, which is a mask too: it costs the
//! server what any other costs, and us nothing.

mod json;

use std::os::fd::{AsRawFd, RawFd};

use socket2::Socket;

use crate::channels::{Channels, Publication};
use crate::handshake;
use crate::message::{Message, Stream};
use crate::subscription::Subscription;
use crate::tally::Tally;
use crate::verified::Verified;
use tidegate_ws::frame::{Header, Opcode};

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
    /// The commands of a JSON client are sent, not all replies have come.
    Joining,
    /// Messages go both ways.
    Open,
    /// Our Close frame is sent, the server's has not come.
    Closing,
    /// Close frames went both ways: the server ends the connection.
    Closed,
}

impl Phase {
    /// Whether it is not known yet if the connection opens.
    pub(super) fn is_opening(self) -> bool {
        matches!(self, Self::Connecting | Self::Shaking | Self::Joining)
    }
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
    /// At the places of [`Channels::place`].
    pub(super) subscriptions: Box<[Subscription]>,
    /// The server knows who this is, which only the JSON protocol asks.
    is_connected: bool,
    answers_pings: bool,
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
    pub(super) channels: &'a Channels,
    /// What is spoken: messages as they are, or the Centrifuge protocol.
    pub(super) is_json: bool,
    /// Whether subscriptions are to be recoverable.
    pub(super) recovers: bool,
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
            subscriptions: Box::default(),
            is_connected: false,
            answers_pings: false,
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
            self.phase = if round.is_json { Phase::Joining } else { Phase::Open };
            if round.is_json {
                self.introduce(round);
            } else {
                self.subscriptions.iter_mut().for_each(|it| it.join(true, round.tally));
            }
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
            self.take(header.opcode, &bytes[start..start + length], round)?;
            at = start + length;
        }
        self.half = bytes[at..].to_vec();
        Ok(())
    }

    fn take(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        round: &mut Round<'_>,
    ) -> Result<(), String> {
        match opcode {
            Opcode::Ping => {
                round.tally.note_ping(round.now);
                frame(Opcode::Pong, payload, round.replies);
            }
            Opcode::Close => return self.take_close(payload, round),
            Opcode::Text if round.is_json => return self.take_lines(payload, round),
            Opcode::Binary if round.is_json => round.tally.damaged += 1,
            Opcode::Text | Opcode::Binary => self.take_message(payload, round),
            Opcode::Continuation | Opcode::Pong => {}
        }
        Ok(())
    }

    fn take_close(&mut self, payload: &[u8], round: &mut Round<'_>) -> Result<(), String> {
        if self.phase == Phase::Joining {
            return Err(close_reason(payload));
        }
        if self.phase == Phase::Closing {
            round.tally.closed_by_us += 1;
        } else {
            round.tally.note_close(&close_reason(payload));
            frame(Opcode::Close, payload, round.replies);
        }
        self.phase = Phase::Closed;
        Ok(())
    }

    fn take_message(&mut self, payload: &[u8], round: &mut Round<'_>) {
        let (channels, key) = (round.channels, payload.first_chunk().copied());
        let key = key.map_or(0, u32::from_le_bytes);
        let read = |payload: &[u8]| channels.assign(Message::decode(payload)?);
        let Some(publication) = round.verified.read(key, payload, read) else {
            round.tally.damaged += 1;
            return;
        };
        let is_new = self.take_publication(&publication, false, round);
        if let Some(echo) = round.echo.filter(|echo| is_new && round.now < echo.until_nanos) {
            self.speak(echo.bytes, round.now, round.tally, round.replies);
        }
    }

    /// Takes a message that came as it was published; says whether it is new.
    fn take_publication(
        &mut self,
        publication: &Publication,
        is_recovered: bool,
        round: &mut Round<'_>,
    ) -> bool {
        let tally = &mut *round.tally;
        tally.last_nanos = round.now;
        let place = round.channels.place(self.number, publication);
        let subscription = place.and_then(|place| self.subscriptions.get_mut(place));
        let Some(subscription) = subscription.filter(|it| it.is_joined) else {
            tally.damaged += 1;
            return false;
        };
        if !subscription.take(publication, tally) {
            return false;
        }
        if is_recovered {
            // How long it waited says when the client was cut off, and nothing of the server.
            tally.through_recovery += 1;
            return true;
        }
        let nanos = round.now.saturating_sub(publication.message.published_nanos);
        match publication.stream {
            Stream::Main => tally.latency.record(nanos),
            Stream::UnicastQuiet => tally.unicast_quiet.record(nanos),
            Stream::UnicastBusy => tally.unicast_busy.record(nanos),
        }
        if round.notes_receivers && publication.stream == Stream::Main {
            let number = publication.message.number;
            tally.note_receiver(number as usize, nanos);
        }
        true
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
