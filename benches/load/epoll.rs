//! The baseline of echo: a small WebSocket server on epoll, as one would write it by hand.
//!
//! One thread, edge-triggered, one read and one send for each message. It speaks just enough of
//! the protocol for the clients of this bench, and checks less than the edge does.
#![allow(unsafe_code, reason = "epoll has no safe wrapper among the dependencies")]

use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use tidegate::sys::socket::{receive, send};
use tidegate::ws::frame::{Header, encode_frame};
use tidegate::ws::mask::unmask;

const EVENTS_MAX: usize = 256;

/// Accepts `count` connections, then echoes until the process is ended.
pub(crate) fn serve(listener: &TcpListener, count: usize) -> io::Result<()> {
    // SAFETY: the call takes an integer.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    let mut streams = Vec::with_capacity(count);
    for place in 0..count {
        let (stream, _) = listener.accept()?;
        let stream = open(stream)?;
        let events = (libc::EPOLLIN | libc::EPOLLET) as u32;
        let mut event = libc::epoll_event { events, u64: place as u64 };
        let fd = stream.as_raw_fd();
        // SAFETY: the event is ours and lives for the whole call.
        unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) };
        streams.push(stream);
    }
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX];
    let (mut input, mut reply) = (vec![0; 65_536], Vec::new());
    loop {
        let most = EVENTS_MAX as i32;
        // SAFETY: the pointer and the count are those of an array of ours.
        let ready = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), most, -1) };
        for event in &events[..ready.max(0) as usize] {
            let fd = streams[event.u64 as usize].as_raw_fd();
            while let Ok(count @ 1..) = receive(fd, &mut input) {
                echo(&mut input[..count], &mut reply);
                send(fd, &reply)?;
            }
        }
    }
}

/// The opening handshake: the clients of this bench all send the sample key of the RFC.
fn open(mut stream: TcpStream) -> io::Result<TcpStream> {
    let mut head = [0; 1024];
    let mut length = 0;
    while !head[..length].ends_with(b"\r\n\r\n") {
        length += stream.read(&mut head[length..])?;
    }
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    let response = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    send(stream.as_raw_fd(), response)?;
    Ok(stream)
}

fn echo(input: &mut [u8], reply: &mut Vec<u8>) {
    reply.clear();
    let mut rest = input;
    while let Ok(Some((header, size))) = Header::parse(rest) {
        let end = size + header.payload_length as usize;
        let (frame, behind) = rest.split_at_mut(end);
        unmask(&mut frame[size..], header.mask.unwrap_or_default(), 0);
        encode_frame(header.opcode, &frame[size..], reply);
        rest = behind;
    }
}
