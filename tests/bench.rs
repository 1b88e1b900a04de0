//! The promise: `tidegate bench` verifies every message on every connection, says what to do when
//! it cannot run, aims at nothing but loopback unless told to, and leaves no process behind.

#![allow(clippy::unwrap_used, reason = "a failed set-up fails its test")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tungstenite::{Message, WebSocket, accept};

fn bench(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.arg("bench").args(arguments.split(' '));
    command
}

fn error_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The figures of a run against a server of its own, which must be flawless.
fn figures(arguments: &str) -> Value {
    let output = bench(&format!("{arguments} --serve --json")).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{arguments}: {}", error_of(&output));
    assert_eq!(error_of(&output), "", "{arguments}");
    let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(figures["problems"], serde_json::json!([]), "{arguments}");
    figures
}

fn refusal(arguments: &str) -> String {
    let output = bench(arguments).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{arguments}");
    let error = error_of(&output);
    assert_eq!(error.lines().count(), 1, "one sentence: {error}");
    error
}

#[test]
fn idle_connections_stay_and_are_measured() {
    // Who did not answer pings would be closed, and that would be a problem of the run.
    let heartbeat = "--set heartbeat.ping_interval=1s --set heartbeat.pong_deadline=1s";
    let path = std::env::temp_dir().join(format!("pings-{}.svg", std::process::id()));
    let plot = path.to_str().unwrap();
    let arguments = format!("idle --connections 2000 --seconds 4 {heartbeat} --plot {plot}");
    let figures = figures(&arguments);
    assert_eq!(figures["opening"]["opened"], 2000);
    let (server, kernel) = (&figures["server"], &figures["kernel"]);
    assert!(server["resident_per_connection_bytes"].as_f64().unwrap() > 0.0);
    assert!(server["cpu_opening_cores"].as_f64().unwrap() > 0.0);
    assert!(server["cpu_per_connection_second_ns"].as_f64().unwrap() > 0.0);
    assert_eq!(kernel["sockets_per_connection"], 2);
    assert!(kernel["per_socket_bytes"].is_number(), "{kernel}");
    let pings = &figures["pings"];
    let tenths = pings["per_100_ms"].as_array().unwrap();
    assert!((39..=40).contains(&tenths.len()), "{pings}");
    // Every second one to each, give or take those that the edges of the time cut off.
    assert!((6000..=10_000).contains(&pings["count"].as_u64().unwrap()), "{pings}");
    let picture = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert!(picture.contains("pings in 100 ms") && picture.contains("polyline"));
}

#[test]
fn every_message_of_a_fan_out_arrives_everywhere() {
    let path = std::env::temp_dir().join(format!("bench-{}.svg", std::process::id()));
    let plot = path.to_str().unwrap();
    let figures =
        figures(&format!("fanout -n 1000 --processes 2 --rate 40 --seconds 1 --plot {plot}"));
    let delivery = &figures["delivery"];
    assert_eq!((&delivery["expected"], &delivery["received"]), (&40_000.into(), &40_000.into()));
    assert_eq!(delivery["latency"]["count"], 40_000);
    assert_eq!(delivery["last_receiver"]["count"], 40);
    assert_eq!(figures["processes"], 2);
    let picture = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("polyline"));
    for text in ["50\n", "90\n", "99\n", "40 messages/s, 128 bytes, 1 s, tidegate "] {
        assert!(picture.contains(&format!(">\n{text}")), "{text}: {picture}");
    }
}

#[test]
fn the_table_begins_with_the_verdict_and_fits_a_terminal() {
    let output = bench("fanout -n 50 --rate 20 --seconds 1 --serve --slabs").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", error_of(&output));
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.starts_with("verdict        flawless\n"), "{table}");
    assert!(table.contains("\nslabs "), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
}

#[test]
fn every_unicast_arrives_at_its_user() {
    let figures = figures("unicast -n 300 --processes 2 --rate 1000 --seconds 1");
    assert_eq!(figures["delivery"]["received"], 1000);
}

#[test]
fn what_is_set_for_a_server_of_the_users_own_is_not_for_that_of_a_run() {
    let output = bench("unicast -n 20 --seconds 1 --serve")
        .env("TIDEGATE_TOKEN__HMAC_SECRET", "01234567890123456789012345678901")
        .env("TIDEGATE_CONFIG", "/nowhere/tidegate.toml")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", error_of(&output));
}

/// Clients that come before the run if the server is measured, and go.
const WARMING: usize = 10;

