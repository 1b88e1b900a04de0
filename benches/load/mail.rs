//! Messages to random users, each numbered in its user's own stream.

use tidegate::load::message::Message;
use tidegate::sys::Clock;

/// The numbers of some users' messages, and whose turn it is.
pub(crate) struct Mail {
    numbers: Vec<u32>,
    /// Of xorshift64.
    state: u64,
}

impl Mail {
    /// For so many users.
    pub(crate) fn new(users: usize) -> Self {
        Self { numbers: vec![0; users], state: 0x9E37_79B9_7F4A_7C15 }
    }

    /// A user, and the payload of its next message.
    pub(crate) fn next(&mut self, bytes: usize) -> (usize, Vec<u8>) {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let user = (self.state % self.numbers.len() as u64) as usize;
        let message =
            Message { number: self.numbers[user], published_nanos: Clock::shared_nanos() };
        self.numbers[user] += 1;
        (user, message.encode(bytes))
    }
}
