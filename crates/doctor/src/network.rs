//! Tables of the network stack: backlogs of new connections, ports, and the firewall's tracker.

use crate::finding::grouped;
use crate::setting;
use crate::{Finding, Plan, Tree, Verdict};

const CONNTRACK_MAX: &str = "net.netfilter.nf_conntrack_max";

pub(super) fn check(tree: &Tree, plan: &Plan) -> Vec<Finding> {
    vec![
        somaxconn(tree, plan),
        syn_backlog(tree, plan),
        port_range(tree, plan),
        conntrack(tree, plan),
    ]
}

/// The bound of every listener's backlog.
pub(super) fn somaxconn(tree: &Tree, plan: &Plan) -> Finding {
    let key = "net.core.somaxconn";
    Finding::new(key, format!("{} = public.backlog", grouped(plan.backlog)))
        .breaks("the kernel cuts public.backlog without a word and drops bursts of connections")
        .remedy(setting::remedy(plan, tree, key))
        .at_least(tree.sysctl(key), plan.backlog, Verdict::Warn)
}

/// Matters only without SYN cookies: with them the listener's backlog is the bound.
fn syn_backlog(tree: &Tree, plan: &Plan) -> Finding {
    let key = "net.ipv4.tcp_max_syn_backlog";
    let needed = format!("{} = public.backlog, or SYN cookies", grouped(plan.backlog));
    let finding = Finding::new(key, needed)
        .breaks("SYNs of a reconnect storm are dropped while net.ipv4.tcp_syncookies is 0")
        .remedy(setting::remedy(plan, tree, key));
    let Some(now) = tree.sysctl(key) else { return finding };
    if matches!(tree.sysctl("net.ipv4.tcp_syncookies"), Some(1..)) {
        return finding.is(format!("{}, SYN cookies on", grouped(now)), Verdict::Ok);
    }
    finding.at_least(Some(now), plan.backlog, Verdict::Warn)
}

/// The edge itself opens no connections to clients, but what stands in front of it does.
fn port_range(tree: &Tree, plan: &Plan) -> Finding {
    let key = "net.ipv4.ip_local_port_range";
    let finding = Finding::new(key, "only for a proxy or load generator on this host")
        .remedy(setting::remedy(plan, tree, key));
    let Some([low, high]) = tree.sysctls::<2>(key) else { return finding };
    if low == 0 || low > high || high > 65_535 {
        return finding;
    }
    let ports = high - low + 1;
    let addresses = plan.connections.div_ceil(ports);
    finding
        .breaks(format!(
            "{} ports for each source address: with a proxy or load generator on this host the \
             plan takes {} source addresses",
            grouped(ports),
            grouped(addresses)
        ))
        .is(format!("{low} {high}"), Verdict::Ok)
}

/// The tracker refuses what it has no entry for.
pub(super) fn conntrack(tree: &Tree, plan: &Plan) -> Finding {
    let needed = setting::conntrack(plan);
    let finding =
        Finding::new(CONNTRACK_MAX, format!("{} = connections + a quarter", grouped(needed)))
            .breaks("\"nf_conntrack: table full, dropping packet\": new connections time out")
            .remedy(format!(
                "{}, or do not track the edge's port (notrack in the raw table)",
                setting::remedy(plan, tree, CONNTRACK_MAX)
            ));
    if !tree.exists("/proc/sys/net/netfilter/nf_conntrack_max") {
        let is_network_known = tree.exists("/proc/sys/net");
        return if is_network_known { finding.is("not loaded", Verdict::Ok) } else { finding };
    }
    let Some(max) = tree.sysctl(CONNTRACK_MAX) else { return finding };
    let used = tree.sysctl("net.netfilter.nf_conntrack_count");
    // The module tracks nothing until a rule of the firewall asks for it.
    let is_idle = used == Some(0);
    let used = used.unwrap_or(0);
    let verdict = if max >= needed {
        Verdict::Ok
    } else if is_idle || max >= plan.connections.saturating_add(used) {
        Verdict::Warn
    } else {
        Verdict::Fail
    };
    finding.is(format!("{}, {} used", grouped(max), grouped(used)), verdict)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, about, million};
    use super::*;

    fn verdict(host: &Fixture, setting: &str) -> Verdict {
        about(&check(&host.tree(), &million()), setting).verdict
    }

    #[test]
    fn backlogs_are_compared_with_the_option() {
        let host = Fixture::fit();
        for key in ["net.core.somaxconn", "net.ipv4.tcp_max_syn_backlog"] {
            for (text, expected) in [
                ("4096", Verdict::Ok),
                ("4095", Verdict::Warn),
                ("128", Verdict::Warn),
                ("many", Verdict::Unknown),
            ] {
                host.sysctl(key, text);
                assert_eq!(verdict(&host, key), expected, "{key} {text}");
            }
        }
        host.sysctl("net.ipv4.tcp_max_syn_backlog", "128");
        host.sysctl("net.ipv4.tcp_syncookies", "1");
        let cookies = check(&host.tree(), &million());
        let syn = about(&cookies, "net.ipv4.tcp_max_syn_backlog");
        assert_eq!((syn.verdict, syn.value.as_str()), (Verdict::Ok, "128, SYN cookies on"));
        let found = check(&host.tree(), &Plan { backlog: 70_000, ..million() });
        assert!(about(&found, "net.core.somaxconn").remedy.ends_with("=70000"));
    }

    #[test]
    fn ports_are_counted_for_each_source_address() {
        let host = Fixture::fit();
        let key = "net.ipv4.ip_local_port_range";
        host.sysctl(key, "32768\t60999");
        let found = check(&host.tree(), &million());
        let ports = about(&found, key);
        assert!(ports.breaks.starts_with("28,232 ports"), "{}", ports.breaks);
        assert!(ports.breaks.ends_with("36 source addresses"), "{}", ports.breaks);
        for text in ["0 0", "9 1", "1 99999", "1", "x y", ""] {
            host.sysctl(key, text);
            assert_eq!(verdict(&host, key), Verdict::Unknown, "{text}");
        }
        host.sysctl(key, "7 7");
        assert_eq!(verdict(&host, key), Verdict::Ok, "a single port");
    }

    #[test]
    fn the_tracker_matters_only_where_it_is_loaded() {
        let host = Fixture::fit();
        for (max, used, expected) in [
            ("1250000", "0", Verdict::Ok),
            ("1249999", "0", Verdict::Warn),
            ("1000000", "0", Verdict::Warn),
            ("1000000", "1", Verdict::Fail),
            ("262144", "0", Verdict::Warn),
            ("262144", "9", Verdict::Fail),
            ("262144", "?", Verdict::Fail),
            ("?", "0", Verdict::Unknown),
        ] {
            host.sysctl(CONNTRACK_MAX, max);
            host.sysctl("net.netfilter.nf_conntrack_count", used);
            assert_eq!(verdict(&host, CONNTRACK_MAX), expected, "{max} {used}");
        }
        let bare = Fixture::new();
        assert_eq!(verdict(&bare, CONNTRACK_MAX), Verdict::Unknown);
        bare.sysctl("net.core.somaxconn", "4096");
        let found = check(&bare.tree(), &million());
        assert_eq!(about(&found, CONNTRACK_MAX).value, "not loaded");
        assert_eq!(about(&found, CONNTRACK_MAX).verdict, Verdict::Ok);
    }
}
