//! The keys of tokens in a running edge: made from the configuration, and a key set kept fresh.
//!
//! A key set (JWKS) is read from a file or fetched from an address, again and again: identity
//! providers rotate their keys. It is asked for early when a token names a key that is not in it,
//! but never twice within [`Timing::pause`], so that tokens with made-up names cannot turn the
//! edge against the provider. A set that cannot be had or read changes nothing: the keys stay as
//! they are, the failure is counted and logged, and the next attempt comes sooner. The address
//! comes from the configuration alone, redirects are not followed, and an answer is bounded in
//! length and time.
//!
//! [`open`] makes the [`Authority`] that all threads share, and the [`Keeper`] that keeps its set
//! fresh on the control plane's runtime. What tokens say is not here but in `token`.

mod fetch;
mod keeper;

pub use keeper::{Keeper, Timing, open};

use std::path::PathBuf;

#[cfg(doc)]
use crate::token::Authority;
use crate::token::KeyError;

/// Why there are no keys to begin with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file of the key set was readable when the configuration was checked, and now is not.
    #[error("token.jwks_file: {0}")]
    File(#[from] LoadError),
    /// There are no certificates to check an https address with.
    #[error(
        "token.jwks_url: no root certificates: {0}. Install Debian's ca-certificates, or name a \
         file with the variable SSL_CERT_FILE."
    )]
    Roots(std::io::Error),
}

/// Why a key set could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The server cannot be reached, or the connection broke.
    #[error("{0}")]
    Fetch(String),
    /// The server answered with something else than the set.
    #[error("the server answered with status {0} instead of 200")]
    Status(u16),
    /// It did not come in time.
    #[error("no whole answer in time")]
    Timeout,
    /// It is longer than a key set may be.
    #[error("it is longer than {} bytes", crate::limits::KEY_SET_BYTES_MAX)]
    TooLong,
    /// It came, and is no key set.
    #[error(transparent)]
    Set(#[from] KeyError),
}
