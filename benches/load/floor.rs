//! The floor: what the kernel costs, a plain loop of `send(2)` over connected sockets.

use std::io::{self, BufRead};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use tidegate::load::message::Message;
use tidegate::sys::Clock;
use tidegate::ws::frame::{Opcode, encode_frame};

use crate::SENDER_CORE;
use crate::mail::Mail;
use crate::role::{Role, pin};

/// The floor's process.
pub(crate) struct Floor {
    role: Role,
    /// Where its receivers connect.
    pub(crate) address: String,
}

impl Floor {
    /// Starts it on the senders' core; it waits for so many connections.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let mut role = Role::start("floor", &[&count.to_string()])?;
        let address = role.hear()?;
        Ok(Self { role, address })
    }

    /// Sends one frame to every socket.
    pub(crate) fn pass(&mut self, number: u32, bytes: usize) -> io::Result<()> {
        self.role.say(&format!("pass {number} {bytes}"))
    }

    /// Makes frames for random sockets, so that sending them is all there is left to do.
    pub(crate) fn prepare(&mut self, messages: usize, bytes: usize) -> io::Result<()> {
        self.role.say(&format!("prepare {messages} {bytes}"))?;
        self.role.hear().map(drop)
    }

    /// Sends what was prepared.
    pub(crate) fn scatter(&mut self) -> io::Result<()> {
        self.role.say("scatter")
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.role.pid()
    }
}

/// Plays the role.
pub(crate) fn play(count: usize) -> io::Result<()> {
    pin([SENDER_CORE]);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let (socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        sockets.push(socket);
    }
    let mut mail = Mail::new(count);
    let mut prepared = Vec::new();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<usize>().expect("a number");
        match words[0] {
            "pass" => {
                let now = Clock::shared_nanos();
                let message = Message { number: number(1) as u32, published_nanos: now };
                let frame = frame(&message.encode(number(2)));
                sockets.iter().try_for_each(|socket| send(socket, &frame))?;
            }
            "prepare" => {
                let letters = (0..number(1)).map(|_| mail.next(number(2)));
                prepared = letters.map(|(user, payload)| (user, frame(&payload))).collect();
                println!("ready");
            }
            _ => prepared.iter().try_for_each(|(user, frame)| send(&sockets[*user], frame))?,
        }
    }
    Ok(())
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_frame(Opcode::Binary, payload, &mut frame);
    frame
}

fn send(socket: &TcpStream, frame: &[u8]) -> io::Result<()> {
    let sent = tidegate::sys::socket::send(socket.as_raw_fd(), frame)?;
    assert_eq!(sent, frame.len(), "the floor never fills a socket");
    Ok(())
}
