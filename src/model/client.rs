//! Identities of edges, shards and connections, as backends see them.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Number of an edge among those that serve the same backends; 0 is one that is alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u16);

/// Number of a shard, from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u8);

impl ShardId {
    /// The number as an index.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// One connection: its edge, its shard there, its row, and which occupant of that row it is.
///
/// It says where the connection lives, so that a command for one client is routed without any
/// table. The node keeps a command that goes to every edge from all but one client, and the
/// generation a late one from the row's next occupant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId {
    /// The edge that it is connected to.
    pub node: NodeId,
    /// The shard that owns the connection.
    pub shard: ShardId,
    /// The row of the connection in its shard.
    pub row: u32,
    /// How many connections the row had before this one.
    pub generation: u32,
}

impl ClientId {
    /// An identity that no connection has: generations begin at one.
    pub const NOBODY: Self =
        Self { node: NodeId(0), shard: ShardId(0), row: u32::MAX, generation: 0 };
}

/// Hexadecimal digits of an identity: four of the node, two of the shard, eight each of the row and
/// the generation.
const DIGITS: usize = 22;

const _: () = assert!(size_of::<ClientId>() == 12, "the node has room beside the shard");

/// The text is not 22 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a client identity has 22 hexadecimal digits")]
pub struct ClientIdError;

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, shard, row, generation } = *self;
        write!(f, "{:04x}{:02x}{row:08x}{generation:08x}", node.0, shard.0)
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
        if text.len() != DIGITS || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(ClientIdError);
        }
        let node = u16::from_str_radix(&text[..4], 16).map_err(|_| ClientIdError)?;
        let shard = u8::from_str_radix(&text[4..6], 16).map_err(|_| ClientIdError)?;
        let row = u32::from_str_radix(&text[6..14], 16).map_err(|_| ClientIdError)?;
        let generation = u32::from_str_radix(&text[14..], 16).map_err(|_| ClientIdError)?;
        Ok(Self { node: NodeId(node), shard: ShardId(shard), row, generation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let (node, shard) = (NodeId(0x1a2), ShardId(3));
        let id = ClientId { node, shard, row: 77, generation: 0xdead_beef };
        assert_eq!(id.to_string(), "01a2030000004ddeadbeef");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
        for bad in [
            "",
            "01a203",
            "030000004ddeadbeef",
            "01a2030000004ddeadbee",
            "01a2030000004ddeadbeef0",
            "+1a2030000004ddeadbeef",
            "01a203é000004ddeadbee",
        ] {
            assert_eq!(bad.parse::<ClientId>(), Err(ClientIdError), "{bad}");
        }
    }
}
