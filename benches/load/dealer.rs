//! The same callers by way of ROUTER: one DEALER has the questions of all.

use std::io;
use std::time::Instant;

use crate::calls::{Caller, Said};

/// How long an answer may take before something is wrong.
const PATIENCE_MILLIS: i32 = 60_000;

/// A socket at the ROUTER endpoint.
pub(crate) struct Dealer(zmq::Socket);

/// A caller's question.
struct Question {
    begin: Instant,
    /// What was said so far.
    said: Said,
    /// How many more the caller has.
    left: usize,
}

impl Dealer {
    /// Connects. Queues have no limit here: the callers wait for their answers.
    pub(crate) fn start(endpoint: &str) -> io::Result<Self> {
        let open = || {
            let socket = zmq::Context::new().socket(zmq::DEALER)?;
            socket.set_sndhwm(0)?;
            socket.set_rcvhwm(0)?;
            socket.set_linger(0)?;
            socket.set_rcvtimeo(PATIENCE_MILLIS)?;
            socket.connect(endpoint)?;
            zmq::Result::Ok(Self(socket))
        };
        open().map_err(io::Error::other)
    }

    /// Lets every caller ask so often. Returns how long each answer took, in nanoseconds.
    pub(crate) fn round(&self, callers: &mut [Caller], turns: usize) -> io::Result<Vec<u64>> {
        let mut questions = Vec::with_capacity(callers.len());
        for caller in &mut *callers {
            questions.push(self.ask(caller, turns)?);
        }
        let mut nanos = Vec::with_capacity(callers.len() * turns);
        while nanos.len() < callers.len() * turns {
            let answer = self.0.recv_bytes(0).map_err(io::Error::other)?;
            let (place, said) = Said::in_answer(callers[0].calls.method, &answer)?;
            let (question, caller) = (&mut questions[place], &mut callers[place]);
            question.said.add(said);
            if question.said.channels == caller.calls.method.channels() {
                nanos.push(question.begin.elapsed().as_nanos() as u64);
                caller.check(&question.said)?;
                if question.left > 0 {
                    *question = self.ask(caller, question.left)?;
                }
            }
        }
        Ok(nanos)
    }

    fn ask(&self, caller: &Caller, turns: usize) -> io::Result<Question> {
        let question = Question { begin: Instant::now(), said: Said::default(), left: turns - 1 };
        for message in caller.messages() {
            self.0.send_multipart(message, 0).map_err(io::Error::other)?;
        }
        Ok(question)
    }
}
