//! The promise: whatever becomes of standard error and standard output, the edge serves, delivers
//! and drains as if they were read; what nobody could be told is counted.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write, pipe};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};

use crate::harness::{Edge, PATIENCE, Raw, command, eventually, request};

/// How much a pipe holds that nobody has made larger.
const PIPE_BYTES: usize = 64 * 1024;

const OPEN: &[&str] = &["client.insecure=true", "drain.delay=0s", "drain.window=200ms"];

/// A message that is refused makes a log line.
fn make_lines(edge: &Edge) {
    let push = edge.push();
    for _ in 0..20 {
        push.send_multipart(["news", "x", "not meta"], 0).unwrap();
    }
}

/// Everything that an edge does for its clients, and its end.
fn serves_and_drains(mut edge: Edge) {
    let client = edge.connect("u", &["news"]);
    let before = edge.metric("tidegate_ingest_malformed_total");
    make_lines(&edge);
    edge.expect_metric("tidegate_ingest_malformed_total", before + 20);
    edge.push().send_multipart(["news", "x"], 0).unwrap();
    client.expect("x");
    assert_eq!(edge.get("/health").unwrap().0, 200);
    assert_eq!(edge.publish("news", "y"), 1);
    client.expect("y");
    edge.signal("TERM");
    client.expect_close(1012);
    assert_eq!(edge.wait().code(), Some(0));
}

fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(&[b'x'; PIPE_BYTES]).unwrap();
    (reader, writer)
}

#[test]
fn a_log_whose_reader_went_away() {
    let (reader, writer) = pipe().unwrap();
    let edge = Edge::logging_to(writer, OPEN);
    drop(reader);
    make_lines(&edge);
    edge.expect_metric("tidegate_ingest_malformed_total", 20);
    eventually("lines are counted", || edge.metric("tidegate_log_lines_dropped_total") > 0);
    serves_and_drains(edge);
}

#[test]
fn a_log_on_a_full_disk() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let edge = Edge::logging_to(full, OPEN);
    eventually("lines are counted", || edge.metric("tidegate_log_lines_dropped_total") > 0);
    serves_and_drains(edge);
}

#[test]
fn a_log_file_that_may_not_grow() {
    let path = std::env::temp_dir().join(format!("tidegate-log-file-{}", std::process::id()));
    let edge = Edge::logging_to(File::create_new(&path).unwrap(), OPEN);
    std::fs::remove_file(&path).unwrap();
    edge.limit("fsize=0");
    make_lines(&edge);
    eventually("lines are counted", || edge.metric("tidegate_log_lines_dropped_total") > 0);
    serves_and_drains(edge);
}

#[test]
fn a_log_that_nobody_reads() {
    let (_unread, writer) = full_pipe();
    serves_and_drains(Edge::logging_to(writer, OPEN));
}

/// Says to this test, started once more, that it is the process that panics.
const PANICS: &str = "TIDEGATE_TEST_PANICS";

/// No peer can make the program panic, so what its log does about panics is asked of a process that
/// only has that log.
#[test]
fn a_panic_ends_a_process_whose_log_nobody_reads() {
    if std::env::var_os(PANICS).is_some() {
        let _logger = tidegate::log::Logger::start(&tidegate::config::Config::default().log);
        for name in ["shard", "main"] {
            let thread = std::thread::Builder::new().name(name.to_owned());
            assert!(thread.spawn(|| panic!("as a test wants")).unwrap().join().is_err());
        }
        std::process::exit(7);
    }
    let (_unread, writer) = full_pipe();
    let this = std::thread::current();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", this.name().unwrap(), "--nocapture"]).env(PANICS, "yes");
    let mut child = child.stdout(Stdio::null()).stderr(writer).spawn().unwrap();
    let mut status = None;
    eventually("it ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.unwrap().code(), Some(7));
}

#[test]
fn a_second_signal_ends_an_edge_whose_log_nobody_reads() {
    let (_unread, writer) = full_pipe();
    let mut edge = Edge::logging_to(writer, &["client.insecure=true", "drain.window=1h"]);
    let _client = edge.connect("u", &[]);
    edge.signal_until_ended("TERM");
    assert_eq!(edge.wait().code(), Some(1));
}

#[test]
fn a_log_that_is_read_again_says_what_is_missing() {
    let path = std::env::temp_dir().join(format!("tidegate-log-{}", std::process::id()));
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    // One end for both directions does not wait for the other.
    let first_reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let writer = OpenOptions::new().write(true).open(&path).unwrap();
    let edge = Edge::logging_to(writer, OPEN);
    drop(first_reader);
    make_lines(&edge);
    eventually("lines are counted", || edge.metric("tidegate_log_lines_dropped_total") > 0);
    let log = BufReader::new(File::open(&path).unwrap());
    std::fs::remove_file(&path).unwrap();
    edge.signal("HUP");
    let told = log.lines().map_while(Result::ok).find(|line| line.contains("lines are missing"));
    assert!(told.is_some_and(|line| line.contains("WARN") && line.contains("lines=")));
}

#[test]
fn what_is_logged_last_is_written() {
    let (mut reader, writer) = pipe().unwrap();
    let mut edge = Edge::logging_to(writer, OPEN);
    edge.signal("TERM");
    assert_eq!(edge.wait().code(), Some(0));
    let mut log = String::new();
    reader.read_to_string(&mut log).unwrap();
    assert!(log.ends_with(" drained\n"), "{log}");
}

/// An edge whose standard output is in the test's hands, so that its addresses are not announced.
fn serves_with_output(stdout: impl Into<Stdio>) {
    let internal = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let option = format!("internal.address={internal}");
    let options = ["public.address=127.0.0.1:0", &option, "ingest.endpoints=[]", "drain.delay=0s"];
    let mut command = command(&["serve", "--shards", "1"], &options);
    let mut child = command.stdout(stdout).stderr(Stdio::null()).spawn().unwrap();
    drop(command);
    eventually("it serves", || is_healthy(internal));
    let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let start = std::time::Instant::now();
    while child.try_wait().unwrap().is_none() && start.elapsed() < PATIENCE {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let status = child.try_wait().unwrap();
    let _ = child.kill();
    assert_eq!(status.expect("it drains").code(), Some(0));
}

fn is_healthy(internal: SocketAddr) -> bool {
    let Some(mut peer) = Raw::try_connect(internal) else { return false };
    peer.send(request("/health", &["Connection: close"]).as_bytes());
    peer.response().is_some_and(|response| response.status == 200)
}

#[test]
fn an_announcement_that_nobody_hears() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    serves_with_output(writer);
    let (_unread, writer) = full_pipe();
    serves_with_output(writer);
    serves_with_output(OpenOptions::new().write(true).open("/dev/full").unwrap());
}

#[test]
fn commands_end_quietly_when_their_reader_has_seen_enough() {
    for arguments in [
        &["default-config"][..],
        &["--help"],
        &["--version"],
        &["completions", "zsh"],
        &["doctor", "--connections", "10"],
    ] {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        let output = command.env_clear().args(arguments).stdout(writer).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
        assert!(output.status.code().is_some_and(|code| code < 2), "{arguments:?}");
    }
}

#[test]
fn a_command_whose_output_a_full_disk_refuses_fails() {
    for arguments in [
        &["default-config"][..],
        &["--help"],
        &["help", "serve"],
        &["serve", "--help"],
        &["--version"],
        &["completions", "bash"],
        &["check-config", "--print"],
        &["doctor", "--connections", "10"],
    ] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        let output = command.env_clear().args(arguments).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("cannot write to standard output: No space left"), "{said}");
    }
}
