//! The promise: every frame that RFC 6455 allows is understood however it is cut, and every one
//! that it forbids closes the connection with the right code.

use crate::harness::{Edge, Raw, frame, masked};

/// Sends bytes to the echo door and expects the connection to be failed with a code.
#[track_caller]
fn fails(edge: &Edge, bytes: &[u8], code: u16) {
    let mut peer = edge.raw("/echo");
    peer.try_send(bytes);
    peer.expect_close(code);
}

/// A header that claims a length in eight bytes.
fn long_header(first: u8, length: u64) -> Vec<u8> {
    [&[first, 0xff][..], &length.to_be_bytes()].concat()
}

#[test]
fn messages_of_every_length_form_come_back() {
    let edge = Edge::with(&["websocket.message_bytes_max=1MiB"]);
    let mut peer = edge.raw("/echo");
    for length in [0, 1, 2, 124, 125, 126, 127, 128, 65_534, 65_535, 65_536, 65_537, 1 << 20] {
        let text = vec![b'x'; length];
        peer.send_frame(0x81, &text);
        peer.expect(0x81, &text);
        let binary: Vec<u8> = (0..length).map(|n| n as u8).collect();
        peer.send_frame(0x82, &binary);
        peer.expect(0x82, &binary);
    }
}

// RFC 6455 §5: each breach fails the connection.
#[test]
fn breaches_of_the_protocol_are_1002() {
    let edge = Edge::start();
    fails(&edge, &[0x81, 0x02, b'h', b'i'], 1002);
    for reserved in [0x40, 0x20, 0x10] {
        fails(&edge, &frame(0x81 | reserved, b"x"), 1002);
    }
    for opcode in [0x3, 0x4, 0x5, 0x6, 0x7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        fails(&edge, &frame(0x80 | opcode, b""), 1002);
    }
    fails(&edge, &frame(0x09, b""), 1002);
    fails(&edge, &frame(0x89, &[0; 126]), 1002);
    fails(&edge, &frame(0x80, b"x"), 1002);
    fails(&edge, &frame(0x00, b"x"), 1002);
    fails(&edge, &[frame(0x01, b"a"), frame(0x81, b"b")].concat(), 1002);
    fails(&edge, &[frame(0x02, b"a"), frame(0x01, b"b")].concat(), 1002);
    // Lengths in more bytes than needed, and one with the highest bit.
    fails(&edge, &[&[0x82, 0xfe, 0, 125][..], &masked(&[0; 125])].concat(), 1002);
    fails(&edge, &[long_header(0x82, 65_535), masked(&[])].concat(), 1002);
    fails(&edge, &[long_header(0x82, 1 << 63), masked(&[])].concat(), 1002);
    let count = 1 + 3 + 10 + 6 + 3;
    edge.expect_metric("tidegate_connections_closed_total{reason=\"protocol_error\"", count);
    edge.expect_metric("tidegate_connections", 0);
}

#[test]
fn messages_over_the_limit_are_1009() {
    let edge = Edge::with(&["websocket.message_bytes_max=1000B"]);
    let mut peer = edge.raw("/echo");
    peer.send_frame(0x82, &[7; 1000]);
    peer.expect(0x82, &[7; 1000]);
    fails(&edge, &frame(0x82, &[7; 1001]), 1009);
    // The claim is enough: nothing of the payload needs to come.
    fails(&edge, &[long_header(0x82, 1 << 40), masked(&[])].concat(), 1009);
    let fragments = [frame(0x02, &[7; 600]), frame(0x00, &[7; 400]), frame(0x80, &[7; 1])];
    fails(&edge, &fragments.concat(), 1009);
}

#[test]
fn fragments_become_one_message() {
    let edge = Edge::start();
    let mut peer = edge.raw("/echo");
    peer.send_frame(0x01, b"one ");
    peer.send_frame(0x89, b"in between");
    peer.expect(0x8a, b"in between");
    peer.send_frame(0x00, b"");
    peer.send_frame(0x8a, b"unasked pong");
    peer.send_frame(0x00, b"two ");
    peer.send_frame(0x80, b"three");
    peer.expect(0x81, b"one two three");
    // A close in between ends it all the same.
    peer.send_frame(0x02, b"never finished");
    peer.send_frame(0x88, &[3, 0xe8]);
    peer.expect_close(1000);
}

