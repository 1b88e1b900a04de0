//! Checks tokens with keys and rules. It never changes: other keys make another verifier.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::limits::TOKEN_BYTES_MAX;
use crate::token::claims::{ConnectionClaims, SubscriptionClaims};
use crate::token::error::{Flaw, TokenError};
use crate::token::key::{self, Keys};
use crate::token::key_set::KeySet;
use crate::token::payload::{Payload, object, text, time};

/// What tokens must say beside being signed.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The `aud` that a token must be for; without it `aud` is not looked at.
    pub audience: Option<String>,
    /// The `iss` that a token must be from; without it `iss` is not looked at.
    pub issuer: Option<String>,
    /// How many seconds before `nbf` and after `exp` a token is still taken, because clocks differ.
    pub leeway: u64,
}

/// Keys and rules: what it takes to check a token.
#[derive(Clone, Debug, Default)]
pub struct Verifier {
    keys: Keys,
    rules: Rules,
}

/// The part of a header that matters. Addresses and keys in it (`jku`, `jwk`, `x5u`) do not.
#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow)]
    kid: Option<Cow<'a, str>>,
    crit: Option<IgnoredAny>,
}

impl Verifier {
    /// A verifier with these keys and rules.
    #[must_use]
    pub fn new(keys: Keys, rules: Rules) -> Self {
        Self { keys, rules }
    }

    /// A verifier with another key set.
    #[must_use]
    pub fn with_set(&self, set: KeySet) -> Self {
        Self { keys: self.keys.with_set(set), rules: self.rules.clone() }
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Checks a connection token at the unix second `now`.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn verify_connection(&self, token: &str, now: u64) -> Result<ConnectionClaims, TokenError> {
        let payload = self.verify_signature(token)?;
        let payload = Payload::parse(&payload)?;
        let expires_at = self.check(&payload, now)?;
        Ok(ConnectionClaims::read(&payload, expires_at)?)
    }

    /// Checks a subscription token at the unix second `now`. Whether its user is the user of the
    /// connection and its channel the one that is asked for is left to the caller.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn verify_subscription(
        &self,
        token: &str,
        now: u64,
    ) -> Result<SubscriptionClaims, TokenError> {
        let payload = self.verify_signature(token)?;
        let payload = Payload::parse(&payload)?;
        let expires_at = self.check(&payload, now)?;
        Ok(SubscriptionClaims::read(&payload, expires_at)?)
    }

    /// Whether it may cost much to check a token: it says that its signature is one of a public
    /// key, and there are such keys. That takes up to half a millisecond, where a secret takes
    /// microseconds.
    #[must_use]
    pub fn is_costly(&self, token: &str) -> bool {
        if token.len() > TOKEN_BYTES_MAX || !self.keys.are_costly() {
            return false;
        }
        let header = token.split('.').next().and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let header = header.as_deref().and_then(object::<Header<'_>>);
        let algorithm = header.and_then(|header| key::algorithm(&header.alg));
        algorithm.is_some_and(|algorithm| !key::HMAC.contains(&algorithm))
    }

    /// The claims' bytes of a token that one of the keys has signed.
    fn verify_signature(&self, token: &str) -> Result<Vec<u8>, TokenError> {
        if self.keys.is_absent() {
            return Err(TokenError::NotConfigured);
        }
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Flaw::TooLong.into());
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Flaw::Form)?;
        let (header, payload) = message.split_once('.').ok_or(Flaw::Form)?;
        let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| Flaw::Form)?;
        // A fourth part would be part of the payload, and a point is not base64url.
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| Flaw::Form)?;
        let header: Header<'_> = object(&header).ok_or(Flaw::Header)?;
        if header.crit.is_some() {
            return Err(Flaw::Critical.into());
        }
        let algorithm = key::algorithm(&header.alg).ok_or(Flaw::Algorithm)?;
        self.keys.verify((algorithm, header.kid.as_deref()), message, signature)?;
        Ok(payload)
    }

    /// Checks time, audience and issuer; the second at which what the token allows ends.
    fn check(&self, payload: &Payload<'_>, now: u64) -> Result<Option<u64>, TokenError> {
        // RFC 7519 section 4.1.4: on or after `exp` a token must not be accepted.
        let is_over = |end: u64| end <= now;
        let late = |end: u64| end.saturating_add(self.rules.leeway);
        let token_end = time("exp", payload.exp)?.map(late);
        let allowance_end = match time("expire_at", payload.expire_at)? {
            None => token_end,
            Some(0) => None,
            end => end.map(late),
        };
        let begin = time("nbf", payload.nbf)?;
        if let Some(audience) = &self.rules.audience
            && !payload.audiences()?.contains(audience)
        {
            return Err(Flaw::Audience.into());
        }
        if let Some(issuer) = &self.rules.issuer
            && text("iss", payload.iss)?.as_ref() != Some(issuer)
        {
            return Err(Flaw::Issuer.into());
        }
        if begin.is_some_and(|begin| now.saturating_add(self.rules.leeway) < begin) {
            return Err(TokenError::NotYet);
        }
        if token_end.is_some_and(is_over) || allowance_end.is_some_and(is_over) {
            return Err(TokenError::Expired);
        }
        Ok(allowance_end)
    }
}
