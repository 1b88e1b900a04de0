//! Just enough protobuf to read replies; `message` writes commands.

/// The value of a field on the wire.
#[derive(Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message, in their order.
pub(crate) fn fields(mut message: &[u8]) -> Vec<(u64, Value<'_>)> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = take_number(&mut message);
        let value = match key & 7 {
            0 => Value::Number(take_number(&mut message)),
            2 => Value::Bytes(take_bytes(&mut message)),
            wire_type => panic!("wire type {wire_type}"),
        };
        fields.push((key >> 3, value));
    }
    fields
}

/// The fields of the message in the one field of a message.
pub(crate) fn only(message: &[u8], field: u64) -> &[u8] {
    match fields(message)[..] {
        [(number, Value::Bytes(inner))] if number == field => inner,
        ref other => panic!("expected field {field} alone: {other:?}"),
    }
}

/// What stands behind its length, taken off the front.
pub(crate) fn take_bytes<'a>(input: &mut &'a [u8]) -> &'a [u8] {
    let length = usize::try_from(take_number(input)).expect("a length");
    let (bytes, rest) = input.split_at(length);
    *input = rest;
    bytes
}

fn take_number(input: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..).step_by(7) {
        let (byte, rest) = input.split_first().expect("the rest of a number");
        *input = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    number
}