/// A server of another kind, which so many clients come to. All that are there are sent what
/// `unwrap` finds in a posted path and body, and then `answer` is the answer. It serves until the
/// test ends.
fn stranger(
    clients: usize,
    answer: &'static str,
    unwrap: fn(&str, &[u8]) -> Vec<u8>,
) -> (String, String) {
    let public = TcpListener::bind("127.0.0.1:0").unwrap();
    let posts = TcpListener::bind("127.0.0.1:0").unwrap();
    let urls = (
        format!("ws://{}", public.local_addr().unwrap()),
        format!("http://{}", posts.local_addr().unwrap()),
    );
    std::thread::spawn(move || {
        // The first connection only looks whether somebody listens.
        drop(public.accept().unwrap());
        let mut sockets: Vec<WebSocket<TcpStream>> =
            (0..clients).map(|_| accept(public.accept().unwrap().0).unwrap()).collect();
        for stream in posts.incoming() {
            let mut input = BufReader::new(stream.unwrap());
            let mut head = Vec::new();
            while head.last().is_none_or(|line: &String| line != "\r\n") {
                head.push(String::new());
                input.read_line(head.last_mut().unwrap()).unwrap();
                head.last_mut().unwrap().make_ascii_lowercase();
            }
            let length = head.iter().find_map(|line| line.strip_prefix("content-length: "));
            let mut body = vec![0; length.unwrap().trim().parse().unwrap()];
            input.read_exact(&mut body).unwrap();
            let message = unwrap(head[0].split(' ').nth(1).unwrap(), &body);
            sockets.retain_mut(|socket| socket.send(Message::binary(message.clone())).is_ok());
            input.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    });
    urls
}

#[test]
fn a_server_of_another_kind_is_published_to_over_http() {
    let accepted = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
    let (url, http) = stranger(WARMING + 3, accepted, |path, body| {
        assert_eq!(path, "/pub?id=c");
        body.to_vec()
    });
    let pid = std::process::id();
    let output = bench(&format!("fanout -n 3 --rate 20 --seconds 1 --json --server-pid {pid}"))
        .args(["--url", &url, "--endpoint", &format!("{http}/pub?id=c")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", error_of(&output));
    let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(figures["delivery"]["received"], 60);
    assert!(figures["server"]["cpu_per_delivery_ns"].as_f64().unwrap() > 0.0);
}

#[test]
fn what_is_posted_can_have_a_shape_and_name_a_user() {
    let (url, http) = stranger(1, "HTTP/1.1 200 OK\r\n\r\n", |path, body| {
        let body: Value = serde_json::from_slice(body).unwrap();
        assert_eq!((path, &body["user"]), ("/", &0.into()));
        STANDARD.decode(body["data"].as_str().unwrap()).unwrap()
    });
    let output = bench("unicast -n 1 --rate 30 --seconds 1 --json --publish-body")
        .args([r#"{"user":{number},"data":"{base64}"}"#, "--endpoint", &http])
        .args(["--url", &format!("{url}/{{number}}")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", error_of(&output));
    let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(figures["delivery"]["received"], 30);
}

#[test]
fn a_refused_publication_ends_the_run() {
    let refused = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    let (url, http) = stranger(1, refused, |_, body| body.to_vec());
    let error = refusal(&format!("fanout -n 1 --seconds 1 --url {url} --endpoint {http}/pub"));
    assert!(error.contains("/pub (403 Forbidden): check"), "{error}");
}

#[test]
fn unicasts_and_broadcasts_go_together() {
    let figures = figures("mixed -n 600 --processes 2 --rate 200 --seconds 2");
    let delivery = &figures["delivery"];
    let number = |value: &Value| value.as_u64().unwrap();
    let broadcasts = number(&delivery["last_receiver"]["count"]);
    assert!(broadcasts > 0, "{delivery}");
    assert_eq!(number(&delivery["published"]), 400 + broadcasts);
    assert_eq!(number(&delivery["received"]), 400 + 600 * broadcasts);
    assert_eq!(delivery["latency"]["count"], 600 * broadcasts);
    assert_eq!(delivery["unicast_quiet"]["count"], 200);
    assert_eq!(delivery["unicast_busy"]["count"], 200);
}

#[test]
fn every_echo_comes_back() {
    let figures = figures("echo -n 200 --in-flight 4 --bytes 3000 --seconds 1");
    let delivery = &figures["delivery"];
    assert!(delivery["received"].as_u64().unwrap() >= 800, "{delivery}");
    assert_eq!(delivery["received"], delivery["published"]);
}

#[test]
fn churn_opens_and_closes_with_whole_handshakes() {
    let figures = figures("churn -n 50 --rate 300 --seconds 1");
    let opened = figures["opening"]["opened"].as_u64().unwrap();
    assert!((250..=310).contains(&opened), "{opened}");
    assert_eq!(figures["closed_by_us"], opened);
}

#[test]
fn everybody_comes_back_after_a_storm() {
    let figures = figures("storm -n 1000 --seconds 30");
    assert_eq!(
        (&figures["opening"]["opened"], &figures["opening"]["failed"]),
        (&1000.into(), &0.into())
    );
    assert!(figures["opening"]["seconds"].as_f64().unwrap() < 30.0);
}

#[test]
fn slow_clients_are_closed_and_the_rest_get_everything() {
    let figures = figures("slow -n 20 --slow-share 0.2 --bytes 20000 --rate 200 --seconds 2");
    assert_eq!(figures["delivery"]["received"], 16 * 400);
    let slow = &figures["slow"];
    assert_eq!((&slow["connections"], &slow["still_open"]), (&4.into(), &0.into()));
    assert_eq!(slow["gaps"], 0);
    assert!(!figures["closes"].as_object().unwrap().is_empty());
}

#[test]
fn json_clients_stay_and_answer_pings() {
    let heartbeat = "--set heartbeat.ping_interval=1s --set heartbeat.pong_deadline=1s";
    let figures = figures(&format!(
        "idle --protocol json -n 500 --channels 40 --channels-each 8 --seconds 4 {heartbeat}"
    ));
    assert_eq!((&figures["protocol"], &figures["channels_each"]), (&"json".into(), &8.into()));
    assert_eq!(figures["opening"]["opened"], 500);
    assert!(figures["pings"]["count"].as_u64().unwrap() >= 1500, "{}", figures["pings"]);
}

#[test]
fn json_clients_verify_what_raw_ones_do() {
    for (arguments, deliveries) in [
        ("fanout -n 400 --processes 2 --rate 40 --seconds 1", 16_000),
        ("fanout -n 400 --rate 40 --seconds 1 --bytes 2000 --set channels.history_size=10", 16_000),
        ("unicast -n 100 --processes 2 --rate 300 --seconds 1", 300),
    ] {
        let figures = figures(&format!("{arguments} --protocol json"));
        let delivery = &figures["delivery"];
        assert_eq!(delivery["received"], deliveries, "{arguments}: {delivery}");
        assert_eq!(delivery["latency"]["count"], deliveries);
    }
    let mixed = figures("mixed -n 100 --rate 100 --seconds 1 --protocol json");
    assert_eq!(mixed["delivery"]["unicast_quiet"]["count"], 50);
    assert_eq!(mixed["delivery"]["unicast_busy"]["count"], 50);
    let churn = figures("churn -n 20 --rate 100 --seconds 1 --protocol json");
    assert_eq!(churn["closed_by_us"], churn["opening"]["opened"]);
    let storm = figures("storm -n 300 --seconds 30 --protocol json");
    assert_eq!(storm["opening"]["opened"], 300);
}

#[test]
fn connections_are_spread_over_channels() {
    for protocol in ["raw", "json"] {
        let run = |spread: &str| {
            let figures = figures(&format!(
                "fanout --protocol {protocol} -n 300 --processes 2 --rate 120 --seconds 1 {spread}"
            ));
            figures["delivery"]["received"].as_u64().unwrap()
        };
        assert_eq!(run("--channels 60"), 120 * 300 / 60);
        assert_eq!(run("--channels 60 --channels-each 4"), 120 * 300 / 60 * 4);
        assert_eq!(run("--channels 7 --channels-each 7"), 120 * 300);
        // Nobody is in most of them.
        assert_eq!(run("--channels 100000 --channel many"), 120);
    }
}

#[test]
fn slow_json_clients_subscribe_again_and_recover() {
    let figures = figures(
        "slow --protocol json -n 20 --slow-share 0.2 --bytes 20000 --rate 200 --seconds 4 \
         --set slow.lag_bytes_max=4MiB \
         --set channels.history_size=1000 --set history.recovery_publications_max=1000 \
         --set client.reply_bytes_max=64MiB",
    );
    let slow = &figures["slow"];
    assert_eq!((&slow["still_open"], &slow["received"]), (&4.into(), &3200.into()), "{slow}");
    assert_eq!((&slow["gaps"], &slow["recovered"]), (&0.into(), &slow["resubscribed"]));
    assert!(slow["resubscribed"].as_u64().unwrap() >= 4, "{slow}");
}

#[test]
fn everybody_recovers_what_was_published_meanwhile() {
    for (arguments, subscriptions, deliveries) in [
        ("-n 500 --rate 100", 500, 500 * 200),
        ("-n 400 --processes 2 --rate 200 --open-rate 2000 --channels 20", 400, 400 * 20),
        ("-n 300 --rate 200 --channels 20 --channels-each 3", 900, 900 * 20),
    ] {
        let figures = figures(&format!("recover {arguments} --seconds 2"));
        let (delivery, recovery) = (&figures["delivery"], &figures["recovery"]);
        assert_eq!(
            (&figures["protocol"], &delivery["received"]),
            (&"json".into(), &deliveries.into())
        );
        assert_eq!(
            (&recovery["recovered"], &recovery["share"]),
            (&subscriptions.into(), &1.0.into())
        );
        let number = |key: &str| recovery[key].as_u64().unwrap();
        // They were away for a quarter of the time at least, and here for a half at most.
        assert!(number("through_recovery") >= deliveries / 4, "{recovery}");
        assert_eq!(
            (number("through_recovery") + number("live"), number("skipped")),
            (deliveries, 0)
        );
        assert!(recovery["cpu_per_connection_ns"].as_f64().unwrap() > 0.0);
        assert_eq!(figures["opening"]["handshake"]["count"], figures["connections"]);
    }
}

#[test]
fn who_is_not_recovered_is_told_of_and_has_lost_nothing() {
    for (options, messages) in
        [("history.recovery_publications_max=1", 200), ("channels.history_size=0", 200)]
    {
        let output = bench("recover -n 50 --rate 100 --seconds 2 --serve --json --set")
            .arg(options)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
        let (delivery, recovery) = (&figures["delivery"], &figures["recovery"]);
        assert_eq!((&recovery["recovered"], &recovery["subscriptions"]), (&0.into(), &50.into()));
        let (received, skipped) =
            (delivery["received"].as_u64().unwrap(), recovery["skipped"].as_u64().unwrap());
        assert_eq!((received + skipped, &delivery["lost"]), (50 * messages, &0.into()));
        assert!(skipped >= 50 * messages / 4, "{recovery}");
        let error = error_of(&output);
        assert!(error.contains("50 subscriptions were not recovered, and have missed"), "{error}");
    }
}

/// An edge that runs on ports of its own until the value is dropped.
struct Edge {
    child: Child,
    /// Kept open: an edge that prints to a closed pipe would fail.
    _output: BufReader<ChildStdout>,
    clients: String,
    operators: String,
}

impl Edge {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["serve", "--dev", "--public-address", "127.0.0.1:0"])
            .args(["--internal-address", "127.0.0.1:0", "--set", "ingest.endpoints=[]"])
            .args(["--log-level", "error"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let (mut clients, mut operators) = (String::new(), String::new());
        for line in output.by_ref().lines().map_while(Result::ok) {
            let mut words = line.split_whitespace();
            let (name, url) = (words.next(), words.next().unwrap_or_default());
            let origin = url.split('/').take(3).collect::<Vec<_>>().join("/");
            match name {
                Some("clients") => clients = origin,
                Some("operators") => operators = origin,
                _ => continue,
            }
            if !clients.is_empty() && !operators.is_empty() {
                break;
            }
        }
        Self { child, _output: output, clients, operators }
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn an_edge_that_runs_is_published_to_over_its_api() {
    let edge = Edge::start();
    for protocol in ["raw", "json"] {
        let output = bench("fanout -n 30 --channels 3 --rate 30 --seconds 1 --json --publish-body")
            .args([r#"{"channel":"{channel}","b64data":"{base64}"}"#, "--protocol", protocol])
            .args(["--url", &edge.clients, "--endpoint"])
            .arg(format!("{}/api/publish", edge.operators))
            .args(["--server-pid", &edge.child.id().to_string()])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", error_of(&output));
        let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(figures["delivery"]["received"], 300);
    }
}

/// The limit makes two processes necessary, on both sides.
#[test]
fn descriptors_are_no_limit_for_several_processes() {
    let run = |arguments: &str| {
        let program = env!("CARGO_BIN_EXE_tidegate");
        let script = format!("ulimit -n 1000; exec {program} bench {arguments}");
        Command::new("sh").args(["-c", &script]).output().unwrap()
    };
    let output = run("idle -n 600 --seconds 1 --serve");
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{table}{}", error_of(&output));
    let reason = "over 2 processes and 2 servers, because of the limit of descriptors";
    let words: Vec<&str> = table.split_whitespace().collect();
    assert!(words.join(" ").contains(reason), "{table}");
    let output = run("idle -n 600 --seconds 1 --serve --processes 1");
    assert!(error_of(&output).contains("need 2 processes"), "{}", error_of(&output));
}

#[test]
fn figures_that_are_bad_fail_the_run() {
    let output = bench("echo -n 5 --bytes 5000 --seconds 1 --serve --json")
        .args(["--set", "websocket.message_bytes_max=4096"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(figures["delivery"]["lost"], 5);
    assert_eq!(figures["closes"]["Close 1009 message too big"], 5);
    let error = error_of(&output);
    assert!(error.contains("5 messages were lost, 5 connections were closed"), "{error}");
}

#[test]
fn only_loopback_is_aimed_at() {
    let error = refusal("idle --url ws://192.0.2.1:8000");
    assert!(error.contains("192.0.2.1:8000 is not on loopback: add --allow-remote"), "{error}");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let error = refusal(&format!("fanout --url {url} --endpoint tcp://192.0.2.1:5560"));
    assert!(error.contains("not on loopback"), "{error}");
    let error = refusal(&format!("fanout --url {url} --endpoint http://192.0.2.1/pub"));
    assert!(error.contains("192.0.2.1:80 is not on loopback"), "{error}");
}

#[test]
fn what_is_missing_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = format!("ws://{}", listener.local_addr().unwrap());
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (arguments, reason) in [
        (format!("idle --url ws://{gone}"), "start the server, give its address with --url"),
        (format!("fanout --url {here} --endpoint tcp://{gone}"), "no ZeroMQ PULL socket answers"),
        (format!("idle -n 90000 --url {here} --sources 127.0.0.1"), "--sources or widen"),
        (format!("unicast --url {here}/fixed"), "needs {number}"),
        (format!("idle --url {here} --server-pid 4294967295"), "check --server-pid"),
        (
            format!("unicast --url {here}/{{number}} --endpoint http://{gone}"),
            "or --publish-body needs",
        ),
        (
            format!("mixed --url {here}/{{number}} --endpoint http://{gone}/{{number}}"),
            "needs a PULL socket",
        ),
        (format!("mixed --url {here}/fixed"), "needs {number}"),
        (format!("fanout -n 1 --url {here} --publish-body x{{base64}}"), "with http://"),
        (format!("fanout --url {here} --endpoint http://{gone} --publish-body x"), "{base64}"),
        ("idle --url http://127.0.0.1".to_owned(), "ws://HOST:PORT/PATH"),
        ("idle --seconds 0".to_owned(), "--seconds must be"),
        ("idle --settle=-1".to_owned(), "--settle must be"),
        ("idle -n 4000000000 --serve".to_owned(), "cannot hold 4000000000 connections"),
        ("idle -n 4000000000 --serve".to_owned(), "take a host with more memory"),
        ("fanout --bytes 3".to_owned(), "--bytes must be"),
        ("fanout --bytes 39 --protocol json".to_owned(), "at least 40 with --protocol json"),
        ("echo --protocol json".to_owned(), "echo has no JSON door"),
        ("recover --protocol raw".to_owned(), "run recover with --protocol json"),
        ("mixed --channels 2".to_owned(), "run it with fanout"),
        ("fanout --channels 0".to_owned(), "--channels must be"),
        ("fanout --channels 3 --channels-each 4".to_owned(), "at most --channels"),
        (format!("fanout --channels 2 --url {here}/x"), "needs {channels}"),
        (format!("fanout --channels 2 --url {here} --endpoint http://{gone}"), "needs {channel}"),
    ] {
        let error = refusal(&arguments);
        assert!(error.contains(reason), "{arguments}: {error}");
    }
}

#[test]
fn nothing_is_left_behind_by_a_run_that_is_killed() {
    let mut run = bench("idle -n 10 --seconds 60 --serve").spawn().unwrap();
    let begin = Instant::now();
    let mut children = Vec::new();
    while children.len() < 2 && begin.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(50));
        children = children_of(run.id());
    }
    assert_eq!(children.len(), 2, "a server and a process with connections");
    run.kill().unwrap();
    run.wait().unwrap();
    let begin = Instant::now();
    while children.iter().any(|pid| is_running(*pid)) {
        assert!(begin.elapsed() < Duration::from_secs(10), "{children:?} run still");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// State and parent of a process; the name before them may have spaces.
fn stat(pid: u32) -> Option<(String, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

fn is_running(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != "Z")
}

fn children_of(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|(_, its_parent)| its_parent == parent)).collect()
}
