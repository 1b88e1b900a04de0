//! A verifier that cannot fail verifies nothing: servers that lose, repeat, reorder, damage, cut
//! and close are all found out.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use super::*;
use crate::message::Message;
use crate::{Channels, Opener, open_all};
use tidegate_ws::frame::encode_frame;

const ACCEPT: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A server that answers each request with the same bytes and then does what it is told.
fn serve(
    count: usize,
    bytes: Vec<u8>,
    then: impl Fn(TcpStream) + Send + 'static,
) -> (Target, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target::new(
        listener.local_addr().unwrap(),
        Door::WebSocket("/{number}?channels=x".to_owned()),
    );
    let server = std::thread::spawn(move || {
        for _ in 0..count {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            assert!(request.starts_with(b"GET /"));
            stream.write_all(&bytes).unwrap();
            then(stream);
        }
    });
    (target, server)
}

/// Keeps a connection until the client has gone.
fn keep(mut stream: TcpStream) {
    let _ = stream.read_to_end(&mut Vec::new());
}

fn frames(numbers: &[u32]) -> Vec<u8> {
    let mut frames = ACCEPT.to_vec();
    for &number in numbers {
        let message = Message { number, published_nanos: Clock::shared_nanos() };
        encode_frame(Opcode::Binary, &message.encode(200), &mut frames);
    }
    frames
}

/// Longer than any answer takes on loopback.
const PATIENCE: Duration = Duration::from_secs(10);

/// What one connection to such a server sees until it has seen so many things.
fn tally_of(bytes: Vec<u8>, count: u64, then: impl Fn(TcpStream) + Send + 'static) -> Tally {
    let (target, server) = serve(1, bytes, then);
    tally_at(target, count, server)
}

fn tally_at(target: Target, count: u64, server: JoinHandle<()>) -> Tally {
    let mut fleet = Fleet::new(target, true).unwrap();
    open_all(&mut fleet, Opener::new(0..1, 1, None), |_| {}).unwrap();
    let begin = Instant::now();
    let seen = |tally: &Tally| tally.received + tally.repeated + tally.damaged + tally.closed;
    while seen(fleet.tally()) < count && begin.elapsed() < PATIENCE {
        fleet.poll(Duration::from_millis(10)).unwrap();
    }
    fleet.drop_all().unwrap();
    server.join().unwrap();
    fleet.take_tally()
}

#[test]
fn a_true_server_is_believed() {
    let tally = tally_of(frames(&[0, 1, 2, 3]), 4, keep);
    assert_eq!((tally.received, tally.is_clean(), tally.latency.0.len()), (4, true, 4));
    assert_eq!((tally.opened, tally.last_receivers.len()), (1, 4));
}

#[test]
fn a_server_that_loses_repeats_or_reorders_is_found_out() {
    let figures = |numbers: &[u32]| {
        let tally = tally_of(frames(numbers), numbers.len() as u64, keep);
        assert!(!tally.is_clean(), "{numbers:?}");
        (tally.received, tally.lost, tally.repeated, tally.reordered)
    };
    assert_eq!(figures(&[0, 2, 3]), (3, 1, 0, 0));
    assert_eq!(figures(&[0, 1, 1, 2]), (3, 0, 1, 0));
    assert_eq!(figures(&[0, 2, 1, 3]), (4, 0, 0, 1));
    assert_eq!(figures(&[3, 0, 0]), (2, 2, 1, 1));
}

#[test]
fn a_server_that_damages_is_found_out() {
    let mut bytes = frames(&[0, 1]);
    *bytes.last_mut().unwrap() ^= 1;
    let tally = tally_of(bytes, 2, keep);
    assert_eq!((tally.received, tally.damaged), (1, 1));
    let mut bytes = frames(&[0]);
    bytes.push(0xFF);
    let tally = tally_of(bytes, 2, keep);
    assert!(tally.closes.keys().all(|reason| reason.starts_with("broken frame")), "{tally:?}");
    assert_eq!((tally.received, tally.closed), (1, 1));
}

#[test]
fn frames_may_come_in_pieces() {
    let bytes = frames(&[0, 1]);
    let (head, rest) = bytes.split_at(ACCEPT.len() + 1);
    let rest = rest.to_vec();
    let tally = tally_of(head.to_vec(), 2, move |mut stream| {
        for piece in rest.chunks(7) {
            stream.write_all(piece).unwrap();
        }
        keep(stream);
    });
    assert_eq!((tally.received, tally.is_clean()), (2, true));
}

