//! The configuration: every option once, checked before anything starts.
//!
//! `table` declares each option with key, type, default, limits and documentation; the structs,
//! the defaults, the reader and the printed template all come from there. Sources are read in the
//! order default, file, environment, flags; the later one wins. A mistake is never skipped: all
//! mistakes of all sources are collected, and each names its key, where it was written and the
//! remedy. The file is read through the span-keeping tree of the `toml` crate and not through
//! serde, because serde stops at the first mistake and forgets the line of a value.
//!
//! Not here: what an option does (that is in the module that uses it) and compile-time bounds
//! (`limits`).

mod api_key;
mod channel;
mod check;
mod codec;
mod effective;
mod endpoint;
mod error;
mod group;
mod key;
mod node;
mod pairs;
mod secret;
mod source;
mod table;
mod template;
#[cfg(test)]
mod tests;
mod unit;
mod web;

use crate::limits;

pub use api_key::ApiKey;
pub use channel::NamedRules;
pub use endpoint::{Curve, CurveRole, Endpoint, Format, Mode, SocketKind};
pub use error::{Error, Errors, Origin};
pub use key::{PublicKey, SecretKey};
pub use secret::{PublicKeyPem, Secret};
pub use source::{Setting, Sources};
pub use table::{
    Api, Client, Cluster, Config, Drain, Handshake, Heartbeat, History, Idempotency, Ingest,
    Internal, Links, Log, LogFormat, LogLevel, Presence, Public, Sessions, Shards, Slow, Token,
    Websocket, WhenFull,
};
pub use template::template;
pub use unit::parse_time;

impl Config {
    /// Reads all sources on top of the defaults and checks the result as a whole.
    ///
    /// # Errors
    /// Every mistake of every source at once.
    pub fn load(sources: &Sources) -> Result<Self, Errors> {
        Self::read(sources).map(|(config, _)| config)
    }

    /// Descriptors that connections of backends may take together.
    #[must_use]
    pub fn peer_descriptors(&self) -> usize {
        let endpoints = self.ingest.endpoints.iter();
        let places = endpoints.map(|endpoint| limits::peer_places(endpoint.peers_max as usize));
        places.sum::<usize>() * limits::DESCRIPTORS_PER_PEER
    }

    /// What all sources together say, as a configuration file in which each value is followed by
    /// where it was written. Secrets are left out.
    ///
    /// # Errors
    /// Those of [`Config::load`].
    pub fn effective(sources: &Sources) -> Result<(Self, String), Errors> {
        let (config, reader) = Self::read(sources)?;
        let text = effective::render(&config, &reader);
        Ok((config, text))
    }

    fn read(sources: &Sources) -> Result<(Self, group::Reader), Errors> {
        let mut config = Self::default();
        let mut reader = group::Reader::default();
        sources.read_into(&mut config, &mut reader);
        check::finish(&mut config, sources.dev, &mut reader);
        if reader.errors.is_empty() { Ok((config, reader)) } else { Err(Errors(reader.errors)) }
    }

    /// What the sources say of the log, whatever else is wrong with them: so that the mistakes can
    /// be told in its form.
    pub fn load_log(sources: &Sources) -> Log {
        let mut config = Self::default();
        sources.read_into(&mut config, &mut group::Reader::default());
        config.log
    }
}
