//! Every MUST of RFC 6455 section 4.2 that a server checks, and the origin policies.

use arcstr::literal;

use super::*;
use crate::http::request::HeaderTable;

/// The client's fields of section 1.3, without Host.
const FIELDS: [&str; 4] = [
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

fn judge(fields: &[&str], policy: &Policy<'_>) -> Result<Accepted, Refusal> {
    let request =
        format!("GET /chat HTTP/1.1\r\nHost: a.example\r\n{}\r\n\r\n", fields.join("\r\n"));
    let mut table = HeaderTable::default();
    let (head, _) = Head::parse(request.as_bytes(), &mut table)?.expect("the head is whole");
    accept(&head, policy)
}

/// The status when the field at `index` is replaced, or left out if empty.
fn status_with(index: usize, field: &str) -> u16 {
    let mut fields = FIELDS.to_vec();
    fields[index] = field;
    fields.retain(|field| !field.is_empty());
    judge(&fields, &Policy::default()).map_or_else(|refusal| refusal.status, |_| 101)
}

fn status_with_extra(field: &str, policy: &Policy<'_>) -> u16 {
    let fields = [&FIELDS[..], &[field]].concat();
    judge(&fields, policy).map_or_else(|refusal| refusal.status, |_| 101)
}

// RFC 6455 §1.3: the example's key and accept value.
#[test]
fn the_example_of_section_1_3() {
    let accepted = judge(&FIELDS, &Policy::default()).unwrap();
    let mut response = Vec::new();
    write_accept(&accepted, &mut response);
    let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    assert_eq!(String::from_utf8(response).unwrap(), expected);
}

// RFC 6455 §4.2.1 (3).
#[test]
fn upgrade_lists_websocket() {
    assert_eq!(status_with(0, ""), 426);
    assert_eq!(status_with(0, "Upgrade: h2c"), 426);
    assert_eq!(status_with(0, "Upgrade: h2c, WebSocket"), 101);
    assert_eq!(status_with(0, "Upgrade: h2c\r\nUPGRADE: websocket"), 101);
}

// RFC 6455 §4.2.1 (4).
#[test]
fn connection_lists_upgrade() {
    assert_eq!(status_with(1, ""), 400);
    assert_eq!(status_with(1, "Connection: keep-alive"), 400);
    assert_eq!(status_with(1, "Connection: upgraded"), 400);
    assert_eq!(status_with(1, "Connection: keep-alive ,\tUPGRADE"), 101);
    assert_eq!(status_with(1, "Connection: keep-alive\r\nconnection: upgrade"), 101);
}

// RFC 6455 §4.2.1 (5) and §11.3.1.
#[test]
fn the_key_is_16_bytes_once() {
    let bad = [
        "",
        "Sec-WebSocket-Key:",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZTE=",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZTEy",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j!Q==",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    for field in bad {
        assert_eq!(status_with(2, field), 400, "{field}");
    }
    assert_eq!(status_with(2, "sec-websocket-key:   dGhlIHNhbXBsZSBub25jZR==  "), 101);
}

// RFC 6455 §4.2.1 (6), §4.2.2 (4), §4.4 and §11.3.5.
#[test]
fn the_version_is_13_once() {
    assert_eq!(status_with(3, ""), 400);
    for version in ["8", "0", "013", "13, 8", "x"] {
        assert_eq!(status_with(3, &format!("Sec-WebSocket-Version: {version}")), 426, "{version}");
    }
    assert_eq!(status_with_extra("Sec-WebSocket-Version: 13", &Policy::default()), 400);
}

// RFC 6455 §4.2.2 (5.5) and §11.3.4: the header field MAY appear several times.
#[test]
fn the_first_offered_subprotocol_that_the_door_speaks() {
    let spoken = [literal!("centrifuge-json"), literal!("centrifuge-protobuf")];
    let policy = Policy { subprotocols: &spoken, ..Policy::default() };
    let judge = |field: &str| judge(&[&FIELDS[..], &[field]].concat(), &policy);
    let chosen = |field: &str| judge(field).unwrap().subprotocol.unwrap();
    assert_eq!(judge("Sec-WebSocket-Protocol:").unwrap().subprotocol, None);
    assert_eq!(judge("Sec-WebSocket-Protocol: mqtt, Centrifuge-json").unwrap_err().status, 400);
    let field = "Sec-WebSocket-Protocol: mqtt, centrifuge-protobuf,centrifuge-json";
    assert_eq!(chosen(field), "centrifuge-protobuf");
    let fields = "Sec-WebSocket-Protocol: x\r\nSec-WebSocket-Protocol: centrifuge-json";
    assert_eq!(chosen(fields), "centrifuge-json");
    let mut response = Vec::new();
    let subprotocol = Some(literal!("centrifuge-json"));
    write_accept(&Accepted { accept: [b'x'; 28], subprotocol }, &mut response);
    assert!(response.ends_with(b"\r\nSec-WebSocket-Protocol: centrifuge-json\r\n\r\n"));
}

// RFC 6455 §4.2.2 (4) and §10.2.
#[test]
fn by_default_only_pages_of_the_same_host() {
    let policy = Policy::default();
    for origin in ["http://a.example", "https://A.EXAMPLE", "https://a.example:443"] {
        assert_eq!(status_with_extra(&format!("Origin: {origin}"), &policy), 101, "{origin}");
    }
    let foreign = [
        "",
        "null",
        "a.example",
        "https://a.example:8000",
        "https://b.example",
        "file://a.example",
        "https://x.a.example",
        "https://a.example.evil",
        "http://a.example:443",
        "https://\u{e9}",
    ];
    for origin in foreign {
        assert_eq!(status_with_extra(&format!("Origin: {origin}"), &policy), 403, "{origin}");
    }
    assert_eq!(status_with_extra("Origin: http://a.example\r\nOrigin: x", &policy), 400);
}

#[test]
fn hosts_that_a_page_may_have_made_lead_here_are_refused() {
    let judge = |host: &str, policy: &Policy<'_>| {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{}\r\n\r\n", FIELDS.join("\r\n"));
        let mut table = HeaderTable::default();
        let (head, _) = Head::parse(request.as_bytes(), &mut table).unwrap().unwrap();
        accept(&head, policy).map_or_else(|refusal| refusal.status, |_| 101)
    };
    let policy = Policy { guards_host: true, ..Policy::default() };
    for host in ["localhost:8000", "127.0.0.1", "[::1]:8000", "10.0.0.1:80"] {
        assert_eq!(judge(host, &policy), 101, "{host}");
    }
    for host in ["evil.example", "evil.example:8000", "127.0.0.1.evil.example"] {
        assert_eq!(judge(host, &policy), 403, "{host}");
        assert_eq!(judge(host, &Policy::default()), 101, "{host}");
    }
    let named = OriginPolicy::Allow(vec!["https://app.example".to_owned()]);
    assert_eq!(judge("app.example", &Policy { origin: &named, ..policy }), 101);
    assert_eq!(judge("evil.example", &Policy { origin: &named, ..policy }), 403);
}
