//! Replies and pushes, field by field.
//!
//! Fields of a message stand in the order of their numbers. Unset ones are left out, but for a few
//! that clients read unasked, above all where a list or a count may be empty. A reply that repeats
//! publications takes them from the pushes they were encoded for ([`Push::object`]).

use std::sync::Arc;

use crate::model::{
    ChannelName, ClientFault, ClientInfo, ConnectResult, EncodedPush, PersonalPush, Position,
    Publication, Push, PushBody, Reply, SubscribeResult, Variant,
};
use crate::protocol::centrifuge::writer::{Field, Writer, write_frame};

/// Appends the reply to the command `id` as a complete frame. The variant is a managed one.
pub fn encode_reply(variant: Variant, id: u32, reply: &Reply<'_>, out: &mut Vec<u8>) {
    const ID: Field = Field::new("id", 1);
    write_frame(variant, out, |frame| {
        frame.number(ID, id.into());
        write_reply(frame, variant, reply);
    });
}

/// Appends a personal push as a complete frame. The variant is a managed one.
pub fn encode_personal_push(variant: Variant, push: &PersonalPush<'_>, out: &mut Vec<u8>) {
    write_frame(variant, out, |frame| {
        frame.message(PUSH, |frame| match push {
            PersonalPush::Message { payload, .. } => {
                frame.message(Field::new("message", 8), |message| {
                    message.payload(Field::new("data", 1), payload);
                });
            }
            PersonalPush::Subscribe(channel, result) => {
                frame.text(CHANNEL, channel.as_str());
                frame.message(Field::new("subscribe", 9), |subscribe| {
                    write_subscribe_push(subscribe, result);
                });
            }
            PersonalPush::Unsubscribe(channel, code, reason) => {
                frame.text(CHANNEL, channel.as_str());
                frame.message(Field::new("unsubscribe", 7), |unsubscribe| {
                    unsubscribe.number(Field::new("code", 2), (*code).into());
                    unsubscribe.text(Field::always("reason", 3), reason);
                });
            }
        });
    });
}

/// Encodes a push to a channel. The variant is a managed one.
///
/// It costs two allocations at most: one for the frame, unless it has many tags or escapes.
pub fn encode_push(variant: Variant, channel: &ChannelName, body: &PushBody) -> EncodedPush {
    let mut frame = Vec::with_capacity(frame_bytes_guess(channel, body));
    let (mut length, mut depth) = (0, 0);
    write_frame(variant, &mut frame, |frame| {
        frame.message(PUSH, |push| {
            push.text(CHANNEL, channel.as_str());
            (length, depth) = write_push(push, body);
        });
    });
    // Behind the object come only the braces that JSON closes.
    let end = frame.len() - if variant == Variant::Protobuf { 0 } else { depth };
    let object = (end - length) as u32..end as u32;
    EncodedPush { frame: frame.into_boxed_slice().into(), object }
}

/// The frame of an application ping: an empty reply.
pub fn ping_frame(variant: Variant) -> &'static [u8] {
    match variant {
        Variant::Protobuf => b"\x82\x01\x00",
        Variant::Raw | Variant::Json => b"\x81\x02{}",
    }
}

const PUSH: Field = Field::new("push", 4);
const CHANNEL: Field = Field::new("channel", 2);

/// Enough for most frames with one push.
fn frame_bytes_guess(channel: &ChannelName, body: &PushBody) -> usize {
    const NAMES_BYTES: usize = 80;
    let content = match body {
        PushBody::Publication { publication, .. } => publication.frame().len(),
        PushBody::Join(_) | PushBody::Leave(_) => NAMES_BYTES,
    };
    NAMES_BYTES + channel.as_str().len() + content
}

