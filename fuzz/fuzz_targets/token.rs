//! Any bytes as a token, as signed claims, and as a key set. The first byte chooses. Whatever is
//! believed is within the bounds, and nobody is believed who has not the secret.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tidegate::limits::{CHANNEL_NAME_BYTES_MAX, CHANNELS_PER_CONNECTION_MAX, USER_BYTES_MAX};
use tidegate::token::{Key, KeySet, Keys, Rules, Signer, Verifier};

const SECRET: &[u8] = b"thirty-two bytes are the minimum";
const NOW: u64 = 1_700_000_000;

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let rules = Rules { audience: Some("edge".to_owned()), issuer: None, leeway: 5 };
    Verifier::new(Keys::new(vec![Key::from_secret(SECRET)]), rules)
});

fn read_claims(claims: &[u8]) {
    let Ok(token) = Signer::from_secret(SECRET).sign(claims) else { return };
    let verifier = Verifier::new(Keys::new(vec![Key::from_secret(SECRET)]), Rules::default());
    let connection = verifier.verify_connection(&token, NOW);
    let subscription = verifier.verify_subscription(&token, NOW);
    assert!(connection.is_err() || subscription.is_err());
    if let Ok(claims) = connection {
        assert!(claims.user.len() <= USER_BYTES_MAX);
        assert!(claims.expires_at.is_none_or(|end| end > NOW));
        assert!(claims.channels.len() + claims.subs.len() <= CHANNELS_PER_CONNECTION_MAX);
        let names = claims.channels.iter().chain(claims.subs.iter().map(|(name, _)| name));
        assert!(names.into_iter().all(|name| (1..=CHANNEL_NAME_BYTES_MAX).contains(&name.len())));
        for json in [claims.info, claims.meta].into_iter().flatten() {
            assert!(!json.as_str().contains('\n'));
        }
    }
    if let Ok(claims) = subscription {
        assert!((1..=CHANNEL_NAME_BYTES_MAX).contains(&claims.channel.len()));
    }
    let _ = VERIFIER.verify_connection(&token, NOW);
}

fuzz_target!(|input: &[u8]| {
    let Some((&kind, input)) = input.split_first() else { return };
    match kind {
        b't' => {
            if let Ok(token) = std::str::from_utf8(input) {
                assert!(VERIFIER.verify_connection(token, NOW).is_err());
                assert!(VERIFIER.verify_subscription(token, NOW).is_err());
            }
        }
        b'k' => {
            if let Ok(set) = KeySet::parse(input) {
                let verifier = Verifier::default().with_set(set);
                let token = Signer::from_secret(SECRET).sign(b"{}").unwrap();
                assert!(verifier.verify_connection(&token, NOW).is_err());
            }
        }
        _ => read_claims(input),
    }
});
