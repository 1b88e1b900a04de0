//! Holding and verifying many connections from one thread.

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::load::message::Message;
use crate::sys::Clock;
use crate::sys::ring::{Kind, Ring};
use crate::sys::socket::receive;
use crate::ws::frame::{Header, Opcode};

/// How much one read can bring.
const INPUT_BYTES: usize = 256 * 1024;

/// The longest latency that is told apart from longer ones: a minute.
const LATENCY_NANOS_MAX: u64 = 60_000_000_000;

/// What arrived, over all connections.
#[derive(Debug)]
pub struct Tally {
    /// Messages that arrived in order.
    pub received: u64,
    /// Messages that were left out: a later one came in their place.
    pub lost: u64,
    /// Messages that came again, or after a later one.
    pub repeated: u64,
    /// Messages that were damaged.
    pub damaged: u64,
    /// Connections that the server closed.
    pub closed: u64,
    /// Nanoseconds from publishing to receipt.
    pub latency: Histogram<u64>,
    /// When the latest message arrived, in nanoseconds of the shared clock.
    pub last_nanos: u64,
}

/// Many connections and what they have received.
pub struct Receiver {
    ring: Ring,
    clients: Vec<Client>,
    input: Vec<u8>,
    tally: Tally,
}

/// One connection.
struct Client {
    stream: TcpStream,
    /// The number that the next message should have.
    next: u32,
    /// A frame that has come only in part.
    half: Vec<u8>,
    is_closed: bool,
}

impl Receiver {
    /// Takes over open connections. The first message of each will have the number `first`.
    pub fn new(streams: Vec<TcpStream>, first: u32) -> io::Result<Self> {
        let mut ring = Ring::new(None)?;
        ring.end_sleep();
        for (row, stream) in streams.iter().enumerate() {
            ring.watch_readable(stream.as_raw_fd(), row as u32, 0);
        }
        ring.enter()?;
        let client = |stream| Client { stream, next: first, half: Vec::new(), is_closed: false };
        let latency = Histogram::new_with_max(LATENCY_NANOS_MAX, 3)
            .expect("three digits and a minute are within the crate's bounds");
        let tally = Tally {
            received: 0,
            lost: 0,
            repeated: 0,
            damaged: 0,
            closed: 0,
            latency,
            last_nanos: 0,
        };
        let clients = streams.into_iter().map(client).collect();
        Ok(Self { ring, clients, input: vec![0; INPUT_BYTES], tally })
    }

    /// Receives whatever comes, for at most `timeout` if nothing does.
    pub fn poll(&mut self, timeout: Duration) -> io::Result<()> {
        self.ring.wait(timeout)?;
        while let Some(completion) = self.ring.poll_completion() {
            if completion.kind != Kind::Readable {
                continue;
            }
            let row = completion.row as usize;
            self.read(row);
            let client = &self.clients[row];
            if !completion.has_more && !client.is_closed {
                self.ring.watch_readable(client.stream.as_raw_fd(), row as u32, 0);
            }
        }
        Ok(())
    }

    /// What has arrived so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Forgets the latencies, so that the next phase has its own.
    pub fn reset_latency(&mut self) {
        self.tally.latency.reset();
    }

    fn read(&mut self, row: usize) {
        loop {
            let client = &mut self.clients[row];
            if client.is_closed {
                return;
            }
            match receive(client.stream.as_raw_fd(), &mut self.input) {
                Ok(0) => return self.close(row),
                Ok(count) => {
                    client.hear(&self.input[..count], &mut self.tally);
                    if count < INPUT_BYTES {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.close(row),
            }
        }
    }

    fn close(&mut self, row: usize) {
        self.clients[row].is_closed = true;
        self.tally.closed += 1;
        self.ring.cancel(Kind::Readable, row as u32, 0);
    }
}

impl Client {
    fn hear(&mut self, input: &[u8], tally: &mut Tally) {
        let now = Clock::shared_nanos();
        tally.last_nanos = now;
        let mut half = std::mem::take(&mut self.half);
        let bytes = if half.is_empty() {
            input
        } else {
            half.extend_from_slice(input);
            &half
        };
        let mut at = 0;
        while let Ok(Some((header, header_bytes))) = Header::parse(&bytes[at..]) {
            let length = header.payload_length as usize;
            let start = at + header_bytes;
            if bytes.len() - start < length {
                break;
            }
            self.take(header.opcode, &bytes[start..start + length], now, tally);
            at = start + length;
        }
        self.half = bytes[at..].to_vec();
    }

    fn take(&mut self, opcode: Opcode, payload: &[u8], now: u64, tally: &mut Tally) {
        match opcode {
            Opcode::Ping => self.pong(payload),
            Opcode::Text | Opcode::Binary => {
                let Some(message) = Message::decode(payload) else {
                    tally.damaged += 1;
                    return;
                };
                if message.number < self.next {
                    tally.repeated += 1;
                    return;
                }
                tally.lost += u64::from(message.number - self.next);
                tally.received += 1;
                self.next = message.number + 1;
                let latency = now.saturating_sub(message.published_nanos);
                tally.latency.saturating_record(latency);
            }
            Opcode::Continuation | Opcode::Close | Opcode::Pong => {}
        }
    }

    /// Answers a heartbeat. The mask is zero, which is a mask too.
    fn pong(&self, payload: &[u8]) {
        let header = Header {
            fin: true,
            opcode: Opcode::Pong,
            mask: Some([0; 4]),
            payload_length: payload.len() as u64,
        };
        let mut frame = Vec::with_capacity(6 + payload.len());
        header.encode(&mut frame);
        frame.extend_from_slice(payload);
        let fd: RawFd = self.stream.as_raw_fd();
        // A full socket means that the server hears from this client anyway.
        let _ = crate::sys::socket::send(fd, &frame);
    }
}
