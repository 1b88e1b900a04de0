//! The promise: an operator can print, edit and check the configuration with the program alone,
//! and every mistake comes back with its place, its remedy and a status that scripts can use.

#![allow(clippy::unwrap_used, reason = "a failed set-up fails its test")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Runs the program with an environment of its own.
fn tidegate(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn write(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn check(name: &str, text: &str, variables: &[(&str, &str)]) -> Output {
    let path = write(name, text);
    tidegate(&["check-config", path.to_str().unwrap()], variables)
}

#[test]
fn the_default_configuration_is_valid() {
    let printed = tidegate(&["default-config"], &[]);
    assert!(printed.status.success());
    assert!(stdout(&printed).contains("\nmessage_bytes_max = \"64KiB\"\n"));
    let checked = check("default.toml", stdout(&printed), &[]);
    assert_eq!(checked.status.code(), Some(0), "{}", stderr(&checked));
    assert!(stdout(&checked).ends_with("default.toml: ok\n"));
}

#[test]
fn a_bad_file_has_all_its_mistakes_printed() {
    let output = check("bad.toml", "[shards]\ncuont = 2\npin = 'yes'\n", &[]);
    assert_eq!(output.status.code(), Some(1));
    let found = stderr(&output);
    assert!(found.contains("bad.toml: 2 mistakes\n"), "{found}");
    assert!(found.contains("bad.toml:2: unknown option shards.cuont; did you mean shards.count?"));
    assert!(found.contains("bad.toml:3: shards.pin: found \"yes\", expected true or false"));
}

#[test]
fn variables_count_as_they_do_for_serve() {
    let open = "[public]\naddress = '0.0.0.0:8000'\n";
    let refused = check("open.toml", open, &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("open.toml:2: public.address: "), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("set public.allow_anonymous = true"));
    let allowed = check("open.toml", open, &[("TIDEGATE_PUBLIC__ALLOW_ANONYMOUS", "true")]);
    assert!(allowed.status.success(), "{}", stderr(&allowed));
}

#[test]
fn namespaces_are_checked() {
    let chat = "[namespaces.chat]\nhistory_size = 100\nsubscribe = 'token'\n";
    let good = check("namespaces.toml", chat, &[("TIDEGATE_NAMESPACES__CHAT__PRESENCE", "true")]);
    assert!(good.status.success(), "{}", stderr(&good));
    let bad = check("namespaces.toml", "[namespaces.chat]\nhistory_ttl = '1h'\n", &[]);
    assert_eq!(bad.status.code(), Some(1));
    let found = stderr(&bad);
    assert!(found.contains(":2: namespaces.chat.history_ttl: there is no history"), "{found}");
    assert!(found.contains("set namespaces.chat.history_size"), "{found}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let output = tidegate(&["check-config", "/nowhere/tidegate.toml"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("/nowhere/tidegate.toml: No such file"));
}

#[test]
fn serve_refuses_a_bad_configuration_from_each_source() {
    let path = write("serve.toml", "[log]\nlevel = 'loud'\n");
    let variables =
        [("TIDEGATE_CONFIG", path.to_str().unwrap()), ("TIDEGATE_LINKS__CAPACITY", "many")];
    let output = tidegate(&["serve", "--shards", "-1", "--set", "drain.window=10"], &variables);
    assert_eq!(output.status.code(), Some(1));
    let found = stderr(&output);
    for place in [
        "serve.toml:2: log.level: found \"loud\"",
        "variable TIDEGATE_LINKS__CAPACITY: links.capacity: found \"many\"",
        "flag --shards: shards.count: found -1",
        "flag --set drain.window: drain.window: found 10",
    ] {
        assert!(found.contains(place), "{place}: {found}");
    }
}

#[test]
fn an_empty_variable_names_no_file() {
    let output = tidegate(&["serve", "--log-level", "loud"], &[("TIDEGATE_CONFIG", "")]);
    let found = stderr(&output);
    assert!(found.contains("flag --log-level: log.level: found \"loud\""), "{found}");
    assert!(!found.contains("No such file"), "{found}");
}

#[test]
fn an_unknown_flag_is_a_wrong_command_line() {
    let output = tidegate(&["serve", "--shrads", "2"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--shards"), "{}", stderr(&output));
    assert_eq!(tidegate(&["serve", "--set", "nonsense"], &[]).status.code(), Some(2));
}

#[test]
fn the_effective_configuration_says_where_each_value_comes_from() {
    let secret = "0123456789abcdef0123456789abcdef";
    let text = "[drain]\nwindow = '90s'\n[namespaces.chat]\nhistory_size = 7\n\
                [[ingest.endpoints]]\nkind = 'pull'\nendpoint = 'tcp://127.0.0.1:5560'\n";
    let path = write("effective.toml", text);
    let path = path.to_str().unwrap();
    let variables = [
        ("TIDEGATE_TOKEN__HMAC_SECRET", secret),
        ("TIDEGATE_CONFIG", path),
        ("TIDEGATE_NAMESPACES__CHAT__PRESENCE", "true"),
    ];
    let output =
        tidegate(&["check-config", "--print", "--set", "slow.age_max=30s", "--dev"], &variables);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let printed = stdout(&output);
    let origin_of = |line: &str| {
        let found = printed.lines().find(|printed| printed.starts_with(line));
        found.and_then(|line| line.rsplit_once(" # ")).map(|(_, origin)| origin.to_owned())
    };
    assert_eq!(origin_of("backlog = 4096").as_deref(), Some("default"));
    assert_eq!(origin_of("window = \"90s\""), Some(format!("{path}:2")));
    assert_eq!(origin_of("age_max = \"30s\"").as_deref(), Some("flag --set slow.age_max"));
    assert_eq!(origin_of("echo = true").as_deref(), Some("flag --dev"));
    assert_eq!(origin_of("kind = \"pull\""), Some(format!("{path}:6")));
    let rules = printed.split("[namespaces.chat]").nth(1).unwrap();
    assert!(rules.contains("history_size = 7 "), "{rules}");
    assert!(rules.contains("# variable TIDEGATE_NAMESPACES__CHAT__PRESENCE"), "{rules}");
    let is_set = "# hmac_secret is set and not shown";
    assert_eq!(origin_of(is_set).as_deref(), Some("variable TIDEGATE_TOKEN__HMAC_SECRET"));
    assert!(!printed.contains(secret));
    // What it prints is a configuration of the same meaning, but for its secrets and `--dev`.
    let again = check("again.toml", &printed.replace("echo = true", "echo = false"), &[]);
    assert!(again.status.success(), "{}", stderr(&again));
}

#[test]
fn shells_complete_and_man_explains() {
    for shell in ["bash", "zsh", "fish"] {
        let script = tidegate(&["completions", shell], &[]);
        assert!(script.status.success() && stdout(&script).contains("check-config"), "{shell}");
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("man");
    std::fs::create_dir_all(&folder).unwrap();
    assert!(tidegate(&["man", folder.to_str().unwrap()], &[]).status.success());
    let page = std::fs::read_to_string(folder.join("tidegate-serve.1")).unwrap();
    assert!(page.contains("public.address") && page.contains(".SH"), "{page}");
    let missing = tidegate(&["man", "/nowhere"], &[]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).starts_with("tidegate: /nowhere: "), "{}", stderr(&missing));
}

#[test]
fn options_that_contradict_each_other_are_named() {
    let endpoint = |options: &str| {
        format!(
            "[[ingest.endpoints]]\nkind = 'pull'\nendpoint = 'tcp://127.0.0.1:5560'\n{options}\n"
        )
    };
    let twice = [endpoint(""), endpoint("")].concat();
    let history = "[channels]\nhistory_size = 10\n[history]\nmemory_max = '1MiB'\n";
    for (text, key, words) in [
        (
            &*endpoint("message_bytes_max = '3MiB'"),
            "ingest.endpoints[0].message_bytes_max",
            "more than half of slow.lag_bytes_max",
        ),
        (
            &*(endpoint("message_bytes_max = '40KiB'") + "[slow]\nlag_bytes_max = '64KiB'"),
            "ingest.endpoints[0].message_bytes_max",
            "raise slow.lag_bytes_max",
        ),
        (
            &*(endpoint("message_bytes_max = '2MiB'") + history),
            "ingest.endpoints[0].message_bytes_max",
            "more than half of history.memory_max",
        ),
        (
            "[channels]\npublish = 'everybody'\n[websocket]\nmessage_bytes_max = '8MiB'\n",
            "websocket.message_bytes_max",
            "more than half of slow.lag_bytes_max",
        ),
        (
            "[api]\nmessage_bytes_max = '3MiB'\n",
            "api.message_bytes_max",
            "more than half of slow.lag_bytes_max",
        ),
        (
            "[client]\ncommands_per_second = 5\npublishes_per_second = 6\n",
            "client.publishes_per_second",
            "more than client.commands_per_second",
        ),
        (
            "[client]\ncommands_per_second = 5\nuser_commands_per_second = 4\n",
            "client.commands_per_second",
            "more than client.user_commands_per_second",
        ),
        (&*twice, "ingest.endpoints[1].endpoint", "ingest.endpoints[0] listens there too"),
    ] {
        let output = check("pairs.toml", text, &[]);
        assert_eq!(output.status.code(), Some(1), "{text}");
        let found = stderr(&output);
        assert!(found.contains(key) && found.contains(words), "{text}: {found}");
        assert!(found.contains("pairs.toml: 1 mistake\n"), "{found}");
    }
    // What nobody wrote gives way.
    for text in ["[slow]\nlag_bytes_max = '64KiB'\n", "[slow]\nmemory_max = '2MiB'\n"] {
        let output = check("pairs.toml", &format!("[client]\nreply_bytes_max='1MiB'\n{text}"), &[]);
        assert!(output.status.success(), "{}", stderr(&output));
    }
}

/// What an edge says once it serves, up to its last address.
fn announcement(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["serve", "--public-address", "127.0.0.1:0", "--internal-address", "127.0.0.1:0"])
        .args(["--log-level", "error", "--shards", "1"])
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    let is_whole = |text: &String| text.lines().any(|line| line.starts_with("  operators"));
    while !is_whole(&text) && output.read_line(&mut text).unwrap() > 0 {}
    child.kill().unwrap();
    child.wait().unwrap();
    text
}

#[test]
fn an_edge_says_what_its_sockets_are_for_and_who_may_use_them() {
    let pull = r#"ingest.endpoints=[{kind="pull",endpoint="tcp://127.0.0.1:*"}]"#;
    let open = announcement(&["--dev", "--set", pull], &[]);
    for part in [
        "/connection/websocket\n",
        "  PULL, hears PUSH",
        "  settings   defaults\n",
        "  tokens     no key is set: whoever connects may take any user name\n",
        "  room       for ",
        "/api/  open to everybody on this host\n",
    ] {
        assert!(open.contains(part), "{part:?} is not in\n{open}");
    }
    let path = write("announced.toml", "[api]\nkey = '0123456789abcdef'\n");
    let secret = "0123456789abcdef0123456789abcdef";
    let closed = announcement(
        &["--config", path.to_str().unwrap(), "--set", "ingest.endpoints=[]"],
        &[("TIDEGATE_TOKEN__HMAC_SECRET", secret)],
    );
    for part in [
        "announced.toml\n",
        "  tokens     verified with token.hmac_secret\n",
        "/api/  asks for api.key\n",
    ] {
        assert!(closed.contains(part), "{part:?} is not in\n{closed}");
    }
    assert!(!closed.contains(secret) && !closed.contains("ZeroMQ"), "{closed}");
}