#[test]
fn too_many_fragments_are_1008() {
    let edge = Edge::with(&["websocket.fragments_max=4"]);
    let mut peer = edge.raw("/echo");
    let first = frame(0x01, b"a");
    let next = frame(0x00, b"b");
    let last = frame(0x80, b"c");
    peer.send(&[&first[..], &next, &next, &last].concat());
    peer.expect(0x81, b"abbc");
    fails(&edge, &[&first[..], &next, &next, &next, &next].concat(), 1008);
    let empty = frame(0x00, b"");
    fails(&edge, &[&first[..], &empty, &empty, &empty, &last].concat(), 1008);
}

#[test]
fn frames_may_come_a_byte_at_a_time() {
    let edge = Edge::start();
    let mut peer = edge.raw("/echo");
    let text = "a byte at a time: 日本語 ".repeat(8);
    let (begin, end) = text.as_bytes().split_at(21);
    let ping = frame(0x89, b"?");
    for byte in [frame(0x01, begin), ping, frame(0x80, end)].concat() {
        peer.send(&[byte]);
    }
    peer.expect(0x8a, b"?");
    peer.expect(0x81, text.as_bytes());
}

// RFC 6455 §8.1.
#[test]
fn text_that_is_not_utf8_is_1007_wherever_it_is_cut() {
    let edge = Edge::start();
    let bad: [&[u8]; 6] = [
        b"ok \xce\xba\xe1\xbd\xb9\xcf\x83\xed\xa0\x80 no",
        b"\xf4\x90\x80\x80",
        b"\xc0\xaf",
        b"cut \xf0\x9f\x98",
        b"\xff",
        b"\x80 first",
    ];
    for bytes in bad {
        fails(&edge, &frame(0x81, bytes), 1007);
        for cut in 0..=bytes.len() {
            let (begin, end) = bytes.split_at(cut);
            fails(&edge, &[frame(0x01, begin), frame(0x80, end)].concat(), 1007);
        }
    }
    let good = "κόσμε😀";
    let mut peer = edge.raw("/echo");
    for cut in 0..=good.len() {
        let (begin, end) = good.as_bytes().split_at(cut);
        peer.send(&[frame(0x01, begin), frame(0x80, end)].concat());
        peer.expect(0x81, good.as_bytes());
    }
    peer.send_frame(0x82, b"\xff\xfe");
    peer.expect(0x82, b"\xff\xfe");
}

#[test]
fn a_frame_that_is_never_finished_leaves_nothing() {
    let edge = Edge::start();
    let whole = frame(0x81, &[b'x'; 1000]);
    for cut in [1, 2, 3, 4, 7, 8, 9, 500, whole.len() - 1] {
        let mut peer = edge.raw("/echo");
        peer.send(&whole[..cut]);
        peer.shut_down_write();
        // RFC 6455 §7.1.7: the stream just ends, because nobody is there to read a reason.
        peer.expect_end();
    }
    edge.expect_metric("tidegate_connections", 0);
    edge.expect_metric("tidegate_connections_closed_total{reason=\"lost\"", 9);
}

#[test]
fn nothing_after_a_breach_is_heard() {
    let edge = Edge::start();
    let mut peer = edge.raw("/echo");
    peer.send_frame(0x81, b"before");
    peer.send(&[frame(0x83, b""), frame(0x81, b"after")].concat());
    peer.expect(0x81, b"before");
    peer.expect_close(1002);
    edge.expect_metric("tidegate_messages_received_total", 1);
}

#[test]
fn pings_are_answered_in_order_with_their_payload() {
    let edge = Edge::start();
    let mut peer: Raw = edge.raw("/websocket/a");
    let pings: Vec<Vec<u8>> = (0..=125).map(|length| vec![length; length as usize]).collect();
    let all: Vec<u8> = pings.iter().flat_map(|ping| frame(0x89, ping)).collect();
    peer.send(&all);
    for ping in &pings {
        peer.expect(0x8a, ping);
    }
}
