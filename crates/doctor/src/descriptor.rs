//! Descriptors: the limit of the process, the kernel's ceiling of that limit, and the host's sum.
//!
//! The limits are those of the doctor's own process. A service has those of its unit, which is
//! why the remedy names both.

use crate::finding::grouped;
use crate::{Finding, Plan, Tree, Verdict, setting};
use tidegate_sys::memlock::Rings;
use tidegate_sys::ring::Size;

pub(super) fn check(tree: &Tree, plan: &Plan, rings: Option<Rings>) -> Vec<Finding> {
    vec![
        hard_limit(tree, plan),
        soft_limit(tree, plan),
        ceiling(tree, plan),
        host_files(tree, plan),
        locked_memory(tree, plan, rings),
    ]
}

/// Soft and hard limit in a line of `/proc/self/limits`.
pub(super) fn limit(tree: &Tree, name: &str) -> Option<(u64, u64)> {
    let text = tree.read("/proc/self/limits")?;
    let mut words = text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace();
    let mut number = || match words.next()? {
        "unlimited" => Some(u64::MAX),
        word => word.parse().ok(),
    };
    Some((number()?, number()?))
}

/// The limit that a process cannot raise itself.
pub(super) fn hard_limit(tree: &Tree, plan: &Plan) -> Finding {
    let needed = plan.descriptors();
    let finding = Finding::new("LimitNOFILE", needed_text(plan)).remedy(format!(
        "in the unit LimitNOFILE={} (--write), in a container --ulimit nofile={0}:{0}, in a \
         shell ulimit -n",
        setting::descriptors(plan)
    ));
    let Some((_, hard)) = limit(tree, "Max open files") else { return finding };
    let verdict = if hard >= needed { Verdict::Ok } else { Verdict::Fail };
    finding.breaks(too_few(plan, hard)).is(grouped(hard), verdict)
}

fn needed_text(plan: &Plan) -> String {
    let (sum, connections) = (grouped(plan.descriptors()), grouped(plan.connections));
    format!("{sum} = {connections} connections + {}", grouped(plan.others()))
}

/// What a hard limit means that cannot be raised.
fn too_few(plan: &Plan, hard: u64) -> String {
    let room = plan.room(hard);
    if room == 0 {
        let others = grouped(plan.others());
        return format!("not one connection fits: {others} are kept for the edge");
    }
    let processes = plan.connections.div_ceil(room);
    format!(
        "connection {} is refused; if the limit cannot be raised, {} processes with ports of \
         their own carry the plan",
        grouped(room + 1),
        grouped(processes)
    )
}

/// The limit that `serve` raises to the hard one by itself.
fn soft_limit(tree: &Tree, plan: &Plan) -> Finding {
    let finding = Finding::new("soft limit of files", "any: serve raises it to the hard limit")
        .breaks("nothing by itself; see LimitNOFILE")
        .remedy("see LimitNOFILE");
    let Some((soft, hard)) = limit(tree, "Max open files") else { return finding };
    let is_enough = soft.max(hard) >= plan.descriptors();
    finding.is(grouped(soft), if is_enough { Verdict::Ok } else { Verdict::Warn })
}

fn ceiling(tree: &Tree, plan: &Plan) -> Finding {
    Finding::new("fs.nr_open", grouped(plan.descriptors()))
        .breaks("a higher LimitNOFILE is refused and the service does not start")
        .remedy(setting::remedy(plan, tree, "fs.nr_open"))
        .at_least(tree.sysctl("fs.nr_open"), plan.descriptors(), Verdict::Fail)
}

pub(super) fn host_files(tree: &Tree, plan: &Plan) -> Finding {
    let [used, ..] = tree.sysctls::<3>("fs.file-nr").unwrap_or_default();
    let needed = used.saturating_add(plan.descriptors());
    let text = format!("{} = {} open now + the edge's", grouped(needed), grouped(used));
    Finding::new("fs.file-max", text)
        .breaks("accept fails with ENFILE, and so does every open() of the host")
        .remedy(setting::remedy(plan, tree, "fs.file-max"))
        .at_least(tree.sysctl("fs.file-max"), needed, Verdict::Fail)
}

