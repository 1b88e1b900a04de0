//! What the kernel says about this process, from `/proc` (proc(5)).
//!
//! Each function reads one small file and returns nothing where the kernel does not tell: metrics
//! must not fail because of that.

use std::fs;

/// Clock ticks per second in `/proc`. `USER_HZ` is 100 on every architecture that Linux runs
/// io_uring on; it is part of the kernel's ABI and independent of its timer frequency.
const TICKS_PER_SECOND: f64 = 100.0;

/// Memory in RAM.
pub(super) fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes: f64 = field(&status, "VmRSS:")?.parse().ok()?;
    Some(kibibytes * 1024.0)
}

/// Open descriptors. Since Linux 6.2 the directory's size tells their number; reading a directory
/// of a million entries on each scrape would be dear.
pub(super) fn open_fds() -> Option<f64> {
    let directory = "/proc/self/fd";
    match fs::metadata(directory).ok()?.len() {
        // Listing opens the directory itself, which is not to be counted.
        0 => Some(fs::read_dir(directory).ok()?.count().saturating_sub(1) as f64),
        count => Some(count as f64),
    }
}

/// The soft limit of open descriptors.
pub(super) fn max_fds() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    field(&limits, "Max open files")?.parse().ok()
}

/// When the process began, in seconds since 1970.
pub(super) fn start_time_seconds() -> Option<f64> {
    let boot: f64 = field(&fs::read_to_string("/proc/stat").ok()?, "btime")?.parse().ok()?;
    // Field 22 of proc(5).
    Some(boot + stat_field(22)? / TICKS_PER_SECOND)
}

/// Processor time used by all threads, in user and kernel mode.
pub(super) fn cpu_seconds() -> Option<f64> {
    // Fields 14 and 15 of proc(5).
    Some((stat_field(14)? + stat_field(15)?) / TICKS_PER_SECOND)
}

/// The word after a name at the beginning of a line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()
}

/// A field of `/proc/self/stat`, numbered as in proc(5). Field 2, the name in parentheses, may
/// have spaces and parentheses itself, so counting begins after its end.
fn stat_field(number: usize) -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(number - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_plausible_figures() {
        assert!(resident_bytes().unwrap() > 100_000.0);
        let open = open_fds().unwrap();
        assert!(open >= 3.0 && open <= max_fds().unwrap());
        let year_2020 = 1_577_836_800.0;
        assert!(start_time_seconds().unwrap() > year_2020);
        assert!(cpu_seconds().unwrap() >= 0.0);
    }
}
