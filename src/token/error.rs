//! Why a token is refused and why a key cannot be used.
//!
//! Invariant: no error shows a token, a claim's value or a key, so that all may be logged.

use crate::limits::{CHANNEL_NAME_BYTES_MAX, CHANNELS_PER_CONNECTION_MAX, TOKEN_BYTES_MAX};

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is no key at all, so no token can be checked.
    #[error("no key for tokens is configured")]
    NotConfigured,
    /// Its time is over (error 109 of the client protocol): the client may fetch another one.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come (`nbf`): the client may come again later.
    #[error("the token is not valid yet: its nbf is to come")]
    NotYet,
    /// It names a key that the key set does not have, maybe not yet: the set is fetched again, and
    /// the client should be told to try later and not that its token is wrong.
    #[error("the token names a key that is not in the key set")]
    UnknownKey,
    /// Its user or device was revoked after it was issued, or it does not say when that was.
    #[error("the token was revoked")]
    Revoked,
    /// It is wrong and stays wrong.
    #[error("the token is invalid: {0}")]
    Invalid(#[from] Flaw),
}

/// What is wrong with an invalid token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It is longer than [`TOKEN_BYTES_MAX`].
    #[error("it has more than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// It has not three parts of base64url with points between them.
    #[error("it is not three parts of base64url")]
    Form,
    /// The header is not a JSON object with `alg`, or one of its fields stands twice.
    #[error("its header is not a JSON object with alg")]
    Header,
    /// The header demands an extension (`crit`, RFC 7515 section 4.1.11), and there are none.
    #[error("its header demands an extension")]
    Critical,
    /// The algorithm is `none` or not one of those that are supported.
    #[error("its algorithm is not supported")]
    Algorithm,
    /// No key has this algorithm and, if the token names one, this name.
    #[error("there is no key for its algorithm")]
    NoKey,
    /// No key that fits has made the signature.
    #[error("its signature is wrong")]
    Signature,
    /// The claims are not a JSON object, or a known claim stands twice.
    #[error("its claims are not a JSON object in which each stands once")]
    Claims,
    /// A claim is missing or not what it should be.
    #[error("claim {name}: expected {expected}")]
    Claim {
        /// The claim.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// More channels than a connection may have.
    #[error("it names more than {CHANNELS_PER_CONNECTION_MAX} channels")]
    TooManyChannels,
    /// A channel's name is empty or too long.
    #[error("it names a channel that has not 1 to {CHANNEL_NAME_BYTES_MAX} bytes")]
    ChannelName,
    /// It is for somebody else (`aud`).
    #[error("it is for another audience")]
    Audience,
    /// It is from somebody else (`iss`).
    #[error("it is from another issuer")]
    Issuer,
}

/// Why a key cannot be used, with the remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not one PEM block with a readable key.
    #[error("no PEM block with a key")]
    NotPem,
    /// A private key where a public one belongs.
    #[error("a private key: `openssl pkey -in FILE -pubout` prints its public key")]
    Private,
    /// A certificate where a public key belongs.
    #[error("a certificate: `openssl x509 -in FILE -noout -pubkey` prints its public key")]
    Certificate,
    /// A public key where a private one belongs.
    #[error("a public key, which cannot sign")]
    Public,
    /// A private key in the older form of one kind of key.
    #[error("a key in an old form: `openssl pkcs8 -topk8 -nocrypt -in FILE` converts it")]
    OldForm,
    /// Neither RSA of 2048 to 8192 bits, nor ECDSA on P-256 or P-384, nor Ed25519.
    #[error("a key of another kind than RSA of 2048 to 8192 bits, P-256, P-384 or Ed25519")]
    Unsupported,
    /// Not a key set (RFC 7517 section 5).
    #[error("no key set: it must be a JSON object with a list of keys")]
    NotKeySet,
    /// A key set with more keys than anybody has.
    #[error("a key set with too many keys")]
    TooManyKeys,
    /// The key could not sign, or the claims were not JSON.
    #[error("the key cannot sign this")]
    CannotSign,
}
