//! Serving connections: batches of the hub's sends, and replies.

use std::io;

use crate::hub::Entry;
use crate::shard::{Net, Shard};

impl<N: Net> Shard<N> {
    // HOT PATH 6/6: flush. One send brings a connection everything that it lacks of a channel, and
    // one system call makes a batch of such sends. A lone send is cheaper as a call of its own.
    // Returns when it was done.
    pub(super) fn flush(&mut self) -> io::Result<u64> {
        let mut batch = std::mem::take(&mut self.work.batch);
        self.hub.poll_batch(&mut batch);
        let mut lost = Vec::new();
        let mut refused = |entry: &mut Entry, result: i32| {
            entry.sent = u32::try_from(result).unwrap_or(0);
            if result < 0 && result != -libc::EAGAIN {
                lost.push((entry.row, entry.token));
            }
        };
        if let [entry] = &mut batch.entries[..] {
            let result = self.net.send(entry.token, self.hub.bytes(entry));
            let result = result.map_or_else(
                |error| -error.raw_os_error().unwrap_or(libc::EIO),
                |count| count as i32,
            );
            refused(entry, result);
        } else {
            let mut refusals = Vec::new();
            let hub = &self.hub;
            let sends = batch.entries.iter().map(|entry| (entry.token, hub.bytes(entry)));
            self.net.send_batch(sends, |place, result| refusals.push((place, result)))?;
            for (place, result) in refusals {
                refused(&mut batch.entries[place], result);
            }
        }
        let now_nanos = self.net.now_nanos();
        self.hub.finish_batch(&mut batch, now_nanos);
        self.work.batch = batch;
        self.perform_effects();
        for (row, fd) in lost {
            if self.sockets[row as usize].fd == fd {
                self.lose(row);
            }
        }
        Ok(now_nanos)
    }

    /// Sends whole frames to one connection: at once if nothing else waits for its socket.
    pub(super) fn reply(&mut self, row: u32, bytes: &[u8]) {
        if !self.hub.is_clear(row) {
            self.hub.push(row, bytes);
            return self.perform_effects();
        }
        let fd = self.sockets[row as usize].fd;
        self.metrics.sends.increment();
        match self.net.send(fd, bytes) {
            Ok(count) => {
                self.metrics.bytes_sent.add(count as u64);
                if count < bytes.len() {
                    self.hub.push_refused(row, bytes, count);
                    self.perform_effects();
                }
            }
            Err(_) => self.lose(row),
        }
    }

    /// The socket takes bytes again.
    pub(super) fn handle_writable(&mut self, row: u32) {
        self.hub.handle_writable(row);
    }
}
