//! Sums over all logs and outboxes.

use crate::hub::Hub;

impl Hub {
    pub(in crate::hub) fn note_log_bytes(&mut self, before: usize, after: usize) {
        self.tally.log_bytes = self.tally.log_bytes + after - before;
        self.context.metrics.log_bytes.set(self.tally.log_bytes as i64);
    }

    pub(in crate::hub) fn note_outbox_bytes(&mut self, before: usize, after: usize) {
        self.tally.outbox_bytes = self.tally.outbox_bytes + after - before;
        self.context.metrics.outbox_bytes.set(self.tally.outbox_bytes as i64);
    }
}
