//! Every kind of mistake, every key, and bytes that nobody would write.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;

use super::group::{Group, Rendered};
use super::*;
use crate::model::{Namespace, Permission};

const KEY: &str = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID";

/// A file that is removed with the value.
struct TempFile(PathBuf);

impl TempFile {
    fn new(bytes: &[u8]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("tidegate-config-{}-{number}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, bytes).unwrap();
        Self(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn load_bytes(bytes: &[u8]) -> Result<Config, Errors> {
    let file = TempFile::new(bytes);
    Config::load(&Sources { file: Some(file.0.clone()), ..Sources::default() })
}

fn load(text: &str) -> Result<Config, Errors> {
    load_bytes(text.as_bytes())
}

/// The mistakes as text, one per line, without the name of the temporary file.
fn mistakes(text: &str) -> String {
    shown(&load(text).unwrap_err())
}

fn shown(errors: &Errors) -> String {
    let directory = format!("{}/", std::env::temp_dir().display());
    let lines = errors.to_string();
    let lines = lines.lines().map(|line| match line.strip_prefix(&directory) {
        Some(rest) => rest.split_once(':').map_or(rest, |(_, rest)| rest).to_owned(),
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn setting(key: &str, value: &str) -> Setting {
    Setting { flag: format!("--set {key}"), key: key.to_owned(), value: value.to_owned() }
}

fn variable(name: &str, value: &str) -> (OsString, OsString) {
    (name.into(), value.into())
}

#[test]
fn nothing_set_is_the_default() {
    assert_eq!(Config::load(&Sources::default()).unwrap(), Config::default());
    assert_eq!(load("").unwrap(), Config::default());
}

#[test]
fn the_printed_template_is_the_default() {
    assert_eq!(load(&template()).unwrap(), Config::default());
}

#[test]
fn the_template_has_every_option_with_its_documentation() {
    let template = template();
    for (section, about, options) in Config::default().describe() {
        assert!(template.contains(&format!("\n[{section}]\n")), "{section}");
        assert!(template.contains(&format!("#{}", about.lines().next().unwrap())), "{section}");
        for option in options {
            for line in option.doc.lines() {
                assert!(template.contains(&format!("#{line}\n")), "{section}.{}", option.key);
            }
            let line = match &option.value {
                Rendered::Inline(value) => format!("\n{} = {value}\n", option.key),
                Rendered::Absent => format!("\n# {} = \"\"\n", option.key),
                _ => format!("\n[[{section}.{}]]\n", option.key),
            };
            assert!(template.contains(&line), "{line}");
        }
    }
    assert!(template.lines().all(|line| line.chars().count() <= 100));
}

#[test]
fn a_later_source_wins() {
    let file = TempFile::new(b"[shards]\ncount = 2\n[drain]\nwindow = '1s'\n[log]\nlevel = 'warn'");
    let config = Config::load(&Sources {
        file: Some(file.0.clone()),
        variables: vec![
            variable("TIDEGATE_SHARDS__COUNT", "3"),
            variable("TIDEGATE_DRAIN__WINDOW", "2s"),
            variable("TIDEGATE_PORT", "tcp://10.0.0.1:8000"),
            variable("TIDEGATE_CONFIG", "elsewhere.toml"),
            variable("PATH", "/bin"),
        ],
        settings: vec![setting("shards.count", "4"), setting("shards.count", "5")],
        dev: false,
    })
    .unwrap();
    assert_eq!(config.shards.count, 5);
    assert_eq!(config.drain.window.as_secs(), 2);
    assert_eq!(config.log.level, LogLevel::Warn);
}

#[test]
fn all_mistakes_of_all_sources_are_reported_with_their_place() {
    let file = TempFile::new(b"[shards]\ncuont = 2\n\n[websocket]\nmessage_bytes_max = '64KB'\n");
    let errors = Config::load(&Sources {
        file: Some(file.0.clone()),
        variables: vec![
            variable("TIDEGATE_SHARDS__COUNT", "300"),
            variable("TIDEGATE_LOG_LEVEL", "info"),
            ("TIDEGATE_LOG__LEVEL".into(), OsString::from_vec(vec![0xff])),
        ],
        settings: vec![setting("drain.windw", "1s"), setting("nonsense", "1")],
        dev: false,
    })
    .unwrap_err();
    assert_eq!(
        shown(&errors),
        "2: unknown option shards.cuont; did you mean shards.count?\n\
         5: websocket.message_bytes_max: found \"64KB\", expected a size in B, KiB, MiB or GiB \
         such as \"64KiB\"\n\
         variable TIDEGATE_SHARDS__COUNT: shards.count: found 300, expected a whole number, 0 to \
         253\n\
         variable TIDEGATE_LOG_LEVEL: unknown option log_level; did you mean \
         TIDEGATE_LOG__LEVEL?\n\
         variable TIDEGATE_LOG__LEVEL: log.level: found bytes that are not UTF-8, expected text\n\
         flag --set drain.windw: unknown option drain.windw; did you mean drain.window?\n\
         flag --set nonsense: unknown option nonsense; `tidegate default-config` lists all options"
    );
}

#[test]
fn unknown_sections_are_named() {
    assert_eq!(mistakes("[pubic]\necho = true"), "1: unknown option pubic; did you mean public?");
    assert_eq!(
        mistakes("allowed_origins = []"),
        "1: unknown option allowed_origins; did you mean public.allowed_origins?"
    );
    assert_eq!(mistakes("public = 5"), "1: public: found an integer, expected a table of options");
    assert!(mistakes("dev = true").starts_with("1: unknown option dev"));
}

#[test]
fn every_syntax_error_has_its_line() {
    let found = mistakes("[log]\nlevel = \n\n[drain]\nwindow = = 3\n");
    assert!(found.contains("2: not valid TOML: "), "{found}");
    assert!(found.contains("5: not valid TOML: "), "{found}");
    let Errors(errors) = load_bytes(b"[log]\n# \xff").unwrap_err();
    assert!(errors[0].to_string().ends_with(":2: not valid TOML: not UTF-8 from here on"));
}

#[test]
fn floods_and_towers_are_cut_short() {
    let found = mistakes(&"k = 1\n".repeat(1000));
    assert!(found.lines().count() <= 101, "{found}");
    let found = mistakes(&"[[ingest.endpoints]]\n".repeat(257));
    assert!(found.contains("found a list of 257, expected at most 256 endpoints"), "{found}");
    for tower in ["a = ".to_owned() + &"[".repeat(100_000), vec!["a"; 100_000].join(".") + " = 1"] {
        assert!(mistakes(&tower).contains("recurs"));
    }
}

#[test]
fn unreadable_files_are_named() {
    for (path, reason) in [("/nowhere/t.toml", "No such file"), ("/dev/zero", "longer than")] {
        let sources = Sources { file: Some(path.into()), ..Sources::default() };
        let found = Config::load(&sources).unwrap_err().to_string();
        assert!(found.starts_with(path) && found.contains(reason), "{found}");
    }
}

/// Values that no option takes: a wrong type for all, and one wrong form for each type.
#[test]
fn every_key_names_itself_when_its_value_is_wrong() {
    let wrong = ["1979-05-27", "-1", "{ a = 1 }", "'no such value'", "[[1]]", "1e9999"];
    for key in Config::keys() {
        let (section, name) = key.split_once('.').unwrap();
        for value in wrong {
            let found = mistakes(&format!("[{section}]\n{name} = {value}"));
            assert!(found.contains(&format!("2: {key}")), "{key} = {value}: {found}");
            assert!(found.contains("expected"), "{key} = {value}: {found}");
        }
    }
}

#[test]
fn every_key_of_an_endpoint_names_itself_when_its_value_is_wrong() {
    let wrong = ["1979-05-27", "-1", "{ a = 1 }", "'no such value'", "[[1]]"];
    for (table, keys) in [("", Endpoint::KEYS), (".curve", Curve::KEYS)] {
        for (key, value) in keys.iter().flat_map(|key| wrong.map(|value| (key, value))) {
            if *key == "curve" && value.starts_with('{') {
                continue;
            }
            let open = format!("[[ingest.endpoints]]\n[ingest.endpoints{table}]\n");
            let open = if table.is_empty() { "[[ingest.endpoints]]\n\n" } else { &open };
            let found = mistakes(&format!("{open}{key} = {value}"));
            let name = format!("3: ingest.endpoints[0]{table}.{key}");
            assert!(found.contains(&name), "{key} = {value}: {found}");
        }
    }
}

#[test]
fn every_limit_is_kept() {
    for (key, outside) in [
        ("shards.count", "257"),
        ("public.backlog", "0"),
        ("handshake.deadline", "'99ms'"),
        ("handshake.deadline", "'2h'"),
        ("websocket.message_bytes_max", "'124B'"),
        ("websocket.message_bytes_max", "'2GiB'"),
        ("heartbeat.ping_interval", "'999ms'"),
        ("sessions.per_user_max", "0"),
        ("links.capacity", "15"),
        ("drain.close_code", "1000"),
        ("channels.history_size", "100001"),
        ("personal.history_ttl", "'999ms'"),
        ("namespaces.chat.history_ttl", "'0s'"),
        ("client.channels_max", "0"),
        ("history.memory_max", "'1023KiB'"),
    ] {
        let found = mistakes(&format!("{key} = {outside}"));
        assert!(found.starts_with(&format!("1: {key}: found ")), "{found}");
    }
}

#[test]
fn namespaces_come_from_every_source() {
    let file = TempFile::new(
        b"[namespaces.chat]\nhistory_size = 9\npresence = true\n\
          [namespaces.'a.b']\nsubscribe = 'token'\n\
          [channels]\nhistory_size = 5",
    );
    let config = Config::load(&Sources {
        file: Some(file.0.clone()),
        variables: vec![
            variable("TIDEGATE_NAMESPACES__CHAT__HISTORY_SIZE", "10"),
            variable("TIDEGATE_NAMESPACES__GAME", "{ publish = 'everybody' }"),
        ],
        settings: vec![
            setting("namespaces.chat.history_ttl", "1h"),
            setting("namespaces.a.b.recovery", "false"),
            setting("namespaces.Empty", "{}"),
        ],
        dev: false,
    })
    .unwrap();
    let rules = &config.namespaces.0;
    assert_eq!(rules.keys().collect::<Vec<_>>(), ["Empty", "a.b", "chat", "game"]);
    let chat =
        Namespace { history_size: 10, presence: true, history_ttl: 3600, ..Namespace::default() };
    assert_eq!(rules["chat"], chat);
    let dotted =
        Namespace { subscribe: Permission::Token, recovery: false, ..Namespace::default() };
    assert_eq!(rules["a.b"], dotted);
    assert_eq!(rules["game"].publish, Permission::Everybody);
    // Nothing is inherited.
    assert_eq!((config.channels.history_size, rules["Empty"].history_size), (5, 0));
}

#[test]
fn mistakes_in_namespaces_are_named() {
    let name = "expected a name of 1 to 64 letters, digits, _, - and .";
    let long = "n".repeat(65);
    for (text, found) in [
        (
            "[namespaces.'a b']".to_owned(),
            format!("namespaces.a b: found the name \"a b\", {name}"),
        ),
        ("[namespaces.'']".to_owned(), format!("namespaces.: found the name \"\", {name}")),
        ("[namespaces.'\u{e9}']".to_owned(), format!("found the name \"\u{e9}\", {name}")),
        (format!("[namespaces.{long}]"), format!("found the name \"{long}\", {name}")),
        (
            "namespaces.chat = 5".to_owned(),
            "namespaces.chat: found an integer, expected".to_owned(),
        ),
        (
            "[namespaces.chat]\nhistroy_size = 1".to_owned(),
            "2: unknown option namespaces.chat.histroy_size; did you mean \
             namespaces.chat.history_size?"
                .to_owned(),
        ),
        (
            "namespaces.chat.subscribe = 'all'".to_owned(),
            "found \"all\", expected \"nobody\", \"token\" or \"everybody\"".to_owned(),
        ),
        (
            "[namespace.chat]".to_owned(),
            "unknown option namespace; did you mean namespaces?".to_owned(),
        ),
    ] {
        let shown = mistakes(&text);
        assert!(shown.contains(&found), "{text}: {shown}");
        assert_eq!(shown.lines().count(), 1, "{shown}");
    }
    for (key, value, found) in [
        ("namespaces.chat.histroy_size", "1", "did you mean namespaces.chat.history_size?"),
        ("namespaces.chat", "5", "expected a table of options"),
        ("namespaces..history_size", "5", name),
    ] {
        let settings = vec![setting(key, value)];
        let error = Config::load(&Sources { settings, ..Sources::default() }).unwrap_err();
        assert!(error.to_string().contains(found), "{error}");
    }
}

#[test]
fn rules_without_effect_are_refused() {
    for section in ["channels", "personal", "namespaces.chat"] {
        for (rule, key, remedy) in [
            ("history_ttl = '1h'", "history_ttl: there is no history", "history_size"),
            ("read_history = 'token'", "read_history: there is no history", "history_size"),
            ("read_presence = 'token'", "read_presence: there is no presence", "presence = true"),
        ] {
            let found = mistakes(&format!("[{section}]\n{rule}"));
            let expected = format!("2: {section}.{key}; set {section}.{remedy}, or remove it");
            assert_eq!(found, expected);
            let ready = format!("[{section}]\nhistory_size = 1\npresence = true\n{rule}");
            assert!(load(&ready).is_ok(), "{ready}");
        }
    }
}

#[test]
fn sizes_lists_and_addresses_have_all_their_forms() {
    let config = load(
        "websocket.message_bytes_max = 1000\nlinks.capacity = 1000\n\
         [public]\naddress = '[::1]:80'\nallowed_origins = ['https://Example.org:8443', 'null']",
    )
    .unwrap();
    assert_eq!(config.websocket.message_bytes_max, 1000);
    assert_eq!(config.links.capacity, 1024);
    assert_eq!(config.public.address.to_string(), "[::1]:80");
    assert_eq!(config.public.allowed_origins, ["https://example.org:8443", "null"]);
    assert!(mistakes("public.allowed_origins = ['example.org']").contains("https://example.org"));
    let settings = vec![
        setting("public.allowed_origins", "https://a.org, https://*.b.org"),
        setting("public.address", "[::1]:81"),
        setting("ingest.endpoints", "[{kind='pull', endpoint='ipc:///run/t'}]"),
    ];
    let config = Config::load(&Sources { settings, ..Sources::default() }).unwrap();
    assert_eq!(config.public.allowed_origins, ["https://a.org", "https://*.b.org"]);
    assert_eq!(config.ingest.endpoints[0].kind, SocketKind::Pull);
}

#[test]
fn doors_to_the_world_need_a_second_option() {
    for (open, key, option) in [
        ("public.address = '0.0.0.0:80'", "public.address", "public.allow_anonymous"),
        (
            "api.key = '0123456789abcdef'\ninternal.address = '[::]:90'",
            "internal.address",
            "internal.allow_remote",
        ),
        (
            "[[ingest.endpoints]]\nkind = 'sub'\nendpoint = 'tcp://*:5562'\n[ingest]",
            "ingest.endpoints[0].endpoint",
            "ingest.allow_remote_plaintext",
        ),
    ] {
        let open = open.trim_end_matches("\n[ingest]");
        let found = mistakes(open);
        assert!(found.contains(&format!(": {key}: ")), "{found}");
        assert!(found.contains(&format!("set {option} = true")), "{found}");
        let allowed = load(&format!("{option} = true\n{open}").replace(
            "ingest.allow_remote_plaintext = true",
            "[ingest]\nallow_remote_plaintext = true",
        ));
        assert!(allowed.is_ok(), "{allowed:?}");
    }
    assert!(load("[[ingest.endpoints]]\nkind='sub'\nendpoint='tcp://x:1'\nmode='connect'").is_ok());
    let asks = "public.address = '0.0.0.0:80'\n\
                token.hmac_secret = 'a secret of at least thirty-two bytes'";
    assert!(load(asks).is_ok(), "who connects proves who it is");
    assert!(load(&format!("{asks}\nclient.insecure = true")).is_err());
}

#[test]
fn the_api_needs_a_key_or_the_same_host() {
    let found = mistakes("[internal]\naddress = '[::]:90'\nallow_remote = true");
    assert!(found.contains(": internal.address: ") && found.contains("set api.key"), "{found}");
    let key = "0123456789abcdef";
    let config = load(&format!(
        "internal = {{ address = '[::]:90', allow_remote = true }}\napi.key = '{key}'"
    ));
    assert_eq!(config.unwrap().api.key[0].as_bytes(), key.as_bytes());
    let two = load(&format!("api.key = ['{key}', 'another key of ours']"));
    assert!(two.is_err(), "a key has no spaces");
    let two = load(&format!("api.key = ['{key}', 'another-key-of-ours']")).unwrap();
    assert_eq!(two.api.key[1].as_bytes(), b"another-key-of-ours");
    assert!(mistakes("api.key = ['hunter2']").contains("api.key[0]: found a string"));
    // A key that cannot be used is one mistake and not two, and is not shown.
    let found = mistakes(
        "internal = { address = '[::]:90', allow_remote = true }\napi.key = 'hunter2hunter2'",
    );
    assert!(found.contains("api.key: found a string of another form"), "{found}");
    assert!(!found.contains("set api.key") && !found.contains("hunter2"), "{found}");
    assert!(load("api.insecure = true").unwrap().api.insecure);
    for (wrong, reason) in [
        ("internal = { address = '[::]:90', allow_remote = true }", "not a loopback address"),
        ("api.key = '0123456789abcdef'", "makes api.key useless"),
    ] {
        let found = mistakes(&format!("{wrong}\napi.insecure = true"));
        assert!(found.contains("api.insecure: ") && found.contains(reason), "{found}");
    }
    let settings = vec![setting("api.key", key)];
    let dev = Config::load(&Sources { dev: true, settings, ..Sources::default() }).unwrap();
    assert!(!dev.api.insecure && !format!("{dev:?}").contains(key));
    assert!(Config::load(&Sources { dev: true, ..Sources::default() }).unwrap().api.insecure);
}

#[test]
fn dev_opens_everything_and_only_on_loopback() {
    let dev = Config::load(&Sources { dev: true, ..Sources::default() }).unwrap();
    assert!(dev.dev && dev.public.echo);
    assert_eq!(dev.public.allowed_origins, ["*"]);
    assert!(dev.channels.history_size > 0 && dev.channels.presence);
    assert!(dev.personal.history_size > 0 && dev.personal.presence);
    let settings = vec![setting("channels.history_size", "0"), setting("public.echo", "false")];
    let set = Config::load(&Sources { dev: true, settings, ..Sources::default() }).unwrap();
    assert!(set.channels.history_size == 0 && set.channels.presence && !set.public.echo);
    assert!(dev.drain.delay.is_zero() && !Config::default().drain.delay.is_zero());
    let settings = vec![setting("drain.delay", "3s")];
    let slow = Config::load(&Sources { dev: true, settings, ..Sources::default() }).unwrap();
    assert_eq!(slow.drain.delay.as_secs(), 3, "who writes it means it");
    let settings =
        vec![setting("public.address", "0.0.0.0:1"), setting("public.allow_anonymous", "true")];
    let error = Config::load(&Sources { dev: true, settings, ..Sources::default() }).unwrap_err();
    assert!(error.to_string().contains("--dev"), "{error}");
}

#[test]
fn contradictions_are_refused() {
    let endpoint = "[[ingest.endpoints]]\nendpoint = 'tcp://127.0.0.1:1'\n";
    for (text, reason) in [
        ("internal.address = '127.0.0.1:8000'".to_owned(), "public.address is the same"),
        ("slow.lag_bytes_max = '257MiB'".to_owned(), "more than half of slow.memory_max"),
        ("client.reply_bytes_max = '257MiB'".to_owned(), "more than half of slow.memory_max"),
        (
            "websocket.message_bytes_max = '65MiB'".to_owned(),
            "more than a quarter of websocket.memory_max",
        ),
        (
            "client.channels_max = 16384\nwebsocket.memory_max = '16MiB'".to_owned(),
            "client.channels_max: a client that comes back subscribes to so many channels",
        ),
        (format!("{endpoint}kind = 'pull'\ntopics = ['a']"), "only sub sockets have topics"),
        (format!("{endpoint}kind = 'pull'\nreconnect_interval = '9s'"), "reconnect_interval_max"),
        (
            "[[ingest.endpoints]]\nkind='sub'\nendpoint='tcp://*:1'\nmode='connect'".to_owned(),
            "connect needs a host and a port",
        ),
        (endpoint.to_owned(), "ingest.endpoints[0].kind is missing: write kind = \"sub\""),
    ] {
        let found = mistakes(&text);
        assert!(found.contains(reason), "{text}: {found}");
        assert_eq!(found.lines().count(), 1, "{found}");
    }
}

#[test]
fn limits_that_nobody_wrote_fit_a_small_memory() {
    let config = load("slow.memory_max = '1MiB'").unwrap();
    let limits =
        [config.slow.lag_bytes_max, config.slow.outbox_bytes_max, config.client.reply_bytes_max];
    assert!(limits.iter().all(|&bytes| bytes <= config.slow.memory_max / 2), "{limits:?}");
}

#[test]
fn a_message_has_room_for_all_subscriptions_of_a_client() {
    let size = |text: &str| load(text).unwrap().websocket.message_bytes_max;
    assert_eq!(size(""), 64 << 10);
    assert_eq!(size("client.channels_max = 5000"), 5000 * 512);
    assert_eq!(size("client.channels_max = 5000\nwebsocket.message_bytes_max = 9000"), 9000);
    let publishes = "client.channels_max = 5000\nchannels.publish = 'everybody'";
    assert_eq!(size(publishes), 2 << 20);
    assert_eq!(size("websocket.memory_max = '1MiB'"), 64 << 10);
    assert_eq!(
        size("websocket.memory_max = '1MiB'\nwebsocket.message_bytes_max = '256KiB'"),
        256 << 10
    );
}

#[test]
fn curve_needs_its_keys_and_says_whom_it_lets_in() {
    let curve = |lines: &str| {
        let open = "[[ingest.endpoints]]\nkind='pull'\nendpoint='tcp://*:1'\n";
        load(&format!("{open}[ingest.endpoints.curve]\n{lines}"))
    };
    let server = format!("role='server'\nsecret_key='{KEY}'\n");
    assert!(curve(&format!("{server}any_client = true")).is_ok());
    let config = curve(&format!("{server}authorized_keys = ['{KEY}']")).unwrap();
    let curve_table = config.ingest.endpoints[0].curve.as_ref().unwrap();
    assert_eq!(curve_table.authorized_keys[0].to_z85(), KEY);
    assert!(!format!("{config:?}").contains("secret_key: Some(SecretKey(["));
    for (lines, reasons) in [
        (server.clone(), vec!["authorized_keys: no client would be let in"]),
        (format!("{server}authorized_keys=['{KEY}']\nany_client=true"), vec!["useless"]),
        ("role='server'\nany_client=true".to_owned(), vec!["curve.secret_key is missing"]),
        (
            "any_client=true".to_owned(),
            vec!["curve.role is missing", "curve.secret_key is missing"],
        ),
        (
            "role='client'".to_owned(),
            vec!["public_key is missing", "secret_key is missing", "server_key is missing"],
        ),
    ] {
        let found = curve(&lines).unwrap_err().to_string();
        assert!(reasons.iter().all(|reason| found.contains(reason)), "{found}");
        assert_eq!(found.lines().count(), reasons.len(), "{found}");
    }
}

#[test]
fn secrets_never_reach_an_error() {
    let open = "[[ingest.endpoints]]\nkind='pull'\nendpoint='tcp://*:1'\n";
    let found = mistakes(&format!("{open}curve = {{role='server', secret_key='hunter2'}}"));
    assert!(found.contains("curve.secret_key: found a string"), "{found}");
    assert!(!found.contains("hunter2"), "{found}");
    // A variable whose list is not TOML, and a table in the wrong place.
    for key in ["ingest.endpoints", "ingest.endpoint", "ingest.endpoints.secret_key"] {
        let settings = vec![setting(key, "[{secret_key='hunter2'")];
        let error = Config::load(&Sources { settings, ..Sources::default() }).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[test]
fn keys_of_tokens_are_read_where_they_are_written() {
    let secret = "s3cr3t".repeat(6);
    let name = |kind: &str| format!("{}/tests/keys/{kind}.pem", env!("CARGO_MANIFEST_DIR"));
    let keys = format!("['file:{}', 'file:{}']", name("rsa.public"), name("ed25519.public"));
    let config = load(&format!("[token]\nhmac_secret='{secret}'\npublic_keys={keys}")).unwrap();
    assert_eq!(config.token.hmac_secret[0].as_bytes(), secret.as_bytes());
    assert_eq!(config.token.public_keys.len(), 2);
    let _usable = config.token.public_keys.iter().map(PublicKeyPem::key).collect::<Vec<_>>();
    assert!(!format!("{config:?}").contains("s3cr3t"));
    for (text, reason) in [
        ("hmac_secret = 's3cr3t'".to_owned(), "hmac_secret: found one of 6 bytes"),
        (format!("hmac_secret = ['{secret}', 's3cr3t']"), "hmac_secret[1]: found one of 6 bytes"),
        ("hmac_secret = [['s3cr3t']]".to_owned(), "hmac_secret[0]: found an array"),
        (
            format!("public_keys = ['file:{}']", name("rsa.private")),
            "public_keys[0]: found a private key",
        ),
        (format!("public_keys = ['{secret}']"), "public_keys[0]: found no PEM block"),
        ("jwks_file = 'nowhere.json'".to_owned(), "jwks_file: found "),
        (format!("jwks_file = '{}'", name("rsa.public")), "no key set"),
        ("jwks_url = 'https://u:s3cr3t@a/'".to_owned(), "jwks_url: found"),
        ("audience = ''".to_owned(), "audience: found \"\", expected a name without spaces"),
    ] {
        let found = mistakes(&format!("[token]\n{text}"));
        assert!(found.contains(reason), "{text}: {found}");
        assert_eq!(found.lines().count(), 1, "{found}");
        assert!(!found.contains("s3cr3t"), "{found}");
    }
}

#[test]
fn key_files_lie_beside_the_configuration() {
    let key = TempFile::new(KEY.as_bytes());
    let name = key.0.file_name().unwrap().to_str().unwrap();
    let config = load(&format!(
        "[[ingest.endpoints]]\nkind='pull'\nendpoint='tcp://*:1'\n\
         curve = {{ role='server', secret_key='file:{name}', any_client=true }}"
    ));
    assert!(config.is_ok(), "{config:?}");
}

/// Text that looks like a configuration often enough to reach every reader.
fn tomlish() -> impl Strategy<Value = String> {
    let keys: Vec<String> = Config::keys()
        .into_iter()
        .chain(Endpoint::KEYS.iter().chain(Curve::KEYS).map(|key| (*key).to_owned()))
        .chain(Namespace::KEYS.iter().map(|key| format!("namespaces.x.{key}")))
        .chain(["[[ingest.endpoints]]", "[ingest.endpoints.curve]", "[public]"].map(String::from))
        .chain(["[namespaces.y]", "namespaces"].map(String::from))
        .collect();
    let value = prop_oneof![
        "[0-9]{1,25}(ms|s|KiB|GiB)?",
        "\"[0-9]{1,25}(ms|s|h|KiB|GiB)?\"",
        "\"(tcp|ipc|file)?:?/{0,2}[\\[\\]*:.0-9a-z]{0,12}\"",
        "[\\[\\]{}=,'\"#\n0-9a-z.-]{0,16}",
        "\\PC{0,16}",
    ];
    let line = (prop::sample::select(keys), value).prop_map(|(key, value)| match key {
        key if key.starts_with('[') => key,
        key => format!("{key} = {value}"),
    });
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_tomlish_text_panics(text in tomlish()) {
        if let Err(errors) = load(&text) {
            prop_assert!(!errors.0.is_empty());
            prop_assert!(!errors.to_string().is_empty());
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = load_bytes(&bytes);
    }

    #[test]
    fn no_variable_panics(
        name in "(TIDEGATE_)?[A-Z_]{0,20}",
        value in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let variables = vec![(name.into(), OsString::from_vec(value))];
        let _ = Config::load(&Sources { variables, ..Sources::default() });
    }
}

/// A file that cannot be read is named with the reason, and is no wrong secret.
#[test]
fn unreadable_secrets_are_not_called_wrong() {
    for (section, key) in [
        ("token", "hmac_secret = 'file:/nowhere/key'"),
        ("token", "hmac_secret = ['file:/nowhere/key']"),
        ("token", "public_keys = ['file:/nowhere/key']"),
        ("api", "key = 'file:/nowhere/key'"),
    ] {
        let text = format!("[{section}]\n{key}\n[public]\naddress = '0.0.0.0:1'");
        let found = mistakes(&text);
        let first = found.lines().next().unwrap();
        assert!(first.contains("cannot read /nowhere/key: No such file"), "{found}");
        assert!(!first.contains("32 bytes") && !first.contains("characters"), "{found}");
        // That the edge would be open to all is the other mistake only where no key is meant.
        assert_eq!(found.lines().count(), if section == "token" { 1 } else { 2 }, "{found}");
    }
}

/// Variables and flags have no quotes, so whatever they hold may be text.
#[test]
fn text_of_variables_may_look_like_something_else() {
    let digits = "1".repeat(64);
    let variables = vec![
        variable("TIDEGATE_TOKEN__HMAC_SECRET", &digits),
        variable("TIDEGATE_TOKEN__AUDIENCE", "2024-01-01"),
        variable("TIDEGATE_TOKEN__ISSUER", "true"),
        variable("TIDEGATE_API__KEY", "12345678901234567890"),
        variable("TIDEGATE_PUBLIC__SUBPROTOCOLS", "7"),
    ];
    let config = Config::load(&Sources { variables, ..Sources::default() }).unwrap();
    assert_eq!(config.token.hmac_secret[0].as_bytes(), digits.as_bytes());
    assert_eq!(config.token.audience.as_deref(), Some("2024-01-01"));
    assert_eq!(config.token.issuer.as_deref(), Some("true"));
    assert_eq!(config.api.key[0].as_bytes(), b"12345678901234567890");
    assert_eq!(config.public.subprotocols, ["7"]);
    // A file has quotes.
    assert!(mistakes("[token]\naudience = 42").contains("found 42"));
}

#[test]
fn users_cannot_be_kept_out_of_their_personal_channel() {
    assert!(mistakes("[personal]\nsubscribe = 'nobody'").contains("personal.subscribe"));
    assert!(load("[personal]\nsubscribe = 'token'").is_ok());
}
