//! Keys and signatures: who is believed.

use super::*;

#[test]
fn every_algorithm_verifies_with_its_key_and_with_no_other() {
    let keys: Vec<Key> = ASYMMETRIC.iter().map(|(.., pem)| Key::from_pem(pem).unwrap()).collect();
    let keys = [vec![Key::from_secret(SECRET)], keys].concat();
    let mut tokens = Vec::new();
    for name in ["HS256", "HS384", "HS512"] {
        tokens.push((0, Signer::from_secret(SECRET).with_algorithm(name).unwrap()));
    }
    for (place, (names, private, _)) in ASYMMETRIC.iter().enumerate() {
        for name in *names {
            let signer = Signer::from_pem(private).unwrap().with_algorithm(name).unwrap();
            tokens.push((place + 1, signer));
        }
    }
    assert_eq!(tokens.len(), 9);
    for (own, signer) in &tokens {
        let token = signer.sign(br#"{"sub":"42"}"#).unwrap();
        for (place, key) in keys.iter().enumerate() {
            let result = verifier_of(vec![key.clone()]).verify_connection(&token, NOW);
            if place == *own {
                assert_eq!(result.unwrap().user, "42", "{signer:?}");
            } else {
                assert_invalid(result, Flaw::NoKey);
            }
        }
        assert!(verifier_of(keys.clone()).verify_connection(&token, NOW).is_ok());
    }
}

#[test]
fn a_public_key_is_no_secret() {
    for (_, _, public) in ASYMMETRIC {
        let token = Signer::from_secret(public.as_bytes()).sign(b"{}").unwrap();
        let result = verifier_of(vec![Key::from_pem(public).unwrap()]);
        assert_invalid(result.verify_connection(&token, NOW), Flaw::NoKey);
    }
}

#[test]
fn there_is_no_algorithm_none() {
    let names = ["none", "None", "NONE", "nOnE", "", "HS1", "PS256", "ES512", "hs256", "dir"];
    for name in names {
        let header = json!({ "alg": name }).to_string();
        for signature in [None, Some("AAAA")] {
            let token = with_header(&header, signature);
            assert_invalid(verifier().verify_connection(&token, NOW), Flaw::Algorithm);
        }
    }
}

#[test]
fn other_signatures_are_refused() {
    let other = Signer::from_secret(b"another secret").sign(b"{}").unwrap();
    assert_invalid(verifier().verify_connection(&other, NOW), Flaw::Signature);
    let token = signed(r#"{"sub":"1"}"#);
    let (message, _) = token.rsplit_once('.').unwrap();
    for signature in ["", "A", "AAAA", "====", " ", "é"] {
        let token = format!("{message}.{signature}");
        assert_invalid(verifier().verify_connection(&token, NOW), Flaw::Signature);
    }
}

#[test]
fn other_forms_are_refused() {
    let token = signed("{}");
    let part = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
    for (text, flaw) in [
        (String::new(), Flaw::Form),
        (".".to_owned(), Flaw::Form),
        (part.clone(), Flaw::Form),
        (format!("{part}.e30"), Flaw::Form),
        (format!("{part}.e30=.AAAA"), Flaw::Form),
        (format!("{part}.e3!.AAAA"), Flaw::Form),
        (format!("{part}=.e30.AAAA"), Flaw::Form),
        (format!("{token}.AAAA"), Flaw::Form),
        (format!(".{token}"), Flaw::Form),
        (format!("..{}", "A".repeat(40)), Flaw::Header),
        (token[..token.len() - 1].to_owned(), Flaw::Signature),
        ("A".repeat(TOKEN_BYTES_MAX + 1), Flaw::TooLong),
        (".".repeat(TOKEN_BYTES_MAX), Flaw::Form),
    ] {
        let result = verifier().verify_connection(&text, NOW);
        assert_eq!(result.unwrap_err(), TokenError::Invalid(flaw), "{text:.60}");
    }
}

#[test]
fn other_headers_are_refused() {
    for (header, flaw) in [
        ("", Flaw::Header),
        ("[]", Flaw::Header),
        (r#"["HS256",null,null]"#, Flaw::Header),
        ("{}", Flaw::Header),
        (r#"{"alg":1}"#, Flaw::Header),
        (r#"{"alg":"HS256","alg":"HS256"}"#, Flaw::Header),
        (r#"{"alg":"HS256","kid":1}"#, Flaw::Header),
        (r#"{"alg":"HS256","crit":["exp"]}"#, Flaw::Critical),
        (r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, Flaw::Critical),
    ] {
        let token = with_header(header, Some("AAAA"));
        assert_invalid(verifier().verify_connection(&token, NOW), flaw);
    }
}

#[test]
fn a_long_token_is_still_read_at_the_limit() {
    let longest = (1..)
        .map(|length| signed(&json!({ "meta": "m".repeat(length) }).to_string()))
        .skip(TOKEN_BYTES_MAX * 3 / 4 - 200)
        .take_while(|token| token.len() <= TOKEN_BYTES_MAX)
        .last()
        .unwrap();
    assert!(longest.len() > TOKEN_BYTES_MAX - 4);
    assert!(verifier().verify_connection(&longest, NOW).is_ok());
}

#[test]
fn without_keys_nothing_is_configured() {
    let result = Verifier::default().verify_connection("", NOW);
    assert_eq!(result.unwrap_err(), TokenError::NotConfigured);
    let empty = Verifier::default().with_set(KeySet::default());
    assert_invalid(empty.verify_connection(&signed("{}"), NOW), Flaw::NoKey);
}

#[test]
fn keys_of_a_set_are_used_by_name() {
    let (rsa, p256) = (ASYMMETRIC[0].1, ASYMMETRIC[1].1);
    let set = parse_set(&key_set(&[("a", "RS256", rsa), ("b", "ES256", p256)]));
    let verifier = verifier().with_set(set);
    let sign = |pem, name: &str| {
        Signer::from_pem(pem).unwrap().with_name(name.to_owned()).sign(b"{}").unwrap()
    };
    assert!(verifier.verify_connection(&sign(rsa, "a"), NOW).is_ok());
    assert!(verifier.verify_connection(&sign(p256, "b"), NOW).is_ok());
    assert_invalid(verifier.verify_connection(&sign(rsa, "b"), NOW), Flaw::NoKey);
    let unknown = verifier.verify_connection(&sign(rsa, "c"), NOW);
    assert_eq!(unknown.unwrap_err(), TokenError::UnknownKey);
    let nameless = Signer::from_pem(rsa).unwrap().sign(b"{}").unwrap();
    assert_invalid(verifier.verify_connection(&nameless, NOW), Flaw::NoKey);
    let rs512 = Signer::from_pem(rsa).unwrap().with_algorithm("RS512").unwrap();
    let rs512 = rs512.with_name("a".to_owned()).sign(b"{}").unwrap();
    assert_invalid(verifier.verify_connection(&rs512, NOW), Flaw::NoKey);
    assert!(verifier.verify_connection(&signed("{}"), NOW).is_ok(), "the secret still counts");
}

#[test]
fn keys_can_be_rotated() {
    let (rsa, p256) = (ASYMMETRIC[0].1, ASYMMETRIC[1].1);
    let set = |entries: &[(&str, &str, &str)]| parse_set(&key_set(entries));
    let authority = Authority::new(
        Verifier::default().with_set(set(&[("old", "RS256", rsa)])),
        Revocations::new(60),
    );
    let sign = |pem, name: &str| {
        Signer::from_pem(pem).unwrap().with_name(name.to_owned()).sign(b"{}").unwrap()
    };
    let (old, new) = (sign(rsa, "old"), sign(p256, "new"));
    assert!(authority.verify_connection(&old, None, NOW).is_ok());
    assert!(!authority.take_missed_key());
    let missed = authority.verify_connection(&new, None, NOW);
    assert_eq!(missed.unwrap_err(), TokenError::UnknownKey);
    assert!(authority.take_missed_key() && !authority.take_missed_key());
    authority.replace_set(set(&[("old", "RS256", rsa), ("new", "ES256", p256)]));
    assert!(authority.verify_connection(&old, None, NOW).is_ok());
    assert!(authority.verify_connection(&new, None, NOW).is_ok());
    authority.replace_set(set(&[("new", "ES256", p256)]));
    let gone = authority.verify_connection(&old, None, NOW);
    assert_eq!(gone.unwrap_err(), TokenError::UnknownKey);
}

#[test]
fn a_set_passes_over_what_cannot_verify() {
    let good = &key_set(&[("a", "RS256", ASYMMETRIC[0].1)])["keys"][0];
    let changed = |name: &str, value: Value| {
        let mut key = good.clone();
        key[name] = value;
        key
    };
    let useless = [
        changed("use", json!("enc")),
        changed("key_ops", json!(["sign"])),
        changed("alg", json!("RSA-OAEP")),
        changed("alg", json!("ES256")),
        changed("alg", json!("none")),
        changed("alg", json!("made up")),
        changed("alg", json!(1)),
        changed("alg", json!("PS256")),
        changed("kty", json!("EC")),
        changed("n", json!("AQAB")),
        changed("n", json!("!")),
        changed("kid", json!(7)),
        json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET), "kid": "s", "alg": "HS256" }),
        json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" }),
        json!({ "kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA" }),
        json!({ "kty": "OKP", "crv": "X25519", "x": "AA" }),
        json!("text"),
        json!(null),
    ];
    for key in &useless {
        let set = parse_set(&json!({ "keys": [key] }));
        assert_eq!((set.keys().len(), set.passed_over()), (0, 1), "{key}");
    }
    let mixed = [vec![good.clone()], useless.to_vec()].concat();
    assert_eq!(parse_set(&json!({ "keys": mixed })).keys().len(), 1);
    for useful in [
        changed("use", json!("sig")),
        changed("key_ops", json!(["verify"])),
        changed("alg", json!("RS512")),
        changed("x5c", json!(["AAAA"])),
    ] {
        assert_eq!(parse_set(&json!({ "keys": [useful] })).keys().len(), 1);
    }
}

#[test]
fn what_is_no_set_is_refused() {
    for text in
        ["", "[]", "[[]]", "{}", r#"{"keys":{}}"#, "{\"keys\":[]", r#"{"keys":[],"keys":[]}"#]
    {
        assert_eq!(KeySet::parse(text.as_bytes()).unwrap_err(), KeyError::NotKeySet, "{text}");
    }
    let many = json!({ "keys": vec![json!({}); KEYS_PER_SET_MAX + 1] });
    assert_eq!(KeySet::parse(many.to_string().as_bytes()).unwrap_err(), KeyError::TooManyKeys);
}

#[test]
fn what_is_no_public_key_is_named() {
    let (_, private, public) = ASYMMETRIC[0];
    let relabelled = |label: &str| public.replace("PUBLIC KEY", label);
    for (text, error) in [
        (String::new(), KeyError::NotPem),
        ("hunter2".to_owned(), KeyError::NotPem),
        ("-----BEGIN PUBLIC".to_owned(), KeyError::NotPem),
        (format!("{public}{public}"), KeyError::NotPem),
        (private.to_owned(), KeyError::Private),
        (relabelled("CERTIFICATE"), KeyError::Certificate),
        (relabelled("OPENSSH PRIVATE KEY"), KeyError::Private),
        (relabelled("DSA PARAMETERS"), KeyError::NotPem),
        (public.replacen("MII", "AAA", 1), KeyError::Unsupported),
    ] {
        assert_eq!(Key::from_pem(&text).unwrap_err(), error, "{text}");
    }
    let weak = include_str!("../../../tests/keys/rsa1024.public.pem");
    assert_eq!(Key::from_pem(weak).unwrap_err(), KeyError::Unsupported);
}

#[test]
fn what_cannot_sign_is_named() {
    let (_, private, public) = ASYMMETRIC[1];
    for (text, error) in [
        (public.to_owned(), KeyError::Public),
        (private.replace("PRIVATE", "EC PRIVATE"), KeyError::OldForm),
        (private.replace("PRIVATE KEY", "X"), KeyError::NotPem),
        (private.replacen("MI", "AA", 1), KeyError::Unsupported),
    ] {
        assert_eq!(Signer::from_pem(&text).unwrap_err(), error, "{text}");
    }
    assert_eq!(
        Signer::from_secret(SECRET).with_algorithm("RS256").unwrap_err(),
        KeyError::CannotSign
    );
    assert_eq!(Signer::from_secret(SECRET).sign(b"{").unwrap_err(), KeyError::CannotSign);
}

#[test]
fn keys_are_not_shown() {
    let shown = format!("{:?} {:?}", verifier(), Signer::from_secret(SECRET));
    assert!(!shown.contains("thirty") && !shown.contains("116, 104"), "{shown}");
}
