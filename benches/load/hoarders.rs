//! Clients that take as much of the server as they are given, one kind at a time.
//!
//! They prepare what they send beforehand and take little of their core themselves, at the lowest
//! priority, so that the polite ones on the same core do not wait for them. Whoever is closed comes
//! back.

use std::fmt::Write as _;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use tidegate::token::Signer;

use crate::RECEIVER_CORE;
use crate::backends::{
    Doors, batch, broadcast_over_http, broadcast_over_router, flood, let_expire,
};
use crate::peer::{Peer, frame};
use crate::role::{Role, pin};
use crate::server::{SECRET, Server};

/// What a client says first.
const CONNECT: &[u8] = br#"{"id":1,"connect":{}}"#;

/// Commands of one frame.
const COMMANDS: usize = 900;

/// Channels that one client comes to, and goes from.
const CHANNELS: usize = 10_000;

/// As many as the server lets one client have.
const CHANNELS_MAX: usize = 16_384;

/// The channel with history and presence.
pub(crate) const KEPT: &str = "kept:full";

/// Before a client that was closed comes back.
const PAUSE: Duration = Duration::from_millis(20);

/// What one of them does until it is closed.
#[derive(Clone, Copy)]
enum Act {
    Client(fn(&str, usize) -> io::Result<()>),
    Backend(fn(&Doors, usize) -> io::Result<()>),
}

/// One kind of them: its name, how many there are, and what each does until it is closed.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    clients: usize,
    act: Act,
}

/// All kinds.
pub(crate) const KINDS: [Kind; 14] = [
    Kind { name: "subscribe and unsubscribe", clients: 4, act: Act::Client(come_and_go) },
    Kind { name: "connect with positions", clients: 8, act: Act::Client(connect) },
    Kind { name: "commands in large frames", clients: 8, act: Act::Client(ask_much) },
    Kind { name: "empty commands", clients: 8, act: Act::Client(pong) },
    Kind { name: "history", clients: 16, act: Act::Client(ask_history) },
    Kind { name: "presence", clients: 16, act: Act::Client(ask_presence) },
    Kind { name: "close with 16384 channels", clients: 4, act: Act::Client(close) },
    Kind { name: "do not read", clients: 200, act: Act::Client(be_deaf) },
    Kind { name: "bad tokens", clients: 40, act: Act::Client(show_bad_tokens) },
    Kind { name: "broadcasts over HTTP", clients: 16, act: Act::Backend(broadcast_over_http) },
    Kind { name: "batches over HTTP", clients: 16, act: Act::Backend(batch) },
    Kind { name: "broadcasts over ROUTER", clients: 4, act: Act::Backend(broadcast_over_router) },
    Kind { name: "a flood over PUSH", clients: 4, act: Act::Backend(flood) },
    Kind { name: "100000 that expire", clients: 1, act: Act::Backend(let_expire) },
];

/// All hoarders of one kind, in a process that ends with this value.
pub(crate) struct Hoarders(Role);

impl Hoarders {
    /// Lets them begin.
    pub(crate) fn start(kind: usize, server: &Server) -> io::Result<Self> {
        let Server { public, internal, pull, router, .. } = server;
        let arguments = [&kind.to_string(), public, internal, pull, router];
        let mut role = Role::start_nicely("hoarders", &arguments.map(String::as_str))?;
        role.hear()?;
        Ok(Self(role))
    }

    /// Their process.
    pub(crate) fn pid(&self) -> u32 {
        self.0.pid()
    }
}

/// Plays the role until the standard input ends.
pub(crate) fn play(kind: usize, addresses: &[String]) -> io::Result<()> {
    let [public, internal, pull, router] = <[String; 4]>::try_from(addresses.to_vec())
        .map_err(|_| io::Error::other("not all addresses are said"))?;
    let doors = Arc::new(Doors { public, internal, pull, router });
    pin([RECEIVER_CORE]);
    let Kind { clients, act, .. } = KINDS[kind];
    for number in 0..clients {
        let doors = Arc::clone(&doors);
        std::thread::spawn(move || {
            loop {
                // To be closed is what may happen to a hoarder.
                let _ = match act {
                    Act::Client(act) => act(&doors.public, number),
                    Act::Backend(act) => act(&doors, number),
                };
                std::thread::sleep(PAUSE);
            }
        });
    }
    println!("begun");
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}

/// Frames of numbered commands, the numbers beginning with 2.
fn commands(count: usize, each: impl Fn(usize) -> String) -> Vec<Vec<u8>> {
    let command = |at| format!("{{\"id\":{},{}}}", at + 2, each(at));
    let frame_of = |first| {
        let numbers = first..count.min(first + COMMANDS);
        let lines: Vec<String> = numbers.map(command).collect();
        frame(lines.join("\n").as_bytes())
    };
    (0..count).step_by(COMMANDS).map(frame_of).collect()
}