/// Returns the length of the publication or client info by itself, and in how many objects it is.
fn write_push(push: &mut Writer<'_>, body: &PushBody) -> (usize, usize) {
    const INFO: Field = Field::new("info", 1);
    let (field, info) = match body {
        PushBody::Publication { publication, offset } => {
            let length = push.message(Field::new("pub", 4), |message| {
                write_publication(message, publication, *offset);
            });
            return (length, 2);
        }
        PushBody::Join(info) => (Field::new("join", 5), info),
        PushBody::Leave(info) => (Field::new("leave", 6), info),
    };
    let mut length = 0;
    push.message(field, |push| length = push.message(INFO, |message| write_info(message, info)));
    (length, 3)
}

fn write_publication(message: &mut Writer<'_>, publication: &Publication, offset: u64) {
    let encoding = message.payload(Field::new("data", 4), &publication.payload());
    if let Some(publisher) = publication.publisher() {
        message.message(Field::new("info", 5), |message| write_info(message, publisher));
    }
    message.number(Field::new("offset", 6), offset);
    if !publication.tags().is_empty() || encoding.is_some() {
        write_tags(message, publication.tags(), encoding);
    }
    let version = publication.version().map_or(0, |version| version.number);
    message.number(Field::new("version", 16), version);
}

/// The tag that gives away how a payload is encoded that JSON could not carry.
const ENCODING_TAG: &str = "tidegate.encoding";

fn write_tags(
    message: &mut Writer<'_>,
    tags: &[(Box<str>, Box<str>)],
    encoding: Option<&'static str>,
) {
    const TAGS: Field = Field::new("tags", 7);
    message.map(TAGS, |message| {
        for (name, value) in tags {
            // Ours says what is true.
            if encoding.is_none() || &**name != ENCODING_TAG {
                message.text_entry(TAGS, name, value);
            }
        }
        if let Some(encoding) = encoding {
            message.text_entry(TAGS, ENCODING_TAG, encoding);
        }
    });
}

fn write_info(message: &mut Writer<'_>, info: &ClientInfo) {
    message.text(Field::always("user", 1), &info.user);
    message.plain_text(Field::new("client", 2), info.client);
    message.json(Field::new("conn_info", 3), info.connection.as_deref().unwrap_or_default());
    message.json(Field::new("chan_info", 4), info.channel.as_deref().unwrap_or_default());
}

fn write_reply(frame: &mut Writer<'_>, variant: Variant, reply: &Reply<'_>) {
    match *reply {
        Reply::Error(ref fault) => {
            frame.message(Field::new("error", 2), |message| write_error(message, fault));
        }
        Reply::Connect(result) => {
            frame.message(Field::new("connect", 5), |message| {
                write_connect(message, variant, result);
            });
        }
        Reply::Subscribe(result) => {
            frame.message(Field::new("subscribe", 6), |message| {
                write_subscribe(message, variant, result);
            });
        }
        Reply::Unsubscribe => {
            frame.message(Field::new("unsubscribe", 7), |_| {});
        }
        Reply::Publish => {
            frame.message(Field::new("publish", 8), |_| {});
        }
        Reply::Presence(clients) => {
            frame.message(Field::new("presence", 9), |message| write_presence(message, clients));
        }
        Reply::PresenceStats(clients, users) => {
            frame.message(Field::new("presence_stats", 10), |message| {
                message.number(Field::always("num_clients", 1), clients.into());
                message.number(Field::always("num_users", 2), users.into());
            });
        }
        Reply::History(publications, position) => {
            frame.message(Field::new("history", 11), |message| {
                write_history(message, variant, publications, position);
            });
        }
        Reply::Refresh(ttl) => {
            frame.message(Field::new("refresh", 14), |message| {
                write_expiry(message, ttl, Field::new("expires", 3), Field::new("ttl", 4));
            });
        }
        Reply::SubRefresh(ttl) => {
            frame.message(Field::new("sub_refresh", 15), |message| {
                write_expiry(message, ttl, Field::new("expires", 1), Field::new("ttl", 2));
            });
        }
    }
}

