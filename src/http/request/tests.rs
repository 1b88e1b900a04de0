//! Limits and rules of a request head, each with its RFC.

use super::*;

/// The status for a head that is not accepted; 0 for one that needs more bytes.
fn status(input: &[u8]) -> u16 {
    match Head::parse(input, &mut HeaderTable::default()) {
        Ok(Some(_)) => 200,
        Ok(None) => 0,
        Err(refusal) => refusal.status,
    }
}

fn get(target: &str, lines: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n{lines}\r\n").into_bytes()
}

#[test]
fn a_plain_head() {
    let input = b"GET /websocket/42?channels=a,b HTTP/1.1\r\nhOsT: example.com:8000\r\n\
        Accept: a , b\r\naccept:,c\r\n\r\nrest";
    let mut table = HeaderTable::default();
    let (head, size) = Head::parse(input, &mut table).unwrap().unwrap();
    assert_eq!(&input[size..], b"rest");
    assert_eq!((head.path, head.query), ("/websocket/42", "channels=a,b"));
    assert_eq!(head.host, "example.com:8000");
    assert_eq!(head.list("ACCEPT").collect::<Vec<_>>(), [b"a", b"b", b"c"]);
    assert_eq!(head.value("Accept", "twice").unwrap_err().reason, "twice");
    assert_eq!(head.value("Origin", "twice"), Ok(None));
}

#[test]
fn a_cut_head_asks_for_more() {
    let input = get("/", "");
    for end in 0..input.len() {
        assert_eq!(status(&input[..end]), 0, "{end} bytes");
    }
    assert_eq!(status(&input), 200);
}

#[test]
fn heads_have_at_most_16_kib_and_64_fields() {
    let fill = |bytes: usize| get("/", &format!("A: {}\r\n", "x".repeat(bytes)));
    let frame = fill(0).len();
    assert_eq!(status(&fill(HEAD_BYTES_MAX - frame)), 200);
    assert_eq!(status(&fill(HEAD_BYTES_MAX - frame + 1)), 431);
    assert_eq!(status(&fill(HEAD_BYTES_MAX)[..HEAD_BYTES_MAX - 1]), 0);
    assert_eq!(status(&fill(HEAD_BYTES_MAX)[..HEAD_BYTES_MAX]), 431);
    assert_eq!(status(&get("/", &"A: b\r\n".repeat(HEADERS_MAX - 1))), 200);
    assert_eq!(status(&get("/", &"A: b\r\n".repeat(HEADERS_MAX))), 431);
}

#[test]
fn a_request_line_that_fills_the_head_is_said_to_be_too_long() {
    let line = "GET / HTTP/1.1\r\n".len();
    let target = |bytes: usize| format!("/{}", "x".repeat(bytes));
    assert_eq!(status(&get(&target(HEAD_BYTES_MAX - line), "")), 431);
    assert_eq!(status(&get(&target(HEAD_BYTES_MAX - line + 1), "")), 414);
    assert_eq!(status(&get(&target(20_000), "")[..HEAD_BYTES_MAX]), 414);
    assert_eq!(status(&get(&target(20_000), "")[..HEAD_BYTES_MAX - 1]), 0);
}

// RFC 9110 §15.5.6 and §15.6.6.
#[test]
fn methods_and_versions() {
    for method in ["POST", "HEAD", "OPTIONS", "get", "BREW"] {
        let input = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(status(input.as_bytes()), 405, "{method}");
    }
    for version in ["HTTP/1.0", "HTTP/2.0", "HTTP/3"] {
        let input = format!("GET / {version}\r\nHost: a\r\n\r\n");
        assert_eq!(status(input.as_bytes()), 505, "{version}");
    }
    assert_eq!(status(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505);
    assert_eq!(status(b"GET /\r\n\r\n"), 400);
    assert_eq!(status(b"\x16\x03\x01\x02\x00\x01"), 400);
}

// RFC 9112 §3.2: exactly one valid Host.
#[test]
fn host_is_required_once() {
    assert_eq!(status(b"GET / HTTP/1.1\r\n\r\n"), 400);
    assert_eq!(status(b"GET / HTTP/1.1\r\nHost:\r\n\r\n"), 400);
    assert_eq!(status(&get("/", "host: example.com\r\n")), 400);
    for host in ["a b", "a@b", "a/b", "\u{e9}"] {
        let input = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(status(input.as_bytes()), 400, "{host}");
    }
    assert_eq!(status(b"GET / HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n"), 200);
}

// RFC 9112 §5.1, §5.2 and RFC 9110 §5.5.
#[test]
fn malformed_fields_are_refused() {
    for lines in
        ["A: b\r\n folded\r\n", "A : b\r\n", " A: b\r\n", "A\r\n", "A: \x01\r\n", ": b\r\n"]
    {
        assert_eq!(status(&get("/", lines)), 400, "{lines:?}");
    }
}

// RFC 9112 §6.3: no body, or what follows the head would be ambiguous.
#[test]
fn bodies_are_refused() {
    for line in ["Content-Length: 1", "Content-Length: x", "Transfer-Encoding: chunked"] {
        assert_eq!(status(&get("/", &format!("{line}\r\n"))), 400, "{line}");
    }
    assert_eq!(status(&get("/", "Content-Length: 0\r\n")), 200);
}

// RFC 9112 §3.2 and RFC 6455 §3 and §4.2.1.
#[test]
fn targets() {
    for target in
        ["*", "example.com:80", "a", "/a#b", "ftp://a/", "http://a", "http:///", "/\u{e9}"]
    {
        assert_eq!(status(&get(target, "")), 400, "{target}");
    }
    let input = get("HTTP://other.example:81/a?b?c", "");
    let mut table = HeaderTable::default();
    let (head, _) = Head::parse(&input, &mut table).unwrap().unwrap();
    assert_eq!((head.host, head.path, head.query), ("other.example:81", "/a", "b?c"));
}
