//! The promise: `tidegate doctor` judges a host by its exit status, writes the files of `tuning/`,
//! and leaves other people's files alone. The guide and the scripts beside them say the same.
//!
//! Hosts are made up: a folder with some files of `/proc` and `/sys`.

#![allow(clippy::unwrap_used, reason = "a failed set-up fails its test")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tidegate::doctor::SETTINGS;

/// A made-up host; it goes away with the value.
struct Host(PathBuf);

impl Host {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tidegate-doctor-test-{}-{number}", std::process::id());
        let root = std::env::temp_dir().join(name);
        fs::create_dir_all(&root).unwrap();
        Self(root)
    }

    fn with(self, path: &str, text: &str) -> Self {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn with_files(self, hard: &str) -> Self {
        let line = format!("Max open files            1024                 {hard}     files\n");
        self.with("proc/self/limits", &line)
    }

    fn doctor(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.env_remove("TIDEGATE_CONFIG").arg("doctor").arg("--root").arg(&self.0);
        command.args(arguments);
        command
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.0.join(path)).unwrap()
    }

    /// Runs a script of `tuning/` on this host, without any tool that the real one has besides.
    fn script(&self, name: &str, arguments: &[&str]) -> Output {
        let script = repository().join("tuning").join(name);
        Command::new("sh").arg(script).args(arguments).env("ROOT", &self.0).output().unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn tuning(name: &str) -> String {
    fs::read_to_string(repository().join("tuning").join(name)).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_exit_status_is_the_verdict() {
    let fit = Host::new().with_files("1048576");
    let output = fit.doctor(&["--connections", "1000000"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert!(
        text(&output.stdout).contains("\nFit, as far as is known, for 1,000,000 connections: ")
    );

    let unfit = Host::new().with_files("20000");
    let output = unfit.doctor(&["--connections", "1000000"]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    assert!(shown.contains("FAIL     LimitNOFILE"), "{shown}");
    assert!(shown.contains("70 processes"), "{shown}");
    assert!(shown.contains("\nNot fit for 1,000,000 connections: "), "{shown}");

    for wrong in [
        &["--connections", "0"][..],
        &["--connections", "many"],
        &["--force"],
        &["--set", "public.backlok=1"],
        &["--config", "/nonexistent/tidegate.toml"],
        &["--surprise"],
    ] {
        let output = fit.doctor(wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(!output.stderr.is_empty(), "{wrong:?}");
    }
}

#[test]
fn the_plan_is_the_flag_or_the_configuration() {
    let host = Host::new().with_files("20512");
    let plan = |arguments: &[&str]| text(&host.doctor(arguments).stdout);
    assert!(plan(&[]).starts_with("Plan: 14,872 connections"));
    let without = ["--set", "ingest.endpoints=[]"];
    assert!(plan(&without).starts_with("Plan: 20,000 connections"));
    let set = ["--set", "public.connections_max=300", "--shards", "7"];
    assert!(plan(&set).starts_with("Plan: 300 connections, 7 shards"));
    let both = ["--set", "public.connections_max=300", "--connections", "4000"];
    assert!(plan(&both).starts_with("Plan: 4,000 connections"));
}

#[test]
fn machines_get_json() {
    let host = Host::new().with_files("20000");
    let output = host.doctor(&["--connections", "1000000", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["fit"], false);
    let findings = report["findings"].as_array().unwrap();
    let files = findings.iter().find(|finding| finding["setting"] == "LimitNOFILE").unwrap();
    assert_eq!(files["verdict"], "fail");
    assert_eq!(files["value"], "20,000");
    for key in ["needed", "breaks", "remedy"] {
        assert!(files[key].as_str().is_some_and(|text| !text.is_empty()), "{key}");
    }
}

#[test]
fn this_host_is_examined_without_a_panic() {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["doctor", "--json", "--connections", "1000"])
        .output()
        .unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["connections"], 1000);
}

/// After a change: `mkdir -p /tmp/none && cargo run -- doctor --root /tmp/none --connections
/// 1000000 --write /tmp/files`, and copy both files to `tuning/`.
#[test]
fn the_files_of_the_guide_are_what_it_writes_for_a_million() {
    let host = Host::new();
    let folder = host.0.join("out");
    let output = host.doctor(&["--connections", "1000000", "--write", folder.to_str().unwrap()]);
    assert!(text(&output.stdout).contains("Written: "), "{}", text(&output.stderr));
    assert_eq!(host.read("out/99-tidegate.conf"), tuning("99-tidegate.conf"));
    assert_eq!(host.read("out/tidegate.service.d/limits.conf"), tuning("limits.conf"));
}

#[test]
fn other_peoples_files_stay() {
    let host = Host::new().with("out/99-tidegate.conf", "vm.swappiness = 1\n");
    let folder = host.0.join("out");
    let write = ["--connections", "1000", "--write", folder.to_str().unwrap()];
    let output = host.doctor(&write);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--force"), "{}", text(&output.stderr));
    assert_eq!(host.read("out/99-tidegate.conf"), "vm.swappiness = 1\n");
    assert!(!folder.join("tidegate.service.d").exists());
    let forced: Vec<&str> = write.into_iter().chain(["--force"]).collect();
    assert_eq!(host.doctor(&forced).status.code(), Some(0));
    assert!(host.read("out/99-tidegate.conf").contains("fs.nr_open = 1048576"));
}

#[test]
fn the_guide_explains_every_setting() {
    let guide = tuning("README.md");
    for setting in SETTINGS {
        let row = format!("| `{setting}` |");
        assert!(guide.contains(&row), "tuning/README.md has no row {row}");
    }
    for line in tuning("99-tidegate.conf").lines().filter(|line| !line.starts_with('#')) {
        let Some((key, value)) = line.split_once(" = ") else { continue };
        let key = key.trim_start_matches('-');
        let row = guide.lines().find(|line| line.starts_with(&format!("| `{key}` |")));
        let row = row.unwrap_or_else(|| panic!("tuning/README.md has no row for {key}"));
        assert!(row.contains(&format!("`{value}`")), "{key} is {value}, not as in {row}");
    }
}

#[test]
fn the_unit_lets_io_uring_through() {
    let unit = tuning("tidegate.service");
    for call in ["io_uring_setup", "io_uring_enter", "io_uring_register"] {
        assert!(unit.contains(call), "{call}");
    }
    assert!(unit.contains("\nLimitNOFILE=1048576\n"));
}

#[test]
fn a_start_warns_of_what_the_host_cuts() {
    let mut edge = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .env_remove("TIDEGATE_CONFIG")
        .args(["serve", "--shards", "1", "--public-address", "127.0.0.1:0"])
        .args(["--internal-address", "127.0.0.1:0"])
        // No host has as many descriptors.
        .args(["--set", "public.connections_max=100000000"])
        .args(["--set", r#"ingest.endpoints=[{kind="pull",endpoint="tcp://127.0.0.1:*"}]"#])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(edge.stdout.take().unwrap()).read_line(&mut line).unwrap();
    edge.kill().unwrap();
    let log = text(&edge.wait_with_output().unwrap().stderr);
    assert!(line.contains("serves"), "{log}");
    let warning = log.lines().find(|line| line.contains("LimitNOFILE")).unwrap_or_else(|| {
        panic!("no warning of the descriptor limit in\n{log}");
    });
    assert!(warning.contains("WARN") && warning.contains("remedy="), "{warning}");
}

fn card(queues: usize) -> Host {
    let mut host = Host::new()
        .with("sys/devices/system/cpu/online", "0-3,32\n")
        .with("sys/class/net/edge0/device/msi_irqs/40", "msi\n")
        .with("sys/class/net/edge0/device/msi_irqs/41", "msi\n")
        .with("proc/irq/40/smp_affinity_list", "0-3\n")
        .with("proc/irq/41/smp_affinity_list", "0-3\n");
    for queue in 0..queues {
        host = host
            .with(&format!("sys/class/net/edge0/queues/rx-{queue}/rps_cpus"), "0\n")
            .with(&format!("sys/class/net/edge0/queues/tx-{queue}/xps_cpus"), "0\n");
    }
    host
}

#[test]
fn the_scripts_change_nothing_unless_told() {
    let host = card(2);
    for (name, arguments) in [("nic.sh", &["edge0"][..]), ("irq.sh", &["--away", "1", "edge0"])] {
        let output = host.script(name, arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains("nothing was changed"), "{name}");
    }
    assert_eq!(host.read("sys/class/net/edge0/queues/rx-0/rps_cpus"), "0\n");
    assert_eq!(host.read("proc/irq/40/smp_affinity_list"), "0-3\n");
    for name in ["nic.sh", "irq.sh"] {
        assert_eq!(host.script(name, &["none"]).status.code(), Some(2), "{name}");
        assert_eq!(host.script(name, &["--surprise", "edge0"]).status.code(), Some(2), "{name}");
    }
}

#[test]
fn the_scripts_spread_work_over_the_cores() {
    let host = card(2);
    let output = host.script("irq.sh", &["--apply", "--away", "0-2", "edge0"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(host.read("proc/irq/40/smp_affinity_list"), "3\n");
    assert_eq!(host.read("proc/irq/41/smp_affinity_list"), "32\n");
    let nothing_left = host.script("irq.sh", &["--away", "0-32", "edge0"]);
    assert_eq!(nothing_left.status.code(), Some(2));

    // Masks only: the card is made up, so ethtool is not asked.
    let output = host.script("nic.sh", &["--apply", "edge0"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let queue = "sys/class/net/edge0/queues";
    assert_eq!(host.read(&format!("{queue}/rx-0/rps_cpus")), "00000001,0000000f\n");
    assert_eq!(host.read(&format!("{queue}/tx-0/xps_cpus")), "00000001,00000005\n");
    assert_eq!(host.read(&format!("{queue}/tx-1/xps_cpus")), "0000000a\n");
    let many = card(5);
    assert!(many.script("nic.sh", &["--apply", "edge0"]).status.success());
    assert_eq!(many.read(&format!("{queue}/rx-4/rps_cpus")), "00000000\n", "queues suffice");
}
