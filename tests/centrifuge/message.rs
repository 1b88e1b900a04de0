//! A writer of protobuf messages, which shares nothing with the codec.

/// A message in the making.
#[derive(Default)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    pub(crate) fn number(mut self, field: u64, value: u64) -> Self {
        put_number(&mut self.0, field << 3);
        put_number(&mut self.0, value);
        self
    }

    pub(crate) fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        put_number(&mut self.0, field << 3 | 2);
        put_number(&mut self.0, value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    pub(crate) fn message(self, field: u64, inner: Self) -> Self {
        self.bytes(field, &inner.0)
    }

    /// The message behind its length, as frames have it.
    pub(crate) fn delimited(self) -> Vec<u8> {
        let mut out = Vec::new();
        put_number(&mut out, self.0.len() as u64);
        [out, self.0].concat()
    }
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
