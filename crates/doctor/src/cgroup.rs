//! Limits of control groups, in both versions: the tightest one between this process's group and
//! the root counts.
//!
//! A container may see its own group as the root while `/proc/self/cgroup` names a path of the
//! host, so levels that do not exist are skipped.

use crate::Tree;

/// Most levels of groups that are looked at.
const LEVELS_MAX: usize = 64;

/// Version 1 writes "no limit" as the largest number of whole pages.
const UNLIMITED_FROM: u64 = 1 << 62;

/// What groups allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    /// Nobody says.
    Unknown,
    /// No group limits it.
    Unlimited,
    /// The tightest limit.
    At(u64),
}

/// The limit on memory in bytes.
pub(super) fn memory(tree: &Tree) -> Limit {
    tightest(tree, "memory", |folder, version| {
        let file = if version == 2 { "memory.max" } else { "memory.limit_in_bytes" };
        parse(&tree.read(&format!("{folder}/{file}"))?)
    })
}

/// The limit on tasks.
pub(super) fn tasks(tree: &Tree) -> Limit {
    tightest(tree, "pids", |folder, _| parse(&tree.read(&format!("{folder}/pids.max"))?))
}

/// The limit on processor time in thousandths of a core.
pub(super) fn processor(tree: &Tree) -> Limit {
    tightest(tree, "cpu", |folder, version| {
        let (quota, period) = if version == 2 {
            let text = tree.read(&format!("{folder}/cpu.max"))?;
            let (quota, period) = text.split_once(' ')?;
            (quota.to_owned(), period.trim().parse().ok())
        } else {
            let quota = tree.read(&format!("{folder}/cpu.cfs_quota_us"))?;
            (quota, tree.number(&format!("{folder}/cpu.cfs_period_us")))
        };
        match (parse(&quota)?, period) {
            (Limit::At(quota), Some(period @ 1..)) => {
                Some(Limit::At(quota.saturating_mul(1000) / period))
            }
            (Limit::At(_), _) => Some(Limit::Unknown),
            (limit, _) => Some(limit),
        }
    })
}

/// A number, or how a version says that there is none.
fn parse(text: &str) -> Option<Limit> {
    match text {
        "max" | "-1" => Some(Limit::Unlimited),
        number => Some(match number.parse() {
            Ok(UNLIMITED_FROM..) => Limit::Unlimited,
            Ok(number) => Limit::At(number),
            Err(_) => Limit::Unknown,
        }),
    }
}

/// The tightest of what `read` finds in the folders of this process's groups.
fn tightest(tree: &Tree, controller: &str, read: impl Fn(&str, u8) -> Option<Limit>) -> Limit {
    let Some(groups) = tree.read("/proc/self/cgroup") else { return Limit::Unknown };
    let mut result = Limit::Unlimited;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        for (base, version) in bases(controllers, controller) {
            for level in levels(path) {
                let Some(limit) = read(&format!("{base}{level}"), version) else { continue };
                result = match (result, limit) {
                    (Limit::At(least), Limit::At(limit)) => Limit::At(least.min(limit)),
                    (Limit::At(least), _) => Limit::At(least),
                    (_, Limit::At(limit)) => Limit::At(limit),
                    (Limit::Unknown, _) | (_, Limit::Unknown) => Limit::Unknown,
                    _ => Limit::Unlimited,
                };
            }
        }
    }
    result
}

/// Where a controller of one line of `/proc/self/cgroup` may be mounted.
fn bases(controllers: &str, controller: &str) -> Vec<(String, u8)> {
    if controllers.is_empty() {
        let mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
        return mounts.map(|base| (base.to_owned(), 2)).to_vec();
    }
    if !controllers.split(',').any(|name| name == controller) || controllers.contains('/') {
        return Vec::new();
    }
    let mut names = vec![controllers, controller];
    names.dedup();
    names.into_iter().map(|name| (format!("/sys/fs/cgroup/{name}"), 1)).collect()
}

