//! The kernel: its version, io_uring and whether somebody switched it off, and its clock.

use crate::{Finding, Tree, Verdict, setting};
use tidegate_sys::host;

/// The oldest kernel that the edge runs on (`DEFER_TASKRUN`).
const OLDEST: (u64, u64) = (6, 1);

/// Clocks that are read without a system call.
const FAST_CLOCKS: &[&str] =
    &["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter", "riscv_clocksource"];

/// Clocks that are read from a device.
const SLOW_CLOCKS: &[&str] = &["hpet", "acpi_pm", "xen", "jiffies", "refined-jiffies", "pit"];

pub(super) fn check(tree: &Tree, ring: Option<Result<(), host::Error>>) -> Vec<Finding> {
    let works = matches!(ring, Some(Ok(())));
    vec![version(tree, works), io_uring(ring), switch(tree, works), clock(tree)]
}

/// Major and minor number of the kernel.
fn release(tree: &Tree) -> Option<(u64, u64)> {
    let text = tree.read("/proc/sys/kernel/osrelease")?;
    let mut numbers = text.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn version(tree: &Tree, ring_works: bool) -> Finding {
    let finding = Finding::new("kernel version", format!("{}.{} or newer", OLDEST.0, OLDEST.1))
        .breaks("io_uring lacks what the shards need; serve does not start")
        .remedy("install a newer kernel, such as Debian 12's or newer");
    let (Some(text), Some(release)) = (tree.read("/proc/sys/kernel/osrelease"), release(tree))
    else {
        return finding;
    };
    // Distributions bring features back to older kernels, so the ring has the last word.
    let is_enough = release >= OLDEST || ring_works;
    finding.is(text, if is_enough { Verdict::Ok } else { Verdict::Fail })
}

fn io_uring(ring: Option<Result<(), host::Error>>) -> Finding {
    let finding = Finding::new("io_uring", "available to this process")
        .breaks("serve does not start")
        .remedy("run the doctor where the edge will run, with its user and its container");
    match ring {
        None => finding.is("not asked", Verdict::Unknown),
        Some(Ok(())) => finding.is("available", Verdict::Ok),
        Some(Err(error)) => finding.is("refused", Verdict::Fail).remedy(error.to_string()),
    }
}

fn switch(tree: &Tree, ring_works: bool) -> Finding {
    let key = "kernel.io_uring_disabled";
    let finding = Finding::new(key, "0")
        .breaks("1 refuses io_uring to users outside kernel.io_uring_group, 2 to everybody")
        .remedy(setting::command(key, "0"));
    match tree.sysctl(key) {
        Some(0) => finding.is("0", Verdict::Ok),
        Some(1) if ring_works => finding.is("1, but not for this user", Verdict::Warn),
        Some(value @ 1..) => finding.is(value.to_string(), Verdict::Fail),
        // The switch came with Linux 6.6.
        None if ring_works || release(tree).is_some_and(|release| release < (6, 6)) => {
            finding.is("absent", Verdict::Ok)
        }
        None => finding,
    }
}

fn clock(tree: &Tree) -> Finding {
    let folder = "/sys/devices/system/clocksource/clocksource0";
    let finding = Finding::new("clock source", "one that is read without a system call, as tsc")
        .breaks("every look at the clock is a system call or a device access of about 1 µs")
        .remedy(format!(
            "echo tsc > {folder}/current_clocksource, if available_clocksource has it; in a \
             virtual machine ask for the hypervisor's"
        ));
    let Some(name) = tree.read(&format!("{folder}/current_clocksource")) else { return finding };
    if FAST_CLOCKS.contains(&name.as_str()) {
        finding.is(name, Verdict::Ok)
    } else if SLOW_CLOCKS.contains(&name.as_str()) {
        finding.is(name, Verdict::Warn)
    } else {
        finding.is(name, Verdict::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, about};
    use super::*;

    fn verdict(host: &Fixture, setting: &str, ring: Option<Result<(), host::Error>>) -> Verdict {
        about(&check(&host.tree(), ring), setting).verdict
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let host = Fixture::new();
        for (text, release, verdict_alone) in [
            ("6.1.0-18-amd64", Some((6, 1)), Verdict::Ok),
            ("6.18.44", Some((6, 18)), Verdict::Ok),
            ("10.0-rc1", Some((10, 0)), Verdict::Ok),
            ("5.15.0-92-generic", Some((5, 15)), Verdict::Fail),
            ("6", None, Verdict::Unknown),
            ("six.one", None, Verdict::Unknown),
            ("", None, Verdict::Unknown),
            ("99999999999999999999.1", None, Verdict::Unknown),
        ] {
            host.file("/proc/sys/kernel/osrelease", text);
            assert_eq!(super::release(&host.tree()), release, "{text}");
            assert_eq!(verdict(&host, "kernel version", None), verdict_alone, "{text}");
        }
        host.file("/proc/sys/kernel/osrelease", "5.14.0-503.el9");
        assert_eq!(verdict(&host, "kernel version", Some(Ok(()))), Verdict::Ok, "ported back");
    }

    #[test]
    fn the_ring_is_what_the_kernel_says() {
        let host = Fixture::fit();
        assert_eq!(verdict(&host, "io_uring", None), Verdict::Unknown);
        assert_eq!(verdict(&host, "io_uring", Some(Ok(()))), Verdict::Ok);
        let found = check(&host.tree(), Some(Err(host::Error::Filtered)));
        let ring = about(&found, "io_uring");
        assert_eq!(ring.verdict, Verdict::Fail);
        assert!(ring.remedy.contains("seccomp"), "{}", ring.remedy);
    }

    #[test]
    fn the_switch_is_judged_with_the_ring() {
        let host = Fixture::fit();
        let key = "kernel.io_uring_disabled";
        let forbidden = || Some(Err(host::Error::Forbidden));
        for (text, works, fails) in [
            ("0", Verdict::Ok, Verdict::Ok),
            ("1", Verdict::Warn, Verdict::Fail),
            ("2", Verdict::Fail, Verdict::Fail),
            ("maybe", Verdict::Ok, Verdict::Unknown),
        ] {
            host.sysctl(key, text);
            assert_eq!(verdict(&host, key, Some(Ok(()))), works, "{text}");
            assert_eq!(verdict(&host, key, forbidden()), fails, "{text}");
        }
        let old = Fixture::new();
        old.file("/proc/sys/kernel/osrelease", "6.1.0");
        assert_eq!(verdict(&old, key, None), Verdict::Ok, "there is no switch yet");
    }

    #[test]
    fn clocks_are_fast_slow_or_unknown() {
        let host = Fixture::new();
        let file = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
        assert_eq!(verdict(&host, "clock source", None), Verdict::Unknown);
        for (name, expected) in [
            ("tsc", Verdict::Ok),
            ("kvm-clock\n", Verdict::Ok),
            ("hpet\n", Verdict::Warn),
            ("acpi_pm", Verdict::Warn),
            ("sundial", Verdict::Unknown),
        ] {
            host.file(file, name);
            assert_eq!(verdict(&host, "clock source", None), expected, "{name}");
        }
    }
}
