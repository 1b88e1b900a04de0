//! Sums over all logs and outboxes.

use crate::hub::context::Context;
use crate::hub::delivery::Delivery;

impl Delivery {
    pub(super) fn note_log_bytes(&mut self, context: &Context, before: usize, after: usize) {
        self.tally.log_bytes = self.tally.log_bytes + after - before;
        context.metrics.log_bytes.set(self.tally.log_bytes as i64);
    }

    pub(super) fn note_outbox_bytes(&mut self, context: &Context, before: usize, after: usize) {
        self.tally.outbox_bytes = self.tally.outbox_bytes + after - before;
        context.metrics.outbox_bytes.set(self.tally.outbox_bytes as i64);
    }
}
