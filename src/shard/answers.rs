//! Answers on their way from a shard to an asker: those of one request are added up.
//!
//! An answer that somebody waits for is never dropped. What bounds those that wait for room on the
//! link is that each request has one place here, however many parts its answer has, and that
//! askers bound the requests which they have under way. Besides, no command of an asker is begun
//! while its answers have no room (`turn`). The parts of an answer may arrive in any order, so what
//! waits need not keep the order in which it was said.

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::mesh::{Failure, Link, Outbound};
use crate::model::Answer;

/// What one asker has still to be told.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// The numbers of the requests, those that wait longest first.
    order: VecDeque<u32>,
    /// What was said of each.
    parts: HashMap<u32, Answer>,
}

impl Answers {
    /// Says a part of an answer.
    pub(super) fn add(&mut self, answer: Answer) {
        match self.parts.get_mut(&answer.number) {
            Some(part) => part.add(answer),
            None => {
                self.order.push_back(answer.number);
                self.parts.insert(answer.number, answer);
            }
        }
    }

    /// Sends as many as the link has room for.
    pub(super) fn send(&mut self, link: &Link<Outbound>) {
        while !link.is_full()
            && let Some(number) = self.order.pop_front()
            && let Some(answer) = self.parts.remove(&number)
        {
            let sent = link.try_send(Outbound::Answer(answer));
            assert!(sent.is_ok(), "the link had room and has one producer");
        }
    }

    /// How many requests' answers wait.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

/// Failures that nobody waits for: one place for each code, however many there are.
#[derive(Debug, Default)]
pub(super) struct Failures(Vec<(Failure, u64)>);

impl Failures {
    /// Counts one.
    pub(super) fn add(&mut self, failure: Failure) {
        match self.0.iter_mut().find(|(known, _)| known.error.code() == failure.error.code()) {
            Some((_, count)) => *count += 1,
            None => self.0.push((failure, 1)),
        }
    }

    /// Sends as many as the link has room for.
    pub(super) fn send(&mut self, link: &Link<Outbound>) {
        while !link.is_full()
            && let Some((failure, count)) = self.0.pop()
        {
            let sent = link.try_send(Outbound::Failed(failure, count));
            assert!(sent.is_ok(), "the link had room and has one producer");
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::mesh::{Bell, Inbox, link};
    use crate::model::{ChannelName, CommandError, Outcome};

    fn part(number: u32, is_first: bool, awaiting: i32, sessions: u32) -> Answer {
        Answer { number, firsts: u32::from(is_first), awaiting, sessions, ..Answer::default() }
    }

    #[test]
    fn the_parts_of_one_answer_are_added_up_and_none_is_lost() {
        let bell = Arc::new(Bell::new().unwrap());
        let (link, receiver) = link(1, &bell);
        let inbox = Inbox::new(bell, vec![receiver]);
        let mut answers = Answers::default();
        let published = |name: &str| {
            let channel = ChannelName::parse(name.as_bytes()).unwrap();
            Some(Box::new(Outcome::Published(vec![(channel, None)])))
        };
        answers.add(part(1, false, 0, 10));
        answers.add(Answer { error: Some(CommandError::Draining), ..part(2, true, 0, 1) });
        answers.add(Answer { outcome: published("a"), ..part(1, true, 3, 1) });
        answers.add(Answer { outcome: published("b"), ..part(1, false, 0, 100) });
        let mut heard = Vec::new();
        while !answers.is_empty() {
            answers.send(&link);
            while let Some(Outbound::Answer(answer)) = inbox.receive(0) {
                heard.push(answer);
            }
        }
        let [one, two] = &heard[..] else { panic!("{heard:?}") };
        assert_eq!((one.number, one.firsts, one.further(), one.sessions), (1, 1, 1, 111));
        let Some(Outcome::Published(channels)) = one.outcome.as_deref() else { panic!() };
        assert_eq!(channels.len(), 2);
        assert_eq!((two.number, two.error), (2, Some(CommandError::Draining)));
    }

    #[test]
    fn further_parts_without_the_first_are_added_up_too() {
        let mut sum = part(7, false, 0, 1);
        sum.add(part(7, false, 0, 2));
        sum.add(part(7, false, 0, 3));
        assert_eq!((sum.firsts, sum.further(), sum.sessions), (0, -3, 6));
        sum.add(part(7, true, 5, 4));
        // Another part of the same command was begun on this shard.
        let mut two = sum.clone();
        two.add(part(7, true, 1, 0));
        assert_eq!((two.firsts, two.further(), two.sessions), (2, 3, 10));
        assert_eq!((sum.firsts, sum.further(), sum.sessions), (1, 2, 10));
    }
}
