//! Writes what clients are told, in either form, as complete WebSocket frames.
//!
//! A message is described once, field by field, and comes out as JSON or as protobuf. Everything
//! goes straight to the end of one buffer. Where a length comes first, it is put in when what it
//! counts is written: the bytes behind move once for each level of nesting, of which there are
//! five at most, which is cheaper than a pass that measures.

use std::fmt;
use std::io::Write as _;

use prost::encoding::{WireType, encode_key, encode_varint};

use crate::model::Variant;
use crate::protocol::centrifuge::payload::{Form, form_of};
use crate::ws::Opcode;
use crate::ws::frame::{SERVER_HEADER_BYTES_MAX, encode_header};

/// A field of a message. Zero, false and empty are left out, as clients expect.
#[derive(Clone, Copy)]
pub(super) struct Field {
    /// Its name in JSON.
    name: &'static str,
    /// Its number in protobuf.
    number: u32,
    /// Whether JSON has it even if it is zero or empty, because some client reads it unasked.
    always: bool,
}

impl Field {
    pub(super) const fn new(name: &'static str, number: u32) -> Self {
        Self { name, number, always: false }
    }

    /// One that JSON does not leave out.
    pub(super) const fn always(name: &'static str, number: u32) -> Self {
        Self { name, number, always: true }
    }
}

/// A message in the making, at the end of a buffer.
pub(super) struct Writer<'a> {
    is_json: bool,
    out: &'a mut Vec<u8>,
}

