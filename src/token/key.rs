//! Keys that verify tokens, each with the algorithms of its own kind.
//!
//! Invariant: an algorithm is only ever used with a key of its kind. That is what prevents
//! algorithm confusion, where a public key is presented as the secret of an HMAC.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};

use crate::token::error::{Flaw, KeyError, TokenError};
use crate::token::key_set::KeySet;

/// The algorithms of each kind of key, with their names in a token's header.
pub(super) const HMAC: &[Algorithm] = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
pub(super) const RSA: &[Algorithm] = &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512];
pub(super) const P256: &[Algorithm] = &[Algorithm::ES256];
pub(super) const P384: &[Algorithm] = &[Algorithm::ES384];
pub(super) const ED25519: &[Algorithm] = &[Algorithm::EdDSA];

/// Bytes of an RSA modulus: 2048 to 8192 bits, which is what the crypto verifies with.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// The algorithm of a name, if it is one that some kind of key has.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    let known = [HMAC, RSA, P256, P384, ED25519].concat();
    name.parse().ok().filter(|algorithm| known.contains(algorithm))
}

/// One key that verifies.
#[derive(Clone)]
pub struct Key {
    /// The `kid` under which a key set has it; keys of the configuration have none.
    pub(super) name: Option<String>,
    pub(super) algorithms: &'static [Algorithm],
    decoding: DecodingKey,
}

impl Key {
    /// The secret of HS256, HS384 and HS512.
    #[must_use]
    pub fn from_secret(secret: &[u8]) -> Self {
        Self { name: None, algorithms: HMAC, decoding: DecodingKey::from_secret(secret) }
    }

    /// A public key in PEM; its kind says which algorithms it has.
    ///
    /// # Errors
    /// Says what the text is instead.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        match pem_label(text)? {
            "PUBLIC KEY" | "RSA PUBLIC KEY" => {}
            "CERTIFICATE" => return Err(KeyError::Certificate),
            label if label.ends_with("PRIVATE KEY") => return Err(KeyError::Private),
            _ => return Err(KeyError::NotPem),
        }
        let pem = text.as_bytes();
        let decoding = DecodingKey::from_rsa_pem(pem)
            .or_else(|_| DecodingKey::from_ec_pem(pem))
            .or_else(|_| DecodingKey::from_ed_pem(pem))
            .map_err(|_| KeyError::Unsupported)?;
        let jwk = Jwk::from_decoding_key(&decoding, None).map_err(|_| KeyError::Unsupported)?;
        let algorithms = algorithms_of(&jwk.algorithm).ok_or(KeyError::Unsupported)?;
        Ok(Self { name: None, algorithms, decoding })
    }

    /// A public key of a key set, and the one algorithm of it that the set allows, if it says so.
    /// `None` for what cannot verify: private and secret keys, other kinds, other uses.
    pub(super) fn from_jwk(jwk: &Jwk, only: Option<&str>) -> Option<Self> {
        let mut algorithms = algorithms_of(&jwk.algorithm)?;
        if let Some(only) = only {
            let place = algorithms.iter().position(|known| Some(*known) == algorithm(only))?;
            algorithms = &algorithms[place..=place];
        }
        let decoding = DecodingKey::from_jwk(jwk).ok()?;
        Some(Self { name: jwk.common.key_id.clone(), algorithms, decoding })
    }

    fn has_signed(&self, message: &str, signature: &str, algorithm: Algorithm) -> bool {
        crypto::verify(signature, message.as_bytes(), &self.decoding, algorithm).unwrap_or(false)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Key({:?}, {:?})", self.name, self.algorithms)
    }
}

/// All keys of an edge.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    own: Vec<Key>,
    set: Option<KeySet>,
}

impl Keys {
    /// The keys of the configuration.
    #[must_use]
    pub fn new(own: Vec<Key>) -> Self {
        Self { own, set: None }
    }

    /// The same keys with this key set in place of another or none.
    #[must_use]
    pub fn with_set(&self, set: KeySet) -> Self {
        Self { own: self.own.clone(), set: Some(set) }
    }

    /// How many keys there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.own.len() + self.set.as_ref().map_or(0, |set| set.keys().len())
    }

    /// True exactly when no token can ever be verified. A key set that is still empty may be
    /// filled.
    pub(super) fn is_absent(&self) -> bool {
        self.own.is_empty() && self.set.is_none()
    }

    /// Whether there are keys whose signatures cost much to check.
    pub(super) fn are_costly(&self) -> bool {
        let set = self.set.as_ref().map_or(&[][..], KeySet::keys);
        self.own.iter().chain(set).any(|key| key.algorithms != HMAC)
    }

    /// Checks the signature with every key that fits.
    pub(super) fn verify(
        &self,
        (algorithm, name): (Algorithm, Option<&str>),
        message: &str,
        signature: &str,
    ) -> Result<(), TokenError> {
        let set = self.set.as_ref().map_or(&[][..], KeySet::keys);
        // A key of a set that has no name fits like one of the configuration.
        let fits = |key: &&Key| key.name.is_none() || key.name.as_deref() == name;
        let is_known = set.iter().any(|key| key.name.as_deref() == name);
        let mut flaw = Flaw::NoKey;
        for key in self.own.iter().chain(set).filter(fits) {
            if key.algorithms.contains(&algorithm) {
                if key.has_signed(message, signature, algorithm) {
                    return Ok(());
                }
                flaw = Flaw::Signature;
            }
        }
        match name {
            Some(_) if self.set.is_some() && !is_known => Err(TokenError::UnknownKey),
            _ => Err(flaw.into()),
        }
    }
}

/// The label of a text's only PEM block.
pub(super) fn pem_label(text: &str) -> Result<&str, KeyError> {
    let (_, rest) = text.split_once("-----BEGIN ").ok_or(KeyError::NotPem)?;
    let (label, rest) = rest.split_once("-----").ok_or(KeyError::NotPem)?;
    if rest.contains("-----BEGIN ") { Err(KeyError::NotPem) } else { Ok(label) }
}

/// The algorithms of a public key whose numbers have the sizes of its kind.
fn algorithms_of(key: &AlgorithmParameters) -> Option<&'static [Algorithm]> {
    use jsonwebtoken::jwk::EllipticCurve;
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    let is_size = |text: &str, size: usize| bytes(text).is_some_and(|bytes| bytes.len() == size);
    match key {
        AlgorithmParameters::RSA(key) => {
            let modulus = bytes(&key.n)?;
            let significant = modulus.iter().skip_while(|byte| **byte == 0).count();
            MODULUS_BYTES.contains(&significant).then_some(RSA)
        }
        AlgorithmParameters::EllipticCurve(key) => {
            let (size, algorithms) = match key.curve {
                EllipticCurve::P256 => (32, P256),
                EllipticCurve::P384 => (48, P384),
                _ => return None,
            };
            (is_size(&key.x, size) && is_size(&key.y, size)).then_some(algorithms)
        }
        AlgorithmParameters::OctetKeyPair(key) => {
            let is_ed25519 = key.curve == EllipticCurve::Ed25519 && is_size(&key.x, 32);
            is_ed25519.then_some(ED25519)
        }
        _ => None,
    }
}
