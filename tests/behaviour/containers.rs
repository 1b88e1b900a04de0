//! The promise: in a container or a unit with tight limits the edge makes do with what it has, or
//! says which limit is too low and how to raise it; and the doctor says the same before.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{ENDPOINTS, Edge, below, command, skip};

/// The program below a limit of locked memory that holds for it: root's capability to pass over the
/// limit is taken away.
fn with_locked_memory(bytes: u64, arguments: &[&str], options: &[&str]) -> Command {
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let limit = format!("--memlock={bytes}:{bytes}");
    let mut words = if is_root { vec!["setpriv", "--bounding-set=-ipc_lock"] } else { vec![] };
    words.extend(["prlimit", &limit]);
    below(&words, command(arguments, options))
}

const ANY: [&str; 3] = ["serve", "--public-address=127.0.0.1:0", "--internal-address=127.0.0.1:0"];

#[test]
fn rings_fit_into_the_locked_memory_that_there_is() {
    for (bytes, shards) in [(64 << 10, 1), (8 << 20, 44)] {
        let shards = format!("shards.count={shards}");
        let options = ["client.insecure=true", ENDPOINTS, &shards];
        let edge = Edge::spawn(with_locked_memory(bytes, &ANY, &options));
        // More at once than the smallest ring has places.
        let clients: Vec<_> = (0..300).map(|n| edge.connect(&n.to_string(), &["news"])).collect();
        for text in ["a", "b"] {
            assert_eq!(edge.publish("news", text), 300);
        }
        for client in &clients {
            client.expect("a");
            client.say("heard");
        }
        edge.expect_metric("tidegate_messages_received_total", 300);
        for client in &clients {
            client.expect("b");
        }
    }
}

#[test]
fn too_little_locked_memory_is_named_with_its_remedy_by_serve_and_doctor() {
    let shards = "shards.count=44";
    let arguments = ["doctor", "--json", "--connections=10"];
    let doctor = with_locked_memory(64 << 10, &arguments, &[shards]).output().unwrap();
    let report: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["setting"] == "LimitMEMLOCK").unwrap();
    if finding["verdict"] == "ok" {
        // This kernel does not count rings.
        drop(Edge::spawn(with_locked_memory(64 << 10, &ANY, &[shards, ENDPOINTS])));
        return;
    }
    assert_eq!(finding["verdict"], "fail");
    assert!(finding["remedy"].as_str().unwrap().contains("LimitMEMLOCK=8650752"), "{finding}");
    let options = [shards, ENDPOINTS];
    let output = with_locked_memory(64 << 10, &ANY, &options).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for word in ["44 shards", "65536", "LimitMEMLOCK=8650752", "--ulimit memlock=8650752:8650752"] {
        assert!(said.contains(word), "{word} is not in {said}");
    }
}

/// A control group with half a core; it goes away with the value.
struct HalfCore(PathBuf);

impl HalfCore {
    /// None where this machine does not let us make one.
    fn new() -> Option<Self> {
        let name = format!("tidegate-test-{}", std::process::id());
        let (first, second) = (Path::new("/sys/fs/cgroup/cpu"), Path::new("/sys/fs/cgroup"));
        let (root, file, quota) = if first.join("cpu.cfs_quota_us").exists() {
            (first, "cpu.cfs_quota_us", "50000")
        } else {
            (second, "cpu.max", "50000 100000")
        };
        let group = Self(root.join(name));
        std::fs::create_dir(&group.0).ok()?;
        std::fs::write(group.0.join(file), quota).ok()?;
        Some(group)
    }
}

impl Drop for HalfCore {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn half_a_core_has_one_shard() {
    let Some(group) = HalfCore::new() else {
        return skip("no control group can be made here");
    };
    let enter = format!("echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"", group.0.display());
    let edge = below(&["sh", "-c", &enter], command(&ANY, &[ENDPOINTS]));
    let edge = Edge::spawn(edge);
    let health: Value = serde_json::from_str(&edge.get("/health").unwrap().1).unwrap();
    assert_eq!(health["shards"], 1);
    let mut doctor =
        below(&["sh", "-c", &enter], command(&["doctor", "--json", "--connections=10"], &[]));
    let report = doctor.stdout(Stdio::piped()).output().unwrap();
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!(report["shards"], 1);
    drop(edge);
}
