//! Promises: `/health` and `/metrics` answer at once, whatever the API does and however HTTP
//! clients behave; whoever is served keeps the connection; the edge says before it ends one, and
//! counts why it did.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tidegate::mesh::{Asker, Envelope, ShardPort};
use tidegate::model::{Answer, ChannelName, Outcome, Publication, Push, PushBody};

use crate::backend::POSITION;
use crate::edge::{Edge, KEY, Response, command, say};

/// A probe is answered within 100 ms; a machine that is busy with other tests has more. Whoever
/// waits for others to end waits for ten seconds.
const PROBE_TIME: Duration = Duration::from_secs(4);

const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// The head of a request to the API.
fn head(method: &str, length: usize) -> String {
    format!(
        "POST /api/{method} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}\r\n\
         Content-Length: {length}\r\n\r\n"
    )
}

/// Connections that have each sent some bytes.
fn connections(edge: &Edge, count: usize, begun: &str) -> Vec<TcpStream> {
    let connect = |_| {
        let mut stream = edge.connect();
        // Whoever has lost its place meanwhile is cut off.
        let _ = stream.write_all(begun.as_bytes());
        stream
    };
    (0..count).map(connect).collect()
}

/// Reads one answer whose body has a stated length.
fn answer(stream: &mut TcpStream) -> Response {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    let head = Response::parse(std::str::from_utf8(&bytes).unwrap());
    let length = head.header("content-length").unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    bytes.extend(body);
    Response::parse(std::str::from_utf8(&bytes).unwrap())
}

#[track_caller]
fn assert_probes_are_answered(edge: &Edge, meanwhile: &str) {
    for path in ["/health", "/metrics"].repeat(5) {
        let begin = Instant::now();
        assert_eq!(edge.get(path).status, 200);
        assert!(begin.elapsed() < PROBE_TIME, "{path}, {meanwhile}: {:?}", begin.elapsed());
    }
}

/// What a metric says.
fn number(edge: &Edge, metric: &str) -> u32 {
    let metrics = edge.get("/metrics").body;
    let value = metrics.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    value.unwrap().parse().unwrap()
}

/// Plays shards whose every history is a mebibyte.
fn long_histories() -> impl FnMut(&ShardPort, Envelope) + Send {
    let payload = format!("\"{}\"", "x".repeat(1 << 20));
    let publication = Publication::new(true, payload.as_bytes(), 0).into();
    let body = PushBody::Publication { publication, offset: 7 };
    let push = Arc::new(Push::new(ChannelName::parse(b"news").unwrap(), body));
    move |port, envelope| {
        let (_, ticket) = command(envelope);
        let outcome = Some(Box::new(Outcome::History(vec![Arc::clone(&push)], POSITION)));
        let number = ticket.number;
        let (sessions, error) = (0, None);
        say(port, ticket, Answer { number, firsts: 1, awaiting: 0, sessions, error, outcome });
    }
}

#[test]
fn probes_are_answered_whatever_http_clients_do() {
    let mut edge = Edge::patient();
    let slow_body = head("publish", 10) + "{";
    let pipelined = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(10);
    for (meanwhile, begun) in [
        ("nothing is sent", ""),
        ("heads are slow", "GET /health HTTP/1.1\r\nHost: localh"),
        ("bodies are slow", slow_body.as_str()),
        ("connections are idle", HEALTH),
        ("requests are pipelined and no answer is read", pipelined.as_str()),
    ] {
        let held = connections(&edge, 300, begun);
        assert_probes_are_answered(&edge, meanwhile);
        drop(held);
    }
    let body = r#"{"channel":"news","limit":-1}"#;
    let history = head("history", body.len()) + body;
    edge.with_shards(long_histories(), |edge| {
        let held = connections(edge, 60, &history);
        assert_probes_are_answered(edge, "long answers are not read");
        drop(held);
    });
}

