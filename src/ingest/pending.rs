//! Requests of ROUTER peers whose answer is not complete yet.
//!
//! A command may be answered by several shards, in parts and in any order (see
//! `model::Answer`). Numbers are consecutive, so a part that comes after its request has timed
//! out finds nothing: the number returns only after four billion requests.

use hashbrown::HashMap;

use crate::model::{Answer, CommandError, Outcome};
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

/// The table of requests.
#[derive(Default)]
pub(super) struct Pending {
    requests: HashMap<u32, Request>,
    next_number: u32,
    next_expiry_nanos: u64,
    is_behind: bool,
}

/// One request that is on its way.
pub(super) struct Request {
    asked: Asked,
    deadline_nanos: u64,
    /// First answers still to come.
    firsts: u32,
    /// Further answers announced less those that came; negative while they overtake the first.
    further: i64,
    accepted: Accepted,
    error: Option<CommandError>,
}

impl Request {
    /// A request that went out in `firsts` envelopes.
    pub(super) fn new(asked: Asked, firsts: u32, is_broadcast: bool, now_nanos: u64) -> Self {
        let deadline_nanos = now_nanos.saturating_add(ANSWER_TIMEOUT_NANOS);
        let accepted = Accepted { is_broadcast, ..Accepted::default() };
        Self { asked, deadline_nanos, firsts, further: 0, accepted, error: None }
    }
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.requests.len() >= REQUESTS_MAX
    }

    /// The number for the next request.
    pub(super) fn number(&mut self) -> u32 {
        self.next_number = self.next_number.wrapping_add(1);
        self.next_number
    }

    /// Waits for the answers to a request.
    pub(super) fn insert(&mut self, number: u32, request: Request) {
        self.requests.insert(number, request);
    }

    /// Takes in one part; gives the whole answer when it was the last.
    pub(super) fn handle_answer(
        &mut self,
        answer: Answer,
    ) -> Option<(Asked, Result<Accepted, CommandError>)> {
        let request = self.requests.get_mut(&answer.number)?;
        request.firsts = request.firsts.saturating_sub(answer.firsts);
        request.further += i64::from(answer.further());
        request.accepted.sessions += u64::from(answer.sessions);
        request.error = request.error.or(answer.error);
        if let Some(Outcome::Published(places)) = answer.outcome.map(|outcome| *outcome) {
            let placed = places.into_iter().filter_map(|(channel, at)| Some((channel, at?)));
            request.accepted.positions.extend(placed);
        }
        if request.firsts > 0 || request.further != 0 {
            return None;
        }
        let request = self.requests.remove(&answer.number)?;
        let result = request.error.map_or(Ok(request.accepted), Err);
        Some((request.asked, result))
    }

    /// Requests whose time is over.
    pub(super) fn expire(&mut self, now_nanos: u64) -> Vec<Asked> {
        if self.requests.is_empty() || now_nanos < self.next_expiry_nanos {
            return Vec::new();
        }
        let expired: Vec<Asked> = self
            .requests
            .extract_if(|_, request| request.deadline_nanos <= now_nanos)
            .take(EXPIRED_PER_TURN)
            .map(|(_, request)| request.asked)
            .collect();
        self.is_behind = expired.len() == EXPIRED_PER_TURN;
        if !self.is_behind {
            self.next_expiry_nanos = now_nanos.saturating_add(EXPIRY_INTERVAL_NANOS);
        }
        expired
    }

    /// Whether requests may have timed out that no turn came to yet.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind && !self.requests.is_empty()
    }

    /// All requests, when the thread ends.
    pub(super) fn take_all(&mut self) -> Vec<Asked> {
        self.requests.drain().map(|(_, request)| request.asked).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ChannelName, Epoch, Position};

    fn asked() -> Asked {
        Asked { input: 1, identity: (*b"peer").into(), delimiter: false, rid: None }
    }

    fn part(number: u32, is_first: bool, awaiting: i32, sessions: u32) -> Answer {
        Answer { number, firsts: u32::from(is_first), awaiting, sessions, ..Answer::default() }
    }

    #[test]
    fn parts_in_any_order_make_one_answer() {
        // Two homes; the first passes on to two shards, the second to one.
        let parts =
            [(true, 2, 1), (false, 0, 10), (false, 0, 100), (true, 1, 1000), (false, 0, 10_000)];
        for rotation in 0..parts.len() {
            let mut pending = Pending::default();
            let number = pending.number();
            pending.insert(number, Request::new(asked(), 2, false, 0));
            for index in 0..parts.len() {
                let (is_first, awaiting, sessions) = parts[(index + rotation) % parts.len()];
                let whole = pending.handle_answer(part(number, is_first, awaiting, sessions));
                let is_last = index + 1 == parts.len();
                let sum = Accepted { sessions: 11_111, ..Accepted::default() };
                assert_eq!(whole, is_last.then(|| (asked(), Ok(sum))), "{rotation} {index}");
            }
            assert!(pending.is_empty());
        }
    }

    #[test]
    fn positions_of_all_parts_are_gathered() {
        let name = |name: &str| ChannelName::parse(name.as_bytes()).unwrap();
        let position = |offset| Position { offset, epoch: Epoch(1) };
        let mut pending = Pending::default();
        let number = pending.number();
        pending.insert(number, Request::new(asked(), 2, true, 0));
        let published = |places| Some(Box::new(Outcome::Published(places)));
        // The home answers for its channels, one of which has no history.
        let outcome = published(vec![(name("a"), Some(position(7))), (name("b"), None)]);
        let first = Answer { outcome, ..part(number, true, 1, 1) };
        assert_eq!(pending.handle_answer(first), None);
        assert_eq!(pending.handle_answer(part(number, false, 0, 1)), None);
        let outcome = published(vec![(name("c"), Some(position(1)))]);
        let last = pending.handle_answer(Answer { outcome, ..part(number, true, 0, 1) });
        let positions = vec![(name("a"), position(7)), (name("c"), position(1))];
        let whole = Accepted { sessions: 3, positions, is_broadcast: true };
        assert_eq!(last, Some((asked(), Ok(whole))));
    }

    #[test]
    fn an_error_of_one_shard_is_the_answer() {
        let mut pending = Pending::default();
        let number = pending.number();
        pending.insert(number, Request::new(asked(), 2, false, 0));
        let error = Some(CommandError::ChannelLimit);
        assert_eq!(pending.handle_answer(Answer { error, ..part(number, true, 0, 0) }), None);
        let whole = pending.handle_answer(part(number, true, 0, 3));
        assert_eq!(whole, Some((asked(), Err(CommandError::ChannelLimit))));
        // A part that nobody waits for.
        assert_eq!(pending.handle_answer(part(number, true, 0, 3)), None);
    }

    #[test]
    fn many_requests_time_out_in_portions() {
        let mut pending = Pending::default();
        for _ in 0..1000 {
            let number = pending.number();
            pending.insert(number, Request::new(asked(), 1, false, 5));
        }
        let portion = |pending: &mut Pending| {
            (pending.expire(5 + ANSWER_TIMEOUT_NANOS).len(), pending.is_behind())
        };
        assert_eq!([(); 3].map(|()| portion(&mut pending)), [(256, true); 3]);
        assert_eq!(portion(&mut pending), (232, false));
        assert!(pending.is_empty());
    }

    #[test]
    fn requests_time_out() {
        let mut pending = Pending::default();
        let number = pending.number();
        pending.insert(number, Request::new(asked(), 1, false, 5));
        assert_eq!(pending.expire(5 + ANSWER_TIMEOUT_NANOS - EXPIRY_INTERVAL_NANOS), []);
        assert_eq!(pending.expire(5 + ANSWER_TIMEOUT_NANOS), [asked()]);
        assert_eq!(pending.handle_answer(part(number, true, 0, 1)), None);
        assert!(pending.is_empty());
    }
}
