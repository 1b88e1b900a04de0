//! Answers to commands: each part goes to whoever asked, a shard or another thread.

use crate::hub::Effect;
use crate::hub::context::Context;
use crate::mesh::{Asker, Envelope, Failure, Outbound};
use crate::model::{Answer, ChannelName, CommandError, Outcome, Ticket};

impl Context {
    /// Answers a part of a command, if anybody waits for it.
    pub(super) fn answer(
        &mut self,
        ticket: Option<Ticket>,
        is_first: bool,
        awaiting: u32,
        result: Result<u32, CommandError>,
    ) {
        let Some(Ticket { asker, number }) = ticket else {
            return result.err().map_or((), |error| self.report_failure(error, None));
        };
        let (sessions, error) = match result {
            Ok(sessions) => (sessions, None),
            Err(error) => (0, Some(error)),
        };
        let awaiting = awaiting as i32;
        self.post_answer(
            asker,
            Answer {
                number,
                firsts: u32::from(is_first),
                awaiting,
                sessions,
                error,
                outcome: None,
            },
        );
    }

    /// Nobody waits for the answer of a command that failed: the thread that it came through counts
    /// it and says so.
    pub(super) fn report_failure(&mut self, error: CommandError, channel: Option<ChannelName>) {
        let failed = Outbound::Failed(Failure { error, channel }, 1);
        self.effects.push_back(Effect::Tell(Asker::Ingest.place(), failed));
    }

    /// Answers the first part of a command with more than numbers.
    pub(super) fn answer_with(
        &mut self,
        ticket: Option<Ticket>,
        awaiting: u32,
        sessions: u32,
        outcome: Outcome,
    ) {
        let Some(Ticket { asker, number }) = ticket else { return };
        let (awaiting, outcome) = (awaiting as i32, Some(Box::new(outcome)));
        let answer = Answer { number, firsts: 1, awaiting, sessions, error: None, outcome };
        self.post_answer(asker, answer);
    }

    pub(super) fn post_answer(&mut self, asker: u8, answer: Answer) {
        match Asker::shard_at(asker) {
            Some(shard) => self.post(shard, Envelope::Answered(Box::new(answer))),
            None => {
                self.effects.push_back(Effect::Tell(asker, Outbound::Answer(answer)));
            }
        }
    }
}
