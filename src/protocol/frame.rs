//! The frames that publications and pushes are sent in: what `model` leaves to the forms.

use std::ops::Range;

use bytes::Bytes;

use crate::model::{EncodedPush, Publication, Push, Variant};
use crate::protocol::centrifuge::encode_push;
use crate::ws::frame::{Opcode, SERVER_HEADER_BYTES_MAX, encode_header};

impl Publication {
    /// Encodes a payload. Text must be UTF-8; the decoder of commands has checked it.
    pub fn new(text: bool, payload: &[u8], received_nanos: u64) -> Self {
        let mut header = [0; SERVER_HEADER_BYTES_MAX];
        let opcode = if text { Opcode::Text } else { Opcode::Binary };
        let header_bytes = encode_header(&mut header, opcode, true, payload.len() as u64);
        let mut frame = Vec::with_capacity(header_bytes + payload.len());
        frame.extend_from_slice(&header[..header_bytes]);
        frame.extend_from_slice(payload);
        Self::of_frame(frame, header_bytes as u8, text, received_nanos)
    }
}

impl Push {
    /// The frame for subscribers of a variant; raw ones hear of publications alone.
    pub fn frame(&self, variant: Variant) -> Option<&Bytes> {
        match variant {
            Variant::Raw => self.publication().map(|publication| publication.frame()),
            Variant::Json | Variant::Protobuf => Some(&encoded(self, variant).frame),
        }
    }

    /// The publication by itself, as replies in a managed variant repeat it.
    pub fn object(&self, variant: Variant) -> &[u8] {
        let encoded = encoded(self, variant);
        let Range { start, end } = encoded.object;
        &encoded.frame[start as usize..end as usize]
    }
}

fn encoded(push: &Push, variant: Variant) -> &EncodedPush {
    push.encoded(variant, |channel, body| encode_push(variant, channel, body))
}
