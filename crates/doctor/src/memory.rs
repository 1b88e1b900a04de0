//! Memory: what the connections take, what groups allow, and how much sockets may buffer.
//!
//! The price of an idle connection is in `plan`. Buffers come on top of it: the kernel counts them
//! in pages against `tcp_mem`, and a socket with anything in its buffer holds at least one page.

use crate::cgroup::{self, Limit};
use crate::finding::{bytes, grouped};
use crate::plan::{KERNEL_BYTES, USER_BYTES};
use crate::setting::{self, BUFFER_BYTES_MAX};
use crate::{Finding, Plan, Tree, Verdict};

const PAGE_BYTES: u64 = 4096;

pub(super) fn check(tree: &Tree, plan: &Plan) -> Vec<Finding> {
    vec![
        available(tree, plan),
        group(tree, plan),
        tcp_mem(tree, plan),
        receive_buffer(tree, plan),
        send_buffer(tree, plan),
        huge_pages(tree),
    ]
}

fn needed(plan: &Plan) -> String {
    let (sum, count) = (bytes(plan.idle_bytes()), grouped(plan.connections));
    let (kernel, user) = (grouped(KERNEL_BYTES), grouped(USER_BYTES));
    let idle = format!("{sum} = {count} x ({kernel} B kernel + {user} B user)");
    match plan.budgets {
        0 => idle,
        budgets => format!("{idle}, and up to {} of budgets", bytes(budgets)),
    }
}

/// Idle connections must fit; what may be owed, half read or remembered on top of them should.
fn judge(plan: &Plan, room: u64) -> Verdict {
    let idle = plan.idle_bytes();
    if room < idle {
        Verdict::Fail
    } else if room < idle.saturating_add(plan.budgets) {
        Verdict::Warn
    } else {
        Verdict::Ok
    }
}

pub(super) fn available(tree: &Tree, plan: &Plan) -> Finding {
    let finding = Finding::new("memory", needed(plan))
        .breaks("the kernel kills the edge, or something else, before all are connected")
        .remedy(
            "take a host with more memory, or plan fewer connections or lower budgets \
             (slow.memory_max, websocket.memory_max, history.memory_max)",
        );
    let available = tree.field("/proc/meminfo", "MemAvailable");
    let kilobytes =
        available.as_deref().and_then(|text| text.strip_suffix("kB")?.trim().parse().ok());
    let Some(kilobytes): Option<u64> = kilobytes else { return finding };
    let room = kilobytes.saturating_mul(1024);
    finding.is(format!("{} available", bytes(room)), judge(plan, room))
}

pub(super) fn group(tree: &Tree, plan: &Plan) -> Finding {
    let finding = Finding::new("memory.max", "as memory: sockets count against the group too")
        .breaks("the group's limit kills the edge although the host has memory")
        .remedy("in the unit MemoryMax=infinity, or in a container a higher --memory");
    match cgroup::memory(tree) {
        Limit::Unknown => finding,
        Limit::Unlimited => finding.is("no limit", Verdict::Ok),
        Limit::At(limit) => finding.is(bytes(limit), judge(plan, limit)),
    }
}

pub(super) fn tcp_mem(tree: &Tree, plan: &Plan) -> Finding {
    let key = "net.ipv4.tcp_mem";
    let pages = plan.connections;
    let needed = format!(
        "pressure at {} pages ({}): one for each connection with a message on its way; high at {}",
        grouped(pages),
        bytes(pages.saturating_mul(PAGE_BYTES)),
        grouped(pages.saturating_add(pages / 2))
    );
    let finding = Finding::new(key, needed)
        .breaks("a message to all makes the kernel shrink windows, then drop segments and sockets")
        .remedy(setting::remedy(plan, tree, key));
    let Some(now @ [_, pressure, high]) = tree.sysctls::<3>(key) else { return finding };
    let is_enough = pressure >= pages && high >= pages.saturating_add(pages / 2);
    finding.is(joined(&now), if is_enough { Verdict::Ok } else { Verdict::Warn })
}

fn receive_buffer(tree: &Tree, plan: &Plan) -> Finding {
    let breaks = "clients that send while the edge holds them back fill the kernel's memory";
    buffer(tree, plan, ("net.ipv4.tcp_rmem", breaks))
}

fn send_buffer(tree: &Tree, plan: &Plan) -> Finding {
    let breaks = "slow clients fill the kernel's memory before slow.age_max closes them";
    buffer(tree, plan, ("net.ipv4.tcp_wmem", breaks))
}

