//! Key sets (JWKS, RFC 7517 section 5): public keys by name, as identity providers publish them.
//!
//! Keys that cannot verify tokens are passed over, as the RFC asks: other kinds, keys for
//! encryption, broken ones. Secrets (`oct`) too: a set is public, and a secret belongs into the
//! configuration. If a whole set is not readable the caller keeps the one it has.

use jsonwebtoken::jwk::{Jwk, KeyOperations, PublicKeyUse};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::limits::KEYS_PER_SET_MAX;
use crate::token::error::KeyError;
use crate::token::key::Key;
use crate::token::payload::object;

/// The usable keys of a set.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
    passed_over: usize,
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

impl KeySet {
    /// Reads a set.
    ///
    /// # Errors
    /// When it is not a set, or has more than [`KEYS_PER_SET_MAX`] keys.
    pub fn parse(text: &[u8]) -> Result<Self, KeyError> {
        let Document { keys } = object(text).ok_or(KeyError::NotKeySet)?;
        if keys.len() > KEYS_PER_SET_MAX {
            return Err(KeyError::TooManyKeys);
        }
        let usable: Vec<Key> = keys.iter().filter_map(|key| usable_key(key)).collect();
        let passed_over = keys.len() - usable.len();
        Ok(Self { keys: usable, passed_over })
    }

    /// The usable keys.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// How many keys cannot verify tokens.
    #[must_use]
    pub fn passed_over(&self) -> usize {
        self.passed_over
    }
}

/// The key, if it can verify tokens.
fn usable_key(text: &RawValue) -> Option<Key> {
    let key: Value = serde_json::from_str(text.get()).ok()?;
    // The library forgets the names of algorithms that it does not know.
    let algorithm = match key.get("alg") {
        Some(name) => Some(name.as_str()?.to_owned()),
        None => None,
    };
    let key: Jwk = serde_json::from_value(key).ok()?;
    let common = &key.common;
    let is_for_signatures =
        common.public_key_use.as_ref().is_none_or(|known| *known == PublicKeyUse::Signature)
            && common
                .key_operations
                .as_ref()
                .is_none_or(|known| known.contains(&KeyOperations::Verify));
    is_for_signatures.then(|| Key::from_jwk(&key, algorithm.as_deref()))?
}
