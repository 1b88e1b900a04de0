//! What clients say and hear, in each dialect: written from the protocols alone, not with the
//! server's own code.

use serde_json::{Value, json};

use super::message::Message;
use crate::random::Random;

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Payloads, at the door of raw clients.
    Raw,
    /// Payloads, at the door that returns them.
    Echo,
    /// The client protocol in JSON.
    Json,
    /// The client protocol in protobuf.
    Protobuf,
}

impl Dialect {
    /// Whether it is a form of the client protocol.
    pub(crate) fn is_managed(self) -> bool {
        matches!(self, Self::Json | Self::Protobuf)
    }
}

/// One thing that a managed client is told.
#[derive(Debug, PartialEq)]
pub(crate) enum Told {
    /// To answer.
    Ping,
    /// A command failed.
    Error(u32, u64),
    /// It is connected: its name, and what it is subscribed to.
    Connected(u32, String, Vec<(String, Subscribed)>),
    /// It is subscribed.
    Subscribed(u32, Subscribed),
    /// A command was carried out.
    Done(u32),
    /// A publication in a channel.
    Publication(String, Published),
    /// The edge subscribed it.
    Given(String, Subscribed),
    /// What everybody is told.
    Message(Vec<u8>),
    /// The edge took a channel away.
    Unsubscribed(String, u64),
    /// Somebody came or went.
    Seen,
}

/// A publication: its offset and what it says.
pub(crate) type Published = (u64, Vec<u8>);

/// The answer to a subscription.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Subscribed {
    pub(crate) epoch: String,
    pub(crate) offset: u64,
    pub(crate) is_recovered: bool,
    pub(crate) missed: Vec<Published>,
}

/// What a managed client asks.
#[derive(Debug)]
pub(crate) enum Ask<'a> {
    /// Who it is.
    Connect(&'a str),
    /// To hear a channel, and from where on.
    Subscribe(&'a str, Option<(&'a str, u64)>),
    /// To hear it no more.
    Unsubscribe(&'a str),
    /// To say something in it.
    Publish(&'a str, &'a [u8]),
}

/// An opening handshake.
pub(crate) fn greeting(path: &str, dialect: Dialect) -> Vec<u8> {
    let offered = match dialect {
        Dialect::Raw | Dialect::Echo => "",
        Dialect::Json => "Sec-WebSocket-Protocol: centrifuge-json\r\n",
        Dialect::Protobuf => "Sec-WebSocket-Protocol: centrifuge-protobuf\r\n",
    };
    format!(
        "GET {path} HTTP/1.1\r\nHost: edge\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         {offered}\r\n"
    )
    .into_bytes()
}

