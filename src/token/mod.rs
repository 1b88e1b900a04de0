//! Tokens of clients: JSON Web Tokens (RFC 7519) that say who connects and what it may subscribe
//! to. Bytes go in and claims come out; time is an argument, and nothing here does I/O.
//!
//! A backend signs a token, the client shows it, and the edge believes what it says. There are two
//! kinds. A *connection token* names the user; a *subscription token* names a user and one channel.
//! The claims are those of the Centrifuge protocol, so that its SDKs and the libraries of backends
//! work as they are.
//!
//! # What is checked, in this order
//!
//! 1. The length, three parts, strict base64url, a header without `crit`.
//! 2. The signature, before any claim is looked at. A key has the algorithms of its own kind and no
//!    others, so a public key is never taken for a secret, and there is no algorithm `none`. A key
//!    of a key set is used only for tokens that name its `kid`; keys of the configuration have no
//!    name and fit every token of their algorithm. No key or address is ever taken from a token.
//! 3. The form of every known claim: a claim that stands twice, is `null` or has another type than
//!    it should makes the token invalid. Unknown claims are ignored.
//! 4. `aud` and `iss` where they are configured, then `nbf`, `exp` and `expire_at` with the leeway
//!    that is configured.
//! 5. Revocations: a revoked user's tokens of that second and before are refused, and those of a
//!    revoked device, which the token names or else the client.
//!
//! # Who has what
//!
//! [`Keys`] are what the configuration and a fetched [`KeySet`] hold; a [`Verifier`] is keys and
//! rules and never changes; the [`Authority`] is what threads share: the verifier of the moment,
//! the [`Revocations`], and a note that some token named a key nobody knows. A [`Signer`] makes
//! tokens, for `tidegate gentoken` and for tests.
//!
//! # Example
//!
//! ```
//! use tidegate::token::{Key, Keys, Revocations, Rules, Signer, TokenError, Verifier};
//! use tidegate::token::Authority;
//!
//! let secret = b"a secret of at least thirty-two bytes";
//! let verifier = Verifier::new(Keys::new(vec![Key::from_secret(secret)]), Rules::default());
//! let authority = Authority::new(verifier, Revocations::new(86_400));
//!
//! // What a backend does:
//! let claims = r#"{"sub":"42","exp":1700000600,"iat":1700000000,"channels":["news"]}"#;
//! let token = Signer::from_secret(secret).sign(claims.as_bytes()).unwrap();
//!
//! // What a door does, once for each connection, at second 1700000000:
//! let (phone, now) = (Some("phone"), 1_700_000_000);
//! let claims = authority.verify_connection(&token, phone, now).unwrap();
//! assert_eq!((claims.user.as_str(), claims.expires_at), ("42", Some(1_700_000_600)));
//! assert_eq!(claims.channels, ["news"]);
//!
//! // A client with an expired token is answered 109 and fetches another one.
//! let later = authority.verify_connection(&token, phone, 1_700_000_600);
//! assert_eq!(later, Err(TokenError::Expired));
//!
//! // From now on this user's older tokens are refused.
//! authority.revoke("42", None, now);
//! assert_eq!(authority.verify_connection(&token, phone, now), Err(TokenError::Revoked));
//! ```

mod authority;
mod claims;
mod error;
mod key;
mod key_set;
mod payload;
mod revocation;
mod signer;
#[cfg(test)]
mod tests;
mod verifier;

pub use authority::Authority;
pub use claims::{ConnectionClaims, Json, SubscribeOptions, SubscriptionClaims};
pub use error::{Flaw, KeyError, TokenError};
pub use key::{Key, Keys};
pub use key_set::KeySet;
pub use revocation::Revocations;
pub use signer::Signer;
pub use verifier::{Rules, Verifier};