/// Appends a frame with one message. Whatever is not protobuf is JSON.
pub(super) fn write_frame(variant: Variant, out: &mut Vec<u8>, body: impl FnOnce(&mut Writer<'_>)) {
    debug_assert!(variant.is_managed(), "raw clients are told payloads alone");
    let start = out.len();
    let mut writer = Writer { is_json: variant != Variant::Protobuf, out };
    let opcode = if writer.is_json {
        writer.braces(body);
        Opcode::Text
    } else {
        body(&mut writer);
        writer.insert_length(start);
        Opcode::Binary
    };
    let mut header = [0; SERVER_HEADER_BYTES_MAX];
    let payload_length = (out.len() - start) as u64;
    let size = encode_header(&mut header, opcode, true, payload_length);
    out.extend_from_slice(&header[..size]);
    out[start..].rotate_right(size);
}

impl Writer<'_> {
    /// Whole numbers.
    pub(super) fn number(&mut self, field: Field, value: u64) {
        if self.is_json {
            if value != 0 || field.always {
                self.name(field);
                self.plain(value);
            }
        } else if value != 0 {
            encode_key(field.number, WireType::Varint, self.out);
            encode_varint(value, self.out);
        }
    }

    pub(super) fn flag(&mut self, field: Field, value: bool) {
        if value && self.is_json {
            self.name(field);
            self.out.extend_from_slice(b"true");
        } else if value {
            self.number(field, 1);
        }
    }

    /// Any text.
    pub(super) fn text(&mut self, field: Field, value: &str) {
        if !self.is_json {
            self.bytes(field, value.as_bytes());
        } else if !value.is_empty() || field.always {
            self.name(field);
            self.quoted(value);
        }
    }

    /// Text of the edge's own that is not empty and needs no escapes.
    pub(super) fn plain_text(&mut self, field: Field, value: impl fmt::Display) {
        if self.is_json {
            self.name(field);
            self.out.push(b'"');
            self.plain(value);
            self.out.push(b'"');
        } else {
            encode_key(field.number, WireType::LengthDelimited, self.out);
            let start = self.out.len();
            self.plain(value);
            self.insert_length(start);
        }
    }

    /// A value that is JSON text already.
    pub(super) fn json(&mut self, field: Field, value: &str) {
        if !self.is_json {
            self.bytes(field, value.as_bytes());
        } else if !value.is_empty() {
            self.name(field);
            self.one_line(value);
        }
    }

    /// What an application published; says how it is encoded if clients cannot know.
    pub(super) fn payload(&mut self, field: Field, value: &[u8]) -> Option<&'static str> {
        if !self.is_json {
            self.bytes(field, value);
            return None;
        }
        self.name(field);
        match form_of(value) {
            Form::Json(json) => self.one_line(json),
            Form::Text(text) => self.quoted(text),
            Form::Base64(text) => {
                self.quoted(&text);
                return Some("base64");
            }
        }
        None
    }

    /// A message within this one, even if it turns out to have no fields. Returns how long it is
    /// by itself.
    pub(super) fn message(&mut self, field: Field, body: impl FnOnce(&mut Self)) -> usize {
        if self.is_json {
            self.name(field);
            return self.braces(body);
        }
        encode_key(field.number, WireType::LengthDelimited, self.out);
        let start = self.out.len();
        body(self);
        let length = self.out.len() - start;
        self.insert_length(start);
        length
    }

    /// Messages that are encoded already.
    pub(super) fn list<'m>(&mut self, field: Field, messages: impl Iterator<Item = &'m [u8]>) {
        if !self.is_json {
            messages.for_each(|message| self.repeated(field, message));
            return;
        }
        self.name(field);
        self.out.push(b'[');
        for (index, message) in messages.enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.out.extend_from_slice(message);
        }
        self.out.push(b']');
    }

    /// A map, whose entries are written by [`Self::entry`] and [`Self::text_entry`].
    pub(super) fn map(&mut self, field: Field, entries: impl FnOnce(&mut Self)) {
        if self.is_json {
            self.name(field);
            self.braces(entries);
        } else {
            entries(self);
        }
    }

    /// A message in the map `field`.
    pub(super) fn entry(&mut self, field: Field, key: &str, body: impl FnOnce(&mut Self)) {
        if self.is_json {
            self.key(key);
            self.braces(body);
            return;
        }
        self.message(field, |entry| {
            entry.bytes(ENTRY_KEY, key.as_bytes());
            entry.message(ENTRY_VALUE, body);
        });
    }

    /// A text in the map `field`.
    pub(super) fn text_entry(&mut self, field: Field, key: &str, value: &str) {
        if self.is_json {
            self.key(key);
            self.quoted(value);
            return;
        }
        self.message(field, |entry| {
            entry.bytes(ENTRY_KEY, key.as_bytes());
            entry.bytes(ENTRY_VALUE, value.as_bytes());
        });
    }

    // How JSON is put together.

    fn braces(&mut self, body: impl FnOnce(&mut Self)) -> usize {
        let start = self.out.len();
        self.out.push(b'{');
        body(self);
        self.out.push(b'}');
        self.out.len() - start
    }

    fn name(&mut self, field: Field) {
        self.comma();
        self.out.push(b'"');
        self.out.extend_from_slice(field.name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn key(&mut self, key: &str) {
        self.comma();
        self.quoted(key);
        self.out.push(b':');
    }

    /// Parts the next field from the one before it; no complete value ends as objects begin.
    fn comma(&mut self) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
    }

    fn plain(&mut self, value: impl fmt::Display) {
        write!(self.out, "{value}").expect("a vector takes any text");
    }

    fn quoted(&mut self, text: &str) {
        serde_json::to_writer(&mut *self.out, text).expect("a vector takes any text");
    }

    /// JSON text without line feeds, at which clients part one reply from the next. In JSON they
    /// stand between tokens only, where a space means the same.
    fn one_line(&mut self, json: &str) {
        let start = self.out.len();
        self.out.extend_from_slice(json.as_bytes());
        for byte in &mut self.out[start..] {
            if *byte == b'\n' {
                *byte = b' ';
            }
        }
    }

    // How protobuf is put together.

    fn bytes(&mut self, field: Field, value: &[u8]) {
        if !value.is_empty() {
            self.repeated(field, value);
        }
    }

    /// One of several, which is not left out if it is empty.
    fn repeated(&mut self, field: Field, value: &[u8]) {
        encode_key(field.number, WireType::LengthDelimited, self.out);
        encode_varint(value.len() as u64, self.out);
        self.out.extend_from_slice(value);
    }

    /// Puts the length of everything from `start` before it.
    fn insert_length(&mut self, start: usize) {
        let end = self.out.len();
        encode_varint((end - start) as u64, self.out);
        let size = self.out.len() - end;
        self.out[start..].rotate_right(size);
    }
}

/// A map in protobuf is a list of messages with these two fields.
const ENTRY_KEY: Field = Field::new("key", 1);
const ENTRY_VALUE: Field = Field::new("value", 2);
