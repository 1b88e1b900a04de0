//! The log: `tracing` events of the level and in the form that the configuration asks for, on
//! standard error, so that standard output stays for answers. Nothing on the hot path logs.
//!
//! Whatever becomes of standard error, nobody who logs notices: lines go through a [`Sink`], which
//! one thread empties, and panics go the same way, because the standard library would write them
//! on the thread that panicked.

mod sink;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::time::Duration;

use signal_hook::consts::SIGXFSZ;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

use crate::config::{self, LogFormat, LogLevel};
use crate::metrics::LogMetrics;
use sink::{Line, Sink};

/// How long the end of the process waits for its last lines to be taken.
const FLUSH_TIME: Duration = Duration::from_secs(1);

/// This process's log.
#[derive(Clone, Debug)]
pub struct Logger {
    sink: Arc<Sink>,
    format: LogFormat,
}

impl Logger {
    /// Sends this process's log and its panics to standard error. Only the first logger of a
    /// process gets them.
    ///
    /// # Errors
    /// The thread that writes, or the signal handler, cannot be had.
    pub fn start(options: &config::Log) -> io::Result<Self> {
        let stderr = io::stderr();
        let with_colours = stderr.is_terminal();
        // Written to past the standard library's lock, which a write that never ends would hold.
        let sink = Sink::start(File::from(stderr.as_fd().try_clone_to_owned()?))?;
        // Where a file may not grow (RLIMIT_FSIZE) the write fails, instead of the process.
        signal_hook::flag::register(SIGXFSZ, Arc::default())?;
        let lines = Arc::clone(&sink);
        let builder = tracing_subscriber::fmt()
            .with_max_level(level(options.level))
            .with_ansi(with_colours)
            .with_writer(move || Line(Arc::clone(&lines)));
        // A second subscriber is refused; the first one goes on, which is what a test wants.
        let _ = match options.format {
            LogFormat::Text => builder.try_init(),
            LogFormat::Json => builder.json().flatten_event(true).try_init(),
        };
        let logger = Self { sink, format: options.format };
        let of_panics = logger.clone();
        std::panic::set_hook(Box::new(move |panic| of_panics.log_panic(panic)));
        Ok(logger)
    }

    /// What the log counts.
    pub fn metrics(&self) -> Arc<LogMetrics> {
        Arc::clone(self.sink.metrics())
    }

    /// Says why the process ends: for people as every command does, whatever the level is; for
    /// collectors as one more object.
    pub fn fail(&self, reason: &str) {
        let line = match self.format {
            LogFormat::Text => format!("tidegate: {reason}\n"),
            LogFormat::Json => {
                let (timestamp, level) = (timestamp(), "ERROR");
                let object = serde_json::json!({
                    "timestamp": timestamp, "level": level, "message": reason, "target": "tidegate",
                });
                format!("{object}\n")
            }
        };
        self.sink.push(line.as_bytes());
        self.flush();
    }

    /// Waits until every line was written, for a short time at most.
    pub fn flush(&self) {
        self.sink.flush(FLUSH_TIME);
    }

    fn log_panic(&self, panic: &PanicHookInfo<'_>) {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let said = panic.payload_as_str().unwrap_or("no message");
        let trace = Backtrace::capture();
        let trace = match trace.status() {
            BacktraceStatus::Captured => format!("\n{trace}"),
            _ => String::new(),
        };
        tracing::error!(thread = name, place, "panicked: {said}{trace}");
        // The process ends with its main thread; others are reported by whoever waits for them.
        if name == "main" {
            self.flush();
        }
    }
}

fn timestamp() -> String {
    let mut text = String::new();
    // Text takes whatever is written to it.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

const fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_in_json_has_a_time_like_every_other_line() {
        let timestamp = timestamp();
        assert!(timestamp.starts_with("20") && timestamp.ends_with('Z'), "{timestamp}");
    }
}