/// A frame of a client, with this first byte.
pub(crate) fn masked(first: u8, payload: &[u8], random: &mut Random) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ ..126 => frame.push(0x80 | short as u8),
        long => {
            frame.push(0x80 | 126);
            frame.extend((long as u16).to_be_bytes());
        }
    }
    let mask = (random.next() as u32).to_be_bytes();
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The first frame of some bytes of a server: its first byte, payload and size.
pub(crate) fn frame(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (&first, rest) = bytes.split_first()?;
    let (header, length) = match *rest.first()? {
        126 => (4_usize, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        short => (2, usize::from(short)),
    };
    let end = header.checked_add(length)?;
    Some((first, bytes.get(header..end)?, end))
}

/// A command in one of the two forms, as a frame's opcode and payload.
pub(crate) fn command(dialect: Dialect, id: u32, ask: &Ask<'_>) -> (u8, Vec<u8>) {
    if dialect == Dialect::Json {
        return (1, in_json(id, ask).to_string().into_bytes());
    }
    let message = Message::default().number(1, id.into());
    let message = match *ask {
        Ask::Connect(token) => message.message(4, Message::default().bytes(1, token.as_bytes())),
        Ask::Subscribe(channel, position) => {
            let mut inner = Message::default().bytes(1, channel.as_bytes());
            if let Some((epoch, offset)) = position {
                inner = inner.number(3, 1).bytes(6, epoch.as_bytes()).number(7, offset);
            }
            message.message(5, inner)
        }
        Ask::Unsubscribe(channel) => {
            message.message(6, Message::default().bytes(1, channel.as_bytes()))
        }
        Ask::Publish(channel, data) => {
            message.message(7, Message::default().bytes(1, channel.as_bytes()).bytes(2, data))
        }
    };
    (2, message.delimited())
}

fn in_json(id: u32, ask: &Ask<'_>) -> Value {
    match *ask {
        Ask::Connect(token) => json!({"id": id, "connect": {"token": token}}),
        Ask::Subscribe(channel, None) => json!({"id": id, "subscribe": {"channel": channel}}),
        Ask::Subscribe(channel, Some((epoch, offset))) => json!({"id": id, "subscribe": {
            "channel": channel, "recover": true, "epoch": epoch, "offset": offset
        }}),
        Ask::Unsubscribe(channel) => json!({"id": id, "unsubscribe": {"channel": channel}}),
        Ask::Publish(channel, data) => {
            let data: Value = serde_json::from_slice(data).expect("a payload is JSON");
            json!({"id": id, "publish": {"channel": channel, "data": data}})
        }
    }
}

/// Several commands in one message.
pub(crate) fn joined(dialect: Dialect, commands: &[Vec<u8>]) -> Vec<u8> {
    commands.join(&b"\n"[..usize::from(dialect == Dialect::Json)])
}

/// The answer to a ping.
pub(crate) fn pong(dialect: Dialect) -> (u8, &'static [u8]) {
    if dialect == Dialect::Json { (1, b"{}") } else { (2, b"\0") }
}

/// What a frame of the client protocol says; `None` if it says nothing that is right.
pub(crate) fn told(dialect: Dialect, payload: &[u8]) -> Option<Vec<Told>> {
    if dialect == Dialect::Json {
        let lines = payload.split(|&byte| byte == b'\n');
        return lines.map(|line| json_told(&serde_json::from_slice(line).ok()?)).collect();
    }
    let (mut rest, mut all) = (payload, Vec::new());
    while !rest.is_empty() {
        all.push(protobuf_told(take_bytes(&mut rest)?)?);
    }
    Some(all)
}

fn json_told(reply: &Value) -> Option<Told> {
    if reply.as_object()?.is_empty() {
        return Some(Told::Ping);
    }
    if let Some(push) = reply.get("push") {
        if let Some(message) = push.get("message") {
            return Some(Told::Message(message.get("data")?.to_string().into_bytes()));
        }
        let channel = push["channel"].as_str()?.to_owned();
        if let Some(publication) = push.get("pub") {
            return Some(Told::Publication(channel, json_published(publication)?));
        }
        if let Some(subscribe) = push.get("subscribe") {
            return Some(Told::Given(channel, json_subscribed(subscribe)?));
        }
        if let Some(unsubscribe) = push.get("unsubscribe") {
            return Some(Told::Unsubscribed(channel, unsubscribe["code"].as_u64()?));
        }
        return push.get("join").or_else(|| push.get("leave")).map(|_| Told::Seen);
    }
    let id = reply["id"].as_u64()? as u32;
    if let Some(error) = reply.get("error") {
        return Some(Told::Error(id, error["code"].as_u64()?));
    }
    if let Some(connect) = reply.get("connect") {
        let subs = connect.get("subs").and_then(Value::as_object).into_iter().flatten();
        let subs = subs.map(|(name, it)| Some((name.clone(), json_subscribed(it)?)));
        let client = connect["client"].as_str()?.to_owned();
        return Some(Told::Connected(id, client, subs.collect::<Option<_>>()?));
    }
    match reply.get("subscribe") {
        Some(result) => Some(Told::Subscribed(id, json_subscribed(result)?)),
        None => Some(Told::Done(id)),
    }
}

fn json_subscribed(result: &Value) -> Option<Subscribed> {
    let missed = result.get("publications").and_then(Value::as_array).into_iter().flatten();
    Some(Subscribed {
        epoch: result.get("epoch").and_then(Value::as_str).unwrap_or_default().to_owned(),
        offset: result.get("offset").and_then(Value::as_u64).unwrap_or(0),
        is_recovered: result.get("recovered").and_then(Value::as_bool).unwrap_or(false),
        missed: missed.map(json_published).collect::<Option<_>>()?,
    })
}

fn json_published(publication: &Value) -> Option<Published> {
    let offset = publication.get("offset").and_then(Value::as_u64).unwrap_or(0);
    Some((offset, publication.get("data")?.to_string().into_bytes()))
}

fn protobuf_told(reply: &[u8]) -> Option<Told> {
    if reply.is_empty() {
        return Some(Told::Ping);
    }
    let fields = fields(reply)?;
    let id = number(&fields, 1) as u32;
    if let Some(error) = inner(&fields, 2) {
        return Some(Told::Error(id, number(&self::fields(error)?, 1)));
    }
    if let Some(push) = inner(&fields, 4) {
        let push = self::fields(push)?;
        if let Some(message) = inner(&push, 8) {
            return Some(Told::Message(inner(&self::fields(message)?, 1)?.to_vec()));
        }
        let channel = String::from_utf8(inner(&push, 2)?.to_vec()).ok()?;
        if let Some(publication) = inner(&push, 4) {
            return Some(Told::Publication(channel, protobuf_published(publication)?));
        }
        if let Some(subscribe) = inner(&push, 9) {
            return Some(Told::Given(channel, protobuf_given(subscribe)?));
        }
        if let Some(unsubscribe) = inner(&push, 7) {
            return Some(Told::Unsubscribed(channel, number(&self::fields(unsubscribe)?, 2)));
        }
        return inner(&push, 5).or_else(|| inner(&push, 6)).map(|_| Told::Seen);
    }
    if let Some(connect) = inner(&fields, 5) {
        let connect = self::fields(connect)?;
        let client = String::from_utf8(inner(&connect, 1)?.to_vec()).ok()?;
        let subs = connect.iter().filter(|(field, _)| *field == 6).map(|(_, entry)| {
            let Field::Bytes(entry) = entry else { return None };
            let entry = self::fields(entry)?;
            let name = String::from_utf8(inner(&entry, 1)?.to_vec()).ok()?;
            Some((name, protobuf_subscribed(inner(&entry, 2).unwrap_or_default())?))
        });
        return Some(Told::Connected(id, client, subs.collect::<Option<_>>()?));
    }
    match inner(&fields, 6) {
        Some(result) => Some(Told::Subscribed(id, protobuf_subscribed(result)?)),
        None => Some(Told::Done(id)),
    }
}

fn protobuf_subscribed(result: &[u8]) -> Option<Subscribed> {
    let fields = fields(result)?;
    let missed = fields.iter().filter(|(field, _)| *field == 7).map(|(_, it)| match it {
        Field::Bytes(it) => protobuf_published(it),
        Field::Number(_) => None,
    });
    Some(Subscribed {
        epoch: String::from_utf8(inner(&fields, 6).unwrap_or_default().to_vec()).ok()?,
        offset: number(&fields, 9),
        is_recovered: number(&fields, 8) == 1,
        missed: missed.collect::<Option<_>>()?,
    })
}

/// A push has other numbers for what a reply has.
fn protobuf_given(push: &[u8]) -> Option<Subscribed> {
    let fields = fields(push)?;
    let epoch = String::from_utf8(inner(&fields, 4).unwrap_or_default().to_vec()).ok()?;
    Some(Subscribed { epoch, offset: number(&fields, 5), ..Subscribed::default() })
}

fn protobuf_published(publication: &[u8]) -> Option<Published> {
    let fields = fields(publication)?;
    Some((number(&fields, 6), inner(&fields, 4)?.to_vec()))
}

/// The value of a field.
#[derive(Debug)]
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn fields(mut message: &[u8]) -> Option<Vec<(u64, Field<'_>)>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = take_number(&mut message)?;
        let value = match key & 7 {
            0 => Field::Number(take_number(&mut message)?),
            2 => Field::Bytes(take_bytes(&mut message)?),
            _ => return None,
        };
        fields.push((key >> 3, value));
    }
    Some(fields)
}

fn number(fields: &[(u64, Field<'_>)], wanted: u64) -> u64 {
    let found = fields.iter().find(|(field, _)| *field == wanted);
    if let Some((_, Field::Number(number))) = found { *number } else { 0 }
}

fn inner<'a>(fields: &[(u64, Field<'a>)], wanted: u64) -> Option<&'a [u8]> {
    let found = fields.iter().find(|(field, _)| *field == wanted);
    if let Some((_, Field::Bytes(bytes))) = found { Some(bytes) } else { None }
}

fn take_number(input: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = input.split_first()?;
        *input = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some(number)
}

fn take_bytes<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_number(input)?).ok()?;
    let (bytes, rest) = input.split_at_checked(length)?;
    *input = rest;
    Some(bytes)
}
