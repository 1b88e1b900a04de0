//! Claims: what a believed token may say.

use super::*;
use crate::model::Overrides;

fn claim(name: &'static str, expected: &'static str) -> Flaw {
    Flaw::Claim { name, expected }
}

/// The claim that a connection token with these claims is refused for.
#[track_caller]
fn wrong_claim(claims: &str) -> &'static str {
    match connect(claims).unwrap_err() {
        TokenError::Invalid(Flaw::Claim { name, .. }) => name,
        error => panic!("{claims}: {error}"),
    }
}

#[test]
fn a_connection_token_says_all_this() {
    let claims = json!({
        "sub": "42", "exp": NOW + 60, "iat": NOW - 1, "nbf": NOW, "jti": "t1",
        "info": { "name": "Ada" }, "channels": ["news", "$private"], "meta": { "plan": 1 },
        "subs": {
            "sport": {
                "info": [1], "b64data": "eyJhIjogMX0=",
                "override": {
                    "presence": { "value": false }, "join_leave": { "value": true },
                    "force_recovery": { "value": true, "more": 1 },
                    "force_positioning": { "value": false },
                    "force_push_join_leave": { "value": true },
                },
            },
            "chat": {},
        },
        "unknown": { "is": "ignored" },
    });
    let found = connect(&claims.to_string()).unwrap();
    assert_eq!((found.user.as_str(), found.id.as_deref()), ("42", Some("t1")));
    assert_eq!((found.expires_at, found.issued_at), (Some(NOW + 60), Some(NOW - 1)));
    assert_eq!(found.info.unwrap().as_str(), r#"{"name":"Ada"}"#);
    assert_eq!(found.meta.unwrap().as_str(), r#"{"plan":1}"#);
    assert_eq!(found.channels, ["news", "$private"]);
    let names: Vec<_> = found.subs.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["chat", "sport"]);
    assert_eq!(found.subs[0].1, SubscribeOptions::default());
    let sport = &found.subs[1].1;
    assert_eq!(sport.info.as_ref().unwrap().as_str(), "[1]");
    assert_eq!(sport.data.as_ref().unwrap().as_str(), r#"{"a": 1}"#);
    let overrides = Overrides {
        presence: Some(false),
        join_leave: Some(true),
        force_recovery: Some(true),
        force_positioning: Some(false),
        force_push_join_leave: Some(true),
    };
    assert_eq!(sport.overrides, overrides);
}

#[test]
fn a_connection_token_need_not_say_anything() {
    assert_eq!(connect("{}").unwrap(), ConnectionClaims::default());
}

#[test]
fn a_subscription_token_says_all_this() {
    let claims = json!({
        "sub": "42", "channel": "news", "client": "c1", "device": "phone", "exp": NOW + 1,
        "expire_at": 0, "iat": NOW, "b64info": "MQ", "override": { "presence": { "value": true } },
    });
    let found = subscribe(&claims.to_string()).unwrap();
    let expected = SubscriptionClaims {
        user: "42".to_owned(),
        channel: "news".to_owned(),
        device: Some("phone".to_owned()),
        client: Some("c1".to_owned()),
        info: found.info.clone(),
        expires_at: None,
        issued_at: Some(NOW),
        overrides: Overrides { presence: Some(true), ..Overrides::default() },
    };
    assert_eq!(found, expected);
    assert_eq!(found.info.unwrap().as_str(), "1");
}

#[test]
fn the_two_kinds_are_not_taken_for_each_other() {
    assert_eq!(wrong_claim(r#"{"channel":"news"}"#), "channel");
    assert_eq!(wrong_claim(r#"{"channel":""}"#), "channel");
    assert_invalid(subscribe("{}"), claim("channel", "the channel in a subscription token"));
    assert_invalid(subscribe(r#"{"channel":""}"#), Flaw::ChannelName);
}

#[test]
fn time_has_no_leeway() {
    for (claims, expected) in [
        (format!(r#"{{"exp":{}}}"#, NOW + 1), Ok(Some(NOW + 1))),
        (format!(r#"{{"exp":{}.9}}"#, NOW + 1), Ok(Some(NOW + 1))),
        (format!(r#"{{"exp":{NOW}}}"#), Err(TokenError::Expired)),
        (r#"{"exp":0}"#.to_owned(), Err(TokenError::Expired)),
        (format!(r#"{{"exp":{},"expire_at":0}}"#, NOW + 1), Ok(None)),
        (format!(r#"{{"exp":{NOW},"expire_at":0}}"#), Err(TokenError::Expired)),
        (format!(r#"{{"exp":{},"expire_at":{}}}"#, NOW + 1, NOW + 9), Ok(Some(NOW + 9))),
        (format!(r#"{{"expire_at":{NOW}}}"#), Err(TokenError::Expired)),
        (format!(r#"{{"nbf":{NOW}}}"#), Ok(None)),
        (format!(r#"{{"nbf":{}}}"#, NOW + 1), Err(TokenError::NotYet)),
        (r#"{"exp":9007199254740992}"#.to_owned(), Ok(Some(1 << 53))),
    ] {
        assert_eq!(connect(&claims).map(|claims| claims.expires_at), expected, "{claims}");
    }
}

#[test]
fn leeway_moves_both_ends() {
    let rules = Rules { leeway: 10, ..Rules::default() };
    let verifier = Verifier::new(Keys::new(vec![Key::from_secret(SECRET)]), rules);
    let ends = |claims: String| {
        verifier.verify_connection(&signed(&claims), NOW).map(|claims| claims.expires_at)
    };
    assert_eq!(ends(format!(r#"{{"exp":{}}}"#, NOW - 9)), Ok(Some(NOW + 1)));
    assert_eq!(ends(format!(r#"{{"exp":{}}}"#, NOW - 10)), Err(TokenError::Expired));
    assert_eq!(ends(format!(r#"{{"expire_at":{}}}"#, NOW - 9)), Ok(Some(NOW + 1)));
    assert_eq!(ends(format!(r#"{{"nbf":{}}}"#, NOW + 10)), Ok(None));
    assert_eq!(ends(format!(r#"{{"nbf":{}}}"#, NOW + 11)), Err(TokenError::NotYet));
}

#[test]
fn a_token_may_be_of_one_device() {
    let claims = connect(r#"{"device":"phone"}"#).unwrap();
    assert_eq!(claims.device.as_deref(), Some("phone"));
    assert!(claims.is_of_device(None) && claims.is_of_device(Some("phone")));
    assert!(!claims.is_of_device(Some("laptop")));
    assert!(connect("{}").unwrap().is_of_device(Some("laptop")));
    let long = format!(r#"{{"device":"{}"}}"#, "d".repeat(129));
    for wrong in [r#"{"device":""}"#, r#"{"device":"a\nb"}"#, r#"{"device":1}"#, &long] {
        assert_eq!(wrong_claim(wrong), "device", "{wrong}");
    }
}

#[test]
fn audience_and_issuer_count_where_they_are_configured() {
    let rules = Rules {
        audience: Some("edge".to_owned()),
        issuer: Some("shop".to_owned()),
        ..Rules::default()
    };
    let verifier = Verifier::new(Keys::new(vec![Key::from_secret(SECRET)]), rules);
    let verify = |claims: &str| verifier.verify_connection(&signed(claims), NOW);
    for audience in [r#""edge""#, r#"["edge"]"#, r#"["other","edge"]"#] {
        let claims = format!(r#"{{"iss":"shop","aud":{audience}}}"#);
        assert!(verify(&claims).is_ok(), "{claims}");
    }
    for audience in [r#""Edge""#, r#""""#, "[]", r#"["edges"]"#] {
        let claims = format!(r#"{{"iss":"shop","aud":{audience}}}"#);
        assert_invalid(verify(&claims), Flaw::Audience);
    }
    assert_invalid(verify(r#"{"iss":"shop"}"#), Flaw::Audience);
    assert_invalid(verify(r#"{"aud":"edge"}"#), Flaw::Issuer);
    assert_invalid(verify(r#"{"aud":"edge","iss":"Shop"}"#), Flaw::Issuer);
    for audience in ["1", "null", r#"[1]"#, "{}"] {
        let claims = format!(r#"{{"iss":"shop","aud":{audience}}}"#);
        let expected = claim("aud", "a string or a list of strings");
        assert_invalid(verify(&claims), expected);
    }
    assert!(connect(r#"{"aud":"other","iss":"other"}"#).is_ok());
}

#[test]
fn claims_of_other_types_are_refused() {
    for (name, values) in [
        ("sub", &["1", "null", "[]", "{}", "true"][..]),
        ("exp", &[r#""1800000000""#, "null", "-1", "[]", "1e300", "9007199254740994"]),
        ("nbf", &[r#""1""#, "null", "-1"]),
        ("iat", &[r#""1""#, "null", "-1"]),
        ("expire_at", &[r#""1""#, "null", "-1"]),
        ("jti", &["1", "null"]),
        ("channels", &["1", "null", r#""news""#, "[1]", "{}", "[null]"]),
        (
            "subs",
            &[
                "1",
                "null",
                "[]",
                r#"{"a":1}"#,
                r#"{"a":null}"#,
                r#"{"a":[]}"#,
                r#"{"a":{},"a":{}}"#,
            ],
        ),
        ("b64info", &["1", "null", r#""!""#, r#""e3""#, r#""YWJj""#, r#""""#]),
        ("channel", &["1", "null"]),
    ] {
        for value in values {
            assert_eq!(wrong_claim(&format!(r#"{{"{name}":{value}}}"#)), name, "{value}");
        }
    }
    for value in
        ["1", "null", "[]", r#"{"presence":true}"#, r#"{"presence":[true]}"#, r#"{"presence":{}}"#]
    {
        let claims = format!(r#"{{"subs":{{"a":{{"override":{value}}}}}}}"#);
        assert_eq!(wrong_claim(&claims), "override");
    }
    for value in [r#"{"presence":{"value":1}}"#, r#"{"presence":{"value":null}}"#] {
        let claims = format!(r#"{{"channel":"a","override":{value}}}"#);
        let expected = claim("override", "options as {\"value\": true or false}");
        assert_invalid(subscribe(&claims), expected);
    }
}

#[test]
fn claims_stand_once() {
    for claims in [
        r#"{"sub":"1","sub":"2"}"#,
        r#"{"exp":1,"exp":1800000000}"#,
        r#"{"sub":"1","sub":"1"}"#,
        r#"{"a":1"#,
        "[]",
        r#"["42"]"#,
        "null",
        r#""text""#,
    ] {
        let result = match Signer::from_secret(SECRET).sign(claims.as_bytes()) {
            Ok(token) => verifier().verify_connection(&token, NOW),
            Err(_) => continue,
        };
        assert_invalid(result, Flaw::Claims);
    }
    assert_eq!(wrong_claim(r#"{"info":1,"b64info":"MQ=="}"#), "b64info");
    assert!(connect(r#"{"unknown":1,"unknown":2}"#).is_ok());
}

#[test]
fn channels_are_bounded() {
    let names = |count: usize| (0..count).map(|number| format!("c{number}")).collect::<Vec<_>>();
    let subs = |count: usize| {
        let entries = names(count).into_iter().map(|name| (name, json!({})));
        Value::Object(entries.collect())
    };
    assert!(connect(&json!({ "channels": names(128) }).to_string()).is_ok());
    assert!(connect(&json!({ "channels": names(28), "subs": subs(100) }).to_string()).is_ok());
    for claims in [
        json!({ "channels": names(129) }),
        json!({ "subs": subs(129) }),
        json!({ "channels": names(29), "subs": subs(100) }),
    ] {
        assert_invalid(connect(&claims.to_string()), Flaw::TooManyChannels);
    }
    assert_eq!(wrong_claim(&json!({ "subs": subs(300) }).to_string()), "subs");
    for name in [String::new(), "c".repeat(256)] {
        assert_invalid(connect(&json!({ "channels": [name] }).to_string()), Flaw::ChannelName);
        assert_invalid(connect(&json!({ "subs": { name: {} } }).to_string()), Flaw::ChannelName);
    }
    for user in ["u".repeat(255), "4\n2".to_owned(), "\u{85}".to_owned()] {
        assert_eq!(wrong_claim(&json!({ "sub": user }).to_string()), "sub");
    }
}

#[test]
fn json_is_on_one_line() {
    let found = connect("{\"info\": {\"a\":\r\n \"b\\nc\"}}").unwrap();
    assert_eq!(found.info.unwrap().as_str(), "{\"a\": \"b\\nc\"}");
    let encoded = base64::engine::general_purpose::STANDARD.encode("[1,\n2]");
    let found = connect(&json!({ "b64info": encoded }).to_string()).unwrap();
    assert_eq!(found.info.unwrap().as_str(), "[1,2]");
    assert_eq!(connect(r#"{"info":null}"#).unwrap().info.unwrap().as_str(), "null");
}

#[test]
fn revoked_users_and_devices_are_refused() {
    let keys = Keys::new(vec![Key::from_secret(SECRET)]);
    let authority = Authority::new(Verifier::new(keys, Rules::default()), Revocations::new(100));
    let token = signed(&format!(r#"{{"sub":"42","iat":{NOW}}}"#));
    let newer = signed(&format!(r#"{{"sub":"42","iat":{}}}"#, NOW + 1));
    let channel = signed(&format!(r#"{{"sub":"42","iat":{NOW},"channel":"a"}}"#));
    let undated = signed(r#"{"sub":"42"}"#);
    let connect = |token: &str, device| {
        authority.verify_connection(token, device, NOW).map(|claims| claims.user)
    };
    assert!(connect(&token, None).is_ok() && connect(&undated, None).is_ok());
    authority.revoke("42", Some("phone"), NOW);
    assert_eq!(connect(&token, Some("phone")), Err(TokenError::Revoked));
    assert!(connect(&token, Some("laptop")).is_ok());
    let bound = signed(&format!(r#"{{"sub":"42","iat":{NOW},"device":"phone"}}"#));
    for device in [None, Some("phone"), Some("laptop")] {
        assert_eq!(connect(&bound, device), Err(TokenError::Revoked));
    }
    authority.revoke("42", None, NOW);
    for token in [&token, &undated] {
        assert_eq!(connect(token, None), Err(TokenError::Revoked));
    }
    assert!(connect(&newer, Some("phone")).is_ok());
    let refused = authority.verify_subscription(&channel, None, NOW);
    assert_eq!(refused.unwrap_err(), TokenError::Revoked);
    assert_eq!(authority.sweep_revocations(NOW + 101), (0, 0));
    assert!(connect(&undated, None).is_ok());
}

#[test]
fn reasons_show_no_values() {
    for claims in [r#"{"sub":["hunter2"]}"#, r#"{"exp":"hunter2"}"#, r#"{"b64info":"hunter2"}"#] {
        let reason = connect(claims).unwrap_err().to_string();
        assert!(reason.starts_with("the token is invalid: claim "), "{reason}");
        assert!(!reason.contains("hunter2"), "{reason}");
    }
}
