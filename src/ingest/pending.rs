//! Requests of ROUTER peers whose answer is not complete yet, and how long they wait.

use crate::mesh::{Gathered, Requester};
use crate::model::{CommandError, Outcome};
use crate::protocol::{Accepted, RequestId};

/// Most requests that wait at a time.
pub(super) const REQUESTS_MAX: usize = 65_536;

/// How long a request waits for all parts of its answer.
pub(super) const ANSWER_TIMEOUT_NANOS: u64 = 10_000_000_000;

/// At most so many requests time out in one turn; the rest comes with the next turns.
const EXPIRED_PER_TURN: usize = 256;

/// How often timeouts are looked for.
pub(super) const EXPIRY_INTERVAL_NANOS: u64 = 500_000_000;

/// Whom to answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// The ROUTER socket, by its place among the inputs.
    pub(super) input: usize,
    /// The peer.
    pub(super) identity: Box<[u8]>,
    /// Whether the peer is a REQ.
    pub(super) delimiter: bool,
    /// The request's identity, if it has one.
    pub(super) rid: Option<RequestId>,
}

/// One request that is on its way.
#[derive(Debug)]
pub(super) struct Request {
    asked: Asked,
    is_broadcast: bool,
    deadline_nanos: u64,
}

impl Request {
    pub(super) fn new(asked: Asked, is_broadcast: bool, now_nanos: u64) -> Self {
        let deadline_nanos = now_nanos.saturating_add(ANSWER_TIMEOUT_NANOS);
        Self { asked, is_broadcast, deadline_nanos }
    }

    /// Whom to answer when nothing was done.
    pub(super) fn refused(self) -> Asked {
        self.asked
    }

    /// Whom to answer, and what.
    pub(super) fn answered(self, gathered: Gathered) -> (Asked, Result<Accepted, CommandError>) {
        let Gathered { sessions, outcome, error } = gathered;
        let result = match (error, outcome) {
            (Some(error), _) => Err(error),
            (None, outcome) => {
                let mut positions = Vec::new();
                if let Some(Outcome::Published(places)) = outcome {
                    let placed =
                        places.into_iter().filter_map(|(channel, at)| Some((channel, at?)));
                    positions.extend(placed);
                }
                Ok(Accepted { sessions, positions, is_broadcast: self.is_broadcast })
            }
        };
        (self.asked, result)
    }
}

/// When requests are looked at whose time may be over.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    next_nanos: u64,
    is_behind: bool,
}

impl Expiry {
    /// Gives up requests whose time is over.
    pub(super) fn expire(
        &mut self,
        requester: &mut Requester<Request>,
        now_nanos: u64,
    ) -> Vec<Asked> {
        if requester.is_empty() || now_nanos < self.next_nanos {
            return Vec::new();
        }
        let expired: Vec<Asked> = requester
            .give_up(|request| request.deadline_nanos <= now_nanos)
            .take(EXPIRED_PER_TURN)
            .map(|request| request.asked)
            .collect();
        self.is_behind = expired.len() == EXPIRED_PER_TURN;
        if !self.is_behind {
            self.next_nanos = now_nanos.saturating_add(EXPIRY_INTERVAL_NANOS);
        }
        expired
    }

    /// Whether requests may have timed out that no turn came to yet.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::{Asker, AskerPort, ShardPort, build};
    use crate::model::{Answer, ChannelName, Epoch, Position};

    fn asked() -> Asked {
        Asked { input: 1, identity: (*b"peer").into(), delimiter: false, rid: None }
    }

    fn requester() -> (Vec<ShardPort>, Requester<Request>) {
        let (shards, mut askers) = build(1, 16, 7).unwrap();
        (shards, Requester::new(AskerPort::take(&mut askers, Asker::Ingest)).0)
    }

    #[test]
    fn positions_are_those_of_channels_with_history() {
        let name = |name: &str| ChannelName::parse(name.as_bytes()).unwrap();
        let position = |offset| Position { offset, epoch: Epoch(1) };
        let places =
            vec![(name("a"), Some(position(7))), (name("b"), None), (name("c"), Some(position(1)))];
        let outcome = Some(Outcome::Published(places));
        let gathered = Gathered { sessions: 3, outcome, error: None };
        let positions = vec![(name("a"), position(7)), (name("c"), position(1))];
        let whole = Accepted { sessions: 3, positions, is_broadcast: true };
        let request = Request::new(asked(), true, 0);
        assert_eq!(request.answered(gathered), (asked(), Ok(whole)));
        let failed = Gathered { error: Some(CommandError::ChannelLimit), ..Gathered::default() };
        let request = Request::new(asked(), false, 0);
        assert_eq!(request.answered(failed), (asked(), Err(CommandError::ChannelLimit)));
    }

    #[test]
    fn many_requests_time_out_in_portions() {
        let (_shards, mut requester) = requester();
        let mut expiry = Expiry::default();
        for _ in 0..1000 {
            requester.begin(1, Request::new(asked(), false, 5));
        }
        let mut portion = || {
            let expired = expiry.expire(&mut requester, 5 + ANSWER_TIMEOUT_NANOS);
            (expired.len(), expiry.is_behind())
        };
        assert_eq!([(); 3].map(|()| portion()), [(256, true); 3]);
        assert_eq!(portion(), (232, false));
        assert!(requester.is_empty());
    }

    #[test]
    fn requests_time_out() {
        let (_shards, mut requester) = requester();
        let mut expiry = Expiry::default();
        let number = requester.begin(1, Request::new(asked(), false, 5));
        let early = 5 + ANSWER_TIMEOUT_NANOS - EXPIRY_INTERVAL_NANOS;
        assert_eq!(expiry.expire(&mut requester, early), []);
        assert_eq!(expiry.expire(&mut requester, 5 + ANSWER_TIMEOUT_NANOS), [asked()]);
        assert!(requester.hear(Answer { number, firsts: 1, ..Answer::default() }).is_none());
        assert!(requester.is_empty());
    }
}
