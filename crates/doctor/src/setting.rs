//! The values that the doctor would set: one table for remedies, for the written files and for
//! the guide, so that they cannot disagree.
//!
//! A value never lowers what the host already has, with one exception: the largest socket buffers,
//! where less is the point. Only what a plan needs is here; kernel defaults that fit stay out.

use crate::{Plan, Tree};

/// Everything that the doctor looks at, as findings name it. `tuning/README.md` explains each.
pub const SETTINGS: &[&str] = &[
    "kernel version",
    "io_uring",
    "kernel.io_uring_disabled",
    "clock source",
    "LimitNOFILE",
    "soft limit of files",
    "fs.nr_open",
    "fs.file-max",
    "LimitMEMLOCK",
    "memory",
    "memory.max",
    "net.ipv4.tcp_mem",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "transparent huge pages",
    "net.core.somaxconn",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.ip_local_port_range",
    "net.netfilter.nf_conntrack_max",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_fin_timeout",
    "net.core.netdev_budget",
    "NIC queues",
    "cores",
    "cpu.max",
    "pids.max",
];

/// Descriptor limits grow in steps of the kernel's default for `fs.nr_open`.
const DESCRIPTOR_STEP: u64 = 1 << 20;

/// The largest backlog that `public.backlog` can ask for.
const BACKLOG: u64 = 65_535;

/// The largest socket buffer in bytes. If a hundredth of all connections fill theirs, that is less
/// memory than the page for each connection at which `tcp_mem` begins to press.
pub(super) const BUFFER_BYTES_MAX: u64 = 256 << 10;

/// The lowest port for outgoing connections: above every default address of the edge.
pub(super) const PORT_LOW: u64 = 10_240;

/// Threads besides shards, and the kernel's helpers of each ring.
const TASKS_BASE: u64 = 64;

/// Tasks for each shard: the thread and the kernel's helpers of its rings.
const TASKS_PER_SHARD: u64 = 16;

/// One line for sysctl.d.
pub(super) struct Sysctl {
    pub(super) key: &'static str,
    pub(super) value: String,
    /// Why, in one or two lines.
    pub(super) about: &'static str,
    /// Whether hosts exist that do not have the key.
    pub(super) may_be_absent: bool,
}

/// Every kernel setting for a plan.
pub(super) fn sysctls(plan: &Plan, tree: &Tree) -> Vec<Sysctl> {
    let at_least = |key, value: u64| tree.sysctl(key).unwrap_or(0).max(value).to_string();
    let line = |key, value, about| Sysctl { key, value, about, may_be_absent: false };
    vec![
        line(
            "fs.nr_open",
            at_least("fs.nr_open", descriptors(plan)),
            "The ceiling of LimitNOFILE: descriptors of connections, two of each backend, 512 \
             others.",
        ),
        line(
            "fs.file-max",
            i64::MAX.to_string(),
            "Open files of the whole host. What systemd sets too: memory is the real limit.",
        ),
        line(
            "net.core.somaxconn",
            at_least("net.core.somaxconn", backlog(plan)),
            "Cuts public.backlog without a word. This is the most that the option takes.",
        ),
        line(
            "net.ipv4.tcp_max_syn_backlog",
            at_least("net.ipv4.tcp_max_syn_backlog", backlog(plan)),
            "Handshakes of TCP under way. Counts only where SYN cookies are off.",
        ),
        line(
            "net.ipv4.tcp_mem",
            words(&tcp_mem(plan, tree)),
            "Pages in all socket buffers: low, pressure, high. Pressure at one page for each\n\
             connection, so that a message to all of them may be on its way at once.",
        ),
        line(
            "net.ipv4.tcp_rmem",
            words(&[4096, 131_072, BUFFER_BYTES_MAX]),
            "Receive buffer: least, first, most bytes. Clients of a push edge send little.",
        ),
        line(
            "net.ipv4.tcp_wmem",
            words(&[4096, 16_384, BUFFER_BYTES_MAX]),
            "Send buffer: what one slow client can make the kernel hold for it. The default of\n\
             4 MiB lets a hundredth of a million connections hold 42 GB.",
        ),
        line(
            "net.ipv4.ip_local_port_range",
            words(&ports(tree)),
            "For a proxy or load generator on this host: 55,296 connections from each source\n\
             address to the edge. It begins above the edge's own ports.",
        ),
        Sysctl {
            may_be_absent: true,
            ..line(
                "net.netfilter.nf_conntrack_max",
                at_least("net.netfilter.nf_conntrack_max", conntrack(plan)),
                "Connections that the firewall tracks, with a quarter to spare. Absent where no\n\
                 firewall needs it, and better so.",
            )
        },
    ]
}

