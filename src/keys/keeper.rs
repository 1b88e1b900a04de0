//! Keeps the key set of the authority fresh, and its metrics.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::config;
use crate::keys::fetch::{Source, read_file};
use crate::keys::{Error, LoadError};
use crate::metrics::TokenMetrics;
use crate::sys::Clock;
use crate::token::{Authority, Key, KeySet, Keys, Revocations, Rules, Verifier};

/// How often the keeper looks, and how long it waits.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Between two looks at whether a key set is wanted.
    pub tick: Duration,
    /// At least this lies between two attempts to load a set.
    pub pause: Duration,
    /// For one attempt.
    pub load: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self { tick: second, pause: 10 * second, load: 10 * second }
    }
}

/// Loads key sets for an authority.
#[derive(Debug)]
pub struct Keeper {
    authority: Arc<Authority>,
    metrics: Arc<TokenMetrics>,
    source: Option<Source>,
    refresh: Duration,
    timing: Timing,
    /// Attempts that failed since the last one that did not.
    failures: u32,
}

/// Makes the authority of a configuration, and its keeper. A set in a file is loaded here; one on
/// the web by [`Keeper::run`], because a provider that is down for a moment must not keep an edge
/// from starting.
///
/// # Errors
/// When there is no way to have the keys, with the option and the remedy.
pub fn open(config: &config::Token, timing: Timing) -> Result<Keeper, Error> {
    let secrets = config.hmac_secret.iter().map(|secret| Key::from_secret(secret.as_bytes()));
    let public = config.public_keys.iter().map(config::PublicKeyPem::key);
    let keys = Keys::new(secrets.chain(public).collect());
    let rules = Rules {
        audience: config.audience.clone(),
        issuer: config.issuer.clone(),
        leeway: config.leeway.as_millis().div_ceil(1000) as u64,
    };
    let mut verifier = Verifier::new(keys, rules);
    let mut source = None;
    let metrics = Arc::new(TokenMetrics::default());
    if let Some(path) = &config.jwks_file {
        let set = read_file(path).and_then(|bytes| Ok(KeySet::parse(&bytes)?))?;
        verifier = verifier.with_set(set);
        metrics.sets_loaded.increment();
        metrics.set_time.set(Clock::unix_seconds() as i64);
        source = Some(Source::File(path.clone()));
    } else if let Some(address) = &config.jwks_url {
        let address = address.parse().expect("the configuration was checked to have an address");
        warn_of_plaintext(&address);
        verifier = verifier.with_set(KeySet::default());
        source = Some(Source::web(address).map_err(Error::Roots)?);
    }
    metrics.keys.set(verifier.keys().count() as i64);
    let revocations = Revocations::new(config.revocation_ttl.as_secs());
    let authority = Arc::new(Authority::new(verifier, revocations));
    let refresh = config.jwks_refresh;
    Ok(Keeper { authority, metrics, source, refresh, timing, failures: 0 })
}

/// Keys that come in the clear over a network are whoever's is on the way.
fn warn_of_plaintext(address: &hyper::Uri) {
    let host = address.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_local = host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if address.scheme_str() != Some("https") && !is_local {
        tracing::warn!(host, "token.jwks_url is not https: who is on the way can make tokens");
    }
}

impl Keeper {
    /// The authority, which all threads share.
    #[must_use]
    pub fn authority(&self) -> Arc<Authority> {
        Arc::clone(&self.authority)
    }

    /// What the keeper counts.
    #[must_use]
    pub fn metrics(&self) -> Arc<TokenMetrics> {
        Arc::clone(&self.metrics)
    }

    /// Keeps the set fresh. It ends only by being dropped.
    pub async fn run(mut self) {
        let mut tried = Instant::now();
        if matches!(self.source, Some(Source::Http(..) | Source::Https(..))) {
            self.try_load().await;
        }
        let mut is_wanted = false;
        loop {
            sleep(self.timing.tick).await;
            self.count_revocations();
            is_wanted |= self.authority.take_missed_key();
            if self.source.is_some() && tried.elapsed() >= self.wait(is_wanted) {
                tried = Instant::now();
                is_wanted = false;
                self.try_load().await;
            }
        }
    }

    /// Loads the set once.
    ///
    /// # Errors
    /// Why there is no other set; the one that was there stays.
    pub async fn load(&self) -> Result<(), LoadError> {
        let Some(source) = &self.source else { return Ok(()) };
        let set = KeySet::parse(&source.load(self.timing.load).await?)?;
        let (usable, passed_over) = (set.keys().len(), set.passed_over());
        tracing::debug!(usable, passed_over, "key set loaded");
        if usable == 0 {
            tracing::warn!(passed_over, "the key set has no key that verifies tokens");
        }
        self.authority.replace_set(set);
        self.metrics.keys.set(self.authority.verifier().keys().count() as i64);
        self.metrics.set_time.set(Clock::unix_seconds() as i64);
        Ok(())
    }

    async fn try_load(&mut self) {
        match self.load().await {
            Ok(()) => {
                self.failures = 0;
                self.metrics.sets_loaded.increment();
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                self.metrics.sets_failed.increment();
                let keys = self.metrics.keys.value();
                tracing::warn!(%error, keys, "cannot load the key set: the keys stay");
            }
        }
    }

    /// How long after an attempt the next one comes: the pause when a set is wanted, the pause and
    /// twice as much for each further failure, and never more than the refresh time.
    fn wait(&self, is_wanted: bool) -> Duration {
        let pause = self.timing.pause;
        let wait = match self.failures {
            0 if is_wanted => pause,
            0 => self.refresh,
            failures => pause.saturating_mul(1 << (failures - 1).min(16)),
        };
        wait.min(self.refresh)
    }

    fn count_revocations(&self) {
        let (count, forgotten) = self.authority.sweep_revocations(Clock::unix_seconds());
        self.metrics.revocations.set(count as i64);
        let counted = self.metrics.revocations_forgotten.value();
        self.metrics.revocations_forgotten.add(forgotten.saturating_sub(counted));
    }
}
