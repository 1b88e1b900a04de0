//! Request heads from anybody: no panic, verdicts that do not depend on the cut, whole responses.

use arcstr::literal;
use proptest::prelude::*;
use tidegate::http::handshake::{Accepted, Policy, accept, write_accept};
use tidegate::http::request::{HEAD_BYTES_MAX, HeaderTable};
use tidegate::http::uri::{path_segments, query_pairs};
use tidegate::http::{Head, Refusal, write_response};
use tidegate::ws::close::{CloseCode, encode_close, sanitize_reason};

/// The verdict on a whole request, and the length of its head.
fn judge(request: &[u8]) -> Result<Option<(Accepted, usize)>, Refusal> {
    let mut table = HeaderTable::default();
    let Some((head, size)) = Head::parse(request, &mut table)? else { return Ok(None) };
    path_segments(head.path).for_each(drop);
    for (_, value) in query_pairs(head.query).flatten() {
        value.list().for_each(drop);
    }
    let spoken = [literal!("centrifuge-protobuf")];
    let policy = Policy { subprotocols: &spoken, ..Policy::default() };
    Ok(Some((accept(&head, &policy)?, size)))
}

/// Parts of handshakes, some of them wrong, in any order.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let target = prop_oneof![Just("/".to_owned()), "/[a-z%0-9?&=+/]{0,20}", "[ -~]{0,9}"];
    let line = prop_oneof![
        4 => Just("Upgrade: websocket".to_owned()),
        4 => Just("Connection: keep-alive, Upgrade".to_owned()),
        4 => Just("Sec-WebSocket-Version: 13".to_owned()),
        4 => Just("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==".to_owned()),
        2 => "Sec-WebSocket-Protocol: [a-z, -]{0,20}",
        2 => "Origin: (https?://)?[a-z.*:0-9]{0,12}",
        2 => "(Sec-WebSocket-(Key|Version)|Host|Upgrade|Connection): [ -~]{0,24}",
        1 => "[ -~\t]{0,20}",
    ];
    (target, prop::collection::vec(line, 0..9)).prop_map(|(target, lines)| {
        format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n{}\r\n\r\n", lines.join("\r\n"))
            .into_bytes()
    })
}

proptest! {
    #[test]
    fn any_bytes_are_judged(request in prop::collection::vec(any::<u8>(), 0..18_000)) {
        let verdict = judge(&request);
        prop_assert!(request.len() < HEAD_BYTES_MAX || verdict != Ok(None));
    }

    #[test]
    fn handshakes_are_judged_alike_however_they_arrive(request in request()) {
        let whole = judge(&request);
        let early = (0..request.len())
            .map(|end| judge(&request[..end]))
            .find(|verdict| *verdict != Ok(None))
            .unwrap_or_else(|| whole.clone());
        let [early, whole] = [early, whole].map(|verdict| verdict.map_err(|it| it.status));
        prop_assert_eq!(early, whole);
    }

    #[test]
    fn responses_end_with_an_empty_line_or_their_body(request in request()) {
        let mut response = Vec::new();
        match judge(&request) {
            Ok(None) => return Ok(()),
            Ok(Some((accepted, _))) => write_accept(&accepted, &mut response),
            Err(refusal) => write_response(&refusal, &mut response),
        }
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut parsed = httparse::Response::new(&mut headers);
        let size = parsed.parse(&response).unwrap().unwrap();
        let length = parsed.headers.iter().find(|header| header.name == "Content-Length");
        let length = length.map_or("0", |header| str::from_utf8(header.value).unwrap());
        prop_assert_eq!(response.len() - size, length.parse::<usize>().unwrap());
    }

    #[test]
    fn close_reasons_fit_and_never_are_json(
        reason in prop_oneof![
            "\\PC{0,140}",
            "[-0-9\\[\\]{}\" \ttruefalsn]{0,140}",
            "[ \t]{0,130}(true|1|null)[ ]{0,130}",
        ],
    ) {
        let sent = sanitize_reason(&reason).concat();
        prop_assert!(sent.len() <= 123);
        prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&sent).is_err());
        let mut frame = Vec::new();
        encode_close(CloseCode::SLOW, &reason, &mut frame);
        prop_assert_eq!(&frame[4..], sent.as_bytes());
        prop_assert_eq!(usize::from(frame[1]), 2 + sent.len());
    }
}
