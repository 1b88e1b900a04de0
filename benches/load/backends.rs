//! Backends that ask as much of the server as it takes, and one that asks for little, over HTTP.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::http::read_head;

/// Channels of a broadcast: as many as it may have.
const CHANNELS: usize = 1024;

/// Questions that a peer of ROUTER has under way.
const PIPELINED: usize = 200;

/// Publications that become too old at once.
const EXPIRING: usize = 100_000;

/// When nothing comes for so long, something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the server listens.
pub(crate) struct Doors {
    pub(crate) public: String,
    pub(crate) internal: String,
    pub(crate) pull: String,
    pub(crate) router: String,
}

/// A connection to the HTTP API.
pub(crate) struct Caller {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Caller {
    /// Connects.
    pub(crate) fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, input: Vec::new() })
    }

    /// Asks, and waits for an answer that is good.
    pub(crate) fn call(&mut self, method: &str, body: &str) -> io::Result<()> {
        self.exchange("POST", &format!("/api/{method}"), body)
    }

    /// Gets a page.
    pub(crate) fn look(&mut self, path: &str) -> io::Result<()> {
        self.exchange("GET", path, "")
    }

    fn exchange(&mut self, method: &str, path: &str, body: &str) -> io::Result<()> {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        self.stream.write_all(request.as_bytes())?;
        self.input.clear();
        let mut bytes = [0; 64 * 1024];
        loop {
            if let Some((head, length)) = read_head(&self.input)?
                && self.input.len() >= head + length
            {
                let is_refused = self.input[head..].starts_with(b"{\"error\"");
                return if is_refused { Err(io::Error::other("refused")) } else { Ok(()) };
            }
            match self.stream.read(&mut bytes)? {
                0 => return Err(io::Error::other("the server has closed a connection")),
                count => self.input.extend_from_slice(&bytes[..count]),
            }
        }
    }
}

fn channels() -> Vec<String> {
    (0..CHANNELS).map(|number| format!("much-{number}")).collect()
}

fn call_for_ever(doors: &Doors, method: &str, body: &serde_json::Value) -> io::Result<()> {
    let (mut caller, body) = (Caller::connect(&doors.internal)?, body.to_string());
    loop {
        caller.call(method, &body)?;
    }
}

pub(crate) fn broadcast_over_http(doors: &Doors, _: usize) -> io::Result<()> {
    let body = serde_json::json!({ "channels": channels(), "data": 1 });
    call_for_ever(doors, "broadcast", &body)
}

pub(crate) fn batch(doors: &Doors, _: usize) -> io::Result<()> {
    let publish = serde_json::json!({ "publish": { "channel": "much-1", "data": 1 } });
    let body = serde_json::json!({ "commands": vec![publish; 256], "parallel": true });
    call_for_ever(doors, "batch", &body)
}

fn socket(kind: zmq::SocketType, address: &str) -> zmq::Result<zmq::Socket> {
    let socket = zmq::Context::new().socket(kind)?;
    socket.set_linger(0)?;
    socket.connect(address)?;
    Ok(socket)
}

pub(crate) fn broadcast_over_router(doors: &Doors, _: usize) -> io::Result<()> {
    let meta = serde_json::json!({ "op": "broadcast", "channels": channels() }).to_string();
    let dealer = socket(zmq::DEALER, &doors.router).map_err(io::Error::other)?;
    let mut under_way = 0;
    loop {
        while under_way < PIPELINED {
            dealer.send_multipart(["$cmd", "x", &meta], 0).map_err(io::Error::other)?;
            under_way += 1;
        }
        dealer.recv_bytes(0).map_err(io::Error::other)?;
        under_way -= 1;
    }
}

pub(crate) fn flood(doors: &Doors, _: usize) -> io::Result<()> {
    let push = socket(zmq::PUSH, &doors.pull).map_err(io::Error::other)?;
    loop {
        push.send_multipart(["much-1", "x"], 0).map_err(io::Error::other)?;
    }
}

pub(crate) fn let_expire(doors: &Doors, number: usize) -> io::Result<()> {
    let push = socket(zmq::PUSH, &doors.pull).map_err(io::Error::other)?;
    let channel = format!("brief:{number}");
    loop {
        for _ in 0..EXPIRING {
            push.send_multipart([&channel, "x"], 0).map_err(io::Error::other)?;
        }
        std::thread::sleep(Duration::from_millis(1500));
    }
}
