//! The doctor as a whole: a fit host, an empty one, hostile ones, and that what it writes is what
//! it asks for.

use super::fixture::{Fixture, about, million, nothing};
use super::*;

fn verdicts(tree: &Tree) -> Report {
    examine(tree, &million(), None)
}

#[test]
fn a_fit_host_has_nothing_to_do() {
    let host = Fixture::fit();
    host.limits(
        "Max locked memory         8388608              8388608              bytes\n\
         Max open files            1024                 1048576              files",
    );
    let report = examine(&host.tree(), &million(), Some(Ok(Rings::Count)));
    for finding in &report.findings {
        assert_eq!(finding.verdict, Verdict::Ok, "{finding:?}");
    }
    assert!(report.is_fit());
}

#[test]
fn a_host_that_says_nothing_is_unknown() {
    let report = verdicts(&Fixture::new().tree());
    assert!(report.is_fit());
    for finding in &report.findings {
        assert_eq!(finding.verdict, Verdict::Unknown, "{finding:?}");
        assert!(!finding.remedy.is_empty(), "{finding:?}");
    }
}

#[test]
fn every_setting_is_listed_once() {
    let host = Fixture::fit();
    host.file("/sys/class/net/eth0/device/vendor", "x");
    let mut found: Vec<&str> =
        verdicts(&host.tree()).findings.iter().map(|finding| finding.setting).collect();
    found.sort_unstable();
    let mut listed = SETTINGS.to_vec();
    listed.sort_unstable();
    assert_eq!(found, listed);
}

#[test]
fn no_content_of_any_file_makes_it_panic() {
    let texts: [&[u8]; 9] = [
        b"",
        b"\n\n\n",
        b"-1 -1 -1",
        b"18446744073709551615 18446744073709551615 18446744073709551615",
        b"0 0 0",
        b"\xff\xfe\x00",
        b"Max open files 18446744073709551615 18446744073709551615 files",
        "Cpus_allowed_list: 0-18446744073709551615\nMemAvailable: \u{fc} kB".as_bytes(),
        b"0::/../../../..\n1:memory,cpu,pids:/a",
    ];
    let fit = Fixture::fit();
    let mut paths = Vec::new();
    files_below(&fit, "", &mut paths);
    assert!(paths.len() > 15, "{paths:?}");
    for text in texts {
        let all = Fixture::new();
        for path in &paths {
            let original = fit.tree().read(path).expect("the file was just listed");
            fit.bytes(path, text);
            all.bytes(path, text);
            let _ = verdicts(&fit.tree()).text();
            fit.file(path, &original);
        }
        let _ = verdicts(&all.tree()).json();
    }
}

fn files_below(host: &Fixture, folder: &str, paths: &mut Vec<String>) {
    for name in host.tree().list(folder) {
        let path = format!("{folder}/{name}");
        if host.root().join(path.trim_start_matches('/')).is_dir() {
            files_below(host, &path, paths);
        } else {
            paths.push(path);
        }
    }
}

#[test]
fn what_it_writes_is_what_it_asks_for() {
    for connections in [1, 20_000, 1_000_000, 10_000_000, 100_000_000] {
        let plan = Plan { connections, ..million() };
        let host = Fixture::fit();
        for (key, value) in [
            ("fs.nr_open", "1024"),
            ("fs.file-max", "1024"),
            ("net.core.somaxconn", "128"),
            ("net.ipv4.tcp_max_syn_backlog", "128"),
            ("net.ipv4.tcp_mem", "1 2 3"),
            ("net.ipv4.tcp_rmem", "4096 131072 6291456"),
            ("net.ipv4.tcp_wmem", "4096 16384 4194304"),
            ("net.ipv4.ip_local_port_range", "32768 60999"),
            ("net.netfilter.nf_conntrack_max", "1"),
            ("net.netfilter.nf_conntrack_count", "0"),
        ] {
            host.sysctl(key, value);
        }
        for sysctl in setting::sysctls(&plan, &host.tree()) {
            host.sysctl(sysctl.key, &sysctl.value);
        }
        let descriptors = setting::descriptors(&plan);
        host.limits(&format!("Max open files            1024   {descriptors}   files"));
        let report = examine(&host.tree(), &plan, None);
        for sysctl in setting::sysctls(&plan, &host.tree()) {
            let finding = about(&report.findings, sysctl.key);
            assert_eq!(finding.verdict, Verdict::Ok, "{connections}: {finding:?}");
        }
        assert_eq!(about(&report.findings, "LimitNOFILE").verdict, Verdict::Ok);
    }
}

#[test]
fn a_start_warns_of_what_the_host_cuts() {
    let host = Fixture::fit();
    host.sysctl("net.netfilter.nf_conntrack_max", "1000");
    host.limits("Max open files            1024                 20000                files");
    let mut wanted = Wanted { backends: 8_736, ..nothing() };
    assert!(examine_start(&host.tree(), &wanted).is_empty(), "nobody asked for a number");
    host.limits("Max open files            1024                 4607                 files");
    wanted.backends = 0;
    let found = examine_start(&host.tree(), &wanted);
    assert_eq!((found.len(), found[0].setting), (1, "LimitNOFILE"), "so few nobody has chosen");
    assert!(found[0].breaks.contains("connection 4,096 is refused"), "{}", found[0].breaks);
    wanted.connections = Some(20_000);
    host.limits("Max open files            1024                 20000                files");
    let found: Vec<_> =
        examine_start(&host.tree(), &wanted).iter().map(|finding| finding.setting).collect();
    assert_eq!(found, ["LimitNOFILE", "net.netfilter.nf_conntrack_max"]);
    host.sysctl("net.core.somaxconn", "128");
    wanted.connections = Some(500);
    let found = examine_start(&host.tree(), &wanted);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].remedy, "sysctl -w net.core.somaxconn=65535");
    assert!(examine_start(&Fixture::new().tree(), &wanted).is_empty());
}
