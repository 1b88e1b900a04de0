//! The baseline of echo, unicast and handshakes: a small WebSocket server on epoll, as one would
//! write it by hand.
//!
//! One thread, edge-triggered, one read and one send for each message. It speaks just enough of
//! the protocol for the clients of this bench, and checks less than the edge does. What a client
//! sends comes back; whoever asks for [`COMMANDS`] is no client but publishes to users.
#![allow(unsafe_code, reason = "epoll has no safe wrapper among the dependencies")]

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};
use tidegate::sys::socket::{receive, send, shutdown_write};
use tidegate::ws::frame::{Header, Opcode, encode_frame};
use tidegate::ws::mask::unmask;

use crate::SENDER_CORE;
use crate::role::{Role, pin};

/// The path of a connection that brings commands: the lengths of a user and of a payload, 32 bits
/// each, and then both.
const COMMANDS: &str = "/commands";

const EVENTS_MAX: usize = 256;
const INPUT_BYTES: usize = 65_536;

/// The baseline's process.
pub(crate) struct EpollServer {
    role: Role,
    /// Where its clients connect.
    pub(crate) address: String,
}

impl EpollServer {
    /// Starts it on the senders' core.
    pub(crate) fn start() -> io::Result<Self> {
        let mut role = Role::start("epoll", &[])?;
        let address = role.hear()?;
        Ok(Self { role, address })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.role.pid()
    }

    /// Opens a connection that takes commands.
    pub(crate) fn entrance(&self) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_nodelay(true)?;
        write!(stream, "GET {COMMANDS} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        stream.read_exact(&mut [0; CONTINUE.len()])?;
        Ok(stream)
    }
}

/// Appends a command.
pub(crate) fn encode_command(user: &str, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(user.len() as u32).to_le_bytes());
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(user.as_bytes());
    out.extend_from_slice(payload);
}

/// Plays the role.
pub(crate) fn play() -> io::Result<()> {
    pin([SENDER_CORE]);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    // SAFETY: listening again only changes the length of the queue.
    unsafe { libc::listen(listener.as_raw_fd(), 4096) };
    listener.set_nonblocking(true)?;
    println!("{}", listener.local_addr()?);
    Epoll::new(listener)?.serve()
}

struct Epoll {
    fd: RawFd,
    listener: TcpListener,
    /// By descriptor.
    connections: Vec<Option<Connection>>,
    users: HashMap<String, RawFd>,
    reply: Vec<u8>,
}

struct Connection {
    /// Closed with this value.
    _stream: TcpStream,
    phase: Phase,
    /// A request or a command that has come only in part.
    half: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Shaking,
    Open,
    /// Close frames went both ways and our direction is shut down: the peer's end is waited for
    /// (RFC 6455 section 7.1.1).
    Lingering,
    Commanding,
}

