//! What servers cost: resident memory and CPU time of processes, from `/proc`.
//!
//! CPU is that of all threads. What the kernel does in softirqs for the server is billed to
//! whoever runs at that moment, so it is not part of this figure as a whole.

use std::fs;
use std::io;

use crate::error::Error;

/// What processes use together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    /// Those that have memory of their own.
    pub(super) processes: usize,
    pub(super) resident_bytes: u64,
    pub(super) cpu_nanos: u64,
}

impl Usage {
    pub(super) fn of(pids: &[u32]) -> Result<Self, Error> {
        let mut sum = Self { processes: 0, resident_bytes: 0, cpu_nanos: 0 };
        for &pid in pids {
            let fail = |error: io::Error| Error::Usage { pid, reason: error.to_string() };
            let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(fail)?;
            let resident_bytes =
                resident_bytes(&status).ok_or_else(|| fail(io::Error::other("it has ended")))?;
            sum.processes += usize::from(resident_bytes > 0);
            sum.resident_bytes += resident_bytes;
            sum.cpu_nanos += cpu_nanos(pid).map_err(fail)?;
        }
        Ok(sum)
    }
}

/// Kernel threads, such as ksoftirqd, have no memory of their own; who has ended has no figures.
fn resident_bytes(status: &str) -> Option<u64> {
    let value = |name| status.lines().find_map(|line| line.strip_prefix(name));
    if value("State:")?.trim_start().starts_with(['Z', 'X']) {
        return None;
    }
    let Some(resident) = value("VmRSS:") else { return Some(0) };
    let kib = resident.split_whitespace().next()?.parse::<u64>().ok()?;
    Some(kib * 1024)
}

fn cpu_nanos(pid: u32) -> io::Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread that has ended in between used next to nothing.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        sum += text.split(' ').next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something_and_no_process_nothing() {
        let usage = Usage::of(&[std::process::id()]).unwrap();
        assert!(usage.resident_bytes > 0 && usage.cpu_nanos > 0);
        let error = Usage::of(&[u32::MAX]).unwrap_err().to_string();
        assert!(error.contains("--server-pid"), "{error}");
    }
    #[test]
    fn kernel_threads_have_no_memory_and_the_dead_no_figures() {
        assert_eq!(resident_bytes("Name:\tx\nState:\tS (sleeping)\nVmRSS:\t  8 kB\n"), Some(8192));
        assert_eq!(resident_bytes("Name:\tksoftirqd/0\nState:\tS (sleeping)\n"), Some(0));
        assert_eq!(resident_bytes("Name:\tx\nState:\tZ (zombie)\n"), None);
        assert_eq!(resident_bytes(""), None);
    }
}
