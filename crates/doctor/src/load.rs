//! What a bench asks of the host: a generator beside the server holds the other end of every
//! connection, and both may be many processes.
//!
//! What slow clients may be owed is left out: a bench says itself how many of those there are.

use crate::{Finding, Plan, Tree, Verdict, descriptor, memory, processor};

/// What a bench opens on this host.
#[derive(Clone, Copy, Debug)]
pub struct Sockets {
    /// Ends of connections.
    pub ends: u64,
    /// Processes that hold them.
    pub processes: u64,
}

/// What stands against so many sockets, the worst first. [`Verdict::Fail`] means that the host
/// would run out of something before all are open.
#[must_use]
pub fn examine_load(tree: &Tree, sockets: Sockets) -> Vec<Finding> {
    let Sockets { ends, processes } = sockets;
    let plan = Plan { connections: ends, shards: processes, backlog: 0, backends: 0, budgets: 0 };
    let mut findings = vec![
        memory::available(tree, &plan),
        memory::group(tree, &plan),
        descriptor::host_files(tree, &plan),
        processor::tasks(tree, &plan),
        memory::tcp_mem(tree, &plan),
    ];
    findings.retain(|finding| matches!(finding.verdict, Verdict::Warn | Verdict::Fail));
    findings.sort_by_key(|finding| finding.verdict != Verdict::Fail);
    findings
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    #[test]
    fn both_ends_count_and_the_worst_comes_first() {
        let host = Fixture::fit();
        host.file("/proc/meminfo", "MemAvailable: 9000000 kB");
        let found = |ends, processes| examine_load(&host.tree(), Sockets { ends, processes });
        assert_eq!(found(1_000_000, 2), []);
        host.sysctl("net.ipv4.tcp_mem", "1 1000000 1500000");
        let names = |found: &[Finding]| {
            found.iter().map(|finding| (finding.setting, finding.verdict)).collect::<Vec<_>>()
        };
        let warned = found(2_000_000, 2);
        assert_eq!(names(&warned), [("net.ipv4.tcp_mem", Verdict::Warn)]);
        let failed = found(3_000_000, 2);
        let expected = [("memory", Verdict::Fail), ("net.ipv4.tcp_mem", Verdict::Warn)];
        assert_eq!(names(&failed), expected);
        assert!(failed[0].needed.contains("= 3,000,000 x ("), "{}", failed[0].needed);
    }
}
