//! Cores: how many this process may use, how much of them, and how many tasks.

use crate::cgroup::{self, Limit};
use crate::finding::grouped;
use crate::setting;
use crate::{Finding, Plan, Tree, Verdict};

/// More cores than any host has: a larger number in a list is garbage.
const CORES_MAX: u64 = 1 << 20;

pub(super) fn check(tree: &Tree, plan: &Plan) -> Vec<Finding> {
    vec![cores(tree, plan), limit(tree, plan), tasks(tree, plan)]
}

/// Cores that this process may run on.
pub(super) fn allowed(tree: &Tree) -> Option<u64> {
    count(&tree.field("/proc/self/status", "Cpus_allowed_list")?)
}

/// How many whole cores the processor time of this process's control groups fills, at least one;
/// none if they do not limit it. What is left of a core is for the threads besides shards.
#[must_use]
pub fn quota(tree: &Tree) -> Option<u64> {
    match cgroup::processor(tree) {
        Limit::At(milli) => Some((milli / 1000).max(1)),
        Limit::Unlimited | Limit::Unknown => None,
    }
}

/// Cores that are switched on.
pub(super) fn online(tree: &Tree) -> Option<u64> {
    count(&tree.read("/sys/devices/system/cpu/online")?)
}

/// How many cores a list such as `0-3,8` names.
fn count(list: &str) -> Option<u64> {
    let mut sum = 0u64;
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last >= CORES_MAX {
            return None;
        }
        sum += last - first + 1;
    }
    Some(sum)
}

fn cores(tree: &Tree, plan: &Plan) -> Finding {
    let finding = Finding::new("cores", format!("{} = shards", grouped(plan.shards)))
        .breaks("shards share a core: each waits while the other sends")
        .remedy(
            "lower shards.count, or allow more cores (AllowedCPUs= in the unit, --cpuset-cpus)",
        );
    let Some(allowed) = allowed(tree) else { return finding };
    let mut value = format!("{allowed} allowed");
    if let Some(online) = online(tree) {
        value = format!("{value} of {online} online");
    }
    if let Some(isolated) =
        tree.read("/sys/devices/system/cpu/isolated").filter(|list| !list.is_empty())
    {
        value = format!("{value}, {isolated} isolated");
    }
    finding.is(value, if allowed >= plan.shards { Verdict::Ok } else { Verdict::Warn })
}

/// Whether a quota leaves every shard a core.
pub(super) fn limit(tree: &Tree, plan: &Plan) -> Finding {
    let finding = Finding::new("cpu.max", format!("no limit, or {} cores = shards", plan.shards))
        .breaks("the group stops all shards for the rest of every period, usually 100 ms")
        .remedy("in the unit CPUQuota= (empty), in a container no --cpus; or lower shards.count");
    match cgroup::processor(tree) {
        Limit::Unknown => finding,
        Limit::Unlimited => finding.is("no limit", Verdict::Ok),
        Limit::At(milli) => {
            let is_enough = milli >= plan.shards.saturating_mul(1000);
            let value = format!("{}.{} cores", grouped(milli / 1000), milli % 1000 / 100);
            finding.is(value, if is_enough { Verdict::Ok } else { Verdict::Warn })
        }
    }
}

pub(super) fn tasks(tree: &Tree, plan: &Plan) -> Finding {
    let needed = setting::tasks(plan);
    let text = format!("{} = 16 for each of {} shards + 64", grouped(needed), plan.shards);
    let finding = Finding::new("pids.max", text)
        .breaks("threads and the kernel's helpers of io_uring cannot start")
        .remedy(format!("in the unit TasksMax={needed} (--write), in a container --pids-limit"));
    match cgroup::tasks(tree) {
        Limit::Unknown => finding,
        Limit::Unlimited => finding.is("no limit", Verdict::Ok),
        Limit::At(limit) => finding.at_least(Some(limit), needed, Verdict::Warn),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, about, million};
    use super::*;

    fn verdict(host: &Fixture, setting: &str) -> Verdict {
        about(&check(&host.tree(), &million()), setting).verdict
    }

    #[test]
    fn lists_of_cores_are_counted() {
        for (list, expected) in [
            ("0", Some(1)),
            ("0-3", Some(4)),
            ("0-3,8,10-11", Some(7)),
            ("", None),
            ("3-0", None),
            ("0-", None),
            ("-1", None),
            ("0-18446744073709551615", None),
            ("a,b", None),
        ] {
            assert_eq!(count(list), expected, "{list}");
        }
    }

    #[test]
    fn shards_need_cores_of_their_own() {
        let host = Fixture::fit();
        host.file("/sys/devices/system/cpu/isolated", "1\n");
        let found = check(&host.tree(), &million());
        assert_eq!(about(&found, "cores").value, "2 allowed of 2 online, 1 isolated");
        assert_eq!(about(&found, "cores").verdict, Verdict::Ok);
        host.file("/proc/self/status", "Cpus_allowed_list:\t0\n");
        assert_eq!(verdict(&host, "cores"), Verdict::Warn);
        host.file("/proc/self/status", "Cpus_allowed_list:\tall\n");
        assert_eq!(verdict(&host, "cores"), Verdict::Unknown);
    }

    #[test]
    fn groups_may_throttle() {
        let host = Fixture::fit();
        assert_eq!(verdict(&host, "cpu.max"), Verdict::Ok);
        host.file("/sys/fs/cgroup/cpu.max", "150000 100000\n");
        host.file("/sys/fs/cgroup/pids.max", "64\n");
        let found = check(&host.tree(), &million());
        assert_eq!(about(&found, "cpu.max").verdict, Verdict::Warn);
        assert_eq!(about(&found, "cpu.max").value, "1.5 cores");
        assert_eq!(about(&found, "pids.max").verdict, Verdict::Warn);
        assert_eq!(about(&found, "pids.max").needed, "96 = 16 for each of 2 shards + 64");
        assert_eq!(verdict(&Fixture::new(), "pids.max"), Verdict::Unknown);
    }
}
