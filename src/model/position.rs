//! Where a channel's stream stands: how many publications it had, and which life of it this is.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// One life of a channel's stream. A stream that lost its history begins another, so that nobody
/// takes its offsets for those of the former.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

/// The text is not 1 to 16 hexadecimal digits: no epoch of this edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an epoch has 1 to 16 hexadecimal digits")]
pub struct EpochError;

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl Serialize for Epoch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Epoch {
    type Err = EpochError;

    fn from_str(text: &str) -> Result<Self, EpochError> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(EpochError);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| EpochError)
    }
}

/// How far somebody has read a channel with history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Position {
    /// The number of the last publication; 0 before the first.
    pub offset: u64,
    /// The stream's life that the number belongs to.
    pub epoch: Epoch,
}

/// Where a client says it stood in a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PositionClaim {
    /// Whether it wants what it missed.
    pub recover: bool,
    /// The stream's life.
    pub epoch: String,
    /// The last publication it saw.
    pub offset: u64,
}

/// Which life of a stream a client says that its offset belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpochClaim {
    /// It does not say, as one that has read nothing yet: whichever there is.
    Any,
    /// This one.
    Of(Epoch),
    /// None that this edge could have named.
    Foreign,
}

impl EpochClaim {
    /// Reads the epoch of a position; empty text claims none (protocol fact).
    pub fn parse(text: &str) -> Self {
        if text.is_empty() { Self::Any } else { text.parse().map_or(Self::Foreign, Self::Of) }
    }

    /// Whether a stream with this epoch is meant.
    pub fn admits(self, epoch: Epoch) -> bool {
        match self {
            Self::Any => true,
            Self::Of(claimed) => claimed == epoch,
            Self::Foreign => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_are_text_and_back() {
        for epoch in [Epoch(0), Epoch(0xbeef), Epoch(u64::MAX)] {
            assert_eq!(epoch.to_string().parse(), Ok(epoch));
        }
        for bad in ["", "+1", "xyz", "11111111111111111", "é"] {
            assert_eq!(bad.parse::<Epoch>(), Err(EpochError), "{bad}");
        }
    }

    #[test]
    fn who_claims_no_epoch_means_any() {
        for (text, is_admitted) in [("", true), ("beef", true), ("bee", false), ("xyz", false)] {
            assert_eq!(EpochClaim::parse(text).admits(Epoch(0xbeef)), is_admitted, "{text}");
        }
    }
}
