//! What a shell asks about single connections and about batches of sends.

use crate::hub::delivery::backlog::PAUSE_BYTES;
use crate::hub::delivery::batch::Source;
use crate::hub::rows::Id;
use crate::hub::{Age, Batch, Entry, Hub};

/// With more channels than this still to be served, a shard takes no more publications: each holds
/// a log of its own.
const DIRTY_MAX: usize = 4096;

impl Hub {
    /// Fills a batch with the sends that come next.
    pub fn poll_batch(&mut self, batch: &mut Batch) {
        self.delivery.poll_batch(&self.context, batch);
    }

    /// The bytes of a send. Valid until the hub is called with anything else.
    pub fn bytes(&self, entry: &Entry) -> &[u8] {
        self.delivery.bytes(entry)
    }

    /// Takes note of what became of a batch.
    pub fn finish_batch(&mut self, batch: &mut Batch, now_nanos: u64) {
        let has_replies = self.delivery.finish_batch(&mut self.context, batch, now_nanos);
        // Whatever is begun now may end a round.
        if has_replies {
            self.unpark_answered(batch);
        }
        self.run_local();
    }

    /// Commands that waited for the replies before them have their turn.
    fn unpark_answered(&mut self, batch: &Batch) {
        for entry in &batch.entries {
            let row = entry.connection();
            if matches!(entry.source, Source::Outbox) && self.has_parked(row) {
                self.unpark(row);
            }
        }
    }

    /// Whether some log is so long that the shell should leave further envelopes on their links
    /// until rounds have caught up: this is how a busy shard slows its publishers down.
    pub fn is_congested(&self) -> bool {
        self.delivery.tally.congested > 0 || self.delivery.queues.dirty.len() > DIRTY_MAX
    }

    /// Whether [`Hub::poll_batch`] would find something to send.
    pub fn has_work(&self) -> bool {
        let queues = &self.delivery.queues;
        !queues.dirty.is_empty() || !queues.catching_up.is_empty()
    }

    /// The socket of a connection takes bytes again.
    pub fn handle_writable(&mut self, row: u32) {
        self.delivery.unblock(&self.context, Id::new(row));
    }

    /// Whether a connection is owed nothing but rounds: then the shell may send a reply inline.
    pub fn is_clear(&self, row: u32) -> bool {
        self.delivery.is_clear(Id::new(row))
    }

    /// The socket took only some bytes, or none, of a reply that the shell tried to send inline.
    pub fn push_refused(&mut self, row: u32, bytes: &[u8], sent: usize) {
        self.delivery.refuse_push(&mut self.context, Id::new(row), bytes, sent);
        self.run_local();
    }

    /// Adds personal bytes, whole frames, to a connection's outbox.
    pub fn push(&mut self, row: u32, bytes: &[u8]) {
        self.delivery.append(&self.context, Id::new(row), bytes);
        self.run_local();
    }

    /// How many personal bytes wait for a connection.
    pub fn outbox_bytes(&self, row: u32) -> usize {
        self.delivery.waiting_bytes(Id::new(row))
    }

    /// Whether what a peer sends is to be read. While it does not read us its pong may lie unread,
    /// and the age of what it is owed decides about it. When what kept it from being read is over,
    /// the shell hears of it as [`Effect::Audible`](crate::hub::Effect::Audible).
    pub fn is_audible(&self, row: u32) -> bool {
        let row = Id::new(row);
        self.delivery.waiting_bytes(row) <= PAUSE_BYTES && !self.has_parked(row)
    }

    /// How long the connection has been owed what it is owed; the shell asks when its socket
    /// fills and once in each period of the age limit from then on.
    pub fn check_age(&mut self, row: u32) -> Age {
        self.delivery.check_age(Id::new(row))
    }
}
