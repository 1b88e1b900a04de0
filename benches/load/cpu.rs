//! CPU time of a process and of its core's ksoftirqd, in nanoseconds from `schedstat`.

use std::fs;
use std::io;

/// What was used when the bill was opened.
pub(crate) struct Bill {
    pids: Vec<u32>,
    used: u64,
}

impl Bill {
    /// Opens a bill for a process that runs on a core.
    pub(crate) fn open(pid: u32, core: usize) -> io::Result<Self> {
        Self::open_all(vec![pid], core)
    }

    /// Opens a bill for processes that share a core.
    pub(crate) fn open_all(mut pids: Vec<u32>, core: usize) -> io::Result<Self> {
        pids.push(softirq_pid(core)?);
        Ok(Self { used: used_by(&pids)?, pids })
    }

    /// How much was used since.
    pub(crate) fn close(self) -> io::Result<u64> {
        Ok(used_by(&self.pids)? - self.used)
    }
}

fn used_by(pids: &[u32]) -> io::Result<u64> {
    pids.iter().map(|&pid| used(pid)).sum()
}

fn used(pid: u32) -> io::Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread that has ended in between used next to nothing.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        let nanos = text.split(' ').next().and_then(|field| field.parse::<u64>().ok());
        sum += nanos.ok_or_else(|| io::Error::other("schedstat has no run time"))?;
    }
    Ok(sum)
}

fn softirq_pid(core: usize) -> io::Result<u32> {
    let name = format!("ksoftirqd/{core}");
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm.trim() == name) {
            return Ok(pid);
        }
    }
    Err(io::Error::other(format!("{name} is not visible in /proc")))
}
