//! A verifier that cannot fail verifies nothing: servers that lose, repeat, reorder, damage, cut
//! and close are all found out.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Instant;

use super::*;
use crate::load::message::Message;
use crate::load::{Opener, open_all};
use crate::ws::frame::encode_frame;

const ACCEPT: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A server that answers each request with the same bytes and then does what it is told.
fn serve(
    count: usize,
    bytes: Vec<u8>,
    then: impl Fn(TcpStream) + Send + 'static,
) -> (Target, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target =
        Target::new(listener.local_addr().unwrap(), Door::WebSocket("/{n}?channels=x".to_owned()));
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
