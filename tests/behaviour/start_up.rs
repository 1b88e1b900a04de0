//! The promise: an edge that cannot serve says so at once, with the option to change.

use crate::harness::{Edge, run};

#[track_caller]
fn fails(arguments: &[&str], options: &[&str], words: &[&str]) {
    let output = run(arguments, options);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

const FREE: [&str; 3] =
    ["public.address=127.0.0.1:0", "internal.address=127.0.0.1:0", "ingest.endpoints=[]"];

#[test]
fn an_internal_address_in_use() {
    let edge = Edge::start();
    let taken = format!("internal.address={}", edge.internal);
    fails(
        &["serve"],
        &["public.address=127.0.0.1:0", &taken, "ingest.endpoints=[]"],
        &["internal.address", "cannot listen on", "ss -ltnp"],
    );
}

#[test]
fn a_zeromq_address_in_use() {
    let edge = Edge::start();
    let endpoint = edge.endpoint(1);
    let taken = format!(r#"ingest.endpoints=[{{kind="pull",endpoint="{endpoint}"}}]"#);
    fails(&["serve"], &[FREE[0], FREE[1], &taken], &[endpoint]);
}

#[test]
fn a_public_address_in_use() {
    // A plain listener, as another program would have.
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("public.address={}", other.local_addr().unwrap());
    fails(&["serve"], &[&taken, FREE[1], FREE[2]], &["public.address", "cannot listen on"]);
}

#[test]
fn options_that_do_not_exist_or_fit() {
    fails(&["serve"], &["slow.lag_byte_max=1MiB"], &["slow.lag_byte_max", "slow.lag_bytes_max"]);
    fails(&["serve"], &["slow.age_max=5"], &["slow.age_max", "25s"]);
    fails(&["serve", "--config", "/nowhere/tidegate.toml"], &[], &["/nowhere/tidegate.toml"]);
}

#[test]
fn doors_to_the_outside_must_be_opened_knowingly() {
    let [_, internal, none] = FREE;
    fails(
        &["serve"],
        &["public.address=0.0.0.0:0", internal, none],
        &["public.address", "not a loopback address", "public.allow_anonymous = true"],
    );
    fails(
        &["serve"],
        &[FREE[0], "internal.address=0.0.0.0:0", none],
        &["internal.address", "internal.allow_remote = true"],
    );
    fails(
        &["serve"],
        &[FREE[0], internal, r#"ingest.endpoints=[{kind="pull",endpoint="tcp://*:*"}]"#],
        &["ingest.endpoints[0]", "CURVE", "ingest.allow_remote_plaintext = true"],
    );
    fails(&["serve", "--dev"], &["public.address=0.0.0.0:0", internal, none], &["--dev"]);
}
