//! The promise: an edge that cannot serve says so at once, with the option to change.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, Stdio};

use crate::harness::{Asker, Edge, below, command, eventually, run, skip};

#[track_caller]
fn fails(arguments: &[&str], options: &[&str], words: &[&str]) -> String {
    let output = run(arguments, options);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    text
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

/// A path for an `ipc://` endpoint, in a folder of its own.
fn socket_path(name: &str) -> (std::path::PathBuf, String) {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _old = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("s");
    let option =
        format!(r#"ingest.endpoints=[{{kind="router",endpoint="ipc://{}"}}]"#, path.display());
    (path, option)
}

#[test]
fn an_ipc_path_in_use_is_left_to_its_owner() {
    let (path, option) = socket_path("ipc-taken");
    let edge = Edge::with(&[&option]);
    fails(&["serve"], &[FREE[0], FREE[1], &option], &["address in use", "ingest endpoint `ipc://"]);
    let answer = Asker::connect(edge.endpoint(0)).ask(&[b"c", b"x"]);
    assert_eq!(answer["ok"], true, "{answer}");
    drop(edge);
    // Killed, it has left its socket behind.
    assert!(path.exists());
    let edge = Edge::with(&[&option]);
    let answer = Asker::connect(edge.endpoint(0)).ask(&[b"c", b"x"]);
    assert_eq!(answer["ok"], true, "{answer}");
}

#[test]
fn a_file_at_an_ipc_path_is_left_alone() {
    let (path, option) = socket_path("ipc-file");
    std::fs::write(&path, "precious").unwrap();
    fails(&["serve"], &[FREE[0], FREE[1], &option], &["address in use", "no socket", "move it"]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

/// Runs the program where a file system is mounted, if this machine lets a test do so.
fn run_with_mount(mount: &str, arguments: &[&str], options: &[&str]) -> Option<(i32, String)> {
    let script = format!("{mount} && exec \"$@\"");
    let mine = ["unshare", "--map-root-user", "--mount", "sh", "-c"];
    let is_allowed = std::process::Command::new("unshare")
        .args(&mine[1..])
        .arg(mount)
        .output()
        .is_ok_and(|output| output.status.success());
    if !is_allowed {
        skip("nothing can be mounted here");
        return None;
    }
    let words = [&mine[..], &[&script, "sh"]].concat();
    let output = below(&words, command(arguments, options)).output().unwrap();
    Some((output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap()))
}

#[test]
fn an_ipc_path_where_no_socket_can_be_made() {
    let (path, option) = socket_path("ipc-mounted");
    let folder = path.parent().unwrap().display();
    let read_only = format!("mount -t tmpfs -o ro none {folder}");
    let full = format!("mount -t tmpfs -o nr_inodes=1 none {folder}");
    let options = [FREE[0], FREE[1], &option];
    for (mount, is_foreseen, words) in [
        (&read_only, true, ["Read-only file system", "RuntimeDirectory="]),
        (&full, false, ["No space left on device", "make room"]),
    ] {
        let Some((code, said)) = run_with_mount(mount, &["serve"], &options) else { return };
        assert_eq!(code, 1, "{said}");
        assert!(words.iter().all(|word| said.contains(word)) && !said.contains("panic"), "{said}");
        let (code, said) = run_with_mount(mount, &["check-config"], &options).unwrap();
        assert_eq!(code, 0, "{said}");
        let is_told = words.iter().all(|word| said.contains(word));
        assert_eq!(is_told, is_foreseen, "{said}");
    }
}

#[test]
fn a_host_to_listen_at_is_an_address_or_an_interface() {
    let at =
        |host: &str| format!(r#"ingest.endpoints=[{{kind="pull",endpoint="tcp://{host}:*"}}]"#);
    let (local, other) = (at("localhost"), at("nowhere0"));
    for program in ["serve", "check-config"] {
        let words = ["ingest.endpoints[0].endpoint", "an IP address", "127.0.0.1"];
        fails(&[program], &[FREE[0], FREE[1], &local], &words);
    }
    let options = [FREE[0], FREE[1], &other, "ingest.allow_remote_plaintext=true"];
    let said = fails(&["serve"], &options, &["no interface", "an IP address"]);
    let output = run(&["check-config"], &options);
    let noted = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && noted.contains("no interface"), "{noted} after {said}");
    drop(Edge::with(&[&at("lo")]));
}

#[test]
fn an_ipc_path_has_the_mode_that_was_asked_for() {
    use std::os::unix::fs::PermissionsExt as _;
    let (path, option) = socket_path("ipc-mode");
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    drop(Edge::with(&[&option]));
    assert_eq!(mode(), 0o600);
    drop(Edge::with(&[&option.replace('}', r#",ipc_mode="0666"}"#)]));
    assert_eq!(mode(), 0o666);
    let no_path =
        r#"ingest.endpoints=[{kind="pull",endpoint="tcp://127.0.0.1:*",ipc_mode="0666"}]"#;
    fails(&["serve"], &[FREE[0], FREE[1], no_path], &["ingest.endpoints[0].ipc_mode"]);
}

#[test]
fn a_star_is_every_interface_of_both_protocols() {
    let star = r#"ingest.endpoints=[{kind="router",endpoint="tcp://*:*"}]"#;
    let edge = Edge::with(&[star, "ingest.allow_remote_plaintext=true"]);
    let port = edge.endpoint(0).rsplit_once(':').unwrap().1;
    for host in ["127.0.0.1", "[::1]"] {
        let has_host = TcpListener::bind(format!("{host}:0")).is_ok();
        if has_host {
            let answer = Asker::connect(&format!("tcp://{host}:{port}")).ask(&[b"c", b"x"]);
            assert_eq!(answer["ok"], true, "{host}: {answer}");
        }
    }
}

#[test]
fn too_few_descriptors_are_told_before_anything_is_opened() {
    let endpoints = r#"ingest.endpoints=[{kind="pull",endpoint="tcp://127.0.0.1:*"},
        {kind="router",endpoint="tcp://127.0.0.1:*"}]"#;
    let serve = |limit: u32| {
        let inner = command(&["serve", "--shards", "2"], &[FREE[0], FREE[1], endpoints]);
        below(&["prlimit", &format!("--nofile={limit}:{limit}")], inner)
    };
    for limit in [10, 20, 30, 60, 81] {
        let output = serve(limit).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{limit}: {said}");
        for word in ["need 82 descriptors", "LimitNOFILE=82", &format!("the limit is {limit}")] {
            assert!(said.contains(word), "{limit}: {word:?} is not in: {said}");
        }
    }
    let edge = Edge::spawn(serve(82));
    assert!(edge.descriptors() <= 50, "{} are open, and 32 are for callers", edge.descriptors());
    assert_eq!(Asker::connect(edge.endpoint(1)).ask(&[b"c", b"x"])["ok"], true);
    assert_eq!(edge.get("/health").unwrap().0, 200);
}

#[test]
fn a_public_address_in_use() {
    // A plain listener, as another program would have.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("public.address={}", other.local_addr().unwrap());
    fails(&["serve"], &[&taken, FREE[1], FREE[2]], &["public.address", "cannot listen on"]);
}

#[test]
fn a_public_address_of_another_edge() {
    let edge = Edge::start();
    for address in [edge.public.to_string(), format!("0.0.0.0:{}", edge.public.port())] {
        let taken = format!("public.address={address}");
        let options = [&taken, FREE[1], FREE[2], "public.allow_anonymous=true"];
        fails(&["serve"], &options, &["public.address", "cannot listen on", "ss -ltnp"]);
    }
    edge.connect("u", &[]).close(1000);
}

#[test]
fn an_address_of_no_interface() {
    // Reserved for documentation: no machine has it.
    for option in ["public.address", "internal.address"] {
        let foreign = format!("{option}=192.0.2.1:9000");
        let free = FREE[usize::from(option == "public.address")];
        let allowed = [
            "public.allow_anonymous=true",
            "internal.allow_remote=true",
            "api.key=0123456789abcdef",
        ];
        let options: Vec<_> = [&foreign, free, FREE[2]].into_iter().chain(allowed).collect();
        let said = fails(&["serve"], &options, &[option, "cannot listen on", "no interface"]);
        assert!(!said.contains("ss -ltnp"), "nobody has it: {said}");
    }
}

#[test]
fn a_port_that_only_root_may_have() {
    let mut edge = command(&["serve"], &["public.address=127.0.0.1:1", FREE[1], FREE[2]]);
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    if is_root {
        edge = below(&["setpriv", "--bounding-set=-net_bind_service"], edge);
    }
    let output = edge.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for word in ["public.address", "may not listen there", "CAP_NET_BIND_SERVICE"] {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
    assert!(!said.contains("ss -ltnp"), "nobody has it: {said}");
}

#[test]
fn of_edges_that_start_at_once_on_one_address_one_serves() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let address = format!("public.address={free}");
    let start = |_| {
        let mut command = command(&["serve", "--shards", "3"], &[&address, FREE[1], FREE[2]]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut edges: Vec<Child> = (0..4).map(start).collect();
    let mut refused = 0;
    eventually("all but one have ended", || {
        edges.retain_mut(|edge| match edge.try_wait().unwrap() {
            None => true,
            Some(status) => {
                assert_eq!(status.code(), Some(1));
                refused += 1;
                false
            }
        });
        edges.len() <= 1
    });
    let serves = TcpStream::connect(free).is_ok();
    for edge in &mut edges {
        edge.kill().unwrap();
        edge.wait().unwrap();
    }
    assert!(refused == 3 && serves, "{refused} were refused");
}

#[test]
fn collectors_get_every_reason_as_one_object() {
    let edge = Edge::start();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let public = format!("public.address={}", other.local_addr().unwrap());
    let internal = format!("internal.address={}", edge.internal);
    let zeromq = format!(r#"ingest.endpoints=[{{kind="pull",endpoint="{}"}}]"#, edge.endpoint(1));
    let set = ["token.jwks_file=/nowhere/keys.json", "shards.count=many"];
    for (options, word) in [
        (&[&public, FREE[1], FREE[2]][..], "public.address"),
        (&[FREE[0], &internal, FREE[2]], "internal.address"),
        (&[FREE[0], FREE[1], &zeromq], edge.endpoint(1)),
        (&[FREE[0], FREE[1], FREE[2], set[0]], "token.jwks_file"),
        (&[FREE[0], FREE[1], FREE[2], set[1]], "shards.count"),
        (&["slow.lag_byte_max=1MiB", set[1]], "slow.lag_bytes_max"),
    ] {
        let options: Vec<&str> = [options, &["log.format=json"]].concat();
        let output = run(&["serve"], &options);
        assert_eq!(output.status.code(), Some(1), "{word}");
        let text = String::from_utf8(output.stderr).unwrap();
        let objects: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        let reason = objects.last().expect("a reason");
        let message = reason["message"].as_str().unwrap();
        assert!(reason["level"] == "ERROR" && message.contains(word), "{word} is not in {text}");
        assert!(reason["timestamp"].is_string(), "{text}");
    }
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