#[test]
fn a_server_that_closes_is_told_of_with_its_reason() {
    let mut bytes = frames(&[0]);
    encode_frame(Opcode::Close, b"\x0b\xc0slow", &mut bytes);
    let tally = tally_of(bytes, 2, keep);
    assert_eq!((tally.closed, tally.closes["Close 3008 slow"]), (1, 1));
    let tally = tally_of(frames(&[]), 1, drop);
    assert_eq!((tally.closed, tally.closes["ended without a Close frame"]), (1, 1));
}

#[test]
fn a_refusal_fails_the_opening() {
    let (target, server) = serve(1, b"HTTP/1.1 404 Not Found\r\n\r\n".to_vec(), keep);
    let mut fleet = Fleet::new(target, false).unwrap();
    let error = open_all(&mut fleet, Opener::new(7..8, 1, None), |_| {}).unwrap_err();
    assert_eq!(
        error.to_string(),
        "connection 7 could not be opened: the server answered HTTP/1.1 404 Not Found"
    );
    assert_eq!((fleet.held(), fleet.opening(), fleet.tally().failed), (0, 0, 1));
    drop(fleet);
    server.join().unwrap();
}

#[test]
fn our_close_is_a_whole_handshake_or_is_missed() {
    let answer = |mut stream: TcpStream| {
        let mut close = [0; 8];
        stream.read_exact(&mut close).unwrap();
        assert_eq!(close, [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8]);
        stream.write_all(&[0x88, 0x02, 0x03, 0xE8]).unwrap();
    };
    for (is_answered, expected) in [(true, (1, 0)), (false, (0, 1))] {
        let (target, server) =
            serve(
                1,
                ACCEPT.to_vec(),
                move |stream| {
                    if is_answered { answer(stream) } else { keep(stream) }
                },
            );
        let mut fleet = Fleet::new(target, false).unwrap();
        open_all(&mut fleet, Opener::new(0..1, 1, None), |_| {}).unwrap();
        fleet.close(0).unwrap();
        let begin = Instant::now();
        let patience = if is_answered { PATIENCE } else { Duration::from_millis(100) };
        while fleet.held() > 0 && begin.elapsed() < patience {
            fleet.poll(Duration::from_millis(10)).unwrap();
        }
        fleet.abandon_closing();
        assert_eq!((fleet.tally().closed_by_us, fleet.tally().closed), expected);
        drop(fleet);
        server.join().unwrap();
    }
}

#[test]
fn rows_are_used_again_and_nothing_of_the_old_ones_is_left() {
    let (target, server) =
        serve(2, frames(&[0]), |stream| drop(std::thread::spawn(|| keep(stream))));
    let mut fleet = Fleet::new(target, false).unwrap();
    for number in 0..2 {
        open_all(&mut fleet, Opener::new(number..number + 1, 1, None), |_| {}).unwrap();
        fleet.drop_all().unwrap();
        fleet.poll(Duration::ZERO).unwrap();
        assert_eq!((fleet.open(), fleet.held(), fleet.clients.len()), (0, 0, 1));
    }
    let tally = fleet.tally();
    assert_eq!((tally.opened, tally.repeated, tally.closed), (2, 0, 0));
    server.join().unwrap();
}

/// What a JSON server sends: the answers to both commands, and these lines, each as a frame.
fn json_frames(lines: &[String]) -> Vec<u8> {
    let mut frames = ACCEPT.to_vec();
    let connected = r#"{"id":1,"connect":{"client":"c","ping":25,"pong":true}}"#;
    let subscribed = r#"{"id":2,"subscribe":{"epoch":"e","recoverable":true,"positioned":true}}"#;
    encode_frame(Opcode::Text, connected.as_bytes(), &mut frames);
    encode_frame(Opcode::Text, subscribed.as_bytes(), &mut frames);
    for line in lines {
        encode_frame(Opcode::Text, line.as_bytes(), &mut frames);
    }
    frames
}

fn data(number: u32) -> String {
    let message = Message { number, published_nanos: Clock::shared_nanos() };
    String::from_utf8(message.encode_json(60)).unwrap()
}

