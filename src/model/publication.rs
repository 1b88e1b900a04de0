//! One publication: the encoded frame that every subscriber on every shard shares.
//!
//! The payload is copied exactly once on its way from ZeroMQ to the sockets: into this frame,
//! right behind the WebSocket header, because one contiguous send is what a delivery costs
//! (and because a small part of a ZeroMQ message would keep its whole receive batch alive).

use std::sync::Arc;

use bytes::Bytes;

use crate::model::{ClientId, ClientInfo};

/// A message on its way to sockets. Shared between shards behind an `Arc`, never changed.
#[derive(Debug)]
pub struct Publication {
    /// The complete, unmasked WebSocket frame: the wire variant of the raw door.
    frame: Bytes,
    /// Where the payload begins in `frame`.
    header_bytes: u8,
    /// Whether the frame is a text frame.
    text: bool,
    /// When the edge received the message, in nanoseconds of its monotonic clock.
    received_nanos: u64,
    /// What few publications have.
    extra: Option<Box<Extra>>,
}

const _: () = assert!(size_of::<Publication>() <= 56, "history remembers publications");

/// What few publications have.
#[derive(Debug, Default)]
struct Extra {
    /// A connection that must not get it, usually the one it came from.
    except: Option<ClientId>,
    /// If set, only sessions of this device get it.
    device: Option<Box<str>>,
    /// The client that published it.
    publisher: Option<Arc<ClientInfo>>,
    /// Names and values that managed clients get beside the payload.
    tags: Vec<(Box<str>, Box<str>)>,
    /// Whether the channel does not remember it.
    skips_history: bool,
    /// Which state of something it tells, if it says so.
    version: Option<Version>,
}

/// The version of a state that a publication tells: an older one that comes late is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// It grows with every change; never 0.
    pub number: u64,
    /// Which life of the state its number belongs to: another one begins anew. Empty means
    /// whichever the channel knows.
    pub epoch: Box<str>,
}

impl Version {
    /// Whether it is not newer than the one that a channel had last.
    pub fn is_outdated(&self, last: &Self) -> bool {
        (self.epoch.is_empty() || self.epoch == last.epoch) && self.number <= last.number
    }
}

impl Publication {
    /// Of the frame that the raw door sends, in which the payload stands behind so many bytes.
    /// `protocol` makes the frame: see [`Publication::new`].
    pub(crate) fn of_frame(
        frame: Vec<u8>,
        header_bytes: u8,
        text: bool,
        received_nanos: u64,
    ) -> Self {
        Self { frame: frame.into(), header_bytes, text, received_nanos, extra: None }
    }

    /// Leaves one connection out.
    pub fn with_except(mut self, except: Option<ClientId>) -> Self {
        if except.is_some() {
            self.extra.get_or_insert_default().except = except;
        }
        self
    }

    /// Restricts delivery to one device of the user.
    pub fn with_device(mut self, device: Option<Box<str>>) -> Self {
        if device.is_some() {
            self.extra.get_or_insert_default().device = device;
        }
        self
    }

    /// Says which client published it.
    pub fn with_publisher(mut self, publisher: Arc<ClientInfo>) -> Self {
        self.extra.get_or_insert_default().publisher = Some(publisher);
        self
    }

    /// Adds names and values that managed clients get beside the payload.
    pub fn with_tags(mut self, tags: Vec<(Box<str>, Box<str>)>) -> Self {
        if !tags.is_empty() {
            self.extra.get_or_insert_default().tags = tags;
        }
        self
    }

    /// Keeps it out of the channel's history: it has no offset, and who is not there misses it.
    pub fn with_skip_history(mut self, skips_history: bool) -> Self {
        if skips_history {
            self.extra.get_or_insert_default().skips_history = true;
        }
        self
    }

    /// Says which version of a state it tells.
    pub fn with_version(mut self, version: Option<Version>) -> Self {
        if version.is_some() {
            self.extra.get_or_insert_default().version = version;
        }
        self
    }

    /// The complete frame of the raw door.
    pub fn frame(&self) -> &Bytes {
        &self.frame
    }

    /// The payload as published.
    pub fn payload(&self) -> Bytes {
        self.frame.slice(usize::from(self.header_bytes)..)
    }

    /// The payload as published, borrowed.
    pub fn payload_bytes(&self) -> &[u8] {
        &self.frame[usize::from(self.header_bytes)..]
    }

    /// Whether the payload is text (UTF-8) rather than binary.
    pub fn is_text(&self) -> bool {
        self.text
    }

    /// When the edge received the message, in nanoseconds of its monotonic clock.
    pub fn received_nanos(&self) -> u64 {
        self.received_nanos
    }

    /// The connection that is left out.
    pub fn except(&self) -> Option<ClientId> {
        self.extra.as_ref()?.except
    }

    /// The only device that gets it.
    pub fn device(&self) -> Option<&str> {
        self.extra.as_ref()?.device.as_deref()
    }

    /// The client that published it, if one did.
    pub fn publisher(&self) -> Option<&Arc<ClientInfo>> {
        self.extra.as_ref()?.publisher.as_ref()
    }

    /// Whether a channel with history remembers it: what is for one device alone is no part of what
    /// everybody can recover.
    pub fn is_remembered(&self) -> bool {
        self.extra.as_ref().is_none_or(|extra| extra.device.is_none() && !extra.skips_history)
    }

    /// Which version of a state it tells.
    pub fn version(&self) -> Option<&Version> {
        self.extra.as_ref()?.version.as_ref()
    }

    /// About how long it is in a push: the payload, and what stands beside it.
    pub fn bytes(&self) -> usize {
        let tags = self.tags().iter().map(|(name, value)| name.len() + value.len());
        let length = |json: &Option<Box<str>>| json.as_deref().map_or(0, str::len);
        let publisher = self
            .publisher()
            .map_or(0, |info| info.user.len() + length(&info.connection) + length(&info.channel));
        self.frame.len() + tags.sum::<usize>() + publisher
    }

    /// Names and values beside the payload.
    pub fn tags(&self) -> &[(Box<str>, Box<str>)] {
        self.extra.as_ref().map_or(&[], |extra| &extra.tags)
    }
}
