//! Lines on their way to where they are written: a bounded buffer and one thread that empties it.
//!
//! Whoever logs adds a line to the buffer and goes on. The thread may wait for ever (a pipe that
//! nobody reads) or fail (a pipe without a reader, a full disk); then lines are dropped and
//! counted, and when the output takes lines again one of them says how many are missing.
//!
//! Invariant: nobody holds the lock while writing.

use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use crate::metrics::LogMetrics;

/// Most bytes of lines that wait.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// How long the thread waits for an output that takes nothing now and was told not to block.
const RETRY: Duration = Duration::from_millis(20);

/// The buffer.
#[derive(Debug, Default)]
pub(super) struct Sink {
    state: Mutex<State>,
    /// There are lines, or there are none any more.
    changed: Condvar,
    /// Counted into while the lock is held.
    metrics: Arc<LogMetrics>,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    is_writing: bool,
    /// Lines that nobody was told of yet.
    missing: u64,
}

impl Sink {
    /// Starts the thread, which ends with the process.
    pub(super) fn start(output: impl Write + Send + 'static) -> io::Result<Arc<Self>> {
        let sink = Arc::new(Self::default());
        let own = Arc::clone(&sink);
        Builder::new().name("log".to_owned()).spawn(move || own.run(output))?;
        Ok(sink)
    }

    /// What the sink counts.
    pub(super) fn metrics(&self) -> &Arc<LogMetrics> {
        &self.metrics
    }

    /// Adds a line, or drops it if there is no room.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.waiting.len() + line.len() > WAITING_BYTES_MAX {
            return self.drop_lines(&mut state, 1);
        }
        state.waiting.extend_from_slice(line);
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until nothing waits, for some time at most.
    pub(super) fn flush(&self, time: Duration) {
        let is_busy = |state: &mut State| state.is_writing || !state.waiting.is_empty();
        // Out of time is as good an end as any.
        let _ = self.changed.wait_timeout_while(self.lock(), time, is_busy);
    }

    fn run(&self, mut output: impl Write) {
        let mut lines = Vec::new();
        // Part of a line was written and its rest was not.
        let mut is_torn = false;
        loop {
            self.take(&mut lines);
            let written = write(&mut output, &lines, is_torn);
            let rest = &lines[written..];
            if rest.is_empty() {
                is_torn = false;
                self.tell();
                continue;
            }
            if written > 0 {
                is_torn = lines[written - 1] != b'\n';
            }
            let count = rest.iter().filter(|byte| **byte == b'\n').count();
            self.drop_lines(&mut self.lock(), count as u64);
        }
    }

    /// Takes what waits, as soon as there is anything.
    fn take(&self, lines: &mut Vec<u8>) {
        lines.clear();
        let mut state = self.lock();
        state.is_writing = false;
        self.changed.notify_all();
        let is_idle = |state: &mut State| state.waiting.is_empty();
        let state = self.changed.wait_while(state, is_idle);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        state.is_writing = true;
        std::mem::swap(&mut state.waiting, lines);
    }

    /// Says how many lines are missing, now that it would be read; but not while there is hardly
    /// room for the line that says so.
    fn tell(&self) {
        let mut state = self.lock();
        if state.waiting.len() > WAITING_BYTES_MAX / 2 {
            return;
        }
        let missing = std::mem::take(&mut state.missing);
        drop(state);
        if missing > 0 {
            tracing::warn!(
                lines = missing,
                "log lines are missing: standard error was full, slow or gone"
            );
        }
    }

    fn drop_lines(&self, state: &mut State, count: u64) {
        state.missing += count;
        self.metrics.lines_dropped.add(count);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes lines and returns how many of their bytes were taken before the output failed. The first
/// begins a new line, also if what was written before ended in the middle of one.
fn write(output: &mut impl Write, lines: &[u8], is_torn: bool) -> usize {
    if is_torn && write_all(output, b"\n") == 0 {
        return 0;
    }
    write_all(output, lines)
}

fn write_all(output: &mut impl Write, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match output.write(&bytes[written..]) {
            Ok(0) => break,
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(RETRY),
            Err(_) => break,
        }
    }
    written
}

