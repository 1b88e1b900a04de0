//! What threads share about tokens: the verifier of the moment, revocations, and a wish for a
//! newer key set.
//!
//! The locks are held for a look-up and never while a signature is checked. They are taken once
//! for each token, which is once for each connection and not on the hot path.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::token::claims::{ConnectionClaims, SubscriptionClaims};
use crate::token::error::TokenError;
use crate::token::key_set::KeySet;
use crate::token::revocation::Revocations;
use crate::token::verifier::Verifier;

/// Verifies tokens for all threads.
#[derive(Debug, Default)]
pub struct Authority {
    verifier: RwLock<Arc<Verifier>>,
    revocations: RwLock<Revocations>,
    /// True exactly when a token named an unknown key since somebody last asked.
    misses_key: AtomicBool,
}

impl Authority {
    /// An authority that begins with this verifier and these revocations.
    #[must_use]
    pub fn new(verifier: Verifier, revocations: Revocations) -> Self {
        Self {
            verifier: RwLock::new(Arc::new(verifier)),
            revocations: RwLock::new(revocations),
            misses_key: AtomicBool::new(false),
        }
    }

    /// The verifier of the moment.
    #[must_use]
    pub fn verifier(&self) -> Arc<Verifier> {
        Arc::clone(&self.verifier.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether it may cost much to check a token ([`Verifier::is_costly`]).
    #[must_use]
    pub fn is_costly(&self, token: &str) -> bool {
        self.verifier().is_costly(token)
    }

    /// Checks a connection token at the unix second `now`. `device` is what the client calls
    /// itself; a token that names a device is that one's, whatever the client says.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn verify_connection(
        &self,
        token: &str,
        device: Option<&str>,
        now: u64,
    ) -> Result<ConnectionClaims, TokenError> {
        let claims = self.note(self.verifier().verify_connection(token, now))?;
        let device = claims.device.as_deref().or(device);
        self.check_revoked(&claims.user, device, claims.issued_at)?;
        Ok(claims)
    }

    /// Checks a subscription token of a device at the unix second `now`.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn verify_subscription(
        &self,
        token: &str,
        device: Option<&str>,
        now: u64,
    ) -> Result<SubscriptionClaims, TokenError> {
        let claims = self.note(self.verifier().verify_subscription(token, now))?;
        let device = claims.device.as_deref().or(device);
        self.check_revoked(&claims.user, device, claims.issued_at)?;
        Ok(claims)
    }

    /// Puts a newer key set in place of the one of the moment. Only one thread may call this.
    pub fn replace_set(&self, set: KeySet) {
        let verifier = Arc::new(self.verifier().with_set(set));
        *self.verifier.write().unwrap_or_else(PoisonError::into_inner) = verifier;
    }

    /// Revokes all tokens of a user, or those used by one device, that were issued until `now`.
    pub fn revoke(&self, user: &str, device: Option<&str>, now: u64) {
        let mut revocations = self.revocations.write().unwrap_or_else(PoisonError::into_inner);
        revocations.revoke(user, device, now);
    }

    /// Drops old revocations; how many remain, and how many were ever forgotten before their time.
    pub fn sweep_revocations(&self, now: u64) -> (usize, u64) {
        let mut revocations = self.revocations.write().unwrap_or_else(PoisonError::into_inner);
        revocations.sweep(now);
        (revocations.count(), revocations.forgotten())
    }

    /// Whether a token named an unknown key since this was last asked.
    pub fn take_missed_key(&self) -> bool {
        self.misses_key.swap(false, Ordering::Relaxed)
    }

    fn note<T>(&self, result: Result<T, TokenError>) -> Result<T, TokenError> {
        if matches!(result, Err(TokenError::UnknownKey)) {
            self.misses_key.store(true, Ordering::Relaxed);
        }
        result
    }

    fn check_revoked(
        &self,
        user: &str,
        device: Option<&str>,
        issued_at: Option<u64>,
    ) -> Result<(), TokenError> {
        let revocations = self.revocations.read().unwrap_or_else(PoisonError::into_inner);
        let is_covered = revocations.covers(user, device, issued_at);
        if is_covered { Err(TokenError::Revoked) } else { Ok(()) }
    }
}
