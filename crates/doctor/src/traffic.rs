//! Hints from traffic that has been: connections that come and go, and packets that waited.

use crate::finding::grouped;
use crate::setting::command;
use crate::{Finding, Plan, Tree, Verdict};

/// One squeeze in this many packets is noise.
const SQUEEZE_SHARE: u64 = 10_000;

pub(super) fn check(tree: &Tree, plan: &Plan) -> Vec<Finding> {
    vec![reuse(tree), fin_timeout(tree, plan), softirq(tree)]
}

fn reuse(tree: &Tree) -> Finding {
    let key = "net.ipv4.tcp_tw_reuse";
    let finding = Finding::new(key, "1, or 2 (loopback only); for a proxy on this host")
        .breaks("a proxy in front runs out of ports while closed connections wait a minute")
        .remedy(command(key, "1"));
    match tree.sysctl(key) {
        Some(value @ 1..=2) => finding.is(value.to_string(), Verdict::Ok),
        Some(0) => finding.is("0", Verdict::Warn),
        Some(_) | None => finding,
    }
}

fn fin_timeout(tree: &Tree, plan: &Plan) -> Finding {
    let key = "net.ipv4.tcp_fin_timeout";
    let finding = Finding::new(key, "60 or less")
        .breaks(format!(
            "clients that vanish while {} connections are closed hold kernel memory for longer",
            grouped(plan.connections)
        ))
        .remedy(command(key, "60"));
    let Some(seconds) = tree.sysctl(key) else { return finding };
    let verdict = if seconds <= 60 { Verdict::Ok } else { Verdict::Warn };
    finding.is(format!("{} s", grouped(seconds)), verdict)
}

/// Counters since the host started: packets that met a full queue, and rounds cut short.
fn softirq(tree: &Tree) -> Finding {
    let key = "net.core.netdev_budget";
    let finding = Finding::new(key, "no packets dropped, fewer than 1 in 10,000 squeezed")
        .breaks("received packets wait for the next round, or are dropped before TCP sees them")
        .remedy(format!(
            "{}, then {} and {}; watch /proc/net/softnet_stat",
            command(key, "600"),
            command("net.core.netdev_budget_usecs", "4000"),
            command("net.core.netdev_max_backlog", "16384")
        ));
    let (Some(budget), Some(counters)) = (tree.sysctl(key), counters(tree)) else {
        return finding;
    };
    let [packets, dropped, squeezed] = counters;
    let is_calm = dropped == 0 && squeezed <= packets / SQUEEZE_SHARE;
    let value = format!(
        "{}: {} packets, {} dropped, {} squeezed",
        grouped(budget),
        grouped(packets),
        grouped(dropped),
        grouped(squeezed)
    );
    finding.is(value, if is_calm { Verdict::Ok } else { Verdict::Warn })
}

/// Sums over all cores of the first three columns of `softnet_stat`, which are hexadecimal.
fn counters(tree: &Tree) -> Option<[u64; 3]> {
    let text = tree.read("/proc/net/softnet_stat")?;
    let mut sums = [0u64; 3];
    for line in text.lines() {
        let mut words = line.split_whitespace();
        for sum in &mut sums {
            let count = u32::from_str_radix(words.next()?, 16).ok()?;
            *sum += u64::from(count);
        }
    }
    Some(sums)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, about, million};
    use super::*;

    fn verdict(host: &Fixture, setting: &str) -> Verdict {
        about(&check(&host.tree(), &million()), setting).verdict
    }

    #[test]
    fn churn_settings_are_judged() {
        let host = Fixture::fit();
        for (key, text, expected) in [
            ("net.ipv4.tcp_tw_reuse", "0", Verdict::Warn),
            ("net.ipv4.tcp_tw_reuse", "1", Verdict::Ok),
            ("net.ipv4.tcp_tw_reuse", "2", Verdict::Ok),
            ("net.ipv4.tcp_tw_reuse", "3", Verdict::Unknown),
            ("net.ipv4.tcp_tw_reuse", "yes", Verdict::Unknown),
            ("net.ipv4.tcp_fin_timeout", "60", Verdict::Ok),
            ("net.ipv4.tcp_fin_timeout", "120", Verdict::Warn),
            ("net.ipv4.tcp_fin_timeout", "", Verdict::Unknown),
        ] {
            host.sysctl(key, text);
            assert_eq!(verdict(&host, key), expected, "{key} {text}");
        }
    }

    #[test]
    fn counters_of_all_cores_are_added() {
        let host = Fixture::fit();
        for (text, expected) in [
            ("00002710 0 0 0\n00002710 00000000 00000002 0", Verdict::Ok),
            ("00002710 0 0 0\n00002710 00000000 00000003 0", Verdict::Warn),
            ("ffffffff 00000001 0", Verdict::Warn),
            ("ffffffff 0", Verdict::Unknown),
            ("xyz 0 0", Verdict::Unknown),
            ("1ffffffff 0 0", Verdict::Unknown),
        ] {
            host.file("/proc/net/softnet_stat", text);
            assert_eq!(verdict(&host, "net.core.netdev_budget"), expected, "{text}");
        }
        assert_eq!(verdict(&Fixture::new(), "net.core.netdev_budget"), Verdict::Unknown);
    }
}