/// The message begins with the protocol's words, because clients compare them.
fn write_error(message: &mut Writer<'_>, fault: &ClientFault) {
    const MESSAGE: Field = Field::new("message", 2);
    let ClientFault { error, remedy } = fault;
    message.number(Field::new("code", 1), error.code().into());
    if remedy.is_empty() {
        message.text(MESSAGE, error.message());
    } else {
        message.text(MESSAGE, &format!("{}: {remedy}", error.message()));
    }
    message.flag(Field::new("temporary", 3), error.is_temporary());
}

fn write_connect(message: &mut Writer<'_>, variant: Variant, result: &ConnectResult) {
    const SUBS: Field = Field::new("subs", 6);
    message.plain_text(Field::new("client", 1), result.client);
    message.text(Field::new("version", 2), result.version);
    write_expiry(message, result.ttl, Field::new("expires", 3), Field::new("ttl", 4));
    if !result.subs.is_empty() {
        message.map(SUBS, |message| {
            for (channel, result) in &result.subs {
                message.entry(SUBS, channel.as_str(), |message| {
                    write_subscribe(message, variant, result);
                });
            }
        });
    }
    message.number(Field::new("ping", 7), result.ping.into());
    message.flag(Field::new("pong", 8), result.pong);
}

fn write_subscribe(message: &mut Writer<'_>, variant: Variant, result: &SubscribeResult) {
    write_expiry(message, result.ttl, Field::new("expires", 1), Field::new("ttl", 2));
    message.flag(Field::new("recoverable", 3), result.recoverable);
    if let Some(position) = result.position {
        message.plain_text(Field::new("epoch", 6), position.epoch);
    }
    if !result.publications.is_empty() {
        let publications = objects(variant, &result.publications);
        message.list(Field::new("publications", 7), publications);
    }
    message.flag(Field::new("recovered", 8), result.recovered);
    message.number(Field::new("offset", 9), result.position.map_or(0, |position| position.offset));
    message.flag(Field::new("positioned", 10), result.position.is_some());
    message.json(Field::new("data", 11), result.data.as_deref().unwrap_or_default());
    message.flag(Field::new("was_recovering", 12), result.was_recovering);
}

fn write_subscribe_push(message: &mut Writer<'_>, result: &SubscribeResult) {
    message.flag(Field::new("recoverable", 1), result.recoverable);
    if let Some(position) = result.position {
        message.plain_text(Field::new("epoch", 4), position.epoch);
        message.number(Field::new("offset", 5), position.offset);
        message.flag(Field::new("positioned", 6), true);
    }
    message.json(Field::new("data", 7), result.data.as_deref().unwrap_or_default());
}

fn write_presence(message: &mut Writer<'_>, clients: &[Arc<ClientInfo>]) {
    const PRESENCE: Field = Field::new("presence", 1);
    message.map(PRESENCE, |message| {
        for info in clients {
            let client = info.client.to_string();
            message.entry(PRESENCE, &client, |message| write_info(message, info));
        }
    });
}

fn write_history(
    message: &mut Writer<'_>,
    variant: Variant,
    publications: &[Arc<Push>],
    position: Position,
) {
    message.list(Field::new("publications", 1), objects(variant, publications));
    message.plain_text(Field::new("epoch", 2), position.epoch);
    message.number(Field::always("offset", 3), position.offset);
}

/// What expires has a time to live of a second at least: one of zero would be left out, and SDKs
/// count on it.
fn write_expiry(message: &mut Writer<'_>, ttl: Option<u32>, expires: Field, seconds: Field) {
    message.flag(expires, ttl.is_some());
    message.number(seconds, ttl.map_or(0, |ttl| ttl.max(1)).into());
}

fn objects(variant: Variant, pushes: &[Arc<Push>]) -> impl Iterator<Item = &[u8]> {
    pushes.iter().map(move |push| push.object(variant))
}
