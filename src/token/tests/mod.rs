//! Every algorithm, every claim, and each way in which a token or a key is wrong.

mod claims;
mod keys;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::limits::{KEYS_PER_SET_MAX, TOKEN_BYTES_MAX};

const SECRET: &[u8] = b"thirty-two bytes are the minimum";
const NOW: u64 = 1_700_000_000;

/// Algorithms, and the private and the public key of each that is not HMAC.
const ASYMMETRIC: &[(&[&str], &str, &str)] = &[
    (
        &["RS256", "RS384", "RS512"],
        include_str!("../../../tests/keys/rsa.private.pem"),
        include_str!("../../../tests/keys/rsa.public.pem"),
    ),
    (
        &["ES256"],
        include_str!("../../../tests/keys/p256.private.pem"),
        include_str!("../../../tests/keys/p256.public.pem"),
    ),
    (
        &["ES384"],
        include_str!("../../../tests/keys/p384.private.pem"),
        include_str!("../../../tests/keys/p384.public.pem"),
    ),
    (
        &["EdDSA"],
        include_str!("../../../tests/keys/ed25519.private.pem"),
        include_str!("../../../tests/keys/ed25519.public.pem"),
    ),
];

fn verifier_of(keys: Vec<Key>) -> Verifier {
    Verifier::new(Keys::new(keys), Rules::default())
}

fn verifier() -> Verifier {
    verifier_of(vec![Key::from_secret(SECRET)])
}

/// A token of the text of its claims, signed with the secret.
fn signed(claims: &str) -> String {
    Signer::from_secret(SECRET).sign(claims.as_bytes()).unwrap()
}

/// A token with any header, signed with the secret or with nothing.
fn with_header(header: &str, signature: Option<&str>) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.{}", part(header), part("{}"), signature.unwrap_or_default())
}

fn connect(claims: &str) -> Result<ConnectionClaims, TokenError> {
    verifier().verify_connection(&signed(claims), NOW)
}

fn subscribe(claims: &str) -> Result<SubscriptionClaims, TokenError> {
    verifier().verify_subscription(&signed(claims), NOW)
}

#[track_caller]
fn assert_invalid<T: std::fmt::Debug>(result: Result<T, TokenError>, flaw: Flaw) {
    assert_eq!(result.unwrap_err(), TokenError::Invalid(flaw));
}

/// The key set with the public keys of these private ones.
fn key_set(entries: &[(&str, &str, &str)]) -> Value {
    let keys: Vec<Value> = entries
        .iter()
        .map(|(name, algorithm, private)| {
            let pem = private.as_bytes();
            let key = jsonwebtoken::EncodingKey::from_rsa_pem(pem)
                .or_else(|_| jsonwebtoken::EncodingKey::from_ec_pem(pem))
                .or_else(|_| jsonwebtoken::EncodingKey::from_ed_pem(pem))
                .unwrap();
            let jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&key, algorithm.parse().unwrap());
            let mut jwk = serde_json::to_value(jwk.unwrap()).unwrap();
            jwk["kid"] = json!(name);
            jwk
        })
        .collect();
    json!({ "keys": keys })
}

fn parse_set(set: &Value) -> KeySet {
    KeySet::parse(set.to_string().as_bytes()).unwrap()
}

proptest! {
    #[test]
    fn no_text_panics_or_is_believed(token in "\\PC{0,200}", parts in "[\\w.-]{0,200}") {
        for token in [token, parts] {
            prop_assert!(verifier().verify_connection(&token, NOW).is_err());
            prop_assert!(verifier().verify_subscription(&token, NOW).is_err());
        }
    }

    #[test]
    fn no_signed_bytes_panic(claims in prop::collection::vec(any::<u8>(), 0..100)) {
        let text = URL_SAFE_NO_PAD.encode(&claims);
        let key = jsonwebtoken::EncodingKey::from_secret(SECRET);
        let message = format!("{}.{text}", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#));
        let algorithm = jsonwebtoken::Algorithm::HS256;
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm).unwrap();
        let token = format!("{message}.{signature}");
        let is_object = serde_json::from_slice::<Value>(&claims).is_ok_and(|it| it.is_object());
        let result = verifier().verify_connection(&token, NOW);
        prop_assert!(is_object || result == Err(Flaw::Claims.into()));
    }

    #[test]
    fn what_is_signed_is_what_is_read(
        user in "\\PC{0,60}",
        channels in prop::collection::vec("\\PC{1,40}", 0..10),
        life in prop::option::of(1u64..1_000_000),
        info in prop::option::of(".{0,40}"),
    ) {
        let mut claims = json!({ "sub": user, "channels": channels });
        if let Some(life) = life {
            claims["exp"] = json!(NOW + life);
        }
        if let Some(info) = &info {
            claims["info"] = json!({ "name": info });
        }
        let found = connect(&claims.to_string()).unwrap();
        prop_assert_eq!(found.user, user);
        prop_assert_eq!(found.channels, channels);
        prop_assert_eq!(found.expires_at, life.map(|life| NOW + life));
        let read = |json: Json| serde_json::from_str::<Value>(json.as_str()).unwrap();
        prop_assert_eq!(found.info.map(read), info.map(|info| json!({ "name": info })));
    }

    #[test]
    fn no_byte_of_a_token_can_be_changed(place in any::<prop::sample::Index>(), byte in "[\\w.-]") {
        let token = signed(r#"{"sub":"42"}"#);
        let mut changed = token.clone();
        let place = place.index(token.len());
        changed.replace_range(place..=place, &byte);
        prop_assume!(changed != token);
        prop_assert!(verifier().verify_connection(&changed, NOW).is_err());
    }
}