#[test]
fn what_needs_no_key_takes_no_place_from_backends() {
    let edge = Edge::with_room();
    let body = r#"{"channel":"c","data":"x"}"#;
    let unanswered = format!(
        "POST /try/publish HTTP/1.1\r\nHost: localhost\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let held = connections(&edge, 300, &unanswered);
    let refused = "tidegate_http_requests_refused_total";
    let start = Instant::now();
    while number(&edge, refused) < 300 - 16 {
        assert!(start.elapsed() < Duration::from_secs(20), "{}", number(&edge, refused));
    }
    assert_eq!(edge.call("nothing", "{}").status, 404);
    drop(held);
}

#[test]
fn who_asks_for_probes_again_and_again_waits() {
    const COUNT: u32 = 50;
    let edge = Edge::patient();
    let mut stream = edge.connect();
    let begin = Instant::now();
    stream.write_all(HEALTH.repeat(COUNT as usize).as_bytes()).unwrap();
    for _ in 0..COUNT {
        assert_eq!(answer(&mut stream).status, 200);
    }
    assert!(begin.elapsed() >= (COUNT - 1) * Duration::from_millis(4), "{:?}", begin.elapsed());
}

#[test]
fn answers_that_are_not_read_hold_up_the_next_request() {
    let mut edge = Edge::patient();
    let body = r#"{"channel":"news","limit":-1}"#;
    let request = head("history", body.len()) + body;
    edge.with_shards(long_histories(), |edge| {
        let mut stream = edge.connect();
        stream.write_all(request.repeat(60).as_bytes()).unwrap();
        let served = || number(edge, "tidegate_api_requests_total{method=\"history\"}");
        // What the kernel holds for a socket is a few mebibytes; until then it goes on.
        let mut last = 0;
        let mut still_since = Instant::now();
        while still_since.elapsed() < Duration::from_secs(1) {
            let now = served();
            if now != last {
                (last, still_since) = (now, Instant::now());
            }
        }
        assert!((1..30).contains(&last), "{last} answers wait for a client that does not read");
        for _ in 0..60 {
            assert_eq!(answer(&mut stream).status, 200);
        }
    });
}

#[test]
fn whoever_is_served_keeps_the_connection() {
    let mut edge = Edge::patient();
    edge.with_shards(crate::backend::shard, |edge| {
        let body = r#"{"channel":"news","data":1}"#;
        let mut served = edge.connect();
        served.write_all((head("publish", body.len()) + "{").as_bytes()).unwrap();
        let mut idle = edge.connect();
        idle.write_all(HEALTH.as_bytes()).unwrap();
        assert_eq!(answer(&mut idle).status, 200);
        let others = connections(edge, 600, "");
        // The idle one is older than all others and has given way.
        assert_eq!(idle.read(&mut [0]).unwrap_or(0), 0);
        served.write_all(&body.as_bytes()[1..]).unwrap();
        assert_eq!(answer(&mut served).json()["result"]["offset"], 7);
        drop(others);
        let line = "tidegate_http_connections_closed_total{reason=\"displaced\"}";
        let begin = Instant::now();
        // Some of them the kernel may not have handed over.
        while number(edge, line) < 200 {
            assert!(begin.elapsed() < Duration::from_secs(20), "{}", number(edge, line));
        }
    });
}

#[test]
fn more_requests_to_the_api_than_may_be_under_way_are_refused_at_once() {
    let mut edge = Edge::with_room();
    let may_answer = AtomicBool::new(false);
    let mut light = 0;
    let play = |port: &ShardPort, envelope: Envelope| {
        let Envelope::Command { ticket: Some(ticket), .. } = &envelope else { panic!("no ticket") };
        light += usize::from(ticket.asker == Asker::Control.place());
        while !may_answer.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        crate::backend::shard(port, envelope);
    };
    edge.with_shards(play, |edge| {
        let body = r#"{"channel":"news","data":1}"#;
        let mut held = connections(edge, 256, &(head("publish", body.len()) + body));
        let begin = Instant::now();
        let refused = loop {
            let response = edge.call("info", "{}");
            if response.status != 200 {
                break response;
            }
            assert!(begin.elapsed() < PROBE_TIME, "{:?}", begin.elapsed());
        };
        may_answer.store(true, Ordering::Relaxed);
        refused.assert_fault(503, 111, "nothing was done");
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert_eq!(number(edge, "tidegate_http_requests_refused_total"), 1);
        for stream in &mut held {
            assert_eq!(answer(stream).status, 200);
        }
        assert_eq!(edge.call("info", "{}").status, 200);
    });
    assert_eq!(light, 64, "the others are carried out on another thread than probes");
}

#[test]
fn bodies_that_do_not_come_take_no_place_from_those_that_do() {
    let edge = Edge::patient();
    for count in [256, 600] {
        let held = connections(&edge, count, &(head("info", 2) + "{"));
        for _ in 0..20 {
            assert_eq!(edge.call("info", "{}").status, 200, "beside {count} bodies");
        }
        drop(held);
    }
    assert_eq!(number(&edge, "tidegate_http_requests_refused_total"), 0);
}

#[test]
fn ends_are_announced_and_counted() {
    let edge = Edge::with_key();
    let mut kept = edge.connect();
    for _ in 0..2 {
        kept.write_all(HEALTH.as_bytes()).unwrap();
        let response = answer(&mut kept);
        assert_eq!((response.status, response.header("connection")), (200, None));
        assert_eq!(response.header("keep-alive"), Some("timeout=1"));
    }
    assert_eq!(kept.read(&mut [0]).unwrap(), 0, "an idle connection ends");
    assert_eq!(number(&edge, "tidegate_http_connections_closed_total{reason=\"idle\"}"), 1);
    let mut slow = edge.connect();
    slow.write_all(b"GET /health").unwrap();
    assert_eq!(slow.read(&mut [0]).unwrap(), 0, "a slow head ends");
    assert_eq!(number(&edge, "tidegate_http_connections_closed_total{reason=\"slow_head\"}"), 1);
    // What is left of a body would be taken for a request.
    let mut unread = edge.connect();
    unread
        .write_all(b"POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
        .unwrap();
    let response = answer(&mut unread);
    assert_eq!((response.status, response.header("connection")), (405, Some("close")));
    edge.drain.announce();
    let mut last = edge.connect();
    last.write_all(HEALTH.as_bytes()).unwrap();
    let response = answer(&mut last);
    assert_eq!((response.status, response.header("connection")), (503, Some("close")));
    assert_eq!(last.read(&mut [0]).unwrap(), 0);
}

#[test]
fn whoever_has_said_all_hears_the_answers() {
    let mut edge = Edge::with_key();
    let body = r#"{"channel":"news","limit":-1}"#;
    let request = head("history", body.len()) + body;
    edge.with_shards(long_histories(), |edge| {
        let mut stream = edge.connect();
        stream.write_all(request.repeat(5).as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        for _ in 0..5 {
            assert_eq!(answer(&mut stream).status, 200);
        }
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "then the connection ends");
    });
}

#[test]
fn an_answer_must_be_taken_in_time() {
    let mut edge = Edge::with_key();
    let body = r#"{"channel":"news","limit":-1}"#;
    let request = head("history", body.len()) + body;
    edge.with_shards(long_histories(), |edge| {
        let mut stream = edge.connect();
        stream.write_all(request.repeat(40).as_bytes()).unwrap();
        let line = "tidegate_http_connections_closed_total{reason=\"slow_reader\"}";
        let begin = Instant::now();
        while number(edge, line) == 0 {
            assert!(begin.elapsed() < Duration::from_secs(20), "it is still there");
        }
    });
}

#[test]
fn slashes_at_the_end_of_paths_mean_nothing() {
    let edge = Edge::with_key();
    for path in ["/health/", "/metrics/", "/info/", "/api/openapi.json/"] {
        assert_eq!(edge.get(path).status, 200, "{path}");
    }
    assert_eq!(edge.call("info/", "{}").status, 200);
}