/// What rings may lock. The edge takes smaller ones where full ones do not fit.
fn locked_memory(tree: &Tree, plan: &Plan, rings: Option<Rings>) -> Finding {
    let bytes_of = |size: Size| plan.shards.saturating_mul(size.shard_bytes());
    let (full, least) = (bytes_of(Size::FULL), bytes_of(Size::LEAST));
    let each = grouped(Size::FULL.shard_bytes());
    let text = format!("{} = {each} for each of {} shards", grouped(full), plan.shards);
    let finding = Finding::new("LimitMEMLOCK", text)
        .breaks(format!(
            "rings are smaller and cost more system calls; below {} serve does not start. All \
             processes of a user share the limit",
            grouped(least)
        ))
        .remedy(format!(
            "in the unit LimitMEMLOCK={full} (--write), in a container --ulimit \
             memlock={full}:{full}, in a shell ulimit -l {}",
            full.div_ceil(1024)
        ));
    // The edge raises the soft limit to the hard one by itself.
    let Some((_, hard)) = limit(tree, "Max locked memory") else { return finding };
    let value = grouped(hard);
    match rings {
        Some(Rings::AreFree) => {
            finding.is(format!("{value}, but rings of this process do not count"), Verdict::Ok)
        }
        _ if hard >= full => finding.is(value, Verdict::Ok),
        Some(Rings::Count) if hard < least => finding.is(value, Verdict::Fail),
        Some(Rings::Count) => finding.is(value, Verdict::Warn),
        // Whether they count there, only that kernel can say.
        None => finding.is(value, Verdict::Warn),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, about, million};
    use super::*;

    fn files(soft: &str, hard: &str) -> Fixture {
        let host = Fixture::fit();
        host.limits(&format!("Max open files            {soft}   {hard}   files"));
        host
    }

    #[test]
    fn too_low_a_hard_limit_fails_and_says_how_many_processes_would_do() {
        let found = check(&files("1024", "20000").tree(), &million(), None);
        let hard = about(&found, "LimitNOFILE");
        assert_eq!(hard.verdict, Verdict::Fail);
        assert_eq!(hard.value, "20,000");
        assert_eq!(hard.needed, "1,000,512 = 1,000,000 connections + 512");
        assert!(hard.breaks.contains("connection 19,489 is refused"), "{}", hard.breaks);
        assert!(hard.breaks.contains("52 processes"), "{}", hard.breaks);
        assert!(hard.remedy.contains("LimitNOFILE=1048576"), "{}", hard.remedy);
        assert_eq!(about(&found, "soft limit of files").verdict, Verdict::Warn);
    }

    #[test]
    fn a_low_soft_limit_below_a_high_hard_one_is_fine() {
        for hard in ["1000512", "1048576", "unlimited"] {
            let found = check(&files("1024", hard).tree(), &million(), None);
            assert_eq!(about(&found, "LimitNOFILE").verdict, Verdict::Ok, "{hard}");
            assert_eq!(about(&found, "soft limit of files").verdict, Verdict::Ok);
        }
        let found = check(&files("1024", "1000511").tree(), &million(), None);
        assert_eq!(about(&found, "LimitNOFILE").verdict, Verdict::Fail);
    }

    #[test]
    fn a_limit_below_the_reserve_divides_nothing() {
        for hard in ["0", "512", "100"] {
            let found = check(&files("0", hard).tree(), &million(), None);
            let hard = about(&found, "LimitNOFILE");
            assert!(hard.breaks.contains("not one connection"), "{}", hard.breaks);
        }
    }

    #[test]
    fn garbled_limits_are_unknown() {
        for (soft, hard) in [("x", "1"), ("1", "y"), ("", ""), ("-5", "7")] {
            let found = check(&files(soft, hard).tree(), &million(), None);
            if !soft.is_empty() {
                assert_eq!(about(&found, "LimitNOFILE").verdict, Verdict::Unknown);
            }
        }
        let found = check(&Fixture::new().tree(), &million(), None);
        assert!(found.iter().all(|finding| finding.verdict == Verdict::Unknown), "{found:?}");
    }

    #[test]
    fn the_ceilings_of_the_host_are_compared() {
        let host = Fixture::fit();
        host.sysctl("fs.nr_open", "1000000");
        host.sysctl("fs.file-max", "1000600");
        let found = check(&host.tree(), &million(), None);
        assert_eq!(about(&found, "fs.nr_open").verdict, Verdict::Fail);
        assert_eq!(about(&found, "fs.nr_open").remedy, "sysctl -w fs.nr_open=1048576");
        let sum = about(&found, "fs.file-max");
        assert_eq!(sum.verdict, Verdict::Fail, "1,000 files are open already");
        assert_eq!(sum.needed, "1,001,512 = 1,000 open now + the edge's");
    }

    #[test]
    fn locked_memory_is_judged_with_what_the_kernel_says_of_rings() {
        let host = Fixture::fit();
        let verdict = |hard: &str, rings| {
            host.limits(&format!("Max locked memory         1        {hard}         bytes"));
            about(&check(&host.tree(), &million(), rings), "LimitMEMLOCK").verdict
        };
        for (hard, counted, not_asked) in [
            ("unlimited", Verdict::Ok, Verdict::Ok),
            ("393216", Verdict::Ok, Verdict::Ok),
            ("393215", Verdict::Warn, Verdict::Warn),
            ("73728", Verdict::Warn, Verdict::Warn),
            ("73727", Verdict::Fail, Verdict::Warn),
        ] {
            assert_eq!(verdict(hard, Some(Rings::Count)), counted, "{hard}");
            assert_eq!(verdict(hard, None), not_asked, "{hard}");
            assert_eq!(verdict(hard, Some(Rings::AreFree)), Verdict::Ok, "{hard}");
        }
        let found = check(&host.tree(), &million(), Some(Rings::Count));
        let finding = about(&found, "LimitMEMLOCK");
        assert_eq!(finding.needed, "393,216 = 196,608 for each of 2 shards");
        assert!(finding.remedy.contains("LimitMEMLOCK=393216"), "{}", finding.remedy);
    }
}
