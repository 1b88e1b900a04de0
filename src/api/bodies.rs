//! Long bodies whose commands are carried out.
//!
//! Once it is read a body takes up to ten times its bytes, for the names of channels, and all of it
//! waits until the last of its commands has had its turn. So a long body is read only while those
//! under way leave room for it; the next wait in the order in which they came, and are refused when
//! that takes too long. Short ones are bounded by the number of requests.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::api::answers::RequestError;

/// A body with more bytes is long.
pub(super) const LONG_BYTES: usize = 16 << 10;

/// Most bytes of long bodies under way. One that has more by itself is under way alone.
const UNDER_WAY_BYTES: u32 = 32 << 20;

/// Room for long bodies.
#[derive(Debug)]
pub(super) struct Bodies {
    room: Semaphore,
    patience: Duration,
}

impl Bodies {
    /// None is under way; each waits for so long at most.
    pub(super) fn new(patience: Duration) -> Self {
        Self { room: Semaphore::new(UNDER_WAY_BYTES as usize), patience }
    }

    /// Waits for room for a body of so many bytes, if it is long.
    pub(super) async fn begin(
        &self,
        bytes: usize,
    ) -> Result<Option<SemaphorePermit<'_>>, RequestError> {
        if bytes <= LONG_BYTES {
            return Ok(None);
        }
        let bytes = u32::try_from(bytes).unwrap_or(UNDER_WAY_BYTES).min(UNDER_WAY_BYTES);
        match timeout(self.patience, self.room.acquire_many(bytes)).await {
            Ok(Ok(room)) => Ok(Some(room)),
            Ok(Err(_)) | Err(_) => Err(RequestError::Overloaded),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn long_bodies_wait_for_room_and_short_ones_never() {
        let bodies = Bodies::new(Duration::from_millis(50));
        let half = UNDER_WAY_BYTES as usize / 2;
        let first = bodies.begin(half).await.unwrap();
        let second = bodies.begin(half).await.unwrap();
        assert_eq!(bodies.begin(LONG_BYTES + 1).await.err(), Some(RequestError::Overloaded));
        assert!(bodies.begin(LONG_BYTES).await.unwrap().is_none());
        drop(first);
        let third = bodies.begin(half).await.unwrap();
        drop((second, third));
        let whole = bodies.begin(usize::MAX).await.unwrap();
        assert!(whole.is_some() && bodies.begin(LONG_BYTES + 1).await.is_err());
        drop(whole);
        assert!(bodies.begin(LONG_BYTES + 1).await.is_ok());
    }
}