/// What a connection for commands is answered.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl Epoll {
    fn new(listener: TcpListener) -> io::Result<Self> {
        // SAFETY: the call takes an integer.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        let (connections, users, reply) = (Vec::new(), HashMap::new(), Vec::new());
        let epoll = Self { fd, listener, connections, users, reply };
        epoll.watch(epoll.listener.as_raw_fd());
        Ok(epoll)
    }

    fn watch(&self, fd: RawFd) {
        let events = (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLET) as u32;
        let mut event = libc::epoll_event { events, u64: fd as u64 };
        // SAFETY: the event is ours and lives for the whole call.
        unsafe { libc::epoll_ctl(self.fd, libc::EPOLL_CTL_ADD, fd, &raw mut event) };
    }

    fn serve(&mut self) -> io::Result<()> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX];
        let mut input = vec![0; INPUT_BYTES];
        loop {
            let most = EVENTS_MAX as i32;
            // SAFETY: the pointer and the count are those of an array of ours.
            let ready = unsafe { libc::epoll_wait(self.fd, events.as_mut_ptr(), most, -1) };
            for event in &events[..ready.max(0) as usize] {
                let fd = event.u64 as RawFd;
                if fd == self.listener.as_raw_fd() {
                    self.accept()?;
                } else {
                    self.read(fd, &mut input)?;
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let fd = stream.as_raw_fd();
            if self.connections.len() <= fd as usize {
                self.connections.resize_with(fd as usize + 1, || None);
            }
            let connection =
                Connection { _stream: stream, phase: Phase::Shaking, half: Vec::new() };
            self.connections[fd as usize] = Some(connection);
            self.watch(fd);
        }
        Ok(())
    }

    /// Reads until nothing is left, as edge-triggered events demand.
    fn read(&mut self, fd: RawFd, input: &mut [u8]) -> io::Result<()> {
        while let Some(connection) = &self.connections[fd as usize] {
            let phase = connection.phase;
            let count = match receive(fd, input) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Ok(0) | Err(_) => {
                    self.connections[fd as usize] = None;
                    break;
                }
                Ok(count) => count,
            };
            match phase {
                Phase::Shaking => self.shake(fd, &input[..count])?,
                Phase::Open => self.echo(fd, &mut input[..count])?,
                Phase::Lingering => {}
                Phase::Commanding => self.command(fd, &input[..count])?,
            }
        }
        Ok(())
    }

    fn shake(&mut self, fd: RawFd, input: &[u8]) -> io::Result<()> {
        let connection = self.connections[fd as usize].as_mut().expect("it was read from");
        connection.half.extend_from_slice(input);
        let mut fields = [httparse::EMPTY_HEADER; 16];
        let mut request = httparse::Request::new(&mut fields);
        let parsed = request.parse(&connection.half).map_err(io::Error::other)?;
        if parsed.is_partial() {
            return Ok(());
        }
        let path = request.path.unwrap_or_default();
        if path == COMMANDS {
            connection.phase = Phase::Commanding;
            self.reply.clear();
            self.reply.extend_from_slice(CONTINUE);
        } else {
            connection.phase = Phase::Open;
            let user = path.rsplit('/').next().unwrap_or_default();
            self.users.insert(user.to_owned(), fd);
            write_upgrade(&request, &mut self.reply);
        }
        connection.half = Vec::new();
        send(fd, &self.reply).map(drop)
    }

    fn echo(&mut self, fd: RawFd, input: &mut [u8]) -> io::Result<()> {
        self.reply.clear();
        let mut is_closing = false;
        let mut rest = input;
        while let Ok(Some((header, size))) = Header::parse(rest) {
            let end = size + header.payload_length as usize;
            let (frame, behind) = rest.split_at_mut(end);
            unmask(&mut frame[size..], header.mask.unwrap_or_default(), 0);
            encode_frame(header.opcode, &frame[size..], &mut self.reply);
            is_closing |= header.opcode == Opcode::Close;
            rest = behind;
        }
        send(fd, &self.reply)?;
        if is_closing {
            shutdown_write(fd);
            let connection = self.connections[fd as usize].as_mut().expect("it was read from");
            connection.phase = Phase::Lingering;
        }
        Ok(())
    }

    fn command(&mut self, fd: RawFd, input: &[u8]) -> io::Result<()> {
        let connection = self.connections[fd as usize].as_mut().expect("it was read from");
        let mut half = std::mem::take(&mut connection.half);
        half.extend_from_slice(input);
        let mut at = 0;
        let length = |at: usize| {
            let bytes = half.get(at..at + 4)?.try_into().ok()?;
            Some(u32::from_le_bytes(bytes) as usize)
        };
        while let (Some(user_bytes), Some(payload_bytes)) = (length(at), length(at + 4)) {
            let payload_at = at + 8 + user_bytes;
            let Some(payload) = half.get(payload_at..payload_at + payload_bytes) else { break };
            let user = std::str::from_utf8(&half[at + 8..payload_at]).map_err(io::Error::other)?;
            if let Some(&socket) = self.users.get(user) {
                self.reply.clear();
                encode_frame(Opcode::Binary, payload, &mut self.reply);
                let sent = send(socket, &self.reply)?;
                assert_eq!(sent, self.reply.len(), "the baseline never fills a socket");
            }
            at = payload_at + payload_bytes;
        }
        half.drain(..at);
        connection.half = half;
        Ok(())
    }
}

/// The answer to an opening handshake (RFC 6455 section 4.2.2).
fn write_upgrade(request: &httparse::Request<'_, '_>, reply: &mut Vec<u8>) {
    let key = request.headers.iter().find(|field| field.name == "Sec-WebSocket-Key");
    let mut hash = Sha1::new();
    hash.update(key.map_or(&[][..], |field| field.value));
    hash.update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    reply.clear();
    reply.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Accept: ",
    );
    reply.extend_from_slice(STANDARD.encode(hash.finalize()).as_bytes());
    reply.extend_from_slice(b"\r\n\r\n");
}
