//! The promise: `tidegate gentoken` makes tokens that `tidegate checktoken` and so the edge takes,
//! and both say what is missing or wrong without showing a secret.

#![allow(clippy::unwrap_used, reason = "a failed set-up fails its test")]

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

const SECRET: (&str, &str) = ("TIDEGATE_TOKEN__HMAC_SECRET", "hunter2-hunter2-hunter2-hunter2-");

fn key(name: &str) -> String {
    format!("{}/tests/keys/{name}.pem", env!("CARGO_MANIFEST_DIR"))
}

fn tidegate(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

#[track_caller]
fn success(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap().trim().to_owned()
}

#[track_caller]
fn failure(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn check(token: &str, set: &str, variables: &[(&str, &str)]) -> Output {
    tidegate(&["checktoken", token, "--set", set], variables)
}

const NOTHING: &str = "log.level=info";

#[test]
fn what_is_generated_is_taken() {
    let info = r#"{"name":"Ada"}"#;
    let claims = r#"{"channels":["news"],"jti":"t1"}"#;
    let line = ["gentoken", "--user", "42", "--ttl", "10m", "--info", info, "--claims", claims];
    let token = success(&tidegate(&line, &[SECRET]));
    let found: Value = serde_json::from_str(&success(&check(&token, NOTHING, &[SECRET]))).unwrap();
    assert_eq!(found["kind"], "connection");
    assert_eq!(found["user"], "42");
    assert_eq!((&found["id"], &found["channels"]), (&json!("t1"), &json!(["news"])));
    assert_eq!(found["info"], json!({ "name": "Ada" }));
    let life = found["expires_at"].as_u64().unwrap() - found["issued_at"].as_u64().unwrap();
    assert_eq!(life, 600);
    let line = ["gentoken", "--user", "42", "--ttl", "0s", "--channel", "news"];
    let token = success(&tidegate(&line, &[SECRET]));
    let found: Value = serde_json::from_str(&success(&check(&token, NOTHING, &[SECRET]))).unwrap();
    assert_eq!((&found["kind"], &found["channel"]), (&json!("subscription"), &json!("news")));
    assert_eq!(found["expires_at"], Value::Null);
}

#[test]
fn private_keys_sign_and_public_keys_verify() {
    for name in ["rsa", "p256", "p384", "ed25519"] {
        let private = key(&format!("{name}.private"));
        let line = ["gentoken", "--user", "42", "--private-key", &private, "--kid", "k"];
        let token = success(&tidegate(&line, &[]));
        let set = format!("token.public_keys=file:{}", key(&format!("{name}.public")));
        success(&check(&token, &set, &[]));
        let other = format!("token.public_keys=file:{}", key("another.public"));
        assert!(failure(&check(&token, &other, &[])).contains("the token is invalid"));
    }
}

#[test]
fn a_token_comes_from_standard_input() {
    let token = success(&tidegate(&["gentoken", "--user", ""], &[SECRET]));
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["checktoken", "-"])
        .env(SECRET.0, SECRET.1)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{token}").unwrap();
    assert!(success(&child.wait_with_output().unwrap()).contains(r#""user": """#));
}

#[test]
fn refusals_say_why_and_show_no_secret() {
    let expired = ["gentoken", "--user", "42", "--claims", r#"{"exp":1}"#];
    let expired = success(&tidegate(&expired, &[SECRET]));
    let other = (SECRET.0, "another secret of at least thirty-two bytes");
    for (output, reason) in [
        (check(&expired, NOTHING, &[SECRET]), "the token has expired"),
        (check(&expired, NOTHING, &[other]), "its signature is wrong"),
        (check(&expired, NOTHING, &[]), "no key for tokens is configured"),
        (check("hunter2", NOTHING, &[SECRET]), "not three parts of base64url"),
        (check(&expired, NOTHING, &[(SECRET.0, "hunter2")]), "token.hmac_secret: found one of 7"),
        (check(&expired, "token.jwks_url=http://127.0.0.1:1/", &[]), "the key set: "),
        (tidegate(&["gentoken", "--user", "1"], &[]), "there is no token.hmac_secret"),
    ] {
        let found = failure(&output);
        assert!(found.contains(reason), "{reason:?} is not in: {found}");
        assert!(!found.contains("hunter2"), "{found}");
    }
    for (name, reason) in
        [("rsa.public", "a public key, which cannot sign"), ("none", "No such file")]
    {
        let line = ["gentoken", "--user", "42", "--private-key", &key(name)];
        assert!(failure(&tidegate(&line, &[])).contains(reason));
    }
    for (flag, value) in [("--ttl", "10"), ("--info", "{"), ("--claims", "[]"), ("--kid", "k")] {
        let output = tidegate(&["gentoken", "--user", "42", flag, value], &[SECRET]);
        assert_eq!(output.status.code(), Some(2), "{flag}");
    }
}

#[test]
fn the_help_has_an_example() {
    let help = success(&tidegate(&["gentoken", "--help"], &[]));
    assert!(help.contains("tidegate gentoken --user 42 --channel news"), "{help}");
}
