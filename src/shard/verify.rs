//! Tokens that cost much to check wait for their turn.
//!
//! A signature made with a secret is checked in microseconds, as soon as it comes. One made with a
//! private key takes up to half a millisecond, and whoever shows bad ones pays nothing for them. So
//! each turn checks a few of these and everything else goes on in between: a flood of bad tokens
//! delays nobody but those who show such tokens too. A connection has one in the queue at most,
//! whose others wait behind those of all the others, so that many bad ones of a few connections do
//! not keep out an honest one. The queue is as long as there are connections; what else a
//! connection has sent waits with it, and it is not read any further.

use crate::protocol::centrifuge::Request;
use crate::shard::half::Half;
use crate::shard::socket::State;
use crate::shard::{Net, Shard};

/// A turn begins to check another token for so long. Elliptic curves of 384 bits take a turn for
/// each; of the others some are checked in one.
const VERIFY_NANOS: u64 = 300_000;

/// A connection whose token waits.
pub(super) struct Waiting {
    row: u32,
    generation: u32,
    unverified: Unverified,
}

/// What has the token.
pub(super) enum Unverified {
    /// The request of a raw client, which is kept as what is half read of it.
    Head,
    /// A command of a managed client.
    Command(Box<Request>),
}

impl<N: Net> Shard<N> {
    /// A connection's token is checked when its turn comes.
    pub(super) fn await_verification(&mut self, row: u32, unverified: Unverified) {
        let generation = self.hub.client_id(row).generation;
        self.work.unverified.push_back(Waiting { row, generation, unverified });
        self.metrics.tokens_queued.increment();
        self.metrics.tokens_waiting.add(1);
    }

    /// Checks as many tokens as one turn has time for.
    pub(super) fn verify_some(&mut self) {
        if self.work.unverified.is_empty() {
            return;
        }
        let end = self.net.now_nanos() + VERIFY_NANOS;
        while let Some(waiting) = self.work.unverified.pop_front() {
            self.metrics.tokens_waiting.add(-1);
            let Waiting { row, generation, unverified } = waiting;
            if self.hub.client_id(row).generation != generation {
                continue;
            }
            match (unverified, self.sockets[row as usize].state) {
                (Unverified::Head, State::Joining) => {
                    if let Some(Half::Head(head)) = self.take_half(row) {
                        self.answer_head(row, &head, true);
                    }
                }
                (Unverified::Command(request), State::Open) => self.conclude(row, *request),
                _ => continue,
            }
            self.perform_effects();
            if self.net.now_nanos() >= end {
                return;
            }
        }
    }
}
