//! The promise: whoever copies a configuration from the documents gets what it says and no more. An
//! edge is started with each of them, and a client that shows no token tries what it must not.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::harness::{Client, Edge, Managed};

/// A directory with a configuration and the files that it names.
struct Example(PathBuf);

impl Drop for Example {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Every configuration below a path: whole files, and blocks of documents.
fn configurations(path: &Path) -> Vec<String> {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        return entries.flat_map(|path| configurations(&path)).collect();
    }
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => vec![std::fs::read_to_string(path).unwrap()],
        Some("md") => {
            let text = std::fs::read_to_string(path).unwrap();
            let blocks = text.split("```toml\n").skip(1);
            blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
        }
        _ => Vec::new(),
    }
}

/// The content of a file that a configuration names.
fn content(name: &str) -> String {
    let curve = zmq::CurveKeyPair::new().unwrap();
    match Path::new(name).extension().and_then(|extension| extension.to_str()) {
        Some("pem") => {
            let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys");
            std::fs::read_to_string(keys.join("ed25519.public.pem")).unwrap()
        }
        Some("public") => zmq::z85_encode(&curve.public_key).unwrap(),
        // A secret key of CURVE is a good secret of tokens too.
        _ => zmq::z85_encode(&curve.secret_key).unwrap(),
    }
}

impl Example {
    fn write(number: usize, block: &str) -> Self {
        let name = format!("tidegate-example-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        // Files that a service manager hands over lie beside the configuration here.
        let block = block.replace("$CREDENTIALS_DIRECTORY/", "");
        for name in block.split("\"file:").skip(1) {
            let name = name.split('"').next().unwrap();
            std::fs::write(directory.join(name), content(name)).unwrap();
        }
        // Nobody is asked for keys.
        let block = block.replace("https://id.example.org", "http://127.0.0.1:1");
        std::fs::write(directory.join("tidegate.toml"), block).unwrap();
        Self(directory)
    }
}

/// Who may do something in the channels of a section; `default` if it does not say.
fn permission(rules: &toml::Table, key: &str, default: &str) -> String {
    rules.get(key).map_or(default, |value| value.as_str().unwrap()).to_owned()
}

/// A client without a token gets from a channel what the example says, and no more.
fn attack(edge: &Edge, channel: &str, rules: &toml::Table) {
    let client = Managed::connect(edge);
    let on = json!({ "channel": channel });
    let subscribe = permission(rules, "subscribe", "everybody");
    let is_allowed = |key: &str, default: &str| permission(rules, key, default) == "everybody";
    let code = |method: &str, request: serde_json::Value| {
        client.ask(method, request)["error"]["code"].as_u64().unwrap_or(0)
    };
    edge.publish(channel, "secret");
    for (key, methods) in
        [("read_history", &["history"][..]), ("read_presence", &["presence", "presence_stats"])]
    {
        for method in methods {
            let found = code(method, on.clone());
            let is_off = found == 108;
            assert_eq!(
                found == 0 || is_off,
                is_allowed(key, &subscribe) || is_off,
                "{method} of {channel}: {found}"
            );
        }
    }
    let published = json!({ "channel": channel, "data": 1 });
    assert_eq!(code("publish", published.clone()) == 0, is_allowed("publish", "nobody"));
    assert_eq!(code("subscribe", on) == 0, subscribe == "everybody", "subscribe to {channel}");
    assert_eq!(code("publish", published) == 0, is_allowed("publish", "nobody"));
    let path = format!("/websocket?channels={channel}");
    assert_eq!(Client::try_open(edge.public, &path).is_ok(), subscribe == "everybody", "{path}");
}

#[test]
fn configurations_of_the_documents_let_nobody_do_more_than_they_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = ["README.md", "docs", "examples"].map(|place| root.join(place));
    let blocks: Vec<_> = places.iter().flat_map(|place| configurations(place)).collect();
    assert!(blocks.len() >= 4, "{} configurations", blocks.len());
    for (number, block) in blocks.iter().enumerate() {
        let example = Example::write(number, block);
        let edge = Edge::of_file(&example.0.join("tidegate.toml"));
        let table: toml::Table = block.parse().unwrap();
        let section = |name: &str| table.get(name).and_then(toml::Value::as_table);
        attack(&edge, "lobby", &section("channels").cloned().unwrap_or_default());
        for (name, rules) in section("namespaces").into_iter().flatten() {
            attack(&edge, &format!("{name}:lobby"), rules.as_table().unwrap());
        }
        if section("token").is_some() {
            let refused = Client::try_open(edge.public, "/websocket/42").map(drop);
            assert_eq!(refused.unwrap_err(), "401", "{block}");
        }
    }
}