fn push(number: u32) -> String {
    let (data, offset) = (data(number), number + 1);
    format!(r#"{{"push":{{"channel":"bench","pub":{{"data":{data},"offset":{offset}}}}}}}"#)
}

/// The answer to somebody who comes back.
fn recovery(recovered: bool, offset: u64, publications: &str) -> String {
    let position = format!(r#""epoch":"e","offset":{offset}"#);
    let rest = format!(r#""recovered":{recovered},"publications":[{publications}]"#);
    format!(r#"{{"id":2,"subscribe":{{{position},{rest}}}}}"#)
}

fn json(target: Target) -> Target {
    Target { door: Door::Json("/".to_owned()), ..target }
}

fn json_tally(lines: &[String], count: u64, then: impl Fn(TcpStream) + Send + 'static) -> Tally {
    let (target, server) = serve(1, json_frames(lines), then);
    tally_at(json(target), count, server)
}

#[test]
fn pushes_are_verified_like_frames() {
    let tally = json_tally(&[push(0), format!("{}\n{}\n", push(1), push(2))], 3, keep);
    assert_eq!((tally.received, tally.is_clean(), tally.latency.0.len()), (3, true, 3));
    assert_eq!((tally.opened, tally.handshake.0.len(), tally.last_receivers.len()), (1, 1, 3));
    for (wrong, damaged) in [
        (push(1).replace("{\"m\"", "{\"n\""), 1),
        (push(1).replace("bench", "other"), 1),
        (push(1).replace("\"pub\"", "\"join\""), 0),
        ("{".to_owned(), 1),
    ] {
        let tally = json_tally(&[push(0), wrong, push(2)], 2 + damaged, keep);
        assert_eq!((tally.received, tally.damaged, tally.lost), (2, damaged, 1));
    }
    let mut binary = json_frames(&[]);
    let message = Message { number: 0, published_nanos: 0 };
    encode_frame(Opcode::Binary, &message.encode(60), &mut binary);
    let (target, server) = serve(1, binary, keep);
    assert_eq!(tally_at(json(target), 1, server).damaged, 1);
}

#[test]
fn commands_go_in_one_frame_and_pings_are_answered() {
    let (target, server) = serve(1, json_frames(&["{}".to_owned()]), |mut stream| {
        let commands = concat!(
            r#"{"id":1,"connect":{"name":"tidegate bench"}}"#,
            "\n",
            r#"{"id":2,"subscribe":{"channel":"bench"}}"#
        );
        let mut frame = vec![0; 6 + commands.len() + 8];
        stream.read_exact(&mut frame).unwrap();
        assert_eq!(String::from_utf8_lossy(&frame[6..6 + commands.len()]), commands);
        assert_eq!(frame[6 + commands.len()..], *b"\x81\x82\0\0\0\0{}");
        let mut close = Vec::new();
        encode_frame(Opcode::Close, b"\x0b\xc0slow", &mut close);
        stream.write_all(&close).unwrap();
        keep(stream);
    });
    let tally = tally_at(json(target), 1, server);
    assert_eq!((tally.pings.len(), tally.closes["Close 3008 slow"]), (1, 1));
}

#[test]
fn a_json_client_that_is_refused_is_not_open() {
    let close = |code: &[u8]| {
        let mut frames = ACCEPT.to_vec();
        encode_frame(Opcode::Close, code, &mut frames);
        frames
    };
    let reply = |line: &str| {
        let mut frames = ACCEPT.to_vec();
        encode_frame(Opcode::Text, line.as_bytes(), &mut frames);
        frames
    };
    for (bytes, reason) in [
        (close(b"\x0d\xacinvalid token"), "Close 3500 invalid token"),
        (
            reply(r#"{"id":1,"error":{"code":101,"message":"unauthorized"}}"#),
            "connect was refused with 101 unauthorized",
        ),
        (
            reply(r#"{"id":2,"error":{"code":103,"message":"permission denied"}}"#),
            "subscribe was refused with 103 permission denied",
        ),
        (reply(r#"{"id":3,"subscribe":{}}"#), "a reply to no command, with id 3"),
        (reply(r#"{"id":2,"connect":{}}"#), "a reply to no command, with id 2"),
    ] {
        let (target, server) = serve(1, bytes, keep);
        let mut fleet = Fleet::new(json(target), false).unwrap();
        let error = open_all(&mut fleet, Opener::new(0..1, 1, None), |_| {}).unwrap_err();
        assert_eq!(error.to_string(), format!("connection 0 could not be opened: {reason}"));
        assert_eq!((fleet.held(), fleet.opening(), fleet.open()), (0, 0, 0));
        drop(fleet);
        server.join().unwrap();
    }
}

#[test]
fn an_unsubscribed_client_asks_for_what_it_misses() {
    let ended =
        |code| format!(r#"{{"push":{{"channel":"bench","unsubscribe":{{"code":{code}}}}}}}"#);
    let (target, server) = serve(1, json_frames(&[push(0), ended(2500)]), |mut stream| {
        let mut frames = [0; 1024];
        let mut heard = String::new();
        while !heard.contains(r#""recover":true,"epoch":"e","offset":1"#) {
            let count = stream.read(&mut frames).unwrap();
            heard += &String::from_utf8_lossy(&frames[..count]);
        }
        let reply = recovery(true, 1, &format!(r#"{{"data":{},"offset":2}}"#, data(1)));
        let mut answer = Vec::new();
        encode_frame(Opcode::Text, reply.as_bytes(), &mut answer);
        encode_frame(Opcode::Text, push(2).as_bytes(), &mut answer);
        stream.write_all(&answer).unwrap();
        keep(stream);
    });
    let tally = tally_at(json(target), 3, server);
    assert_eq!((tally.received, tally.lost, tally.resubscribed), (3, 0, 1));
    assert_eq!((tally.recovered, tally.through_recovery, tally.latency.0.len()), (1, 1, 2));
    let tally = json_tally(&[ended(2000)], 1, keep);
    assert_eq!(tally.closes["unsubscribed with 2000"], 1);
}

#[test]
fn whoever_comes_back_goes_on_where_it_stopped() {
    for (recovered, figures) in [(true, (5, 1, 0, 0, 1)), (false, (4, 0, 1, 1, 0))] {
        let visits = AtomicU32::new(0);
        let then = move |mut stream: TcpStream| {
            let mut answer = Vec::new();
            let mut say = |line: &str| encode_frame(Opcode::Text, line.as_bytes(), &mut answer);
            if visits.fetch_add(1, Ordering::Relaxed) == 0 {
                say(r#"{"id":2,"subscribe":{"epoch":"e","offset":0}}"#);
                (0..2).for_each(|number| say(&push(number)));
            } else {
                let missed = format!(r#"{{"data":{},"offset":3}}"#, data(2));
                say(&recovery(recovered, 2, if recovered { &missed } else { "" }));
                (3..5).for_each(|number| say(&push(number)));
            }
            stream.write_all(&answer).unwrap();
            std::thread::spawn(|| keep(stream));
        };
        let connected = r#"{"id":1,"connect":{}}"#;
        let mut bytes = ACCEPT.to_vec();
        encode_frame(Opcode::Text, connected.as_bytes(), &mut bytes);
        let (target, server) = serve(2, bytes, then);
        let mut fleet = Fleet::new(json(target), false).unwrap();
        fleet.keep_positions();
        for count in [2, figures.0] {
            open_all(&mut fleet, Opener::new(0..1, 1, None), |_| {}).unwrap();
            let begin = Instant::now();
            while fleet.tally().received < count && begin.elapsed() < PATIENCE {
                fleet.poll(Duration::from_millis(10)).unwrap();
            }
            fleet.drop_all().unwrap();
        }
        let tally = fleet.take_tally();
        let found = (tally.received, tally.recovered, tally.not_recovered, tally.skipped);
        assert_eq!((found, tally.lost), ((figures.0, figures.1, figures.2, figures.3), 0));
        assert_eq!(tally.through_recovery, figures.4);
        server.join().unwrap();
    }
}

#[test]
fn a_message_in_the_wrong_channel_is_found_out() {
    let channels = Channels { count: 3, ..Channels::default() };
    for (number, expected) in [(0, (1, 0)), (1, (0, 1))] {
        let message = Message { number, published_nanos: 0 };
        let mut bytes = ACCEPT.to_vec();
        encode_frame(Opcode::Binary, &message.encode(60), &mut bytes);
        let (target, server) = serve(1, bytes, keep);
        let tally = tally_at(Target { channels: channels.clone(), ..target }, 1, server);
        assert_eq!((tally.received, tally.damaged), expected);
    }
}
