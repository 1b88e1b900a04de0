//! Identities of shards and of connections, as backends see them.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Number of a shard, from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u8);

impl ShardId {
    /// The number as an index.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// One connection of this edge: its shard, its row there, and which occupant of that row it is.
///
/// It says where the connection lives, so that a command for one client is routed without any
/// table. The generation keeps a late command from reaching the row's next occupant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId {
    /// The shard that owns the connection.
    pub shard: ShardId,
    /// The row of the connection in its shard.
    pub row: u32,
    /// How many connections the row had before this one.
    pub generation: u32,
}

impl ClientId {
    /// An identity that no connection has: generations begin at one.
    pub const NOBODY: Self = Self { shard: ShardId(0), row: u32::MAX, generation: 0 };
}

/// The text is not 18 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a client identity has 18 hexadecimal digits")]
pub struct ClientIdError;

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}{:08x}{:08x}", self.shard.0, self.row, self.generation)
    }
}

impl Serialize for ClientId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for ClientId {
    type Err = ClientIdError;

    fn from_str(text: &str) -> Result<Self, ClientIdError> {
        if text.len() != 18 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(ClientIdError);
        }
        let shard = u8::from_str_radix(&text[..2], 16).map_err(|_| ClientIdError)?;
        let row = u32::from_str_radix(&text[2..10], 16).map_err(|_| ClientIdError)?;
        let generation = u32::from_str_radix(&text[10..], 16).map_err(|_| ClientIdError)?;
        Ok(Self { shard: ShardId(shard), row, generation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let id = ClientId { shard: ShardId(3), row: 77, generation: 0xdead_beef };
        assert_eq!(id.to_string(), "030000004ddeadbeef");
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "03", "030000004ddeadbee", "+30000004ddeadbeef", "03é000004ddeadbee"] {
            assert_eq!(bad.parse::<ClientId>(), Err(ClientIdError), "{bad}");
        }
    }
}
