//! The promise: the key set of the configuration follows its server. New keys count soon after a
//! token names them, withdrawn keys stop counting, and whatever the server does wrong changes
//! nothing but the counters.

#![allow(clippy::unwrap_used, reason = "a failed set-up fails its test")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jsonwebtoken::EncodingKey;
use jsonwebtoken::jwk::Jwk;
use serde_json::{Value, json};
use tidegate::config;
use tidegate::keys::{self, Keeper, LoadError, Timing};
use tidegate::limits::KEY_SET_BYTES_MAX;
use tidegate::metrics::TokenMetrics;
use tidegate::token::{Authority, Signer, TokenError};

const P256: &str = include_str!("keys/p256.private.pem");
const P384: &str = include_str!("keys/p384.private.pem");
const NOW: u64 = 1_700_000_000;
const PATIENCE: Duration = Duration::from_secs(20);

/// A web server on a free port that gives everybody the same answer, which can be changed. It ends
/// with the test's process.
struct Provider {
    answer: Arc<Mutex<Vec<u8>>>,
    requests: Arc<Mutex<Vec<String>>>,
    address: String,
}

impl Provider {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/jwks.json?a=b", listener.local_addr().unwrap());
        let answer = Arc::new(Mutex::new(Vec::new()));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let provider = Self { answer, requests, address };
        let (answer, requests) = (Arc::clone(&provider.answer), Arc::clone(&provider.requests));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let mut reader = BufReader::new(&stream);
                let mut head = String::new();
                while reader.read_line(&mut head).is_ok_and(|count| count > 2) {}
                requests.lock().unwrap().push(head);
                let answer = answer.lock().unwrap().clone();
                // The client may end the connection when it has read enough.
                let _ = (&stream).write_all(&answer);
            }
        });
        provider
    }

    fn answer(&self, head: &str, body: &str) {
        let text = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n{body}");
        *self.answer.lock().unwrap() = text.into_bytes();
    }

    fn publish(&self, set: &Value) {
        self.answer("200 OK", &set.to_string());
    }

    fn request_count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

fn jwk(name: &str, private: &str, algorithm: &str) -> Value {
    let key = EncodingKey::from_ec_pem(private.as_bytes()).unwrap();
    let jwk = Jwk::from_encoding_key(&key, algorithm.parse().unwrap()).unwrap();
    let mut jwk = serde_json::to_value(jwk).unwrap();
    jwk["kid"] = json!(name);
    jwk
}

fn token(name: &str, private: &str) -> String {
    let signer = Signer::from_pem(private).unwrap().with_name(name.to_owned());
    signer.sign(br#"{"sub":"42"}"#).unwrap()
}

fn keeper(provider: &Provider, refresh: Duration, timing: Timing) -> Keeper {
    let jwks_url = Some(provider.address.clone());
    let config = config::Token { jwks_url, jwks_refresh: refresh, ..config::Token::default() };
    keys::open(&config, timing).unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Runs a keeper while the body runs.
fn with_running(keeper: Keeper, body: impl FnOnce(&Authority, &TokenMetrics)) {
    let (authority, metrics) = (keeper.authority(), keeper.metrics());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            runtime().block_on(async {
                tokio::select! {
                    () = keeper.run() => {}
                    _ = stopped => {}
                }
            });
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            body(&authority, &metrics);
        }));
        drop(stop);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
}

#[track_caller]
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

const QUICK: Timing =
    Timing { tick: Duration::from_millis(5), pause: Duration::from_millis(10), load: PATIENCE };