/// A group and all above it: `/a/b`, `/a` and the root.
fn levels(path: &str) -> Vec<String> {
    let mut levels = vec![String::new()];
    for name in path.split('/').filter(|name| !name.is_empty()).take(LEVELS_MAX) {
        // Groups outside this process's view are written as `..`.
        if matches!(name, "." | "..") {
            break;
        }
        let above = levels.last().map_or("", String::as_str);
        levels.push(format!("{above}/{name}"));
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    #[test]
    fn the_tightest_level_counts() {
        let host = Fixture::new();
        host.file("/proc/self/cgroup", "0::/system.slice/tidegate.service\n");
        host.file("/sys/fs/cgroup/system.slice/memory.max", "4000\n");
        host.file("/sys/fs/cgroup/system.slice/tidegate.service/memory.max", "max\n");
        assert_eq!(memory(&host.tree()), Limit::At(4000));
        host.file("/sys/fs/cgroup/system.slice/tidegate.service/memory.max", "9000");
        assert_eq!(memory(&host.tree()), Limit::At(4000));
        host.file("/sys/fs/cgroup/system.slice/tidegate.service/memory.max", "3000");
        assert_eq!(memory(&host.tree()), Limit::At(3000));
    }

    #[test]
    fn version_1_is_understood() {
        let host = Fixture::new();
        host.file("/proc/self/cgroup", "4:memory:/x\n3:cpu,cpuacct:/\n2:pids:/gone\n0::/\n");
        host.file("/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "9223372036854771712");
        assert_eq!(memory(&host.tree()), Limit::Unlimited);
        host.file("/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "1000");
        assert_eq!(memory(&host.tree()), Limit::At(1000));
        host.file("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "150000");
        assert_eq!(processor(&host.tree()), Limit::Unknown, "a quota without a period");
        host.file("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000");
        assert_eq!(processor(&host.tree()), Limit::At(1500));
        host.file("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1");
        assert_eq!(processor(&host.tree()), Limit::Unlimited);
        host.file("/sys/fs/cgroup/pids/pids.max", "512");
        assert_eq!(tasks(&host.tree()), Limit::At(512), "the root of a container");
    }

    #[test]
    fn quotas_of_version_2_are_thousandths_of_a_core() {
        let host = Fixture::new();
        host.file("/proc/self/cgroup", "0::/\n");
        for (text, limit) in [
            ("max 100000", Limit::Unlimited),
            ("200000 100000", Limit::At(2000)),
            ("50000 100000\n", Limit::At(500)),
            ("50000 0", Limit::Unknown),
            ("a b", Limit::Unknown),
            ("50000 b", Limit::Unknown),
            ("18446744073709551615 1", Limit::Unlimited),
        ] {
            host.file("/sys/fs/cgroup/cpu.max", text);
            assert_eq!(processor(&host.tree()), limit, "{text}");
        }
    }

    #[test]
    fn hostile_paths_stay_below_the_root() {
        assert_eq!(levels("/a/b"), ["", "/a", "/a/b"]);
        assert_eq!(levels("/../../etc"), [""]);
        assert_eq!(levels("//a//"), ["", "/a"]);
        assert_eq!(levels(&"/x".repeat(5000)).len(), LEVELS_MAX + 1);
        assert!(bases("../memory,memory", "memory").is_empty());
        let host = Fixture::new();
        assert_eq!(memory(&host.tree()), Limit::Unknown);
        for text in ["", ":", "::", "nonsense\n0", "0::", "a:memory"] {
            host.file("/proc/self/cgroup", text);
            assert_eq!(memory(&host.tree()), Limit::Unlimited, "{text}");
        }
        host.file("/proc/self/cgroup", "0::/\n");
        host.file("/sys/fs/cgroup/memory.max", "lots");
        assert_eq!(memory(&host.tree()), Limit::Unknown);
    }
}
