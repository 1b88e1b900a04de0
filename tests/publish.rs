//! The promise: `tidegate publish` speaks the native format over each kind of socket, shows the
//! edge's answer, and says what to check when nobody answers.

#![allow(clippy::unwrap_used, reason = "a failed set-up fails its test")]

use std::io::Write as _;
use std::process::{Child, Command, Output, Stdio};

fn start(endpoint: &str, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["publish", "--endpoint", endpoint])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// A socket that stands for the edge's.
fn bind(kind: zmq::SocketType) -> (zmq::Socket, String) {
    bind_at(kind, "127.0.0.1")
}

fn bind_at(kind: zmq::SocketType, host: &str) -> (zmq::Socket, String) {
    let socket = zmq::Context::new().socket(kind).unwrap();
    socket.set_rcvtimeo(10_000).unwrap();
    socket.set_linger(0).unwrap();
    if kind == zmq::SUB {
        socket.set_subscribe(b"").unwrap();
    }
    socket.set_ipv6(host.starts_with('[')).unwrap();
    socket.bind(&format!("tcp://{host}:*")).unwrap();
    let endpoint = socket.get_last_endpoint().unwrap().unwrap();
    (socket, endpoint)
}

/// Answers `count` requests and returns the last request's parts after the identity.
fn answer(router: &zmq::Socket, count: usize, answer: &str) -> Vec<Vec<u8>> {
    let mut last = Vec::new();
    for _ in 0..count {
        let mut parts = router.recv_multipart(0).unwrap();
        let identity = parts.remove(0);
        router.send_multipart([identity.as_slice(), answer.as_bytes()], 0).unwrap();
        last = parts;
    }
    last
}

fn shown(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

#[test]
fn an_edge_at_an_address_of_ipv6_is_reached() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let (router, endpoint) = bind_at(zmq::ROUTER, "[::1]");
    let publisher = start(&endpoint, &["news", "hello"]);
    answer(&router, 1, r#"{"rid":"1","ok":true,"sessions":3}"#);
    assert_eq!(publisher.wait_with_output().unwrap().status.code(), Some(0));
}

#[test]
fn the_answer_of_the_edge_is_shown() {
    let (router, endpoint) = bind(zmq::ROUTER);
    let arguments = ["news", "hello", "--meta", r#"{"ttl":5}"#, "--op", "pub"];
    let publisher = start(&endpoint, &arguments);
    let parts = answer(&router, 1, r#"{"rid":"1","ok":true,"sessions":3}"#);
    assert_eq!(parts[..2], [b"news".to_vec(), b"hello".to_vec()]);
    let meta: serde_json::Value = serde_json::from_slice(&parts[2]).unwrap();
    assert_eq!(meta, serde_json::json!({"op": "pub", "rid": "1", "ttl": 5}));
    let output = publisher.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(shown(&output), "{\"rid\":\"1\",\"ok\":true,\"sessions\":3}\n");
}

#[test]
fn a_refusal_fails() {
    let (router, endpoint) = bind(zmq::ROUTER);
    let publisher = start(&endpoint, &["news", "hello"]);
    answer(&router, 1, r#"{"rid":"1","ok":false,"error":{"code":"full","message":"no"}}"#);
    let output = publisher.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(shown(&output).contains("\"code\":\"full\""));
}

#[test]
fn many_are_sent_at_the_asked_rate() {
    let (router, endpoint) = bind(zmq::ROUTER);
    let start_time = std::time::Instant::now();
    let publisher = start(&endpoint, &["news", "hello", "--count", "1000", "--rate", "5000"]);
    let parts = answer(&router, 1000, r#"{"ok":true}"#);
    assert!(String::from_utf8_lossy(&parts[2]).contains("\"1000\""));
    let output = publisher.wait_with_output().unwrap();
    assert!(shown(&output).starts_with("1000 answered, 0 refused"), "{}", shown(&output));
    assert!(start_time.elapsed().as_millis() >= 199);
}

#[test]
fn push_and_pub_need_no_answer() {
    for (kind, name) in [(zmq::PULL, "push"), (zmq::SUB, "pub")] {
        let (socket, endpoint) = bind(kind);
        let mut publisher = start(&endpoint, &["news", "-", "--socket", name, "--count", "2"]);
        publisher.stdin.take().unwrap().write_all(b"from stdin").unwrap();
        for _ in 0..2 {
            let parts = socket.recv_multipart(0).unwrap();
            assert_eq!(parts, [b"news".to_vec(), b"from stdin".to_vec()], "{name}");
        }
        let output = publisher.wait_with_output().unwrap();
        assert_eq!((output.status.code(), shown(&output).as_str()), (Some(0), "2 sent\n"));
    }
}

#[test]
fn silence_is_explained() {
    let (silent_router, answering) = bind(zmq::ROUTER);
    let nobody = "tcp://127.0.0.1:1";
    for (endpoint, socket, reason) in [
        (answering.as_str(), "router-dealer", "no answer from"),
        (nobody, "router-dealer", "took the message within 1 s: check"),
        (nobody, "push", "took the message within 1 s: check"),
        (nobody, "pub", "subscribed to \"news\" within 1 s: check"),
        ("nonsense", "push", "cannot connect to nonsense"),
    ] {
        let arguments = ["news", "hello", "--socket", socket, "--timeout", "1"];
        let output = start(endpoint, &arguments).wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(shown(&output).contains(reason), "{}", shown(&output));
    }
    drop(silent_router);
}

#[test]
fn meta_must_be_an_object() {
    let output = start("tcp://127.0.0.1:1", &["news", "hello", "--meta", "[1]"]);
    let output = output.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(shown(&output).contains("must be a JSON object"));
}

#[test]
fn an_endpoint_that_is_none_is_shown_as_it_should_be() {
    for (endpoint, words) in [
        ("127.0.0.1:5563", "write tcp://127.0.0.1:5563"),
        ("tcp://127.0.0.1", "write tcp://HOST:PORT or ipc://PATH"),
        ("http://127.0.0.1:9000", "write tcp://HOST:PORT or ipc://PATH"),
        ("tcp://no-such-host.invalid:5563", "check its name"),
    ] {
        let output = start(endpoint, &["news", "hello"]).wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(shown(&output).contains(words), "{}", shown(&output));
    }
}