const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn an_unknown_key_is_fetched_and_a_withdrawn_one_forgotten() {
    let provider = Provider::start();
    provider.publish(&json!({ "keys": [jwk("old", P256, "ES256")] }));
    with_running(keeper(&provider, HOUR, QUICK), |authority, metrics| {
        let (old, new) = (token("old", P256), token("new", P384));
        let verify = |token: &str| authority.verify_connection(token, None, NOW);
        eventually("the first fetch", || verify(&old).is_ok());
        assert_eq!(verify(&new).unwrap_err(), TokenError::UnknownKey);
        let both = [jwk("old", P256, "ES256"), jwk("new", P384, "ES384")];
        provider.publish(&json!({ "keys": both }));
        eventually("the fetch of a new key", || verify(&new).is_ok());
        assert!(verify(&old).is_ok());
        assert_eq!(metrics.keys.value(), 2);
        provider.publish(&json!({ "keys": [jwk("new", P384, "ES384")] }));
        let forgotten = || {
            let _asks_for_a_fetch = verify(&token("made up", P256));
            verify(&old) == Err(TokenError::UnknownKey)
        };
        eventually("the withdrawal of the old key", forgotten);
        assert!(verify(&new).is_ok());
        let head = provider.requests.lock().unwrap()[0].clone();
        assert!(head.starts_with("GET /jwks.json?a=b HTTP/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("user-agent: tidegate/{}", env!("CARGO_PKG_VERSION"))));
        assert!(metrics.set_time.value() > 1_700_000_000 && metrics.sets_failed.value() == 0);
    });
}

#[test]
fn a_set_is_refreshed_by_itself() {
    let provider = Provider::start();
    provider.publish(&json!({ "keys": [] }));
    with_running(keeper(&provider, Duration::from_millis(50), QUICK), |_, metrics| {
        eventually("an empty set", || metrics.sets_loaded.value() > 0);
        provider.publish(&json!({ "keys": [jwk("a", P256, "ES256")] }));
        eventually("the refresh", || metrics.keys.value() == 1);
    });
}

#[test]
fn failures_leave_the_keys_and_are_counted() {
    let provider = Provider::start();
    provider.publish(&json!({ "keys": [jwk("a", P256, "ES256")] }));
    let refresh = Duration::from_millis(20);
    with_running(keeper(&provider, refresh, QUICK), |authority, metrics| {
        let token = token("a", P256);
        eventually("the first fetch", || metrics.sets_loaded.value() > 0);
        for (head, body) in [("500 Oops", ""), ("200 OK", "[]"), ("302 Found", ""), ("", "")] {
            let failures = metrics.sets_failed.value();
            provider.answer(head, body);
            eventually("a failure", || metrics.sets_failed.value() > failures + 1);
            assert!(authority.verify_connection(&token, None, NOW).is_ok());
        }
        let loads = metrics.sets_loaded.value();
        provider.publish(&json!({ "keys": [] }));
        eventually("the recovery", || metrics.sets_loaded.value() > loads);
    });
}

#[test]
fn made_up_names_cannot_cause_a_flood_of_requests() {
    let provider = Provider::start();
    provider.publish(&json!({ "keys": [] }));
    let timing = Timing { pause: HOUR, ..QUICK };
    with_running(keeper(&provider, 2 * HOUR, timing), |authority, metrics| {
        eventually("the first fetch", || metrics.sets_loaded.value() > 0);
        for number in 0..100 {
            let token = token(&format!("made up {number}"), P256);
            let result = authority.verify_connection(&token, None, NOW);
            assert_eq!(result.unwrap_err(), TokenError::UnknownKey);
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(provider.request_count(), 1);
    });
}

#[test]
fn wrong_answers_are_told_apart() {
    let provider = Provider::start();
    let keeper = keeper(&provider, HOUR, QUICK);
    let load = || runtime().block_on(keeper.load()).unwrap_err();
    provider.answer("404 Not Found", "{\"keys\":[]}");
    assert!(matches!(load(), LoadError::Status(404)));
    provider.answer("301 Moved\r\nLocation: http://127.0.0.1:1/", "");
    assert!(matches!(load(), LoadError::Status(301)), "redirects are not followed");
    provider.answer("200 OK", &" ".repeat(KEY_SET_BYTES_MAX + 1));
    assert!(matches!(load(), LoadError::TooLong));
    provider.answer("200 OK", "<html>");
    assert!(matches!(load(), LoadError::Set(_)));
    provider.answer("200 OK\r\nContent-Length: 100", "{");
    assert!(matches!(load(), LoadError::Fetch(_)));
    provider.answer("not HTTP", "");
    assert!(matches!(load(), LoadError::Fetch(_)));
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let config = config::Token { jwks_url: Some(address), ..config::Token::default() };
    let timing = Timing { load: Duration::from_millis(50), ..QUICK };
    let keeper = keys::open(&config, timing).unwrap();
    let error = runtime().block_on(keeper.load()).unwrap_err();
    assert!(matches!(error, LoadError::Timeout), "{error}");
    drop(listener);
    let error = runtime().block_on(keeper.load()).unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
}

#[test]
fn a_file_is_read_again() {
    let name = format!("tidegate-jwks-{}.json", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, json!({ "keys": [jwk("old", P256, "ES256")] }).to_string()).unwrap();
    let jwks_file = Some(path.clone());
    let config = config::Token { jwks_file, jwks_refresh: HOUR, ..config::Token::default() };
    let keeper = keys::open(&config, QUICK).unwrap();
    let verify = |authority: &Authority, token: &str| authority.verify_connection(token, None, NOW);
    assert!(verify(&keeper.authority(), &token("old", P256)).is_ok(), "it counts from the start");
    std::fs::write(&path, json!({ "keys": [jwk("new", P384, "ES384")] }).to_string()).unwrap();
    with_running(keeper, |authority, metrics| {
        eventually("the new key", || verify(authority, &token("new", P384)).is_ok());
        std::fs::remove_file(&path).unwrap();
        let failed = || {
            let _asks_for_a_load = verify(authority, &token("made up", P256));
            metrics.sets_failed.value() > 0
        };
        eventually("the failure", failed);
        assert!(verify(authority, &token("new", P384)).is_ok());
    });
    let error = keys::open(&config, QUICK).unwrap_err().to_string();
    assert!(error.starts_with("token.jwks_file: ") && error.contains("No such file"), "{error}");
}