/// One event on its way into the buffer: `tracing` writes each in one piece.
pub(super) struct Line(pub(super) Arc<Sink>);

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// An output whose every write is answered by the test.
    struct Scripted {
        heard: Sender<Vec<u8>>,
        answers: Receiver<io::Result<usize>>,
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.heard.send(bytes.to_vec()).unwrap();
            // A test that is over answers no more: as a reader that went away.
            self.answers.recv().unwrap_or_else(|_| Err(ErrorKind::BrokenPipe.into()))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Script {
        sink: Arc<Sink>,
        heard: Receiver<Vec<u8>>,
        answers: Sender<io::Result<usize>>,
    }

    impl Script {
        fn start() -> Self {
            let (heard, hears) = channel();
            let (answers, answered) = channel();
            let sink = Sink::start(Scripted { heard, answers: answered }).unwrap();
            Self { sink, heard: hears, answers }
        }

        #[track_caller]
        fn expect(&self, bytes: &[u8], answer: io::Result<usize>) {
            assert_eq!(self.heard.recv().unwrap(), bytes);
            self.answers.send(answer).unwrap();
        }

        fn dropped(&self) -> u64 {
            self.sink.metrics.lines_dropped.value()
        }
    }

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn an_output_that_takes_nothing_holds_up_nobody() {
        let script = Script::start();
        script.sink.push(b"first\n");
        assert_eq!(script.heard.recv().unwrap(), b"first\n");
        // The thread waits inside the write now.
        let line = vec![b'x'; WAITING_BYTES_MAX / 4];
        for _ in 0..6 {
            script.sink.push(&line);
        }
        assert_eq!(script.dropped(), 2);
        script.sink.flush(Duration::from_millis(1));
        script.answers.send(Ok(6)).unwrap();
        script.expect(&line.repeat(4), Ok(WAITING_BYTES_MAX));
        script.sink.flush(PATIENCE);
        assert_eq!(script.dropped(), 2);
    }

    #[test]
    fn how_many_lines_are_missing_is_said_when_there_is_room_to_say_it() {
        let script = Script::start();
        script.sink.push(b"first\n");
        assert_eq!(script.heard.recv().unwrap(), b"first\n");
        let line = vec![b'x'; WAITING_BYTES_MAX];
        script.sink.push(&line);
        script.sink.push(b"one too many\n");
        script.answers.send(Ok(6)).unwrap();
        assert_eq!(script.heard.recv().unwrap().len(), WAITING_BYTES_MAX);
        assert_eq!(script.sink.lock().missing, 1, "the line that says so would be missing too");
        script.answers.send(Ok(WAITING_BYTES_MAX)).unwrap();
        script.sink.flush(PATIENCE);
        assert_eq!(script.sink.lock().missing, 0);
    }

    #[test]
    fn lines_that_an_output_refuses_are_counted_and_later_ones_are_written() {
        let script = Script::start();
        script.sink.push(b"a\nb\nc\n");
        script.expect(b"a\nb\nc\n", Ok(3));
        script.expect(b"\nc\n", Err(io::Error::from_raw_os_error(28)));
        script.sink.flush(PATIENCE);
        assert_eq!(script.dropped(), 2, "the rest of b, and c");
        script.sink.push(b"d\n");
        script.expect(b"\n", Ok(1));
        script.expect(b"d\n", Ok(2));
        script.sink.push(b"e\n");
        script.expect(b"e\n", Err(ErrorKind::BrokenPipe.into()));
        script.sink.flush(PATIENCE);
        assert_eq!(script.dropped(), 3);
    }

    #[test]
    fn an_output_that_must_not_block_is_asked_again() {
        let script = Script::start();
        script.sink.push(b"a\n");
        script.expect(b"a\n", Err(ErrorKind::WouldBlock.into()));
        script.expect(b"a\n", Err(ErrorKind::Interrupted.into()));
        script.expect(b"a\n", Ok(2));
        script.sink.flush(PATIENCE);
        assert_eq!(script.dropped(), 0);
    }
}