/// The command that sets one of them now.
pub(super) fn remedy(plan: &Plan, tree: &Tree, key: &str) -> String {
    let found = sysctls(plan, tree).into_iter().find(|sysctl| sysctl.key == key);
    found.map_or_else(String::new, |sysctl| command(key, &sysctl.value))
}

/// The command that sets a key of the kernel now.
pub(super) fn command(key: &str, value: &str) -> String {
    let quote = if value.contains(' ') { "'" } else { "" };
    format!("sysctl -w {key}={quote}{value}{quote}")
}

/// The descriptor limit of the service.
pub(super) fn descriptors(plan: &Plan) -> u64 {
    plan.descriptors().checked_next_multiple_of(DESCRIPTOR_STEP).unwrap_or(u64::MAX)
}

/// The tasks of the service.
pub(super) fn tasks(plan: &Plan) -> u64 {
    plan.shards.saturating_mul(TASKS_PER_SHARD).saturating_add(TASKS_BASE)
}

/// Entries of the connection tracker.
pub(super) fn conntrack(plan: &Plan) -> u64 {
    plan.connections.saturating_add(plan.connections / 4)
}

/// Pages of all socket buffers, in the kernel's own ratio of 3 to 4 to 6.
pub(super) fn tcp_mem(plan: &Plan, tree: &Tree) -> [u64; 3] {
    let now = tree.sysctls::<3>("net.ipv4.tcp_mem").unwrap_or_default();
    let pages = plan.connections;
    let ours = [pages / 4 * 3, pages, pages.saturating_add(pages / 2)];
    std::array::from_fn(|index| ours[index].max(now[index]))
}

/// The port range, widened downwards and upwards only.
fn ports(tree: &Tree) -> [u64; 2] {
    let now = tree.sysctls::<2>("net.ipv4.ip_local_port_range");
    [now.map_or(PORT_LOW, |[low, _]| low.min(PORT_LOW)), 65_535]
}

fn backlog(plan: &Plan) -> u64 {
    plan.backlog.max(BACKLOG)
}

fn words(numbers: &[u64]) -> String {
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, million};
    use super::*;

    fn value(host: &Fixture, key: &str) -> String {
        let all = sysctls(&million(), &host.tree());
        all.into_iter().find(|sysctl| sysctl.key == key).unwrap().value
    }

    #[test]
    fn nothing_is_lowered_but_the_largest_buffers() {
        let host = Fixture::new();
        host.sysctl("fs.nr_open", "1073741816");
        host.sysctl("net.core.somaxconn", "100000");
        host.sysctl("net.ipv4.tcp_mem", "900000 900000 900000");
        host.sysctl("net.ipv4.ip_local_port_range", "1024 60999");
        host.sysctl("net.ipv4.tcp_wmem", "4096 16384 4194304");
        assert_eq!(value(&host, "fs.nr_open"), "1073741816");
        assert_eq!(value(&host, "net.core.somaxconn"), "100000");
        assert_eq!(value(&host, "net.ipv4.tcp_mem"), "900000 1000000 1500000");
        assert_eq!(value(&host, "net.ipv4.ip_local_port_range"), "1024 65535");
        assert_eq!(value(&host, "net.ipv4.tcp_wmem"), "4096 16384 262144");
    }

    #[test]
    fn descriptors_grow_in_steps() {
        let descriptors = |connections| descriptors(&Plan { connections, ..million() });
        assert_eq!(descriptors(1), 1 << 20);
        assert_eq!(descriptors(1_000_000), 1 << 20);
        assert_eq!(descriptors((1 << 20) - 512), 1 << 20);
        assert_eq!(descriptors((1 << 20) - 511), 2 << 20);
        assert_eq!(descriptors(10_000_000), 10 << 20);
        assert_eq!(descriptors(u64::MAX), u64::MAX);
    }

    #[test]
    fn a_remedy_is_a_command() {
        let host = Fixture::new();
        let remedy = |key| remedy(&million(), &host.tree(), key);
        assert_eq!(remedy("net.core.somaxconn"), "sysctl -w net.core.somaxconn=65535");
        assert_eq!(
            remedy("net.ipv4.tcp_mem"),
            "sysctl -w net.ipv4.tcp_mem='750000 1000000 1500000'"
        );
    }
}
