//! What a channel's subscribers are sent unasked, encoded once for each wire variant.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::model::{ChannelName, ClientInfo, Publication};

/// The form in which a connection is sent things; decided by the door it came through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Variant {
    /// Payloads as published, one frame each.
    #[default]
    Raw,
    /// The Centrifuge client protocol in JSON.
    Json,
    /// The Centrifuge client protocol in protobuf.
    Protobuf,
}

impl Variant {
    /// All of them; `variant as usize` is the place here.
    pub const ALL: [Self; 3] = [Self::Raw, Self::Json, Self::Protobuf];

    /// Whether its connections speak the client protocol.
    pub fn is_managed(self) -> bool {
        self != Self::Raw
    }
}

/// One push to a channel. Shared between shards behind an `Arc`, never changed: a frame that is
/// made when the first subscriber needs it is the same for everybody.
#[derive(Debug)]
pub struct Push {
    channel: ChannelName,
    body: PushBody,
    json: OnceLock<EncodedPush>,
    protobuf: OnceLock<EncodedPush>,
}

const _: () = assert!(size_of::<Push>() <= 128, "history remembers pushes");

/// What is pushed.
#[derive(Clone, Debug)]
pub enum PushBody {
    /// A message; `offset` is its number in the channel's stream, 0 where there is no history.
    Publication {
        /// The message.
        publication: Arc<Publication>,
        /// Its number.
        offset: u64,
    },
    /// A client has subscribed.
    Join(Arc<ClientInfo>),
    /// A client has left.
    Leave(Arc<ClientInfo>),
}

/// A complete frame, and where in it the publication stands that replies repeat.
#[derive(Clone, Debug)]
pub struct EncodedPush {
    /// The complete, unmasked WebSocket frame.
    pub frame: Bytes,
    /// The publication (or client info) by itself: a JSON object, or a protobuf message.
    pub object: Range<u32>,
}

impl Push {
    /// A push to a channel.
    pub fn new(channel: ChannelName, body: PushBody) -> Self {
        Self { channel, body, json: OnceLock::new(), protobuf: OnceLock::new() }
    }

    /// The channel.
    pub fn channel(&self) -> &ChannelName {
        &self.channel
    }

    /// What is pushed.
    pub fn body(&self) -> &PushBody {
        &self.body
    }

    /// The message, if it is one.
    pub fn publication(&self) -> Option<&Arc<Publication>> {
        match &self.body {
            PushBody::Publication { publication, .. } => Some(publication),
            PushBody::Join(_) | PushBody::Leave(_) => None,
        }
    }

    /// The message's number in the channel's stream; 0 if it has none.
    pub fn offset(&self) -> u64 {
        match self.body {
            PushBody::Publication { offset, .. } => offset,
            PushBody::Join(_) | PushBody::Leave(_) => 0,
        }
    }

    /// The frame of a managed variant: `encode` makes it the first time that it is asked for.
    pub(crate) fn encoded(
        &self,
        variant: Variant,
        encode: impl FnOnce(&ChannelName, &PushBody) -> EncodedPush,
    ) -> &EncodedPush {
        let cell = if variant == Variant::Protobuf { &self.protobuf } else { &self.json };
        cell.get_or_init(|| encode(&self.channel, &self.body))
    }
}