/// Sends the same frames for ever and takes all replies.
fn repeat(address: &str, frames: &[Vec<u8>]) -> io::Result<()> {
    let frames = frames.concat();
    let mut peer = Peer::connect(address, CONNECT)?;
    peer.ignore()?;
    loop {
        peer.say_frames(&frames)?;
    }
}

fn come_and_go(address: &str, number: usize) -> io::Result<()> {
    let about = |method, at| format!(r#""{method}":{{"channel":"go-{number}-{at}"}}"#);
    let mut frames = commands(CHANNELS, |at| about("subscribe", at));
    frames.extend(commands(CHANNELS, |at| about("unsubscribe", at)));
    repeat(address, &frames)
}

/// The token has as many channels as one may have, and the command as many positions as fit.
fn connect(address: &str, number: usize) -> io::Result<()> {
    let channels: Vec<String> = (0..127).map(|at| format!("c-{number}-{at}")).collect();
    let claims = serde_json::json!({ "sub": format!("u{number}"), "channels": channels });
    let signer = Signer::from_secret(SECRET.as_bytes());
    let token = signer.sign(claims.to_string().as_bytes()).map_err(io::Error::other)?;
    let mut positions = String::new();
    for at in 0..1500 {
        let comma = if at > 0 { "," } else { "" };
        let _ = write!(positions, r#"{comma}"s-{at}":{{"epoch":"e","offset":1}}"#);
    }
    let command = format!(r#"{{"id":1,"connect":{{"token":"{token}","subs":{{{positions}}}}}}}"#);
    loop {
        Peer::connect(address, command.as_bytes())?;
    }
}

fn ask_much(address: &str, _: usize) -> io::Result<()> {
    repeat(address, &commands(COMMANDS, |_| r#""presence_stats":{"channel":"bench"}"#.to_owned()))
}

fn pong(address: &str, _: usize) -> io::Result<()> {
    repeat(address, &vec![frame("{}\n".repeat(COMMANDS).as_bytes()); 20])
}

fn ask_history(address: &str, _: usize) -> io::Result<()> {
    let ask = |_| format!(r#""history":{{"channel":"{KEPT}","limit":-1}}"#);
    repeat(address, &commands(COMMANDS, ask))
}

fn ask_presence(address: &str, number: usize) -> io::Result<()> {
    // Somebody must be there.
    let path = format!("/websocket?channels={KEPT}");
    let _audience = if number == 0 {
        (0..500).map(|_| Peer::open(address, &path)).collect::<io::Result<Vec<Peer>>>()?
    } else {
        Vec::new()
    };
    repeat(address, &commands(COMMANDS, |_| format!(r#""presence":{{"channel":"{KEPT}"}}"#)))
}

fn close(address: &str, number: usize) -> io::Result<()> {
    let frames = commands(CHANNELS_MAX, |at| {
        format!(r#""subscribe":{{"channel":"kept:close-{number}-{at}"}}"#)
    });
    loop {
        let mut peer = Peer::connect(address, CONNECT)?;
        for (frame, at) in frames.iter().zip(1..) {
            peer.say_frames(frame)?;
            let last = CHANNELS_MAX.min(at * COMMANDS) + 1;
            peer.hear_until(format!("\"id\":{last},").as_bytes())?;
        }
    }
}

fn be_deaf(address: &str, _: usize) -> io::Result<()> {
    let mut peer = Peer::connect(address, CONNECT)?;
    peer.say(br#"{"id":2,"subscribe":{"channel":"bench"}}"#)?;
    let ask = |_| format!(r#""history":{{"channel":"{KEPT}","limit":-1}}"#);
    let frames = commands(COMMANDS, ask).concat();
    loop {
        peer.say_frames(&frames)?;
    }
}

fn show_bad_tokens(address: &str, _: usize) -> io::Result<()> {
    let pem = include_str!("../../tests/keys/p384.private.pem");
    let signer = Signer::from_pem(pem).map_err(io::Error::other)?;
    let sign = |claims: &str| signer.sign(claims.as_bytes()).map_err(io::Error::other);
    let (one, other) = (sign(r#"{"sub":"a"}"#)?, sign(r#"{"sub":"b"}"#)?);
    let message = one.rsplit_once('.').expect("a token has three parts").0;
    let signature = other.rsplit_once('.').expect("a token has three parts").1;
    let subscribe = format!(r#""subscribe":{{"channel":"a","token":"{message}.{signature}"}}"#);
    repeat(address, &commands(100, |_| subscribe.clone()))
}
