//! Makes tokens: for the command line and for tests. The edge itself signs nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::json;
use serde_json::value::RawValue;

use crate::token::error::KeyError;
use crate::token::key::{self, pem_label};

/// A key that signs, with its algorithm.
#[derive(Debug)]
pub struct Signer {
    encoding: EncodingKey,
    algorithm: Algorithm,
    name: Option<String>,
}

impl Signer {
    /// Signs with HS256.
    #[must_use]
    pub fn from_secret(secret: &[u8]) -> Self {
        let encoding = EncodingKey::from_secret(secret);
        Self { encoding, algorithm: Algorithm::HS256, name: None }
    }

    /// Signs with a private key in PEM (PKCS #8): RS256, ES256, ES384 or EdDSA, as its kind says.
    ///
    /// # Errors
    /// Says what the text is instead.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        match pem_label(text)? {
            "PRIVATE KEY" | "RSA PRIVATE KEY" => {}
            "EC PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" => return Err(KeyError::OldForm),
            "PUBLIC KEY" | "RSA PUBLIC KEY" => return Err(KeyError::Public),
            _ => return Err(KeyError::NotPem),
        }
        let pem = text.as_bytes();
        let encoding = EncodingKey::from_rsa_pem(pem)
            .or_else(|_| EncodingKey::from_ec_pem(pem))
            .or_else(|_| EncodingKey::from_ed_pem(pem))
            .map_err(|_| KeyError::Unsupported)?;
        let kinds = [Algorithm::RS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];
        let fits = |algorithm: &Algorithm| {
            algorithm.family() == encoding.family()
                && Jwk::from_encoding_key(&encoding, *algorithm).is_ok()
        };
        let algorithm = kinds.into_iter().find(fits).ok_or(KeyError::Unsupported)?;
        Ok(Self { encoding, algorithm, name: None })
    }

    /// Signs with another algorithm of the same kind of key.
    ///
    /// # Errors
    /// When there is no such algorithm or it is one of another kind.
    pub fn with_algorithm(self, name: &str) -> Result<Self, KeyError> {
        let algorithm = key::algorithm(name).ok_or(KeyError::CannotSign)?;
        let kinds = [key::HMAC, key::RSA, key::P256, key::P384, key::ED25519];
        let is_same =
            kinds.iter().any(|kind| kind.contains(&algorithm) && kind.contains(&self.algorithm));
        if is_same { Ok(Self { algorithm, ..self }) } else { Err(KeyError::CannotSign) }
    }

    /// Writes this `kid` into tokens.
    #[must_use]
    pub fn with_name(self, name: String) -> Self {
        Self { name: Some(name), ..self }
    }

    /// A token with these claims, which are a JSON object.
    ///
    /// # Errors
    /// When the claims are not JSON or the key cannot sign.
    pub fn sign(&self, claims: &[u8]) -> Result<String, KeyError> {
        let claims: &RawValue = serde_json::from_slice(claims).map_err(|_| KeyError::CannotSign)?;
        let mut header = json!({ "alg": self.algorithm, "typ": "JWT" });
        if let Some(name) = &self.name {
            header["kid"] = json!(name);
        }
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let message = format!("{}.{}", part(&header.to_string()), part(claims.get()));
        let signature = crypto::sign(message.as_bytes(), &self.encoding, self.algorithm)
            .map_err(|_| KeyError::CannotSign)?;
        Ok(format!("{message}.{signature}"))
    }
}