/// Full buffers of a hundredth of the connections must fit below the pressure of `tcp_mem`, as it
/// is or as the plan wants it.
fn buffer(tree: &Tree, plan: &Plan, (key, breaks): (&'static str, &str)) -> Finding {
    let slow = (plan.connections / 100).max(1);
    let pressure = tree.sysctls::<3>("net.ipv4.tcp_mem").map_or(0, |[_, pressure, _]| pressure);
    let budget = plan.connections.max(pressure).saturating_mul(PAGE_BYTES);
    let most = (budget / slow).max(BUFFER_BYTES_MAX);
    let needed = format!(
        "at most {most}: 1 % of the connections x {} <= {} of tcp_mem",
        bytes(most),
        bytes(budget)
    );
    let finding = Finding::new(key, needed).breaks(breaks).remedy(setting::remedy(plan, tree, key));
    let Some(now @ [.., largest]) = tree.sysctls::<3>(key) else { return finding };
    finding.is(joined(&now), if largest <= most { Verdict::Ok } else { Verdict::Warn })
}

fn huge_pages(tree: &Tree) -> Finding {
    let finding = Finding::new("transparent huge pages", "any: the edge opts out for itself")
        .breaks("tables that grow are backed by 2 MiB pages that nobody uses")
        .remedy("echo madvise > /sys/kernel/mm/transparent_hugepage/enabled");
    let Some(text) = tree.read("/sys/kernel/mm/transparent_hugepage/enabled") else {
        return finding;
    };
    let chosen = text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
    match chosen {
        Some(chosen) => finding.is(chosen, Verdict::Ok),
        None => finding,
    }
}

fn joined(numbers: &[u64]) -> String {
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, about, million};
    use super::*;

    fn verdict(host: &Fixture, setting: &str) -> Verdict {
        about(&check(&host.tree(), &million()), setting).verdict
    }

    #[test]
    fn memory_shows_its_arithmetic() {
        let host = Fixture::fit();
        let found = check(&host.tree(), &million());
        assert_eq!(
            about(&found, "memory").needed,
            "4.6 GB = 1,000,000 x (4,200 B kernel + 400 B user), and up to 536.8 MB of budgets"
        );
        for (text, expected) in [
            ("MemAvailable: 5100000 kB", Verdict::Ok),
            ("MemAvailable: 4700000 kB", Verdict::Warn),
            ("MemAvailable: 4400000 kB", Verdict::Fail),
            ("MemAvailable: 0 kB", Verdict::Fail),
            ("MemAvailable: much", Verdict::Unknown),
            ("MemAvailable: -1 kB", Verdict::Unknown),
            ("MemAvailable:", Verdict::Unknown),
            ("", Verdict::Unknown),
            ("MemAvailable: 18446744073709551615 kB", Verdict::Ok),
        ] {
            host.file("/proc/meminfo", text);
            assert_eq!(verdict(&host, "memory"), expected, "{text}");
        }
    }

    #[test]
    fn a_group_can_be_tighter_than_the_host() {
        let host = Fixture::fit();
        assert_eq!(verdict(&host, "memory.max"), Verdict::Ok);
        host.file("/sys/fs/cgroup/memory.max", "1073741824");
        assert_eq!(verdict(&host, "memory.max"), Verdict::Fail);
        host.file("/sys/fs/cgroup/memory.max", "?");
        assert_eq!(verdict(&host, "memory.max"), Verdict::Unknown);
    }

    #[test]
    fn buffers_of_all_sockets_need_a_page_each() {
        let host = Fixture::fit();
        let key = "net.ipv4.tcp_mem";
        for (text, expected) in [
            ("287898\t383867\t575796", Verdict::Warn),
            ("1 1000000 1500000", Verdict::Ok),
            ("1 1000000 1499999", Verdict::Warn),
            ("1 2", Verdict::Unknown),
            ("1 2 three", Verdict::Unknown),
        ] {
            host.sysctl(key, text);
            assert_eq!(verdict(&host, key), expected, "{text}");
        }
    }

    #[test]
    fn the_largest_buffer_may_not_be_too_large() {
        let host = Fixture::fit();
        for key in ["net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"] {
            for (text, expected) in [
                ("4096 16384 4194304", Verdict::Warn),
                ("4096 16384 262144", Verdict::Ok),
                ("4096 16384 409600", Verdict::Ok),
                ("4096 16384 409601", Verdict::Warn),
                ("4096", Verdict::Unknown),
            ] {
                host.sysctl(key, text);
                assert_eq!(verdict(&host, key), expected, "{key} {text}");
            }
        }
        let few = Plan { connections: 3, ..million() };
        host.sysctl("net.ipv4.tcp_wmem", "4096 16384 4194304");
        for (pressure, expected) in [("1023", Verdict::Warn), ("1024", Verdict::Ok)] {
            host.sysctl("net.ipv4.tcp_mem", &format!("1 {pressure} 9"));
            let found = check(&host.tree(), &few);
            assert_eq!(about(&found, "net.ipv4.tcp_wmem").verdict, expected, "{pressure}");
        }
    }

    #[test]
    fn huge_pages_are_the_edges_own_business() {
        let host = Fixture::fit();
        for (text, expected) in [
            ("[always] madvise never", Verdict::Ok),
            ("always madvise [never]", Verdict::Ok),
            ("always", Verdict::Unknown),
        ] {
            host.file("/sys/kernel/mm/transparent_hugepage/enabled", text);
            assert_eq!(verdict(&host, "transparent huge pages"), expected, "{text}");
        }
    }
}
