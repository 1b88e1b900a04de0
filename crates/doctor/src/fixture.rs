//! A made-up host for unit tests: a temporary folder with the files that a test puts there.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Finding, Plan, Tree, Wanted};

/// The folder; it goes away with the value.
pub(super) struct Fixture {
    root: PathBuf,
}

impl Fixture {
    /// A host that says nothing.
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tidegate-doctor-{}-{number}", std::process::id());
        let root = std::env::temp_dir().join(name);
        fs::create_dir_all(&root).unwrap();
        Self { root }
    }

    /// A large host on which everything is right for a million connections.
    pub(super) fn fit() -> Self {
        let host = Self::new();
        host.file("/proc/sys/kernel/osrelease", "6.18.1-edge\n");
        host.sysctl("kernel.io_uring_disabled", "0");
        host.limits("Max open files            1048576              1048576              files");
        for (key, value) in [
            ("fs.nr_open", "1048576"),
            ("fs.file-max", "9223372036854775807"),
            ("fs.file-nr", "1000 0 9223372036854775807"),
            ("net.core.somaxconn", "65535"),
            ("net.core.netdev_budget", "300"),
            ("net.ipv4.tcp_max_syn_backlog", "65535"),
            ("net.ipv4.tcp_mem", "750000 1000000 1500000"),
            ("net.ipv4.tcp_rmem", "4096 131072 262144"),
            ("net.ipv4.tcp_wmem", "4096 16384 262144"),
            ("net.ipv4.ip_local_port_range", "10240 65535"),
            ("net.ipv4.tcp_tw_reuse", "2"),
            ("net.ipv4.tcp_fin_timeout", "60"),
            ("net.netfilter.nf_conntrack_max", "1250000"),
            ("net.netfilter.nf_conntrack_count", "100"),
        ] {
            host.sysctl(key, value);
        }
        host.file("/proc/net/softnet_stat", "00100000 00000000 00000001 00000000\n");
        host.file("/proc/meminfo", "MemTotal: 70000000 kB\nMemAvailable: 64000000 kB\n");
        host.file("/proc/self/cgroup", "0::/\n");
        host.file("/proc/self/status", "Seccomp:\t0\nCpus_allowed_list:\t0-1\n");
        host.file("/sys/devices/system/cpu/online", "0-1\n");
        let clock = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
        host.file(clock, "tsc\n");
        host.file("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
        host
    }

    pub(super) fn tree(&self) -> Tree {
        Tree::at(&self.root)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn file(&self, path: &str, text: &str) {
        self.bytes(path, text.as_bytes());
    }

    pub(super) fn bytes(&self, path: &str, bytes: &[u8]) {
        let path = self.root.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(super) fn sysctl(&self, key: &str, value: &str) {
        self.file(&format!("/proc/sys/{}", key.replace('.', "/")), value);
    }

    /// Sets lines of the limits of this process.
    pub(super) fn limits(&self, lines: &str) {
        let head = "Limit                     Soft Limit           Hard Limit           Units\n";
        self.file("/proc/self/limits", &format!("{head}{lines}\n"));
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// An operator who names no number.
pub(super) fn nothing() -> Wanted {
    Wanted { connections: None, shards: None, backlog: 4096, backends: 0, budgets: 512 << 20 }
}

/// A million connections over two shards.
pub(super) fn million() -> Plan {
    Plan { connections: 1_000_000, shards: 2, backlog: 4096, backends: 0, budgets: 512 << 20 }
}

/// The finding about one setting.
pub(super) fn about<'a>(findings: &'a [Finding], setting: &str) -> &'a Finding {
    findings.iter().find(|finding| finding.setting == setting).expect("the setting is checked")
}
