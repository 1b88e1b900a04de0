//! Events, from shards to every `PUB` and `XPUB` endpoint.
//!
//! Sending never waits: to a subscriber at its high-water mark libzmq drops, and the `seq` in the
//! meta of the next event shows the gap.

use crate::metrics::IngestMetrics;
use crate::model::Event;
use crate::protocol::encode_event;

/// Most subscription messages of one socket that are read in one turn.
const SUBSCRIPTIONS_PER_TURN: usize = 1024;

/// The sockets that events go out on.
#[derive(Default)]
pub(super) struct Outputs {
    /// All of them.
    pub(super) sockets: Vec<zmq::Socket>,
}

impl Outputs {
    /// Publishes one event everywhere.
    pub(super) fn publish(&self, event: &Event, metrics: &IngestMetrics) {
        let encoded = encode_event(event);
        for socket in &self.sockets {
            let parts = [encoded.topic.as_bytes(), &encoded.payload, &encoded.meta];
            if socket.send_multipart(parts, zmq::DONTWAIT).is_ok() {
                metrics.events_sent.increment();
            }
        }
    }

    /// Reads away what subscribers tell XPUB, which would otherwise pile up.
    pub(super) fn drain_subscriptions(&self, place: usize) {
        let mut message = zmq::Message::new();
        for _ in 0..SUBSCRIPTIONS_PER_TURN {
            if self.sockets[place].recv(&mut message, zmq::DONTWAIT).is_err() {
                return;
            }
        }
    }
}
