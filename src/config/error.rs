//! Mistakes in a configuration, in words that let an operator repair them at once.
//!
//! Every variant carries the key, the place where it was written and the remedy. Values of secret
//! options never reach an error: the caller passes only their kind.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a value was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: it is the default.
    #[default]
    Default,
    /// A line of the configuration file.
    File {
        /// The file as it was named on the command line.
        path: Arc<PathBuf>,
        /// The line, counted from 1.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => write!(out, "default"),
            Self::File { path, line } => write!(out, "{}:{line}", path.display()),
            Self::Variable(name) => write!(out, "variable {name}"),
            Self::Flag(name) => write!(out, "flag {name}"),
        }
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file cannot be read, is too large or is not UTF-8.
    #[error("{}: {reason}", path.display())]
    Unreadable {
        /// The file as it was named.
        path: PathBuf,
        /// What the system says, and the remedy.
        reason: String,
    },
    /// The file is not TOML at this place.
    #[error("{origin}: not valid TOML: {reason}")]
    Syntax {
        /// The line.
        origin: Origin,
        /// What the parser says.
        reason: String,
    },
    /// A key that no option has.
    #[error("{origin}: unknown option {key}{}", suggest(nearest))]
    UnknownKey {
        /// The key as written, with its section.
        key: String,
        /// Where it was written.
        origin: Origin,
        /// The known option that looks most like it.
        nearest: Option<String>,
    },
    /// A value of the wrong type, in the wrong form or outside the limits.
    #[error("{origin}: {key}: found {found}, expected {expected}")]
    BadValue {
        /// The option.
        key: String,
        /// Where it was written.
        origin: Origin,
        /// The value, or only its kind where it may be secret.
        found: String,
        /// The form, unit and limits of the option.
        expected: String,
    },
    /// A file that a value names cannot be read.
    #[error("{origin}: {key}: cannot read {}: {reason}; check the path and who may read it",
        path.display())]
    UnreadableValue {
        /// The option.
        key: String,
        /// Where it was written.
        origin: Origin,
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// An option without which its table means nothing.
    #[error("{origin}: {key} is missing: {remedy}")]
    Missing {
        /// The option.
        key: String,
        /// Where its table was written.
        origin: Origin,
        /// What to write.
        remedy: String,
    },
    /// Values that are right alone but unsafe or contradictory together.
    #[error("{origin}: {key}: {reason}; {remedy}")]
    Conflict {
        /// The option that the check is about.
        key: String,
        /// Where it was written.
        origin: Origin,
        /// What is wrong.
        reason: String,
        /// Which option to set, and to what.
        remedy: String,
    },
}

fn suggest(nearest: &Option<String>) -> String {
    match nearest {
        Some(name) => format!("; did you mean {name}?"),
        None => "; `tidegate default-config` lists all options".to_owned(),
    }
}

/// All mistakes of all sources, in the order in which they were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors(pub Vec<Error>);

/// Most mistakes that are printed: past it the file is probably no configuration at all.
const PRINTED_MAX: usize = 100;

impl fmt::Display for Errors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().take(PRINTED_MAX).enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(out, "{newline}{error}")?;
        }
        match self.0.len().saturating_sub(PRINTED_MAX) {
            0 => Ok(()),
            more => write!(out, "\n… and {more} more"),
        }
    }
}

impl std::error::Error for Errors {}
